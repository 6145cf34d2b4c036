"""Llama 2 and 3 (Touvron et al. 2023b, section 2.2; Dubey et al. 2024): GPT-2 with these parts replaced.

    tokens (B, T) -> token embedding (B, T, C) -> num_hidden_layers blocks -> final norm -> logits (B, T, V)

| part             | GPT-2                    | Llama                                  | paper, section              |
|------------------|--------------------------|----------------------------------------|-----------------------------|
| where a token is | an embedding, added once | queries and keys are rotated (RoPE)    | Su et al. 2021, 3.2.2       |
| norm             | LayerNorm                | RMSNorm: no mean, no bias              | Zhang & Sennrich 2019, 4    |
| MLP              | down(gelu(up x))         | down(silu(gate x) · up x): SwiGLU      | Shazeer 2020, 2             |
| keys and values  | as many heads as queries | fewer, each for a group of query heads | Ainslie et al. 2023, 2.2    |
| linear layers    | with biases              | without                                |                             |
| head             | tied to the embedding    | its own (in small models tied)         |                             |

The smaller models of Llama 2 have as many key heads as query heads; its 70B and all of Llama 3 have fewer. The letters
B, T, C ... are those of attention.py.
Attention is the lecture's causal self attention, explicit_attention(q, k, v, causal=True).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .._checks import check_fields, choice, end_ids, flag, integer, number
from ..attention import MultiHeadAttention, attention_function
from ..kv_cache import KVCache
from ..language_model import DecoderOnly
from ..layers import ACTIVATIONS, GatedMLP, RMSNorm, draw_normal, embedding
from ..positions import RopeScaling, rotary_rates, rotation
from ._inputs import check_ids, check_inputs, layers_of, mask_and_positions, new_cache


class Block(nn.Module):
    """Pre-norm, as GPT-2's."""

    def __init__(self, config: LlamaConfig, attend: Callable):
        super().__init__()
        c = config
        self.attention_norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.attention = MultiHeadAttention(
            c.hidden_size, c.num_attention_heads, c.num_key_value_heads, c.head_dim,
            linear_bias=c.attention_bias, dropout=c.attention_dropout, attend=attend,
        )  # fmt: skip
        self.mlp_norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.mlp = GatedMLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.hidden_act], linear_bias=c.mlp_bias)

    def forward(self, x, rotate, mask=None, cache=None):
        x = x + self.attention(self.attention_norm(x), mask=mask, causal=True, rotate=rotate, cache=cache)
        return x + self.mlp(self.mlp_norm(x))


class Llama(DecoderOnly, nn.Module):
    """Llama. `attention` is "explicit", "sdpa", "tiled", or any function with the signature of `explicit_attention`."""

    def __init__(self, config: LlamaConfig, attention: str | Callable = "explicit"):
        super().__init__()
        attend = attention_function(attention)
        self.config = config
        self.token_embedding = embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config, attend) for _ in range(config.num_hidden_layers))
        self.final_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        tied = config.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(config.hidden_size, config.vocab_size, bias=False)
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

        The arguments are those of `GPT2.hidden`. Cached keys are rotated already. Raises ValueError, before any work,
        for a wrong shape, dtype or device, an id or position out of range, a cache that is full or another model's.
        """
        check_inputs(self, tokens, attention_mask, position_ids, cache, segment_ids)
        mask, counted = mask_and_positions(tokens, attention_mask, cache, segment_ids)
        position_ids = counted if position_ids is None else position_ids
        check_ids("position id", position_ids, self.max_tokens, "max_position_embeddings")

        x = self.token_embedding(tokens)  # (B, T, C)
        c, dtype = self.config, torch.promote_types(x.dtype, torch.float32)
        rates = rotary_rates(self.blocks[0].attention.d_head, c.rope_theta, c.rope_scaling, x.device, dtype)
        rotate = rotation(position_ids, rates, x.dtype)  # made once, used by every block
        for block, layer_cache in zip(self.blocks, layers_of(cache, self.blocks), strict=True):
            x = block(x, rotate, mask, layer_cache)
        if cache is not None:
            cache.advance(tokens.size(1))
        return self.final_norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., C) -> (..., V): one unnormalised score per vocabulary entry."""
        return F.linear(hidden, self.token_embedding.weight) if self.lm_head is None else self.lm_head(hidden)

    def forward(self, tokens, attention_mask=None, position_ids=None, cache=None, segment_ids=None) -> torch.Tensor:
        """(B, T) -> logits (B, T, V) of every position; arguments and errors as in `hidden`."""
        return self.logits(self.hidden(tokens, attention_mask, position_ids, cache, segment_ids))

    def new_cache(self, batch_size: int, capacity: int) -> KVCache:
        """An empty cache for up to `capacity` tokens of `batch_size` rows, with num_key_value_heads heads."""
        return new_cache(self, self.blocks, batch_size, capacity)

    @property
    def max_tokens(self) -> int:
        return self.config.max_position_embeddings


def initialize(model: Llama) -> None:
    """Fresh weights, as Hugging Face's: the papers do not say.

    | what                                       | drawn from               | why                              |
    |--------------------------------------------|--------------------------|----------------------------------|
    | weights of linear layers, token embedding  | N(0, initializer_range²) | logits near 0: a uniform guess   |
    | biases, where there are any                | 0                        |                                  |
    | norms                                      | weight 1                 | start as plain normalisation     |
    """
    if not model.token_embedding.weight.is_meta:  # else the weights are about to be loaded
        draw_normal(model, model.config.initializer_range)


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a Llama; field names and defaults are those of Hugging Face's config.json (rope_theta and
    rope_scaling as transformers 4 wrote them; loading takes the rope_parameters of transformers 5, too).

    Raises ValueError for fields that are out of range or do not fit together.
    """

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008  # width inside the MLP
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None  # None = num_attention_heads
    head_dim: int | None = None  # None = hidden_size / num_attention_heads
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | dict | None = None
    attention_bias: bool = False
    attention_dropout: float = 0.0
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2  # several: each of them ends a text

    def __post_init__(self):
        sizes = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads max_position_embeddings"
        check_fields(self, integer, sizes, least=1)
        check_fields(self, integer, "num_key_value_heads head_dim", least=1, or_none=True)
        check_fields(self, integer, "bos_token_id", or_none=True)
        check_fields(self, number, "rms_norm_eps initializer_range rope_theta", above=0)
        check_fields(self, number, "attention_dropout", least=0, below=1)
        check_fields(self, flag, "attention_bias mlp_bias tie_word_embeddings")
        check_fields(self, choice, "hidden_act", choices=ACTIVATIONS)
        check_fields(self, end_ids, "eos_token_id", or_none=True)
        if isinstance(self.rope_scaling, dict):
            object.__setattr__(self, "rope_scaling", RopeScaling(**self.rope_scaling))
        elif not isinstance(self.rope_scaling, RopeScaling | None):
            raise ValueError(f"rope_scaling must be a RopeScaling, a dictionary or None, got {self.rope_scaling!r}")
        heads, key_heads = self.num_attention_heads, self.num_key_value_heads or self.num_attention_heads
        if self.head_dim is None and self.hidden_size % heads:
            raise ValueError(
                f"hidden_size must be divisible by num_attention_heads, got {self.hidden_size} and {heads}"
            )
        if heads % key_heads:
            raise ValueError(
                f"num_attention_heads must be divisible by num_key_value_heads, got {heads} and {key_heads}"
            )
        if (self.head_dim or self.hidden_size // heads) % 2:
            raise ValueError(f"head_dim must be even, for columns are rotated in pairs, got {self!r}")
