"""14_attention_lab.ipynb 的练习答案。"""

import math

import torch


def attention_by_tiles(q, k, v, tile):
    n, d = q.shape
    largest = torch.full((n, 1), -math.inf, dtype=q.dtype)
    total = torch.zeros(n, 1, dtype=q.dtype)
    summed = torch.zeros(n, v.size(1), dtype=q.dtype)
    for start in range(0, n, tile):
        keys = slice(start, start + tile)
        scores = q @ k[keys].T / math.sqrt(d)
        key_position = start + torch.arange(scores.size(1))
        scores = scores.masked_fill(key_position > torch.arange(n)[:, None], -math.inf)
        new_largest = torch.maximum(largest, scores.amax(dim=1, keepdim=True))
        weights = (scores - new_largest).exp()
        rescale = (largest - new_largest).exp()
        total = total * rescale + weights.sum(dim=1, keepdim=True)
        summed = summed * rescale + weights @ v[keys]
        largest = new_largest
    return summed / total


def score_gradient(weights, d_weights):
    row_sums = (weights * d_weights).sum(dim=-1, keepdim=True)
    return weights * (d_weights - row_sums)


def window_mask(n_tokens, window):
    query, key = torch.arange(n_tokens)[:, None], torch.arange(n_tokens)
    return (key <= query) & (query - key < window)


def mean_heads(k, n_kv_head):
    batch, n_head, n_tokens, d_head = k.shape
    return k.view(batch, n_kv_head, n_head // n_kv_head, n_tokens, d_head).mean(dim=2)
