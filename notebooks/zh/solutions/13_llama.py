"""13_llama.ipynb 的练习答案。"""

import torch


def rotate(x, rates):
    angles = torch.arange(len(x))[:, None] * rates  # (T, D/2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], dim=-1)


def share_keys(k, n_head):
    return k.repeat_interleave(n_head // k.size(1), dim=1)  # 0, 0, 0, 1, 1, 1


def kept_tokens(tokens, is_prompt, chosen, column):
    filled = tokens.clone()
    filled[:, column] = torch.where(is_prompt[:, column], tokens[:, column], chosen)
    return filled
