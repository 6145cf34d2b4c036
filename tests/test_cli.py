"""The command line, called in-process: what it prints, and one sentence for everything that can be wrong."""

import json
import math

import pytest
import torch

from minigpt import cli, load_model, load_tokenizer, verify
from minigpt.cli import main


def run(capsys, *arguments):
    """(exit code, stdout, stderr); argparse leaves through SystemExit."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def text_file(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("Return the number of items in the list.\n" * 60, encoding="utf-8")
    return file


def test_help_teaches(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in ("tour", "generate", "perplexity", "train", "download", "verify"):
        assert command in out
        code, help_text, _ = run(capsys, command, "--help")
        assert code == 0 and len(help_text) > 150


def test_generate_prints_the_prompt_and_goes_on(capsys):
    code, out, _ = run(capsys, "generate", "Return the", "--max-new-tokens", 12)
    assert code == 0 and out.startswith("Return the") and len(out) > 20
    assert run(capsys, "generate", "Return the", "--max-new-tokens", 12)[1] == out


def test_a_sampling_flag_switches_sampling_on(capsys):
    greedy = run(capsys, "generate", "Return the", "--max-new-tokens", 30)[1]
    drawn = [run(capsys, "generate", "Return the", "--max-new-tokens", 30, "--seed", seed)[1] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2] and greedy not in drawn


def test_generate_as_data(capsys):
    code, out, _ = run(capsys, "generate", "Return the", "--max-new-tokens", 5, "--json")
    answer = json.loads(out)
    assert code == 0 and len(answer["tokens"]) == 5 and answer["prompt"] == "Return the"
    assert load_tokenizer("tiny").decode(answer["tokens"]) == answer["text"]


def test_perplexity_prints_what_score_measures(capsys, text_file, tiny, tiny_tokenizer):
    from minigpt.perplexity import score

    code, out, _ = run(capsys, "perplexity", "--text", text_file, "--stride", 100, "--window", 200, "--json")
    numbers = json.loads(out)
    text = text_file.read_text(encoding="utf-8")
    scores = score(tiny, tiny_tokenizer.encode(text), 200, 100)
    assert code == 0 and numbers["tokens"] == len(scores.nll) and numbers["scored"] == scores.n_scored
    for name in ("perplexity", "window_mean_perplexity", "docs_perplexity"):
        assert numbers[name] == pytest.approx(getattr(scores, name), rel=1e-4)
    nats = math.log(numbers["perplexity"]) * numbers["scored"]
    assert numbers["word_perplexity"] == pytest.approx(math.exp(nats / len(text.split())), rel=1e-9)
    assert numbers["bits_per_byte"] == pytest.approx(nats / math.log(2) / len(text.encode()), rel=1e-9)
    code, table, _ = run(capsys, "perplexity", "--text", text_file, "--stride", 100, "--window", 200)
    assert code == 0 and f"{numbers['window_mean_perplexity']:.4f}" in table


def test_a_number_that_json_does_not_know_is_null(capsys, tmp_path):
    one_word = tmp_path / "word.txt"
    one_word.write_text("床前明月光疑是地上霜" * 30, encoding="utf-8")
    code, out, _ = run(capsys, "perplexity", "--text", one_word, "--json")
    assert code == 0 and "Infinity" not in out and json.loads(out)["word_perplexity"] is None


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

    monkeypatch.setattr(cli, "load_model", slightly_off)
    code, out, _ = run(capsys, "verify", "--device", "cpu")
    assert code == 1 and "✗" in out and "They differ from layer 2 on. The verdict is a bug" in out
    report = json.loads(run(capsys, "verify", "--device", "cpu", "--json")[1])
    assert report["verdict"] == "bug" and report["first_layer"] == 2


def test_verify_knows_rounding_when_it_sees_it(capsys, monkeypatch):
    """Differences in float32 that float64 does not confirm."""
    monkeypatch.setitem(verify.BARS, torch.float32, dict.fromkeys(verify.BARS[torch.float32], 1e-9))
    code, out, _ = run(capsys, "verify", "--device", "cpu")
    assert code == 1 and "The verdict is rounding" in out


def test_train_on_own_text_makes_a_checkpoint_that_generates(capsys, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n" * 200, encoding="utf-8")
    out_folder = tmp_path / "out"
    code, out, _ = run(capsys, "train", "--text", own, "--preset", "smoke", "--steps", 25, "--out", out_folder)
    assert code == 0 and "bits per byte" in out
    written = {file.name for file in out_folder.iterdir()}
    assert written >= {"config.json", "model.safetensors", "vocab.json", "merges.txt", "metrics.csv", "loss.png"}
    code, out, _ = run(capsys, "generate", "春眠", "--source", out_folder, "--max-new-tokens", 5)
    assert code == 0 and out.startswith("春眠")
    code, _, err = run(capsys, "train", "--text", own, "--preset", "smoke", "--out", out_folder)
    assert code == 2 and "already holds a model" in err


def test_ctrl_c_before_the_first_step_leaves_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "train", lambda *_: [])
    text_file, out_folder = tmp_path / "long.txt", tmp_path / "out"
    text_file.write_text("".join(f"line {number} of many\n" for number in range(2000)))
    code, _, err = run(capsys, "train", "--text", text_file, "--preset", "smoke", "--out", out_folder)
    assert code == 130 and "interrupted" in err and not list(out_folder.iterdir())


BAD = [
    (["fly"], "'fly'"),
    ([], "COMMAND"),
    (["generate", ""], "PROMPT is empty"),
    (["generate", "a", "--source", "gpt17"], "no model 'gpt17'"),
    (["generate", "a", "--source", "{tmp}"], "needs config.json and one of model.safetensors,"),
    (["generate", "a " * 400], "n_positions=256"),
    (["generate", "a", "--temperature", "-1"], "temperature must be positive"),
    (["generate", "a", "--temperature", "warm"], "'warm'"),
    (["generate", "a", "--temperature", "1e-300"], "temperature must be positive"),
    (["generate", "a", "--seed", "99999999999999999999"], "2^63 - 1, got '99999999999999999999'"),
    (["generate", "a", "--seed", "-1"], "a seed is a whole number"),
    (["generate", "a", "--source", ""], "--source: it is empty"),
    (["generate", "a", "--top-p", "1.5"], "top_p"),
    (["generate", "a", "--top-k", "0"], "top_k"),
    (["generate", "a", "--max-new-tokens", "-3"], "max_new_tokens"),
    (["generate", "a", "--device", "abacus"], "--device abacus cannot be used on this machine; cpu"),
    (["generate", "a", "--device", "meta"], "--device meta cannot be used on this machine"),
    (["perplexity"], "--text"),
    (["perplexity", "--text", "{tmp}/nothing.txt"], "nothing.txt: No such file"),
    (["perplexity", "--text", "{tmp}"], "Is a directory"),
    (["perplexity", "--text", "{tmp}/latin1.txt"], "not UTF-8"),
    (["perplexity", "--text", "{tmp}/empty.txt"], "0 tokens"),
    (["perplexity", "--text", "{tmp}/short.txt"], "1 tokens"),
    (["perplexity", "--text", "{tmp}/fine.txt", "--stride", "0"], "stride"),
    (["perplexity", "--text", "{tmp}/fine.txt", "--stride", "300"], "stride must be between 1 and window=256"),
    (["perplexity", "--text", "{tmp}/fine.txt", "--window", "300"], "n_positions=256, got 300"),
    (["train", "--text", "{tmp}/fine.txt", "--preset", "huge", "--out", "{tmp}/x"], "'huge'"),
    (["train", "--text", "{tmp}/short.txt", "--out", "{tmp}/x"], "context=256"),
    (["train", "--text", "{tmp}/fine.txt", "--steps", "-2", "--out", "{tmp}/x"], "steps"),
    (["train", "--text", "{tmp}/fine.txt", "--steps", "0", "--out", "{tmp}/x"], "steps must be"),
    (["train", "--text", "{tmp}/fine.txt", "--out", ""], "--out: it is empty"),
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
    sentence = err.strip().split("\r")[-1].strip()  # behind what a progress bar has wiped
    assert words in sentence and "\n" not in sentence and "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before, "something was left behind"


def test_a_bug_is_not_hidden(monkeypatch, capsys):
    def broken(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "stream", broken)
    with pytest.raises(KeyError):
        main(["generate", "a"])
