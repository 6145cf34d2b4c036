"""python -m minigpt train on people's own texts: whatever is wrong is found before the first step."""

import json
import re

import numpy as np
import pytest
import torch
from command_line import run

from minigpt import GPT2, GPT2Config, LlamaConfig, Tokenizer, generate, load_model, load_tokenizer, save_model
from minigpt.commands.train_report import kept, next_commands, overfitting
from minigpt.commands.train_settings import parse_change
from minigpt.data import hold_out_tail, hold_out_tails
from minigpt.train import Record, evaluate

SMALL = ["n_layer=1", "n_embd=8", "n_head=1", "n_positions=16", "vocab_size=270", "warmup_steps=1"]
SENTENCE = "Return the number of items in the list, or zero if it is empty. "


def train(capsys, tmp_path, *arguments, steps=2, context=8, out="run"):
    usual = ["--recipe", "smoke", "--steps", steps, "--out", tmp_path / out]
    return run(capsys, "train", *usual, "--set", f"context={context}", *SMALL, *arguments)


# --- what is held out ------------------------------------------------------------------------------------------------

PARAGRAPH = SENTENCE * 60
TEXTS = {
    "lines": (SENTENCE + "\n") * 60,
    "one line": PARAGRAPH,
    "a long paragraph and a blank line": (SENTENCE + "\n") * 30 + PARAGRAPH + "\n\n",
    "a long paragraph and a short line": (SENTENCE + "\n") * 30 + PARAGRAPH + "\nThe end.",
    "a last line of a tenth": (SENTENCE + "\n") * 54 + SENTENCE * 6,
    "line ends without number": PARAGRAPH[:1500] + "\n" * 700,
    "Chinese without a line end": "春眠不觉晓，处处闻啼鸟。" * 200,
    "2000 characters": "".join(chr(97 + number * number % 26) for number in range(2000)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_twentieth_is_held_out_whatever_the_text_ends_in(name):
    text = TEXTS[name]
    training, held_out = hold_out_tail(text)
    assert training + held_out == text and 0.03 <= len(held_out) / len(text) <= 0.08
    if name == "lines":
        assert training.endswith("\n")  # the held-out text starts a line, if one is near


@pytest.mark.parametrize("n", [*range(2000, 2100, 7), 2345, 9999, 123_456])
def test_any_length_and_any_place_of_the_last_line_end(n):
    for line_end in (0, n // 2, n - 700, int(0.93 * n), int(0.96 * n), int(0.98 * n), n - 2, n - 1):
        text = "x" * line_end + "\n" + "y" * (n - line_end - 1)
        training, held_out = hold_out_tail(text)
        assert training + held_out == text and 0.03 <= len(held_out) / n <= 0.08
        assert training.endswith("\n") == (0.92 * n <= line_end + 1 <= 0.97 * n)


def test_small_texts_are_held_out_together():
    texts = [f"file {number}: {SENTENCE}" for number in range(300)]
    training, held_out = hold_out_tails(texts)
    assert "".join(training + held_out) == "".join(texts) and all(training) and all(held_out)
    assert 0.03 <= sum(map(len, held_out)) / sum(map(len, texts)) <= 0.08
    mixed = [PARAGRAPH, *texts[:20], "", PARAGRAPH * 2]
    training, held_out = hold_out_tails(mixed)
    assert sorted("".join(training + held_out)) == sorted("".join(mixed)) and len(held_out) >= 3
    assert hold_out_tails([""]) == ([], []) and hold_out_tails(["ab"]) == (["a"], ["b"])


@pytest.mark.parametrize("name", ["a long paragraph and a blank line", "Chinese without a line end", "2000 characters"])
def test_such_texts_are_trained_on_and_reported(capsys, tmp_path, name):
    file = tmp_path / "own.txt"
    file.write_text(TEXTS[name], encoding="utf-8")
    code, out, err = train(capsys, tmp_path, "--text", file)
    assert code == 0 and "bits per byte" in out, err


def test_300_small_files_are_trained_on_and_reported(capsys, tmp_path):
    files = [tmp_path / f"{number}.txt" for number in range(300)]
    for number, file in enumerate(files):
        file.write_text(f"note {number}", encoding="utf-8")
    code, out, err = train(capsys, tmp_path, "--text", *files)
    assert code == 0 and "bits per byte" in out, err


@pytest.mark.parametrize("context", [2, 3, 4])
def test_the_shortest_rows_are_reported_too(capsys, tmp_path, context):
    file = tmp_path / "own.txt"
    file.write_text(TEXTS["lines"], encoding="utf-8")
    code, out, err = train(capsys, tmp_path, "--text", file, context=context)
    assert code == 0 and "bits per byte" in out and ("induction gap" in out) == (context == 4), err


@pytest.mark.parametrize(
    "text, context, advice",
    [(SENTENCE * 4, 16, r"try --set context=\d"), ("abc", 8, "give a longer text"), ("", 8, "give a longer text")],
)
def test_a_text_that_is_too_short_is_refused_with_what_fits(capsys, tmp_path, text, context, advice):
    file = tmp_path / "own.txt"
    file.write_text(text, encoding="utf-8")
    code, _, err = train(capsys, tmp_path, "--text", file, context=context)
    assert code == 2 and f"text too short for context={context}: {file} has {len(text)} characters" in err
    assert not (tmp_path / "run").exists()
    if "context=" in advice:
        fits = int(err.split("try --set context=")[1].split()[0])
        assert train(capsys, tmp_path, "--text", file, context=fits, out="fits")[0] == 0
    else:
        assert advice in err


def test_an_old_run_that_could_not_be_reported_is_refused_at_once(capsys, tmp_path):
    file = tmp_path / "own.txt"
    file.write_text(TEXTS["lines"], encoding="utf-8")
    assert train(capsys, tmp_path, "--text", file)[0] == 0
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(settings | {"held_out_bytes": 0}))
    code, _, err = run(capsys, "train", "--resume", "--out", tmp_path / "run")
    assert code == 2 and "holds out no text, so nothing could be reported" in err


# --- settings without effect -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more, words",
    [
        (["--set", "eos_token_id=3"], "eos_token_id has no effect"),
        (["--set", "bos_token_id=3"], "bos_token_id has no effect"),
        (["--set", "end_of_text=511"], "end_of_text=511 has no effect: no token of the text has the id 511"),
        (["--set", "end_of_text=<|user|>"], "the tokenizer has no such token; its end of text is <|endoftext|>"),
        (["--set", "end_of_text=-1"], "end_of_text must be an integer of at least 0"),
        (["--set", "n_layer=1", "n_layer=2"], "n_layer is set twice"),
        (["--steps", 3, "--set", "steps=4"], "steps is set twice"),
        (["--seed", 3, "--set", "seed=4"], "seed is set twice"),
    ],
)
def test_a_setting_without_effect_is_refused(capsys, tmp_path, more, words):
    file = tmp_path / "own.txt"
    file.write_text(TEXTS["lines"], encoding="utf-8")
    usual = ["train", "--recipe", "smoke", "--text", file, "--out", tmp_path / "run"]
    code, _, err = run(capsys, *usual, *more, *([] if "set twice" in words else ["context=8", *SMALL]))
    assert code == 2 and words in err and not (tmp_path / "run").exists(), err


@pytest.mark.parametrize("given", ["<|endoftext|>", "id"])
def test_the_end_of_text_is_given_by_name_or_by_id(capsys, tmp_path, given):
    file = tmp_path / "own.txt"
    file.write_text("one story<|endoftext|>another one<|endoftext|>" * 100, encoding="utf-8")
    tokenizer = Tokenizer.train(hold_out_tails([file.read_text()])[0], 270)
    end = tokenizer.eos_id if given == "id" else given
    code, _, err = train(capsys, tmp_path, f"end_of_text={end}", "--text", file)
    assert code == 0, err
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert settings["config"]["end_of_text"] == settings["model"]["eos_token_id"] == tokenizer.eos_id
    tokens = np.load(tmp_path / "run" / "train.npy")
    assert (tokens == tokenizer.eos_id).sum() > 150  # those in the text, and the one after the file


# --- how a value is written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, value",
    [
        *[(f"betas={text}", (0.9, 0.95)) for text in ("(0.9, 0.95)", "[0.9,0.95]", "0.9,0.95")],
        *[(f"autocast={text}", False) for text in ("False", "false")],
        *[(f"compile={text}", True) for text in ("True", "true")],
        *[(f"learning_rate={text}", 1e-3) for text in (".001", "1e-3", "0.001", "1E-3")],
        ("learning_rate=1", 1.0),
        ("steps=1_000", 1000),
        *[(f"n_inner={text}", None) for text in ("None", "null")],
        ("n_inner=12", 12),
        *[(f"activation_function={text}", "gelu_new") for text in ("gelu_new", '"gelu_new"', "'gelu_new'")],
        ("end_of_text=<|endoftext|>", "<|endoftext|>"),
        ("end_of_text=5", 5),
    ],
)
def test_a_value_is_read_as_json_or_python_writes_it(change, value):
    name, read = parse_change(change, GPT2Config)
    assert change.startswith(name + "=") and read == value and type(read) is type(value)


@pytest.mark.parametrize("text", ["{'rope_type': 'linear', 'factor': 2.0}", '{"rope_type": "linear", "factor": 2.0}'])
def test_a_dictionary_is_read(text):
    assert parse_change(f"rope_scaling={text}", LlamaConfig)[1] == {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize(
    "change, like",
    [
        *[(f"steps={text}", "20000") for text in ("1e3", "05", "1+2", "'5'", "True", "None", "[5]", "5j", "(" * 300)],
        *[(f"betas={text}", "(0.9, 0.98)") for text in ("0.9", "{0.9, 0.95}", "None", "(0.9")],
        *[(f"autocast={text}", "True") for text in ("0", "no", "FALSE", "None")],
        *[(f"learning_rate={text}", "0.002") for text in ("fast", "True", "1/2", "(0.1,)", "inf")],
        *[(f"activation_function={text}", "'gelu_new'") for text in ("None", "5", "true")],
    ],
)
def test_a_value_of_another_kind_is_refused(change, like):
    with pytest.raises(ValueError, match=f"--set .*: {change.partition('=')[0]} must be like {re.escape(like)}"):
        parse_change(change, GPT2Config)


@pytest.mark.parametrize("betas", ['("a", 0.9)', "(0.9, 1.5)", "(0.9,)", "(0.9, [0.5])", "(0.9, True)"])
def test_bad_betas_are_one_sentence(capsys, tmp_path, betas):
    (tmp_path / "own.txt").write_text(TEXTS["lines"], encoding="utf-8")
    code, _, err = train(capsys, tmp_path, f"betas={betas}", "--text", tmp_path / "own.txt")
    assert code == 2 and "betas must be two numbers of at least 0 and below 1, got (" in err


def test_such_values_are_trained_with(capsys, tmp_path):
    (tmp_path / "own.txt").write_text(TEXTS["lines"], encoding="utf-8")
    changes = ["betas=(0.9, 0.95)", "autocast=False", "learning_rate=.001", "n_inner=None"]
    code, _, err = train(capsys, tmp_path, *changes, "--text", tmp_path / "own.txt")
    assert code == 0, err
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    config = settings["config"]
    assert (config["betas"], config["autocast"], config["learning_rate"]) == ([0.9, 0.95], False, 0.001)
    assert settings["model"]["n_inner"] is None


# --- ids that the model has and the tokenizer lacks ------------------------------------------------------------------


@pytest.fixture
def padded(tmp_path):
    """A model whose vocabulary was rounded up: most of the ids that it would choose are no tokens."""
    tokenizer = Tokenizer.train([SENTENCE * 10], 262)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=512, n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=None,
                        eos_token_id=None, initializer_range=0.5)  # fmt: skip
    save_model(GPT2(config), tmp_path / "padded", tokenizer)
    return tmp_path / "padded"


@pytest.mark.parametrize(
    "way",
    [["--seed", 1], ["--seed", 2], ["--seed", 3], [], ["--num-beams", 2], ["--prompt-lookup"], ["--json"]],
    ids=str,
)
def test_no_id_is_chosen_that_the_tokenizer_cannot_write(capsys, padded, way):
    code, out, err = run(capsys, "generate", "Return the", "--source", padded, "--max-new-tokens", 50, *way)
    assert code == 0 and "<|no token" not in out and "50 tokens" in err, err
    model, tokenizer = load_model(padded), load_tokenizer(padded)
    free = generate(model, [tokenizer.encode("Return the")], 50)[0]
    assert max(free) >= tokenizer.vocab_size and "<|no token" in tokenizer.decode(free)  # otherwise it would


def test_such_a_model_is_trained_further_and_its_samples_are_text(capsys, tmp_path, padded):
    file = tmp_path / "own.txt"
    file.write_text(SENTENCE * 60, encoding="utf-8")
    usual = ["--init", padded, "--text", file, "--steps", 2, "--out", tmp_path / "more"]
    code, _, err = run(capsys, "train", *usual, "--set", "context=16", "batch_size=2", "warmup_steps=0")
    assert code == 0, err
    samples = (tmp_path / "more" / "samples.txt").read_text(encoding="utf-8")
    assert "--- step 2" in samples and "<|no token" not in samples and "(no sample" not in samples


def test_a_sample_that_fails_costs_no_step(capsys, tmp_path, monkeypatch):
    from minigpt.commands import train as command

    def fail(*_, **__):
        raise FloatingPointError("the model's logits are not finite")

    monkeypatch.setattr(command, "generate", fail)
    file = tmp_path / "own.txt"
    file.write_text(TEXTS["lines"], encoding="utf-8")
    code, out, _ = train(capsys, tmp_path, "--text", file)
    assert code == 0 and "bits per byte" in out
    assert "(no sample: the model's logits are not finite)" in (tmp_path / "run" / "samples.txt").read_text()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors.index.json", "config.json", "vocab.json"])
def test_a_folder_with_somebody_elses_files_is_refused(capsys, tmp_path, file):
    (tmp_path / "own.txt").write_text(TEXTS["lines"], encoding="utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / file).write_text("mine")
    code, _, err = train(capsys, tmp_path, "--text", tmp_path / "own.txt")
    assert code == 2 and "already holds" in err
    assert [old.read_text() for old in (tmp_path / "run").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "change", [{"config": {}}, {"config": None}, {"held_out_bytes": "x"}, {"model": {"foo": 1}}, {"init": 5}]
)
def test_a_damaged_run_is_refused_by_name(capsys, tmp_path, change):
    (tmp_path / "own.txt").write_text(TEXTS["lines"], encoding="utf-8")
    assert train(capsys, tmp_path, "--text", tmp_path / "own.txt")[0] == 0
    run_file = tmp_path / "run" / "run.json"
    run_file.write_text(json.dumps(json.loads(run_file.read_text()) | change))
    code, _, err = run(capsys, "train", "--resume", "--out", tmp_path / "run")
    assert code == 2 and "run.json is damaged" in err


def test_a_model_with_a_larger_tokenizer_is_refused_before_anything_is_written(capsys, tmp_path, padded):
    (tmp_path / "own.txt").write_text(TEXTS["lines"], encoding="utf-8")
    Tokenizer.train([SENTENCE * 10 + "abc" * 9], 262).save(padded)
    save_model(GPT2(GPT2Config(vocab_size=200, n_positions=64, n_embd=16, n_layer=1, n_head=2)), padded)
    usual = ["--init", padded, "--text", tmp_path / "own.txt", "--steps", 2, "--out", tmp_path / "more"]
    code, _, err = run(capsys, "train", *usual, "--set", "context=16")
    assert code == 2 and "the tokenizer has 262 ids, the model 200" in err and not (tmp_path / "more").exists()


# --- the best step is kept -------------------------------------------------------------------------------------------


def records(*losses):
    return [Record(10 * n, 0, 0.0, 0.0, loss, 0.0) for n, loss in enumerate(losses, start=1)]


def test_the_weights_of_the_best_step_are_kept(capsys, tmp_path):
    """A large learning rate on a short text: the held-out loss falls, and rises again."""
    file = tmp_path / "own.txt"
    file.write_text("".join(chr(97 + n % 26) for n in np.random.default_rng(0).integers(26, size=3000)))
    changes = ["evaluate_every=4", "learning_rate=0.3", "batch_size=8", "clip=100"]
    code, out, err = train(capsys, tmp_path, *changes, "--text", file, steps=40)
    assert code == 0, err
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1:]
    losses = {int(row.split(",")[0]): float(row.split(",")[4]) for row in rows}
    best = min(losses, key=losses.get)
    assert best < 40, "this run should end worse than it was"
    assert f"kept: the weights of step {best}, held-out loss {losses[best]:.4f}, the lowest of 10" in out
    model = load_model(tmp_path / "run", attention="sdpa")
    held_out = np.load(tmp_path / "run" / "held_out.npy")
    assert evaluate(model, held_out, 8) == pytest.approx(losses[best], abs=1e-6)
    for command in ('generate "..."', "perplexity --text FILE", "verify"):
        assert f"python -m minigpt {command} --source {tmp_path / 'run'}" in out


def test_a_run_that_ends_between_snapshot_and_file_loses_no_best_step(capsys, tmp_path, monkeypatch):
    from minigpt.commands import train as command

    file = tmp_path / "own.txt"
    file.write_text(SENTENCE * 60, encoding="utf-8")
    right, saved = command.save_model, []

    def fails_the_second_time(model, *arguments, **named):
        saved.append(model)
        if len(saved) == 2:
            raise OSError("no space left")
        right(model, *arguments, **named)

    monkeypatch.setattr(command, "save_model", fails_the_second_time)
    code, _, err = train(capsys, tmp_path, "evaluate_every=2", "learning_rate=1e-2", "--text", file, steps=4)
    assert code == 2 and "no space left" in err
    code, out, err = run(capsys, "train", "--resume", "--out", tmp_path / "run")
    assert code == 0 and "kept: the weights of step 4" in out, err
    losses = [row.split(",")[4] for row in (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1:]]
    held_out = np.load(tmp_path / "run" / "held_out.npy")
    assert evaluate(load_model(tmp_path / "run", attention="sdpa"), held_out, 8) == pytest.approx(float(losses[1]))


def test_overfitting_is_said_once():
    falling, rising = [5.0, 4.0, 3.0], [3.1, 3.2, 3.3, 3.4, 3.5]
    said = [overfitting(records(*falling, *rising[:n]), 12) for n in range(len(rising) + 1)]
    assert [warning is not None for warning in said] == [False, False, False, True, False, False]
    assert "lowest at step 30, 3 evaluations ago (3.0000)" in said[3] and "--steps 30" in said[3]
    assert overfitting(records(5.0), 1) is None and overfitting(records(3.0, 3.0, 3.0), 4) is not None


def test_what_is_kept_is_the_first_of_equals():
    assert kept(records(5.0, 3.0, 3.0)) == (
        "kept: the weights of step 20, held-out loss 3.0000, the lowest of 3 evaluations (chosen on this text: "
        "another text gives more)"
    )
    assert kept(records(5.0)) == "kept: the weights of step 10, held-out loss 5.0000"


def test_each_family_is_told_what_to_do_next(tmp_path):
    assert "fill" in next_commands(tmp_path, "bert") and "perplexity" not in next_commands(tmp_path, "bert")
    assert "<extra_id_0>" in next_commands(tmp_path, "t5")
