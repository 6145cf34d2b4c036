"""Solutions to the exercises of notebooks/06_decoding.ipynb."""

import torch


def top_p(logits, p):
    probabilities, order = logits.softmax(dim=-1).sort(descending=True)  # the likeliest first
    before = probabilities.cumsum(dim=-1) - probabilities  # what has been collected before each token
    kept = order[before < p]  # still below p: this token is needed. The first always is, with 0 before it
    new = torch.full_like(logits, -torch.inf)
    new[kept] = logits[kept]
    return new


def beam_step(scores, log_probabilities, num_beams):
    totals = scores[:, None] + log_probabilities  # (K, V): every beam with every token
    best = totals.flatten().topk(num_beams)  # of all candidates, whoever their parents are
    vocab_size = totals.size(1)
    return best.values, best.indices // vocab_size, best.indices % vocab_size
