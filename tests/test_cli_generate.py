"""python -m minigpt generate: prompts from anywhere, text as it is written, data when asked for."""

import io
import json
import math

import pytest
from command_line import run

from minigpt import generate, load_tokenizer
from minigpt.commands import generate as command

FLAGS = ("--temperature", "--top-k", "--top-p")
PROMPTS = ["Return the number of", "class Tensor", "A list"]


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def stdin(monkeypatch):
    def give(data):
        stream = io.TextIOWrapper(io.BytesIO(data if isinstance(data, bytes) else data.encode()))
        monkeypatch.setattr("sys.stdin", stream)

    return give


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


def test_prompts_come_as_arguments_from_a_file_or_from_stdin(capsys, tmp_path, stdin, tiny, tiny_tokenizer):
    expected = generate(tiny, [tiny_tokenizer.encode(prompt) for prompt in PROMPTS], 7)
    file = tmp_path / "prompts.txt"
    file.write_bytes("\r\n".join(PROMPTS).encode() + b"\r\n")
    stdin("\n".join(PROMPTS) + "\n\n")
    given = {}
    for name, where in [("arguments", PROMPTS), ("file", ["--file", file]), ("stdin", [])]:
        code, out, err = run(capsys, "generate", *where, "--max-new-tokens", 7, "--batch-size", 2, "--json")
        given[name] = lines(out)
        assert code == 0 and "21 tokens, " in err and " tokens per second" in err
        assert [answer["prompt"] for answer in given[name]] == PROMPTS
        for answer, tokens in zip(given[name], expected, strict=True):
            assert tiny_tokenizer.encode(answer["prompt"]) + answer["tokens"] == tokens
            assert answer["stop_reason"] == "length" and len(answer["log_probabilities"]) == 7
            assert answer["batch_tokens_per_second"] > 0
    code, out, _ = run(capsys, "generate", *PROMPTS, "--max-new-tokens", 7)
    assert code == 0
    for answer in given["file"]:
        assert answer["prompt"] + answer["text"] in out


def test_what_a_prompt_becomes_does_not_depend_on_the_batch(capsys):
    ask = ["generate", *PROMPTS, PROMPTS[0], "--max-new-tokens", 9, "--json", "--seed", 4, "--top-k", 50]
    answers = [lines(run(capsys, *ask, "--batch-size", size)[1]) for size in (1, 3, 16)]
    texts = [[answer["text"] for answer in batch] for batch in answers]
    assert texts[0] == texts[1] == texts[2]
    assert texts[0][0] != texts[0][3], "the same prompt twice: two samples"
    assert [answer["seed"] for answer in answers[0]] == [4, 4, 4, 5]
    alone = lines(run(capsys, "generate", PROMPTS[2], "--max-new-tokens", 9, "--json", "--seed", 4, "--top-k", 50)[1])
    assert alone[0]["text"] == texts[0][2]


def test_samples_are_drawn_and_can_be_drawn_again(capsys):
    ask = ["generate", "Return the", "--max-new-tokens", 12, "--json", "--samples", 3]
    answers = lines(run(capsys, *ask)[1])
    assert [answer["sample"] for answer in answers] == [0, 1, 2] and len({answer["text"] for answer in answers}) == 3
    again = run(capsys, *ask[:-2], "--seed", answers[1]["seed"])[1]
    assert lines(again)[0]["text"] == answers[1]["text"]


def test_probabilities_of_each_step(capsys, tiny, tiny_tokenizer):
    tokens = tiny_tokenizer.encode("Return the")
    code, out, _ = run(capsys, "generate", "Return the", "--max-new-tokens", 3, "--show-probabilities", "--json")
    [answer] = lines(out)
    for step, token, log_probability in zip(
        answer["steps"], answer["tokens"], answer["log_probabilities"], strict=True
    ):
        likely = dict(step["likely"])
        assert len(step["likely"]) == 5 and sorted(likely.values(), reverse=True) == list(likely.values())
        assert step["token"] == tiny_tokenizer.decode([token]) == step["likely"][0][0]
        assert step["probability"] == step["likely"][0][1]
        assert math.log(step["likely"][0][1]) == pytest.approx(log_probability, abs=1e-4)
    assert code == 0 and len(answer["steps"]) == 3 and tokens + answer["tokens"] == generate(tiny, [tokens], 3)[0]
    code, table, _ = run(capsys, "generate", "Return the", "--max-new-tokens", 3, "--show-probabilities")
    assert code == 0 and len(table.strip().splitlines()) == 4 + answer["text"].count("\n")
    for step in answer["steps"]:
        assert all(f"{token!r:>12} {p:6.2%}" in table for token, p in step["likely"])


def test_beams_and_prompt_lookup(capsys, tiny, tiny_tokenizer):
    tokens = tiny_tokenizer.encode("Return the")
    ask = ["generate", "Return the", "--max-new-tokens", 10]
    searched = run(capsys, *ask, "--num-beams", 3, "--length-penalty", 0.5, "--early-stopping", "never")[1]
    [expected] = generate(tiny, [tokens], 10, num_beams=3, length_penalty=0.5, early_stopping="never")
    assert searched.rstrip("\n") == tiny_tokenizer.decode(expected).rstrip("\n")
    assert run(capsys, *ask, "--prompt-lookup")[1] == run(capsys, *ask)[1]


def interrupted_after(n, function):
    def broken_off(*arguments, **settings):
        for number, step in enumerate(function(*arguments, **settings)):
            if number == n:
                raise KeyboardInterrupt
            yield step

    return broken_off


def test_ctrl_c_keeps_what_is_written(capsys, monkeypatch, tiny_tokenizer):
    whole = run(capsys, "generate", "Return the", "--max-new-tokens", 9)[1]
    monkeypatch.setattr(command, "stream", interrupted_after(4, command.stream))
    code, out, err = run(capsys, "generate", "Return the", "--max-new-tokens", 9)
    assert code == 130 and out.endswith("\n") and whole.startswith(out[:-1]) and len(out) > len("Return the\n")
    assert err.startswith("4 tokens") and "ended by: interrupted" in err and "Traceback" not in err

    monkeypatch.setattr(command, "steps", interrupted_after(2, command.steps))
    code, out, err = run(capsys, "generate", *PROMPTS, "--max-new-tokens", 9, "--batch-size", 2, "--json")
    answers = lines(out)
    assert code == 130 and [len(answer["tokens"]) for answer in answers] == [2, 2]
    assert {answer["stop_reason"] for answer in answers} == {"interrupted"}
    assert err.startswith("4 tokens") and "ended by: interrupted" in err


def test_ctrl_c_keeps_the_searches_that_are_done(capsys, monkeypatch):
    real, asked = command.generate_details, []

    def details(*arguments, **settings):
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr(command, "generate_details", details)
    code, out, _ = run(capsys, "generate", *PROMPTS, "--num-beams", 2, "--max-new-tokens", 5, "--json")
    assert code == 130 and [answer["stop_reason"] for answer in lines(out)] == ["length", "length", "interrupted"]
    assert [len(answer["tokens"]) for answer in lines(out)] == [5, 5, 0]


def test_why_a_text_ends_is_said(capsys):
    assert "ended by: length" in run(capsys, "generate", "Return the", "--max-new-tokens", 3)[2]
    assert "ended by: context" in run(capsys, "generate", "Return the", "--max-new-tokens", 900)[2]


@pytest.mark.parametrize("way", [[], ["--prompt-lookup"], ["--json"]], ids=str)
def test_a_stop_token_in_the_last_allowed_place_is_the_reason(capsys, monkeypatch, way):
    """The last allowed token is a stop token: the reason is the stop token, not "length"."""
    load = command.load

    def ends_early(options):
        model, tokenizer = load(options)
        [answer] = generate(model, [tokenizer.encode("Return the")], 3, stop_tokens=[])
        assert answer[-1] not in answer[:-1]
        object.__setattr__(model.config, "eos_token_id", answer[-1])
        return model, tokenizer

    monkeypatch.setattr(command, "load", ends_early)
    for n, reason in [(2, "length"), (3, "stop token"), (9, "stop token")]:
        _, out, err = run(capsys, "generate", "Return the", "--max-new-tokens", n, *way)
        assert f"ended by: {reason}" in err or json.loads(out)["stop_reason"] == reason


def test_a_part_of_a_character_is_shown_as_its_bytes(capsys):
    out = run(capsys, "generate", "春", "--max-new-tokens", 2, "--show-probabilities", "--top-k", 2)[1]
    assert "\ufffd" not in out.splitlines()[-1] and " 0.00%" not in out
    assert load_tokenizer("tiny").pieces(load_tokenizer("tiny").encode("a春")) == ["a", "<E6>", "<98>", "<A5>"]


def test_no_half_characters_in_a_stream(capsys, monkeypatch):
    tokenizer = load_tokenizer("tiny")
    ids = tokenizer.encode("é中😀 end")
    monkeypatch.setattr(command, "stream", lambda *_, **__: iter(ids))
    assert run(capsys, "generate", "a", "--max-new-tokens", 9)[1] == "aé中😀 end\n"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["a", "--file", "x"], "not both"),
        (["a", "b", "--prompt-lookup"], "one prompt"),
        (["a", "--prompt-lookup", "--top-k", "3"], "one prompt"),
        (["a", "--num-beams", "0"], "at least 1, got '0'"),
        (["a", "--num-beams", "2", "--top-k", "3"], "--num-beams 2 searches and --top-k draws: choose one"),
        (["a", "--num-beams", "2", "--samples", "3"], "--num-beams 2 searches and --samples draws: choose one"),
        (["a", "--num-beams", "2", "--show-probabilities"], "--show-probabilities"),
        (["a", "--length-penalty", "2"], "--length-penalty and --early-stopping need --num-beams above 1"),
        (["a", "--early-stopping", "maybe"], "maybe"),
        *[(["a", flag, "0"], f"{flag} 0 draws no token: leave out {flag} for the likeliest token\n") for flag in FLAGS],
        (["a", "--temperature", "0", "--seed", "1"], "leave out --temperature and --seed for the likeliest token\n"),
        (["a", "--temperature", "0", "--samples", "2"], "leave out --temperature and --samples for"),
        (
            ["a", "--top-k", "0", "--top-p", "0.5"],
            "--top-p for the likeliest token, --top-k alone to draw without",
        ),
        (["a", "--top-p", "-0.5"], "--top-p must be above 0 and at most 1, got -0.5"),
        (["a", "--min-p", "2"], "--min-p must be at least 0 and at most 1, got 2.0"),
        (["a", "--repetition-penalty", "0"], "--repetition-penalty must be at least 0.001"),
        (["a", "--no-repeat-ngram-size", "-1"], "--no-repeat-ngram-size must be an integer of at least 0"),
        (["a", "--samples", "0"], "at least 1"),
        (["a", "--batch-size", "0"], "at least 1"),
        (["--file", "{tmp}/hole.txt"], "line 2"),
        (["--file", "{tmp}/nothing.txt"], "No such file"),
        ([], "stdin"),
    ],
    ids=str,
)
def test_bad_settings_are_one_sentence_before_a_model_is_loaded(capsys, tmp_path, monkeypatch, stdin, arguments, words):
    monkeypatch.setattr(command, "load", lambda options: pytest.fail("a model was loaded"))
    (tmp_path / "hole.txt").write_text("a\n\nb\n")
    stdin(b"caf\xe9")
    code, out, err = run(capsys, "generate", *[argument.replace("{tmp}", str(tmp_path)) for argument in arguments])
    assert code == 2 and out == "" and words in err and err.strip().count("\n") == 0


def test_a_terminal_is_asked_for_a_prompt(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    code, _, err = run(capsys, "generate")
    assert code == 2 and "no prompt: give PROMPT" in err


# --- stop strings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [[], ["--prompt-lookup"], ["--seed", "3"], ["--repetition-penalty", "1.3"]], ids=str)
def test_a_text_ends_before_a_stop_string(capsys, way):
    """--stop may be given again; the first stop string that comes counts, wherever tokens end."""
    ask = ["generate", "Return the", "--max-new-tokens", 30, *way]
    code, out, err = run(capsys, *ask, "--stop", "no such text")
    whole = out[len("Return the") : -1]
    assert code == 0 and err.startswith("30 tokens") and "ended by: length" in err
    assert out == run(capsys, *ask)[1]
    for stop in (whole[0], whole[7:11], whole[-20:]):  # the last allowed token completes the last one
        code, out, err = run(capsys, *ask, "--stop", "no such text", f"--stop={stop}")
        assert code == 0 and out == "Return the" + whole[: whole.index(stop)] + "\n"
        n = int(err.split(" tokens")[0])
        assert "ended by: stop string" in err and (n == 30) == (stop == whole[-20:])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["a", "--stop", ""], "--stop must be a list of texts that are not empty, got ''"),
        (["a", "--stop", "x", "--stop", ""], "got '' as text 1"),
        (["a", "b", "--stop", "x"], "give one PROMPT"),
        (["a", "--json", "--stop", "x"], "no --json"),
        (["a", "--samples", "2", "--stop", "x"], "--samples"),
        (["a", "--num-beams", "2", "--stop", "x"], "--num-beams"),
        (["a", "--show-probabilities", "--stop", "x"], "--show-probabilities"),
    ],
    ids=str,
)
def test_bad_stop_strings_are_one_sentence_before_a_model_is_loaded(capsys, monkeypatch, arguments, words):
    monkeypatch.setattr(command, "load", lambda options: pytest.fail("a model was loaded"))
    code, out, err = run(capsys, "generate", *arguments)
    assert code == 2 and out == "" and words in err and err.strip().count("\n") == 0
