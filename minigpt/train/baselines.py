"""Simple predictors that a model should beat: counts of the same tokens, and a compressor that read the same text."""

import lzma
from collections.abc import Sequence

import numpy as np

from .._checks import integer, list_of_texts, token_ids
from ..data import check_tokens


def unigram(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """(V,) probabilities of the tokens: how often each occurs, plus 1, divided by the sum. ValueError for no tokens,
    and for one outside the vocabulary."""
    vocab_size = integer("vocab_size", vocab_size, 1)
    _check_ids("tokens", tokens, 1, vocab_size)
    counts = np.bincount(tokens, minlength=vocab_size) + 1
    return counts / counts.sum()


def kneser_ney_nll(tokens: np.ndarray, held_out: np.ndarray, vocab_size: int, order: int = 5) -> np.ndarray:
    """The losses (N,) in nats of held-out tokens under an interpolated Kneser-Ney model of the given order, each token
    given up to order - 1 tokens before it in its own text (Chen & Goodman 1998, section 2.7, one discount per order).

        p_n(w | h) = max(c(hw) - D, 0) / c(h) + D · N(h) / c(h) · p_{n-1}(w | h without its first token)

    w is a token, h the n - 1 tokens before it. c counts occurrences for the highest order, and for the lower ones how
    many different tokens stand before a run; N(h) is how many different tokens follow h; D = n1 / (n1 + 2 n2), where
    n1 and n2 are the numbers of runs with c = 1 and c = 2. Below order 1 all tokens are equally likely. Raises
    ValueError for tokens fewer than order + 1, for no held-out tokens, and for one outside the vocabulary.
    """
    vocab_size = integer("vocab_size", vocab_size, 1)
    grams = _Grams.of(tokens, held_out, vocab_size, order)
    p = np.full(len(held_out), 1 / vocab_size)
    for n in range(1, grams.order + 1):
        counts, discount, total, followers = grams.statistics(n)
        history, gram = grams.of_held_out(n)
        seen = history >= 0  # whether the training text has this history, with a token after it
        seen[seen] = total[history[seen]] > 0
        count = np.where(gram >= 0, counts[gram], 0)[seen]
        h = history[seen]
        p[seen] = np.maximum(count - discount, 0) / total[h] + discount * followers[h] / total[h] * p[seen]
    return -np.log(p)


def kneser_ney_guesses(
    tokens: np.ndarray, held_out: np.ndarray, places: np.ndarray, vocab_size: int, order: int = 5
) -> np.ndarray:
    """(N,) the likeliest token at each of N places of held-out tokens, given the tokens before it, by the model of
    `kneser_ney_nll`. Raises ValueError for a place outside the text."""
    vocab_size = integer("vocab_size", vocab_size, 1)
    grams = _Grams.of(tokens, held_out, vocab_size, order)
    places = np.array(token_ids("places", places), dtype=np.int64)
    outside = places[(places < 0) | (places >= len(held_out))]
    if len(outside):
        raise ValueError(f"places has {outside[0]}, and held_out has {len(held_out)} tokens, 0 ... {len(held_out) - 1}")
    levels = [(grams.of_held_out(n)[0], *grams.statistics(n)) for n in range(1, grams.order + 1)]
    guesses = np.empty(len(places), dtype=np.int64)
    for index, place in enumerate(places):
        p = np.full(vocab_size, 1 / vocab_size)
        for n, (history, counts, discount, total, followers) in enumerate(levels, 1):
            h = history[place]
            if h >= 0 and total[h] > 0:
                followed = slice(*np.searchsorted(grams.history[n], [h, h + 1]))
                p *= discount * followers[h] / total[h]
                p[grams.last[n][followed]] += np.maximum(counts[followed] - discount, 0) / total[h]
        guesses[index] = p.argmax()
    return guesses


class _Grams:
    """A number for each different run of up to `order` tokens of a text; the same run in the held-out text has the same
    number. Runs that differ only in their last token have consecutive numbers."""

    @staticmethod
    def of(tokens, held_out, vocab_size, order) -> "_Grams":
        order = integer("order", order, 1)
        _check_ids("tokens", tokens, order + 1, vocab_size)
        _check_ids("held_out", held_out, 1, vocab_size)
        return _Grams(np.array(tokens, dtype=np.int64), np.array(held_out, dtype=np.int64), vocab_size, order)

    def __init__(self, tokens, held_out, vocab_size, order):
        self.n_held_out, self.order = len(held_out), order
        self.ids = {0: np.zeros(len(tokens) + 1, dtype=np.int64)}  # of the run of n tokens that begins at each place
        self.held_ids = {0: np.zeros(len(held_out) + 1, dtype=np.int64)}
        self.first = {0: [0]}  # of each different run: a place where it stands
        self.history, self.last = {}, {}  # of each: the number of the run without its last token; that token
        for n in range(1, order + 1):
            keys = self.ids[n - 1][: len(tokens) - n + 1] * vocab_size + tokens[n - 1 :]
            known, self.first[n], self.ids[n] = np.unique(keys, return_index=True, return_inverse=True)
            self.history[n], self.last[n] = known // vocab_size, known % vocab_size
            begun = self.held_ids[n - 1][: max(0, len(held_out) - n + 1)]
            wanted = np.where(begun < 0, -1, begun * vocab_size + held_out[n - 1 :])
            place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
            self.held_ids[n] = np.where(known[place] == wanted, place, -1)

    def statistics(self, n):
        """For the runs of n tokens: (their counts, the discount, each history's total count, how many different tokens
        follow each history)."""
        counts = self.occurrences(n) if n == self.order else self.predecessors(n)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = once / (once + 2 * twice) if once else 0.5  # never 0: unseen tokens need a probability, too
        n_histories = len(self.first[n - 1])  # also those that nothing follows, at the text's end
        total = np.bincount(self.history[n], counts, minlength=n_histories)
        return counts, discount, total, np.bincount(self.history[n], minlength=n_histories)

    def occurrences(self, n):
        return np.bincount(self.ids[n])

    def predecessors(self, n):
        """For each run of n tokens, how many different tokens stand before it."""
        longer = self.first[n + 1]
        return np.bincount(self.ids[n][longer + 1], minlength=len(self.first[n]))

    def of_held_out(self, n):
        """For each held-out token (the number of the n - 1 tokens before it, the number of these and the token); -1
        where the run is unseen, or would begin before the text."""
        none, gram = np.full(n - 1, -1), self.held_ids[n]
        histories = np.concatenate([none, self.held_ids[n - 1][: len(gram)]])
        return histories[: self.n_held_out], np.concatenate([none, gram])[: self.n_held_out]


def _check_ids(name: str, tokens: np.ndarray, least: int, vocab_size: int) -> None:
    """Raise ValueError unless tokens are at least so many ids of a vocabulary."""
    check_tokens(name, tokens, least)
    ids = np.asarray(tokens)
    for id in (ids.min(), ids.max()):
        if not 0 <= id < vocab_size:
            raise ValueError(f"{name} has the id {id}, outside 0..{vocab_size - 1} (vocab_size={vocab_size})")


def primed_lzma_bytes(training: Sequence[str], held_out: Sequence[str]) -> int:
    """By how many bytes an lzma file of the training texts grows when the held-out texts are added to it. Raises
    ValueError for anything but lists of texts."""
    parts = list_of_texts("training", training), list_of_texts("held_out", held_out)
    before, added = ("\n".join(texts).encode() for texts in parts)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]
    sizes = [len(lzma.compress(data, lzma.FORMAT_RAW, filters=filters)) for data in (before, before + b"\n" + added)]
    return sizes[1] - sizes[0]
