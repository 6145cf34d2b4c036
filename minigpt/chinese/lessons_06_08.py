"""Lessons 6 to 8: the tasks and hints of the exercises."""

TEXTS = {
    # top_p
    "From logits (V,) and p, return new logits: -inf for every token outside the nucleus, which is the smallest "
    "set of most likely tokens whose probabilities add up to at least p.": (
        "给定 logits (V,) 和 p，返回新的 logits：核以外的词元都是 -inf。核是概率之和至少为 p 的最小集合，"
        "由最可能的词元组成。"
    ),
    "the token that crosses p was dropped. Keep it: without it the others do not reach p, and if the likeliest "
    "token alone is above p, no token would be left.": (
        "累加时越过 p 的那个词元被丢掉了，应当留下。没有它，其余的词元加起来不到 p；如果最可能的词元一个就超过 p，"
        "那就一个也不剩了。"
    ),
    "the token that crosses p was dropped, except where no other token was left. Always keep it: without it the "
    "others do not reach p.": (
        "累加时越过 p 的那个词元被丢掉了，除非一个也不剩才留。它总是要留下：没有它，其余的词元加起来不到 p。"
    ),
    "the sum began at the unlikely end, so the likeliest tokens were removed. Sort with descending=True.": (
        "从最不可能的一端开始累加，于是最可能的词元被去掉了。排序时用 descending=True。"
    ),
    "logits were added up, and they are no probabilities: softmax first, then the cumulative sum.": (
        "累加的是 logits，它们不是概率：先 softmax，再累加。"
    ),
    "the count is right, the tokens are not: what is first in the sorted order was kept at the first places of the "
    "vocabulary. Use the indices that sort returns.": (
        "个数对了，词元不对：排序后排在前面的，留到了词表的前几个位置上。要用 sort 返回的下标。"
    ),
    "the right tokens, but the others got the logit 0, and exp(0) is 1: they can still be drawn. Only -inf becomes "
    "the probability 0.": (
        "词元选对了，但其余的 logit 设成了 0，而 exp(0) 是 1：它们还会被采样到。只有 -inf 的概率才是 0。"
    ),
    "these are the probabilities after top-p. The task asks for new *logits*.": (
        "这是 top-p 之后的概率。题目要的是新的 logits。"
    ),
    "each probability was compared with p by itself. It is their sum, from the likeliest down, that should reach "
    "p.": "把每个概率单独与 p 比较了。应当从最可能的开始累加，看和是否达到 p。",
    # beam_step
    "From the scores (K,) of the beams and the log-probabilities (K, V) of their next tokens, return the new "
    "(scores, parents, tokens), best first, each (num_beams,): parents are the numbers of the beams continued.": (
        "给定各束的得分 (K,) 和下一个词元的对数概率 (K, V)，返回新的 (scores, parents, tokens)，从好到坏，"
        "形状都是 (num_beams,)；parents 是被延续的束的编号。"
    ),
    "each beam kept its own best token. The best num_beams of *all* K·V candidates count: one beam may have "
    "several children, another none.": (
        "每个束各留了自己最好的词元。应当在全部 K·V 个候选里选出最好的 num_beams 个：有的束可以延续出几个，"
        "有的一个也没有。"
    ),
    "a flattened (K, V) tensor has V entries a row: the parent is index // V and the token index % V.": (
        "展平的 (K, V) 张量每行有 V 个数：parent 是 index // V，词元是 index % V。"
    ),
    "only the newest token counted. A candidate's score is its beam's score plus the new log-probability.": (
        "只算了最新的词元。候选的得分是束的得分加上新的对数概率。"
    ),
    "parents and tokens have changed places: index // V is the parent, index % V the token.": (
        "parents 和 tokens 换了位置：index // V 是 parent，index % V 是词元。"
    ),
    # windows
    "Return a list of (begin, end, first): tokens begin ... end - 1 are read, first ... end - 1 are scored, those "
    "that no earlier window has read and that have a predecessor in the window. The first window to reach the end "
    "is the last.": (
        "返回 (begin, end, first) 的列表：读词元 begin ... end - 1，给 first ... end - 1 计分，"
        "也就是前面的窗口没有读过、在本窗口里又有前一个词元的那些。最先到达末尾的窗口就是最后一个。"
    ),
    "there are too many windows: 562 instead of 561 in the lecture's case. After a window that reaches the end of "
    "the text, the next ones have no new tokens; stop there.": (
        "窗口太多了：讲义的例子应当有 561 个，这里有 562 个。一个窗口到达文本末尾之后，后面的窗口没有新词元，应当停下。"
    ),
    "the end of the text is missing: the last window may be shorter than the others, end = min(begin + window, "
    "n_tokens).": "漏了文本末尾：最后一个窗口可以比别的短，end = min(begin + window, n_tokens)。",
    "the last window scores tokens that the one before has scored. It has fewer than `stride` new tokens: begin at "
    "the end of the previous window.": (
        "最后一个窗口给前一个窗口已经计分的词元又计了分。它的新词元不到 stride 个：从前一个窗口的 end 开始。"
    ),
    "the third number is trg_len, how many tokens are new. The task asks for the position of the first token that "
    "is scored.": "第三个数是 trg_len，即新词元的个数。题目要的是第一个计分词元的位置。",
    "the overlap is scored twice: first should be no earlier than the end of the previous window.": (
        "重叠的部分计了两次分：first 不能早于前一个窗口的 end。"
    ),
    "the first token of a window has no predecessor in it, so nothing predicts it: first is at least begin + 1, in "
    "the first window, and in every window where windows only touch (stride = window).": (
        "窗口的第一个词元在窗口里没有前一个词元，也就没有预测：first 至少是 begin + 1。第一个窗口是这样；"
        "窗口首尾相接（stride = window）时，每个窗口都是这样。"
    ),
    "right while windows overlap. At stride = window none overlaps the one before: the first token of each has no "
    "predecessor there, so first is at least begin + 1.": (
        "窗口重叠时正确。stride = window 时，窗口与前一个不重叠：每个窗口的第一个词元没有前一个词元，"
        "所以 first 至少是 begin + 1。"
    ),
    # exact_perplexity
    "From a list of tensors, the losses in each window with nan where the label was -100, return the perplexity in "
    "which every scored token weighs the same, as a tensor.": (
        "给定一个张量列表，每个张量是一个窗口里的损失，标签是 -100 的地方是 nan。返回困惑度（张量），"
        "其中每个计分的词元权重相同。"
    ),
    "this is the lecture's mean of means: a window that scores one token weighs as much as one that scores seven. "
    "Sum over all tokens and divide once.": (
        "这是讲义的“平均的平均”：只给一个词元计分的窗口，与给七个词元计分的窗口一样重。应当把所有词元加起来，只除一次。"
    ),
    "the perplexities of the windows were averaged. Average losses, over tokens; take exp once, at the end.": (
        "把各个窗口的困惑度平均了。要平均的是损失，按词元平均；最后取一次 exp。"
    ),
    "exp came before the mean. That averages 1 / p, which a single surprising token can dominate.": (
        "在求平均之前取了 exp。这样平均的是 1 / p，一个意外的词元就能左右结果。"
    ),
    "this is the mean loss; its exp is missing.": "这是平均损失，还没有取 exp。",
    "a mean with nan in it is nan. Take the scored tokens out first, or use nanmean.": (
        "有 nan 参加的平均值就是 nan。先挑出计分的词元，或者用 nanmean。"
    ),
    "tokens that were not scored counted as if they had loss 0. Leave them out of the sum and out of the divisor.": (
        "没有计分的词元当成损失 0 算了。分子和分母里都不要有它们。"
    ),
    "nearly: windows were weighted by the tokens they *read*. Weigh them by those they score, the ones that are "
    "not nan.": "差一点：窗口按“读了多少词元”加权了。应当按“计分了多少词元”加权，也就是不是 nan 的个数。",
    "the sum was never divided by the number of scored tokens.": "总和没有除以计分的词元个数。",
    # most_frequent_pair
    "From {word as a tuple of tokens: how often it occurs}, return the pair of neighbours that occurs most often.": (
        "给定 {单词（词元的元组）: 出现次数}，返回出现最多的相邻词元对。"
    ),
    "each word was counted once. A word that occurs nine times brings its pairs nine times.": (
        "每个单词只数了一次。一个单词出现九次，它的词元对也就出现九次。"
    ),
    "this is the first pair of the most frequent word. A pair collects counts from *all* words it is in.": (
        "这是最常见的单词的第一对。一个词元对的次数，要把所有含有它的单词加在一起。"
    ),
    "a pair that stands in a word twice counts twice: a a a has the pair (a, a) two times.": (
        "一对词元在同一个单词里出现两次，就要数两次：a a a 里，(a, a) 出现了两次。"
    ),
    "the words were put in a row, so the end of one and the beginning of the next became neighbours. A pair is "
    "always inside one word.": (
        "把单词接成了一长串，前一个单词的末尾与后一个单词的开头就成了相邻的一对。词元对总是在一个单词之内。"
    ),
    "the right pair, joined to one text. Return the two tokens as a tuple: merging needs to know where one ends.": (
        "词元对选对了，但接成了一个字符串。要返回两个词元的元组：合并时要知道前一个到哪里为止。"
    ),
    # merge
    "Return the ids with every occurrence of the pair replaced by new_id, from left to right.": (
        "从左到右，把每一处这个词元对换成 new_id，返回新的 id 列表。"
    ),
    "only the first occurrence was merged. Go on after it until the end.": "只合并了第一处。合并之后要继续，直到末尾。",
    "in 5 5 5 the middle one was used twice. A token can be merged once only: go on after the pair.": (
        "在 5 5 5 里，中间那个用了两次。一个词元只能合并一次：合并之后，从这一对的后面继续。"
    ),
    "each token of the pair was replaced alone. Only both together, side by side, become one new token.": (
        "把一对中的每个词元单独换掉了。只有两个相邻地出现，才一起变成一个新词元。"
    ),
    "the first token of the pair became new_id, and the second is still there. The two become one.": (
        "一对中的第一个词元换成了 new_id，第二个还在。两个应当合成一个。"
    ),
}
