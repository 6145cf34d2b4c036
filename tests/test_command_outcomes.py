"""What a command did, not only that it ended: its exit code, all of stdout, all of stderr, with --json and without. No
note stands where it has nothing to say, and a flag that was not given changes nothing."""

import csv
import io
import json
import re

import pytest
from command_line import run

from minigpt.commands import generate as generate_command
from minigpt.commands import perplexity as perplexity_command
from minigpt.commands.options import PICTURES, check_picture, print_json
from minigpt.perplexity import AGGREGATIONS, PUBLISHED, score

TEXT = "Return the number of items in the list.\n" * 9
SPEED = r"\d+ tokens, \d+ tokens per second"
LINE = "[^\n]+\n"
MEASUREMENT = rf"\d+ tokens, {LINE}"
A_LINE_EACH, NOT_SCORED = LINE * 2 * len(AGGREGATIONS), rf"\d+ tokens, the first of each later window, {LINE}"
ONE, TWO = ["generate", "Return the", "--max-new-tokens", 3], ["generate", "Return the", "If", "--max-new-tokens", 3]
PERPLEXITY = ["perplexity", "--text", "text.txt", "--window", 32]


def shown(value) -> str:
    """Of the parameters of a test, the arguments of a command are its name."""
    return " ".join(map(str, value)) if isinstance(value, list) and isinstance(value[0], str) else ""


def answers(*of):
    return "".join(f"--- {one}, ended by: length\n{LINE}" for one in of)


OUTCOMES = [
    # arguments, stdout, stderr: regular expressions of the whole
    (ONE, f"Return the{LINE}", f"{SPEED}, ended by: length\n"),
    ([*ONE[:3], 0], "Return the\n", "0 tokens, 0 tokens per second, ended by: length\n"),
    ([*ONE, "--prompt-lookup"], f"Return the{LINE}", f"{SPEED}, ended by: length\n"),
    ([*ONE, "--num-beams", 2], f"Return the{LINE}", f"{SPEED}\n"),
    ([*ONE, "--show-probabilities"], f"Return the{LINE}" + f"   [123] {LINE}" * 3, f"{SPEED}\n"),
    (TWO, answers("'Return the'", "'If'"), f"{SPEED}\n"),
    (
        [*TWO, "--samples", 2, "--seed", 3],
        answers("'Return the', sample 1", "'Return the', sample 2", "'If', sample 1", "'If', sample 2"),
        f"{SPEED}\n",
    ),
    (PERPLEXITY, MEASUREMENT + A_LINE_EACH, ""),
    ([*PERPLEXITY, "--stride", 32], MEASUREMENT + NOT_SCORED + A_LINE_EACH, ""),
    ([*PERPLEXITY, "--stride", 8, 4], " +stride " + LINE * 3, ""),
    ([*PERPLEXITY, "--stride", 8, 32], " +stride " + LINE * 3 + f"Where fewer are scored, {LINE}", ""),
    ([*PERPLEXITY, "--surprise", 3], "   loss  token\n" + LINE * 3 + "\n" + MEASUREMENT + A_LINE_EACH, ""),
    (["fill", "The [MASK]."], "gap 1 of 1\n" + LINE * 5 + "The .*\n", ""),
    (["fill", "The [MASK] [MASK].", "--n", 1], rf"gap 1 of 2\n{LINE}gap 2 of 2\n{LINE}The .*\n", ""),
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("arguments, out, err", OUTCOMES, ids=shown)
def test_all_that_a_command_says(capsys, here, arguments, out, err):
    code, said, noted = run(capsys, *arguments)
    assert code == 0 and re.fullmatch(out, said), said
    assert re.fullmatch(err, noted), noted
    assert [file.name for file in here.iterdir()] == ["text.txt"]


ANSWER = {"prompt", "sample", "text", "tokens", "log_probabilities", "stop_reason", "batch_tokens_per_second"}
MEASURED = {"tokens", "window", "stride", "windows", "scored", *(a.name for a in AGGREGATIONS)}
FIELDS = [
    (ONE, [ANSWER]),
    (TWO, [ANSWER] * 2),
    ([*ONE, "--seed", 3], [ANSWER | {"seed"}]),
    ([*TWO, "--samples", 2], [ANSWER | {"seed"}] * 4),
    ([*ONE, "--show-probabilities"], [ANSWER | {"steps"}]),
    ([*ONE, "--num-beams", 2], [ANSWER]),
    (PERPLEXITY, [MEASURED]),
    ([*PERPLEXITY, "--stride", 8, 4], [MEASURED] * 2),
    ([*PERPLEXITY, "--surprise", 3], [MEASURED | {"nll"}]),
    (["fill", "The [MASK]."], [{"text", "filled", "gaps"}]),
]


@pytest.mark.parametrize("arguments, fields", FIELDS, ids=shown)
def test_all_fields_of_json(capsys, here, arguments, fields):
    """Each line of stdout is an object; what was not asked for is not in it."""
    code, said, noted = run(capsys, *arguments, "--json")
    assert code == 0 and [set(json.loads(line)) for line in said.splitlines()] == fields
    assert re.fullmatch(f"{SPEED}\n" if arguments[0] == "generate" else "", noted), noted
    assert [file.name for file in here.iterdir()] == ["text.txt"]


def test_each_prompt_has_its_own_samples(capsys):
    said = run(capsys, *TWO, "--samples", 2, "--seed", 7, "--json", "--batch-size", 3)[1]
    found = [json.loads(line) for line in said.splitlines()]
    assert [(answer["prompt"], answer["sample"], answer["seed"]) for answer in found] == [
        ("Return the", 0, 7), ("Return the", 1, 8), ("If", 0, 7), ("If", 1, 8),
    ]  # fmt: skip


def test_each_prompt_has_its_own_reason_to_end(capsys):
    long = "a " * 252  # 253 tokens, and the context holds 256
    said = run(capsys, "generate", long, "If", "--max-new-tokens", 5, "--json")[1]
    assert [json.loads(line)["stop_reason"] for line in said.splitlines()] == ["context", "length"]


@pytest.mark.parametrize("how, early_stopping", [("true", True), ("false", False), ("never", "never")])
def test_early_stopping_is_what_was_given(capsys, monkeypatch, how, early_stopping):
    asked, real = [], generate_command.generate_details

    def noted(*arguments, **settings):
        asked.append(settings)
        return real(*arguments, **settings)

    monkeypatch.setattr(generate_command, "generate_details", noted)
    run(capsys, *ONE, "--num-beams", 2, "--early-stopping", how)
    run(capsys, *ONE, "--num-beams", 2)
    assert asked[0]["early_stopping"] is early_stopping or asked[0]["early_stopping"] == early_stopping
    assert asked[1] == {"num_beams": 2}


# --- perplexity ------------------------------------------------------------------------------------------------------


def test_the_table_of_losses_and_the_surprise_are_of_the_first_stride(capsys, tiny, tiny_tokenizer):
    nll = score(tiny, tiny_tokenizer.encode(TEXT), 16, 16).nll
    usual = ["perplexity", "--text", "text.txt", "--window", 16, "--stride", 16, 4]
    said = run(capsys, *usual, "--surprise", 40, "--losses", "losses.csv")[1]
    with open("losses.csv", newline="", encoding="utf-8") as table:
        unscored = [n for n, row in enumerate(csv.DictReader(table)) if not row["nll"]]
    assert unscored == [n for n, loss in enumerate(nll) if loss != loss] == [*range(0, len(nll), 16)]
    shown = [line[:7].strip() for line in said.splitlines()[1:41]]
    assert shown == ["" if loss != loss else f"{loss:.3f}" for loss in nll[:40]]


def test_a_data_set_has_its_own_number_of_words(capsys, monkeypatch):
    monkeypatch.setattr(perplexity_command, "dataset_text", lambda name: TEXT)
    monkeypatch.setattr(perplexity_command, "wikitext_words", lambda: 10_000)
    of_file, of_set = (
        json.loads(run(capsys, "perplexity", *what, "--json")[1])
        for what in (["--text", "text.txt"], ["--dataset", "wikitext2"])
    )
    assert of_set["word_perplexity"] != of_file["word_perplexity"]
    assert {name for name in MEASURED if of_set[name] != of_file[name]} == {"word_perplexity"}


@pytest.mark.parametrize("flag", ["--window", "--stride", "--plot", "--surprise", "--losses"])
def test_published_numbers_bring_their_own_settings(capsys, flag):
    code, out, err = run(capsys, "perplexity", "--published", "all", flag, 3)
    assert (code, out, err) == (2, "", f"minigpt: --published brings its own settings; leave out {flag}\n")


def test_only_models_that_are_missing_are_said_to_be(capsys, monkeypatch):
    monkeypatch.setattr(perplexity_command, "load_model", lambda *_: None)
    monkeypatch.setattr(perplexity_command, "load_tokenizer", lambda _: type("T", (), {"encode": len}))
    monkeypatch.setattr(perplexity_command, "score", lambda *_: None)
    published = type(PUBLISHED[0])
    monkeypatch.setattr(published, "text", lambda self: TEXT)
    monkeypatch.setattr(published, "measured", lambda *_: 1.0)
    for there in (True, False):
        monkeypatch.setattr(perplexity_command, "on_disk", lambda name, there=there: there)
        code, out, err = run(capsys, "perplexity", "--published", "all")
        assert code == 0 and err == "" and out.count("\n") == 1 + len(PUBLISHED) + (not there)
        assert ("not measured, for their weights are not on disk: " in out) == (not there)


# --- what is wrong in second place -----------------------------------------------------------------------------------

SECOND = [
    (["generate", "a", ""], "PROMPT is empty"),
    (["generate", "a", "b " * 400], "prompt 1 has 401 tokens, the context holds 256"),
    (["generate", "--file", "blank.txt"], "line 2 of blank.txt is empty: each line is a prompt"),
    (["generate", "--file", "spaces.txt"], "line 2 of spaces.txt is empty: each line is a prompt"),
    (["generate", "--file", "windows.txt"], "line 2 of windows.txt is empty: each line is a prompt"),
    (["generate", "--file", "empty.txt"], "line 1 of empty.txt is empty: each line is a prompt"),
    (["generate", "--file", "latin1.txt"], "latin1.txt is not UTF-8 text: byte 0xe9 at offset 5"),
    ([*ONE, "--stop", "x", "--stop", ""], "got '' as text 1"),
    ([*PERPLEXITY, "--stride", "8", "0"], "--stride must be an integer from 1 to 32, got 0"),
    ([*PERPLEXITY, "--stride", "8", "33"], "--stride must be an integer from 1 to 32, got 33"),
    ([*PERPLEXITY, "--stride", "8", "x"], "invalid int value: 'x'"),
    (["train", "--out", "run", "--text", "text.txt", "nothing.txt"], "nothing.txt: No such file"),
    (["train", "--out", "run", "--text", "text.txt", "latin1.txt"], "latin1.txt is not UTF-8 text"),
    (["train", "--out", "run", "--text", "text.txt", ""], "it is empty"),
    (["train", "--out", "run", "--text", "text.txt", "--set", "steps=3", "n_layer=x"], "n_layer must be like 12"),
    (["bench", "--work", "forward", "backward"], "invalid choice: 'backward'"),
    (["bench", "--dtype", "float32", "int8"], "invalid choice: 'int8'"),
    (["fill", "a [MASK]", "b"], "unrecognized arguments: b"),
    (["download", "gpt2", ""], "unrecognized arguments"),
]  # fmt: skip


@pytest.mark.parametrize("arguments, words", SECOND, ids=[shown(row[0])[:60] for row in SECOND])
def test_a_bad_second_prompt_line_or_file_is_found(capsys, here, monkeypatch, arguments, words):
    texts = {"blank": "a\n\nb\n", "spaces": "a\n \t\nb\n", "windows": "a\r\n\r\nb\r\n", "empty": ""}
    for name, text in texts.items():
        (here / f"{name}.txt").write_text(text, newline="")
    (here / "latin1.txt").write_bytes(b"a\ncaf\xe9\n")
    before = sorted(here.iterdir())
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and words in err and err.count("\n") == 1
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("text, prompts", [("a\n\n\n", ["a"]), ("a\nb", ["a", "b"]), (" a\nb \n", [" a", "b "])])
def test_blank_lines_at_the_end_are_no_prompts(capsys, monkeypatch, text, prompts):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    out = run(capsys, "generate", "--max-new-tokens", 1, "--json")[1]
    assert [json.loads(line)["prompt"] for line in out.splitlines()] == prompts


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_blank_lines_alone_are_no_prompt(capsys, monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, out, err = run(capsys, "generate")
    assert code == 2 and out == "" and "no prompt: give PROMPT, --file FILE, or one prompt a line on stdin" in err


@pytest.mark.parametrize(
    "more", [["--json"], ["--show-probabilities"], ["--samples", 2], ["--seed", 1], ["--num-beams", 2]], ids=str
)
def test_prompt_lookup_goes_with_no_other_setting(capsys, monkeypatch, more):
    monkeypatch.setattr(generate_command, "load", lambda options: pytest.fail("a model was loaded"))
    code, out, err = run(capsys, *ONE, "--prompt-lookup", *more)
    assert code == 2 and out == "" and "--prompt-lookup continues one prompt, greedily" in err
    assert run(capsys, "generate", "a", "--max-new-tokens", -1)[0] == 2  # before a model is loaded, too


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", PICTURES)
def test_each_kind_of_picture_is_accepted(here, ending):
    check_picture(str(here / f"a{ending}"))
    check_picture(None)
    with pytest.raises(ValueError, match="ends in .png, .pdf, .svg"):
        check_picture(str(here / f"a{ending}x"))


def test_json_has_no_infinity_at_any_depth(capsys):
    print_json({"a": [1.5, (float("inf"), {"b": float("nan")})], "c": "nan", "d": None, "e": -float("inf")})
    assert json.loads(capsys.readouterr().out) == {"a": [1.5, [None, {"b": None}]], "c": "nan", "d": None, "e": None}


@pytest.mark.parametrize("command", [["generate", "a"], ["verify"], ["tour"], ["fill", "[MASK]"]])
def test_a_blank_source_is_refused(capsys, command):
    for blank in ("", " ", "\t"):
        code, out, err = run(capsys, *command, "--source", blank)
        assert code == 2 and out == "" and "--source: it is empty" in err
