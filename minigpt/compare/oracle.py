"""Hugging Face's transformers, which we compare with. It is used for nothing else, and imported in functions only."""

import contextlib
import types
from collections.abc import Iterator
from unittest import mock

import torch

from ..checkpoints.configs import model_type
from ..checkpoints.names import NAMES


def import_transformers():
    """transformers, with its warnings and progress bars switched off. Raises ImportError with what to do where it is
    missing."""
    try:
        import transformers
    except ImportError:
        reason = "transformers, which is compared with, is not installed: pip install minigpt[compare]"
        raise ImportError(reason) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def load_oracle(directory, config, dtype=torch.float32, device=None, attention: str = "eager") -> torch.nn.Module:
    """transformers' model of a folder, in eval mode. Its class is the one that we write into a config.json for config.
    In float64 all of it is float64 (`without_float32_steps`)."""
    architecture, _ = NAMES[model_type(config)].layout(config)
    model_class = getattr(import_transformers(), architecture)
    with without_float32_steps() if dtype == torch.float64 else contextlib.nullcontext():
        model = model_class.from_pretrained(directory, dtype=dtype, attn_implementation=attention)
    return in_its_dtype(model.to(device).eval())


def in_its_dtype(theirs: torch.nn.Module) -> torch.nn.Module:
    """The model itself; if it is float64, every call of it computes all steps in float64 from now on."""
    if next(theirs.parameters()).dtype == torch.float64:
        theirs.forward = without_float32_steps()(theirs.forward)
    return theirs


def modules_with_float32_steps() -> list[types.ModuleType]:
    from transformers import modeling_rope_utils
    from transformers.models.llama import modeling_llama
    from transformers.models.t5 import modeling_t5

    return [modeling_llama, modeling_t5, modeling_rope_utils]


class _Torch64(types.ModuleType):
    """Everything of torch, but its float32 is float64."""

    float32 = float = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


@contextlib.contextmanager
def without_float32_steps() -> Iterator[None]:
    """Build, load and call a float64 Llama or T5 of Hugging Face's in here: no step of it is float32.

    Elsewhere a float64 model computes some steps in float32, because its code says so: all of LlamaRMSNorm but the
    weight, the mean of the squares in T5LayerNorm, the softmax of Llama's eager attention, and RoPE's frequencies,
    angles, cosines and sines. Each changes Llama's logits by about 1e-6, so a comparison could not tell a small mistake
    from rounding. In a row padded on the left, eager Llama even gives nan at real positions: its mask adds the lowest
    float64 number, which is -infinity in a float32 softmax.

    These steps write the dtype as `torch.float32` or `torch.float`, and `torch` is a global name of their modules. So
    it is enough to give these modules another `torch` for a while. RoPE's frequencies are computed when the model is
    built or loaded, all else when it is called: both must happen in here. Only float64 models belong in here.

    Two steps call the method `.float()`, which stays as it is, because their results are exact: Llama's positions are
    whole numbers, and so are T5's buckets. GPT-2 and BERT have no float32 steps and need nothing of this.
    """
    with contextlib.ExitStack() as stack:  # gives every module its own torch back, also after an exception
        for module in modules_with_float32_steps():
            stack.enter_context(mock.patch.object(module, "torch", _Torch64("torch")))
        yield
