"""The baselines: Kneser-Ney against the formula written with dictionaries, and the compressor against itself."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from minigpt.train.baselines import kneser_ney_guesses, kneser_ney_nll, primed_lzma_bytes, unigram


def by_dictionary(tokens, vocab_size, order):
    """p(word, history) of the same model, straight from its definition, and slow."""
    counts = {}
    for n in range(1, order + 1):
        runs = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
        if n == order:
            counts[n] = Counter(runs)
        else:
            longer = {tuple(tokens[i : i + n + 1]) for i in range(len(tokens) - n)}
            counts[n] = Counter(run[1:] for run in longer)
    discount, total, followers = {}, defaultdict(int), defaultdict(set)
    for n, table in counts.items():
        values = list(table.values())
        runs = {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
        once, twice = values.count(1), values.count(2)
        discount[n] = once / (once + 2 * twice) if once else 0.5
        for run in runs:
            total[n, run[:-1]] += table[run]
            followers[n, run[:-1]].add(run[-1])

    def p(word, history):
        """The probability of a word after the whole history; the text's first tokens have a shorter history."""
        n = len(history) + 1
        shorter = p(word, history[1:]) if history else 1 / vocab_size
        if not total[n, history]:
            return shorter
        d, c = discount[n], total[n, history]
        return max(counts[n][*history, word] - d, 0) / c + d * len(followers[n, history]) / c * shorter

    return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_is_its_formula(order):
    rng = np.random.default_rng(order)
    tokens = rng.choice(6, 300, p=[0.4, 0.25, 0.15, 0.1, 0.07, 0.03])
    held_out = np.concatenate([rng.integers(0, 7, 30), tokens[50:80]])  # token 6 was never seen
    nll = kneser_ney_nll(tokens, held_out, 7, order)
    p = by_dictionary(tokens.tolist(), 7, order)
    for t, loss in enumerate(nll):
        history = tuple(held_out[max(0, t - order + 1) : t].tolist())
        assert loss == pytest.approx(-math.log(p(int(held_out[t]), history)), abs=1e-12), t


@pytest.mark.parametrize("order", [1, 2, 5])
def test_its_guess_is_the_likeliest_token(order):
    rng = np.random.default_rng(10 + order)
    tokens = rng.choice(6, 300, p=[0.4, 0.25, 0.15, 0.1, 0.07, 0.03])
    held_out = np.concatenate([rng.integers(0, 7, 40), tokens[50:80]])
    places = rng.permutation(len(held_out))[:50]
    guesses, p = kneser_ney_guesses(tokens, held_out, places, 7, order), by_dictionary(tokens.tolist(), 7, order)
    for place, guess in zip(places, guesses, strict=True):
        history = tuple(held_out[max(0, place - order + 1) : place].tolist())
        likelihoods = [p(word, history) for word in range(7)]
        assert likelihoods[guess] == pytest.approx(max(likelihoods), abs=1e-12), place
    assert len(set(guesses.tolist())) > (order > 1)  # with a history, the guesses differ


def test_a_place_outside_the_text_is_refused():
    tokens = np.arange(10) % 3
    assert kneser_ney_guesses(tokens, tokens, [], 3).shape == (0,)
    with pytest.raises(ValueError, match="places has 10, and held_out has 10 tokens"):
        kneser_ney_guesses(tokens, tokens, [0, 10], 3)
    with pytest.raises(ValueError, match="places has -1"):
        kneser_ney_guesses(tokens, tokens, [0, -1], 3)


def test_the_unigram_counts_each_token_once_more():
    assert unigram(np.array([1, 1, 2]), 4).tolist() == [1 / 7, 3 / 7, 2 / 7, 1 / 7]
    with pytest.raises(ValueError, match="tokens"):
        unigram(np.array([], dtype=np.int64), 4)


def test_probabilities_add_up_to_one():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, 400)
    for context in ([0, 1, 2], [4, 4, 4], [5, 5, 5]):
        texts = [np.array([*context, word]) for word in range(6)]
        assert sum(math.exp(-kneser_ney_nll(tokens, text, 6, 4)[-1]) for text in texts) == pytest.approx(1)


def test_a_primed_compressor_knows_what_it_has_read():
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcdefgh "), 5000))
    assert primed_lzma_bytes([text], [text[1000:3000]]) < 40 < 500 < primed_lzma_bytes([text], [text[::-1][:2000]])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_a_text_may_end_with_what_follows_nothing(order):
    """Nothing follows the last tokens of the training text: as histories they have no counts."""
    tokens, held_out = np.array([0, 1, 0, 1, 1, 2]), np.array([2, 0])
    p = by_dictionary(tokens.tolist(), 3, order)
    for t, loss in enumerate(kneser_ney_nll(tokens, held_out, 3, order)):
        history = tuple(held_out[max(0, t - order + 1) : t].tolist())
        assert loss == pytest.approx(-math.log(p(int(held_out[t]), history)), abs=1e-12), t
