"""Lessons 1 to 5: the tasks and hints of the exercises."""

TEXTS = {
    # shift
    "Return (logits, labels) so that position t of the one belongs to position t of the other.": (
        "返回 (logits, labels)，使两者的位置 t 一一对应。"
    ),
    "this cuts off texts, not positions: the first dimension is the batch. Cut the second: [:, :-1].": (
        "这样切掉的是整段文本，不是位置：第一维是 batch。要切第二维：[:, :-1]。"
    ),
    "nothing was shifted: the model is asked to predict the token it is reading.": (
        "没有移位：等于让模型预测它正在读的词元。"
    ),
    "shifted the wrong way round: this pairs each position with the token *before* it, which the model has read "
    "already. Logits lose their last position, labels their first.": (
        "移反了：每个位置对上了它前面的词元，而那个词元模型已经读过。logits 去掉最后一个位置，标签去掉第一个位置。"
    ),
    "both were cut at the same end, so nothing was shifted. Labels lose their first position.": (
        "两者切掉了同一端，等于没有移位。标签要去掉的是第一个位置。"
    ),
    # next_token_probabilities
    "From hidden states (B, T, C) and the embedding (V, C), return the (B, V) probabilities of the token after the "
    "last position.": "给定隐藏状态 (B, T, C) 和嵌入 (V, C)，返回最后一个位置之后那个词元的概率 (B, V)。",
    "these are logits: scores that do not add up to 1. Softmax is missing.": (
        "这是 logits：它们是得分，加起来不等于 1。还差一步 softmax。"
    ),
    "softmax ran over the batch: each *row* must add up to 1, so take the softmax over the last dimension.": (
        "softmax 沿着 batch 算了。每一行的和应当是 1，所以要沿最后一维算 softmax。"
    ),
    "this is the first position, which has read one token. The last position has read all tokens.": (
        "这是第一个位置，它只读过一个词元。最后一个位置才读过全部词元。"
    ),
    "hidden states (B, C) times the embedding (V, C) does not fit: it needs its transpose, (C, V).": (
        "隐藏状态 (B, C) 不能直接乘嵌入 (V, C)，要乘它的转置 (C, V)。"
    ),
    "these are the probabilities of every position, (B, T, V). Only the last one is asked for.": (
        "这是所有位置的概率 (B, T, V)。题目只要最后一个位置的。"
    ),
    # causal_mask
    "Return a bool tensor (n_query, n_key), True where query i may look at key j; the queries are the last ones.": (
        "返回 bool 张量 (n_query, n_key)，query i 可以看 key j 的地方是 True；这些 query 是最后的几个位置。"
    ),
    "the diagonal is missing: a token may look at itself. Without it, the first token may look at nothing.": (
        "缺了对角线：词元可以看自己。没有对角线，第一个词元就什么也看不到。"
    ),
    "right for n_query = n_key only. The queries are the *last* n_query positions: query 0 of (2, 5) sits at key "
    "position 3 and may look at four keys.": (
        "只在 n_query = n_key 时正确。query 是最后的 n_query 个位置：(2, 5) 的 query 0 在 key 的位置 3，"
        "可以看四个 key。"
    ),
    "True and False are exchanged: True means 'may look'. You marked what is to be hidden.": (
        "True 和 False 写反了：True 表示“可以看”。你标出的是要遮住的部分。"
    ),
    "triu keeps the upper half: each query may look at itself and at what comes *after* it. The past is the lower "
    "half, tril.": "triu 保留的是上半部分：每个 query 能看自己和后面的词元。前文在下半部分，用 tril。",
    "triu(1) marks the future, which is to be hidden. True means 'may look', and the past is the lower half, tril.": (
        "triu(1) 标出的是后文，正是要遮住的部分。True 表示“可以看”；前文在下半部分，用 tril。"
    ),
    # attention
    "Return softmax(q kᵀ / sqrt(D), where allowed) v for q, k, v (T, D) and a bool mask (T, T).": (
        "对 q、k、v (T, D) 和 bool 掩码 (T, T)，返回 softmax(q kᵀ / sqrt(D)) v，其中只有掩码允许的地方参加 softmax。"
    ),
    "the scores were not divided by sqrt(D). Sums of D products grow with sqrt(D), and the softmax then gives "
    "almost all weight to one key.": (
        "得分没有除以 sqrt(D)。D 个乘积之和随 sqrt(D) 增大，softmax 之后，权重就几乎都落在一个 key 上。"
    ),
    "divided by D, where the formula has sqrt(D): the weights are too equal.": (
        "除以了 D，而公式里是 sqrt(D)：权重过于平均。"
    ),
    "the mask was not used: every query still looks at every key, the future included.": (
        "没有用掩码：每个 query 仍然能看所有的 key，后文也在内。"
    ),
    "masked after the softmax: the weights that are left no longer add up to 1, because the hidden keys are still "
    "in the denominator. Fill the scores with -inf before it.": (
        "在 softmax 之后才用掩码：剩下的权重加起来不到 1，因为被遮住的 key 还在分母里。"
        "要在 softmax 之前把得分填成 -inf。"
    ),
    "the mask is the wrong way round: True means 'may look', so the scores to fill are those of ~mask.": (
        "掩码用反了：True 表示“可以看”，所以要填的是 ~mask 处的得分。"
    ),
    "the mask is the wrong way round: the scores to fill are those of ~mask. Now the last query has no key to look "
    "at, and its row is nan.": (
        "掩码用反了：要填的是 ~mask 处的得分。现在最后一个 query 没有 key 可看，那一行就成了 nan。"
    ),
    "the softmax ran over the queries, down the columns. The weights of each *query* over its keys add up to 1: "
    "dim=-1.": "softmax 沿着 query 的方向、竖着算了。每个 query 对各个 key 的权重之和才是 1：dim=-1。",
    "the mask was added as 0 and 1, as the lecture's rule says. Adding 0 hides nothing: what is not allowed needs "
    "-inf.": "照讲义的规则，把掩码当成 0 和 1 加了上去。加 0 什么也遮不住：不允许看的地方要加 -inf。",
    # log_softmax
    "Return x - log Σ exp(x) over the last dimension, for logits of any size.": (
        "沿最后一维返回 x - log Σ exp(x)；logits 再大再小都要算对。"
    ),
    "nearly: a probability below 1e-308 is rounded to 0, and log 0 is -inf. Subtract logarithms instead of taking "
    "the logarithm of a quotient.": (
        "差一点：概率小于 1e-308 就会舍入成 0，而 log 0 是 -inf。不要先除再取对数，要用对数相减。"
    ),
    "these are the probabilities; their logarithm is missing.": "这是概率，还没有取对数。",
    "right for small logits, but exp(1000) is inf, and inf / inf is nan. Subtract the largest logit first: softmax "
    "stays the same.": (
        "logits 小的时候正确，但 exp(1000) 是 inf，而 inf / inf 是 nan。先减去最大的 logit：softmax 不变。"
    ),
    "right for small logits, but exp(1000) is inf. Subtract the largest logit first: softmax stays the same.": (
        "logits 小的时候正确，但 exp(1000) 是 inf。先减去最大的 logit：softmax 不变。"
    ),
    "the sum ran over all rows at once. Each row is a distribution of its own: sum over dim=-1.": (
        "求和时把所有的行混在了一起。每一行是一个单独的分布：沿 dim=-1 求和。"
    ),
    "nearly: the largest of *all* rows was subtracted, and a row far below it becomes -inf. Each row has its own "
    "largest, amax(dim=-1, keepdim=True).": (
        "差一点：减去的是所有行中的最大值，比它小很多的那一行就成了 -inf。每一行要减自己的最大值："
        "amax(dim=-1, keepdim=True)。"
    ),
    "computed down the columns: each *row* is one distribution, so sum over the last dimension.": (
        "竖着算了。每一行是一个分布，所以要沿最后一维求和。"
    ),
    # cross_entropy
    "Return the mean of -log p(target) over the targets that are not ignore_index.": (
        "返回 -log p(目标) 的平均值，只算不等于 ignore_index 的目标。"
    ),
    "the sign is wrong: log-probabilities are negative, a loss is positive.": "符号反了：对数概率是负数，损失是正数。",
    "this is the sum. Divide by the number of targets that count.": "这是总和。还要除以计入的目标个数。",
    "divided by all targets, the ignored ones included. The lecture's 1.8357 is the sum of two losses divided by "
    "2, not by 3.": "除数里有被忽略的目标。讲义的 1.8357 是两个损失之和除以 2，不是除以 3。",
    "-100 was looked up like any target. Select the targets that are not ignore_index first.": (
        "-100 也被当成普通的目标去查了。先选出不等于 ignore_index 的目标。"
    ),
    "the ignored targets were scored as if they were class 0. They must not be in the mean at all.": (
        "被忽略的目标当成类别 0 算了。它们根本不应当计入平均值。"
    ),
    # split_qkv
    "Split Hugging Face's c_attn.weight (C, 3C) into the (C, C) weights of three nn.Linear: query, key, value.": (
        "把 Hugging Face 的 c_attn.weight (C, 3C) 拆成三个 nn.Linear 的权重 (C, C)：query、key、value。"
    ),
    "split correctly, but not transposed: c_attn is stored as (in, out), nn.Linear wants (out, in). The parts are "
    "square, so their shape does not show it.": (
        "拆对了，但没有转置：c_attn 按 (in, out) 存放，nn.Linear 要的是 (out, in)。三块都是方阵，从形状上看不出来。"
    ),
    "every third row went to each: query, key and value stand side by side, in blocks of C.": (
        "每隔三行取了一行。其实 query、key、value 是并排放的，每块有 C 列。"
    ),
    "query and key have changed places. The order in c_attn is query, key, value.": (
        "query 和 key 换了位置。c_attn 里的顺序是 query、key、value。"
    ),
    "cut along the rows, the inputs. The columns hold query, key and value, C of each: dim=1. Then transpose.": (
        "沿着行切了，行是输入。query、key、value 在列的方向上，各占 C 列：dim=1。然后再转置。"
    ),
    "the numbers were cut as one long row: the first C·C of them are parts of query, key *and* value. Cut along "
    "the columns.": "把所有的数排成一长行来切了：前 C·C 个数里，query、key、value 各有一部分。要沿着列切。",
    # count_parameters
    "Return the number of parameters of a GPT-2 with this GPT2Config (tied head), from its fields alone.": (
        "只用 GPT2Config 的字段，返回这个 GPT-2 的参数个数（输出层的权重与词元嵌入共享）。"
    ),
    "the head was counted too. It is tied: the token embedding is also the head, and counts once.": (
        "输出层也算进去了。它与词元嵌入共享权重：词元嵌入就是输出层，只算一次。"
    ),
    "all biases are missing: every linear layer has one, and every norm too.": (
        "所有的偏置都漏了：每个线性层有一个，每个归一化也有一个。"
    ),
    "the position embedding is missing: n_positions vectors of n_embd numbers.": (
        "漏了位置嵌入：n_positions 个向量，每个有 n_embd 个数。"
    ),
    "the final norm, after the last block, is missing.": "漏了最后一层之后的那个归一化。",
    "the two norms of each block are missing: each has a weight and a bias of n_embd numbers.": (
        "漏了每一层的两个归一化：各有一个权重、一个偏置，都是 n_embd 个数。"
    ),
    "attention has four linear layers, and one is missing: query, key, value and the output projection.": (
        "注意力有四个线性层，漏了一个：query、key、value 和输出投影。"
    ),
    "the MLP is n_embd wide here. Inside it is 4 · n_embd wide: up (4 C × C) and down (C × 4 C).": (
        "这里 MLP 的宽度算成了 n_embd。它中间的宽度是 4 · n_embd：先升 (4 C × C)，再降 (C × 4 C)。"
    ),
    "one block was counted. There are n_layer of them.": "只算了一层，一共有 n_layer 层。",
    # positions
    "Return the position id (B, T) of every token, from an attention mask (B, T) padded on the left; pads get 0.": (
        "给定左填充的注意力掩码 (B, T)，返回每个词元的位置编号 (B, T)；填充词元的编号是 0。"
    ),
    "these count the pads too: the first real token must be at position 0, wherever the row begins.": (
        "填充词元也数进去了。不管一行从哪里开始，第一个真正的词元都在位置 0。"
    ),
    "one too many: the cumulative sum of the first real token is 1, its position 0.": (
        "多了 1：第一个真正的词元处，累加和是 1，而它的位置是 0。"
    ),
    "nearly: the pads now have position -1, and the position embedding has no such row. Clamp at 0.": (
        "差一点：填充词元的位置现在是 -1，而位置嵌入没有这一行。用 clamp 限制到不小于 0。"
    ),
    # token_by_token
    "Return the logits (B, T, V) of all positions, feeding the model one token at a time with a cache from "
    "model.new_cache(batch_size, capacity).": (
        "用 model.new_cache(batch_size, capacity) 建一个 cache，每次只给模型一个词元，返回所有位置的 logits (B, T, V)。"
    ),
    "each token was read without a past. Make one cache before the loop and hand it to every call.": (
        "读每个词元时都没有前文。在循环之前只建一个 cache，每次调用都传入它。"
    ),
    "these are the logits of the last position only; collect those of every step.": (
        "这只是最后一个位置的 logits；每一步的都要收集起来。"
    ),
}
