"""01_review_gpt.ipynb 的练习答案。"""


def shift(logits, labels):
    # 位置 t 预测第 t + 1 个词元：最后一个 logits 没有标签，第一个标签没有谁来预测。
    return logits[:, :-1], labels[:, 1:]


def next_token_probabilities(hidden, embedding):
    last = hidden[:, -1]  # (B, C)：这个位置读过全文
    logits = last @ embedding.T  # (B, V)：权重共享的输出层，每个词元一个得分
    return logits.softmax(dim=-1)  # 每行的和为 1
