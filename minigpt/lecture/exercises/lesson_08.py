"""The tokenizer: which pair to merge, and how."""

from itertools import pairwise

from .checking import Exercise


def _most_frequent_pair(words):
    counts = {}
    for word, frequency in words.items():
        for pair in pairwise(word):
            counts[pair] = counts.get(pair, 0) + frequency
    return max(counts, key=counts.get)


def _most_words_pair(words):
    return _most_frequent_pair(dict.fromkeys(words, 1))


def _most_frequent_word_pair(words):
    longest = max((word for word in words if len(word) > 1), key=words.get)
    return longest[:2]


def _each_pair_once_a_word(words):
    counts = {}
    for word, frequency in words.items():
        for pair in set(pairwise(word)):
            counts[pair] = counts.get(pair, 0) + frequency
    return max(counts, key=counts.get)


def _across_words(words):
    row = [token for word, frequency in words.items() for _ in range(frequency) for token in word]
    counts = {}
    for pair in pairwise(row):
        counts[pair] = counts.get(pair, 0) + 1
    return max(counts, key=counts.get)


def _merge(ids, pair, new_id):
    merged, position = [], 0
    while position < len(ids):
        found = tuple(ids[position : position + 2]) == pair
        merged.append(new_id if found else ids[position])
        position += 2 if found else 1
    return merged


def _merge_once(ids, pair, new_id):
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


def _either_of_the_pair(ids, pair, new_id):
    return [new_id if id in pair else id for id in ids]


def _second_kept(ids, pair, new_id):
    return [new_id if tuple(ids[i : i + 2]) == pair else id for i, id in enumerate(ids)]


def _merge_overlapping(ids, pair, new_id):
    starts = [i for i in range(len(ids) - 1) if tuple(ids[i : i + 2]) == pair]
    covered = {i + 1 for i in starts} - set(starts)
    return [new_id if i in starts else id for i, id in enumerate(ids) if i not in covered]


EXERCISES = {
    "most_frequent_pair": Exercise(
        "From {word as a tuple of tokens: how often it occurs}, return the pair of neighbours that occurs most often.",
        _most_frequent_pair,
        [
            ({("l", "o", "w"): 5, ("n", "e", "w"): 3, ("w", "e"): 1, ("n", "e", "x"): 1, ("n", "e", "t"): 2},),
            ({("a", "b"): 9, ("c", "d", "e"): 6, ("x", "c", "d"): 4},),
            ({("a", "a", "a"): 2, ("b", "c"): 3},),
            ({("a", "b"): 9, ("c", "d"): 1, ("x", "c", "d"): 1},),
            ({("a",): 9, ("b", "c"): 3},),
        ],
        [
            (
                _most_words_pair,
                "each word was counted once. A word that occurs nine times brings its pairs nine times.",
            ),
            (
                _most_frequent_word_pair,
                "this is the first pair of the most frequent word. A pair collects counts from *all* words it is in.",
            ),
            (
                _each_pair_once_a_word,
                "a pair that stands in a word twice counts twice: a a a has the pair (a, a) two times.",
            ),
            (
                _across_words,
                "the words were put in a row, so the end of one and the beginning of the next became neighbours. A "
                "pair is always inside one word.",
            ),
            (
                lambda words: "".join(_most_frequent_pair(words)),
                "the right pair, joined to one text. Return the two tokens as a tuple: merging needs to know where one "
                "ends.",
            ),
        ],
    ),
    "merge": Exercise(
        "Return the ids with every occurrence of the pair replaced by new_id, from left to right.",
        _merge,
        [
            ([1, 2, 3, 1, 2], (1, 2), 9),
            ([5, 5, 5], (5, 5), 9),
            ([5, 5, 5, 5], (5, 5), 9),
            ([7], (7, 7), 9),
            ([], (1, 2), 9),
        ],
        [
            (_merge_once, "only the first occurrence was merged. Go on after it until the end."),
            (
                _merge_overlapping,
                "in 5 5 5 the middle one was used twice. A token can be merged once only: go on after the pair.",
            ),
            (
                _either_of_the_pair,
                "each token of the pair was replaced alone. Only both together, side by side, become one new token.",
            ),
            (
                _second_kept,
                "the first token of the pair became new_id, and the second is still there. The two become one.",
            ),
        ],
    ),
}
