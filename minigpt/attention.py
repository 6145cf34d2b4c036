"""Attention: one free function. BERT's, GPT's and T5's attention are three ways of calling it.

    softmax(Q Kᵀ · scale + bias, where looking is allowed) V       "Attention Is All You Need", section 3.2.1

| the lecture's formula              | the call                                                       |
|------------------------------------|----------------------------------------------------------------|
| BERT, bidirectional self attention | explicit_attention(q, k, v)                                    |
| GPT, causal self attention         | explicit_attention(q, k, v, causal=True)                       |
| T5, cross attention                | explicit_attention(q_of_decoder, k_of_encoder, v_of_encoder)   |

Letters used in this project:
    B batch, T tokens, C embedding width, H heads, D width of one head, V vocabulary, S length of another source.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def causal_mask(n_query: int, n_key: int, device=None) -> torch.Tensor:
    """Which keys each query may look at: itself and everything before it.

    Returns a bool tensor (n_query, n_key), True = may look. The queries are the *last* n_query of n_key positions, so
    query i sits at key position n_key - n_query + i. One rule for training (n_query = n_key, the lower triangle),
    for decoding with a cache (n_query = 1, a row of True) and for a later chunk of a prompt:

        causal_mask(3, 5)    k0 k1 k2 k3 k4
                        q0    1  1  1  0  0
                        q1    1  1  1  1  0
                        q2    1  1  1  1  1

    Raises ValueError unless 1 <= n_query <= n_key: an earlier query would have no position.
    """
    if not 1 <= n_query <= n_key:
        raise ValueError(f"causal_mask needs 1 <= n_query <= n_key, got n_query={n_query}, n_key={n_key}")
    query_position = torch.arange(n_key - n_query, n_key, device=device)[:, None]
    key_position = torch.arange(n_key, device=device)[None, :]
    return key_position <= query_position


def padding_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """(B, n_key) of ones (real token) and zeros (pad) -> bool (B, 1, 1, n_key), ready for every head and query.

    Raises ValueError when the tensor is not two-dimensional or holds anything but 0 and 1.
    """
    if attention_mask.dim() != 2:
        raise ValueError(f"attention_mask must have shape (batch, keys), got {tuple(attention_mask.shape)}")
    real = attention_mask != 0
    if attention_mask.dtype != torch.bool and not torch.equal(real.to(attention_mask.dtype), attention_mask):
        raise ValueError(f"attention_mask may hold only 0 and 1, got {attention_mask.unique().tolist()[:8]}")
    return real[:, None, None, :]


def segment_mask(segment_ids: torch.Tensor) -> torch.Tensor:
    """(B, T) numbers of the documents packed into each row -> bool (B, 1, T, T): a token looks at its own document.

    Raises ValueError when the tensor is not two-dimensional, or not of integers.
    """
    if segment_ids.dim() != 2 or segment_ids.is_floating_point():
        got = f"{segment_ids.dtype} {tuple(segment_ids.shape)}"
        raise ValueError(f"segment_ids must be integers of shape (batch, tokens), got {got}")
    return (segment_ids[:, :, None] == segment_ids[:, None, :])[:, None]


def _allowed(mask, causal: bool, n_query: int, n_key: int, device):
    """The two reasons not to look, combined as booleans before they touch a score; None = everything is allowed.

    Filling with the smallest number for one reason and *adding* it for the other overflows to -inf where both hold;
    a row of nothing but that is nan, and a pad's row that escapes it is spread over all keys, the future included.
    """
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"mask must be a bool tensor (True = may look), got {mask.dtype}")
    if causal and n_query == 1:  # the newest position may look at every key
        causal = False
    if not causal:
        return mask
    triangle = causal_mask(n_query, n_key, device)
    return triangle if mask is None else mask & triangle


def _check(q, k, v, mask, bias, scale) -> None:
    """Raise ValueError for what does not fit: a kernel would stumble over it, or broadcast it and say nothing."""
    fits = k.shape[:-2] == q.shape[:-2] and k.shape[-1] == q.shape[-1]
    if not fits or (v is not None and v.shape[:-1] != k.shape[:-1]):
        shapes = [f"{name} {tuple(t.shape)}" for name, t in [("q", q), ("k", k), ("v", v)] if t is not None]
        raise ValueError(f"expected q (B, H, Tq, D), k (B, H, Tk, D), v (B, H, Tk, Dv), got {', '.join(shapes)}")
    for name, tensor in [("k", k), ("v", v), ("mask", mask), ("bias", bias)]:
        if tensor is not None and tensor.device != q.device:
            raise ValueError(f"{name} is on {tensor.device}, q on {q.device}")
    scores = (*q.shape[:-1], k.size(-2))
    for name, tensor in [("mask", mask), ("bias", bias)]:
        if tensor is None:
            continue
        try:
            tensor.expand(scores)
        except RuntimeError:
            raise ValueError(f"{name} {tuple(tensor.shape)} does not broadcast to the scores, {scores}") from None
    if bias is not None and not bias.is_floating_point():
        raise ValueError(f"bias is added to the scores: it must be floating point, got {bias.dtype}")
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive, got {scale}")


def attention_weights(q, k, mask=None, causal=False, bias=None, scale=None) -> torch.Tensor:
    """How much each query takes from each key: softmax(q kᵀ · scale + bias) over the keys it may look at.

    q (B, H, Tq, D), k (B, H, Tk, D); mask bool, True = may look, and bias (added to the scores, for T5's relative
    positions), both broadcast to (B, H, Tq, Tk); scale None = 1/sqrt(D). Returns (B, H, Tq, Tk); each row sums to 1,
    or to 0 where a mask leaves the query nothing to look at. Raises ValueError for shapes or devices that do not fit,
    a mask that is not bool, a scale that is not positive and, with causal=True, more queries than keys.
    """
    _check(q, k, None, mask, bias, scale)
    scale = 1 / math.sqrt(q.size(-1)) if scale is None else scale
    scores = (q * scale) @ k.transpose(-2, -1)  # (B, H, Tq, Tk)
    if bias is not None:
        scores = scores + bias
    allowed = _allowed(mask, causal, q.size(-2), k.size(-2), q.device)
    if allowed is None:
        return scores.softmax(dim=-1)
    # The smallest finite number rather than -inf: it too vanishes in the softmax, and an empty row stays finite.
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(dim=-1)
    if mask is None:  # a causal row always sees itself
        return weights
    return weights.masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0)


def explicit_attention(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0) -> torch.Tensor:
    """The lecture's formula, step by step. Arguments as in `attention_weights`; v (B, H, Tk, Dv).

    dropout is the probability with which a weight is zeroed (0.0 outside training). Returns (B, H, Tq, Dv).
    """
    _check(q, k, v, mask, bias, scale)
    weights = attention_weights(q, k, mask, causal, bias, scale)
    if dropout > 0:
        weights = F.dropout(weights, dropout)
    return weights @ v


def sdpa_attention(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0) -> torch.Tensor:
    """The same answers from PyTorch's fused kernels, which never hold the (Tq, Tk) weights.

    Signature and result of `explicit_attention`. Only this function knows how torch likes to be asked: its
    `is_causal` puts the diagonal in the top left corner, right for n_query = n_key only, but it is the one form
    that FlashAttention takes; any other causal call needs the boolean mask.
    """
    _check(q, k, v, mask, bias, scale)
    n_query, n_key = q.size(-2), k.size(-2)
    is_causal = causal and mask is None and bias is None and 1 < n_query == n_key
    allowed = None if is_causal else _allowed(mask, causal, n_query, n_key, q.device)
    if bias is not None and allowed is not None:
        allowed = bias.masked_fill(~allowed, -torch.inf)
    elif bias is not None:
        allowed = bias
    if allowed is not None and allowed.dim() == 1:  # one row for all queries: the kernels want it written as such
        allowed = allowed[None]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=allowed, is_causal=is_causal, scale=scale, dropout_p=dropout
    )


ATTENTION_FUNCTIONS = {"explicit": explicit_attention, "sdpa": sdpa_attention}


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each on its own D = d_head columns ("Attention Is All You Need", section 3.2.2).

    d_head None = d_model / n_head. linear_bias, scale and dropout are those of the model: T5 has no biases and
    scale 1.0. `attention` is any function with the signature of `explicit_attention`.
    """

    def __init__(
        self, d_model, n_head, d_head=None, linear_bias=True, scale=None, dropout=0.0, attention=explicit_attention
    ):
        super().__init__()
        if d_model < 1 or n_head < 1 or (d_head is not None and d_head < 1):
            sizes = f"d_model={d_model}, n_head={n_head}, d_head={d_head}"
            raise ValueError(f"d_model, n_head and d_head must be positive, got {sizes}")
        if d_head is None and d_model % n_head:
            raise ValueError(f"d_model must be divisible by n_head, got d_model={d_model}, n_head={n_head}")
        d_head = d_model // n_head if d_head is None else d_head
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        if not callable(attention):
            raise ValueError(f"attention must be a function such as explicit_attention, got {attention!r}")
        self.n_head, self.d_head, self.scale, self.dropout = n_head, d_head, scale, dropout
        self.attention = attention
        self.query = nn.Linear(d_model, n_head * d_head, bias=linear_bias)
        self.key = nn.Linear(d_model, n_head * d_head, bias=linear_bias)
        self.value = nn.Linear(d_model, n_head * d_head, bias=linear_bias)
        self.output = nn.Linear(n_head * d_head, d_model, bias=linear_bias)

    def forward(self, x, source=None, mask=None, causal=False, bias=None, cache=None, layer=None) -> torch.Tensor:
        """x (B, T, C) asks; source (B, S, C) answers, None = x itself (self attention). Returns (B, T, C).

        With a cache, the keys and values of earlier tokens of this layer are put in front of those of x.
        Raises ValueError for shapes that do not fit, and for a cache together with another source.
        """
        if cache is not None and source is not None:
            raise ValueError("cache holds the keys and values of earlier tokens of x; it cannot serve another source")
        source = x if source is None else source
        for name, value in [("x", x), ("source", source)]:
            if value.dim() != 3 or value.size(-1) != self.query.in_features:
                expected = f"(B, tokens, {self.query.in_features})"
                raise ValueError(f"{name} must have shape {expected}, got {tuple(value.shape)}")
        q = self._split_heads(self.query(x))  # (B, H, T, D)
        k = self._split_heads(self.key(source))  # (B, H, S, D)
        v = self._split_heads(self.value(source))  # same source as k, another projection
        if cache is not None:
            k, v = cache.append(layer, k, v)  # (B, H, past + T, D)
        dropout = self.dropout if self.training else 0.0
        heads = self.attention(q, k, v, mask=mask, causal=causal, bias=bias, scale=self.scale, dropout=dropout)
        return self.output(heads.transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, H*D) -> (B, T, C)

    def _split_heads(self, x):
        return x.unflatten(-1, (self.n_head, self.d_head)).transpose(1, 2)  # (B, T, H*D) -> (B, H, T, D)
