"""Solutions to the exercises of notebooks/05_parallel_and_stepwise.ipynb."""

import torch


def positions(attention_mask):
    # The cumulative sum counts the real tokens up to and including each one: 1 at the first, whose position is 0.
    counted = attention_mask.cumsum(dim=-1) - 1
    return counted.clamp(min=0)  # pads in front would have -1


def token_by_token(model, tokens):
    batch_size, n_tokens = tokens.shape
    cache = model.new_cache(batch_size, capacity=n_tokens)  # one cache for the whole text
    logits = []
    for t in range(n_tokens):
        logits.append(model(tokens[:, t : t + 1], cache=cache))  # (B, 1, V); t : t + 1 keeps the dimension
    return torch.cat(logits, dim=1)
