"""Every solution passes, every blank fails, and every planted mistake gets the hint that names it."""

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minigpt.lecture.exercises import EXERCISES, check, find_hint

SOLUTIONS = Path(__file__).parent.parent / "notebooks" / "solutions"
MISTAKES = [(name, number) for name, exercise in EXERCISES.items() for number in range(len(exercise.mistakes))]


def solutions():
    found = {}
    for file in sorted(SOLUTIONS.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"solutions_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= {name: getattr(module, name) for name in EXERCISES if hasattr(module, name)}
    return found


@pytest.fixture(scope="module")
def answers():
    return solutions()


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes(name, answers, capsys):
    check(name, answers[name])
    assert capsys.readouterr().out == f"✓ {name}\n"


@pytest.mark.parametrize("name", EXERCISES)
def test_a_blank_fails_and_is_told_the_task(name, capsys):
    def blank(*inputs): ...

    check(name, blank)
    assert capsys.readouterr().out == f"✗ {name}: nothing came back yet. {EXERCISES[name].task}\n"


@pytest.mark.parametrize("name, number", MISTAKES)
def test_a_mistake_gets_its_own_hint(name, number):
    wrong, hint = EXERCISES[name].mistakes[number]
    assert find_hint(EXERCISES[name], wrong) == hint


@pytest.mark.parametrize("name", EXERCISES)
def test_two_typical_mistakes_are_known(name):
    assert len({hint for _, hint in EXERCISES[name].mistakes}) >= 2


@pytest.mark.parametrize("name", EXERCISES)
def test_an_answer_of_another_kind_is_told_so(name, capsys):
    check(name, lambda *inputs: "nonsense")
    assert "the answer is of type str, expected" in capsys.readouterr().out


@pytest.mark.parametrize("name", EXERCISES)
def test_an_answer_that_raises_is_shown_and_does_not_stop_the_notebook(name, capsys):
    def raising(*inputs):
        raise RuntimeError("shapes do not fit")

    check(name, raising)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {name}: ") and "it raised RuntimeError: shapes do not fit" in out


def test_an_unknown_mistake_is_described(capsys):
    check("attention", lambda q, k, v, allowed: q)
    check("causal_mask", lambda n, m: torch.ones(n, m))
    check("merge", lambda ids, pair, new_id: [new_id])
    out = capsys.readouterr().out
    assert "the shape is (4, 9), expected (4, 5)" in out
    assert "the numbers are torch.float32, expected torch.bool" in out
    assert "expected\n[9, 3, 9]\ngot\n[9]" in out


def test_the_input_is_shown_by_the_names_of_the_answer(capsys):
    check("causal_mask", lambda n_query, n_key: torch.zeros(n_query, n_key).bool())
    check("causal_mask", lambda *sizes: torch.zeros(sizes).bool())
    named, unnamed = capsys.readouterr().out.split("✗ causal_mask")[1:]
    assert "The input was\nn_query = 4\nn_key = 4" in named
    assert "The input was\n4\n4" in unnamed


TORCHS_OWN = [
    ("cross_entropy", lambda x, y, i: F.cross_entropy(x, y, ignore_index=i), "cross_entropy"),
    ("cross_entropy", lambda x, y, i: torch.nn.CrossEntropyLoss(ignore_index=i)(x, y), "cross_entropy"),
    ("cross_entropy", lambda x, y, i: F.nll_loss(x.log_softmax(-1), y, ignore_index=i), "nll_loss"),
    ("log_softmax", lambda x: x.log_softmax(-1), "log_softmax"),
    ("log_softmax", lambda x: F.log_softmax(x, dim=-1), "log_softmax"),
    ("log_softmax", lambda x: torch.log_softmax(x, -1), "log_softmax"),
    ("attention", lambda q, k, v, m: F.scaled_dot_product_attention(q[None], k[None], v[None], m)[0], "scaled_dot"),
]


@pytest.mark.parametrize("name, answer, used", TORCHS_OWN)
def test_an_answer_that_only_calls_torch_is_asked_to_be_by_hand(name, answer, used, capsys):
    check(name, answer)
    assert f"✗ {name}: the numbers are right, and torch's own {used}" in capsys.readouterr().out


def test_reading_all_tokens_at_once_is_no_answer_to_token_by_token(capsys):
    check("token_by_token", lambda model, tokens: model(tokens))
    assert "one token at a time: this exercise's model was handed 5" in capsys.readouterr().out


def test_inputs_are_not_changed_by_an_answer():
    def vandal(logits, labels):
        logits.zero_()
        return logits[:, :-1], labels[:, 1:]

    find_hint(EXERCISES["shift"], vandal)
    assert EXERCISES["shift"].inputs[0][0].abs().sum() > 0
    before = [list(ids) for ids, _, _ in EXERCISES["merge"].inputs]
    find_hint(EXERCISES["merge"], lambda ids, pair, new_id: ids.clear())
    assert [ids for ids, _, _ in EXERCISES["merge"].inputs] == before


def test_an_unknown_exercise_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="'shfit'.*shift"):
        check("shfit", lambda: None)
    with pytest.raises(ValueError, match="needs your function, got 5"):
        check("merge", 5)


def test_an_answer_that_is_right_for_some_cases_is_told_which(capsys):
    def for_bert_and_gpt(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
        scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5
        if causal:
            scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
        return scores.softmax(dim=-1) @ v

    check("own_attention", for_bert_and_gpt)
    check("own_attention", lambda q, k, v, *rest: q)
    some, none = capsys.readouterr().out.split("✗ own_attention: ")[1:]
    assert some.startswith("right for BERT (every key), GPT (causal); wrong for a KV cache (2 queries, 5 keys), pads")
    assert "the *last* Tq positions" in some and "tensor" not in some
    assert none.startswith("right for no case yet; wrong for BERT") and "the numbers differ by up to" in none
