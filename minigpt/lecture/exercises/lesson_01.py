"""Review GPT: the shift, and probabilities from logits."""

import torch

from .checking import Exercise, numbers

EXERCISES = {
    "shift": Exercise(
        "Return (logits, labels) so that position t of the one belongs to position t of the other.",
        lambda logits, labels: (logits[:, :-1], labels[:, 1:]),
        [(numbers(2, 5, 7), torch.arange(10).view(2, 5)), (numbers(1, 2, 3), torch.tensor([[4, 5]]))],
        [
            (
                lambda x, y: (x[:-1], y[1:]),
                "this cuts off texts, not positions: the first dimension is the batch. Cut the second: [:, :-1].",
            ),
            (lambda x, y: (x, y), "nothing was shifted: the model is asked to predict the token it is reading."),
            (
                lambda x, y: (x[:, 1:], y[:, :-1]),
                "shifted the wrong way round: this pairs each position with the token *before* it, which the model "
                "has read already. Logits lose their last position, labels their first.",
            ),
            (
                lambda x, y: (x[:, :-1], y[:, :-1]),
                "both were cut at the same end, so nothing was shifted. Labels lose their first position.",
            ),
        ],
    ),
    "next_token_probabilities": Exercise(
        "From hidden states (B, T, C) and the embedding (V, C), return the (B, V) probabilities of the token after "
        "the last position.",
        lambda hidden, embedding: (hidden[:, -1] @ embedding.T).softmax(-1),
        [(numbers(2, 3, 4), numbers(6, 4, seed=1)), (numbers(6, 2, 5), numbers(6, 5, seed=1))],
        [
            (lambda h, e: h[:, -1] @ e.T, "these are logits: scores that do not add up to 1. Softmax is missing."),
            (
                lambda h, e: (h[:, -1] @ e.T).softmax(0),
                "softmax ran over the batch: each *row* must add up to 1, so take the softmax over the last dimension.",
            ),
            (
                lambda h, e: (h[:, 0] @ e.T).softmax(-1),
                "this is the first position, which has read one token. The last position has read all tokens.",
            ),
            (
                lambda h, e: (h[:, -1] @ e).softmax(-1),
                "hidden states (B, C) times the embedding (V, C) does not fit: it needs its transpose, (C, V).",
            ),
            (
                lambda h, e: (h @ e.T).softmax(-1),
                "these are the probabilities of every position, (B, T, V). Only the last one is asked for.",
            ),
        ],
    ),
}
