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


def own_attention(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    n_head, n_query, n_key = q.size(1), q.size(2), k.size(2)
    k = k.repeat_interleave(n_head // k.size(1), dim=1)  # Llama: neighbouring query heads share a key head
    v = v.repeat_interleave(n_head // v.size(1), dim=1)
    scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.size(-1)) if scale is None else scale)
    if bias is not None:
        scores = scores + bias  # T5
    allowed = torch.ones(n_query, n_key, dtype=torch.bool)
    if causal:
        allowed = causal_mask(n_query, n_key)
    if mask is not None:
        allowed = allowed & mask
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
    weights = weights.nan_to_num(0.0)  # a query with no key to look at: its row is 0/0
    if dropout > 0:
        weights = torch.nn.functional.dropout(weights, dropout)
    return weights @ v
