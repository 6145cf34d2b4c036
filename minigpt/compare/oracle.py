"""Hugging Face's transformers: what we compare with, and no part of what we are. Imported inside functions only."""

import torch

from ..checkpoints.configs import model_type
from ..checkpoints.names import NAMES


def import_transformers():
    """The other side of every comparison, told to be quiet. Raises ImportError with what to do where it is missing."""
    try:
        import transformers
    except ImportError:
        reason = "transformers, which is compared with, is not installed: pip install minigpt[compare]"
        raise ImportError(reason) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def load_oracle(directory, config, dtype=torch.float32, device=None, attention: str = "eager") -> torch.nn.Module:
    """transformers' model of a folder, in eval mode; its class is the one that files of our configuration name."""
    architecture, _ = NAMES[model_type(config)].layout(config)
    model_class = getattr(import_transformers(), architecture)
    return model_class.from_pretrained(directory, dtype=dtype, attn_implementation=attention).to(device).eval()
