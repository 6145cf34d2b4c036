"""Attention: the causal mask, and the formula."""

import torch
import torch.nn.functional as F

from ...attention import causal_mask, explicit_attention
from .checking import Exercise, numbers


def _weighted(scores, v, allowed):
    return scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v


def _attention(q, k, v, allowed):
    return explicit_attention(q, k, v, mask=allowed)


def _mask_after_softmax(q, k, v, allowed):
    weights = (q @ k.transpose(-2, -1) / q.size(-1) ** 0.5).softmax(-1)
    return weights.masked_fill(~allowed, 0.0) @ v


def _softmax_over_queries(q, k, v, allowed):
    scores = (q @ k.transpose(-2, -1) / q.size(-1) ** 0.5).masked_fill(~allowed, -torch.inf)
    return scores.softmax(dim=-2) @ v


def _zeros_and_ones_added(q, k, v, allowed):
    """The lecture's rule as it is written: the mask is added."""
    return (q @ k.transpose(-2, -1) / q.size(-1) ** 0.5 + allowed).softmax(-1) @ v


_MASKED = causal_mask(4, 4)


EXERCISES = {
    "causal_mask": Exercise(
        "Return a bool tensor (n_query, n_key), True where query i may look at key j; the queries are the last ones.",
        causal_mask,
        [(4, 4), (2, 5), (1, 3), (3, 4)],
        [
            (
                lambda n, m: torch.ones(n, m).bool().tril(m - n - 1),
                "the diagonal is missing: a token may look at itself. Without it, the first token may look at nothing.",
            ),
            (
                lambda n, m: torch.ones(n, m).bool().tril(),
                "right for n_query = n_key only. The queries are the *last* n_query positions: query 0 of (2, 5) sits "
                "at key position 3 and may look at four keys.",
            ),
            (
                lambda n, m: ~causal_mask(n, m),
                "True and False are exchanged: True means 'may look'. You marked what is to be hidden.",
            ),
            (
                lambda n, m: torch.ones(n, m).bool().triu(m - n),
                "triu keeps the upper half: each query may look at itself and at what comes *after* it. The past is "
                "the lower half, tril.",
            ),
            (
                lambda n, m: torch.ones(n, m).bool().triu(1),
                "triu(1) marks the future, which is to be hidden. True means 'may look', and the past is the lower "
                "half, tril.",
            ),
            (
                lambda n, m: torch.ones(n, m).bool().triu(),
                "triu keeps the upper half: each query may look at itself and at what comes *after* it. The past is "
                "the lower half, tril.",
            ),
        ],
    ),
    "attention": Exercise(
        "Return softmax(q kᵀ / sqrt(D), where allowed) v for q, k, v (T, D) and a bool mask (T, T).",
        _attention,
        [(numbers(4, 9), numbers(4, 9, seed=1), numbers(4, 5, seed=2), _MASKED)],
        [
            (
                lambda q, k, v, m: _weighted(q @ k.transpose(-2, -1), v, m),
                "the scores were not divided by sqrt(D). Sums of D products grow with sqrt(D), and the softmax "
                "then gives almost all weight to one key.",
            ),
            (
                lambda q, k, v, m: _weighted(q @ k.transpose(-2, -1) / q.size(-1), v, m),
                "divided by D, where the formula has sqrt(D): the weights are too equal.",
            ),
            (
                lambda q, k, v, m: explicit_attention(q, k, v),
                "the mask was not used: every query still looks at every key, the future included.",
            ),
            (
                _mask_after_softmax,
                "masked after the softmax: the weights that are left no longer add up to 1, because the hidden keys "
                "are still in the denominator. Fill the scores with -inf before it.",
            ),
            (
                lambda q, k, v, m: explicit_attention(q, k, v, mask=~m),
                "the mask is the wrong way round: True means 'may look', so the scores to fill are those of ~mask.",
            ),
            (
                lambda q, k, v, m: _weighted(q @ k.transpose(-2, -1) / q.size(-1) ** 0.5, v, ~m),
                "the mask is the wrong way round: the scores to fill are those of ~mask. Now the last query has no key "
                "to look at, and its row is nan.",
            ),
            (
                _softmax_over_queries,
                "the softmax ran over the queries, down the columns. The weights of each *query* over its keys add "
                "up to 1: dim=-1.",
            ),
            (
                _zeros_and_ones_added,
                "the mask was added as 0 and 1, as the lecture's rule says. Adding 0 hides nothing: what is not "
                "allowed needs -inf.",
            ),
        ],
        by_hand=(F.scaled_dot_product_attention,),
    ),
}
