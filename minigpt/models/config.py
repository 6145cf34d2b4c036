"""The shape of a GPT-2: the fields of config.json, the published sizes, and the activation functions by name."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

# n_layer, n_head, n_embd                    parameters
PRESETS = {
    "distilgpt2":  (6, 12, 768),         #   81,912,576
    "gpt2":        (12, 12, 768),        #  124,439,808
    "gpt2-medium": (24, 16, 1024),       #  354,823,168
    "gpt2-large":  (36, 20, 1280),       #  774,030,080
    "gpt2-xl":     (48, 25, 1600),       # 1,557,611,200
}  # fmt: skip


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """GPT-2's GELU: 0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))), Hendrycks & Gimpel 2016, section 2.

    An approximation of x Φ(x), Φ the normal distribution; the exact one differs by up to 5e-4, enough to be wrong.
    """
    return F.gelu(x, approximate="tanh")


# The names that config.json files use for `activation_function`.
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu": F.gelu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class GPT2Config:
    """The shape of a GPT-2; field names and defaults are those of Hugging Face's config.json."""

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # width inside the MLP; None = 4 * n_embd
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True  # divide the scores by sqrt(D)
    scale_attn_by_inverse_layer_idx: bool = False  # and by layer + 1 (Mistral's stabilised GPT-2)
    tie_word_embeddings: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | None = 50256

    def __post_init__(self):
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"):
            value = getattr(self, name)
            if value is None and name == "n_inner":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd must be divisible by n_head, got n_embd={self.n_embd}, n_head={self.n_head}")
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0.0 <= value < 1.0:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
        for name in ("layer_norm_epsilon", "initializer_range"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0.0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value!r}")
        for name in ("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("bos_token_id", "eos_token_id"):
            if not isinstance(getattr(self, name), int | None):
                raise ValueError(f"{name} must be an integer or None, got {getattr(self, name)!r}")
        if self.activation_function not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation_function must be one of {known}; got {self.activation_function!r}")

    @staticmethod
    def preset(name: str, **changes) -> "GPT2Config":
        """The configuration of a published model by its name; keyword arguments replace single fields."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")
        n_layer, n_head, n_embd = PRESETS[name]
        return GPT2Config(**{"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd, **changes})
