"""The README's picture shows what the models compute."""

import pytest
import torch

from minigpt import load_model, load_tokenizer
from minigpt.lecture import overview
from minigpt.lecture.overview import main, readers
from minigpt.plots import plot_readers


@pytest.fixture(scope="module")
def three():
    return readers()


def test_both_sides_decide_what_the_left_alone_does_not(three):
    bert, gpt2, t5 = three
    assert bert.likely[0][0] == t5.likely[0][0] == " True" and min(bert.likely[0][1], t5.likely[0][1]) > 0.25
    assert " True" not in dict(gpt2.likely)


def test_attention_is_that_of_the_texts_that_are_read(three):
    for reader in three:
        for line in reader.lines:
            read = [weight for weight in line.attention if weight is not None]
            assert len(line.pieces) == len(line.attention) and sum(read) == pytest.approx(1, abs=1e-4)
    [line] = three[1].lines
    assert line.attention[line.predicts + 1 :] == [None] * (len(line.pieces) - line.predicts - 1)
    assert [line.predicts for line in three[2].lines] == [None, 1]


def test_the_probabilities_are_the_models(three):
    model, tokenizer = load_model("tiny"), load_tokenizer("tiny")
    probabilities = model(torch.tensor([tokenizer.encode(overview.LEFT)]))[0, -1].softmax(-1)
    [best] = tokenizer.encode(three[1].likely[0][0])
    assert three[1].likely[0][1] == pytest.approx(probabilities[best].item()) == probabilities.max().item()


def test_the_command_writes_the_picture(three, tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "readers", lambda: three)
    assert main(["--out", str(tmp_path / "overview.png")]) == 0
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert len(plot_readers(three).axes) == 2 * len(three)
