"""The words in pictures."""

TEXTS = {
    "head {head}": "第 {head} 头",
    "attention weight": "注意力权重",
    "key (looked at)": "key（被看）",
    "query (looking)": "query（在看）",
    "window": "窗口",
    "token (grey: context only; blue: scored, and how many)": "词元（灰：只作上下文；蓝：计分，数字是个数）",
    "mean of all scored tokens": "全部计分词元的均值",
    "tokens of context": "上下文的词元数",
    "loss (nats a token)": "损失（每个词元，nat）",
    "stride": "步长",
    "perplexity (exact)": "困惑度（精确值）",
    "forward passes": "前向次数",
    "the first windows at stride {stride}": "步长 {stride} 时的前几个窗口",
    "loss and context at stride {stride}": "步长 {stride} 时的损失与上下文",
    "the first tokens, from white (expected) to orange (a surprise of 8 nats or more)": "前几个词元：白色是意料之中，"
    "橙色是意外（8 nat 以上）",
    "training": "训练",
    "held out": "留出",
    "tokens seen (millions)": "读过的词元（百万）",
    "start": "开始",
}
