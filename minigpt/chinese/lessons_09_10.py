"""Lessons 9 and 10: the tasks and hints of the exercises."""

TEXTS = {
    # accumulate_parts
    "Return the gradients, a list with one tensor for each of model.parameters(), of the mean loss over all scored "
    "tokens of all parts, a list of (rows, labels).": (
        "给定各部分的列表，每部分是 (rows, labels)。对“所有部分、所有计分词元的平均损失”求梯度，"
        "按 model.parameters() 的顺序返回张量列表。"
    ),
    "this is the mean of the parts' means: a token in a small part weighs more than one in a large part. Add the "
    "*sums* of the parts, each divided by the number of scored tokens in all parts.": (
        "这是各部分平均值的平均：小的部分里，一个词元的权重比在大的部分里大。应当把各部分的总和加起来，"
        "每个都除以所有部分的计分词元总数。"
    ),
    "each part was divided by its own number of tokens, and the means were added. Divide every part's sum by the "
    "number of scored tokens in *all* parts.": (
        "每部分除以了自己的词元个数，又把这些平均值相加了。每部分的总和，都应当除以所有部分的计分词元总数。"
    ),
    "this is the gradient of the sum; it was never divided by the number of scored tokens. As it is, the step "
    "grows with the batch.": "这是总和的梯度，没有除以计分的词元个数。这样，batch 越大，更新的步子就越大。",
    "these are the gradients of the last part alone. Set them to zero once, before the first part, not inside the "
    "loop: backward adds to the gradients that are there.": (
        "这只是最后一部分的梯度。梯度清零只做一次，在第一部分之前，不要放在循环里："
        "backward 会把新的梯度加到已有的梯度上。"
    ),
    "divided by all labels, scored or not. Those that are -100 do not count, nor does the first of each row, which "
    "nothing predicts.": "除以了全部标签的个数，不管有没有计分。-100 的标签不算；每行的第一个没有预测，也不算。",
    "nearly: the divisor counts the first label of each row, which nothing predicts. Count labels[:, 1:] != -100.": (
        "差一点：除数里算进了每行的第一个标签，而它没有预测。要数的是 labels[:, 1:] != -100。"
    ),
    # learning_rates
    "Return the learning rates of steps 0 ... steps - 1 as a tensor: a straight warm-up whose last step, warmup - "
    "1, reaches peak, then half a cosine from peak at step warmup to final at step steps - 1.": (
        "返回第 0 ... steps - 1 步的学习率（张量）：先沿直线预热，预热的最后一步 warmup - 1 达到 peak；"
        "再沿半个余弦，从第 warmup 步的 peak 降到第 steps - 1 步的 final。"
    ),
    "the first rate is 0: step 0 would teach nothing, and the last step of the warm-up does not reach the peak. "
    "Use (step + 1) / warmup.": (
        "第一个学习率是 0：第 0 步什么也学不到，预热的最后一步也到不了 peak。用 (step + 1) / warmup。"
    ),
    "the cosine ends one step too late: the last step is steps - 1, so it has steps - 1 - warmup steps to go.": (
        "余弦晚了一步结束：最后一步是 steps - 1，所以它一共走 steps - 1 - warmup 步。"
    ),
    "the cosine was counted from step 0, so the rate jumps down after the warm-up. Count from its end: step - "
    "warmup.": "余弦从第 0 步算起了，预热一结束，学习率就突然下降。要从预热结束处算起：step - warmup。",
    "the rate falls to 0 instead of final. Only the difference falls: final + (peak - final) * ...": (
        "学习率降到了 0，而不是 final。下降的只是两者之差：final + (peak - final) * 余弦部分。"
    ),
    "after the warm-up the rate is too high, by `final`: the cosine goes from peak - final to 0, and final is "
    "added.": "预热之后，学习率高出了 `final`：余弦从 peak - final 降到 0，再加上 final。",
    "that is a quarter of a cosine: it falls steepest at the end. Half of one, (1 + cos(π done)) / 2, starts and "
    "ends flat.": "这是四分之一个余弦，到末尾降得最快。半个余弦 (1 + cos(π done)) / 2 的两头都是平的。",
    "a cosine goes from 1 to -1, so the rate becomes too small, even negative. Map it to 1 ... 0: (1 + cos) / 2.": (
        "余弦从 1 降到 -1，学习率就太小了，甚至是负数。把它变到 1 ... 0：(1 + cos) / 2。"
    ),
    "a straight line from peak to final; half a cosine is asked for.": (
        "这是从 peak 到 final 的一条直线；题目要的是半个余弦。"
    ),
    "there is no warm-up: the first `warmup` steps should climb in a straight line to peak.": (
        "没有预热：前 `warmup` 步应当沿直线升到 peak。"
    ),
    # induction_score
    "Return (H,): for each head, the mean weight that query t gives to key t - period + 1, over the queries period "
    "... 2 * period - 1.": (
        "返回 (H,)：对每个头，求 query t 给 key t - period + 1 的平均权重，query 取 period ... 2 * period - 1。"
    ),
    "this is the weight of the same token in the first half, period places back. The task asks for the key right "
    "*after* that: period - 1 back.": (
        "这是看前一半里同一个词元的权重，往前 period 个位置。题目要的是它后面的那个 key：往前 period - 1 个位置。"
    ),
    "nearly: the diagonal begins at query period - 1, the last token of the first half, which has no earlier copy. "
    "Leave its first entry out.": (
        "差一点：这条对角线从 query period - 1 开始，它是前一半的最后一个词元，前面没有相同的词元。"
        "要去掉对角线的第一个元素。"
    ),
    "this is the key *before* the earlier copy of the query's token. The one after it is period - 1 places back, "
    "not period + 1.": "这个 key 在前一个相同词元的前面。它后面的那个，往前数是 period - 1 个位置，不是 period + 1。",
    "all 0: this diagonal lies above the main one, in the future. Keys that came before are below it, "
    "offset=-(period - 1).": (
        "全是 0：这条对角线在主对角线的上方，那是后文。前面的 key 在主对角线的下方：offset=-(period - 1)。"
    ),
    "diagonal() took the first two dimensions, which are heads and queries. Say dim1=-2, dim2=-1.": (
        "diagonal() 取的是前两维，也就是头和 query。要写 dim1=-2, dim2=-1。"
    ),
    "this is one number for all heads. Average over the queries only: each head has its own score.": (
        "所有的头合成了一个数。只对 query 求平均：每个头有自己的得分。"
    ),
    "this is the sum over the queries. Divide by their number: a share is at most 1.": (
        "这是对 query 的总和。还要除以 query 的个数：平均权重不会超过 1。"
    ),
    # ablate_head
    "Return (B, T, C): the heads side by side, the given one replaced by zeros, through the output projection.": (
        "返回 (B, T, C)：指定的头换成零，各个头并排连起来，再经过输出投影。"
    ),
    "the bias is missing. It belongs to no head and is added whatever the heads do.": (
        "漏了偏置。它不属于任何一个头，头怎样变，都要加上它。"
    ),
    "this is the layer with all of its heads. Set heads[:, head] to 0 first.": (
        "这里所有的头都还在。先把 heads[:, head] 设为 0。"
    ),
    "this is what is left when all the *other* heads are switched off.": "这里关掉的是其他所有的头，只留下了这一个。",
    "heads[head] is a text of the batch, (B, H, T, D). All heads of one text were set to 0; you want heads[:, head].": (
        "heads[head] 是 batch 里的一段文本，形状是 (B, H, T, D)。这样把一段文本的所有头都设成了 0；"
        "要写 heads[:, head]。"
    ),
    "every H-th column was set to 0. Side by side, a head has D columns in a row: head * D ... (head + 1) * D - 1.": (
        "每隔 H 列设成了 0。并排之后，一个头占连续的 D 列：head * D ... (head + 1) * D - 1。"
    ),
    "rows of the weight were set to 0: those are outputs, which all heads write to. A head's inputs are *columns* "
    "of a weight (C, H*D).": "权重有几行设成了 0：行是输出，所有的头都往那里写。一个头的输入是权重 (C, H*D) 的列。",
    "the weight was used untransposed. It is (C, H*D), outputs first, so multiply by weight.T.": (
        "权重没有转置。它的形状是 (C, H*D)，输出在前，所以要乘 weight.T。"
    ),
    "the shape is right, but tokens and heads are mixed up: (B, H, T, D) has to become (B, T, H, D) by a transpose "
    "before the last two dimensions are joined.": (
        "形状对了，但词元和头混在了一起：合并最后两维之前，要先用 transpose 把 (B, H, T, D) 变成 (B, T, H, D)。"
    ),
    "the other heads were scaled up, as dropout does. Switching off leaves them as they are.": (
        "其余的头被放大了，dropout 才这样做。关掉一个头，其余的头不变。"
    ),
}
