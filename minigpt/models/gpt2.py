"""GPT-2 (Radford et al. 2019): token ids -> hidden states -> logits.

    tokens (B, T) -> token + position embedding (B, T, C) -> n_layer blocks -> final norm -> logits (B, T, V)

The loss is not in here (loss.py), nor is any way of choosing a token (generation/).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .._checks import check_fields, choice, end_ids, flag, integer, number
from ..attention import MultiHeadAttention, attention_function
from ..kv_cache import KVCache
from ..language_model import DecoderOnly
from ..layers import ACTIVATIONS, MLP, draw_normal, embedding
from ._inputs import check_ids, check_inputs, layers_of, mask_and_positions, new_cache


class Block(nn.Module):
    """Pre-norm: each part reads a normalised copy of x, the residual stream, and adds its answer to x."""

    def __init__(self, config: GPT2Config, layer: int, attend: Callable):
        super().__init__()
        c = config
        scale = 1 / math.sqrt(c.n_embd // c.n_head) if c.scale_attn_weights else 1.0
        if c.scale_attn_by_inverse_layer_idx:
            scale /= layer + 1
        self.attention_norm = nn.LayerNorm(c.n_embd, eps=c.layer_norm_epsilon)
        self.attention = MultiHeadAttention(c.n_embd, c.n_head, scale=scale, dropout=c.attn_pdrop, attend=attend)
        self.mlp_norm = nn.LayerNorm(c.n_embd, eps=c.layer_norm_epsilon)
        self.mlp = MLP(c.n_embd, c.n_inner or 4 * c.n_embd, ACTIVATIONS[c.activation_function])
        self.dropout = nn.Dropout(c.resid_pdrop)

    def forward(self, x, mask=None, cache=None):
        x = x + self.dropout(self.attention(self.attention_norm(x), mask=mask, causal=True, cache=cache))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class GPT2(DecoderOnly, nn.Module):
    """GPT-2. `attention` is "explicit" (the formula, to read), "sdpa" (PyTorch's fused kernels), "tiled" (the formula
    by tiles), or any function with the signature of `explicit_attention`. The three give the same answers."""

    def __init__(self, config: GPT2Config, attention: str | Callable = "explicit"):
        super().__init__()
        attend = attention_function(attention)
        self.config = config
        self.token_embedding = embedding(config.vocab_size, config.n_embd)
        self.position_embedding = embedding(config.n_positions, config.n_embd)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList(Block(config, layer, attend) for layer in range(config.n_layer))
        self.final_norm = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        # Tied head: the token embedding is used twice, and there is no second weight.
        self.lm_head = None if config.tie_word_embeddings else nn.Linear(config.n_embd, config.vocab_size, bias=False)
        initialize(self)

    def hidden(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        cache: KVCache | None = None,
        segment_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Token ids (B, T) int64 -> last hidden states (B, T, C), after the final norm.

        attention_mask (B, past + T) holds 1 for real tokens and 0 for pads, wherever they are; past is the length of
        the cache (0 without one). position_ids (B, T) None = `position_ids_for`. The new tokens go into the cache.
        segment_ids (B, T) number the documents packed into a row: none sees another, each starts at position 0.
        Raises ValueError, before any work, for a wrong shape, dtype or device, an id or position out of range, a cache
        that is full or another model's.
        """
        check_inputs(self, tokens, attention_mask, position_ids, cache, segment_ids)
        mask, counted = mask_and_positions(tokens, attention_mask, cache, segment_ids)
        position_ids = counted if position_ids is None else position_ids
        check_ids("position id", position_ids, self.config.n_positions, "n_positions")

        x = self.token_embedding(tokens) + self.position_embedding(position_ids)  # (B, T, C)
        x = self.dropout(x)
        for block, layer_cache in zip(self.blocks, layers_of(cache, self.blocks), strict=True):
            x = block(x, mask, layer_cache)
        if cache is not None:
            cache.advance(tokens.size(1))
        return self.final_norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., C) -> (..., V): one unnormalised score per vocabulary entry; softmax makes them probabilities."""
        return F.linear(hidden, self.token_embedding.weight) if self.lm_head is None else self.lm_head(hidden)

    def forward(self, tokens, attention_mask=None, position_ids=None, cache=None, segment_ids=None) -> torch.Tensor:
        """(B, T) -> logits (B, T, V) of every position; arguments and errors as in `hidden`."""
        return self.logits(self.hidden(tokens, attention_mask, position_ids, cache, segment_ids))

    def new_cache(self, batch_size: int, capacity: int) -> KVCache:
        """An empty cache for up to `capacity` tokens of `batch_size` rows, on the model's device, in its dtype."""
        return new_cache(self, self.blocks, batch_size, capacity)

    @property
    def max_tokens(self) -> int:
        return self.config.n_positions


@torch.no_grad()
def initialize(model: GPT2) -> None:
    """Fresh weights, as GPT-2's (Radford et al. 2019, section 2.3).

    | what                                        | drawn from                      | why                              |
    |---------------------------------------------|---------------------------------|----------------------------------|
    | weights of linear layers, both embeddings   | N(0, initializer_range²)        | logits near 0: a uniform guess   |
    | attention.output, mlp.down (into the stream)| the same / sqrt(2 · n_layer)    | 2 · n_layer such terms are added |
    | biases                                      | 0                               |                                  |
    | norms                                       | weight 1, bias 0                | start as plain normalisation     |
    """
    if model.token_embedding.weight.is_meta:  # no numbers yet: weights are about to be loaded
        return
    std = model.config.initializer_range
    draw_normal(model, std)
    for block in model.blocks:
        for into_stream in (block.attention.output, block.mlp.down):
            nn.init.normal_(into_stream.weight, std=std / math.sqrt(2 * len(model.blocks)))


# The published sizes: n_layer, n_head, n_embd      parameters
SIZES = {
    "distilgpt2":  (6, 12, 768),         #   81,912,576
    "gpt2":        (12, 12, 768),        #  124,439,808
    "gpt2-medium": (24, 16, 1024),       #  354,823,168
    "gpt2-large":  (36, 20, 1280),       #  774,030,080
    "gpt2-xl":     (48, 25, 1600),       # 1,557,611,200
}  # fmt: skip


@dataclass(frozen=True)
class GPT2Config:
    """The shape of a GPT-2; field names and defaults are those of Hugging Face's config.json.

    Raises ValueError for fields that are out of range or do not fit together.
    """

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
    eos_token_id: int | tuple[int, ...] | None = 50256  # several: each of them ends a text

    def __post_init__(self):
        check_fields(self, integer, "vocab_size n_positions n_embd n_layer n_head", least=1)
        check_fields(self, integer, "n_inner", least=1, or_none=True)
        check_fields(self, integer, "bos_token_id", or_none=True)
        check_fields(self, end_ids, "eos_token_id", or_none=True)
        check_fields(self, number, "resid_pdrop embd_pdrop attn_pdrop", least=0, below=1)
        check_fields(self, number, "layer_norm_epsilon initializer_range", above=0)
        check_fields(self, flag, "scale_attn_weights scale_attn_by_inverse_layer_idx tie_word_embeddings")
        check_fields(self, choice, "activation_function", choices=ACTIVATIONS)
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd must be divisible by n_head, got n_embd={self.n_embd}, n_head={self.n_head}")

    @staticmethod
    def preset(name: str, **changes) -> GPT2Config:
        """The configuration of a published model by its name in `SIZES`; keyword arguments replace single fields.

        Raises ValueError for another name.
        """
        if name not in SIZES:
            raise ValueError(f"unknown preset {name!r}; there are {', '.join(SIZES)}")
        n_layer, n_head, n_embd = SIZES[name]
        return GPT2Config(**{"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd, **changes})
