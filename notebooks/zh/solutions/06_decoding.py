"""06_decoding.ipynb 的练习答案。"""

import torch


def top_p(logits, p):
    probabilities, order = logits.softmax(dim=-1).sort(descending=True)  # 最可能的排在最前
    before = probabilities.cumsum(dim=-1) - probabilities  # 比它更可能的词元，概率之和
    kept = order[before < p]  # 和还小于 p，说明这个词元要留下。第一个总会留下：它的和是 0
    new = torch.full_like(logits, -torch.inf)
    new[kept] = logits[kept]
    return new


def beam_step(scores, log_probabilities, num_beams):
    totals = scores[:, None] + log_probabilities  # (K, V)：每条束接上每个词元
    best = totals.flatten().topk(num_beams)  # 所有候选里最好的几个，不管出自哪条束
    vocab_size = totals.size(1)
    return best.values, best.indices // vocab_size, best.indices % vocab_size
