"""Your own attention, with every argument that the models of this package use."""

import math

import torch
import torch.nn.functional as F

from ...attention import causal_mask, explicit_attention, repeat_key_heads
from .checking import Exercise, numbers


def _right(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return explicit_attention(q, k, v, mask, causal, bias, scale)


def _allowed(q, k, mask, causal):
    allowed = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool)
    allowed = allowed & causal_mask(q.size(-2), k.size(-2)) if causal else allowed
    return allowed if mask is None else allowed & mask


def _scores(q, k, bias, scale, size=math.sqrt):
    k = repeat_key_heads(k, q.size(-3))
    scores = q @ k.transpose(-2, -1) * (1 / size(q.size(-1)) if scale is None else scale)
    return scores if bias is None else scores + bias


def _mixed(scores, allowed, v, q):
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(dim=-1)
    return weights.masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0) @ repeat_key_heads(v, q.size(-3))


def _undivided(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return _mixed(_scores(q, k, bias, scale, size=lambda d: 1.0), _allowed(q, k, mask, causal), v, q)


def _divided_by_d(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return _mixed(_scores(q, k, bias, scale, size=float), _allowed(q, k, mask, causal), v, q)


def _always_divided(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return _right(q, k, v, mask, causal, bias, None)


def _never_causal(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return _right(q, k, v, mask, False, bias, scale)


def _always_causal(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return _mixed(_scores(q, k, bias, scale), _allowed(q, k, mask, q.size(-2) <= k.size(-2)), v, q)


def _without_mask(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return _right(q, k, v, None, causal, bias, scale)


def _mask_upside_down(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return _right(q, k, v, None if mask is None else ~mask, causal, bias, scale)


def _without_bias(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return _right(q, k, v, mask, causal, None, scale)


def _square_triangle(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    allowed = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool)
    allowed = allowed.tril() if causal else allowed
    return _mixed(_scores(q, k, bias, scale), allowed if mask is None else allowed & mask, v, q)


def _zeros_and_ones_added(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    """The lecture's rule, taken at its word."""
    weights = (_scores(q, k, bias, scale) + _allowed(q, k, mask, causal)).softmax(dim=-1)
    return weights @ repeat_key_heads(v, q.size(-3))


def _mask_after_softmax(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    weights = _scores(q, k, bias, scale).softmax(dim=-1)
    return weights.masked_fill(~_allowed(q, k, mask, causal), 0.0) @ repeat_key_heads(v, q.size(-3))


def _minus_infinity(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    scores = _scores(q, k, bias, scale).masked_fill(~_allowed(q, k, mask, causal), -torch.inf)
    return scores.softmax(dim=-1) @ repeat_key_heads(v, q.size(-3))


def _rows_without_keys_look_everywhere(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    scores = _scores(q, k, bias, scale)
    scores = scores.masked_fill(~_allowed(q, k, mask, causal), torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1) @ repeat_key_heads(v, q.size(-3))


def _softmax_over_queries(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    scores = _scores(q, k, bias, scale)
    scores = scores.masked_fill(~_allowed(q, k, mask, causal), torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-2) @ repeat_key_heads(v, q.size(-3))


def _heads_in_turn(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    times = q.size(-3) // k.size(-3)
    k, v = (x.repeat(1, times, 1, 1) for x in (k, v))
    return _right(q, k, v, mask, causal, bias, scale)


_Q, _K, _V = numbers(2, 4, 5, 8), numbers(2, 4, 5, 8, seed=1), numbers(2, 4, 5, 8, seed=2)
_PADS = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()[:, None, None]  # two pads before the first text

EXERCISES = {
    "own_attention": Exercise(
        "Return attention (B, H, Tq, Dv) for q (B, H, Tq, D), k (B, H, Tk, D), v (B, H, Tk, Dv) and the arguments of "
        "minigpt.attention.explicit_attention: mask, causal, bias, scale. k and v may have fewer heads than q.",
        _right,
        [
            (_Q, _K, _V),  # BERT
            (_Q, _K, _V, None, True),  # GPT
            (_Q[:, :, :2], _K, _V, None, True),  # the last two queries: the others were read before (KV cache)
            (_Q, _K, _V, _PADS, True),  # pads in front of a shorter text
            (_Q, _K, _V, None, False, numbers(1, 4, 5, 5, seed=3), 1.0),  # T5
            (_Q, _K[:, :2], _V[:, :2], None, True),  # Llama
        ],
        [
            (_undivided, "the scores were not divided by sqrt(D). Where scale is None, it is 1 / sqrt(D)."),
            (
                _divided_by_d,
                "the scores were divided by D, and the formula has sqrt(D): the weights come out too even.",
            ),
            (
                _always_divided,
                "scale was not used. T5 gives scale=1.0, since its fresh queries are small: then nothing is divided.",
            ),
            (_never_causal, "causal=True was not used: every query still looks at later keys."),
            (_always_causal, "BERT's call has causal=False: then a query looks at later keys, too."),
            (_without_mask, "mask was not used: the queries look at pads."),
            (_mask_upside_down, "the mask is the wrong way round: True means 'may look'."),
            (_without_bias, "bias was not used: T5 adds it to the scores, after the scale and before the softmax."),
            (
                _square_triangle,
                "right for as many queries as keys only. With a KV cache the queries are the *last* Tq positions: "
                "query i sits at key position Tk - Tq + i.",
            ),
            (
                _zeros_and_ones_added,
                "the masks were added as 0 and 1, as the lecture's rule says. A constant added to a score hides "
                "nothing: what is not allowed needs -inf.",
            ),
            (
                _mask_after_softmax,
                "masked after the softmax: the weights that are left no longer add up to 1. Fill the scores before it.",
            ),
            (
                _minus_infinity,
                "right, except where a query has no key to look at: a softmax of only -inf is nan. Such a row of pads "
                "gets weights of 0 here. A nan would spread from there to the gradients of every token.",
            ),
            (
                _rows_without_keys_look_everywhere,
                "right, except where a query has no key to look at. Filled with the smallest finite number, its scores "
                "are all equal, and it looks at every key. Such a row of pads gets weights of 0 here.",
            ),
            (
                _softmax_over_queries,
                "the softmax ran over the queries, down the columns. Each *query* shares out a weight of 1 among its "
                "keys: dim=-1.",
            ),
            (
                _heads_in_turn,
                "k and v have fewer heads than q, and neighbours share one: query heads 0 and 1 use key head 0 "
                "(repeat_interleave, not repeat).",
            ),
        ],
        by_hand=(F.scaled_dot_product_attention,),
        cases=(
            "BERT (every key)",
            "GPT (causal)",
            "a KV cache (2 queries, 5 keys)",
            "pads (mask)",
            "T5 (bias and scale)",
            "Llama (2 key heads for 4 query heads)",
        ),
    )
}
