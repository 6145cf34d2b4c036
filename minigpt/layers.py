"""The parts of a block other than attention: activation functions, the MLP, the gated MLP, and RMSNorm."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """GPT-2's GELU: 0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))), Hendrycks & Gimpel 2016, section 2.

    An approximation of x Φ(x), where Φ is the distribution function of the normal distribution. The exact one, BERT's
    "gelu", x/2 (1 + erf(x/√2)), differs by up to 5e-4: enough to make a model's logits wrong.
    """
    return F.gelu(x, approximate="tanh")


def gelu_fast(x: torch.Tensor) -> torch.Tensor:
    """`gelu_tanh` with sqrt(2/π) cut to ten digits, 0.7978845608, as Hugging Face's "gelu_fast" computes it. The two
    differ by about 1e-12: in float32 by no more than rounding."""
    return 0.5 * x * (1 + torch.tanh(0.7978845608 * x * (1 + 0.044715 * x * x)))


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """x σ(1.702 x), a coarser approximation of x Φ(x) (Hendrycks & Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


# The names that config.json files use for an activation function. Some of them are several ways to compute one.
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_python_tanh": gelu_tanh,
    "gelu_accurate": gelu_tanh,
    "gelu_fast": gelu_fast,
    "gelu": F.gelu,
    "gelu_python": F.gelu,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


class MLP(nn.Module):
    """Two layers applied to each position alone: (B, T, C) -> (B, T, d_inner) -> (B, T, C)."""

    def __init__(self, d_model: int, d_inner: int, activation: Callable, linear_bias: bool = True):
        super().__init__()
        self.up = nn.Linear(d_model, d_inner, bias=linear_bias)
        self.activation = activation
        self.down = nn.Linear(d_inner, d_model, bias=linear_bias)

    def forward(self, x):
        return self.down(self.inner(x))

    def inner(self, x):
        """(B, T, C) -> (B, T, d_inner): the inner columns after the activation."""
        return self.activation(self.up(x))


class GatedMLP(MLP):
    """An MLP with a second matrix, gate: down(activation(gate x) · up x), (B, T, C) -> (B, T, C).

    The product · is taken column by column: the gate says how much of each inner column goes on to `down`. "GLU
    variants improve Transformer" (Shazeer 2020), section 2: with silu it is SwiGLU (Llama), with GELU GEGLU (T5 v1.1).
    """

    def __init__(self, d_model: int, d_inner: int, activation: Callable, linear_bias: bool = True):
        super().__init__(d_model, d_inner, activation, linear_bias)
        self.gate = nn.Linear(d_model, d_inner, bias=linear_bias)

    def inner(self, x):
        return self.activation(self.gate(x)) * self.up(x)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight: LayerNorm without the mean and the bias (Zhang & Sennrich 2019, section 4).

    (..., C) -> (..., C). Half precision is normalised in float32.
    """

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        normed = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


def embedding(n_rows: int, width: int) -> nn.Embedding:
    """An nn.Embedding, weight (n_rows, width), whose numbers are not drawn yet: the model draws them. (torch's own draw
    would take seconds on the device "meta", where loaded models are built.)"""
    return nn.Embedding.from_pretrained(torch.empty(n_rows, width), freeze=False)


@torch.no_grad()
def draw_normal(model: nn.Module, std: float) -> None:
    """Weights of all linear layers and embeddings from N(0, std²), their biases 0; norms stay as they are made."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
