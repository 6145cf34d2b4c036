"""Attention is one formula: BERT's, GPT's and T5's attention are three calls of one function.

    softmax(Q Kᵀ / sqrt(D) + M) V       "Attention Is All You Need", section 3.2.1

| the lecture's formula              | the call, as the lecture writes it                             |
|------------------------------------|----------------------------------------------------------------|
| BERT, bidirectional self attention | explicit_attention(q, k, v)                                    |
| GPT, causal self attention         | explicit_attention(q, k, v, causal=True)                       |
| T5, cross attention                | explicit_attention(q_of_decoder, k_of_encoder, v_of_encoder)   |

The published T5 does not divide by sqrt(D): scale=1.0. It adds a bias for the distance of query and key: bias=... (its
cross attention has none).
Letters: B batch, T tokens, C embedding width, H heads, D width of one head, V vocabulary, S length of another source,
H_kv heads of keys and values, Tq queries, Tk keys.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ._checks import check_attention, head_sizes, integer, number
from .tiled_attention import tiled_attention


def formula(q, k, v, mask):
    """The formula as code, to be read. `explicit_attention` below computes the same and covers every case.

    q (B, H, Tq, D), k (B, H, Tk, D), v (B, H, Tk, Dv), mask (Tq, Tk) bool, True = may look. Returns (B, H, Tq, Dv).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (B, H, Tq, Tk): how well each key fits each query
    scores = scores.masked_fill(~mask, -math.inf)  # M: 0 where a query may look, -inf where it may not
    weights = scores.softmax(dim=-1)  # each query's row sums to 1
    return weights @ v  # a mean of the values, weighted


# --- masks: which keys a query may look at ---------------------------------------------------------------------------


def causal_mask(n_query: int, n_key: int, device=None) -> torch.Tensor:
    """Which keys each query may look at: itself and everything before it.

    Returns a bool tensor (n_query, n_key), True = may look. The queries are the *last* n_query of n_key positions, so
    query i sits at key position n_key - n_query + i. This rule covers training (n_query = n_key, the lower triangle),
    decoding with a cache (n_query = 1, a row of True) and a later chunk of a prompt:

        causal_mask(3, 5)    k0 k1 k2 k3 k4
                        q0    1  1  1  0  0
                        q1    1  1  1  1  0
                        q2    1  1  1  1  1

    Raises ValueError unless 1 <= n_query <= n_key: an earlier query would have no position.
    """
    n_query, n_key = integer("n_query", n_query), integer("n_key", n_key)
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
    if torch.compiler.is_compiling():  # while it compiles there are no values to check
        return real[:, None, None, :]
    if attention_mask.dtype != torch.bool and not torch.equal(real.to(attention_mask.dtype), attention_mask):
        raise ValueError(f"attention_mask may hold only 0 and 1, got {attention_mask.unique().tolist()[:8]}")
    return real[:, None, None, :]


# --- the formula for every case: masks, bias, scale, dropout, grouped key heads, empty rows --------------------------


def attention_weights(q, k, mask=None, causal=False, bias=None, scale=None) -> torch.Tensor:
    """How much each query takes from each key: softmax(q kᵀ · scale + bias) over the keys it may look at.

    q (B, H, Tq, D), k (B, H, Tk, D), or fewer key heads, as in `repeat_key_heads`; mask bool, True = may look, and bias
    (added to the scores, for T5's relative positions), both broadcast to (B, H, Tq, Tk); scale None = 1/sqrt(D).
    Returns (B, H, Tq, Tk); each row sums to 1, or to 0 where a mask leaves the query nothing to look at. Raises
    ValueError for shapes or devices that do not fit, a mask that is not bool, a scale that is not positive and, with
    causal=True, more queries than keys.
    """
    check_attention(q, k, None, mask, bias, scale, causal)
    scale = 1 / math.sqrt(q.size(-1)) if scale is None else scale
    scores = _product_of_heads(q * scale, k.transpose(-2, -1))  # (B, H, Tq, Tk)
    if bias is not None:
        scores = scores + bias
    allowed = _allowed(mask, causal, q.size(-2), k.size(-2), q.device)
    if allowed is None:
        return scores.softmax(dim=-1)
    # The smallest finite number, not -inf: softmax makes it 0 as well, and a row without an allowed key is not nan.
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(dim=-1)
    if mask is None:  # a causal query may always look at its own key
        return weights
    return weights.masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0)


def explicit_attention(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0) -> torch.Tensor:
    """The lecture's formula, step by step. Arguments and errors as in `attention_weights`; v (B, H, Tk, Dv).

    dropout is the probability with which a weight is zeroed (0.0 outside training). Returns (B, H, Tq, Dv).
    """
    check_attention(q, k, v, mask, bias, scale, causal)
    weights = attention_weights(q, k, mask, causal, bias, scale)
    if dropout > 0:
        weights = F.dropout(weights, dropout)
    return _product_of_heads(weights, v)


def sdpa_attention(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0) -> torch.Tensor:
    """The same answers from PyTorch's fused kernels, which never hold the (Tq, Tk) weights.

    Arguments, result and errors are those of `explicit_attention`. Which kernel runs: `minigpt.compare.kernels`.
    """
    return F.scaled_dot_product_attention(**sdpa_arguments(q, k, v, mask, causal, bias, scale, dropout))


def sdpa_arguments(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0) -> dict:
    """Our arguments in the words of torch's `scaled_dot_product_attention`. Errors as in `explicit_attention`.

    torch's `is_causal` lets query i look at the keys 0 ... i, which is right for n_query = n_key only. But it is the
    only causal form that FlashAttention takes, so it is used where it is right; any other causal call gets the boolean
    mask.
    """
    check_attention(q, k, v, mask, bias, scale, causal)
    n_query, n_key = q.size(-2), k.size(-2)
    is_causal = True if causal and mask is None and bias is None and 1 < n_query == n_key else False  # noqa: SIM210
    allowed = None if is_causal else _allowed(mask, causal, n_query, n_key, q.device)
    if bias is not None and allowed is not None:
        allowed = bias.masked_fill(~allowed, -torch.inf)
    elif bias is not None:
        allowed = bias
    if allowed is not None and allowed.dim() in (1, q.dim() - 1):  # the kernels take two dimensions, or all four
        allowed = allowed[None]
    grouped = q.shape[:-2] != k.shape[:-2]
    return dict(
        query=q, key=k, value=v, attn_mask=allowed, dropout_p=dropout, is_causal=is_causal, scale=scale,
        enable_gqa=grouped,
    )  # fmt: skip


def repeat_key_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Grouped keys or values (B, H_kv, Tk, D) -> (B, n_head, Tk, D): key head j serves the n_head / H_kv query heads
    from j · n_head / H_kv on ("GQA", Ainslie et al. 2023, section 2.2)."""
    return x.repeat_interleave(n_head // x.size(-3), dim=-3)


def _product_of_heads(a, b):
    """a @ b, head by head: a (B, H, Tq, X), b (B, H or H_kv, X, Y) -> (B, H, Tq, Y)."""
    if a.shape[:-2] == b.shape[:-2]:
        return a @ b
    if a.size(-2) == 1:  # one query a head: a group's queries are the rows of one product, and no key is copied
        groups = a.squeeze(-2).unflatten(-2, (b.size(-3), -1))  # (B, H_kv, H / H_kv, X)
        return (groups @ b).flatten(-3, -2).unsqueeze(-2)
    return a @ repeat_key_heads(b, a.size(-3))


def _allowed(mask, causal: bool, n_query: int, n_key: int, device):
    """Which keys each query may look at by mask and causal, combined as booleans; None = all of them.

    If the smallest number were filled in for one and *added* for the other, the sum would overflow to -inf where both
    forbid a key. A row of only -inf is nan. A row of only the smallest number looks at all keys, later ones included.
    """
    if causal and n_query == 1:  # the newest position may look at every key
        causal = False
    if not causal:
        return mask
    triangle = causal_mask(n_query, n_key, device)
    return triangle if mask is None else mask & triangle


# --- many heads ------------------------------------------------------------------------------------------------------

ATTENTION_FUNCTIONS = {"explicit": explicit_attention, "sdpa": sdpa_attention, "tiled": tiled_attention}


def attention_function(attention: str | Callable) -> Callable:
    """The function with this name in `ATTENTION_FUNCTIONS`. If attention is a function, it is returned as it is.

    Raises ValueError for another name, or something that cannot be called.
    """
    if callable(attention):
        return attention
    if not isinstance(attention, str) or attention not in ATTENTION_FUNCTIONS:
        known = ", ".join(ATTENTION_FUNCTIONS)
        raise ValueError(
            f"attention must be one of {known}; got {attention!r} (or give a function such as explicit_attention)"
        )
    return ATTENTION_FUNCTIONS[attention]


def is_ours(attend: Callable) -> bool:
    """Whether an attention function is one of this file: only of these we know the weights (`attention_weights`)."""
    return attend in ATTENTION_FUNCTIONS.values()


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each on its own D = d_head columns ("Attention Is All You Need", section 3.2.2).

    n_kv_head None = n_head; fewer key heads serve a group of query heads each (Llama). d_head None = d_model / n_head.
    linear_bias, scale and dropout are those of the model: T5 has no biases and scale 1.0. `attend` is any function with
    the signature of `explicit_attention`. Raises ValueError for a size below 1, or one that does not divide.
    """

    def __init__(
        self,
        d_model: int,
        n_head: int,
        n_kv_head: int | None = None,
        d_head: int | None = None,
        linear_bias: bool = True,
        scale: float | None = None,
        dropout: float = 0.0,
        attend: Callable = explicit_attention,
    ):
        super().__init__()
        d_model, n_head, n_kv_head, d_head = head_sizes(d_model, n_head, n_kv_head, d_head)
        if not callable(attend):
            raise ValueError(f"attend must be a function such as explicit_attention, got {attend!r}")
        self.n_head, self.n_kv_head, self.d_head, self.scale, self.attend = n_head, n_kv_head, d_head, scale, attend
        self.dropout = number("dropout", dropout, least=0, below=1)
        self.query = nn.Linear(d_model, n_head * d_head, bias=linear_bias)
        self.key = nn.Linear(d_model, n_kv_head * d_head, bias=linear_bias)
        self.value = nn.Linear(d_model, n_kv_head * d_head, bias=linear_bias)
        self.output = nn.Linear(n_head * d_head, d_model, bias=linear_bias)

    def forward(
        self, x, source=None, *, keys_values=None, mask=None, causal=False, bias=None, rotate=None, cache=None
    ) -> torch.Tensor:
        """x (B, T, C) gives the queries, source (B, S, C) the keys and values; None = x itself. Returns (B, T, C).

        keys_values: those of a source, made once by `keys_values`, in place of the source (T5's decoder).
        rotate: a function (B, H, T, D) -> (B, H, T, D) that turns queries and keys by their positions (Llama).
        cache: one layer of a `KVCache`; the keys and values of earlier tokens are put in front of those of x. They
        are stored rotated. mask, causal and bias as in `explicit_attention`.
        Raises ValueError for shapes that do not fit, and for arguments that exclude each other.
        """
        if (source is not None) + (keys_values is not None) + (cache is not None or rotate is not None) > 1:
            raise ValueError("source and keys_values exclude each other; cache and rotate are for self attention only")
        self._check_width("x", x)
        q = self._split_heads(self.query(x), self.n_head)  # (B, H, T, D)
        k, v = self.keys_values(x if source is None else source) if keys_values is None else keys_values
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, H_kv, past + T, D)
        if self.n_kv_head < self.n_head and not is_ours(self.attend):  # other functions expect H key heads
            k, v = repeat_key_heads(k, self.n_head), repeat_key_heads(v, self.n_head)
        dropout = self.dropout if self.training else 0.0
        heads = self.attend(q, k, v, mask=mask, causal=causal, bias=bias, scale=self.scale, dropout=dropout)
        return self.output(heads.transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, H*D) -> (B, T, C)

    def keys_values(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys and values of a source (B, S, C), (B, H_kv, S, D) each, from two linear layers."""
        self._check_width("source", source)
        k = self._split_heads(self.key(source), self.n_kv_head)
        v = self._split_heads(self.value(source), self.n_kv_head)
        return k, v

    def _split_heads(self, x, n_head):
        return x.unflatten(-1, (n_head, self.d_head)).transpose(1, 2)  # (B, T, H*D) -> (B, H, T, D)

    def _check_width(self, name, x):
        if x.dim() != 3 or x.size(-1) != self.query.in_features:
            raise ValueError(f"{name} must have shape (B, tokens, {self.query.in_features}), got {tuple(x.shape)}")
