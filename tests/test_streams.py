"""Closed streams and pipes, and how a command ends: never in a traceback, with an exit code that says why; --json
prints JSON."""

import io
import json
import os
import subprocess
import sys

import pytest
from command_line import run

from minigpt.commands import generate as generate_command
from minigpt.commands.main import main

ONE = ["generate", "Return the", "--max-new-tokens", 3]
SHORT = "Return the number of items in the list.\n" * 20
COMMANDS = {
    "generate": ["generate", "Return the", "--max-new-tokens", "3"],
    "generate, json": ["generate", "Return the", "If", "--max-new-tokens", "3", "--json"],
    "generate from stdin": ["generate", "--max-new-tokens", "3"],
    "perplexity": ["perplexity", "--text", "short.txt", "--surprise", "5"],
    "perplexity, json": ["perplexity", "--text", "short.txt", "--json"],
    "perplexity from stdin": ["perplexity", "--text", "-"],
    "published": ["perplexity", "--published", "all", "--json"],
    "train": ["train", "--text", "short.txt", "--recipe", "smoke", "--out", "run", "--steps", "2", "--set", "context=8",
              "n_layer=1", "n_embd=8", "n_head=1", "n_positions=16", "vocab_size=260", "warmup_steps=1"],
    "download": ["download", "gpt2"],
    "bad": ["generate", "a", "--temperature", "-1"],
    "help": ["--help"],
}  # fmt: skip
CODES = {"generate from stdin": 2, "perplexity from stdin": 2, "download": 2, "bad": 2}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "short.txt").write_text(SHORT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path


@pytest.mark.parametrize("missing", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("name", COMMANDS)
def test_each_stream_may_be_missing(folder, capsys, monkeypatch, name, missing):
    """In Python a closed stream is None. Nothing that is meant for it goes to another."""
    monkeypatch.setattr(sys, missing, None)
    try:
        code = main(COMMANDS[name])
    except SystemExit as left:
        code = left.code
    out, err = capsys.readouterr()
    assert code == CODES.get(name, 0), (out, err)
    assert "Traceback" not in out + err and "tokens per second" not in out
    if "--json" in COMMANDS[name] and missing != "stdout":
        assert out and all(json.loads(line) for line in out.splitlines())
    if missing == "stderr" and code == 2:
        assert out == ""


@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&-"])
def test_closed_descriptors(folder, closed):
    command = f'"{sys.executable}" -m minigpt generate "Return the" If --max-new-tokens 3 --json {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == ([] if closed == ">&-" else ["Return the", "If"])
    assert ("tokens per second" in done.stderr) == (closed != "2>&-")


# --- how a command ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, code, words",
    [
        (KeyboardInterrupt(), 130, "\nminigpt: interrupted\n"),
        (FloatingPointError("the logits are not finite"), 2, "minigpt: the logits are not finite\n"),
        (ImportError("pip install it"), 2, "minigpt: pip install it\n"),
        (ValueError("one line\n   and another\n"), 2, "minigpt: one line and another\n"),
        (OSError(28, "No space left on device", "a.txt"), 2, "minigpt: a.txt: No space left on device\n"),
        (OSError("the disk"), 2, "minigpt: the disk\n"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_each_error_has_its_exit_code_and_one_line(capsys, monkeypatch, error, code, words, more):
    def fail(*_):
        raise error

    monkeypatch.setattr(generate_command, "load", fail)
    assert run(capsys, *ONE, *more) == (code, "", words)


def test_a_closed_pipe_is_no_error(capsys, monkeypatch):
    """`python -m minigpt generate ... | head -1`: what head does not read goes nowhere, without a word."""

    def fail(*_):
        raise BrokenPipeError(32, "Broken pipe")

    closed = []
    monkeypatch.setattr(generate_command, "load", fail)
    monkeypatch.setattr(os, "open", lambda path, flags: path)
    monkeypatch.setattr(os, "dup2", lambda *ends: closed.append(ends))
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 77, raising=False)
    done = run(capsys, *ONE)
    monkeypatch.undo()
    assert done == (0, "", "") and closed == [(os.devnull, 77)]


def test_a_stream_set_to_ascii_is_written_in_utf_8(monkeypatch):
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["generate", "春眠", "--max-new-tokens", "1", "--json"]) == 0
    assert main(["generate", "--file", "\udc80.txt"]) == 2  # a name that is no UTF-8 is shown with a ?
    out.flush()
    err.flush()
    assert json.loads(out.buffer.getvalue().decode("utf-8"))["prompt"] == "春眠"
    assert "minigpt: ?.txt: No such file" in err.buffer.getvalue().decode("utf-8")
