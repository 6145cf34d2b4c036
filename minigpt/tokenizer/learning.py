"""Which pairs to merge: learned from how often words occur (Sennrich et al. 2016, algorithm 1)."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from tqdm import tqdm

from .._checks import choice
from .characters import whole_characters
from .specials import SpecialToken, split_at
from .words import gpt2_words

UNITS = {"words": gpt2_words, "characters": list}


def count_units(texts: Iterable[str], specials: Sequence[SpecialToken], within: str) -> Counter:
    """How often each unit occurs: each word or each character, as within says. No token is longer than a unit. Names of
    special tokens are not counted. Raises ValueError for another within, and for half a surrogate pair in a text."""
    units_of, counts = UNITS[choice("within", within, UNITS)], Counter()
    for text in tqdm(texts, desc="counting words", unit=" texts", leave=False, delay=2, disable=None):
        for part in split_at(specials, whole_characters(text)):
            if isinstance(part, str):
                counts.update(units_of(part))
    return counts


def learn_merges(
    word_counts: Mapping[tuple[int, ...], int], n_symbols: int, n_merges: int
) -> Iterator[tuple[int, int]]:
    """Yield up to n_merges pairs: each time the most frequent pair of neighbours, of equal ones that with the smallest
    ids.

    word_counts maps each word, a tuple of symbols 0 ... n_symbols - 1, to how often it occurs. Pair k, counted from 0,
    becomes symbol n_symbols + k. Ends early when every word is a single symbol.
    """
    words, frequency = [list(word) for word in word_counts], list(word_counts.values())
    pair_count = Counter()
    words_with = defaultdict(set)  # pair -> indices of the words it occurs in (or once did)
    for index, word in enumerate(words):
        for pair in pairwise(word):
            pair_count[pair] += frequency[index]
            words_with[pair].add(index)
    queue = [(-count, pair) for pair, count in pair_count.items()]
    heapq.heapify(queue)

    merged = n_symbols
    while merged < n_symbols + n_merges and queue:
        count, pair = heapq.heappop(queue)
        if pair_count[pair] != -count:  # the count has changed since: put it back with the right one
            if pair_count[pair] > 0:
                heapq.heappush(queue, (-pair_count[pair], pair))
            continue
        yield pair
        grown = set()
        for index in words_with.pop(pair):
            for neighbours, change in _merge_everywhere(words[index], pair, merged):
                pair_count[neighbours] += change * frequency[index]
                if change > 0:
                    words_with[neighbours].add(index)
                    grown.add(neighbours)
        del pair_count[pair]
        for neighbours in grown:
            heapq.heappush(queue, (-pair_count[neighbours], neighbours))
        merged += 1


def _merge_everywhere(word: list[int], pair: tuple[int, int], merged: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Replace each occurrence of pair in word, in place; yield (pair of neighbours, -1 or +1) for every change."""
    old = list(word)
    word.clear()
    position = 0
    while position < len(old):
        if tuple(old[position : position + 2]) == pair:
            word.append(merged)
            position += 2
        else:
            word.append(old[position])
            position += 1
    changes = Counter(pairwise(word))
    changes.subtract(Counter(pairwise(old)))
    del changes[pair]
    return ((neighbours, change) for neighbours, change in changes.items() if change)
