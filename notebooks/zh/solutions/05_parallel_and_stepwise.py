"""05_parallel_and_stepwise.ipynb 的练习答案。"""

import torch


def positions(attention_mask):
    # 累加和数的是：到这里为止（含自己）有几个真正的词元。第一个处是 1，而它的位置是 0。
    counted = attention_mask.cumsum(dim=-1) - 1
    return counted.clamp(min=0)  # 不然，前面的填充词元会得到 -1


def token_by_token(model, tokens):
    batch_size, n_tokens = tokens.shape
    cache = model.new_cache(batch_size, capacity=n_tokens)  # 整段文本共用一个 cache
    logits = []
    for t in range(n_tokens):
        logits.append(model(tokens[:, t : t + 1], cache=cache))  # (B, 1, V)；写 t : t + 1，这一维才留得住
    return torch.cat(logits, dim=1)
