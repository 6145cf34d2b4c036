"""The baselines: Kneser-Ney against the formula written with dictionaries, and the compressor against itself."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from minigpt.train.baselines import kneser_ney_nll, primed_lzma_bytes


def by_dictionary(tokens, vocab_size, order):
    """p(word, history) of the same model, as slowly as it is defined."""
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
        """Behind the whole history given, the text's first tokens have a shorter one."""
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
    """The last tokens of a text begin no run: as histories they were never seen, and there is nothing to count."""
    tokens, held_out = np.array([0, 1, 0, 1, 1, 2]), np.array([2, 0])
    p = by_dictionary(tokens.tolist(), 3, order)
    for t, loss in enumerate(kneser_ney_nll(tokens, held_out, 3, order)):
        history = tuple(held_out[max(0, t - order + 1) : t].tolist())
        assert loss == pytest.approx(-math.log(p(int(held_out[t]), history)), abs=1e-12), t
