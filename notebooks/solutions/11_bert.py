"""Solutions to the exercises of notebooks/11_bert.ipynb."""

import torch


def masked_inputs(tokens, chosen, kind, mask_id, random_tokens):
    read = torch.where(chosen & (kind < 0.8), mask_id, tokens)
    read = torch.where(chosen & (kind >= 0.8) & (kind < 0.9), random_tokens, read)
    labels = torch.where(chosen, tokens, -100)  # what stood there before
    return read, labels


def mean_vector(hidden, attention_mask):
    real = attention_mask[:, :, None]  # (B, T, 1): 1 for a token, 0 for a pad
    return (hidden * real).sum(dim=1) / real.sum(dim=1)
