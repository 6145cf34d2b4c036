"""Parallel and stepwise: positions of padded rows, and the cache."""

import torch

from ..._language import said
from ...chinese.exercises import TEXTS
from ...models import GPT2, GPT2Config
from ...positions import position_ids_for
from .checking import Exercise


def _token_by_token(model, tokens):
    cache = model.new_cache(batch_size=len(tokens), capacity=tokens.size(1))
    return torch.cat([model(tokens[:, t : t + 1], cache=cache) for t in range(tokens.size(1))], dim=1)


def _each_token_alone(model, tokens):
    return torch.cat([model(tokens[:, t : t + 1]) for t in range(tokens.size(1))], dim=1)


def _last_position_only(model, tokens):
    return _token_by_token(model, tokens)[:, -1]


class _GPT2ThatReadsOneTokenAtATime(GPT2):
    def forward(self, tokens, attention_mask=None, position_ids=None, cache=None):
        if tokens.size(1) != 1:
            raise ValueError(said(TEXTS, "one token at a time: this exercise's model was handed {n}", n=tokens.size(1)))
        return super().forward(tokens, attention_mask, position_ids, cache)


def _small_model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5)
        return _GPT2ThatReadsOneTokenAtATime(config).double().eval()


_LEFT_PADDED = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])


EXERCISES = {
    "positions": Exercise(
        "Return the position id (B, T) of every token, from an attention mask (B, T) padded on the left; pads get 0.",
        lambda mask: position_ids_for(mask, 0, mask),
        [(_LEFT_PADDED,), (torch.tensor([[1, 1, 1]]),)],
        [
            (
                lambda mask: torch.arange(mask.size(1)).repeat(len(mask), 1),
                "these count the pads too: the first real token must be at position 0, wherever the row begins.",
            ),
            (
                lambda mask: mask.cumsum(-1),
                "one too many: the cumulative sum of the first real token is 1, its position 0.",
            ),
            (
                lambda mask: mask.cumsum(-1) - 1,
                "nearly: the pads now have position -1, and the position embedding has no such row. Clamp at 0.",
            ),
        ],
    ),
    "token_by_token": Exercise(
        "Return the logits (B, T, V) of all positions, feeding the model one token at a time with a cache from "
        "model.new_cache(batch_size, capacity).",
        _token_by_token,
        [(_small_model(), torch.tensor([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]]))],
        [
            (
                _each_token_alone,
                "each token was read without a past. Make one cache before the loop and hand it to every call.",
            ),
            (_last_position_only, "these are the logits of the last position only; collect those of every step."),
        ],
    ),
}
