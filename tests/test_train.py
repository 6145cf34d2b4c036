import csv
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from minigpt import GPT2, GPT2Config
from minigpt.loss import next_token_loss
from minigpt.train import TrainConfig, decay_groups, evaluate, induction_gap, learning_rate_at, train

SHAPE = dict(n_positions=32, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
QUICK = dict(steps=40, batch_size=8, context=16, warmup_steps=4, evaluate_every=20, learning_rate=1e-2, autocast=False)


def small_model(vocab_size=20, seed=0):
    torch.manual_seed(seed)
    return GPT2(GPT2Config(vocab_size=vocab_size, **SHAPE))


def counting_text(n=4000):
    """0 1 2 ... 19 0 1 2 ...: a text that can be learned perfectly."""
    return (np.arange(n) % 20).astype(np.uint16)


def test_training_learns_to_count(tmp_path):
    seen = []
    history = train(small_model(), counting_text(), counting_text(500), TrainConfig(**QUICK), tmp_path, seen.append)
    assert [record.step for record in history] == [20, 40]
    assert history[0].tokens == 20 * 8 * 16
    assert history[-1].held_out_loss < 0.3 < 1.0 < history[0].train_loss < math.log(20)
    assert len(seen) == 2
    with open(tmp_path / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["held_out_loss"]) for row in rows] == [record.held_out_loss for record in history]


def test_the_same_seed_trains_the_same_model():
    def weights(seed):
        model = small_model()
        train(model, counting_text(), counting_text(500), TrainConfig(**QUICK | {"steps": 5, "seed": seed}))
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_the_model_is_ready_to_use_afterwards():
    model = small_model()
    train(model, counting_text(), counting_text(500), TrainConfig(**QUICK | {"steps": 2}))
    assert not model.training


def test_learning_rate_warms_up_and_falls():
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1)
    middle = 10 + (99 - 10) / 2
    assert learning_rate_at(middle, config) == pytest.approx(0.55)
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_only_matrices_decay():
    model = small_model()
    decaying, free = decay_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decaying["weight_decay"] == 0.1 and free["weight_decay"] == 0.0
    assert all("norm" not in names[id(p)] and names[id(p)].endswith("weight") for p in decaying["params"])
    assert all("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in free["params"])
    assert len(decaying["params"]) + len(free["params"]) == len(names)


def test_every_step_starts_clean_and_is_clipped(monkeypatch):
    model, left_over, norms = small_model(), [], []
    model.register_forward_pre_hook(
        lambda *_: left_over.extend(p.grad for p in model.parameters() if p.grad is not None)
    )
    step = torch.optim.AdamW.step

    def measured_step(optimizer, *arguments, **settings):
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item())
        return step(optimizer, *arguments, **settings)

    monkeypatch.setattr(torch.optim.AdamW, "step", measured_step)
    train(model, counting_text(), counting_text(500), TrainConfig(**QUICK | {"steps": 3, "clip": 0.01}))
    assert not left_over and norms == pytest.approx([0.01] * 3, rel=1e-3)


def test_evaluation_is_the_mean_over_spread_rows():
    model, text = small_model(seed=3).eval(), counting_text(300)
    starts = np.unique(np.linspace(0, 300 - 16, 9, dtype=np.int64))
    rows = torch.stack([torch.from_numpy(text[s : s + 16].astype(np.int64)) for s in starts])
    with torch.no_grad():
        expected = next_token_loss(model(rows), rows).item()
    assert evaluate(model, text, context=16, n_rows=9, batch_size=4) == pytest.approx(expected, rel=1e-6)


def test_a_model_that_cannot_copy_has_no_induction_gap():
    assert abs(induction_gap(small_model(500).eval(), 500, length=16)) < 0.05


def test_a_model_that_copies_has_one():
    class Copier(torch.nn.Module):
        """Certain that a token is the one 16 places back, where there is one."""

        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, tokens):
            logits = torch.zeros(*tokens.shape, 500)
            guess = tokens[:, :-15] if tokens.size(1) > 15 else tokens[:, :0]
            logits[:, 15:].scatter_(-1, guess[..., None], 20.0)
            return logits

    assert induction_gap(Copier(), 500, length=16) == pytest.approx(math.log(500), abs=1e-3)


def test_ctrl_c_ends_early_and_keeps_what_was_learned():
    def interrupt_at_five(module, inputs):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt

    model, calls = small_model(), []
    model.register_forward_pre_hook(interrupt_at_five)
    history = train(model, counting_text(), counting_text(500), TrainConfig(**QUICK))
    assert len(history) == 1 and history[0].step == 5 and not model.training


def test_a_loss_that_is_no_number_stops_the_training():
    model = small_model()
    with torch.no_grad():
        model.final_norm.weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="step 0"):
        train(model, counting_text(), counting_text(500), TrainConfig(**QUICK))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"context": 1}, "context"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1e-3}, "learning_rate"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"clip": 0.0}, "clip"),
    ],
)
def test_bad_configs_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig(**QUICK | changes)


def test_a_text_shorter_than_a_row_is_refused():
    with pytest.raises(ValueError, match="held_out has 10 tokens.*context=16"):
        train(small_model(), counting_text(), counting_text(10), TrainConfig(**QUICK))
