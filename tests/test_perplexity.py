"""Windows, the ledger and its averages, against loops written as the lecture and the documentation write them."""

import math

import numpy as np
import pytest
import torch
from oracle import pair

from minigpt.loss import cross_entropy
from minigpt.perplexity import Scores, Window, score, sliding_windows


@pytest.mark.parametrize(
    "stride, n_windows, n_scored",
    [(512, 561, 287_643), (1024, 281, 287_363), (1023, 282, 287_643), (32, 8958, 287_643)],
)
def test_the_windows_of_wikitext(stride, n_windows, n_scored):
    windows = sliding_windows(287_644, 1024, stride)
    assert len(windows) == n_windows
    assert sum(window.end - window.first_target for window in windows) == n_scored


def test_the_lectures_first_windows():
    windows = sliding_windows(287_644, 1024, 512)
    assert windows[:3] == [Window(0, 1024, 1024), Window(512, 1536, 512), Window(1024, 2048, 512)]
    # Erratum: only the first window scores trg_len - 1 labels; later ones score all trg_len.
    assert [window.end - window.first_target for window in windows[:3]] == [1023, 512, 512]
    # Erratum: the progress bar counts to 562, the loop ends after 561.
    assert len(range(0, 287_644, 512)) == 562 and len(windows) == 561 and windows[-1].end == 287_644


@pytest.mark.parametrize("n_tokens", range(2, 26))
def test_every_token_is_a_target_once(n_tokens):
    for window in range(2, 14):
        for stride in range(1, window + 1):
            windows = sliding_windows(n_tokens, window, stride)
            targets = [t for w in windows for t in range(w.first_target, w.end)]
            seams = set(range(window, n_tokens, window)) if stride == window else set()
            assert sorted(targets) == [t for t in range(1, n_tokens) if t not in seams]
            assert all(0 < w.end - w.begin <= window and w.first_target > w.begin for w in windows)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((1, 8, 4), "1 tokens"),
        ((0, 8, 4), "0 tokens"),
        ((9, 1, 1), "window.*1"),
        ((9, 8, 0), "stride.*0"),
        ((9, 8, 9), "stride must be between 1 and window=8, got 9"),
    ],
)
def test_windows_refuse(arguments, words):
    with pytest.raises(ValueError, match=words):
        sliding_windows(*arguments)


def lecture_loop(theirs, tokens, max_length, stride):
    """The lecture's loop on Hugging Face's model: mean of the windows' means. The loss is torch's in float64."""
    input_ids = torch.tensor([tokens])
    nlls, prev_end_loc = [], 0
    for begin_loc in range(0, len(tokens), stride):
        end_loc = min(begin_loc + max_length, len(tokens))
        trg_len = end_loc - prev_end_loc
        target_ids = input_ids[:, begin_loc:end_loc].clone()
        target_ids[:, :-trg_len] = -100
        logits = theirs(input_ids[:, begin_loc:end_loc]).logits
        nlls.append((torch.nn.functional.cross_entropy(logits[0, :-1], target_ids[0, 1:]), target_ids))
        prev_end_loc = end_loc
        if end_loc == len(tokens):
            break
    return nlls


def lecture_number(nlls):
    return torch.exp(torch.stack([nll for nll, _ in nlls]).mean()).item()


def documentation_number(nlls):
    """The loop in today's documentation: num_valid_tokens - batch_size for every window."""
    counts = [(target_ids != -100).sum() - 1 for _, target_ids in nlls]
    total = sum(nll * count for (nll, _), count in zip(nlls, counts, strict=True))
    return torch.exp(total / sum(counts)).item()


@torch.no_grad()
def brute_force(theirs, tokens, window, stride):
    """Each token's loss from a forward pass over its own window."""
    nll = np.full(len(tokens), np.nan)
    for w in sliding_windows(len(tokens), window, stride):
        for t in range(w.first_target, w.end):
            logits = theirs(torch.tensor([tokens[w.begin : t]])).logits[0, -1]
            nll[t] = -logits.log_softmax(-1)[tokens[t]].item()
    return nll


CASES = [(100, 24, 12), (25, 24, 12), (40, 24, 12), (100, 24, 1), (60, 24, 24), (30, 10, 7), (9, 24, 12), (2, 24, 12)]


@pytest.mark.parametrize("n_tokens, window, stride", CASES)
@torch.no_grad()
def test_three_columns_come_out_of_three_loops(n_tokens, window, stride):
    ours, theirs = pair(8, n_positions=24)
    tokens = torch.randint(ours.config.vocab_size, (n_tokens,), generator=torch.Generator().manual_seed(1)).tolist()
    scores = score(ours, tokens, window, stride)
    nlls = lecture_loop(theirs, tokens, window, stride)
    assert scores.window_mean_perplexity == pytest.approx(lecture_number(nlls), rel=1e-12)
    assert scores.docs_perplexity == pytest.approx(documentation_number(nlls), rel=1e-12)
    expected = brute_force(theirs, tokens, window, stride)
    assert np.array_equal(np.isnan(scores.nll), np.isnan(expected))
    assert np.nanmax(np.abs(scores.nll - expected)) < 1e-12
    assert scores.perplexity == pytest.approx(math.exp(np.nanmean(expected)), rel=1e-12)
    assert scores.n_scored == np.isfinite(expected).sum()


def test_documentation_forgets_tokens_at_stride_one():
    windows = sliding_windows(1000, 64, 1)
    assert sum(window.n_new - 1 for window in windows) == 63
    assert sum(window.end - window.first_target for window in windows) == 999


def test_documentation_can_be_left_with_nothing():
    assert math.isnan(Scores(np.array([np.nan, 1.0]), [Window(0, 2, 1)]).docs_perplexity)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batch_size_does_not_change_the_answer(batch_size):
    ours, _ = pair(8, n_positions=24)
    tokens = torch.randint(ours.config.vocab_size, (150,), generator=torch.Generator().manual_seed(1)).tolist()
    expected = score(ours, tokens, 20, 7).nll
    assert np.nanmax(np.abs(score(ours, tokens, 20, 7, batch_size).nll - expected)) < 1e-12


def test_defaults_are_the_context_and_half_of_it():
    ours, _ = pair(8, n_positions=24)
    tokens = [1, 2, 3] * 20
    assert score(ours, tokens).windows == sliding_windows(60, 24, 12)
    assert np.array_equal(score(ours, tokens).nll, score(ours, np.array(tokens)).nll, equal_nan=True)


def test_logits_are_computed_only_where_they_are_scored(monkeypatch):
    ours, _ = pair(8, n_positions=24)
    asked = []
    original = ours.logits
    monkeypatch.setattr(ours, "logits", lambda hidden: asked.append(hidden[..., 0].numel()) or original(hidden))
    scores = score(ours, [1, 2, 3] * 40)
    assert sum(asked) == scores.n_scored == 119


def test_units():
    scores = Scores(np.array([np.nan, 1.0, 2.0, 3.0]), [Window(0, 4, 4)])
    assert scores.n_scored == 3
    assert scores.perplexity == pytest.approx(math.exp(2))
    assert scores.word_perplexity(2) == pytest.approx(math.exp(3))
    assert scores.bits_per_byte(12) == pytest.approx(0.5 / math.log(2))
    for bad in (scores.word_perplexity, scores.bits_per_byte):
        with pytest.raises(ValueError, match="got 0"):
            bad(0)


def test_a_page_without_blanks_is_one_word_of_infinite_perplexity():
    """Chinese text, split at blanks: exp(720) is beyond float64, and no reason to fail."""
    page = Scores(np.array([math.nan, *[3.0] * 240]), [Window(0, 241, 241)])
    assert page.word_perplexity(1) == math.inf
    assert page.word_perplexity(2) == pytest.approx(math.exp(360))


def test_a_text_of_one_window_is_the_loss(tiny, tiny_tokenizer):
    tokens = tiny_tokenizer.encode("Return the number of items in the list.")
    with torch.no_grad():
        logits = tiny(torch.tensor([tokens]))[0, :-1]
    expected = cross_entropy(logits, torch.tensor(tokens[1:])).exp().item()
    scores = score(tiny, tokens)
    for value in (scores.perplexity, scores.window_mean_perplexity, scores.docs_perplexity):
        assert value == pytest.approx(expected, rel=1e-5)


def test_a_model_in_training_is_scored_without_dropout_and_left_in_training():
    ours, _ = pair(8, n_positions=24, resid_pdrop=0.5)
    expected = score(ours, [1, 2, 3] * 20).nll
    ours.train()
    assert np.array_equal(score(ours, [1, 2, 3] * 20).nll, expected, equal_nan=True) and ours.training


def test_a_loss_that_is_no_number_is_not_left_out():
    ours, _ = pair(8, n_positions=24)
    with torch.no_grad():
        ours.position_embedding.weight[20] = torch.nan
    with pytest.raises(FloatingPointError, match="between tokens 0 and"):
        score(ours, [1, 2, 3] * 20)


@pytest.mark.parametrize(
    "tokens, settings, words",
    [
        ([1], {}, "1 tokens"),
        ([1, 2, 3], {"window": 25}, "n_positions=24, got 25"),
        ([1, 2, 3], {"stride": 25}, "stride"),
        ([1, 2, 3], {"stride": 0}, "stride"),
        ([1, 2, 3], {"batch_size": 0}, "batch_size"),
        ([1, 999, 3], {}, "token id 999"),
    ],
)
def test_score_refuses(tokens, settings, words):
    ours, _ = pair(8, n_positions=24)
    with pytest.raises(ValueError, match=words):
        score(ours, tokens, **settings)
