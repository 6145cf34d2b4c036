"""What the tour says: minigpt/lecture/tour.py and tour_families.py."""

TEXTS = {
    "minigpt: the lecture on the model {source!r}, {parameters:,} parameters, {config.n_layer} layers, "
    "{config.n_head} heads, width {config.n_embd}, context {config.n_positions}": (
        "minigpt：在模型 {source!r} 上走一遍讲义。{parameters:,} 个参数，{config.n_layer} 层，"
        "{config.n_head} 个头，宽度 {config.n_embd}，上下文长度 {config.n_positions}"
    ),
    "\n{passed} of {all} claims hold, {seconds:.0f} seconds.": (
        "\n共 {all} 条结论，成立 {passed} 条，用时 {seconds:.0f} 秒。"
    ),
    # Review GPT
    "Review GPT: ids → hidden states → logits → loss": "回顾 GPT：id → 隐藏状态 → logits → 损失",
    "   {text!r} is {n} tokens here: {pieces}": "   {text!r} 在这里是 {n} 个词元：{pieces}",
    "the round trip text → ids → text is exact": "文本 → id → 文本，来回一趟，一字不差",
    "the head is the token embedding again: logits = hidden @ token_embedding.weight.T": (
        "输出层就是词元嵌入：logits = hidden @ token_embedding.weight.T"
    ),
    "   logits are scores, here {lowest:.1f} to {highest:.1f}; softmax makes them probabilities": (
        "   logits 是得分，这里从 {lowest:.1f} 到 {highest:.1f}；经过 softmax 才是概率"
    ),
    "after softmax, and not before, each position sums to 1": "每个位置的和，softmax 之后是 1，之前不是",
    "   The shift: position t predicts token t + 1, so logits lose their last and labels their first.": (
        "   移位：位置 t 预测第 t + 1 个词元，所以 logits 去掉最后一个，标签去掉第一个。"
    ),
    "loss {ours:.4f} nats a token; torch's cross-entropy of the shifted two {torchs:.4f}": (
        "损失是每个词元 {ours:.4f} nat；两者移位后，torch 算出的交叉熵是 {torchs:.4f}"
    ),
    "   log-probability of each next token:": "   每一步中，下一个词元的对数概率：",
    # Attention
    "Attention: bidirectional (BERT), causal (GPT), cross (T5)": ("注意力：双向（BERT）、因果（GPT）、交叉（T5）"),
    "   The causal mask: query i may look at key j ≤ i. As M, added to the scores, it is 0 and -∞:": (
        "   因果掩码：query i 只能看 j ≤ i 的 key。写成加到得分上的矩阵 M，元素是 0 和 -∞："
    ),
    "masking the scores is adding M with 0 and -∞": "遮住得分，等于加上由 0 和 -∞ 组成的 M",
    "   The lecture's matrix has 1 where it should have 0. Softmax forgives a constant, not a missing -∞:": (
        "   讲义的矩阵里，该写 0 的地方写成了 1。整行加一个常数，softmax 不变；少了 -∞，结果就错了："
    ),
    "with 1 and -∞ the weights are the same (to {difference:.0e})": (
        "用 1 和 -∞，注意力权重不变（相差 {difference:.0e}）"
    ),
    "with 0 and 1, as the rule under the formula says, they are off by {wrong:.1f}": (
        "照公式下面的规则用 0 和 1，注意力权重偏离 {wrong:.1f}"
    ),
    "   Three formulas, three calls of one function:": "   三个公式，就是同一个函数的三种调用：",
    "{call:50} → {shape}, equals torch's (to {difference:.0e})": (
        "{call:50} → {shape}，与 torch 的结果一致（相差 {difference:.0e}）"
    ),
    "a change of the last token changes no earlier output, to the last bit": (
        "改动最后一个词元，前面的输出一个比特也不变"
    ),
    # BERT, T5 and Llama
    "The same attention in BERT, T5 and Llama": "同一个注意力，用在 BERT、T5 和 Llama 里",
    "   BERT (tiny-bert), attention without M:   {gap}   {likely}": (
        "   BERT（tiny-bert），注意力不加 M：   {gap}   {likely}"
    ),
    "a later word changes every earlier state of BERT, and no earlier one of GPT-2": (
        "改动后面的一个词，BERT 前面的隐藏状态全变了，GPT-2 前面的一个也没变"
    ),
    "{word!r} has {whole:.0%} from both sides, and {half:.0%} from the left alone": (
        "{word!r} 的概率：看左右两边是 {whole:.0%}，只看左边是 {half:.0%}"
    ),
    "   T5 (tiny-t5), three attentions:   {source}   → {written}": (
        "   T5（tiny-t5），三种注意力：   {source}   → {written}"
    ),
    "encoder {n}×{n}, decoder {m}×{m}, cross attention {m}×{n}: the lecture's three formulas": (
        "encoder {n}×{n}，decoder {m}×{m}，交叉注意力 {m}×{n}：正是讲义的三个公式"
    ),
    "M hides the future in the decoder's own attention, and nothing in the other two": (
        "M 只在 decoder 的自注意力里遮住后文，在另外两种注意力里什么也不遮"
    ),
    "{answer!r}: loss {whole:.2f}; with cross attention cut {cut:.2f}": (
        "{answer!r}：损失 {whole:.2f}；切断交叉注意力后是 {cut:.2f}"
    ),
    "   Llama (tiny-llama), causal attention, keys shared by groups, positions by rotation:\n      {text}": (
        "   Llama（tiny-llama），因果注意力，一组 query 头共用一个 key 头，位置用旋转表示：\n      {text}"
    ),
    "moved by 100 positions it computes the same (to {apart:.0e}): only distances count": (
        "整段后移 100 个位置，结果不变（相差 {apart:.0e}）：起作用的只有距离"
    ),
    # CrossEntropyLoss
    "CrossEntropyLoss: labels select, -100 is ignored": "CrossEntropyLoss：标签负责选择，-100 被忽略",
    "   torch.manual_seed(42); logits torch.randn(3, 5); targets {targets}": (
        "   torch.manual_seed(42)；logits 是 torch.randn(3, 5)；目标是 {targets}"
    ),
    "   log-softmax at the targets: {values}": "   目标处的 log-softmax：{values}",
    "log_softmax by hand equals torch's": "手写的 log_softmax 与 torch 的结果一致",
    "minus their mean: {value:.4f}, the lecture's 2.4607": "取平均，再取负：{value:.4f}，即讲义的 2.4607",
    "with the last target -100: {value:.4f}, the lecture's 1.8357": (
        "最后一个目标改成 -100：{value:.4f}，即讲义的 1.8357"
    ),
    "torch's cross-entropy agrees": "torch 的交叉熵给出同样的数",
    # Training and inference
    "Training and inference: all positions at once = token by token": "训练与推理：一次算完所有位置 = 逐个词元计算",
    "   logits[0, 1], the first three and last three vocabulary entries:": "   logits[0, 1]，词表的前三项和后三项：",
    "      at once      {numbers}": "      一次算完     {numbers}",
    "      step by step {numbers}": "      逐步计算     {numbers}",
    "{dtype}, token by token : largest difference {apart:.0e}": "{dtype}，逐个词元：   最大相差 {apart:.0e}",
    "{dtype}, with a KV cache: largest difference {apart:.0e}": "{dtype}，用 KV cache：最大相差 {apart:.0e}",
    "   So training may read a text at once, and generating may write it one token at a time:\n": (
        "   所以，训练可以一次读完整段文本，生成可以一次写一个词元：\n"
    ),
    "the same seed without the cache draws the same text": "随机种子相同，不用 cache，采样得到的文本也相同",
    # PPL
    "PPL: sliding windows, three ways to average": "PPL：滑动窗口，三种求平均的方法",
    "   The documentation of {module}: {n} tokens, windows of {window}": (
        "   {module} 的文档：{n} 个词元，窗口长 {window}"
    ),
    "     stride  windows   scored      exact    lecture  documentation": (
        "       步长   窗口数 计分词元     精确值       讲义        HF 文档"
    ),
    "stride < window: every token but the first is scored once": "步长小于窗口：除了第一个，每个词元都恰好计分一次",
    "stride = window: {n} tokens, the first of each later window, are not": (
        "步长等于窗口：从第二个窗口起，每个窗口的第一个词元不计分，共 {n} 个"
    ),
    "more context predicts better: the shorter the stride, the lower the perplexity": (
        "上下文越长，预测越准：步长越小，困惑度越低"
    ),
    "the lecture's loop as written (stride {stride}) gives its number, to {apart:.0e}": (
        "照原样运行讲义的循环（步长 {stride}），得到的正是“讲义”一栏的数（相对误差 {apart:.0e}）"
    ),
    "a text of one window: perplexity {value:.4f} = exp(loss)": "文本只有一个窗口长：困惑度 {value:.4f} = exp(损失)",
    # Against Hugging Face
    "Against Hugging Face: the same checkpoint, two implementations": "与 Hugging Face 对照：同一个检查点，两种实现",
    "   Left out: {error}.": "   这一节略去：{error}。",
    "{attention:9} {c.dtype:8} {quantity} differ by {c.difference:.1e}, bar {c.bar:.0e}": (
        "{attention:9} {c.dtype:8} {quantity} 相差 {c.difference:.1e}，上限 {c.bar:.0e}"
    ),
    "attention weights": "注意力权重",
    "hidden states": "隐藏状态",
    "loss": "损失",
    "logits, left padding": "logits，左填充",
    "logits, cached": "logits，用 KV cache",
    "hidden states, right padding": "隐藏状态，右填充",
    "logits, masked token": "logits，被遮住的词元",
    "loss, masked token": "损失，被遮住的词元",
    "logits, next sentence": "logits，下一句",
    "hidden states, pooled": "隐藏状态，pooler 之后",
    "encoder attention weights": "encoder 注意力权重",
    "encoder hidden states": "encoder 隐藏状态",
    "decoder attention weights": "decoder 注意力权重",
    "cross attention weights": "交叉注意力权重",
    "decoder hidden states": "decoder 隐藏状态",
}
