"""What a model has to beat: counting over the same tokens, and a compressor that has read the same text."""

import lzma
from collections.abc import Sequence

import numpy as np

from .._checks import integer
from ..data import check_tokens


def kneser_ney_nll(tokens: np.ndarray, held_out: np.ndarray, vocab_size: int, order: int = 5) -> np.ndarray:
    """The losses (N,) in nats of held-out tokens under an interpolated Kneser-Ney model of the given order, each token
    after up to order - 1 others of its own text (Chen & Goodman 1998, section 2.7, one discount per order).

        p_n(w | h) = max(c(hw) - D, 0) / c(h) + D · N(h) / c(h) · p_{n-1}(w | h without its first token)

    c counts occurrences for the highest order, and for the lower ones in how many different words' company a text
    stands; N(h) is how many different tokens follow h; D = n1 / (n1 + 2 n2). Below order 1 all tokens are alike.
    """
    order = integer("order", order, 1)
    check_tokens("tokens", tokens, order + 1)
    check_tokens("held_out", held_out, 1)
    grams = _Grams(tokens.astype(np.int64), held_out.astype(np.int64), vocab_size, order)
    p = np.full(len(held_out), 1 / vocab_size)
    for n in range(1, order + 1):
        counts = grams.occurrences(n) if n == order else grams.company(n)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = once / (once + 2 * twice) if once else 0.5  # something has to be left for what was never seen
        history, gram = grams.of_held_out(n)
        n_histories = len(grams.first[n - 1])  # the last tokens of the text are followed by nothing
        total = np.bincount(grams.history[n], counts, minlength=n_histories)
        followers = np.bincount(grams.history[n], minlength=n_histories)
        seen = history >= 0  # the history has been seen: there is something to count
        seen[seen] = total[history[seen]] > 0
        count = np.where(gram >= 0, counts[gram], 0)[seen]
        h = history[seen]
        p[seen] = np.maximum(count - discount, 0) / total[h] + discount * followers[h] / total[h] * p[seen]
    return -np.log(p)


class _Grams:
    """Every run of up to `order` tokens of a text under a number, the held-out text's runs under the same numbers."""

    def __init__(self, tokens, held_out, vocab_size, order):
        self.n_held_out = len(held_out)
        self.ids = {0: np.zeros(len(tokens) + 1, dtype=np.int64)}  # of the run of n tokens that begins at each place
        self.held_ids = {0: np.zeros(len(held_out) + 1, dtype=np.int64)}
        self.first = {0: [0]}  # of each different run: a place where it stands
        self.history = {}  # and the number of the run without its last token
        for n in range(1, order + 1):
            keys = self.ids[n - 1][: len(tokens) - n + 1] * vocab_size + tokens[n - 1 :]
            known, self.first[n], self.ids[n] = np.unique(keys, return_index=True, return_inverse=True)
            self.history[n] = known // vocab_size
            begun = self.held_ids[n - 1][: max(0, len(held_out) - n + 1)]
            wanted = np.where(begun < 0, -1, begun * vocab_size + held_out[n - 1 :])
            place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
            self.held_ids[n] = np.where(known[place] == wanted, place, -1)

    def occurrences(self, n):
        return np.bincount(self.ids[n])

    def company(self, n):
        """Of each run of n tokens, how many different tokens stand before it."""
        longer = self.first[n + 1]
        return np.bincount(self.ids[n][longer + 1], minlength=len(self.first[n]))

    def of_held_out(self, n):
        """For each held-out token the numbers of the n - 1 tokens before it and of these with the token; -1: unseen, or
        there are not so many."""
        none, gram = np.full(n - 1, -1), self.held_ids[n]
        histories = np.concatenate([none, self.held_ids[n - 1][: len(gram)]])
        return histories[: self.n_held_out], np.concatenate([none, gram])[: self.n_held_out]


def primed_lzma_bytes(training: Sequence[str], held_out: Sequence[str]) -> int:
    """How many bytes longer an lzma file of the training text becomes by the held-out text."""
    before, added = ("\n".join(texts).encode() for texts in (training, held_out))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]
    sizes = [len(lzma.compress(data, lzma.FORMAT_RAW, filters=filters)) for data in (before, before + b"\n" + added)]
    return sizes[1] - sizes[0]
