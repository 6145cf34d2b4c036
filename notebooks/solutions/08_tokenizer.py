"""Solutions to the exercises of notebook 08_tokenizer."""

from collections import Counter
from itertools import pairwise


def most_frequent_pair(words):
    """{word as a tuple of tokens: how often it occurs} -> the pair of neighbours that occurs most often."""
    counts = Counter()
    for word, times in words.items():
        for pair in pairwise(word):
            counts[pair] += times  # a word that occurs nine times brings its pairs nine times
    return max(counts, key=counts.get)


def merge(ids, pair, new_id):
    """The ids with every occurrence of the pair replaced by new_id, from left to right."""
    merged = []
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2  # both are used up: the second cannot begin another pair
        else:
            merged.append(ids[i])
            i += 1
    return merged
