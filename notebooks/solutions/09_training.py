"""Solutions to the exercises of notebooks/09_training.ipynb."""

import math

import torch

from minigpt.loss import next_token_loss


@torch.enable_grad()
def accumulate_parts(model, parts):
    n_scored = sum(int((labels[:, 1:] != -100).sum()) for _, labels in parts)  # nothing predicts a first label
    model.zero_grad()  # once, before the first part
    for rows, labels in parts:
        loss = next_token_loss(model(rows), labels, reduction="sum") / n_scored
        loss.backward()  # adds to the gradients that are there
    return [parameter.grad for parameter in model.parameters()]


def learning_rates(steps, warmup, peak, final):
    rates = []
    for step in range(steps):
        if step < warmup:
            rates.append(peak * (step + 1) / warmup)  # step warmup - 1 reaches the peak
        else:
            done = (step - warmup) / (steps - 1 - warmup)  # from 0 to 1
            rates.append(final + (peak - final) * (1 + math.cos(math.pi * done)) / 2)
    return torch.tensor(rates)
