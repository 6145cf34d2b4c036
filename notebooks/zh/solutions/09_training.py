"""09_training.ipynb 的练习答案。"""

import math

import torch

from minigpt.loss import next_token_loss


@torch.enable_grad()
def accumulate_parts(model, parts):
    n_scored = sum(int((labels[:, 1:] != -100).sum()) for _, labels in parts)  # 第一个标签没有谁来预测
    model.zero_grad()  # 只清零一次，在第一份之前
    for rows, labels in parts:
        loss = next_token_loss(model(rows), labels, reduction="sum") / n_scored
        loss.backward()  # 加到已有的梯度上
    return [parameter.grad for parameter in model.parameters()]


def learning_rates(steps, warmup, peak, final):
    rates = []
    for step in range(steps):
        if step < warmup:
            rates.append(peak * (step + 1) / warmup)  # 第 warmup - 1 步达到峰值
        else:
            done = (step - warmup) / (steps - 1 - warmup)  # 从 0 到 1
            rates.append(final + (peak - final) * (1 + math.cos(math.pi * done)) / 2)
    return torch.tensor(rates)
