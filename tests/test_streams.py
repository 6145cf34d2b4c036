"""Closed streams and pipes: no command ends in a traceback, and --json prints JSON."""

import json
import subprocess
import sys

import pytest

from minigpt.commands.main import main

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
