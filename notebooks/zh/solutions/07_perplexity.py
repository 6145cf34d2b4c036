"""07_perplexity.ipynb 的练习答案。"""

import torch


def windows(n_tokens, window, stride):
    found = []
    read = 0  # 已经有窗口读过的词元数
    for begin in range(0, n_tokens, stride):
        end = min(begin + window, n_tokens)
        first = max(read, begin + 1)  # 没计过分，并且在这个窗口里前面还有词元
        found.append((begin, end, first))
        read = end
        if end == n_tokens:
            break
    return found


def exact_perplexity(losses):
    every = torch.cat(losses)  # 所有窗口连成一行：每个词元一个损失
    return every[~every.isnan()].mean().exp()  # 只除一次，再只取一次 exp
