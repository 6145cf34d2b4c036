"""Training: the gradient of a batch that comes in parts, and the learning rate of every step."""

import math

import torch
from torch import nn

from ...loss import next_token_loss
from ...train import TrainConfig, learning_rate_at
from .checking import Exercise, numbers


def _model(seed=0):
    """The smallest language model: the logits depend on the last token alone."""
    model = nn.Embedding(6, 6, dtype=torch.float64)
    model.weight.data = numbers(6, 6, seed=seed)
    return model


def _part(*lengths, width=5, seed=0):
    """Rows of tokens; the labels of row i are -100 from lengths[i] on."""
    rows = torch.randint(6, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    labels = rows.clone()
    for label, length in zip(labels, lengths, strict=True):
        label[length:] = -100
    return rows, labels


def _scored(labels):
    return int((labels[:, 1:] != -100).sum())


def _gradients(weight_of):
    """The exercise with the sum of each part's losses times weight_of(labels of the part, parts)."""

    @torch.enable_grad()
    def answer(model, parts):
        for rows, labels in parts:
            loss = next_token_loss(model(rows), labels, reduction="sum")
            (loss * weight_of(labels, parts)).backward()
        return [parameter.grad for parameter in model.parameters()]

    return answer


def _by_all_scored(labels, parts):
    return 1 / sum(_scored(labels) for _, labels in parts)


def _last_part_alone(model, parts):
    n_scored = sum(_scored(labels) for _, labels in parts)
    rows, labels = parts[-1]
    model.zero_grad()
    with torch.enable_grad():
        (next_token_loss(model(rows), labels, reduction="sum") / n_scored).backward()
    return [parameter.grad for parameter in model.parameters()]


def _rates(rate):
    """The exercise with another rule: rate(step, steps, warmup, peak, final)."""
    return lambda steps, *rest: torch.tensor([rate(step, steps, *rest) for step in range(steps)], dtype=torch.float64)


def _rate(step, steps, warmup, peak, final):
    config = TrainConfig(steps=steps, warmup_steps=warmup, learning_rate=peak, final_learning_rate=final)
    return learning_rate_at(step, config)


def _after_warm_up(fall, over=lambda steps, warmup: steps - 1 - warmup, since=lambda step, warmup: step - warmup):
    """The right warm-up, then fall(share done, peak, final)."""

    def rate(step, steps, warmup, peak, final):
        if step < warmup:
            return peak * (step + 1) / warmup
        return fall(since(step, warmup) / over(steps, warmup), peak, final)

    return _rates(rate)


def _half_cosine(done, peak, final):
    return final + (peak - final) * (1 + math.cos(math.pi * done)) / 2


EXERCISES = {
    "accumulate_parts": Exercise(
        "Return the gradients, a list with one tensor for each of model.parameters(), of the mean loss over all scored "
        "tokens of all parts, a list of (rows, labels).",
        _gradients(_by_all_scored),
        [
            (_model(), [_part(5, 5, 5), _part(2, 3, seed=1)]),
            (_model(seed=1), [_part(5, 4, seed=2), _part(3, 2, 2, seed=3), _part(4, seed=4)]),
        ],
        [
            (
                _gradients(lambda labels, parts: 1 / _scored(labels) / len(parts)),
                "this is the mean of the parts' means: a token in a small part weighs more than one in a large part. "
                "Add the *sums* of the parts, each divided by the number of scored tokens in all parts.",
            ),
            (
                _gradients(lambda labels, parts: 1 / _scored(labels)),
                "each part was divided by its own number of tokens, and the means were added. Divide every part's sum "
                "by the number of scored tokens in *all* parts.",
            ),
            (
                _gradients(lambda labels, parts: 1.0),
                "this is the gradient of the sum; it was never divided by the number of scored tokens. As it is, "
                "the step grows with the batch.",
            ),
            (
                _last_part_alone,
                "these are the gradients of the last part alone. Set them to zero once, before the first part, not "
                "inside the loop: backward adds to the gradients that are there.",
            ),
            (
                _gradients(lambda labels, parts: 1 / sum(labels.numel() for _, labels in parts)),
                "divided by all labels, scored or not. Those that are -100 do not count, nor does the first of each "
                "row, which nothing predicts.",
            ),
            (
                _gradients(lambda labels, parts: 1 / sum(int((labels != -100).sum()) for _, labels in parts)),
                "nearly: the divisor counts the first label of each row, which nothing predicts. Count "
                "labels[:, 1:] != -100.",
            ),
        ],
    ),
    "learning_rates": Exercise(
        "Return the learning rates of steps 0 ... steps - 1 as a tensor: a straight warm-up whose last step, "
        "warmup - 1, reaches peak, then half a cosine from peak at step warmup to final at step steps - 1.",
        _rates(_rate),
        [(12, 4, 1.0, 0.1), (7, 0, 2.0, 0.5), (9, 2, 0.5, 0.0)],
        [
            (
                _rates(
                    lambda step, steps, warmup, peak, final: (
                        peak * step / warmup if step < warmup else _rate(step, steps, warmup, peak, final)
                    )
                ),
                "the first rate is 0: step 0 would teach nothing, and the last step of the warm-up does not reach the "
                "peak. Use (step + 1) / warmup.",
            ),
            (
                _after_warm_up(_half_cosine, over=lambda steps, warmup: steps - warmup),
                "the cosine ends one step too late: the last step is steps - 1, so it has steps - 1 - warmup steps to "
                "go.",
            ),
            (
                _after_warm_up(_half_cosine, over=lambda steps, warmup: steps - 1, since=lambda step, warmup: step),
                "the cosine was counted from step 0, so the rate jumps down after the warm-up. Count from its end: "
                "step - warmup.",
            ),
            (
                _after_warm_up(lambda done, peak, final: peak * (1 + math.cos(math.pi * done)) / 2),
                "the rate falls to 0 instead of final. Only the difference falls: final + (peak - final) * ...",
            ),
            (
                _after_warm_up(lambda done, peak, final: final + peak * (1 + math.cos(math.pi * done)) / 2),
                "after the warm-up the rate is too high, by `final`: the cosine goes from peak - final to 0, and final "
                "is added.",
            ),
            (
                _after_warm_up(lambda done, peak, final: final + (peak - final) * math.cos(math.pi * done / 2)),
                "that is a quarter of a cosine: it falls steepest at the end. Half of one, (1 + cos(π done)) / 2, "
                "starts and ends flat.",
            ),
            (
                _after_warm_up(lambda done, peak, final: final + (peak - final) * math.cos(math.pi * done)),
                "a cosine goes from 1 to -1, so the rate becomes too small, even negative. Map it to 1 ... 0: "
                "(1 + cos) / 2.",
            ),
            (
                _after_warm_up(lambda done, peak, final: peak + (final - peak) * done),
                "a straight line from peak to final; half a cosine is asked for.",
            ),
            (
                _rates(lambda step, steps, warmup, peak, final: _half_cosine(step / (steps - 1), peak, final)),
                "there is no warm-up: the first `warmup` steps should climb in a straight line to peak.",
            ),
        ],
    ),
}
