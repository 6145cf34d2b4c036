"""Inside the model: a head's induction score, and a layer without one of its heads."""

import torch

from .checking import Exercise, numbers


def _induction_score(weights, period):
    """Entry i of the diagonal is query period - 1 + i looking at key i; the first one is still in the first half."""
    return weights.diagonal(-(period - 1), -2, -1)[..., 1:].mean(dim=-1)


def _ablate_head(heads, weight, bias, head):
    heads[:, head] = 0
    return heads.transpose(1, 2).flatten(2) @ weight.T + bias


def _interleaved_columns(heads, weight, bias, head):
    side_by_side = heads.transpose(1, 2).flatten(2)
    side_by_side[..., head :: heads.size(1)] = 0
    return side_by_side @ weight.T + bias


def _silenced_row(heads, weight, bias, head):
    width = heads.size(-1)
    weight[head * width : (head + 1) * width] = 0
    return heads.transpose(1, 2).flatten(2) @ weight.T + bias


def _only_this_head(heads, weight, bias, head):
    columns = slice(head * heads.size(-1), (head + 1) * heads.size(-1))
    return heads[:, head] @ weight[:, columns].T + bias


def _silenced_text(heads, weight, bias, head):
    heads[head % len(heads)] = 0
    return _without_any(heads, weight) + bias


def _without_any(heads, weight):
    return heads.transpose(1, 2).flatten(2) @ weight.T


def _of_the_wrong_shape(heads, weight, bias, head):
    heads[:, head] = 0
    n_rows, n_head, n_tokens, width = heads.shape
    return heads.reshape(n_rows, n_tokens, n_head * width) @ weight.T + bias


def _rescaled(heads, weight, bias, head):
    n_head = heads.size(1)
    heads[:, head] = 0
    return n_head / (n_head - 1) * _without_any(heads, weight) + bias


def _maps(n_head, n_tokens, seed=0):
    """Attention weights (H, T, T): causal, rows that sum to 1."""
    scores = numbers(n_head, n_tokens, n_tokens, seed=seed)
    future = torch.ones(n_tokens, n_tokens, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1)


def _layer(n_rows, n_head, n_tokens, width, seed=0):
    """What the heads have computed, and an output projection (square, as GPT-2's)."""
    size = n_head * width
    return numbers(n_rows, n_head, n_tokens, width, seed=seed), numbers(size, size, seed=seed + 1), numbers(size)


EXERCISES = {
    "induction_score": Exercise(
        "Return (H,): for each head, the mean weight that query t gives to key t - period + 1, over the queries "
        "period ... 2 * period - 1.",
        _induction_score,
        [(_maps(2, 8), 4), (_maps(3, 12, seed=1), 6)],
        [
            (
                lambda weights, period: weights.diagonal(-period, -2, -1).mean(dim=-1),
                "this is the weight of the same token in the first half, period places back. The task asks for the key "
                "right *after* that: period - 1 back.",
            ),
            (
                lambda weights, period: weights.diagonal(-(period - 1), -2, -1).mean(dim=-1),
                "nearly: the diagonal begins at query period - 1, the last token of the first half, which has no "
                "earlier copy. Leave its first entry out.",
            ),
            (
                lambda weights, period: weights.diagonal(-(period + 1), -2, -1).mean(dim=-1),
                "this is the key *before* the earlier copy of the query's token. The one after it is period - 1 places "
                "back, not period + 1.",
            ),
            (
                lambda weights, period: weights.diagonal(period - 1, -2, -1)[..., 1:].mean(dim=-1),
                "all 0: this diagonal lies above the main one, in the future. Keys that came before are below it, "
                "offset=-(period - 1).",
            ),
            (
                lambda weights, period: weights.diagonal(-(period - 1))[1:].mean(dim=-1),
                "diagonal() took the first two dimensions, which are heads and queries. Say dim1=-2, dim2=-1.",
            ),
            (
                lambda weights, period: _induction_score(weights, period).mean(),
                "this is one number for all heads. Average over the queries only: each head has its own score.",
            ),
            (
                lambda weights, period: _induction_score(weights, period) * period,
                "this is the sum over the queries. Divide by their number: a share is at most 1.",
            ),
        ],
    ),
    "ablate_head": Exercise(
        "Return (B, T, C): the heads side by side, the given one replaced by zeros, through the output projection.",
        _ablate_head,
        [(*_layer(2, 3, 4, 2), 1), (*_layer(3, 2, 5, 3, seed=3), 0)],
        [
            (
                lambda heads, weight, bias, head: _ablate_head(heads, weight, 0 * bias, head),
                "the bias is missing. It belongs to no head and is added whatever the heads do.",
            ),
            (
                lambda heads, weight, bias, head: _without_any(heads, weight) + bias,
                "this is the layer with all of its heads. Set heads[:, head] to 0 first.",
            ),
            (
                _only_this_head,
                "this is what is left when all the *other* heads are switched off.",
            ),
            (
                _silenced_text,
                "heads[head] is a text of the batch, (B, H, T, D). All heads of one text were set to 0; you want "
                "heads[:, head].",
            ),
            (
                _interleaved_columns,
                "every H-th column was set to 0. Side by side, a head has D columns in a row: head * D ... "
                "(head + 1) * D - 1.",
            ),
            (
                _silenced_row,
                "rows of the weight were set to 0: those are outputs, which all heads write to. A head's inputs are "
                "*columns* of a weight (C, H*D).",
            ),
            (
                lambda heads, weight, bias, head: _ablate_head(heads, weight.T, bias, head),
                "the weight was used untransposed. It is (C, H*D), outputs first, so multiply by weight.T.",
            ),
            (
                _of_the_wrong_shape,
                "the shape is right, but tokens and heads are mixed up: (B, H, T, D) has to become (B, T, H, D) by a "
                "transpose before the last two dimensions are joined.",
            ),
            (
                _rescaled,
                "the other heads were scaled up, as dropout does. Switching off leaves them as they are.",
            ),
        ],
    ),
}
