"""Each processor by hand and against transformers' class, bit for bit; and the order they work in."""

import pytest
import torch
import transformers.generation.logits_process as theirs
from generation_oracle import PROCESSORS, random_settings

from minigpt.generation.processors import (
    apply_temperature,
    forbid_repeated_ngrams,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    most_likely,
    penalize_repetition,
    sampling_probabilities,
)
from minigpt.generation.settings import Settings

# In the order in which transformers uses them.
THEIRS = {
    "repetition_penalty": theirs.RepetitionPenaltyLogitsProcessor,
    "no_repeat_ngram_size": theirs.NoRepeatNGramLogitsProcessor,
    "temperature": theirs.TemperatureLogitsWarper,
    "top_k": theirs.TopKLogitsWarper,
    "top_p": theirs.TopPLogitsWarper,
    "min_p": theirs.MinPLogitsWarper,
}


def kept(logits) -> list[list[int]]:
    return [row.isfinite().nonzero().flatten().tolist() for row in logits]


def by_transformers(logits, texts, settings):
    for name, processor in THEIRS.items():
        if name in settings:
            logits = processor(settings[name])(torch.tensor(texts), logits)
    return logits


def random_rows(seed, n_tokens=12, vocab_size=50):
    """Logits of three rows with ties, some of them -inf already, and the texts before them."""
    generator = torch.Generator().manual_seed(seed)
    logits = (8 * torch.randn(3, vocab_size, generator=generator)).round() / 2
    logits[0, ::7] = -torch.inf
    return logits, torch.randint(6, (3, n_tokens), generator=generator).tolist()


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("seed", range(10))
def test_each_processor_equals_transformers(name, seed):
    logits, texts = random_rows(seed)
    settings = random_settings(4 * list(PROCESSORS).index(name) + 24 * seed)
    assert set(settings) - {"do_sample"} == {name}
    before = logits.clone()
    assert torch.equal(Settings(**settings).process(logits, texts), by_transformers(logits, texts, settings))
    assert torch.equal(logits, before)


def test_any_number_of_them_equals_transformers_in_its_order():
    for case in range(600):
        logits, texts = random_rows(case, n_tokens=1 + case % 20)
        settings = random_settings(case)
        expected = by_transformers(logits, texts, settings)
        assert torch.equal(Settings(**settings).process(logits, texts), expected), settings


def test_sampling_probabilities_are_the_softmax_of_the_last_four():
    for case in range(200):
        logits, texts = random_rows(case)
        settings = {name: value for name, value in random_settings(case).items() if name in list(PROCESSORS)[2:]}
        expected = by_transformers(logits, texts, settings).softmax(dim=-1)
        assert torch.equal(sampling_probabilities(logits, **settings), expected), settings
        assert torch.equal(sampling_probabilities(logits.double(), **settings), expected)  # float32 inside


@pytest.mark.parametrize(
    "settings, other_way_round",
    [
        # logits 2, 1, 0; the text holds token 0
        ({"repetition_penalty": 4.0, "top_k": 1}, [0]),  # top-k first would keep the penalised token
        ({"temperature": 0.2, "top_p": 0.8}, [0, 1]),  # top-p first sees the flatter probabilities
        ({"temperature": 0.2, "min_p": 0.2}, [0, 1]),
        ({"top_k": 2, "top_p": 0.7}, [0, 1]),  # top-p first counts the probability that top-k takes away
        ({"no_repeat_ngram_size": 1, "top_k": 1}, []),  # top-k first leaves nothing
    ],
    ids=str,
)
def test_the_order_matters(settings, other_way_round):
    logits, texts = torch.tensor([[2.0, 1.0, 0.0]]), [[0]]
    one_way = kept(Settings(do_sample=True, **settings).process(logits, texts))
    for name, value in reversed(settings.items()):
        logits = Settings(do_sample=True, **{name: value}).process(logits, texts)
    assert [other_way_round] == kept(logits) != one_way


def test_the_most_likely():
    logits = torch.tensor([[0.1, 0.5, 0.16, 0.24], [0.4, 0.1, 0.3, 0.2]]).log()
    [[(a, p), *_], second] = most_likely(logits, 2)
    assert a == 1 and p == pytest.approx(0.5) and [token for token, _ in second] == [0, 2]
    assert [len(row) for row in most_likely(logits, 99)] == [4, 4]


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_a_penalty_lowers_positive_and_negative_logits_of_what_was_said_once_however_often():
    logits = torch.tensor([[3.0, -3.0, 0.0, 3.0, -3.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    penalized = penalize_repetition(logits, [[0, 1, 2, 0, 0], [4]], 2.0)
    assert penalized.tolist() == [[1.5, -6.0, 0.0, 3.0, -3.0], [1.0, 1.0, 1.0, 1.0, 0.5]]
    assert torch.equal(penalize_repetition(logits, [[0, 1], [2]], 1.0), logits)
    assert penalize_repetition(logits, [[0, 1], [2]], 0.5)[0].tolist() == [6.0, -1.5, 0.0, 3.0, -3.0]


def test_ngrams_that_a_text_holds_are_not_completed():
    logits = torch.zeros(1, 6)
    text = [1, 2, 3, 1, 2, 4, 1, 2]
    for n, forbidden in [(1, {1, 2, 3, 4}), (2, {3, 4}), (3, {3, 4}), (4, set()), (8, set()), (9, set()), (99, set())]:
        assert kept(forbid_repeated_ngrams(logits, [text], n)) == [[t for t in range(6) if t not in forbidden]], n
    assert kept(forbid_repeated_ngrams(logits, [[5, 5, 5]], 3)) == [[0, 1, 2, 3, 4]]  # they may overlap
    assert kept(forbid_repeated_ngrams(logits, [[2, 5]], 2)) == [[0, 1, 2, 3, 4, 5]]
    two_rows = forbid_repeated_ngrams(torch.zeros(2, 6), [[1, 2, 1], [0, 3, 0]], 2)
    assert kept(two_rows) == [[0, 1, 3, 4, 5], [0, 1, 2, 4, 5]]


def test_where_every_token_would_be_forbidden_none_is():
    logits = torch.tensor([[1.0, 2.0]])
    assert torch.equal(forbid_repeated_ngrams(logits, [[0, 1]], 1), logits)
    assert kept(forbid_repeated_ngrams(logits, [[0, 0]], 1)) == [[1]]


def test_temperature_divides():
    logits = torch.tensor([[1.0, -2.0, -torch.inf]])
    assert apply_temperature(logits, 0.5).tolist() == [[2.0, -4.0, -torch.inf]]


def test_top_k_keeps_ties():
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]])
    assert kept(keep_top_k(logits, 2)) == [[1, 2, 3]]
    assert kept(keep_top_k(logits, 1)) == [[1]]
    assert torch.equal(keep_top_k(logits, 99), logits)


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    for p, tokens in [(0.4, [1]), (0.51, [1, 3]), (0.74, [1, 3]), (0.76, [1, 2, 3]), (1.0, [0, 1, 2, 3]), (1e-9, [1])]:
        assert kept(keep_top_p(logits, p)) == [tokens], p


def test_min_p_is_a_share_of_the_largest_probability():
    logits = torch.tensor([[0.1, 0.5, 0.16, 0.24]]).log()
    for p, tokens in [(0.0, [0, 1, 2, 3]), (0.19, [0, 1, 2, 3]), (0.3, [1, 2, 3]), (0.4, [1, 3]), (0.5, [1]), (1, [1])]:
        assert kept(keep_min_p(logits, p)) == [tokens], p
    assert kept(keep_min_p(torch.zeros(1, 3), 1.0)) == [[0, 1, 2]]  # ties with the largest
