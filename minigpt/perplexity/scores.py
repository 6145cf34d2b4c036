"""One loss per token, and every way of averaging them."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._checks import integer
from .windows import Window


@dataclass(frozen=True)
class Scores:
    """nll (N,) float64: the loss of each token in nats (natural logarithms), nan where it was not scored.
    windows are those in which the tokens were scored. window and stride are in tokens."""

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
    def n_unscored(self) -> int:
        """Tokens that no window could score, the text's first one apart: at stride = window each window's first, with a
        prefix none."""
        return self._n_predicted - self.n_scored

    @property
    def _n_predicted(self) -> int:
        """Tokens that have a token before them: all but the first, which has one only after a prefix."""
        return len(self.nll) - int(np.isnan(self.nll[0]))

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
        """The lecture's number: exp of the mean of the windows' means. A short last window weighs as much as any.

        (A last window of a single token scores nothing and does not count; in the lecture's loop its mean is nan.)
        """
        return _exp(np.mean(self._window_means()))

    @property
    def docs_perplexity(self) -> float:
        """Today's Hugging Face documentation: the windows' means weighted by trg_len - 1.

        The weight is right for the first window, whose first token has no predecessor; it is one too small for every
        other. nan where the weights are all 0.
        """
        weights = np.array([window.n_new - 1 for window in self.windows])
        return _exp(weights @ self._window_means() / weights.sum()) if weights.any() else math.nan

    def word_perplexity(self, n_words: int) -> float:
        """exp(Σ nll / n_words), as in papers with word-level vocabularies. Raises ValueError for n_words below 1."""
        return _exp(self.whole_total / integer("n_words", n_words, 1))

    def character_perplexity(self, n_characters: int) -> float:
        """exp(Σ nll / n_characters): as word_perplexity, for texts that have no spaces between words, such as Chinese.
        A character is a code point of Unicode, as in len(text). Raises ValueError for n_characters below 1."""
        return _exp(self.whole_total / integer("n_characters", n_characters, 1))

    def bits_per_byte(self, n_bytes: int) -> float:
        """Σ nll / (ln 2 · n_bytes), a unit that does not depend on the tokenizer. n_bytes is the UTF-8 length of the
        text. Raises ValueError for n_bytes below 1."""
        return self.whole_total / math.log(2) / integer("n_bytes", n_bytes, 1)

    @property
    def whole_total(self) -> float:
        """Σ nll of the whole text: tokens that no window scored count with the mean of the others."""
        return self.total * self._n_predicted / self.n_scored

    def _window_means(self) -> np.ndarray:
        return np.array([self.nll[window.first_target : window.end].mean() for window in self.windows])


def _exp(nats: float) -> float:
    """exp, and inf from 709 nats on, where it overflows: Chinese has no spaces, so a page may be one "word"."""
    return math.exp(nats) if nats < 709 else math.inf


# Chinese, Japanese, Thai, Lao, Burmese and Khmer are written without spaces between words (Korean has them).
WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"
)


class TextSize(NamedTuple):
    """How long a text is, in the units that a loss is divided by. words is 0 where spaces do not mark the words."""

    words: int
    characters: int
    bytes: int  # in UTF-8

    @classmethod
    def of(cls, text: str) -> "TextSize":
        """The size of a text. Its words are what stands between spaces and line ends; it counts as 0 words where most
        of its letters belong to a script without spaces, and where there is no space in it: then these are lines, not
        words."""
        words = text.split()
        unspaced, letters = len(WITHOUT_SPACES.findall(text)), sum(map(str.isalpha, text))
        without = len(words) < 2 or 2 * unspaced > letters
        return cls(0 if without else len(words), len(text), len(text.encode()))


class Aggregation(NamedTuple):
    """One way to make a single number of the losses."""

    name: str  # in printed tables and in `PUBLISHED`
    formula: str
    source: str
    value: Callable[[Scores, TextSize], float]  # nan where there is no such number


# w is a window, n_w the tokens it scores; trg_len_w is n_w, but n_w + 1 in the first window and without overlap.
AGGREGATIONS = [
    Aggregation("perplexity", "exp(Σ nll / n)", "exact: every scored token weighs the same",
                lambda scores, size: scores.perplexity),
    Aggregation("window_mean_perplexity", "exp(mean_w(Σ_w nll / n_w))", "the lecture: a mean of the windows' means",
                lambda scores, size: scores.window_mean_perplexity),
    Aggregation("docs_perplexity", "exp(Σ_w (trg_len_w - 1) Σ_w nll / n_w / Σ_w (trg_len_w - 1))",
                "today's Hugging Face documentation (transformers #34387)",
                lambda scores, size: scores.docs_perplexity),
    Aggregation("word_perplexity", "exp(Σ nll / words)", "papers with word vocabularies; GPT-2's, table 3",
                lambda scores, size: scores.word_perplexity(size.words) if size.words else math.nan),
    Aggregation("character_perplexity", "exp(Σ nll / characters)", "for texts without spaces, such as Chinese",
                lambda scores, size: scores.character_perplexity(size.characters)),
    Aggregation("bits_per_byte", "Σ nll / (ln 2 · bytes)", "the one that tokenizers cannot change",
                lambda scores, size: scores.bits_per_byte(size.bytes)),
]  # fmt: skip
