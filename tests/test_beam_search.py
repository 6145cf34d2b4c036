"""Beam search equals transformers.generate and, with vocabularies of three or four words, a search of every text."""

import random
from itertools import product

import pytest
import torch
from generation_oracle import N_BEAMS, by_hugging_face, each_case, random_prompts
from oracle import pair

from minigpt.generation import generate, generate_details
from minigpt.generation.beams import beam_search
from minigpt.generation.processors import forbid_repeated_ngrams, penalize_repetition

SETTINGS = list(product(range(2, 7), [-1.0, 0.0, 1.0, 2.0], [True, False, "never"], [0, 1, 2]))
random.Random(0).shuffle(SETTINGS)  # so that the first fifth is a mixture


def pytest_generate_tests(metafunc):
    each_case(metafunc, "case", N_BEAMS)


def sharp_pair(seed, **fixed):
    """Models whose likeliest tokens are very likely, so that texts of different lengths compete."""
    ours, theirs = pair(seed, **fixed)
    with torch.no_grad():
        ours.final_norm.weight.mul_(2.5)
        theirs.transformer.ln_f.weight.mul_(2.5)
    return ours, theirs


def stops_for(model, prompts, n) -> list[int]:
    """Stop tokens that searches reach: the third token of the greedy text, and another token."""
    tokens = generate(model, prompts[:1], 6, stop_tokens=[])[0][len(prompts[0]) :]
    return [tokens[2], (tokens[2] + 7) % model.config.vocab_size][:n]


# --- equal to transformers.generate ----------------------------------------------------------------------------------


def test_equals_transformers_token_for_token(case):
    """Each setting twice: a batch of two without processors, one prompt with them (they would count pads as text)."""
    num_beams, length_penalty, early_stopping, n_stop = SETTINGS[case % len(SETTINGS)]
    ours, theirs = sharp_pair(case, attention=["explicit", "sdpa"][case % 2])
    rng = random.Random(case)
    settings = dict(num_beams=num_beams, length_penalty=length_penalty, early_stopping=early_stopping)
    with_processors = (case + case // len(SETTINGS)) % 2 == 1
    if with_processors:
        which = rng.choice(["the penalty", "n-grams", "both"])
        settings |= {} if which == "n-grams" else {"repetition_penalty": rng.choice([0.8, 1.2, 2.0])}
        settings |= {} if which == "the penalty" else {"no_repeat_ngram_size": rng.randint(1, 3)}
    prompts = random_prompts(ours.config, case, 1 if with_processors else 2)
    stop = stops_for(ours, prompts, n_stop)
    expected = by_hugging_face(theirs, prompts, 10, stop, **settings)
    assert generate(ours, prompts, 10, stop_tokens=stop, **settings, use_cache=case % 3 > 0) == expected


def test_the_settings_are_many_and_a_fifth_of_them_is_a_mixture():
    assert len(set(SETTINGS)) == 180 and 2 * len(SETTINGS) <= N_BEAMS
    for values in zip(*SETTINGS[: N_BEAMS // 5], strict=True):
        assert set(values) >= {3, 4} or len(set(values)) >= 3


def test_scores_equal_transformers():
    for seed in range(10):
        ours, theirs = sharp_pair(seed)
        prompts = random_prompts(ours.config, seed, 1)
        theirs.generation_config.eos_token_id = stop = stops_for(ours, prompts, 1)
        out = theirs.generate(
            torch.tensor(prompts), attention_mask=torch.ones(1, len(prompts[0])), max_new_tokens=9, num_beams=4,
            num_return_sequences=4, do_sample=False, pad_token_id=0, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
        *_, last = beam_search(ours, prompts[0], 9, 4, stop_tokens=set(stop))
        assert [beam.score for beam in last.finished] == pytest.approx(out.sequences_scores.tolist(), rel=1e-5)
        for beam, row in zip(last.finished, out.sequences.tolist(), strict=True):
            assert beam.tokens == row[: len(beam.tokens)]


# --- equal to looking at every text ----------------------------------------------------------------------------------


def every_text(model, prompt, n, stop, length_penalty, process=lambda logits, texts: logits):
    """(score, tokens) of all texts of n more tokens, or fewer if a stop token ends them, by the formula; best first.

    The model reads each text as a whole; the log-probabilities of its new tokens are added up."""
    found = []
    for length in range(1, n + 1):
        endings = product(range(model.config.vocab_size), repeat=length)
        endings = [new for new in endings if not stop & set(new[:-1]) and (length == n or new[-1] in stop)]
        texts = [[*prompt, *new] for new in endings]
        if not texts:
            continue
        with torch.no_grad():
            rows = model(torch.tensor(texts)).log_softmax(dim=-1)
        for text, row in zip(texts, rows, strict=True):
            places = range(len(prompt), len(text))
            score = sum(process(row[t - 1 : t], [text[:t]])[0, text[t]].item() for t in places)
            found.append((score / length**length_penalty, text))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("stop", [set(), {1}, {0, 2}], ids=str)
@pytest.mark.parametrize("vocab_size, n", [(3, 4), (4, 3)])
def test_with_enough_beams_the_search_looks_at_every_text(vocab_size, n, stop):
    for seed, length_penalty in product(range(3), [-1.0, 0.0, 0.7, 1.0, 2.0]):
        ours, _ = sharp_pair(seed, vocab_size=vocab_size, bos_token_id=0, eos_token_id=None)
        expected = every_text(ours, [2, 1], n, stop, length_penalty)
        for use_cache in (True, False):
            *_, last = beam_search(
                ours, [2, 1], n, num_beams=vocab_size**n, length_penalty=length_penalty, early_stopping="never",
                stop_tokens=stop, use_cache=use_cache,
            )  # fmt: skip
            assert not last.running and len(last.finished) == len(expected)
            assert [beam.score for beam in last.finished] == pytest.approx([score for score, _ in expected], rel=1e-5)
            assert sorted(beam.tokens for beam in last.finished) == sorted(text for _, text in expected)
            assert last.finished[0].tokens == expected[0][1]
            assert {beam.stop_reason for beam in last.finished} <= {"length", "stop token"}


@pytest.mark.parametrize(
    "process",
    [lambda logits, texts: penalize_repetition(logits, texts, 1.7), lambda *args: forbid_repeated_ngrams(*args, 2)],
    ids=["repetition_penalty", "no_repeat_ngram_size"],
)
def test_with_processors_too(process):
    for seed in range(4):
        ours, _ = sharp_pair(seed, vocab_size=3, bos_token_id=0, eos_token_id=None)
        score, text = every_text(ours, [2, 1], 4, {1}, 1.0, process)[0]
        *_, last = beam_search(ours, [2, 1], 4, 81, early_stopping="never", stop_tokens={1}, process=process)
        assert last.finished[0].tokens == text and last.finished[0].score == pytest.approx(score, rel=1e-5)


def test_fewer_beams_never_find_more_and_sometimes_more_than_greedy():
    better = 0
    for seed in range(12):
        ours, _ = sharp_pair(seed, vocab_size=4, bos_token_id=0, eos_token_id=None)
        score = dict((tuple(text), score) for score, text in every_text(ours, [3], 4, set(), 1.0))
        greedy, narrow, wide, all_ = (
            score[tuple(generate(ours, [[3]], 4, stop_tokens=[], num_beams=n)[0])] for n in (1, 2, 4, 256)
        )
        assert max(greedy, narrow, wide) <= all_ == max(score.values())
        better += wide > greedy
    assert better


# --- the state after each step ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_every_beam_of_every_step_is_what_it_says(early_stopping, use_cache):
    for seed, length_penalty in product(range(5), [-1.0, 1.0]):
        ours, _ = sharp_pair(seed)
        [prompt] = random_prompts(ours.config, seed, 1)
        stop = set(stops_for(ours, [prompt], 2))
        settings = dict(early_stopping=early_stopping, length_penalty=length_penalty, use_cache=use_cache)
        for n, beams in enumerate(beam_search(ours, prompt, 9, 3, stop_tokens=stop, **settings), start=1):
            for beam in [*beams.running, *beams.finished]:
                new = beam.tokens[len(prompt) :]
                with torch.no_grad():
                    rows = ours(torch.tensor([beam.tokens]))[0, len(prompt) - 1 : -1].log_softmax(dim=-1)
                expected = rows.gather(1, torch.tensor(new)[:, None])[:, 0].tolist()
                assert beam.log_probabilities == pytest.approx(expected, abs=1e-5)
                divisor = 1 if beam.stop_reason is None else len(new) ** length_penalty
                assert beam.score == pytest.approx(sum(expected) / divisor, rel=1e-5)
                assert not stop & set(new[:-1])
            assert all(len(beam.log_probabilities) == n and beam.stop_reason is None for beam in beams.running)
            for best_first in (beams.running, beams.finished):
                assert [beam.score for beam in best_first] == sorted((b.score for b in best_first), reverse=True)
                assert len({tuple(beam.tokens) for beam in best_first}) == len(best_first) <= 3
        assert n == 9 or len(beams.finished) == 3


def test_a_step_that_was_yielded_stays_as_it_was():
    ours, _ = sharp_pair(4)
    stop = set(range(0, ours.config.vocab_size, 3))
    seen = []
    for beams in beam_search(ours, [1, 2], 9, 4, stop_tokens=stop, early_stopping="never"):
        seen.append((beams, list(beams.running), list(beams.finished)))
    assert any(finished for _, _, finished in seen[:-1])
    for beams, running, finished in seen:
        assert (beams.running, beams.finished) == (running, finished)


def test_when_the_search_ends():
    """The three values of early_stopping, each by its own rule: True stops first, "never" last."""
    lengths = set()
    for seed in range(20):
        ours, _ = sharp_pair(seed)
        [prompt] = random_prompts(ours.config, seed, 1)
        stop = set(stops_for(ours, [prompt], 2))
        n_steps = {}
        for rule in (True, False, "never"):
            *before, last = beam_search(ours, prompt, 14, 2, stop_tokens=stop, early_stopping=rule)
            n_steps[rule] = len(before) + 1
            if last.running:
                assert len(last.finished) == 2
                hoped = 14 if rule == "never" else n_steps[rule]
                assert rule is True or last.running[0].score / hoped <= last.finished[-1].score
            for n, beams in enumerate(before, start=1):
                full = len(beams.finished) == 2
                assert not (rule is True and full)
                hoped = 14 if rule == "never" else n
                assert rule is True or not full or beams.running[0].score / hoped > beams.finished[-1].score
        assert n_steps[True] <= n_steps[False] <= n_steps["never"]
        lengths.add(tuple(n_steps.values()))
    assert any(len(set(steps)) > 1 for steps in lengths)


@pytest.mark.parametrize("length_penalty", [100.0, 40.0, -40.0, -100.0])
def test_texts_are_ranked_at_the_largest_penalties_too(length_penalty):
    """12**40 is too large for float32."""
    for seed in range(10):
        ours, _ = sharp_pair(seed)
        stop = set(range(0, ours.config.vocab_size, 5))
        settings = dict(length_penalty=length_penalty, early_stopping="never", stop_tokens=stop)
        *_, last = beam_search(ours, [1, 2], 12, 4, **settings)
        sums, lengths = zip(*[(sum(b.log_probabilities), len(b.log_probabilities)) for b in last.finished], strict=True)
        scores = [total / length**length_penalty for total, length in zip(sums, lengths, strict=True)]
        assert scores == pytest.approx(sorted(scores, reverse=True), rel=1e-5, abs=0)
        assert scores == pytest.approx([beam.score for beam in last.finished], rel=1e-5, abs=0)


def test_one_beam_is_greedy_where_nothing_stops():
    for seed in range(10):
        ours, _ = pair(seed)
        prompts = random_prompts(ours.config, seed, 1)
        *_, last = beam_search(ours, prompts[0], 9, 1)
        assert last.finished[0].tokens == generate(ours, prompts, 9, stop_tokens=[])[0]


def test_more_beams_than_words():
    ours, _ = pair(2, vocab_size=3, bos_token_id=0, eos_token_id=None)
    for num_beams, stop in product([2, 3, 5, 50], [(), (0,), (0, 1), (0, 1, 2)]):
        [answer] = generate_details(ours, [[1]], 4, num_beams=num_beams, stop_tokens=stop)
        assert answer.stop_reason == "length" or answer.tokens[-1] in stop
    [answer] = generate_details(ours, [[1]], 4, num_beams=2, stop_tokens=[0, 1, 2])
    assert len(answer.new_tokens) == 1 and answer.stop_reason == "stop token"


def test_a_search_that_must_not_repeat_does_not():
    """Beams that could only repeat themselves have a score of -inf: none is the answer while others are left."""
    for seed, num_beams in product(range(6), [2, 4]):
        ours, _ = pair(seed, vocab_size=8, bos_token_id=0, eos_token_id=None)
        [answer] = generate(ours, [[1, 2]], 6, num_beams=num_beams, stop_tokens=[], no_repeat_ngram_size=1)
        assert sorted(answer) == list(range(8))
        for rule in (True, False, "never"):
            settings = dict(stop_tokens=[2], early_stopping=rule, no_repeat_ngram_size=1)
            [answer] = generate(ours, [[1, 2]], 5, num_beams=num_beams, **settings)
            assert len(set(answer)) == len(answer)
