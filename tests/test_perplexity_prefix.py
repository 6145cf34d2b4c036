"""With a prefix every token is scored: the rolling log-likelihoods of EleutherAI's lm-evaluation-harness."""

import numpy as np
import pytest
import torch
from oracle import pair

from minigpt import load_model
from minigpt.perplexity import Window, score, sliding_windows, windows_after_prefix

CONTEXT = 12


@pytest.fixture(scope="module")
def models():
    """(ours, Hugging Face's) with a context of CONTEXT tokens, all parameters random, float64."""
    return pair(8, n_positions=CONTEXT, vocab_size=50)


def rolling_log_likelihoods(model, tokens, prefix_token, max_seq_len, context_len):
    """As the harness does it: list what each window reads and predicts, and ask the model for each alone."""
    requests, n_done = [], 0
    while n_done < len(tokens):
        if n_done == 0:
            predicted = tokens[:max_seq_len]
            read = [prefix_token, *predicted[:-1]]
        else:
            predicted = tokens[n_done : n_done + max_seq_len - context_len + 1]
            end = n_done + len(predicted)
            read = [prefix_token, *tokens][max(0, end - max_seq_len) : end]
        requests.append((read, predicted))
        n_done += len(predicted)
    likelihoods = []
    for read, predicted in requests:
        assert len(read) <= max_seq_len
        log_softmax = model(torch.tensor([read])).logits[0].log_softmax(dim=-1)[-len(predicted) :]
        likelihoods += log_softmax[torch.arange(len(predicted)), predicted].tolist()
    return np.array(likelihoods)


@pytest.mark.parametrize("n_tokens", [1, 2, 11, 12, 13, 23, 24, 25, 40])
@torch.no_grad()
def test_the_losses_are_the_harnesss(models, n_tokens):
    ours, theirs = models
    text = torch.randint(ours.vocab_size, (n_tokens,), generator=torch.Generator().manual_seed(n_tokens)).tolist()
    for window, stride in [(12, 12), (12, 6), (12, 1), (5, 5), (5, 3), (2, 2), (2, 1)]:
        expected = -rolling_log_likelihoods(theirs, text, 3, window, context_len=window - stride + 1)
        scores = score(ours, text, window, stride, prefix=[3])
        assert scores.nll == pytest.approx(expected, abs=1e-12)
        assert scores.n_scored == n_tokens and scores.n_unscored == 0
        assert scores.whole_total == pytest.approx(expected.sum(), abs=1e-10)
        assert scores.perplexity == pytest.approx(np.exp(expected.mean()))


@pytest.mark.parametrize("n_prefix", [1, 2, 5])
def test_every_token_is_a_target_once_and_windows_are_full(n_prefix):
    for n_tokens in range(1, 30):
        for window in range(max(2, n_prefix), 9):
            for stride in range(1, window + 1):
                windows = windows_after_prefix(n_tokens, window, stride, n_prefix)
                assert [t for w in windows for t in range(w.first_target, w.end)] == list(range(n_tokens))
                for first, w in enumerate(windows):
                    assert w.end - w.begin - 1 <= window  # the last token is not read
                    assert w.end - w.begin - 1 == min(
                        window, n_prefix + w.end - 1
                    )  # and no token that fits is left out
                    assert first == 0 or w.end - w.first_target <= stride


def test_a_longer_prefix_is_read(models):
    ours, theirs = models
    text, prefix = [5, 6, 7, 8], [9, 10, 11]
    with torch.no_grad():
        logits = theirs(torch.tensor([[*prefix, *text]])).logits[0, 2:-1].log_softmax(dim=-1)
    assert score(ours, text, prefix=prefix).nll == pytest.approx(-logits[torch.arange(4), text].numpy(), abs=1e-12)
    scores = score(ours, text, prefix=prefix)
    assert scores.windows == [Window(-3, 4, 4)] and scores.context_length.tolist() == [3, 4, 5, 6]
    assert scores.window_index.tolist() == [0] * 4


def test_batches_and_half_precision_change_nothing_else(models):
    ours, _ = models
    text = torch.randint(ours.vocab_size, (50,), generator=torch.Generator().manual_seed(0)).tolist()
    alone = score(ours, text, 8, 3, batch_size=1, prefix=[1]).nll
    assert score(ours, text, 8, 3, batch_size=5, prefix=[1]).nll == pytest.approx(alone, abs=1e-12)


def test_without_a_prefix_nothing_changes(models):
    ours, _ = models
    text = list(range(30))
    scores = score(ours, text, 8, 4, prefix=None)
    assert scores.windows == sliding_windows(30, 8, 4) and np.isnan(scores.nll[0]) and scores.n_scored == 29


def test_the_built_in_model_at_its_whole_context():
    """The model reads 256 tokens and predicts 256: with a 257th token in a window it would refuse."""
    model = load_model("tiny", attention="sdpa")
    text = torch.randint(model.vocab_size, (600,), generator=torch.Generator().manual_seed(0)).tolist()
    scores = score(model, text, 256, 256, prefix=[4095])
    assert [(w.begin, w.end) for w in scores.windows] == [(-1, 256), (255, 512), (343, 600)]
    assert scores.n_scored == 600 and np.isfinite(scores.nll).all()


@pytest.mark.parametrize(
    "prefix, words",
    [
        ([], "the number of tokens in prefix must be an integer from 1 to 12, got 0"),
        (range(13), "the number of tokens in prefix must be an integer from 1 to 12, got 13"),
        ([1, 1000], "token id of prefix 1000 at row 0, column 1"),
        ([1, -1], "token id of prefix -1"),
        ([1, "x"], "prefix must be a list of integer token ids"),
        ("abc", "prefix must be"),
        (7, "prefix must be"),
    ],
)
def test_a_bad_prefix_is_refused(models, prefix, words):
    with pytest.raises(ValueError, match=words):
        score(models[0], [1, 2, 3], prefix=prefix)
    with pytest.raises(ValueError, match="n_tokens must be an integer of at least 1, got 0"):
        score(models[0], [], prefix=[1])
