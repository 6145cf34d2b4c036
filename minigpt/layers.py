"""What stands beside attention in a block: activation functions, and the MLP."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """GPT-2's GELU: 0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))), Hendrycks & Gimpel 2016, section 2.

    An approximation of x Φ(x), Φ the normal distribution; the exact one differs by up to 5e-4, enough to be wrong.
    """
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """x σ(1.702 x), a coarser approximation of x Φ(x) (Hendrycks & Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


# The names that config.json files use for an activation function.
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu": F.gelu,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


class MLP(nn.Module):
    """Two layers applied to each position alone: (B, T, C) -> (B, T, d_inner) -> (B, T, C)."""

    def __init__(self, d_model: int, d_inner: int, activation: Callable):
        super().__init__()
        self.up = nn.Linear(d_model, d_inner)
        self.activation = activation
        self.down = nn.Linear(d_inner, d_model)

    def forward(self, x):
        return self.down(self.activation(self.up(x)))


def embedding(n_rows: int, width: int) -> nn.Embedding:
    """An nn.Embedding without torch's own first draw, which a model draws over (and which takes seconds on the device
    "meta", where loaded models are built)."""
    return nn.Embedding.from_pretrained(torch.empty(n_rows, width), freeze=False)
