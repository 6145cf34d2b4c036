"""Windows, the losses and their averages, against loops written as the lecture and the documentation write them."""

import math
import random
import time

import numpy as np
import pytest
import torch
import transformers
from oracle import pair

from minigpt import load_model
from minigpt.fast import loss_without_logits
from minigpt.loss import cross_entropy
from minigpt.perplexity import AGGREGATIONS, Scores, TextSize, Window, lecture_perplexity, score, sliding_windows


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
            unscored = set(range(window, n_tokens, window)) if stride == window else set()
            assert sorted(targets) == [t for t in range(1, n_tokens) if t not in unscored]
            assert all(0 < w.end - w.begin <= window and w.first_target > w.begin for w in windows)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((1, 8, 4), "1 tokens"),
        ((0, 8, 4), "0 tokens"),
        ((9, 1, 1), "window.*1"),
        ((9, 8, 0), "stride.*0"),
        ((9, 8, 9), "stride must be an integer from 1 to 8, got 9"),
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
def brute_force(theirs, tokens, window, stride, whole_windows=False):
    """Each token's loss from a forward pass over the tokens of its window before it, or over its whole window."""
    nll = np.full(len(tokens), np.nan)
    for w in sliding_windows(len(tokens), window, stride):
        together = theirs(torch.tensor([tokens[w.begin : w.end]])).logits[0] if whole_windows else None
        for t in range(w.first_target, w.end):
            if whole_windows:
                logits = together[t - 1 - w.begin]
            else:
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


@torch.no_grad()
def losses_by_context(theirs, tokens) -> np.ndarray:
    """[t, c]: the loss of token t after c tokens of context, one forward pass for each beginning."""
    table = np.full((len(tokens), len(tokens)), np.nan)
    for begin in range(len(tokens) - 1):
        log_probabilities = theirs(torch.tensor([tokens[begin:]])).logits[0].log_softmax(-1)
        for t in range(begin + 1, len(tokens)):
            table[t, t - begin] = -log_probabilities[t - begin - 1, tokens[t]].item()
    return table


def expected_losses(table, n_tokens, window, stride) -> tuple[np.ndarray, np.ndarray]:
    """Each token's loss and context, from the first window that holds it: no list of windows is needed."""
    nll, context = np.full(n_tokens, np.nan), np.zeros(n_tokens, dtype=int)
    for t in range(n_tokens):
        number = max(0, -(-(t + 1 - window) // stride))  # of the first window with begin + window > t
        if t > number * stride:
            context[t] = t - number * stride
            nll[t] = table[t, context[t]]
    return nll, context


def assert_losses(ours, table, tokens, window, stride):
    scores = score(ours, tokens, window, stride, batch_size=3)
    nll, context = expected_losses(table, len(tokens), window, stride)
    where = f"N={len(tokens)}, window={window}, stride={stride}"
    assert np.array_equal(np.isnan(scores.nll), np.isnan(nll)), where
    assert np.nanmax(np.abs(scores.nll - nll), initial=0) < 1e-12, where
    assert np.array_equal(scores.context_length, context), where
    for t, number in enumerate(scores.window_index):
        assert number == -1 if np.isnan(nll[t]) else scores.windows[number].begin == t - context[t], where
    if stride < window:
        assert scores.n_scored == len(tokens) - 1 and scores.n_unscored == 0, where
    assert scores.n_scored + scores.n_unscored == len(tokens) - 1


@pytest.fixture(scope="module")
def forty_tokens():
    ours, theirs = pair(12, n_positions=41, n_layer=1, n_embd=8, n_head=2)
    tokens = torch.randint(ours.config.vocab_size, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    return ours, losses_by_context(theirs, tokens), tokens


@pytest.mark.parametrize("n_tokens", range(2, 41))
def test_the_losses_are_right_for_every_window_and_stride(forty_tokens, n_tokens, full):
    """All (N, window, stride) with N up to 40, or a fifth of them."""
    ours, table, tokens = forty_tokens
    for window in range(2, n_tokens + 2):
        for stride in range(1, window + 1):
            if full or (n_tokens + 2 * window + stride) % 5 == 0:
                assert_losses(ours, table, tokens[:n_tokens], window, stride)


def pytest_generate_tests(metafunc):
    if "seed_of_text" in metafunc.fixturenames:
        metafunc.parametrize("seed_of_text", range(50 if metafunc.config.getoption("--full") else 10))


def test_the_losses_are_right_for_longer_texts(seed_of_text):
    seed, rng = seed_of_text, random.Random(seed_of_text)
    ours, theirs = pair(seed, n_positions=64)
    tokens = [rng.randrange(ours.config.vocab_size) for _ in range(rng.randint(60, 400))]
    window = rng.randint(2, 64)
    stride = rng.randint(1, window)
    expected = brute_force(theirs, tokens, window, stride, whole_windows=True)
    scores = score(ours, tokens, window, stride, batch_size=rng.randint(1, 9))
    assert np.array_equal(np.isnan(scores.nll), np.isnan(expected))
    assert np.nanmax(np.abs(scores.nll - expected)) < 1e-12
    assert scores.window == window and scores.stride == stride


def lecture_seconds_and_number(theirs, tokens, window, stride):
    """The lecture's loop as it stands, Hugging Face's own loss included."""
    start = time.perf_counter()
    loss_of = lambda input_ids, labels: theirs(input_ids, labels=labels).loss  # noqa: E731
    number = lecture_perplexity(loss_of, torch.tensor([tokens]), window, stride).item()
    return time.perf_counter() - start, number


def test_wikitext_in_less_time_than_the_lectures_loop(wikitext, tiny_folder, tiny_tokenizer, full):
    """The tiny model, stride = window / 2: the lecture's number on the whole test set (--full), or on its start."""
    tokens = tiny_tokenizer.encode(wikitext)[: None if full else 6000]
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tiny_folder).eval()
    ours = load_model("tiny", attention="sdpa")
    parts = np.array_split(np.array(tokens), 5) if full else [np.array(tokens)]
    ratios = []
    for part in parts:
        theirs_seconds, expected = lecture_seconds_and_number(theirs, part.tolist(), 256, 128)
        start = time.perf_counter()
        measured = score(ours, part, 256, 128).window_mean_perplexity
        ratios.append((time.perf_counter() - start) / theirs_seconds)
        assert measured == pytest.approx(expected, rel=1e-5)
    ratio = sorted(ratios)[len(ratios) // 2]
    print(f"our time / the lecture's loop's: {ratio:.2f}")
    if full:  # on a busy machine a time of one second says little
        assert ratio <= 0.75


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
    original = loss_without_logits._row_losses

    def spy(rows, weight, targets):
        asked.append(len(rows))
        return original(rows, weight, targets)

    monkeypatch.setattr(loss_without_logits, "_row_losses", spy)
    scores = score(ours, [1, 2, 3] * 40)
    assert sum(asked) == scores.n_scored == 119


def test_units():
    scores = Scores(np.array([np.nan, 1.0, 2.0, 3.0]), [Window(0, 4, 4)])
    assert scores.n_scored == 3
    assert scores.perplexity == pytest.approx(math.exp(2))
    assert scores.word_perplexity(2) == pytest.approx(math.exp(3))
    assert scores.character_perplexity(4) == pytest.approx(math.exp(1.5))
    assert scores.bits_per_byte(12) == pytest.approx(0.5 / math.log(2))
    for bad in (scores.word_perplexity, scores.character_perplexity, scores.bits_per_byte):
        with pytest.raises(ValueError, match="got 0"):
            bad(0)


def test_a_page_without_blanks_is_one_word_of_infinite_perplexity():
    """Chinese text without blanks counts as one word: exp(720) is too large for float64; it is inf, and no error."""
    page = Scores(np.array([math.nan, *[3.0] * 240]), [Window(0, 241, 241)])
    assert page.word_perplexity(1) == math.inf
    assert page.word_perplexity(2) == pytest.approx(math.exp(360))


@pytest.mark.parametrize(
    "text, n_words",
    [
        ("Return the number.\n", 3),
        ("one\ntwo\n", 2),
        ("가는 말이 고와야 오는 말이 곱다", 6),  # Korean has spaces
        ("GPT-2 是 a model of language 模型", 7),  # most letters are Latin
        ("春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n", 0),  # lines, not words
        ("春眠 GPT 不觉晓", 0),
        ("国境の長いトンネルを抜けると 雪国であった。", 0),
        ("กรุงเทพ มหานคร", 0),
        ("onelongword" * 9, 0),
        ("\n", 0),
    ],
)
def test_words_are_counted_where_spaces_mark_them(text, n_words):
    assert TextSize.of(text) == (n_words, len(text), len(text.encode()))


def test_every_aggregation_has_its_formula():
    """The table against the formulas worked out by hand: a first window of 3 losses, a last one of a single loss."""
    scores = Scores(np.array([np.nan, 1.0, 2.0, 3.0, 6.0]), [Window(0, 4, 4), Window(2, 5, 1)])
    expected = {
        "perplexity": math.exp(12 / 4),
        "window_mean_perplexity": math.exp((2 + 6) / 2),
        "docs_perplexity": math.exp((3 * 2 + 0 * 6) / 3),
        "word_perplexity": math.exp(12 / 6),
        "character_perplexity": math.exp(12 / 12),
        "bits_per_byte": 12 / math.log(2) / 24,
    }
    assert {a.name: pytest.approx(a.value(scores, TextSize(6, 12, 24))) for a in AGGREGATIONS} == expected
    assert all(a.formula and a.source for a in AGGREGATIONS)
    assert math.isnan(next(a for a in AGGREGATIONS if a.name == "word_perplexity").value(scores, TextSize(0, 12, 24)))
    assert scores.window_index.tolist() == [-1, 0, 0, 0, 1] and scores.context_length.tolist() == [0, 1, 2, 3, 2]


def test_a_hopeless_model_has_infinite_perplexity():
    scores = Scores(np.array([np.nan, 800.0]), [Window(0, 2, 2)])
    assert scores.perplexity == scores.window_mean_perplexity == scores.docs_perplexity == math.inf


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_whole(dtype):
    """The losses of a half-precision model are float32 of its logits, and the table is float64."""
    ours = pair(8, torch.float32, n_positions=24)[0].to(dtype)
    tokens = [1, 2, 3, 4, 5] * 4
    scores = score(ours, tokens)
    with torch.no_grad():
        logits = ours(torch.tensor([tokens]))[0, :-1].float()
    expected = -logits.log_softmax(-1)[torch.arange(19), torch.tensor(tokens[1:])].double().numpy()
    assert scores.nll.dtype == np.float64 and np.abs(scores.nll[1:] - expected).max() < 1e-5
    assert not np.array_equal(scores.nll[1:], scores.nll[1:].astype(np.float16))


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
        ([1, 2, 3], {"window": 25}, "24 tokens, got 25"),
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
