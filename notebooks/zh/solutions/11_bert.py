"""11_bert.ipynb 的练习答案。"""

import torch


def masked_inputs(tokens, chosen, kind, mask_id, random_tokens):
    read = torch.where(chosen & (kind < 0.8), mask_id, tokens)
    read = torch.where(chosen & (kind >= 0.8) & (kind < 0.9), random_tokens, read)
    labels = torch.where(chosen, tokens, -100)  # 那里原来的词元
    return read, labels


def mean_vector(hidden, attention_mask):
    real = attention_mask[:, :, None]  # (B, T, 1)：真正的词元是 1，填充词元是 0
    return (hidden * real).sum(dim=1) / real.sum(dim=1)
