"""python -m minigpt perplexity: the numbers side by side, the table of losses, the pictures, and what was published."""

import csv
import io
import json
import math
import sys

import numpy as np
import pytest
from command_line import run
from oracle import pair

from minigpt import load_tokenizer
from minigpt.commands import perplexity as command
from minigpt.data import dataset_text
from minigpt.perplexity import AGGREGATIONS, PUBLISHED, Scores, Window, detokenize, published, score, sliding_windows
from minigpt.plots import perplexity as perplexity_plots

TEXT = "Return the number of items in the list.\n" * 60


@pytest.fixture
def text_file(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_perplexity_prints_what_score_measures(capsys, text_file, tiny, tiny_tokenizer):
    code, out, _ = run(capsys, "perplexity", "--text", text_file, "--stride", 100, "--window", 200, "--json")
    numbers = json.loads(out)
    text = text_file.read_text(encoding="utf-8")
    scores = score(tiny, tiny_tokenizer.encode(text), 200, 100)
    assert code == 0 and numbers["tokens"] == len(scores.nll) and numbers["scored"] == scores.n_scored
    for name in ("perplexity", "window_mean_perplexity", "docs_perplexity"):
        assert numbers[name] == pytest.approx(getattr(scores, name), rel=1e-4)
    nats = math.log(numbers["perplexity"]) * numbers["scored"]
    assert numbers["word_perplexity"] == pytest.approx(math.exp(nats / len(text.split())), rel=1e-9)
    assert numbers["character_perplexity"] == pytest.approx(math.exp(nats / len(text)), rel=1e-9)
    assert numbers["bits_per_byte"] == pytest.approx(nats / math.log(2) / len(text.encode()), rel=1e-9)
    code, table, _ = run(capsys, "perplexity", "--text", text_file, "--stride", 100, "--window", 200)
    assert code == 0 and f"{numbers['window_mean_perplexity']:.4f}" in table
    assert all(a.formula in table and a.source in table for a in AGGREGATIONS)


def test_a_number_that_json_does_not_know_is_null(capsys, tmp_path):
    one_word = tmp_path / "word.txt"
    one_word.write_text("床前明月光疑是地上霜" * 30, encoding="utf-8")
    code, out, _ = run(capsys, "perplexity", "--text", one_word, "--json")
    assert code == 0 and "Infinity" not in out and json.loads(out)["word_perplexity"] is None


@pytest.mark.parametrize("text", ["春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n" * 9, "a" * 300])
def test_a_text_without_spaces_has_a_number_per_character_and_none_per_word(capsys, tmp_path, text, tiny):
    file = tmp_path / "text.txt"
    file.write_text(text, encoding="utf-8")
    scores = score(tiny, load_tokenizer("tiny").encode(text))
    numbers = json.loads(run(capsys, "perplexity", "--text", file, "--json")[1])
    assert numbers["word_perplexity"] is None
    assert numbers["character_perplexity"] == pytest.approx(scores.character_perplexity(len(text)), rel=1e-4)
    out = run(capsys, "perplexity", "--text", file)[1]
    [line] = [line for line in out.splitlines() if line.startswith("word_perplexity")]
    assert out.count("words need spaces") == 1, "it is said of one number"
    assert line.split()[1:5] == ["-", "words", "need", "spaces,"] and " words, " not in out.splitlines()[0]
    assert f"; {len(text)} characters, {len(text.encode())} bytes" in out.splitlines()[0]
    out = run(capsys, "perplexity", "--text", file, "--window", 64, "--stride", 32, 16)[1]
    assert "word_perplexity: words need spaces" in out.splitlines()[-1] and out.count(" -  ") == 2


def test_the_text_may_come_from_stdin(capsys, monkeypatch, text_file):
    def measured(*where):
        return run(capsys, "perplexity", *where, "--window", 64, "--stride", 64, 32)

    def piped(data: bytes):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
        return measured("--text", "-")

    text_file.write_bytes(b"\xef\xbb\xbf" + "Größe und Länge.\r\n".encode() * 60)  # with a byte-order mark
    assert piped(text_file.read_bytes()) == measured("--text", text_file)
    for data, words in [
        (b"caf\xe9", "stdin is not UTF-8 text: byte 0xe9 at offset 3. It looks like WINDOWS-1252"),
        (b"", "the text has 0 tokens"),
    ]:
        text_file.write_bytes(data)
        code, out, err = piped(data)
        assert code == 2 and out == "" and words in err
        assert measured("--text", text_file)[2] == err.replace("stdin", str(text_file))


def test_several_strides_side_by_side(capsys, text_file, tiny, tiny_tokenizer):
    ask = ["perplexity", "--text", text_file, "--window", 64, "--stride", 64, 32, 8]
    code, out, _ = run(capsys, *ask, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    tokens = tiny_tokenizer.encode(TEXT)
    assert code == 0 and [row["stride"] for row in rows] == [64, 32, 8]
    for row in rows:
        scores = score(tiny, tokens, 64, row["stride"])
        assert row["windows"] == len(scores.windows) and row["scored"] == scores.n_scored
        assert row["perplexity"] == pytest.approx(scores.perplexity, rel=1e-4)
    code, out, _ = run(capsys, *ask)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and [line[0] for line in lines] == ["stride", "64", "32", "8", "Where"]
    assert [float(line[3]) for line in lines[1:4]] == pytest.approx([row["perplexity"] for row in rows], rel=1e-4)


def test_tokens_that_are_not_scored_are_said(capsys, text_file):
    assert "the first of each later window" in run(capsys, "perplexity", "--text", text_file, "--stride", 256)[1]
    assert "the first of each later window" not in run(capsys, "perplexity", "--text", text_file, "--stride", 255)[1]


def test_each_stride_has_its_own_losses(capsys, text_file):
    ask = ["perplexity", "--text", text_file, "--window", 16, "--stride", 16, 8, 16, "--surprise", 40, "--json"]
    coarse, fine = (dict(enumerate(json.loads(line)["nll"])) for line in run(capsys, *ask)[1].splitlines())
    assert coarse[16][1] is None and fine[16][1] is not None and coarse[5] == fine[5]


def test_unscored_tokens_count_with_the_mean_of_the_others():
    scores = Scores(np.array([np.nan, 1.0, np.nan, 3.0]), [Window(0, 2, 2), Window(2, 4, 2)])
    assert scores.word_perplexity(2) == pytest.approx(math.exp(3 * 2 / 2)) and scores.n_unscored == 1
    assert scores.bits_per_byte(6) == pytest.approx(1 / math.log(2))


def test_the_losses_as_a_table(capsys, tmp_path, text_file, tiny, tiny_tokenizer):
    file = tmp_path / "losses.csv"
    assert run(capsys, "perplexity", "--text", text_file, "--window", 32, "--stride", 32, "--losses", file)[0] == 0
    rows = list(csv.DictReader(file.open(encoding="utf-8", newline="")))
    scores = score(tiny, tiny_tokenizer.encode(TEXT), 32, 32)
    assert "".join(row["token"] for row in rows) == TEXT
    for t, row in enumerate(rows):
        if np.isnan(scores.nll[t]):
            assert row["nll"] == row["window"] == row["context"] == ""
        else:
            assert float(row["nll"]) == pytest.approx(scores.nll[t], abs=1e-4)
            assert (int(row["window"]), int(row["context"])) == (scores.window_index[t], scores.context_length[t])


def test_a_picture_and_the_surprise_of_each_token(capsys, tmp_path, text_file, monkeypatch):
    file = tmp_path / "all.png"
    ask = ["perplexity", "--text", text_file, "--stride", 128, 64]
    code, out, _ = run(capsys, *ask, "--plot", file, "--surprise", 20)
    assert code == 0 and file.read_bytes().startswith(b"\x89PNG")
    assert "\x1b" not in out and out.count("\n") > 20 and "   loss  token" in out  # no colours in a pipe
    code, out, _ = run(capsys, *ask, "--surprise", 20, "--json")
    tokens = [json.loads(line)["nll"] for line in out.splitlines()]
    assert code == 0 and "\x1b" not in out and TEXT.startswith("".join(token for token, _ in tokens[0]))
    assert tokens[0][0][1] is None and all(nll > 0 for _, nll in tokens[0][1:])
    assert [nll for _, nll in tokens[0][1:]] != [nll for _, nll in tokens[1][1:]] or len(tokens) == 2


@pytest.mark.parametrize("variable, colours", [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_and_their_legend_are_for_terminals_that_want_them(capsys, monkeypatch, text_file, variable, colours):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = run(capsys, "perplexity", "--text", text_file, "--surprise", 20)
    assert code == 0 and (out.count("\x1b[0m") >= 15) == colours and ("\x1b" in out) == colours
    assert ("loss of each token: " in out and "8 or more" in out) == colours


def test_half_precision_and_batches_change_little(capsys, text_file):
    def measure(*more):
        return json.loads(run(capsys, "perplexity", "--text", text_file, "--json", *more)[1])["perplexity"]

    assert measure("--batch-size", 1) == pytest.approx(measure("--batch-size", 7), rel=1e-5)
    assert measure("--dtype", "bfloat16") == pytest.approx(measure(), rel=0.05)
    assert measure("--dtype", "bfloat16") != measure()


def test_published_numbers_stand_beside_what_is_measured(capsys, monkeypatch):
    text = "One , two ; three .\n\n" * 400
    monkeypatch.setattr(published, "dataset_text", lambda name: text)
    monkeypatch.setattr(command, "on_disk", lambda name: name == "gpt2")
    monkeypatch.setattr(command, "load_tokenizer", lambda name: load_tokenizer("tiny"))
    asked = []
    monkeypatch.setattr(command, "load_model", lambda name, *_: asked.append(name))

    def measured(model, tokens, window, stride, batch_size):
        windows = sliding_windows(len(tokens), window, stride)
        nll = np.full(len(tokens), np.nan)
        for number, w in enumerate(windows):
            nll[w.first_target : w.end] = 3.0 + number
        return Scores(nll, windows)

    monkeypatch.setattr(command, "score", measured)
    code, out, _ = run(capsys, "perplexity", "--published", "all", "--json")
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0 and len(rows) == len(PUBLISHED) and set(asked) == {"gpt2"} and len(asked) == 3
    assert {name for name, row in rows.items() if row["measured"] is not None} == {
        "lecture-gpt2",
        "touching-gpt2",
        "paper-gpt2",
    }
    assert rows["lecture-gpt2"]["value"] == 25.1880
    tokens = load_tokenizer("tiny").encode(text)
    assert rows["lecture-gpt2"]["measured"] == measured(None, tokens, 1024, 512, None).window_mean_perplexity
    paper = measured(None, load_tokenizer("tiny").encode(detokenize(text)), 1024, 32, None)
    assert rows["paper-gpt2"]["measured"] == paper.word_perplexity(400 * 7 + 1), "6 words and a line end each"

    asked.clear()
    code, out, _ = run(capsys, "perplexity", "--published", "touching-gpt2")
    [line] = [line for line in out.splitlines() if line.startswith("touching-gpt2")]
    assert code == 0 and asked == ["gpt2"] and f"{rows['touching-gpt2']['measured']:.4f}" in line and "29.94" in line
    assert "lecture-gpt2" not in out
    code, out, _ = run(capsys, "perplexity", "--published", "all")
    [blank] = [line for line in out.splitlines() if line.startswith("lecture-gpt2-medium ")]
    assert blank.split()[:5] == ["lecture-gpt2-medium", "gpt2-medium", "512", "window_mean_perplexity", "18.4739"]
    assert blank.split()[5:] == ["the", "lecture", "series"] and "gpt2-large" in out.splitlines()[-1]


def test_nothing_is_measured_where_no_weights_are(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path))
    if any(command.on_disk(p.model) for p in PUBLISHED):
        pytest.skip("OpenAI's weights are beside the package")
    code, out, _ = run(capsys, "perplexity", "--published", "all", "--json")
    assert code == 0 and {json.loads(line)["measured"] for line in out.splitlines()} == {None}


def test_detokenizing():
    raw = " = A Title = \n\n\n He said \" it 's 1 @,@ 000 well @-@ known ( small ) things , don 't worry ; ok . \" \n"
    assert detokenize(raw) == "= A Title =\nHe said \"it's 1,000 well-known (small) things, don't worry; ok.\"\n"


def test_wikitext_is_the_file_or_the_library(monkeypatch, tmp_path):
    (tmp_path / "wikitext2").mkdir()
    (tmp_path / "wikitext2" / "test.txt").write_text("a text")
    monkeypatch.setenv("MINIGPT_DATA", str(tmp_path))
    assert dataset_text("wikitext2") == "a text"
    monkeypatch.delenv("MINIGPT_DATA")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="MINIGPT_DATA/wikitext2/test.txt.*pip install datasets"):
        dataset_text("wikitext2")
    with pytest.raises(ValueError, match="wikitext103"):
        dataset_text("wikitext103")


def test_the_window_strips_show_what_is_scored():
    windows = sliding_windows(300, 100, 50)
    axes = perplexity_plots.plot_windows(windows).axes[0]
    strips = [(bar.get_x(), bar.get_width(), round(bar.get_y() + bar.get_height() / 2)) for bar in axes.patches]
    for row, window in enumerate(windows):
        assert (window.begin, window.first_target - window.begin, row) in strips
        assert (window.first_target, window.end - window.first_target, row) in strips


def test_loss_by_context_is_the_mean_of_like_contexts():
    nll = np.array([np.nan, 4.0, 2.0, 1.0, 3.0, 5.0])
    scores = Scores(nll, [Window(0, 4, 4), Window(2, 6, 2)])  # contexts 1 2 3, then 2 3
    contexts, losses = perplexity_plots.loss_by_context(scores, n_bins=3)
    assert contexts.tolist() == [1, 2, 3] and losses.tolist() == [4.0, 2.5, 3.0]
    many = score(pair(8, n_positions=24)[0], list(range(20)) * 30, 24, 6)  # only the first window has contexts below 18
    assert perplexity_plots.loss_by_context(many, n_bins=24)[0].tolist() == [18, 19, 20, 21, 22, 23]


def test_strides_and_passes_share_a_picture():
    nll = np.array([np.nan, 1.0, 2.0, 3.0])
    by_stride = {4: Scores(nll, [Window(0, 4, 4)]), 1: Scores(nll, [Window(0, 2, 2), Window(1, 4, 2)])}
    left, right = perplexity_plots.plot_strides(by_stride).axes
    assert left.lines[0].get_xydata().tolist() == [[1, math.exp(2)], [4, math.exp(2)]]
    assert right.lines[0].get_xydata().tolist() == [[1, 2], [4, 1]]


def test_surprise_is_a_colour():
    figure = perplexity_plots.plot_surprise(["a", " b", "\n"], np.array([np.nan, 8.0, 0.0]), columns=2)
    assert [bar.get_alpha() for bar in figure.axes[0].patches] == [0.3, 1.0, 0.0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["a", "␣b", "⏎"]
    with pytest.raises(ValueError, match="2 and 1"):
        perplexity_plots.plot_surprise(["a", "b"], np.array([1.0]))
    coloured = perplexity_plots.surprise_in_colour(["a", " b\n", "c"], np.array([0.0, 99.0, np.nan]))
    assert "48;2;30;30;30ma" in coloured and "48;2;210;100;30m b\x1b[0m\n" in coloured


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "--text"),
        (["--text", "{tmp}/fine.txt", "--dataset", "wikitext2"], "not allowed with"),
        (["--dataset", "wikitext2"], "pip install datasets"),
        (["--published", "lecture-gpt9"], "lecture-gpt9"),
        (["--published", "all", "--stride", "3"], "leave out --stride"),
        (["--published", "all", "--source", "gpt2"], "leave out --source"),
        (["--text", "{tmp}/fine.txt", "--stride", "0"], "stride"),
        (["--text", "{tmp}/fine.txt", "--dtype", "int8"], "int8"),
        (["--text", "{tmp}/fine.txt", "--plot", "{tmp}/no/where.png"], "where.png cannot be written"),
        (["--text", "{tmp}/fine.txt", "--losses", "{tmp}"], "cannot be written"),
        (["--text", "{tmp}/fine.txt", "--plot", "{tmp}/picture.xyz"], "ends in .png"),
        (["--text", "{tmp}/fine.txt", "--surprise", "0"], "at least 1"),
    ],
    ids=str,
)
def test_bad_settings_are_one_sentence(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.delenv("MINIGPT_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "fine.txt").write_text(TEXT)
    arguments = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    code, out, err = run(capsys, "perplexity", *arguments)
    assert code == 2 and out == "" and words in err and err.strip().count("\n") == 0
