"""The merges of byte pair encoding, applied to one word (Sennrich et al. 2016, algorithm 1)."""

import heapq
from itertools import pairwise

# (left id, right id) -> (rank, id of the two as one token)
Merges = dict[tuple[int, int], tuple[int, int]]


def merge_word_simply(ids: list[int], merges: Merges) -> list[int]:
    """Byte pair encoding in ten lines: merge the pair of neighbours with the best rank, the leftmost of equal ones, and
    repeat until no pair has a rank. Each merge looks at every pair, so n bytes take about n² steps."""
    ids = list(ids)
    while True:
        ranked = [(merges[pair], place) for place, pair in enumerate(pairwise(ids)) if pair in merges]
        if not ranked:
            return ids
        (_, merged), place = min(ranked)
        ids[place : place + 2] = [merged]


def merge_word(ids: list[int], merges: Merges) -> list[int]:
    """The result of `merge_word_simply`, in less time: each place is looked at only when its pair changes, so a million
    equal letters take seconds and not a week.

    A linked list holds the tokens that are left. For each rank there is a list of places where its pair stands; an
    entry is out of date when the pair at its place has another rank by now.
    """
    end, gone = len(ids), -1
    ids = [*ids, gone]  # gone is no token: a pair with it has no merge
    following, previous = list(range(1, end + 1)), list(range(-1, end - 1))
    places: dict[int, list[int]] = {}
    ranks: list[int] = []  # the keys of places, as a heap

    def consider(left):
        if merge := merges.get((ids[left], ids[following[left]])):
            if merge[0] not in places:
                places[merge[0]] = []
                heapq.heappush(ranks, merge[0])
            places[merge[0]].append(left)

    for left in range(end):
        consider(left)
    while ranks:
        rank = heapq.heappop(ranks)
        waiting = sorted(places.pop(rank), reverse=True)
        while waiting and not (ranks and ranks[0] < rank):  # else a merge has made a better pair
            left = waiting.pop()
            right = following[left]
            merge = merges.get((ids[left], ids[right]))
            if merge is None or merge[0] != rank:
                continue
            ids[left], ids[right] = merge[1], gone
            following[left] = following[right]
            if following[left] < end:
                previous[following[left]] = left
            consider(left)
            if previous[left] >= 0:
                consider(previous[left])
        for left in waiting:
            consider(left)
    return [id for id in ids if id != gone]
