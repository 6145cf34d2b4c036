import json
from pathlib import Path

import pytest
from printed import assert_lines_occur

from minigpt import attention, loss
from minigpt.commands.main import main
from minigpt.lecture import tour
from minigpt.lecture.tour import run_tour


@pytest.fixture
def without_perplexity(monkeypatch):
    """The tour without its longest section: these faults show in others."""
    monkeypatch.setattr(tour, "measuring_perplexity", lambda guide, model, tokenizer: None)


def test_the_tour_shows_the_lecture_and_every_claim_holds(capsys):
    assert main(["tour"]) == 0
    out = capsys.readouterr().out
    assert "✗" not in out and out.count("✓") >= 35
    sections = ["Review GPT", "Attention", "CrossEntropyLoss", "Training and inference", "PPL", "Against Hugging Face"]
    assert [out.index(f"━━ {section}") for section in sections] == sorted(out.index(f"━━ {s}") for s in sections)
    for number in ("2.4607", "1.8357", "-1.3472, -2.3242, -3.7108", "[0, 4, 3]", "[1, 2, 3, 4] "):
        assert number in out
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    shown = readme.split("Some of its lines:\n\n```text\n")[1].split("```")[0]
    assert len(shown.splitlines()) >= 10
    assert_lines_occur(shown, out)


def test_a_false_claim_shows_and_fails(without_perplexity, capsys, monkeypatch):
    """An off-by-one in the causal mask: every query also sees its successor."""
    right = attention.causal_mask
    monkeypatch.setattr(
        attention, "causal_mask", lambda n, m, device=None: right(n, m, device) | right(n, m, device).roll(1, -1)
    )
    assert main(["tour", "--json"]) == 1
    claims = json.loads(capsys.readouterr().out)
    failed = [claim for claim in claims if not claim["ok"]]
    assert any("changes no earlier output" in claim["claim"] for claim in failed)
    assert {claim["section"].split()[0] for claim in failed} >= {"Attention:", "Training", "Against"}


def test_a_wrong_loss_is_caught(without_perplexity, monkeypatch):
    right = loss.cross_entropy
    monkeypatch.setattr(loss, "cross_entropy", lambda *args, **kwargs: right(*args, **kwargs) * 1.001)
    failed = {claim.section.split(":")[0] for claim in run_tour(quiet=True) if not claim.ok}
    assert {"Review GPT", "CrossEntropyLoss", "Against Hugging Face"} <= failed
