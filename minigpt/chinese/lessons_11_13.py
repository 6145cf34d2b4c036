"""Lessons 11 to 13, and your own attention: the tasks and hints of the exercises."""

TEXTS = {
    # masked_inputs
    "Return (read, labels). Where chosen: mask_id for kind below 0.8, the random token for kind from 0.8 to below "
    "0.9, else the token itself; the label is the token. Elsewhere: the token, and the label -100.": (
        "返回 (read, labels)。chosen 为真的地方：kind 小于 0.8 读 mask_id，0.8 到 0.9（不含）读随机词元，"
        "其余读原来的词元；标签是原来的词元。别的地方：读原来的词元，标签是 -100。"
    ),
    "the labels hold every token. The loss counts the chosen ones only: elsewhere the label is -100.": (
        "标签里有所有的词元。损失只算选中的词元：别的地方，标签是 -100。"
    ),
    "the labels were taken from what BERT reads, so it has to predict [MASK]. They are the tokens that stood there "
    "before.": "标签取自 BERT 读到的内容，等于让它预测 [MASK]。标签应当是那里原来的词元。",
    "every chosen token became [MASK]. One in ten becomes a random token (kind 0.8 to 0.9), and one in ten stays.": (
        "选中的词元全都变成了 [MASK]。应当有十分之一变成随机词元（kind 在 0.8 到 0.9），十分之一不变。"
    ),
    "no chosen token stays as it is: those with kind of 0.9 and more do.": (
        "选中的词元没有一个不变：kind 不小于 0.9 的应当不变。"
    ),
    "tokens that were not chosen are replaced, too. kind counts only where chosen is True.": (
        "没有选中的词元也被换掉了。只有 chosen 为 True 的地方才看 kind。"
    ),
    # mean_vector
    "Return (B, C): the mean of each text's hidden states over its real tokens, where attention_mask is 1.": (
        "返回 (B, C)：每段文本隐藏状态的平均值，只算真正的词元，即 attention_mask 为 1 的地方。"
    ),
    "this is the mean over all positions, pads included. Then a short text gets one vector in a batch with a long "
    "text, and another one alone.": (
        "这是所有位置的平均值，填充词元也在内。这样，一段短文本与长文本放在一个 batch 里，"
        "得到的向量就与单独计算时不同。"
    ),
    "the pads are zeros now, but the sum is divided by all positions: divide by the number of real tokens.": (
        "填充词元现在是 0 了，但总和除以了全部位置的个数。要除以真正的词元个数。"
    ),
    "this is the sum. Divide it by the number of real tokens of each text.": (
        "这是总和。还要除以每段文本真正的词元个数。"
    ),
    "this is the state of [CLS] alone. It is a vector for the text, too; the mean is asked for.": (
        "这只是 [CLS] 的隐藏状态。它也能代表整段文本，但题目要的是平均值。"
    ),
    # cut_spans
    "Return (source, target), two lists. In the source each span is one sentinel; the target has each sentinel "
    "with its span after it. Both end with end.": (
        "返回 (source, target) 两个列表。source 里，每个片段换成一个哨兵；target 里，每个哨兵后面跟着它的片段。"
        "两者都以 end 结尾。"
    ),
    "every span has the same sentinel, so nothing tells them apart: the first span has the first sentinel, the "
    "second the second.": "所有片段用了同一个哨兵，就分不清谁是谁了：第一个片段用第一个哨兵，第二个片段用第二个。",
    "source and target lack their end: both end with end, so that the decoder learns to stop.": (
        "source 和 target 缺了结尾：两者都以 end 结尾，decoder 才能学会停下。"
    ),
    "each token of a span got a sentinel of its own. A span has one, however long it is: this makes source and "
    "target short.": "片段里的每个词元都得了一个哨兵。一个片段不管多长，只有一个哨兵：这样 source 和 target 才短。",
    "the target is the whole row. It holds what was cut out and no more, each span after its sentinel.": (
        "target 是整行。它只应当有挖掉的部分，每个片段跟在自己的哨兵后面。"
    ),
    "each sentinel stands after its span. It comes first, for it says which span follows.": (
        "哨兵放在了片段的后面。它应当在前面，因为它说明后面是哪个片段。"
    ),
    # bucket
    "Return the bucket of a distance (key position − query position) in the encoder. Keys after the query use the "
    "second half of the buckets. In each half, the first half of the buckets holds one distance each; the others "
    "grow with the logarithm up to max_distance, and the last one holds all the rest.": (
        "返回 encoder 中一个距离（key 的位置 − query 的位置）的桶号。在 query 后面的 key 用后一半桶。每一半里，"
        "前一半的桶各放一个距离；其余的桶按对数变宽，直到 max_distance，最后一个桶放余下的全部距离。"
    ),
    "keys before and after the query share their buckets. A key after the query (distance above 0) gets n_buckets "
    "// 2 more.": "query 前面和后面的 key 用了相同的桶。在后面的 key（距离大于 0）要再加 n_buckets // 2。",
    "the sides are exchanged: keys *after* the query, distance above 0, use the second half.": (
        "两边换反了：在 query 后面的 key，距离大于 0，用后一半桶。"
    ),
    "distances beyond max_distance leave their half of the buckets. The last bucket of the half holds all of them: "
    "take the minimum.": "大于 max_distance 的距离跑到了自己那一半桶的外面。这一半的最后一个桶放下它们全部：取最小值。",
    "every distance got a bucket of its own until they ran out. From n_buckets // 4 on they grow with the "
    "logarithm.": "每个距离各用了一个桶，直到桶用完。从 n_buckets // 4 起，桶应当按对数变宽。",
    # decoder_inputs
    "Return (B, T): start, then the target without its last token. Position t then reads what comes before the "
    "target's token t.": (
        "返回 (B, T)：先是 start，然后是去掉最后一个词元的 target。这样，位置 t 读到的，是 target 的词元 t 之前的内容。"
    ),
    "the decoder reads the token that it has to predict, and would copy it. It reads the token *before*: shift to "
    "the right by one, with start in front.": (
        "decoder 读到了它要预测的词元，照抄就行了。它应当读前一个词元：整体右移一位，前面放 start。"
    ),
    "one token too many: the inputs have the target's length, so the last token is left out.": (
        "多了一个词元：输入与 target 一样长，所以要去掉最后一个词元。"
    ),
    "this is shifted to the left: position t would read token t + 1 of the target, which it has not predicted yet.": (
        "这是向左移了：位置 t 会读到 target 的词元 t + 1，而它还没有预测出来。"
    ),
    # rotate
    "Return (T, D): the pair (a, b) of columns i and i + D/2 of row t becomes (a cos − b sin, b cos + a sin) of "
    "the angle t · rates[i].": (
        "返回 (T, D)：第 t 行的第 i 列和第 i + D/2 列组成一对 (a, b)，"
        "按角度 t · rates[i] 变成 (a cos − b sin, b cos + a sin)。"
    ),
    "columns 2i and 2i + 1 are a pair here. The paper pairs neighbours, too; Hugging Face's files, and the task, "
    "pair column i with column i + D/2: x.chunk(2, dim=-1).": (
        "这里把第 2i 列和第 2i + 1 列配成了一对。论文也是相邻的两列配对；Hugging Face 的文件和本题，"
        "是第 i 列与第 i + D/2 列配对：x.chunk(2, dim=-1)。"
    ),
    "the rotation goes the other way round: the first half is a cos − b sin, the second b cos + a sin.": (
        "转反了：前一半是 a cos − b sin，后一半是 b cos + a sin。"
    ),
    "the first row is rotated already. Positions count from 0, so row 0 stays as it is.": (
        "第一行就已经转了。位置从 0 数起，所以第 0 行不变。"
    ),
    "the second half of the columns stays as it was: it becomes b cos + a sin.": (
        "后一半的列没有变：它们应当变成 b cos + a sin。"
    ),
    # share_keys
    "Return (B, n_head, T, D): key head j stands for the n_head / H_kv query heads of group j, which are neighbours.": (
        "返回 (B, n_head, T, D)：key 头 j 供第 j 组的 n_head / H_kv 个 query 头共用，同组的 query 头是相邻的。"
    ),
    "the key heads come in turns: 0, 1, 0, 1, … Query heads of a group are neighbours: 0, 0, 0, 1, 1, 1. torch's "
    "repeat_interleave does that.": (
        "key 头轮流出现了：0, 1, 0, 1, …… 同组的 query 头是相邻的：0, 0, 0, 1, 1, 1。"
        "torch 的 repeat_interleave 正是这样做的。"
    ),
    "every query head gets key head 0. That is one group (multi-query attention); here there are H_kv.": (
        "每个 query 头用的都是 key 头 0。那样只有一组（multi-query attention）；这里有 H_kv 组。"
    ),
    "the tokens were repeated, not the heads: heads are dimension 1 of (B, H_kv, T, D).": (
        "重复的是词元，不是头：在 (B, H_kv, T, D) 里，头是第 1 维。"
    ),
    # kept_tokens
    "Return tokens with the column filled: the chosen token where is_prompt is False there, the prompt's own token "
    "where it is True.": (
        "填好这一列，返回 tokens：is_prompt 为 False 的地方填选出的词元，为 True 的地方保留 prompt 自己的词元。"
    ),
    "the choice is written over the prompt: a row whose prompt is longer than column keeps its own token.": (
        "选出的词元盖住了 prompt：如果一行的 prompt 比 column 长，就要保留它自己的词元。"
    ),
    "the two cases are exchanged: where is_prompt is True the prompt's token stays.": (
        "两种情况写反了：is_prompt 为 True 的地方，prompt 的词元不变。"
    ),
    "the choice was put into the next column. The logits of column − 1 choose the token of column.": (
        "选出的词元放到了下一列。第 column − 1 列的 logits 选出的，是第 column 列的词元。"
    ),
    # own_attention
    "Return attention (B, H, Tq, Dv) for q (B, H, Tq, D), k (B, H, Tk, D), v (B, H, Tk, Dv) and the arguments of "
    "minigpt.attention.explicit_attention: mask, causal, bias, scale. k and v may have fewer heads than q.": (
        "对 q (B, H, Tq, D)、k (B, H, Tk, D)、v (B, H, Tk, Dv)，返回注意力的结果 (B, H, Tq, Dv)。"
        "参数与 minigpt.attention.explicit_attention 相同：mask、causal、bias、scale。k 和 v 的头可以比 q 少。"
    ),
    "the scores were not divided by sqrt(D). Where scale is None, it is 1 / sqrt(D).": (
        "得分没有除以 sqrt(D)。scale 为 None 时，它就是 1 / sqrt(D)。"
    ),
    "the scores were divided by D, and the formula has sqrt(D): the weights come out too even.": (
        "得分除以了 D，而公式里是 sqrt(D)：得到的权重过于平均。"
    ),
    "scale was not used. T5 gives scale=1.0, since its fresh queries are small: then nothing is divided.": (
        "没有用 scale。T5 的 query 初始化得很小，所以它给的是 scale=1.0：那就不用再除。"
    ),
    "causal=True was not used: every query still looks at later keys.": (
        "没有用 causal=True：每个 query 仍然能看后面的 key。"
    ),
    "BERT's call has causal=False: then a query looks at later keys, too.": (
        "BERT 的调用是 causal=False：query 也能看后面的 key。"
    ),
    "mask was not used: the queries look at pads.": "没有用 mask：query 看到了填充词元。",
    "the mask is the wrong way round: True means 'may look'.": "掩码用反了：True 表示“可以看”。",
    "bias was not used: T5 adds it to the scores, after the scale and before the softmax.": (
        "没有用 bias：T5 把它加到得分上，在乘 scale 之后、softmax 之前。"
    ),
    "right for as many queries as keys only. With a KV cache the queries are the *last* Tq positions: query i sits "
    "at key position Tk - Tq + i.": (
        "只在 query 与 key 一样多时正确。有 KV cache 时，query 是最后的 Tq 个位置：query i 在 key 的位置 Tk - Tq + i。"
    ),
    "the masks were added as 0 and 1, as the lecture's rule says. A constant added to a score hides nothing: what "
    "is not allowed needs -inf.": (
        "照讲义的规则，把掩码当成 0 和 1 加了上去。得分加一个常数，什么也遮不住：不允许看的地方要加 -inf。"
    ),
    "masked after the softmax: the weights that are left no longer add up to 1. Fill the scores before it.": (
        "在 softmax 之后才用掩码：剩下的权重加起来不到 1。要在 softmax 之前填得分。"
    ),
    "right, except where a query has no key to look at: a softmax of only -inf is nan. Such a row of pads gets "
    "weights of 0 here. A nan would spread from there to the gradients of every token.": (
        "基本正确，只差没有 key 可看的 query：全是 -inf 的 softmax 是 nan。在这里，这样的填充行权重为 0。"
        "一个 nan 会从那里传到每个词元的梯度。"
    ),
    "right, except where a query has no key to look at. Filled with the smallest finite number, its scores are all "
    "equal, and it looks at every key. Such a row of pads gets weights of 0 here.": (
        "基本正确，只差没有 key 可看的 query。它的得分都填成了最小的有限数，大小相同，于是它看了所有的 key。"
        "在这里，这样的填充行权重为 0。"
    ),
    "the softmax ran over the queries, down the columns. Each *query* shares out a weight of 1 among its keys: "
    "dim=-1.": "softmax 沿着 query 的方向、竖着算了。每个 query 把总量为 1 的权重分给各个 key：dim=-1。",
    "k and v have fewer heads than q, and neighbours share one: query heads 0 and 1 use key head 0 "
    "(repeat_interleave, not repeat).": (
        "k 和 v 的头比 q 少，相邻的 query 头共用一个：query 头 0 和 1 用 key 头 0（用 repeat_interleave，"
        "不用 repeat）。"
    ),
    "BERT (every key)": "BERT（看所有的 key）",
    "GPT (causal)": "GPT（因果）",
    "a KV cache (2 queries, 5 keys)": "KV cache（2 个 query，5 个 key）",
    "pads (mask)": "填充词元（mask）",
    "T5 (bias and scale)": "T5（bias 和 scale）",
    "Llama (2 key heads for 4 query heads)": "Llama（4 个 query 头，2 个 key 头）",
}
