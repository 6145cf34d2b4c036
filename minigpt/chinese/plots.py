"""The words in pictures."""

TEXTS = {
    "matplotlib finds no font with Chinese characters, so pictures show numbers or empty boxes instead: install one, "
    "such as Noto Sans CJK (Debian, Ubuntu, Colab: apt install fonts-noto-cjk), and start Python again": "matplotlib "
    "没有找到中文字体，所以图中的汉字显示为编号或空方框：请安装一种，例如 Noto Sans CJK"
    "（Debian、Ubuntu、Colab：apt install fonts-noto-cjk），然后重新启动 Python",
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
    "BERT reads both sides of the gap": "BERT 读空的左右两边",
    "GPT-2 reads what stands on the left": "GPT-2 只读左边",
    "T5 reads a source, and what it has written": "T5 读源文本，也读自己写出的",
    "reads": "读到",
    "source": "源文本",
    "written": "已写",
}
