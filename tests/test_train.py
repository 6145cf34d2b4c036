import csv
import dataclasses
import math
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from oracle import pair, twin

from minigpt import GPT2, GPT2Config
from minigpt.data import batch_at, segment_ids_of, targets_of
from minigpt.fast import LanguageModelLoss
from minigpt.loss import next_token_loss
from minigpt.train import (
    NextToken,
    TrainConfig,
    accumulate,
    decay_groups,
    evaluate,
    induction_gap,
    learning_rate_at,
    train,
)

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
    assert (rates[54] + rates[55]) / 2 == pytest.approx(0.55)  # half-way between step 10 and step 99
    assert all(a > b for a, b in pairwise(rates[10:]))


@pytest.mark.parametrize("warmup", [0, 1, 10, 99, 100, 150])
def test_the_learning_rate_at_the_end_and_beyond(warmup):
    """The last step has the final rate, however long the warm-up is; later the rate neither rises nor falls below 0."""
    config = TrainConfig(steps=100, warmup_steps=warmup, learning_rate=2e-3, final_learning_rate=1e-4)
    if warmup < 100:
        assert [learning_rate_at(step, config) for step in (99, 100, 150, 10**6)] == pytest.approx([1e-4] * 4)
    else:  # all of the run is warm-up
        assert learning_rate_at(99, config) == pytest.approx(2e-3 * 100 / warmup)
    assert learning_rate_at(10**6, config) == pytest.approx(1e-4)
    for bad in (-1, 1.5, True, None):
        with pytest.raises(ValueError, match="step must be an integer of at least 0"):
            learning_rate_at(bad, config)


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


@pytest.mark.parametrize("end_of_text", [None, 7])
@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 5])
def test_accumulated_gradients_are_those_of_the_whole_batch(micro_batch_size, end_of_text):
    """Parts weigh by tokens: documents make rows with different numbers of targets; 5 rows do not divide by 2 or 3."""
    model = small_model().double()
    batch = batch_at(3, counting_text(), 5, 24)
    batch[0, ::3] = 7  # many short documents in one row
    config = TrainConfig(**QUICK | {"micro_batch_size": micro_batch_size, "end_of_text": end_of_text})
    examples = NextToken(end_of_text).examples(batch, 0, 0)
    gradients, losses = [], []
    for settings in (config, dataclasses.replace(config, micro_batch_size=None)):
        model.zero_grad()
        losses.append(accumulate(LanguageModelLoss(model), examples, settings).item())
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    for parts, whole in zip(*gradients, strict=True):
        assert (parts - whole).abs().max() < 1e-12
    if end_of_text is None:
        expected = next_token_loss(model(batch), batch)
        assert losses[0] == pytest.approx(expected.item(), abs=1e-12)


def test_packed_documents_are_scored_as_apart():
    """A block-diagonal mask and positions that start again: each document as if it stood alone."""
    model, end = small_model().double(), 0
    documents = [[3, 1, 4, 1, 5, end], [9, 2, 6, end], [end], [5, 3, 5, 8, 9, 7, 9, end]]
    row = torch.tensor([[token for document in documents for token in document]])
    segments = segment_ids_of(row, end)
    with torch.no_grad():
        packed = model(row, segment_ids=segments)[0]
        apart = torch.cat([model(torch.tensor([document]))[0] for document in documents])
        assert (packed - apart).abs().max() < 1e-12
        losses = [next_token_loss(model(torch.tensor([d])), torch.tensor([d]), reduction="sum") for d in documents]
    n_targets = sum(len(document) - 1 for document in documents)
    assert (targets_of(row, end)[0, 1:] != -100).sum() == n_targets
    config, loss_of = TrainConfig(**QUICK), LanguageModelLoss(model)
    of_documents = accumulate(loss_of, NextToken(end).examples(row, 0, 0), config).item()
    assert of_documents == pytest.approx(sum(losses).item() / n_targets, abs=1e-12)
    plain = accumulate(loss_of, NextToken().examples(row, 0, 0), config).item()
    assert plain != pytest.approx(sum(losses).item() / n_targets, abs=1e-3)


def test_packed_evaluation_scores_documents_as_apart():
    model = small_model().double().eval()
    documents = [[3, 1, 4, 0], [1, 5, 9, 2, 0], [6, 5, 0]]
    with torch.no_grad():
        rows = [torch.tensor([document]) for document in documents]
        total = sum(next_token_loss(model(row), row, reduction="sum").item() for row in rows)
    text = np.array([token for document in documents for token in document])
    assert evaluate(model, text, context=12, end_of_text=0) == pytest.approx(total / 9, abs=1e-12)


def test_segments_come_alone():
    model = small_model()
    row = torch.tensor([[1, 2, 3]])
    for wrong in (
        dict(segment_ids=torch.tensor([[0, 0]])),
        dict(segment_ids=torch.tensor([[0.0, 0.0, 1.0]])),
        dict(segment_ids=row * 0, attention_mask=torch.ones(1, 3)),
        dict(segment_ids=row * 0, cache=model.new_cache(1, 3)),
    ):
        with pytest.raises(ValueError, match="segment_ids"):
            model(row, **wrong)


def test_200_steps_are_those_of_the_same_loop_on_hugging_face(full):
    """The whole trainer, clipping and decay included, against a loop written for Hugging Face's model, in float64."""
    for seed in range(3 if full else 1):
        ours, theirs = pair(seed, n_positions=24)
        text = np.random.default_rng(seed).integers(0, ours.config.vocab_size, 3000).astype(np.uint16)
        config = TrainConfig(
            steps=200, batch_size=4, context=12, warmup_steps=20, evaluate_every=1, autocast=False, learning_rate=1e-3
        )
        history = train(ours, text, text[:12], config)
        is_matrix = [p.dim() >= 2 for p in theirs.parameters()]
        groups = [
            dict(params=[p for p, m in zip(theirs.parameters(), is_matrix, strict=True) if m], weight_decay=0.1),
            dict(params=[p for p, m in zip(theirs.parameters(), is_matrix, strict=True) if not m], weight_decay=0.0),
        ]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        theirs.train()
        for step in range(200):
            rate = 1e-3 * (step + 1) / 20
            if step >= 20:
                rate = 1e-4 + (1e-3 - 1e-4) * (1 + math.cos(math.pi * (step - 20) / 179)) / 2
            for group in optimizer.param_groups:
                group["lr"] = rate
            rows = batch_at(step, text, 4, 12, repeat_share=config.repeat_share)
            logits = theirs(rows).logits
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten())
            assert abs(loss.item() - history[step].train_loss) < 5e-14, step
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
            optimizer.step()
        expected = dict(twin(theirs, ours.config).named_parameters())
        for name, parameter in ours.named_parameters():
            if not name.endswith("key.bias"):  # its gradient is rounding, which Adam makes large
                assert (parameter - expected[name]).abs().max() < 1e-12, name


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
        ({"micro_batch_size": 0}, "micro_batch_size"),
        ({"repeat_share": 1.5}, "repeat_share"),
        ({"end_of_text": -1}, "end_of_text"),
    ],
)
def test_bad_configs_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig(**QUICK | changes)


def test_a_text_shorter_than_a_row_is_refused():
    with pytest.raises(ValueError, match="held_out has 10 tokens.*context=16"):
        train(small_model(), counting_text(), counting_text(10), TrainConfig(**QUICK))


def test_a_compiled_model_learns_the_same(full):
    if not full:
        pytest.skip("compiling takes most of a minute: python -m pytest --full")
    if not shutil.which("c++"):
        pytest.skip("torch.compile needs a C++ compiler")
    histories = []
    for is_compiled in (False, True):
        config = TrainConfig(**QUICK | {"steps": 6, "evaluate_every": 1, "compile": is_compiled})
        histories.append(train(small_model(), counting_text(), counting_text(500), config))
    for plain, compiled in zip(*histories, strict=True):
        assert compiled.train_loss == pytest.approx(plain.train_loss, rel=1e-4)
