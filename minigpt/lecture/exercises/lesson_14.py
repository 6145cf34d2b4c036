"""The attention lab: attention by tiles, softmax's derivative, a window, fewer key heads."""

import math

import torch

from ...masks import sliding_window_mask
from .checking import Exercise, numbers


def _by_tiles(q, k, v, tile, rescale_sum=True, rescale_total=True, maximum=True, places="global", scale=True):
    """Causal attention with an online softmax over tiles of keys; the arguments make the known mistakes."""
    n, d = q.shape
    scores = q @ k.T / (math.sqrt(d) if scale else 1)
    largest = torch.full((n, 1), -math.inf, dtype=q.dtype)
    total, summed = torch.zeros(n, 1, dtype=q.dtype), torch.zeros(n, v.size(1), dtype=q.dtype)
    for start in range(0, n, tile):
        part = scores[:, start : start + tile]
        keys = torch.arange(part.size(1)) + (start if places == "global" else 0)
        if places != "none":
            part = part.masked_fill(keys > torch.arange(n)[:, None], -math.inf)
        new = torch.maximum(largest, part.amax(dim=1, keepdim=True)) if maximum else torch.zeros_like(largest)
        weights, factor = (part - new).exp(), (largest - new).exp() if maximum else 1.0
        total = total * (factor if rescale_total else 1) + weights.sum(dim=1, keepdim=True)
        summed = summed * (factor if rescale_sum else 1) + weights @ v[start : start + tile]
        largest = new
    return summed / total


def _softmax_of_each_tile(q, k, v, tile):
    """The answers of the tiles, each with a softmax of its own: (tiles, T, D)."""
    n, d = q.shape
    scores = (q @ k.T / math.sqrt(d)).masked_fill(~torch.ones(n, n).tril().bool(), -math.inf)
    parts = [
        scores[:, start : start + tile].softmax(dim=1).nan_to_num() @ v[start : start + tile]
        for start in range(0, n, tile)
    ]
    return torch.stack(parts)


def _score_gradient(weights, d_weights):
    return weights * (d_weights - (weights * d_weights).sum(dim=-1, keepdim=True))


def _window(n_tokens, window):
    return sliding_window_mask(n_tokens, n_tokens, window)


def _distance(n_tokens):
    places = torch.arange(n_tokens)
    return places[:, None] - places


def _mean_heads(k, n_kv_head):
    return k.unflatten(1, (n_kv_head, -1)).mean(dim=2)


_ROWS = numbers(4, 5).softmax(dim=-1)

EXERCISES = {
    "attention_by_tiles": Exercise(
        "Return (T, D), causal attention softmax(q kᵀ / √D + M) v, reading the keys and values tile by tile: for each "
        "query keep the largest score so far, the sum of the weights and the weighted sum of the values.",
        _by_tiles,
        [
            (numbers(7, 4), numbers(7, 4, seed=1), numbers(7, 4, seed=2), 3),
            (3000 * numbers(6, 4, seed=3), numbers(6, 4, seed=4), numbers(6, 4, seed=5), 2),
        ],
        [
            (
                lambda q, k, v, tile: _by_tiles(q, k, v, tile, rescale_sum=False),
                "the weighted sum of the values is not rescaled. When a tile raises the largest score, what was "
                "summed before has the wrong factor: multiply it by exp(old largest − new largest).",
            ),
            (
                lambda q, k, v, tile: _by_tiles(q, k, v, tile, rescale_total=False),
                "the sum of the weights is not rescaled. It needs the same factor as the weighted sum of the values, "
                "exp(old largest − new largest).",
            ),
            (
                lambda q, k, v, tile: _by_tiles(q, k, v, tile, rescale_total=False, rescale_sum=False),
                "nothing is rescaled: neither the sum of the weights nor the weighted sum of the values. When a tile "
                "raises the largest score, both are multiplied by exp(old largest − new largest).",
            ),
            (
                lambda q, k, v, tile: _by_tiles(q, k, v, tile, maximum=False),
                "no largest score is subtracted. It is right for small scores; exp of a score in the thousands is inf, "
                "and inf / inf is nan.",
            ),
            (
                lambda q, k, v, tile: _by_tiles(q, k, v, tile, places="local"),
                "the mask counts the keys from the start of their tile. A tile begins at key `start`: compare start + "
                "j with the query's position.",
            ),
            (
                lambda q, k, v, tile: _by_tiles(q, k, v, tile, places="none"),
                "queries look at later keys: a tile has its own part of the causal mask.",
            ),
            (
                lambda q, k, v, tile: _by_tiles(q, k, v, tile, scale=False),
                "the scores are not divided by √D.",
            ),
            (
                lambda q, k, v, tile: _softmax_of_each_tile(q, k, v, tile).sum(dim=0),
                "each tile got a softmax of its own, and the answers were added: the weights of a row then sum to the "
                "number of its tiles. Keep sums that are not divided yet, and divide once, at the end.",
            ),
            (
                lambda q, k, v, tile: _softmax_of_each_tile(q, k, v, tile).mean(dim=0),
                "each tile got a softmax of its own, and the tiles count alike. A tile with larger scores weighs more: "
                "divide once, at the end.",
            ),
        ],
    ),
    "score_gradient": Exercise(
        "Return the gradient of the scores, from softmax's weights (T, K) and the gradient of the weights (T, K).",
        _score_gradient,
        [(_ROWS, numbers(4, 5, seed=1)), (numbers(2, 3, seed=2).softmax(dim=-1), numbers(2, 3, seed=3))],
        [
            (
                lambda weights, d_weights: weights * d_weights,
                "this is the first term alone. The weights of a row sum to 1, so raising one score lowers the other "
                "weights: subtract the row's sum of weights · d_weights from d_weights first.",
            ),
            (
                lambda weights, d_weights: weights * (d_weights - d_weights.sum(dim=-1, keepdim=True)),
                "the sum of a row has to be weighted: sum weights · d_weights, not d_weights.",
            ),
            (
                lambda weights, d_weights: d_weights - (weights * d_weights).sum(dim=-1, keepdim=True),
                "the difference has to be multiplied by the weights: a key without weight gets no gradient.",
            ),
            (
                lambda weights, d_weights: weights * (d_weights - (weights * d_weights).sum(dim=0, keepdim=True)),
                "the sum runs down the columns. Each query has a softmax of its own: sum along its row, dim=-1.",
            ),
            (
                lambda weights, d_weights: weights * (1 - weights) * d_weights,
                "this is the derivative of a sigmoid. Each weight of a softmax depends on all scores of its row.",
            ),
        ],
    ),
    "window_mask": Exercise(
        "Return a bool mask (n_tokens, n_tokens), True = may look: each query looks at itself and at the window − 1 "
        "keys before it.",
        _window,
        [(6, 3), (4, 1), (5, 9)],
        [
            (
                lambda n_tokens, window: _window(n_tokens, window + 1),
                "the window is one key too wide: the query itself is one of the keys of the window.",
            ),
            (
                lambda n_tokens, window: (_distance(n_tokens) >= 0) & (_distance(n_tokens) < window - 1),
                "the window is one key too narrow: the query itself and window − 1 keys before it.",
            ),
            (
                lambda n_tokens, window: _distance(n_tokens) < window,
                "queries look at later keys. The mask is causal as well: key <= query.",
            ),
            (
                lambda n_tokens, window: _distance(n_tokens).abs() < window,
                "the window reaches to both sides. This one is causal: only keys before the query, and itself.",
            ),
            (
                lambda n_tokens, window: _window(n_tokens, window).T,
                "rows and columns are exchanged: a row is a query, a column a key.",
            ),
            (
                lambda n_tokens, window: ~_window(n_tokens, window),
                "True and False are exchanged: True means that the query may look.",
            ),
        ],
    ),
    "mean_heads": Exercise(
        "Return (B, n_kv_head, T, D): each new key head is the mean of the H / n_kv_head neighbouring heads of its "
        "group.",
        _mean_heads,
        [(numbers(2, 6, 3, 2), 2), (numbers(1, 4, 2, 2, seed=1), 1)],
        [
            (
                lambda k, n_kv_head: k.unflatten(1, (-1, n_kv_head)).mean(dim=1),
                "a group was made of every n_kv_head-th head. The heads of a group are neighbours: with 6 heads in 2 "
                "groups, 0, 1, 2 and 3, 4, 5.",
            ),
            (
                lambda k, n_kv_head: k.unflatten(1, (n_kv_head, -1)).mean(dim=1),
                "the mean was taken over the groups. Take it over the heads inside each group: the dimension after "
                "the groups.",
            ),
            (
                lambda k, n_kv_head: k.unflatten(1, (n_kv_head, -1)).sum(dim=2),
                "this is the sum of the heads. Keys that are larger make larger scores, and a sharper softmax: take "
                "the mean.",
            ),
            (
                lambda k, n_kv_head: k.unflatten(1, (n_kv_head, -1))[:, :, 0],
                "only the first head of each group is kept; the mean of the group keeps a part of each.",
            ),
            (
                lambda k, n_kv_head: k[:, :n_kv_head],
                "only the first n_kv_head heads are kept; each new head is the mean of its group.",
            ),
        ],
    ),
}
