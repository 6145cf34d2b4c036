"""T5 (Raffel et al. 2020): an encoder reads one text, a decoder writes another and looks at the first while it does.

    source (B, S) -> token embedding -> encoder blocks -> norm -> encoded (B, S, C)
    tokens (B, T) -> token embedding -> decoder blocks -> norm -> hidden states (B, T, C) -> logits (B, T, V)
                                            ^ each block reads `encoded`

| the lecture's formula        | where                          | the call                                           |
|------------------------------|--------------------------------|----------------------------------------------------|
| bidirectional self attention | the encoder's blocks           | explicit_attention(q, k, v, bias=...)              |
| causal self attention        | the decoder's blocks           | explicit_attention(q, k, v, causal=True, bias=...) |
| cross attention              | the decoder's blocks, 2nd part | explicit_attention(q_of_decoder, k, v), no bias    |

All three have scale=1.0: T5 leaves 1/sqrt(D) out of the formula, and its initialisation makes the queries smaller
instead (`initialize`). Only the bias tells where a token is: it is added to the scores of self attention, by the
distance of query and key (section 2.1). Encoder and decoder have one table of it each, for all blocks. Version 1.1 (and
Flan-T5) has a gated MLP, and a head that is not tied (Shazeer 2020; the notes published with its checkpoints). The
letters B, T, C ... are those of attention.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from .._checks import check_fields, choice, end_ids, flag, integer, number
from ..attention import MultiHeadAttention, attention_function, padding_mask
from ..kv_cache import KVCache
from ..language_model import Past, Source, Start, TokenModel, padded_on_the_right
from ..layers import ACTIVATIONS, MLP, GatedMLP, RMSNorm, embedding
from ..positions import relative_bias
from ._inputs import check_cache, check_tokens, layers_of, new_cache


class EncoderBlock(nn.Module):
    """Pre-norm: self attention, MLP."""

    def __init__(self, config: T5Config, attend: Callable):
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.attention = attention_of(config, attend)
        self.mlp_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)
        kind = GatedMLP if config.is_gated else MLP
        self.mlp = kind(config.d_model, config.d_ff, ACTIVATIONS[config.activation], linear_bias=False)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x, bias, mask=None):
        x = x + self.dropout(self.attention(self.attention_norm(x), mask=mask, bias=bias))
        return self.add_mlp(x)

    def add_mlp(self, x):
        """The MLP in two parts, because T5 applies dropout between its matrices, too."""
        inner = self.dropout(self.mlp.inner(self.mlp_norm(x)))
        return x + self.dropout(self.mlp.down(inner))


class DecoderBlock(EncoderBlock):
    """Pre-norm: causal self attention, cross attention, MLP."""

    def __init__(self, config: T5Config, attend: Callable):
        super().__init__(config, attend)
        self.cross_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.cross_attention = attention_of(config, attend)

    def forward(self, x, bias, keys_values, source_mask=None, mask=None, cache=None):
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, mask=mask, causal=True, bias=bias, cache=cache))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), keys_values=keys_values, mask=source_mask))
        return self.add_mlp(x)


def attention_of(config: T5Config, attend: Callable) -> MultiHeadAttention:
    """T5's attention: no biases in its layers, and scores that are not scaled."""
    c = config
    return MultiHeadAttention(
        c.d_model, c.num_heads, d_head=c.d_kv, linear_bias=False, scale=1.0, dropout=c.dropout_rate, attend=attend
    )


class Stack(nn.Module):
    """The encoder or the decoder: its blocks, the table of its relative bias, and its final norm."""

    def __init__(self, config: T5Config, blocks: Sequence[EncoderBlock]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.relative_bias = embedding(config.relative_attention_num_buckets, config.num_heads)
        self.final_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)

    def bias(self, n_query: int, n_key: int, max_distance: int, causal: bool) -> torch.Tensor:
        """The relative bias (1, H, Tq, Tk) of the last n_query of n_key positions, as in `causal_mask`."""
        keys = torch.arange(n_key, device=self.relative_bias.weight.device)
        return relative_bias(self.relative_bias.weight, keys[n_key - n_query :], keys, max_distance, causal)


class T5(TokenModel, nn.Module):
    """T5. `attention` is "explicit", "sdpa", "tiled", or any function with the signature of `explicit_attention`.

    float16 is refused: it ends at 65 504, and hidden states of published models reach 100 000 and more.
    """

    has_encoder = True
    max_tokens = None  # every large distance has the last bucket: no length is too long

    def __init__(self, config: T5Config, attention: str | Callable = "explicit"):
        super().__init__()
        attend = attention_function(attention)
        self.config = config
        self.token_embedding = embedding(config.vocab_size, config.d_model)  # one for encoder and decoder
        self.dropout = nn.Dropout(config.dropout_rate)
        self.encoder = Stack(config, [EncoderBlock(config, attend) for _ in range(config.num_layers)])
        self.decoder = Stack(config, [DecoderBlock(config, attend) for _ in range(config.num_decoder_layers)])
        tied = config.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(config.d_model, config.vocab_size, bias=False)
        initialize(self)

    def encode(self, source: torch.Tensor, source_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids (B, S) int64 -> the encoder's hidden states (B, S, C), after its final norm.

        source_mask (B, S) holds 1 for real tokens and 0 for pads, wherever they are. Raises ValueError for a wrong
        shape, dtype or device, an id out of range, and for a model in float16.
        """
        kind, dtype = self.device.type, self.token_embedding.weight.dtype
        self.check_dtype(torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype)
        check_tokens(self, source, source_mask, names=("source", "source_mask"))
        mask = None if source_mask is None else padding_mask(source_mask)
        x = self.dropout(self.token_embedding(source))
        bias = self.encoder.bias(x.size(1), x.size(1), self.config.relative_attention_max_distance, causal=False)
        for block in self.encoder.blocks:
            x = block(x, bias, mask)
        return self.dropout(self.encoder.final_norm(x))

    def read_source(self, source: torch.Tensor, source_mask: torch.Tensor | None = None) -> Source:
        """Encode a source (B, S), and make the keys and values of it for each cross attention of the decoder. Raises
        ValueError as `encode` does."""
        encoded = self.encode(source, source_mask)
        keys_values = [block.cross_attention.keys_values(encoded) for block in self.decoder.blocks]
        return Source(keys_values, None if source_mask is None else padding_mask(source_mask))

    def hidden(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        cache: KVCache | None = None,
        *,
        source: Source,
    ) -> torch.Tensor:
        """The decoder: token ids (B, T) int64 -> hidden states (B, T, C), after the final norm.

        source is what `read_source` gives. attention_mask (B, past + T) and cache as in `GPT2.hidden`. Raises
        ValueError for a wrong shape, dtype or device, an id out of range, a source of other rows, a cache that is full
        or another model's.
        """
        past = 0 if cache is None else cache.length
        check_tokens(self, tokens, attention_mask, past)
        if len(source.keys_values[0][0]) != len(tokens):
            raise ValueError(f"source has {len(source.keys_values[0][0])} rows, tokens {len(tokens)}")
        if cache is not None:
            check_cache(self, self.decoder.blocks, tokens, cache)
        mask = None if attention_mask is None else padding_mask(attention_mask)
        x = self.dropout(self.token_embedding(tokens))
        n_new, max_distance = x.size(1), self.config.relative_attention_max_distance
        bias = self.decoder.bias(n_new, past + n_new, max_distance, causal=True)
        blocks = zip(self.decoder.blocks, source.keys_values, layers_of(cache, self.decoder.blocks), strict=True)
        for block, keys_values, layer_cache in blocks:
            x = block(x, bias, keys_values, source.mask, mask, layer_cache)
        if cache is not None:
            cache.advance(n_new)
        return self.dropout(self.decoder.final_norm(x))

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., C) -> (..., V). With scale_decoder_outputs, hidden states are multiplied by 1 / sqrt(C) first: the tied
        head is the embedding, whose numbers are sqrt(C) times as large as those of a head of its own."""
        if self.config.scale_decoder_outputs:
            hidden = hidden * self.config.d_model**-0.5
        return F.linear(hidden, self.token_embedding.weight) if self.lm_head is None else self.lm_head(hidden)

    def forward(self, source, tokens, source_mask=None, attention_mask=None) -> torch.Tensor:
        """A source (B, S) and the decoder's inputs (B, T) -> logits (B, T, V) of the token after each. Arguments and
        errors as in `encode` and `hidden`."""
        return self.logits(self.hidden(tokens, attention_mask, source=self.read_source(source, source_mask)))

    def new_cache(self, batch_size: int, capacity: int) -> KVCache:
        """An empty cache for the decoder's self attention."""
        return new_cache(self, self.decoder.blocks, batch_size, capacity)

    def first_texts(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """As `LanguageModel.first_texts`: the decoder begins with its start token."""
        return [[self.config.decoder_start_token_id] for _ in prompts]

    def start(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, use_cache: bool = True) -> Start:
        """As `LanguageModel.start`: the encoder reads the prompts, and the texts begin with the start token alone."""
        texts = self.first_texts(prompts)
        cache = self.new_cache(len(texts), max(1, max_new_tokens)) if use_cache else None
        source = self.read_source(*padded_on_the_right(prompts, self.device))
        return Start(texts, torch.tensor(texts, device=self.device), Past(cache, source=source))

    def read(self, tokens: torch.Tensor, past: Past) -> torch.Tensor:
        """As `LanguageModel.read`: tokens (B, T) of the decoder."""
        return past.read(tokens, partial(self.hidden, source=past.source))

    @property
    def rate_factors(self) -> dict[str, float]:
        """For AdamW, which moves large and small numbers alike: the end of a parameter's name -> a factor of its rate.

        Queries are sqrt(D) times as small as keys (`initialize`), embeddings sqrt(C) times as large; the bias must grow
        from 0.1 to several units. (T5's own optimizer, Adafactor, moves numbers in proportion to their size.)"""
        c = self.config
        return {"query.weight": c.d_kv**-0.5, "token_embedding.weight": c.d_model**0.5, "relative_bias.weight": 40.0}

    @staticmethod
    def check_dtype(dtype: torch.dtype) -> None:
        """Raise ValueError for float16, which ends below T5's largest states."""
        if dtype == torch.float16:
            raise ValueError("T5 cannot compute in float16: its states can exceed 65504; take bfloat16 or float32")


@torch.no_grad()
def initialize(model: T5) -> None:
    """Fresh weights, as T5's (the code of Raffel et al. 2020); every deviation is multiplied by initializer_factor.

    | what                                 | standard deviation     | why                                              |
    |--------------------------------------|------------------------|--------------------------------------------------|
    | token embedding                      | 1                      | the stream begins at size 1                      |
    | query                                | (d_model · d_kv)^-1/2  | scores near 1 although nothing divides by √D     |
    | key, value, mlp.up, mlp.gate         | d_model^-1/2           | outputs of size 1                                |
    | relative bias                        | d_model^-1/2           | small beside scores of size 1                    |
    | attention output                     | (heads · d_kv)^-1/2    | the same                                         |
    | mlp.down                             | d_ff^-1/2              | the same                                         |
    | a head of its own                    | d_model^-1/2           | logits near 1 (Hugging Face draws with 1)        |
    | norms                                | weight 1               | start as plain normalisation                     |
    """
    if model.token_embedding.weight.is_meta:  # no numbers yet: weights are about to be loaded
        return
    c = model.config
    nn.init.normal_(model.token_embedding.weight, std=c.initializer_factor)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) or name.endswith("relative_bias"):
            width = c.d_model if isinstance(module, nn.Embedding) else module.in_features
            width = width * c.d_kv if name.endswith(".query") else width
            nn.init.normal_(module.weight, std=c.initializer_factor * width**-0.5)


@dataclass(frozen=True)
class T5Config:
    """The shape of a T5; field names and defaults are those of Hugging Face's config.json. Raises ValueError for fields
    that are out of range or do not fit together."""

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64  # width of one head, whatever d_model / num_heads is
    d_ff: int = 2048  # width inside the MLP
    num_layers: int = 6  # of the encoder
    num_decoder_layers: int | None = None  # None = num_layers
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool | None = None  # None = as tie_word_embeddings
    pad_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 1  # several: each of them ends a text
    decoder_start_token_id: int | None = None  # None = pad_token_id

    def __post_init__(self):
        taken_from = {"num_decoder_layers": "num_layers", "scale_decoder_outputs": "tie_word_embeddings"}
        for name, other in (taken_from | {"decoder_start_token_id": "pad_token_id"}).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self, other))
        sizes = "vocab_size d_model d_kv d_ff num_layers num_decoder_layers num_heads"
        check_fields(self, integer, sizes, least=1)
        check_fields(self, integer, "relative_attention_num_buckets", least=4)
        check_fields(self, integer, "relative_attention_max_distance", least=1)
        check_fields(self, integer, "pad_token_id", or_none=True)
        check_fields(self, end_ids, "eos_token_id", or_none=True)
        check_fields(self, integer, "decoder_start_token_id", least=0)
        check_fields(self, number, "dropout_rate", least=0, below=1)
        check_fields(self, number, "layer_norm_epsilon initializer_factor", above=0)
        check_fields(self, flag, "tie_word_embeddings scale_decoder_outputs")
        check_fields(self, choice, "feed_forward_proj", choices=[*ACTIVATIONS, *(f"gated-{a}" for a in ACTIVATIONS)])
        buckets, longest = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if buckets % 2 or longest <= buckets // 2:
            limit = "even and at most 2 · relative_attention_max_distance - 1"
            raise ValueError(f"relative_attention_num_buckets must be {limit}, got {buckets} and {longest}")

    @property
    def is_gated(self) -> bool:
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        """A name in `ACTIVATIONS`. T5's gated GELU is the tanh approximation, though its name does not say so."""
        return "gelu_new" if self.feed_forward_proj == "gated-gelu" else self.feed_forward_proj.removeprefix("gated-")
