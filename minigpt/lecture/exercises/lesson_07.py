"""Perplexity: the windows, and the average over the tokens that they score."""

import torch

from ...perplexity import sliding_windows
from .checking import Exercise, numbers


def _windows(n_tokens, window, stride):
    return [(w.begin, w.end, w.first_target) for w in sliding_windows(n_tokens, window, stride)]


def _one_window_for_each_start(n_tokens, window, stride):
    ends = [min(begin + window, n_tokens) for begin in range(0, n_tokens, stride)]
    return [
        (begin, end, max(begin + 1, read))
        for begin, end, read in zip(range(0, n_tokens, stride), ends, [0, *ends], strict=False)
    ]


def _stride_from_the_end(n_tokens, window, stride):
    return [
        (begin, end, 1 if begin == 0 else max(begin + 1, end - stride))
        for begin, end, _ in _windows(n_tokens, window, stride)
    ]


def _scores(*sizes, ignored=0, seed=0):
    """Losses of windows that score so many tokens, after `ignored` nans in every window but the first."""
    losses = [numbers(size, seed=seed + i).abs() * (i + 1) for i, size in enumerate(sizes)]
    nans = torch.full((ignored,), torch.nan, dtype=torch.float64)
    return [losses[0], *(torch.cat([nans, window]) for window in losses[1:])]


def _only_full_windows(n_tokens, window, stride):
    return [found for found in _windows(n_tokens, window, stride) if found[1] - found[0] == window]


def _weighted_by_length(losses):
    sizes = torch.tensor([len(window) for window in losses]).double()
    means = torch.stack([window.nanmean() for window in losses])
    return ((means * sizes).sum() / sizes.sum()).exp()


EXERCISES = {
    "windows": Exercise(
        "Return a list of (begin, end, first): tokens begin ... end - 1 are read, first ... end - 1 are scored, those "
        "that no earlier window has read and that have a predecessor in the window. The first window to reach the "
        "end is the last.",
        _windows,
        [(20, 8, 4), (21, 8, 4), (20, 8, 8), (5, 8, 4)],
        [
            (
                _one_window_for_each_start,
                "there are too many windows: 562 instead of 561 in the lecture's case. After a window that reaches the "
                "end of the text, the next ones have no new tokens; stop there.",
            ),
            (
                _only_full_windows,
                "the end of the text is missing: the last window may be shorter than the others, end = min(begin + "
                "window, n_tokens).",
            ),
            (
                _stride_from_the_end,
                "the last window scores tokens that the one before has scored. It has fewer than `stride` new tokens: "
                "begin at the end of the previous window.",
            ),
            (
                lambda n, window, stride: [window[:3] for window in sliding_windows(n, window, stride)],
                "the third number is trg_len, how many tokens are new. The task asks for the position of the first "
                "token that is scored.",
            ),
            (
                lambda n, window, stride: [(begin, end, begin + 1) for begin, end, _ in _windows(n, window, stride)],
                "the overlap is scored twice: first should be no earlier than the end of the previous window.",
            ),
            (
                lambda n, window, stride: [
                    (begin, end, 0 if begin == 0 else max(begin, end - w.n_new))
                    for w in sliding_windows(n, window, stride)
                    for begin, end in [w[:2]]
                ],
                "the first token of a window has no predecessor in it, so nothing predicts it: first is at least "
                "begin + 1, in the first window, and in every window where windows only touch (stride = window).",
            ),
            (
                lambda n, window, stride: [
                    (w.begin, w.end, max(1, w.end - w.n_new)) for w in sliding_windows(n, window, stride)
                ],
                "right while windows overlap. At stride = window none overlaps the one before: the first token of each "
                "has no predecessor there, so first is at least begin + 1.",
            ),
        ],
    ),
    "exact_perplexity": Exercise(
        "From a list of tensors, the losses in each window with nan where the label was -100, return the perplexity "
        "in which every scored token weighs the same, as a tensor.",
        lambda losses: torch.cat(losses).nanmean().exp(),
        [(_scores(7, 4, 1),), (_scores(7, 4, 4, 2, ignored=4, seed=3),)],
        [
            (
                lambda losses: torch.stack([window.nanmean() for window in losses]).mean().exp(),
                "this is the lecture's mean of means: a window that scores one token weighs as much as one that scores "
                "seven. Sum over all tokens and divide once.",
            ),
            (
                lambda losses: torch.stack([window.nanmean().exp() for window in losses]).mean(),
                "the perplexities of the windows were averaged. Average losses, over tokens; take exp once, at the "
                "end.",
            ),
            (
                lambda losses: torch.cat(losses).exp().nanmean(),
                "exp came before the mean. That averages 1 / p, which a single surprising token can dominate.",
            ),
            (
                lambda losses: torch.cat(losses).nanmean(),
                "this is the mean loss; its exp is missing.",
            ),
            (
                lambda losses: torch.cat(losses).mean().exp(),
                "a mean with nan in it is nan. Take the scored tokens out first, or use nanmean.",
            ),
            (
                lambda losses: torch.cat(losses).nan_to_num(0).mean().exp(),
                "tokens that were not scored counted as if they had loss 0. Leave them out of the sum and out of the "
                "divisor.",
            ),
            (
                _weighted_by_length,
                "nearly: windows were weighted by the tokens they *read*. Weigh them by those they score, the ones "
                "that are not nan.",
            ),
            (
                lambda losses: torch.cat(losses).nansum().exp(),
                "the sum was never divided by the number of scored tokens.",
            ),
        ],
    ),
}
