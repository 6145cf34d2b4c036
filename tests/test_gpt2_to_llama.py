"""From GPT-2 to Llama in four steps: each model is the one before with one part exchanged."""

import csv

import numpy as np
import pytest
import torch
from torch import nn

from minigpt.layers import MLP, GatedMLP, RMSNorm
from minigpt.lecture import gpt2_to_llama
from minigpt.lecture.gpt2_to_llama import HEADS, KEY_HEADS, STEPS, WIDTH, held_out_losses, made, main
from minigpt.models import GPT2, Llama
from minigpt.train import TrainConfig

V = 50
NAMES = list(STEPS)


def parts(step):
    """(norm, position embedding?, MLP, key heads, biases?) of a step's model."""
    model = made(step, V)
    block = model.blocks[0]
    biases = any(module.bias is not None for module in model.modules() if isinstance(module, nn.Linear))
    rows = block.attention.key.weight.size(0) // (WIDTH // HEADS)
    return type(block.mlp_norm), hasattr(model, "position_embedding"), type(block.mlp), rows, biases


def test_each_step_exchanges_one_part():
    assert [parts(step) for step in NAMES] == [
        (nn.LayerNorm, True, MLP, HEADS, True),
        (RMSNorm, True, MLP, HEADS, False),
        (RMSNorm, False, MLP, HEADS, False),
        (RMSNorm, False, GatedMLP, HEADS, False),
        (RMSNorm, False, GatedMLP, KEY_HEADS, False),
    ]
    assert type(made(NAMES[0], V)) is GPT2 and type(made(NAMES[-1], V)) is Llama


@torch.no_grad()
def test_with_rms_norm_is_gpt2s_formula_with_another_norm():
    model = made(NAMES[1], V).double()
    tokens = torch.randint(V, (2, 9), generator=torch.Generator().manual_seed(0))
    x = model.token_embedding.weight[tokens] + model.position_embedding.weight[:9]

    def normed(x, norm):
        return x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt() * norm.weight

    for block in model.blocks:
        x = x + block.attention(normed(x, block.attention_norm), causal=True)
        h = normed(x, block.mlp_norm) @ block.mlp.up.weight.T
        x = x + nn.functional.gelu(h, approximate="tanh") @ block.mlp.down.weight.T
    expected = normed(x, model.final_norm) @ model.token_embedding.weight.T
    assert (model(tokens) - expected).abs().max() < 1e-12


@torch.no_grad()
def test_from_rotation_on_only_distances_count():
    tokens = torch.randint(V, (1, 9), generator=torch.Generator().manual_seed(0))
    places = torch.arange(9)[None]
    for step in NAMES:
        model = made(step, V).double()
        at_0, moved = (model(tokens, position_ids=places + start) for start in (0, 50))
        assert torch.allclose(at_0, moved, atol=1e-9) == isinstance(model, Llama)


def test_a_seed_gives_the_weights():
    for step in NAMES:
        one, same, other = (made(step, V, seed).token_embedding.weight for seed in (0, 0, 1))
        assert torch.equal(one, same) and not torch.equal(one, other)
        assert 0.015 < one.std() < 0.025


def test_the_losses_are_those_of_trained_models():
    tokens = np.tile(np.arange(20, dtype=np.uint16), 40)
    config = TrainConfig(steps=12, batch_size=2, context=16, warmup_steps=2, evaluate_every=12)
    losses = held_out_losses(tokens, tokens, V, config, seeds=(0, 1))
    assert list(losses) == NAMES and all(len(values) == 2 for values in losses.values())
    assert max(max(values) for values in losses.values()) < 3.8 < np.log(V)  # it has learned something
    assert len({value for values in losses.values() for value in values}) == 10  # ten different trainings


@pytest.mark.parametrize("write", [False, True])
def test_the_command_prints_the_table(write, monkeypatch, capsys, tmp_path):
    asked = []

    def quick(tokens, held_out, vocab_size):
        asked.append((len(tokens) > len(held_out) > 0, vocab_size))
        return {step: [4.0 + i, 4.5 + i, 4.1 + i] for i, step in enumerate(STEPS)}

    monkeypatch.setattr(gpt2_to_llama, "held_out_losses", quick)
    monkeypatch.setattr(gpt2_to_llama, "documentation_corpus", lambda: ([Text("a b " * 90)], [Text("c d")]))
    file = tmp_path / "deep" / "table.csv"
    assert main(["--out", str(file)] if write else []) == 0
    out = capsys.readouterr().out
    assert asked == [(True, 4096)]
    assert "GPT-2                       853,056   4.200 (4.000 to 4.500)" in out
    assert "4 grouped keys = Llama      787,296   8.200 (8.000 to 8.500)" in out
    if write:
        rows = list(csv.reader(file.open(encoding="utf-8")))
        assert rows[0] == ["step", "seed 0", "seed 1", "seed 2"] and rows[1] == ["GPT-2", "4.0", "4.5", "4.1"]
        assert len(rows) == 6


class Text:
    def __init__(self, text):
        self.text = text
