"""Cross-entropy: log-softmax, and a mean without the ignored targets."""

import torch
import torch.nn.functional as F

from ...loss import cross_entropy, log_softmax
from .checking import Exercise, numbers


def _unguarded_log_softmax(logits):
    return (logits.exp() / logits.exp().sum(-1, keepdim=True)).log()


def _mean_over_all(logits, targets, ignore_index):
    return cross_entropy(logits, targets, ignore_index, reduction="sum") / targets.numel()


def _ignored_as_class_zero(logits, targets, ignore_index):
    return cross_entropy(logits, targets.masked_fill(targets == ignore_index, 0))


EXERCISES = {
    "log_softmax": Exercise(
        "Return x - log Σ exp(x) over the last dimension, for logits of any size.",
        log_softmax,
        [
            (numbers(3, 5),),
            (numbers(2, 4) + 1000,),
            (numbers(2, 4) + torch.tensor([[0.0], [-2000.0]]),),
            (torch.tensor([[0.0, -2000.0]]).double(),),
        ],
        [
            (
                lambda x: x.softmax(-1).log(),
                "nearly: a probability below 1e-308 is rounded to 0, and log 0 is -inf. Subtract logarithms instead of "
                "taking the logarithm of a quotient.",
            ),
            (lambda x: x.softmax(-1), "these are the probabilities; their logarithm is missing."),
            (
                _unguarded_log_softmax,
                "right for small logits, but exp(1000) is inf, and inf / inf is nan. Subtract the largest logit first: "
                "softmax stays the same.",
            ),
            (
                lambda x: x - x.exp().sum(-1, keepdim=True).log(),
                "right for small logits, but exp(1000) is inf. Subtract the largest logit first: softmax stays "
                "the same.",
            ),
            (
                lambda x: log_softmax(x.flatten()).view_as(x),
                "the sum ran over all rows at once. Each row is a distribution of its own: sum over dim=-1.",
            ),
            (
                lambda x: (x - x.max()) - (x - x.max()).exp().sum(-1, keepdim=True).log(),
                "nearly: the largest of *all* rows was subtracted, and a row far below it becomes -inf. Each row has "
                "its own largest, amax(dim=-1, keepdim=True).",
            ),
            (
                lambda x: x.log_softmax(0),
                "computed down the columns: each *row* is one distribution, so sum over the last dimension.",
            ),
        ],
        by_hand=(torch.log_softmax, torch.Tensor.log_softmax, F.log_softmax),
    ),
    "cross_entropy": Exercise(
        "Return the mean of -log p(target) over the targets that are not ignore_index.",
        cross_entropy,
        [
            (numbers(4, 6), torch.tensor([1, 5, 0, 2]), -100),
            (numbers(4, 6, seed=1), torch.tensor([1, -100, 0, -100]), -100),
        ],
        [
            (
                lambda x, y, i: -cross_entropy(x, y, i),
                "the sign is wrong: log-probabilities are negative, a loss is positive.",
            ),
            (
                lambda x, y, i: cross_entropy(x, y, i, reduction="sum"),
                "this is the sum. Divide by the number of targets that count.",
            ),
            (
                _mean_over_all,
                "divided by all targets, the ignored ones included. The lecture's 1.8357 is the sum of two losses "
                "divided by 2, not by 3.",
            ),
            (
                lambda x, y, i: -log_softmax(x)[range(len(y)), y].mean(),
                "-100 was looked up like any target. Select the targets that are not ignore_index first.",
            ),
            (
                lambda x, y, i: -log_softmax(x).gather(-1, y[:, None]).mean(),
                "-100 was looked up like any target. Select the targets that are not ignore_index first.",
            ),
            (
                _ignored_as_class_zero,
                "the ignored targets were scored as if they were class 0. They must not be in the mean at all.",
            ),
        ],
        by_hand=(F.cross_entropy, F.nll_loss),
    ),
}
