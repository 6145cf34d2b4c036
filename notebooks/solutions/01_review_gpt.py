"""Solutions to the exercises of 01_review_gpt.ipynb."""


def shift(logits, labels):
    # Position t predicts token t + 1: the last logits have no label, and nothing predicts the first label.
    return logits[:, :-1], labels[:, 1:]


def next_token_probabilities(hidden, embedding):
    last = hidden[:, -1]  # (B, C): the position that has read the whole text
    logits = last @ embedding.T  # (B, V): the tied head, one score per token
    return logits.softmax(dim=-1)  # each row adds up to 1
