"""Perplexity with a sliding window: one loss per token, and every way of averaging them.

A text is longer than the context, so it is cut into windows. With stride < window they overlap: a window's first
tokens are only context, and its last `stride` are scored (the lecture sets the labels of the others to -100).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from ..fast.loss_without_logits import LanguageModelLoss
from ..models import GPT2
from ..models.gpt2 import check_ids, eval_mode


class Window(NamedTuple):
    """Tokens begin..end-1 are read; of these, first_target..end-1 are scored. `n_new` is the lecture's trg_len."""

    begin: int
    end: int
    n_new: int  # tokens that no earlier window has read

    @property
    def first_target(self) -> int:
        return max(self.begin + 1, self.end - self.n_new)  # the first token of a window has no predecessor in it


def sliding_windows(n_tokens: int, window: int, stride: int) -> list[Window]:
    """The lecture's loop over begin_loc, end_loc and trg_len. It ends with the first window that reaches the end.

    With stride < window every token but the first is a target in exactly one window. With stride = window the windows
    only touch, and the token behind each seam is never scored; published numbers are made that way, too.
    Raises ValueError for fewer than two tokens, window < 2, stride < 1, or stride > window, which would leave holes.
    """
    if n_tokens < 2:
        raise ValueError(f"the text has {n_tokens} tokens; at least 2 are needed to score one")
    if not isinstance(window, int) or window < 2:
        raise ValueError(f"window must be an integer of at least 2, got {window!r}")
    if not isinstance(stride, int) or not 1 <= stride <= window:
        raise ValueError(f"stride must be between 1 and window={window}, got {stride!r}")
    windows = []
    read = 0
    for begin in range(0, n_tokens, stride):
        end = min(begin + window, n_tokens)
        windows.append(Window(begin, end, end - read))
        read = end
        if end == n_tokens:
            break
    # A last window of a single token, possible at stride = window, has nothing to predict.
    return [window for window in windows if window.first_target < window.end]


@dataclass(frozen=True)
class Scores:
    """The ledger: nll (N,) float64, the loss of each token in nats, nan where it was not scored; and the windows."""

    nll: np.ndarray
    windows: list[Window]
    window: int | None = None  # as asked for: the last windows may be shorter
    stride: int | None = None

    @cached_property
    def window_index(self) -> np.ndarray:
        """(N,) the window in which each token was scored, -1 where in none."""
        index = np.full(len(self.nll), -1)
        for number, window in enumerate(self.windows):
            index[window.first_target : window.end] = number
        return index

    @cached_property
    def context_length(self) -> np.ndarray:
        """(N,) how many tokens the model saw before each scored token; 0 where it was not scored."""
        begins = np.array([window.begin for window in self.windows])[self.window_index]
        return np.where(self.window_index < 0, 0, np.arange(len(self.nll)) - begins)

    @property
    def n_scored(self) -> int:
        return int((~np.isnan(self.nll)).sum())

    @property
    def n_seams(self) -> int:
        """Tokens behind the first that no window could score: at stride = window each window's first."""
        return len(self.nll) - 1 - self.n_scored

    @property
    def total(self) -> float:
        """Σ nll over the scored tokens, in nats."""
        return float(np.nansum(self.nll))

    @property
    def perplexity(self) -> float:
        """exp(Σ nll / n_scored): every scored token weighs the same."""
        return _exp(self.total / self.n_scored)

    @property
    def window_mean_perplexity(self) -> float:
        """The lecture's number: exp of the mean of the windows' means. A short last window weighs as much as a full.

        (A last window of a single token scores nothing and does not count; in the lecture's loop its mean is nan.)
        """
        return _exp(np.mean(self._window_means()))

    @property
    def docs_perplexity(self) -> float:
        """Today's Hugging Face documentation: the windows' means weighted by trg_len - 1.

        Right for the first window, whose first token has no predecessor; one too few for every other. nan where the
        weights are all 0.
        """
        weights = np.array([window.n_new - 1 for window in self.windows])
        return _exp(weights @ self._window_means() / weights.sum()) if weights.any() else math.nan

    def word_perplexity(self, n_words: int) -> float:
        """exp(Σ nll / n_words), the unit of papers with word-level vocabularies."""
        return _exp(self._whole_total() / _positive("n_words", n_words))

    def bits_per_byte(self, n_bytes: int) -> float:
        """Σ nll / (ln 2 · n_bytes): does not depend on the tokenizer. n_bytes is the UTF-8 length of the text."""
        return self._whole_total() / math.log(2) / _positive("n_bytes", n_bytes)

    def _whole_total(self) -> float:
        """Σ nll of the whole text: tokens on seams, which nobody scored, count with the mean of the others."""
        return self.total * (len(self.nll) - 1) / self.n_scored

    def _window_means(self) -> np.ndarray:
        return np.array([self.nll[window.first_target : window.end].mean() for window in self.windows])


def _exp(nats: float) -> float:
    """exp, and inf beyond e^709: Chinese has no blanks, a whole page may be one "word"."""
    return math.exp(nats) if nats < 709 else math.inf


def _positive(name: str, value: int) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return value


class Aggregation(NamedTuple):
    """One way to make a single number of the ledger."""

    name: str  # in data
    formula: str
    source: str
    value: Callable[[Scores, int, int], float]  # of (scores, words in the text, bytes in the text)


# w is a window, n_w the tokens it scores; trg_len_w is n_w, but n_w + 1 in the first window and behind a seam.
AGGREGATIONS = [
    Aggregation("perplexity", "exp(Σ nll / n)", "exact: every scored token weighs the same",
                lambda scores, n_words, n_bytes: scores.perplexity),
    Aggregation("window_mean_perplexity", "exp(mean_w(Σ_w nll / n_w))", "the lecture: a mean of the windows' means",
                lambda scores, n_words, n_bytes: scores.window_mean_perplexity),
    Aggregation("docs_perplexity", "exp(Σ_w (trg_len_w - 1) Σ_w nll / n_w / Σ_w (trg_len_w - 1))",
                "today's Hugging Face documentation (transformers #34387)",
                lambda scores, n_words, n_bytes: scores.docs_perplexity),
    Aggregation("word_perplexity", "exp(Σ nll / words)", "papers with word vocabularies; GPT-2's, table 3",
                lambda scores, n_words, n_bytes: scores.word_perplexity(n_words) if n_words else math.nan),
    Aggregation("bits_per_byte", "Σ nll / (ln 2 · bytes)", "the one that tokenizers cannot change",
                lambda scores, n_words, n_bytes: scores.bits_per_byte(n_bytes)),
]  # fmt: skip


@torch.inference_mode()
def score(
    model: GPT2, tokens: list[int], window: int | None = None, stride: int | None = None, batch_size: int | None = None
) -> Scores:
    """Score a text, token by token. window None = the context length, stride None = half a window.

    batch_size windows go through the model at once (None = as many as make 1024 tokens on the CPU, whose caches then
    hold them, and 16384 elsewhere); the answer does not depend on it beyond rounding. Logits are computed only where
    they are scored, and never all at once. Losses of half-precision models are computed in float32; the ledger is
    float64.
    Raises ValueError, before any work, as `sliding_windows` does, for an id out of range, a window beyond the context,
    or a batch_size below 1; FloatingPointError for a loss that is no number, instead of leaving it out of the average.
    """
    n_positions = model.config.n_positions
    window = n_positions if window is None else window
    if isinstance(window, int) and window > n_positions:
        raise ValueError(f"window must be at most the context length n_positions={n_positions}, got {window}")
    tokens = torch.as_tensor(tokens)
    if tokens.dim() != 1 or (len(tokens) and tokens.is_floating_point()):
        raise ValueError(f"tokens must be one row of integer ids, got {tokens.dtype} {tuple(tokens.shape)}")
    if stride is None and isinstance(window, int):
        stride = max(1, window // 2)
    windows = sliding_windows(len(tokens), window, stride)
    device = model.token_embedding.weight.device
    at_once = 1024 if device.type == "cpu" else 16384
    batch_size = max(1, at_once // window) if batch_size is None else _positive("batch_size", batch_size)

    tokens = tokens.long()
    check_ids("token id", tokens[None], model.config.vocab_size, "vocab_size")
    nll, loss_of = np.full(len(tokens), np.nan), LanguageModelLoss(model)
    with eval_mode(model):
        for batch in tqdm(_same_shape(windows, batch_size), desc="scoring", leave=False, delay=2, disable=None):
            rows = torch.stack([tokens[w.begin : w.end] for w in batch]).to(device)
            n_targets = batch[0].end - batch[0].first_target
            labels = rows.clone()
            labels[:, :-n_targets] = -100  # only context
            losses = loss_of(rows, labels, reduction="none")[:, -n_targets:]
            if not losses.isfinite().all():
                raise FloatingPointError(
                    f"the model's loss is not finite between tokens {batch[0].begin} and {batch[-1].end}"
                )
            for w, row in zip(batch, losses.double().cpu().numpy(), strict=True):
                nll[w.first_target : w.end] = row
    return Scores(nll, windows, window, stride)


def _same_shape(windows: list[Window], batch_size: int) -> list[list[Window]]:
    """Consecutive windows of one length with as many targets, up to batch_size together."""
    batches = []
    for _, group in groupby(windows, key=lambda w: (w.end - w.begin, w.end - w.first_target)):
        group = list(group)
        batches += [group[first : first + batch_size] for first in range(0, len(group), batch_size)]
    return batches
