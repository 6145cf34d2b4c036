"""What `--help` says: minigpt/commands, and argparse's own words."""

TEXTS = {
    # argparse
    "usage: ": "用法：",
    "options": "选项",
    "positional arguments": "位置参数",
    "show this help message and exit": "显示这段帮助，然后退出",
    # main.py
    "GPT-2, BERT, T5 and Llama written by hand, to be read beside a lecture. Everything but `download` works "
    "offline.": ("手写的 GPT-2、BERT、T5 和 Llama，配合讲义阅读。除 `download` 外都不需要联网。"),
    """\
to begin with:
  python -m minigpt tour                               the lecture, start to end, every number checked
  python -m minigpt explore                            attention, logits and choices of a model, in the browser
  python -m minigpt generate "Return the" --temperature 0.8 --seed 1
  python -m minigpt perplexity --text README.md        three perplexities of one text
  python -m minigpt fill "Return the [MASK]." --source bert-base-uncased
  python -m minigpt download gpt2                      OpenAI's weights, for --source gpt2
  python -m minigpt COMMAND --help                     what a command does and takes
""": """\
可以这样开始：
  python -m minigpt tour                               从头到尾走一遍讲义，每个数都核对
  python -m minigpt explore                            在浏览器里看模型的注意力、logits 和选择
  python -m minigpt generate "Return the" --temperature 0.8 --seed 1
  python -m minigpt perplexity --text README.md        同一段文本的三种困惑度
  python -m minigpt fill "Return the [MASK]." --source bert-base-uncased
  python -m minigpt download gpt2                      OpenAI 的权重，供 --source gpt2 使用
  python -m minigpt COMMAND --help                     一个命令做什么，有哪些选项
""",
    ".": "。",
    # options.py
    "tiny, a checkpoint folder, or a hub name such as gpt2": "tiny、检查点文件夹，或 Hub 上的名字，例如 gpt2",
    "where to compute (default here: %(default)s)": "在哪里计算（这台机器默认 %(default)s）",
    "print data instead of text": "输出数据，不输出文字",
    "of the model's numbers (default float32)": "模型里数的类型（默认 float32）",
    # tour.py
    "Walk through the lecture on a real model and check every claim": "用真实的模型走一遍讲义，检查每条结论",
    # explore.py
    "Show attention, logits and choices of a model in the browser, offline": (
        "在浏览器里看模型的注意力、logits 和选择，不需要联网"
    ),
    "of the page's address; 0 = any free one (default 8000)": "网页地址的端口；0 表示任选一个空闲的（默认 8000）",
    "print the address, and open no browser": "只输出地址，不打开浏览器",
    "the text that the page begins with": "网页一开始显示的文本",
    "write the page of TEXT as one file instead": "不开服务器，把 TEXT 的网页写成一个文件",
    "the page is at {url}  (Ctrl-C ends it)": "网页在 {url}  （按 Ctrl-C 结束）",
    # generate.py
    "Continue texts, token by token (a T5 reads the prompt and writes its answer)": (
        "逐个词元续写文本（T5 则读 prompt，写出回答）"
    ),
    "texts to continue (default: lines from stdin); after -- they may begin with -": (
        "要续写的文本（默认从标准输入读，一行一段）；写在 -- 之后，就可以用 - 开头"
    ),
    "prompts from a file, one a line; - is stdin": "从文件读 prompt，一行一个；- 表示标准输入",
    "at most N tokens (default 100)": "最多生成 N 个词元（默认 100）",
    "above 1: used tokens become less likely": "大于 1 时，用过的词元概率变小",
    "no run of N tokens comes twice": "连续的 N 个词元不重复出现",
    "end before TEXT (repeatable)": "写到 TEXT 之前为止（可以给多次）",
    "prompts at a time (default 16)": "一次处理几个 prompt（默认 16）",
    "each step's five likeliest tokens": "列出每一步最可能的五个词元",
    "sampling": "采样",
    "tokens are drawn when one of these is given, else the likeliest": ("给出下面任一选项就采样，否则总取最可能的词元"),
    "below 1 safer, above 1 more varied": "温度：小于 1 更稳妥，大于 1 更多样",
    "draw from the K most likely tokens": "只在最可能的 K 个词元里采样",
    "draw from the likeliest tokens that add up to P": "只在最可能的、概率之和达到 P 的那些词元里采样",
    "draw from tokens at least P times as likely as the first": "只在概率不低于最高概率 P 倍的词元里采样",
    "the same seed draws the same text": "随机种子：种子相同，文本就相同",
    "draw N texts from each prompt": "每个 prompt 采样 N 段文本",
    "beam search": "束搜索",
    "keep the N most likely beginnings": "保留最可能的 N 个开头",
    "rank by log-probability / length^A": "按“对数概率 / 长度^A”排序",
    "at N finished texts: true = stop; false = go on while a beam is better; never = while one can be": (
        "写完 N 段后：true 停止；false 只要有一束更好就继续；never 只要有一束还可能更好就继续"
    ),
    "greedy, in fewer passes where the text repeats itself": "贪心解码；文本有重复时，前向计算的次数更少",
    # fill.py
    "Fill the gaps of a text, written [MASK], with a BERT": "用 BERT 填文本里的空，空写作 [MASK]",
    'such as "Return the [MASK] of the list"; after -- it may begin with -': (
        '例如 "Return the [MASK] of the list"；写在 -- 之后，就可以用 - 开头'
    ),
    "a BERT: tiny-bert (the default), a checkpoint folder, or a hub name such as bert-base-uncased": (
        "一个 BERT：tiny-bert（默认）、检查点文件夹，或 Hub 上的名字，例如 bert-base-uncased"
    ),
    "the N likeliest tokens (default 5)": "最可能的 N 个词元（默认 5）",
    # perplexity.py
    "Measure how well a model predicts a text, and average it in every way": (
        "测量模型预测一段文本有多准，并用各种方法求平均"
    ),
    "a text file in UTF-8; - is stdin": "UTF-8 文本文件；- 表示标准输入",
    "WikiText-2's test set, joined as the lecture does": "WikiText-2 的测试集，拼接方法与讲义相同",
    "measure a published number with its settings: {names}; all = those whose weights are on disk": (
        "按原来的设置重新测量一个公布过的数：{names}；all 表示权重已在磁盘上的那些"
    ),
    "tokens read at once (default: the context length)": "一次读几个词元（默认为上下文长度）",
    "step between windows (default: W / 2)": "相邻窗口的步长（默认 W / 2）",
    "windows at a time": "一次计算几个窗口",
    "windows, losses and perplexities as a picture": "把窗口、损失和困惑度画成图",
    "print the first N tokens and their loss (colours on a terminal)": "输出前 N 个词元和它们的损失（终端上用颜色）",
    "write each token's loss, window and context (of the first stride)": (
        "把每个词元的损失、窗口和上下文长度写入文件（第一个步长）"
    ),
    # train.py
    "Train a tokenizer and a model on your own text": "用你自己的文本训练分词器和模型",
    "where everything is written": "结果都写到这个文件夹",
    "texts in UTF-8, in any language (default: the recipe's, mostly the documentation installed here)": (
        "UTF-8 文本，什么语言都行（默认用配方自己的文本，多为这台机器上装好的文档）"
    ),
    "size of the model and length of the training (default: what fits your text, else tiny)": (
        "配方：模型的大小和训练的长短（默认：适合你的文本的；没有文本时用 tiny）"
    ),
    "family (default gpt2); its recipe is RECIPE-MODEL": "模型家族（默认 gpt2）；它的配方是 RECIPE-MODEL",
    "train this model further, with its tokenizer": "接着训练这个模型，沿用它的分词器",
    "go on with the run in FOLDER, from its newest snapshot": "继续 FOLDER 里的训练，从最新的快照开始",
    "dtype of the weights on disk (default float32); they are trained, and loaded, in float32": (
        "磁盘上权重的类型（默认 float32）；训练和加载都用 float32"
    ),
    "train for N steps instead of the recipe's": "训练 N 步，不按配方的步数",
    "seed of weights and batches (default 0)": "权重和 batch 的随机种子（默认 0）",
    "change the recipe, for example n_layer=4 learning_rate=1e-3; names: {names}; for another family the fields of its "
    "configuration": ("修改配方，例如 n_layer=4 learning_rate=1e-3；可用的名字：{names}；别的家族用它自己的配置字段"),
    "at the end, what counting and compressing reach on the held-out text": (
        "训练结束时，给出计数法和压缩器在留出文本上的成绩"
    ),
    # download.py
    "Fetch a model from the Hugging Face hub (mirrors: set HF_ENDPOINT)": (
        "从 Hugging Face Hub 下载模型（用镜像时设置 HF_ENDPOINT）"
    ),
    "{names}, or any owner/name": "{names}，或任何 owner/name",
    # verify.py
    "Compare a checkpoint of any family, ours against Hugging Face's transformers": (
        "把任一家族的检查点与 Hugging Face 的 transformers 对照"
    ),
    # bench.py
    "Time and memory beside Hugging Face's transformers on this machine, with random weights": (
        "与 Hugging Face 的 transformers 比时间和内存（本机，随机权重）"
    ),
    "model size (default tiny; gpt2 = 124M)": "模型大小（默认 tiny；gpt2 是 124M）",
    "what to measure (default: all)": "测量哪几项（默认全部）",
    "default: all": "默认全部",
    "fewer rounds of smaller work": "减少轮数和工作量",
    "instead: how cost grows with tokens, rows and layers": "改为测量开销怎样随词元数、行数和层数增长",
    "draw what was measured": "把结果画成图",
}
