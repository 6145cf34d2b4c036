"""Weights: three matrices in one, and the number of parameters."""

import dataclasses

import torch

from ...models import GPT2, GPT2Config
from .checking import Exercise, numbers


def _split(weight):
    return tuple(weight.t().chunk(3))


def _n_parameters(config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in GPT2(config).parameters())


def _n_without_biases(config):
    with torch.device("meta"):
        return sum(p.numel() for name, p in GPT2(config).named_parameters() if not name.endswith("bias"))


EXERCISES = {
    "split_qkv": Exercise(
        "Split Hugging Face's c_attn.weight (C, 3C) into the (C, C) weights of three nn.Linear: query, key, value.",
        _split,
        [(numbers(4, 12),), (numbers(6, 18, seed=1),)],
        [
            (
                lambda w: tuple(w.chunk(3, dim=1)),
                "split correctly, but not transposed: c_attn is stored as (in, out), nn.Linear wants (out, in). The "
                "parts are square, so their shape does not show it.",
            ),
            (
                lambda w: tuple(w.t().unflatten(0, (-1, 3)).unbind(1)),
                "every third row went to each: query, key and value stand side by side, in blocks of C.",
            ),
            (
                lambda w: (_split(w)[1], _split(w)[0], _split(w)[2]),
                "query and key have changed places. The order in c_attn is query, key, value.",
            ),
            (
                lambda w: tuple(w.tensor_split(3, dim=0)),
                "cut along the rows, the inputs. The columns hold query, key and value, C of each: dim=1. Then "
                "transpose.",
            ),
            (
                lambda w: tuple(part.t() for part in w.tensor_split(3, dim=0)),
                "cut along the rows, the inputs. The columns hold query, key and value, C of each: dim=1. Then "
                "transpose.",
            ),
            (
                lambda w: tuple(part.reshape(len(w), len(w)) for part in w.flatten().chunk(3)),
                "the numbers were cut as one long row: the first C·C of them are parts of query, key *and* value. Cut "
                "along the columns.",
            ),
        ],
    ),
    "count_parameters": Exercise(
        "Return the number of parameters of a GPT-2 with this GPT2Config (tied head), from its fields alone.",
        _n_parameters,
        [
            (GPT2Config(vocab_size=7, n_positions=5, n_embd=4, n_layer=1, n_head=2),),
            (GPT2Config(vocab_size=50, n_positions=9, n_embd=12, n_layer=3, n_head=3),),
        ],
        [
            (
                lambda c: _n_parameters(c) + c.vocab_size * c.n_embd,
                "the head was counted too. It is tied: the token embedding is also the head, and counts once.",
            ),
            (_n_without_biases, "all biases are missing: every linear layer has one, and every norm too."),
            (
                lambda c: _n_parameters(c) - c.n_positions * c.n_embd,
                "the position embedding is missing: n_positions vectors of n_embd numbers.",
            ),
            (lambda c: _n_parameters(c) - 2 * c.n_embd, "the final norm, after the last block, is missing."),
            (
                lambda c: _n_parameters(c) - 4 * c.n_layer * c.n_embd,
                "the two norms of each block are missing: each has a weight and a bias of n_embd numbers.",
            ),
            (
                lambda c: _n_parameters(c) - c.n_layer * (c.n_embd + 1) * c.n_embd,
                "attention has four linear layers, and one is missing: query, key, value and the output projection.",
            ),
            (
                lambda c: _n_parameters(c) - 3 * c.n_layer * (2 * c.n_embd + 1) * c.n_embd,
                "the MLP is n_embd wide here. Inside it is 4 · n_embd wide: up (4 C × C) and down (C × 4 C).",
            ),
            (
                lambda c: _n_parameters(dataclasses.replace(c, n_layer=1)),
                "one block was counted. There are n_layer of them.",
            ),
        ],
    ),
}
