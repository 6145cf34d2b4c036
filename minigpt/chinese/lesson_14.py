"""Lesson 14: the tasks and hints of the exercises."""

TEXTS = {
    # attention_by_tiles
    "Return (T, D), causal attention softmax(q kᵀ / √D + M) v, reading the keys and values tile by tile: for each "
    "query keep the largest score so far, the sum of the weights and the weighted sum of the values.": (
        "返回 (T, D)，即因果注意力 softmax(q kᵀ / √D + M) v，但 key 和 value 要一块一块地读：对每个 query，"
        "记下到目前为止最大的得分、权重之和，以及 value 的加权和。"
    ),
    "the weighted sum of the values is not rescaled. When a tile raises the largest score, what was "
    "summed before has the wrong factor: multiply it by exp(old largest − new largest).": (
        "value 的加权和没有重新缩放。某一块让最大得分变大以后，以前加好的部分用的是旧的因子："
        "要乘上 exp(旧最大 − 新最大)。"
    ),
    "the sum of the weights is not rescaled. It needs the same factor as the weighted sum of the values, "
    "exp(old largest − new largest).": (
        "权重之和没有重新缩放。它要乘的因子与 value 的加权和相同：exp(旧最大 − 新最大)。"
    ),
    "nothing is rescaled: neither the sum of the weights nor the weighted sum of the values. When a tile "
    "raises the largest score, both are multiplied by exp(old largest − new largest).": (
        "权重之和与 value 的加权和都没有重新缩放。某一块让最大得分变大以后，两者都要乘上 exp(旧最大 − 新最大)。"
    ),
    "no largest score is subtracted. It is right for small scores; exp of a score in the thousands is inf, "
    "and inf / inf is nan.": "没有减去最大得分。得分小的时候没问题；得分上千时，exp 的结果是 inf，inf / inf 就是 nan。",
    "the mask counts the keys from the start of their tile. A tile begins at key `start`: compare start + "
    "j with the query's position.": (
        "掩码里 key 的编号是从这一块的开头数起的。这一块从第 start 个 key 开始：应当拿 start + j 与 query 的位置比较。"
    ),
    "queries look at later keys: a tile has its own part of the causal mask.": (
        "query 看到了后面的 key：每一块都有自己那一部分因果掩码。"
    ),
    "the scores are not divided by √D.": "得分没有除以 √D。",
    "each tile got a softmax of its own, and the tiles count alike. A tile with larger scores weighs more: "
    "divide once, at the end.": ("每一块各做了一次 softmax，各块的份量相同。得分大的块份量应当更大：只在最后除一次。"),
    "each tile got a softmax of its own, and the answers were added: the weights of a row then sum to the "
    "number of its tiles. Keep sums that are not divided yet, and divide once, at the end.": (
        "每一块各做了一次 softmax，再把结果相加：这样一行的权重之和等于块数。要保留还没做除法的和，只在最后除一次。"
    ),
    # score_gradient
    "Return the gradient of the scores, from softmax's weights (T, K) and the gradient of the weights (T, K).": (
        "已知 softmax 的权重 (T, K) 和权重的梯度 (T, K)，返回得分的梯度。"
    ),
    "this is the first term alone. The weights of a row sum to 1, so raising one score lowers the other "
    "weights: subtract the row's sum of weights · d_weights from d_weights first.": (
        "这只是第一项。一行的权重之和是 1，一个得分变大，别的权重就变小：先从 d_weights 里减去这一行 "
        "weights · d_weights 的和。"
    ),
    "the sum of a row has to be weighted: sum weights · d_weights, not d_weights.": (
        "一行的和要加权：求和的是 weights · d_weights，不是 d_weights。"
    ),
    "the difference has to be multiplied by the weights: a key without weight gets no gradient.": (
        "差还要乘以权重：权重为 0 的 key 没有梯度。"
    ),
    "the sum runs down the columns. Each query has a softmax of its own: sum along its row, dim=-1.": (
        "求和的方向是列。每个 query 有自己的 softmax：应当沿着它那一行求和，dim=-1。"
    ),
    "this is the derivative of a sigmoid. Each weight of a softmax depends on all scores of its row.": (
        "这是 sigmoid 的导数。softmax 的每个权重，与这一行的所有得分都有关。"
    ),
    # window_mask
    "Return a bool mask (n_tokens, n_tokens), True = may look: each query looks at itself and at the window − 1 "
    "keys before it.": (
        "返回布尔掩码 (n_tokens, n_tokens)，True 表示可以看：每个 query 看自己，以及它前面的 window − 1 个 key。"
    ),
    "the window is one key too wide: the query itself is one of the keys of the window.": (
        "窗口宽了一个 key：query 自己也算窗口里的一个 key。"
    ),
    "the window is one key too narrow: the query itself and window − 1 keys before it.": (
        "窗口窄了一个 key：应当是 query 自己，加上前面的 window − 1 个 key。"
    ),
    "queries look at later keys. The mask is causal as well: key <= query.": (
        "query 看到了后面的 key。这个掩码也是因果的：key <= query。"
    ),
    "the window reaches to both sides. This one is causal: only keys before the query, and itself.": (
        "窗口伸到了两边。这里的窗口是因果的：只有 query 前面的 key 和它自己。"
    ),
    "rows and columns are exchanged: a row is a query, a column a key.": (
        "行和列反了：一行是一个 query，一列是一个 key。"
    ),
    "True and False are exchanged: True means that the query may look.": (
        "True 和 False 反了：True 表示这个 query 可以看。"
    ),
    # mean_heads
    "Return (B, n_kv_head, T, D): each new key head is the mean of the H / n_kv_head neighbouring heads of its "
    "group.": "返回 (B, n_kv_head, T, D)：每个新的 key 头，是自己那一组 H / n_kv_head 个相邻的头的平均值。",
    "a group was made of every n_kv_head-th head. The heads of a group are neighbours: with 6 heads in 2 "
    "groups, 0, 1, 2 and 3, 4, 5.": (
        "一组里的头是隔着取的。同一组的头是相邻的：6 个头分成 2 组，就是 0、1、2 和 3、4、5。"
    ),
    "the mean was taken over the groups. Take it over the heads inside each group: the dimension after "
    "the groups.": "平均的是各组。应当平均组内的各头：组那一维后面的一维。",
    "this is the sum of the heads. Keys that are larger make larger scores, and a sharper softmax: take "
    "the mean.": "这是各头之和。key 变大，得分就变大，softmax 就更尖：应当取平均值。",
    "only the first head of each group is kept; the mean of the group keeps a part of each.": (
        "每组只留了第一个头；取平均值，每个头都留下一部分。"
    ),
    "only the first n_kv_head heads are kept; each new head is the mean of its group.": (
        "只留了前 n_kv_head 个头；每个新的头应当是自己那一组的平均值。"
    ),
}
