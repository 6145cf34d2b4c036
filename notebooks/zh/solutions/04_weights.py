"""04_weights.ipynb 的练习答案。"""


def split_qkv(weight):
    """c_attn.weight (C, 3C)，按 (in, out) 存放 -> query、key、value 的权重，各为 (C, C)，按 (out, in) 存放。"""
    query, key, value = weight.chunk(3, dim=1)  # 三者并排：把列切成三段
    return query.T, key.T, value.T  # nn.Linear 要的是 (out, in)


def count_parameters(config):
    """权重共享的 GPT-2 共有多少参数：词元嵌入兼作输出层，只算一次。"""
    c = config.n_embd

    def linear(n_in, n_out):
        return n_in * n_out + n_out  # 权重和偏置

    norm = 2 * c  # 权重和偏置
    attention = 4 * linear(c, c)  # query、key、value、输出
    mlp = linear(c, 4 * c) + linear(4 * c, c)
    block = norm + attention + norm + mlp
    embeddings = config.vocab_size * c + config.n_positions * c
    return embeddings + config.n_layer * block + norm  # 所有层之后还有一个归一化
