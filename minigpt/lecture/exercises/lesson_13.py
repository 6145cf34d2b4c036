"""Llama: rotate a head, share keys in a group, and keep the prompt's tokens."""

import torch

from .checking import Exercise, numbers


def _rotate(x, rates, positions=None, sign=1):
    positions = torch.arange(len(x)) if positions is None else positions
    angles = positions[:, None] * rates
    cos, sin = angles.cos(), sign * angles.sin()
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def _rotate_neighbours(x, rates):
    angles = torch.arange(len(x))[:, None] * rates
    a, b = x[:, 0::2], x[:, 1::2]
    pairs = a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()
    return torch.stack(pairs, dim=-1).flatten(-2)


def _half_rotated(x, rates):
    angles = torch.arange(len(x))[:, None] * rates
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * angles.cos() - b * angles.sin(), b], dim=-1)


def _share_keys(k, n_head):
    return k.repeat_interleave(n_head // k.size(1), dim=1)


def _kept_tokens(tokens, is_prompt, chosen, column):
    tokens = tokens.clone()
    tokens[:, column] = torch.where(is_prompt[:, column], tokens[:, column], chosen)
    return tokens


def _all_chosen(tokens, is_prompt, chosen, column):
    tokens[:, column] = chosen
    return tokens


def _kept_the_wrong_way_round(tokens, is_prompt, chosen, column):
    tokens[:, column] = torch.where(is_prompt[:, column], chosen, tokens[:, column])
    return tokens


def _next_column(tokens, is_prompt, chosen, column):
    return _kept_tokens(tokens, is_prompt, chosen, column + 1)


def _batch(n_rows, total, lengths, seed=0):
    """tokens, is_prompt and chosen of a loop in which prompts have these lengths."""
    generator = torch.Generator().manual_seed(seed)
    is_prompt = torch.arange(total) < torch.tensor(lengths)[:, None]
    tokens = torch.randint(1, 50, (n_rows, total), generator=generator) * is_prompt
    return tokens, is_prompt, torch.randint(50, 90, (n_rows,), generator=generator)


_RATES = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)

EXERCISES = {
    "rotate": Exercise(
        "Return (T, D): the pair (a, b) of columns i and i + D/2 of row t becomes (a cos − b sin, b cos + a sin) of "
        "the angle t · rates[i].",
        _rotate,
        [(numbers(5, 6), _RATES), (numbers(3, 6, seed=1), _RATES)],
        [
            (
                _rotate_neighbours,
                "columns 2i and 2i + 1 are a pair here. The paper pairs neighbours, too; Hugging Face's files, and the "
                "task, pair column i with column i + D/2: x.chunk(2, dim=-1).",
            ),
            (
                lambda x, rates: _rotate(x, rates, sign=-1),
                "the rotation goes the other way round: the first half is a cos − b sin, the second b cos + a sin.",
            ),
            (
                lambda x, rates: _rotate(x, rates, positions=torch.arange(1, len(x) + 1)),
                "the first row is rotated already. Positions count from 0, so row 0 stays as it is.",
            ),
            (_half_rotated, "the second half of the columns stays as it was: it becomes b cos + a sin."),
        ],
    ),
    "share_keys": Exercise(
        "Return (B, n_head, T, D): key head j stands for the n_head / H_kv query heads of group j, which are "
        "neighbours.",
        _share_keys,
        [(numbers(2, 2, 3, 4), 6), (numbers(1, 3, 2, 2, seed=1), 6)],
        [
            (
                lambda k, n_head: k.repeat(1, n_head // k.size(1), 1, 1),
                "the key heads come in turns: 0, 1, 0, 1, … Query heads of a group are neighbours: 0, 0, 0, 1, 1, 1. "
                "torch's repeat_interleave does that.",
            ),
            (
                lambda k, n_head: k[:, :1].expand(-1, n_head, -1, -1),
                "every query head gets key head 0. That is one group (multi-query attention); here there are H_kv.",
            ),
            (
                lambda k, n_head: k.repeat_interleave(n_head // k.size(1), dim=2),
                "the tokens were repeated, not the heads: heads are dimension 1 of (B, H_kv, T, D).",
            ),
        ],
    ),
    "kept_tokens": Exercise(
        "Return tokens with the column filled: the chosen token where is_prompt is False there, the prompt's own token "
        "where it is True.",
        _kept_tokens,
        [(*_batch(3, 8, [2, 5, 3]), 3), (*_batch(2, 6, [4, 1], seed=1), 1)],
        [
            (
                _all_chosen,
                "the choice is written over the prompt: a row whose prompt is longer than column keeps its own token.",
            ),
            (
                _kept_the_wrong_way_round,
                "the two cases are exchanged: where is_prompt is True the prompt's token stays.",
            ),
            (
                _next_column,
                "the choice was put into the next column. The logits of column − 1 choose the token of column.",
            ),
        ],
    ),
}
