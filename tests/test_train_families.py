"""Llama, BERT and T5 are trained by the same trainer, each with its own objective."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from command_line import run
from safetensors.torch import load_file

from minigpt import Tokenizer, load_model, load_tokenizer
from minigpt.loss import masked_loss, sequence_loss
from minigpt.models import MODELS
from minigpt.train import NextToken, TrainConfig, accumulate, evaluate, learning_rate_at, train
from minigpt.train.loop import batch_shape_at
from minigpt.train.optimizer import make_optimizer
from minigpt.train.recipes import RECIPES, SPECIAL_TOKENS, ids_of, objective_of, with_frame

FAMILIES = ["llama", "bert", "t5"]
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
TEXT = "Return the length of the list. If the array is sorted, return the item. The quick brown fox. " * 12
QUICK = TrainConfig(steps=8, batch_size=4, context=24, warmup_steps=2, evaluate_every=2, autocast=False)


def made(family, dtype=torch.float64):
    """(model, tokenizer, objective, tokens) of a small recipe."""
    tokenizer = Tokenizer.train([TEXT], 330, list(SPECIAL_TOKENS[family]))
    size = RECIPES[f"smoke-{family}"].size | {"vocab_size": tokenizer.vocab_size} | ids_of(tokenizer, family)
    torch.manual_seed(0)
    model = MODELS[family][0](MODELS[family][1](**size)).to(dtype)
    return model, tokenizer, objective_of(family, tokenizer), np.array(tokenizer.encode(TEXT))


def batch(objective, tokens, n=6):
    length = objective.row_length(24)
    rows = torch.from_numpy(np.stack([tokens[start : start + length] for start in range(n)]))
    return objective.examples(rows, step=3, seed=5)


@EACH_FAMILY
def test_the_loss_falls_and_the_run_is_a_function_of_its_config(family):
    histories = []
    for _ in range(2):
        model, _, objective, tokens = made(family, torch.float32)
        config = dataclasses.replace(QUICK, steps=60, evaluate_every=30, learning_rate=5e-3)
        before = evaluate(model, tokens, 24, objective=objective)
        history = train(model, tokens, tokens, config, objective=objective)
        assert history[-1].held_out_loss < before - 0.5
        assert history[-1].held_out_loss == evaluate(model, tokens, 24, objective=objective)
        histories.append([record.held_out_loss for record in history])
    assert histories[0] == histories[1]


@EACH_FAMILY
def test_the_loss_is_that_of_the_logits(family):
    model, _, objective, tokens = made(family)
    examples = batch(objective, tokens)
    loss = objective.loss_of(model)(**examples.inputs, labels=examples.labels)
    if family == "bert":
        expected = masked_loss(model(examples.inputs["tokens"]), examples.labels)
    elif family == "t5":
        expected = sequence_loss(model(**examples.inputs), examples.labels)
    else:
        logits = model(examples.inputs["tokens"])[:, :-1].flatten(0, 1)
        expected = torch.nn.functional.cross_entropy(logits, examples.labels[:, 1:].flatten())
    assert loss.allclose(expected, atol=1e-12)
    assert list(objective.loss_of(model).state_dict()) == [f"model.{name}" for name in model.state_dict()]


@EACH_FAMILY
@pytest.mark.parametrize("micro_batch_size", [1, 4])
def test_parts_of_a_batch_add_up_to_the_whole(family, micro_batch_size):
    model, _, objective, tokens = made(family)
    examples, gradients = batch(objective, tokens), []
    for size in (None, micro_batch_size):
        model.zero_grad()
        config = dataclasses.replace(QUICK, micro_batch_size=size)
        loss = accumulate(objective.loss_of(model), examples, config)
        gradients.append((loss, [p.grad.clone() for p in model.parameters()]))
    assert gradients[0][0].allclose(gradients[1][0], atol=1e-12)
    for whole, parts in zip(gradients[0][1], gradients[1][1], strict=True):
        assert whole.allclose(parts, atol=1e-12)


@EACH_FAMILY
def test_what_bert_and_t5_read_does_not_hold_the_answer(family):
    _, tokenizer, objective, tokens = made(family)
    examples = batch(objective, tokens)
    labels, special = examples.labels, {tokenizer.vocabulary[token.content] for token in tokenizer.special_tokens}
    if family == "bert":
        read, chosen = examples.inputs["tokens"], labels != -100
        assert (read[chosen] == tokenizer.vocabulary["[MASK]"]).float().mean() > 0.5
        assert (read[:, 0] == tokenizer.vocabulary["[CLS]"]).all()
        assert (read[:, -1] == tokenizer.vocabulary["[SEP]"]).all()
        assert examples.n_targets == chosen.sum() and not set(labels[chosen].tolist()) & special
    elif family == "t5":
        source, inputs = examples.inputs["source"], examples.inputs["tokens"]
        assert (inputs[:, 0] == tokenizer.vocabulary["<pad>"]).all() and torch.equal(inputs[:, 1:], labels[:, :-1])
        assert source.size(1) + labels.size(1) == 24 + 2 * round(round(0.15 * 24) / 3) + 2
    else:
        assert objective == NextToken()


@EACH_FAMILY
def test_stopped_and_resumed_it_ends_with_the_same_bits(family, tmp_path):
    model, _, objective, tokens = made(family, torch.float32)
    train(model, tokens, tokens, QUICK, objective=objective)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    class Enough(Exception):
        pass

    def stop(history):
        if history[-1].step == 4:
            raise Enough

    model, _, objective, tokens = made(family, torch.float32)
    with pytest.raises(Enough):
        train(model, tokens, tokens, QUICK, tmp_path, stop, objective=objective)
    model, _, objective, tokens = made(family, torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():  # the weights come from the snapshot, not from here
            parameter.zero_()
    history = train(model, tokens, tokens, QUICK, tmp_path, objective=objective, resume=True)
    assert history[-1].step == 8
    assert all(torch.equal(expected[name], tensor) for name, tensor in model.state_dict().items())


def test_the_share_of_what_is_missing_is_a_setting(tmp_path):
    for family in ("bert", "t5"):
        _, tokenizer, _, tokens = made(family)
        few, many = (objective_of(family, tokenizer, TrainConfig(missing_share=share)) for share in (0.15, 0.5))
        assert few == objective_of(family, tokenizer)
        n_few, n_many = (batch(objective, tokens).n_targets for objective in (few, many))
        assert 2.2 * n_few < n_many < 4 * n_few


def test_more_spans_than_sentinels_are_refused_before_any_work(tmp_path):
    model, tokenizer, _, tokens = made("t5", torch.float32)
    objective = objective_of("t5", tokenizer, TrainConfig(missing_share=0.5))
    config = dataclasses.replace(QUICK, context=220)
    with pytest.raises(ValueError, match="rows of 220 tokens have 37 spans, and there are 32 sentinels"):
        train(model, tokens, tokens, config, tmp_path / "run", objective=objective)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_with_another_objective(tmp_path):
    model, _, objective, tokens = made("bert", torch.float32)
    train(model, tokens, tokens, dataclasses.replace(QUICK, steps=2), tmp_path, objective=objective)
    other = dataclasses.replace(objective, mask_id=5)
    with pytest.raises(ValueError, match="was made with the objective MaskedTokens"):
        train(model, tokens, tokens, QUICK, tmp_path, objective=other, resume=True)


@EACH_FAMILY
def test_a_framed_tokenizer_is_saved_and_is_the_same_to_transformers(family, tmp_path):
    from transformers import AutoTokenizer

    _, tokenizer, _, _ = made(family)
    framed = with_frame(tokenizer, family)
    framed.save(tmp_path)
    again, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    text = "Return the [MASK] of <extra_id_0>, 中文 [SEP] </s>"
    assert again.encode(text) == framed.encode(text) == theirs(text)["input_ids"]
    assert again.names.items() >= framed.names.items() and type(again) is Tokenizer
    if family == "bert":
        assert theirs.mask_token == again.mask_token == "[MASK]" and again.mask_id == theirs.mask_token_id
        assert framed.encode("a")[0] == framed.cls_id and framed.encode("a")[-1] == framed.sep_id
        assert "".join(framed.pieces(framed.encode("the [MASK] of"))) == "[CLS]the[MASK] of[SEP]"
    if family == "t5":
        assert "".join(framed.pieces(framed.encode("the <extra_id_0> of"))) == "the<extra_id_0> of</s>"
        assert framed.encode("a")[-1] == framed.eos_id == theirs.eos_token_id


KNESER_NEY = r"^Kneser-Ney from the left, five tokens: [\d.]+ nats"
REPORT = {
    "llama": [
        r"(?m)^held out: [\d.]+ perplexity, [\d.]+ bits per byte, [\d.]+ per character$",
        "(?m)^Kneser-Ney, five",
    ],
    "bert": [
        r"(?m)^held out: [\d.]+ nats a masked token, [\d.]+% of \d+ guessed$",
        r"(?m)^the commonest token: [\d.]+ nats, [\d.]+% of \d+$",
        rf"(?m){KNESER_NEY}, [\d.]+% of \d+$",
    ],
    "t5": [
        r"(?m)^held out: [\d.]+ nats a predicted token, [\d.]+ nats a token of a span$",
        r"(?m)^cross attention cut: [\d.]+ nats a predicted token, [\d.]+ nats a token of a span$",
        rf"(?m){KNESER_NEY} a token of a span$",
    ],
}


@EACH_FAMILY
def test_the_command_trains_resumes_and_trains_further(family, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("\n".join([TEXT] * 4), encoding="utf-8")
    out, tuned = tmp_path / "out", tmp_path / "tuned"
    few = ("--set", "context=24", "batch_size=4", "warmup_steps=2", "evaluate_every=2", "--steps", "4")
    few += ("--file-dtype", "float16")
    common = ("train", "--text", str(text), "--device", "cpu")
    code, said, _ = run(capsys, *common, "--recipe", "smoke", "--model", family, "--out", str(out), *few)
    assert code == 0 and "held out:" in said
    assert json.loads((out / "run.json").read_text())["model_type"] == family
    model = load_model(out)
    assert isinstance(model, MODELS[family][0])
    assert (out / "samples.txt").read_text(encoding="utf-8").count("--- step") == 2
    assert "no sample" not in (out / "samples.txt").read_text(encoding="utf-8")
    assert json.loads((out / "config.json").read_text())["dtype"] == "float32"
    assert load_file(out / "model.safetensors").popitem()[1].dtype == torch.float16
    code, said, _ = run(capsys, "train", "--resume", "--out", str(out), "--device", "cpu", "--baselines")
    assert code == 0
    for words in REPORT[family]:
        assert re.search(words, said), said
    code, said, _ = run(capsys, *common, "--init", str(out), "--out", str(tuned), *few)
    assert code == 0 and load_model(tuned).config == model.config
    assert load_tokenizer(tuned).encode("Return the list") == load_tokenizer(out).encode("Return the list")
    assert any((a != b).any() for a, b in zip(model.parameters(), load_model(tuned).parameters(), strict=True))


REFUSED = [
    (
        ["--recipe", "gpt2-124m", "--model", "bert"],
        "there is no recipe gpt2-124m for --model bert; take --recipe smoke-bert",
    ),
    (["--recipe", "smoke", "--model", "bert", "--set", "end_of_text=0"], "and this is a bert"),
    (["--recipe", "smoke", "--model", "llama", "--set", "n_layer=2"], "--set n_layer=2: expected NAME=VALUE"),
    (
        ["--recipe", "smoke", "--model", "bert", "--set", "context=65"],
        "longer than the model's max_position_embeddings=64",
    ),
    (["--init", "tiny", "--model", "bert"], "--init tiny is a gpt2; leave out --model bert"),
    (
        ["--recipe", "smoke", "--set", "missing_share=0.3"],
        "missing_share has no effect: a gpt2 is asked for every next",
    ),
    (["--recipe", "smoke", "--model", "t5", "--set", "missing_share=1.0"], "missing_share"),
]


@pytest.mark.parametrize("arguments, words", REFUSED)
def test_what_cannot_be_trained_is_refused_before_any_work(arguments, words, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    out = tmp_path / "out"
    code, _, err = run(capsys, "train", "--text", str(text), "--out", str(out), "--device", "cpu", *arguments)
    assert code == 2 and words in err and err.count("\n") == 1 and not out.exists()


def test_each_parameter_of_t5_has_its_own_rate(monkeypatch):
    """Queries move by 1/sqrt(D) of the rate, embeddings by sqrt(C), the relative bias by 40; all decay alike."""
    model, _, objective, tokens = made("t5")
    c, rates = model.config, {}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    step = torch.optim.AdamW.step

    def noted(optimizer, *arguments, **settings):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                rates.setdefault(names[id(parameter)], []).append((group["lr"], group["lr"] * group["weight_decay"]))
        return step(optimizer, *arguments, **settings)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    config = dataclasses.replace(QUICK, steps=3, evaluate_every=3)
    train(model, tokens, tokens, config, objective=objective)
    assert rates.keys() == set(names.values())
    for name, parameter in model.named_parameters():
        *_, module, _ = name.split(".")
        factor = {"query": c.d_kv**-0.5, "token_embedding": c.d_model**0.5, "relative_bias": 40}.get(module, 1)
        decays = parameter.dim() == 2
        for at, (rate, decay) in enumerate(rates[name]):
            base = learning_rate_at(at, config)
            assert rate == pytest.approx(factor * base) and decay == pytest.approx(0.1 * base * decays), name


def test_the_other_families_have_one_rate():
    for family in ("llama", "bert"):
        assert {group["rate_factor"] for group in make_optimizer(made(family)[0], QUICK).param_groups} == {1.0}


def test_rows_of_many_lengths():
    """The length of a step's rows follows from (seed, step); their number makes up for it."""
    config = dataclasses.replace(QUICK, batch_size=28, context=64, shortest_context=8)
    shapes = [batch_shape_at(step, config) for step in range(3000)]
    assert shapes == [batch_shape_at(step, config) for step in range(3000)]
    assert shapes != [batch_shape_at(step, dataclasses.replace(config, seed=1)) for step in range(3000)]
    lengths = np.array([length for _, length in shapes])
    assert lengths.min() == 8 and lengths.max() == 64
    assert all(28 * 64 - length < rows * length <= 28 * 64 for rows, length in shapes)
    for shorter in (8, 16, 32):  # a third of the steps each
        assert ((lengths >= shorter) & (lengths < 2 * shorter)).mean() == pytest.approx(1 / 3, abs=0.06)
    assert batch_shape_at(7, QUICK) == (QUICK.batch_size, QUICK.context)


@EACH_FAMILY
def test_training_on_rows_of_many_lengths_is_resumed_with_the_same_bits(family, tmp_path):
    config = dataclasses.replace(QUICK, steps=8, evaluate_every=4, shortest_context=6)

    def interrupted(history):
        raise KeyboardInterrupt

    def run(**settings):
        model, _, objective, tokens = made(family, torch.float32)
        return [record.train_loss for record in train(model, tokens, tokens, config, objective=objective, **settings)]

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(directory=tmp_path, on_record=interrupted)  # after four steps
    assert run(directory=tmp_path, resume=True) == whole


@pytest.mark.parametrize("shortest", [1, 25, 0, 2.5, "8", True])
def test_a_bad_shortest_context_is_refused(shortest):
    with pytest.raises(ValueError, match=r"shortest_context must be an integer from 2 to 24"):
        dataclasses.replace(QUICK, shortest_context=shortest)


def test_rows_too_short_to_predict_anything_are_refused():
    model, _, objective, tokens = made("bert")
    with pytest.raises(ValueError):
        train(model, tokens, tokens, dataclasses.replace(QUICK, shortest_context=2), objective=objective)
