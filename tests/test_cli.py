"""The command line, called in-process: what it prints, and one sentence for everything that can be wrong."""

import csv
import json
import math
import signal
import time

import pytest
import torch
import transformers
from command_line import run
from safetensors.torch import load_file

from minigpt import load_model
from minigpt.commands import generate as generate_command
from minigpt.commands import train as train_command
from minigpt.commands import verify as verify_command
from minigpt.commands.main import build_parser, in_flags, main
from minigpt.compare import difference as verify


def test_help_teaches(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in ("tour", "generate", "perplexity", "train", "download", "verify"):
        assert command in out
        code, help_text, _ = run(capsys, command, "--help")
        assert code == 0 and len(help_text) > 150


def test_verify_compares_with_hugging_face(capsys):
    code, out, _ = run(capsys, "verify", "--device", "cpu")
    assert code == 0 and out.count("✓") == 24 and "✗" not in out and "differ" not in out.splitlines()[-1]
    code, out, _ = run(capsys, "verify", "--json", "--device", "cpu")
    report = json.loads(out)
    assert code == 0 and report["verdict"] is None and report["first_layer"] is None
    rows = report["comparisons"]
    assert len({(row["quantity"], row["dtype"], row["attention"]) for row in rows}) == 24
    assert all(row["ok"] and row["difference"] <= row["bar"] for row in rows)


def test_verify_names_the_layer_of_a_bug(capsys, monkeypatch):
    def slightly_off(*arguments):
        model = load_model(*arguments)
        model.blocks[2].mlp_norm.eps *= 1.01
        return model

    monkeypatch.setattr(verify_command, "load_model", slightly_off)
    code, out, _ = run(capsys, "verify", "--device", "cpu")
    assert code == 1 and "✗" in out and "They differ from layer 2 on. The verdict is a bug" in out
    code, out, err = run(capsys, "verify", "--device", "cpu", "--json")
    report = json.loads(out)
    assert code == 1 and err == "" and report["verdict"] == "bug" and report["first_layer"] == 2


def test_verify_says_where_a_bug_is_after_the_last_layer(capsys, monkeypatch):
    def slightly_off(*arguments):
        model = load_model(*arguments)
        right = model.logits
        model.logits = lambda hidden: 1.001 * right(hidden)
        return model

    monkeypatch.setattr(verify_command, "load_model", slightly_off)
    code, out, _ = run(capsys, "verify", "--device", "cpu")
    assert code == 1 and "They differ after the last layer. The verdict is a bug" in out


def test_verify_knows_rounding_when_it_sees_it(capsys, monkeypatch):
    """Differences in float32 that float64 does not confirm are called rounding."""
    monkeypatch.setitem(verify.BARS, torch.float32, dict.fromkeys(verify.BARS[torch.float32], 1e-9))
    code, out, _ = run(capsys, "verify", "--device", "cpu")
    assert code == 1 and "The verdict is rounding" in out


def test_train_on_own_text_makes_a_checkpoint_that_generates(capsys, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n" * 200, encoding="utf-8")
    out_folder = tmp_path / "out"
    code, out, _ = run(capsys, "train", "--text", own, "--recipe", "smoke", "--steps", 25, "--out", out_folder)
    assert code == 0 and "bits per byte" in out
    written = {file.name for file in out_folder.iterdir()}
    assert written >= {"config.json", "model.safetensors", "vocab.json", "merges.txt", "metrics.csv", "loss.png"}
    code, out, _ = run(capsys, "generate", "春眠", "--source", out_folder, "--max-new-tokens", 5)
    assert code == 0 and out.startswith("春眠")
    code, _, err = run(capsys, "train", "--text", own, "--recipe", "smoke", "--out", out_folder)
    assert code == 2 and "already holds a model" in err


def test_a_stopped_run_is_resumed_from_the_command_line(capsys, tmp_path, monkeypatch):
    own, whole, stopped = tmp_path / "own.txt", tmp_path / "whole", tmp_path / "stopped"
    own.write_text("春眠不觉晓，处处闻啼鸟。\n" * 300, encoding="utf-8")
    ask = ["train", "--text", own, "--recipe", "smoke", "--set", "steps=12", "evaluate_every=4", "n_layer=1", "--out"]
    assert run(capsys, *ask, whole)[0] == 0

    real = train_command.plot_losses

    def interrupt(history):
        if history[-1].step == 4:
            signal.raise_signal(signal.SIGINT)
        return real(history)

    monkeypatch.setattr(train_command, "plot_losses", interrupt)
    assert run(capsys, *ask, stopped)[0] == 130
    monkeypatch.undo()
    code, out, _ = run(capsys, "train", "--resume", "--out", stopped)
    assert code == 0 and "bits per byte" in out
    weights = [load_file(folder / "model.safetensors") for folder in (stopped, whole)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert (stopped / "samples.txt").read_text(encoding="utf-8").count("--- step") == 4  # 4, 5 (stopped), 8, 12


def test_smoke_ends_within_a_minute_and_its_model_is_everybodys(capsys, tmp_path):
    """The built-in text; the loss falls; generate, perplexity, verify and transformers load its folder."""
    start, folder = time.perf_counter(), tmp_path / "smoke"
    assert run(capsys, "train", "--recipe", "smoke", "--out", folder, "--baselines")[0] == 0
    assert time.perf_counter() - start < 60
    with open(folder / "metrics.csv", newline="") as stream:
        losses = [float(row["held_out_loss"]) for row in csv.DictReader(stream)]
    assert len(losses) == 3 and losses[0] > losses[1] > losses[2] and losses[2] < math.log(512) - 1
    source = ["--source", folder]
    assert run(capsys, "generate", "The", *source, "--max-new-tokens", 5)[0] == 0
    (tmp_path / "text.txt").write_text("Return the number of items.\n" * 20)
    assert run(capsys, "perplexity", "--text", tmp_path / "text.txt", *source)[0] == 0
    assert run(capsys, "verify", *source, "--device", "cpu")[0] == 0
    theirs, ours = transformers.GPT2LMHeadModel.from_pretrained(folder).eval(), load_model(folder)
    tokens = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        assert (theirs(tokens).logits - ours(tokens)).abs().max() < 1e-4


def test_a_model_is_trained_further(capsys, tmp_path, tiny):
    own = tmp_path / "own.txt"
    own.write_text("The list of lists is a list.\n" * 400, encoding="utf-8")
    ask = ["--set", "context=64", "batch_size=4", "learning_rate=1e-4", "warmup_steps=0"]
    code, out, _ = run(capsys, "train", "--text", own, "--init", "tiny", "--steps", 3, *ask, "--out", tmp_path / "more")
    assert code == 0 and f"{sum(p.numel() for p in tiny.parameters()):,} parameters" in out
    tuned = load_model(tmp_path / "more")
    difference = (tuned.token_embedding.weight - tiny.token_embedding.weight).abs().max()
    assert 0 < difference < 1e-2 and tuned.config == tiny.config


BAD = [
    (["fly"], "'fly'"),
    ([], "COMMAND"),
    (["generate", ""], "PROMPT is empty"),
    (["generate", "a", "--source", "gpt17"], "no model 'gpt17'"),
    (["generate", "a", "--source", "{tmp}"], "needs config.json and one of model.safetensors,"),
    (["generate", "a " * 400], "the context holds 256"),
    (["generate", "a", "--temperature", "-1"], "--temperature must be at least 1e-30, got -1.0"),
    (["generate", "a", "--temperature", "warm"], "'warm'"),
    (["generate", "a", "--temperature", "1e-300"], "temperature must be at least 1e-30"),
    (["generate", "a", "--seed", "99999999999999999999"], "2^62 - 1, got '99999999999999999999'"),
    (["generate", "a", "--seed", "-1"], "a seed is a whole number"),
    (["generate", "a", "--source", ""], "--source: it is empty"),
    (["generate", "a", "--top-p", "1.5"], "--top-p must be above 0 and at most 1, got 1.5"),
    (["generate", "a", "--top-k", "-1"], "--top-k must be an integer of at least 1, got -1"),
    (["generate", "a", "--max-new-tokens", "-3"], "--max-new-tokens must be an integer of at least 0, got -3"),
    (["generate", "a", "--device", "abacus"], "--device abacus cannot be used on this machine; cpu"),
    (["generate", "a", "--device", "meta"], "--device meta cannot be used on this machine"),
    (["perplexity"], "--text"),
    (["perplexity", "--text", "{tmp}/nothing.txt"], "nothing.txt: No such file"),
    (["perplexity", "--text", "{tmp}"], "Is a directory"),
    (["perplexity", "--text", "{tmp}/latin1.txt"], "not UTF-8"),
    (["perplexity", "--text", "{tmp}/empty.txt"], "0 tokens"),
    (["perplexity", "--text", "{tmp}/short.txt"], "1 tokens"),
    (["perplexity", "--text", "{tmp}/fine.txt", "--stride", "0"], "--stride must be an integer from 1 to 256, got 0"),
    (["perplexity", "--text", "{tmp}/fine.txt", "--stride", "300"], "--stride must be an integer from 1 to 256"),
    (
        ["perplexity", "--text", "{tmp}/fine.txt", "--window", "300"],
        "--window must be at most the context length, 256",
    ),
    (["train", "--text", "{tmp}/fine.txt", "--recipe", "huge", "--out", "{tmp}/x"], "'huge'"),
    (["train", "--text", "{tmp}/short.txt", "--out", "{tmp}/x"], "minigpt: text too short for context=8"),
    (["train", "--text", "{tmp}/fine.txt", "--steps", "-2", "--out", "{tmp}/x"], "steps"),
    (["train", "--text", "{tmp}/fine.txt", "--steps", "0", "--out", "{tmp}/x"], "--steps must be an integer"),
    (["train", "--text", "{tmp}/fine.txt", "--out", ""], "--out: it is empty"),
    (
        ["train", "--text", "{tmp}/fine.txt", "--out", "{tmp}/x", "--set", "n_head=5"],
        "n_embd must be divisible by n_head",
    ),
    (
        ["train", "--text", "{tmp}/fine.txt", "--out", "{tmp}/x", "--set", "learning_rate=-1"],
        "minigpt: learning_rate",
    ),
    (["train", "--text", "{tmp}/fine.txt", "--out", "{tmp}/x", "--set", "n_layers=5"], "expected NAME=VALUE"),
    (["train", "--text", "{tmp}/fine.txt", "--out", "{tmp}/x", "--set", "n_layer=many"], "n_layer must be like 12"),
    (
        ["train", "--text", "{tmp}/fine.txt", "--out", "{tmp}/x", "--set", "context=999"],
        "longer than the model's n_positions",
    ),
    (["train", "--text", "{tmp}/nothing.txt", "--out", "{tmp}/x"], "nothing.txt: No such file"),
    (["train", "--resume", "--out", "{tmp}/x"], "holds no run to resume"),
    (
        ["train", "--resume", "--steps", "3", "--out", "{tmp}/x"],
        "begin a new run with it: python -m minigpt train --init",
    ),
    (["train", "--text", "{tmp}/fine.txt", "--init", "gpt17", "--out", "{tmp}/x"], "no model 'gpt17'"),
    (["train", "--text", "{tmp}/fine.txt", "--out", "{tmp}/fine.txt/x"], "fine.txt"),
    (["download", "gpt17"], "could not download gpt17"),
    (["tour", "--source", "gpt17"], "no model 'gpt17'"),
    (["verify", "--source", "{tmp}/nothing"], "nothing"),
]


@pytest.mark.parametrize(
    "arguments, words", BAD, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else ""
)
def test_bad_input_is_one_sentence_and_exit_code_two(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "latin1.txt").write_bytes("naïve".encode("latin-1"))
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "short.txt").write_text("a")
    (tmp_path / "fine.txt").write_text("Return the number of items in the list. " * 50)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(capsys, *[argument.replace("{tmp}", str(tmp_path)) for argument in arguments])
    assert code == 2 and out == "", (out, err)
    sentence = err.strip().split("\r")[-1].strip()  # after what a progress bar has wiped
    assert words in sentence and "\n" not in sentence and "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before, "something was left on disk"


@pytest.mark.parametrize(
    "sentence, in_flags_of_generate",
    [
        ("top_p must be above 0, got 2", "--top-p must be above 0, got 2"),
        ("seed must be an integer, got 0.5", "--seed must be an integer, got 0.5"),
        ("length_penalty and early_stopping need num_beams", "--length-penalty and --early-stopping need --num-beams"),
        ("seed of the run", "seed of the run"),
        ("source texts hold top_p", "source texts hold top_p"),
        ("file.json: top_p must be above 0", "file.json: top_p must be above 0"),
        ("no model 'top_p'", "no model 'top_p'"),
        ("n_head must be above top_k", "n_head must be above top_k"),
        ("", ""),
    ],
)
def test_an_argument_is_called_by_its_flag(sentence, in_flags_of_generate):
    flags = build_parser().parse_args(["generate"]).flags
    assert flags["max_new_tokens"] == "--max-new-tokens" and "prompts" not in flags
    assert in_flags(sentence, flags) == in_flags_of_generate


WITH_A_DASH = {"generate": ["- item", "-5 is", "-5", "-", "--seed 1"], "fill": ["- [MASK]", "-5 is [MASK]"]}
ONLY_AFTER_DASHES = {"generate": ["-item", "--title", "-h is", "--help"], "fill": ["-[MASK]", "-h [MASK]"]}


@pytest.mark.parametrize("command", ["generate", "fill"])
def test_a_text_may_begin_with_a_dash(capsys, command):
    """argparse takes it for a flag where it has no space in it, or begins with -h."""
    first = [command, "--json", *(["--max-new-tokens", 1] if command == "generate" else ["--n", 1])]
    calls = [([*first, text], [text]) for text in WITH_A_DASH[command]]
    calls += [([*first, "--", text], [text]) for text in WITH_A_DASH[command] + ONLY_AFTER_DASHES[command]]
    if command == "generate":
        calls += [
            ([*first, "--", "a", "-b", "--seed"], ["a", "-b", "--seed"]),
            (["generate", "-1", *first[1:]], ["-1"]),
        ]
    name = "prompt" if command == "generate" else "text"
    for call, texts in calls:
        code, out, err = run(capsys, *call)
        assert code == 0, (call, err)
        assert [answer[name] for answer in map(json.loads, out.splitlines())] == texts


@pytest.mark.parametrize("command, name", [("generate", "PROMPT"), ("fill", "TEXT")])
def test_where_a_text_with_a_dash_goes_is_said(capsys, command, name):
    hint = f"({name} comes last, and after -- it may begin with -; see python -m minigpt {command} --help)"
    for text in ONLY_AFTER_DASHES[command]:
        if text != "--help":
            code, out, err = run(capsys, command, text)
            assert code == 2 and out == "" and hint in err and err.count("\n") == 1, err
    for arguments in (["a", "--source", "tiny", "b"], ["a", "--source", "tiny", "--", "-b"]):
        assert hint in run(capsys, command, *arguments)[2]
    for arguments in ([command, "a", "--dtype", "int8"], ["train", "--out", "x", "-y"], ["-x", command]):
        assert "begin with -" not in run(capsys, *arguments)[2]


def test_a_bug_is_not_hidden(monkeypatch, capsys):
    def broken(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr(generate_command, "stream", broken)
    with pytest.raises(KeyError):
        main(["generate", "a"])
