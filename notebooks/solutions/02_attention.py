"""Solutions to the exercises of notebooks/02_attention.ipynb."""

import math

import torch


def causal_mask(n_query, n_key):
    # The queries are the last n_query positions: query i sits at key position n_key - n_query + i.
    query_position = torch.arange(n_key - n_query, n_key)[:, None]  # a column
    key_position = torch.arange(n_key)[None, :]  # a row
    return key_position <= query_position  # itself and everything before it


def attention(q, k, v, allowed):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (T, T)
    scores = scores.masked_fill(~allowed, -torch.inf)  # before the softmax: e to the -inf is 0
    weights = scores.softmax(dim=-1)  # each row sums to 1
    return weights @ v
