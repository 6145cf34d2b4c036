"""02_attention.ipynb 的练习答案。"""

import math

import torch


def causal_mask(n_query, n_key):
    # query 是最后 n_query 个位置：query i 对应 key 的位置 n_key - n_query + i。
    query_position = torch.arange(n_key - n_query, n_key)[:, None]  # 一列
    key_position = torch.arange(n_key)[None, :]  # 一行
    return key_position <= query_position  # 自己，和自己之前的所有位置


def attention(q, k, v, allowed):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (T, T)
    scores = scores.masked_fill(~allowed, -torch.inf)  # 在 softmax 之前：e 的 -inf 次方是 0
    weights = scores.softmax(dim=-1)  # 每行的和为 1
    return weights @ v


def own_attention(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    n_head, n_query, n_key = q.size(1), q.size(2), k.size(2)
    k = k.repeat_interleave(n_head // k.size(1), dim=1)  # Llama：相邻的几个 query 头共用一个 key 头
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
    weights = weights.nan_to_num(0.0)  # 有的 query 没有 key 可看，它那一行是 0/0
    if dropout > 0:
        weights = torch.nn.functional.dropout(weights, dropout)
    return weights @ v
