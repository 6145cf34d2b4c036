"""GPT-2 (Radford et al. 2019): token ids -> hidden states -> logits.

    tokens (B, T) -> token + position embedding (B, T, C) -> n_layer blocks -> final norm -> logits (B, T, V)

The loss is not in here (loss.py), nor is any way of choosing a token (generation.py).
"""

import math
from collections.abc import Callable
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from ..attention import ATTENTION_FUNCTIONS, MultiHeadAttention, padding_mask, segment_mask
from ..kv_cache import KVCache
from .config import ACTIVATIONS, GPT2Config


class MLP(nn.Module):
    """Two layers applied to each position alone: (B, T, C) -> (B, T, n_inner) -> (B, T, C)."""

    def __init__(self, config: GPT2Config):
        super().__init__()
        n_inner = config.n_inner or 4 * config.n_embd
        self.up = nn.Linear(config.n_embd, n_inner)
        self.activation = ACTIVATIONS[config.activation_function]
        self.down = nn.Linear(n_inner, config.n_embd)

    def forward(self, x):
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """Pre-norm: each part reads a normalised copy of the residual stream and adds its answer to the stream."""

    def __init__(self, config: GPT2Config, layer: int, attention: Callable):
        super().__init__()
        scale = 1 / math.sqrt(config.n_embd // config.n_head) if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            scale /= layer + 1
        self.layer = layer
        self.attention_norm = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attention = MultiHeadAttention(
            config.n_embd, config.n_head, scale=scale, dropout=config.attn_pdrop, attention=attention
        )
        self.mlp_norm = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x, mask=None, cache=None):
        attended = self.attention(self.attention_norm(x), mask=mask, causal=True, cache=cache, layer=self.layer)
        x = x + self.dropout(attended)
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class GPT2(nn.Module):
    """GPT-2. `attention` is "explicit" (the formula, to read) or "sdpa" (PyTorch's fused kernels, the same answers)."""

    def __init__(self, config: GPT2Config, attention: str = "explicit"):
        super().__init__()
        if attention not in ATTENTION_FUNCTIONS:
            raise ValueError(f"attention must be one of {', '.join(ATTENTION_FUNCTIONS)}; got {attention!r}")
        self.config = config
        self.token_embedding = _embedding(config.vocab_size, config.n_embd)
        self.position_embedding = _embedding(config.n_positions, config.n_embd)
        self.dropout = nn.Dropout(config.embd_pdrop)
        function = ATTENTION_FUNCTIONS[attention]
        self.blocks = nn.ModuleList(Block(config, layer, function) for layer in range(config.n_layer))
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
        the cache (0 without one). position_ids (B, T) None = `position_ids_for`. A cache is appended to.
        segment_ids (B, T) number the documents packed into a row: none sees another, each starts at position 0.
        Raises ValueError, before any work, for a wrong shape, dtype or device, an id or position out of range, a cache
        that is full or another model's.
        """
        past = 0 if cache is None else cache.length
        self._check_input(tokens, attention_mask, position_ids, cache, past)
        mask = None if attention_mask is None else padding_mask(attention_mask)
        if segment_ids is not None:
            if attention_mask is not None or cache is not None or segment_ids.shape != tokens.shape:
                raise ValueError(
                    f"segment_ids {tuple(segment_ids.shape)} must have the shape of tokens, {tuple(tokens.shape)}, and "
                    "come without cache or attention_mask (give pads a segment of their own)"
                )
            mask = segment_mask(segment_ids)
        if position_ids is None and segment_ids is not None:
            position_ids = positions_in_segments(segment_ids)
        elif position_ids is None:
            position_ids = position_ids_for(attention_mask, past, tokens)
        elif position_ids.shape != tokens.shape:
            raise ValueError(
                f"position_ids {tuple(position_ids.shape)} must have the shape of tokens, {tuple(tokens.shape)}"
            )
        check_ids("position id", position_ids, self.config.n_positions, "n_positions")

        x = self.token_embedding(tokens) + self.position_embedding(position_ids)  # (B, T, C)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, mask, cache)
        return self.final_norm(x)

    @property
    def head_weight(self) -> torch.Tensor:
        """(V, C), what turns hidden states into logits: the token embedding itself, unless the head is not tied."""
        return (self.token_embedding if self.lm_head is None else self.lm_head).weight

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., C) -> (..., V): one unnormalised score per vocabulary entry; softmax makes them probabilities."""
        return F.linear(hidden, self.head_weight)

    def forward(self, tokens, attention_mask=None, position_ids=None, cache=None, segment_ids=None) -> torch.Tensor:
        """(B, T) -> logits (B, T, V) of every position; arguments as in `hidden`."""
        return self.logits(self.hidden(tokens, attention_mask, position_ids, cache, segment_ids))

    def new_cache(self, batch_size: int, capacity: int) -> KVCache:
        """An empty cache for up to `capacity` tokens of `batch_size` rows, on the model's device, in its dtype."""
        c, weight = self.config, self.token_embedding.weight
        return KVCache(c.n_layer, batch_size, c.n_head, capacity, c.n_embd // c.n_head, weight.device, weight.dtype)

    def _check_input(self, tokens, attention_mask, position_ids, cache, past):
        c, weight = self.config, self.token_embedding.weight
        for name, tensor in [("tokens", tokens), ("attention_mask", attention_mask), ("position_ids", position_ids)]:
            if tensor is None and name != "tokens":
                continue
            if not isinstance(tensor, torch.Tensor) or tensor.device != weight.device:
                where = getattr(tensor, "device", type(tensor).__name__)
                raise ValueError(f"{name} must be a tensor on {weight.device}, where the model is, got {where}")
            if name != "attention_mask" and tensor.dtype != torch.int64:
                raise ValueError(f"{name} must be int64 ids, got {tensor.dtype}")
        if tokens.dim() != 2 or tokens.numel() == 0:
            raise ValueError(
                f"tokens must have shape (batch, tokens) with at least one of each, got {tuple(tokens.shape)}"
            )
        check_ids("token id", tokens, c.vocab_size, "vocab_size")
        if attention_mask is not None and attention_mask.shape != (tokens.size(0), past + tokens.size(1)):
            raise ValueError(
                f"attention_mask must cover all keys, shape {(tokens.size(0), past + tokens.size(1))}, "
                f"got {tuple(attention_mask.shape)} for tokens {tuple(tokens.shape)} after {past} cached"
            )
        if cache is None:
            return
        if cache.batch_size != tokens.size(0) or past + tokens.size(1) > cache.capacity:
            raise ValueError(
                f"cache for {cache.batch_size} rows of {cache.capacity} tokens, {past} filled, "
                f"cannot take tokens {tuple(tokens.shape)}"
            )
        made_for = (*cache.keys.shape[::2], cache.keys.dtype, cache.keys.device)
        expected = (c.n_layer, c.n_head, c.n_embd // c.n_head, weight.dtype, weight.device)
        if made_for != expected:
            raise ValueError(f"cache was made for (layers, heads, width, ...) {made_for}, the model has {expected}")


def _embedding(n_rows: int, width: int) -> nn.Embedding:
    """Without torch's own first draw, which `initialize` would draw over (and which takes seconds on the device "meta",
    where loaded models are built)."""
    return nn.Embedding.from_pretrained(torch.empty(n_rows, width), freeze=False)


@contextmanager
def eval_mode(model: nn.Module):
    """Inside, no dropout; afterwards the mode from before, whatever happens. Never around a `yield`: what runs between
    two steps of a generator is somebody else's."""
    if not model.training:
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train()


def position_ids_for(attention_mask, past: int, tokens: torch.Tensor) -> torch.Tensor:
    """(B, T) positions of tokens: past ... past + T - 1, or with an attention_mask the count of real tokens before.

    So the first real token of a left-padded row has position 0, as it had in training; pads get a harmless 0.
    """
    if attention_mask is None:
        return torch.arange(past, past + tokens.size(1), device=tokens.device).expand_as(tokens)
    positions = attention_mask.long().cumsum(dim=-1) - 1
    return positions.clamp(min=0)[:, -tokens.size(1) :]


def positions_in_segments(segment_ids: torch.Tensor) -> torch.Tensor:
    """(B, T) positions counted from the first token of each segment, a run of equal numbers (that comes once)."""
    places = torch.arange(segment_ids.size(1), device=segment_ids.device).expand_as(segment_ids)
    starts = torch.ones_like(segment_ids, dtype=torch.bool)
    starts[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    return places - (places * starts).cummax(dim=1).values  # the newest start so far


def check_ids(what: str, ids: torch.Tensor, limit: int, limit_name: str) -> None:
    """Raise ValueError that names the place of an id outside 0..limit - 1 among ids (rows, columns)."""
    smallest, largest = (bound.item() for bound in ids.aminmax())
    if smallest < 0 or largest >= limit:
        wrong = smallest if smallest < 0 else largest
        row, column = (ids == wrong).nonzero()[0].tolist()
        raise ValueError(
            f"{what} {wrong} at row {row}, column {column} is outside 0..{limit - 1} ({limit_name}={limit})"
        )


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
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for block in model.blocks:
        for into_stream in (block.attention.output, block.mlp.down):
            nn.init.normal_(into_stream.weight, std=std / math.sqrt(2 * len(model.blocks)))
