"""Solutions to the exercises of notebooks/06_decoding.ipynb."""

import torch


def top_p(logits, p):
    probabilities, order = logits.softmax(dim=-1).sort(descending=True)  # the likeliest first
    before = probabilities.cumsum(dim=-1) - probabilities  # the sum of all likelier tokens
    kept = order[before < p]  # the sum is still below p, so this token is needed. The first one always is: its sum is 0
    new = torch.full_like(logits, -torch.inf)
    new[kept] = logits[kept]
    return new


def beam_step(scores, log_probabilities, num_beams):
    totals = scores[:, None] + log_probabilities  # (K, V): every beam with every token
    best = totals.flatten().topk(num_beams)  # the best of all candidates, from any beam
    vocab_size = totals.size(1)
    return best.values, best.indices // vocab_size, best.indices % vocab_size
