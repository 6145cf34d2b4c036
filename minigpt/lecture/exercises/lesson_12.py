"""T5: spans cut out of a row, the bucket of a distance, and the decoder's inputs."""

import math

import torch

from .checking import Exercise


def _cut_spans(row, spans, sentinels, end):
    source, target, place = [], [], 0
    for (first, last), sentinel in zip(spans, sentinels, strict=False):
        source += [*row[place:first], sentinel]
        target += [sentinel, *row[first:last]]
        place = last
    return [*source, *row[place:], end], [*target, end]


def _one_sentinel(row, spans, sentinels, end):
    return _cut_spans(row, spans, [sentinels[0]] * len(spans), end)


def _without_ends(row, spans, sentinels, end):
    source, target = _cut_spans(row, spans, sentinels, end)
    return source[:-1], target[:-1]


def _token_by_token(row, spans, sentinels, end):
    """A sentinel for each token that is cut out."""
    singles = [(place, place + 1) for first, last in spans for place in range(first, last)]
    return _cut_spans(row, singles, sentinels, end)


def _whole_row_as_target(row, spans, sentinels, end):
    return _cut_spans(row, spans, sentinels, end)[0], [*row, end]


def _sentinel_after(row, spans, sentinels, end):
    source, target = _cut_spans(row, spans, sentinels, end)
    target = [
        token
        for (first, last), sentinel in zip(spans, sentinels, strict=False)
        for token in (*row[first:last], sentinel)
    ]
    return source, [*target, end]


def _bucket(distance, n_buckets, max_distance):
    """The encoder's bucket: the first half is for keys before the query, the second half for keys after it."""
    half = n_buckets // 2
    bucket, distance = (half if distance > 0 else 0), abs(distance)
    exact = half // 2
    if distance < exact:
        return bucket + distance
    grown = exact + int(math.log(distance / exact) / math.log(max_distance / exact) * (half - exact))
    return bucket + min(grown, half - 1)


def _without_sides(distance, n_buckets, max_distance):
    return _bucket(-abs(distance), n_buckets, max_distance)


def _sides_exchanged(distance, n_buckets, max_distance):
    return _bucket(-distance, n_buckets, max_distance)


def _never_clamped(distance, n_buckets, max_distance):
    half, exact = n_buckets // 2, n_buckets // 4
    bucket, distance = (half if distance > 0 else 0), abs(distance)
    if distance < exact:
        return bucket + distance
    return bucket + exact + int(math.log(distance / exact) / math.log(max_distance / exact) * (half - exact))


def _linear(distance, n_buckets, max_distance):
    half = n_buckets // 2
    return (half if distance > 0 else 0) + min(abs(distance), half - 1)


def _decoder_inputs(target, start):
    return torch.cat([torch.full_like(target[:, :1], start), target[:, :-1]], dim=1)


EXERCISES = {
    "cut_spans": Exercise(
        "Return (source, target), two lists. In the source each span is one sentinel; the target has each sentinel "
        "with its span after it. Both end with end.",
        _cut_spans,
        [
            ([10, 11, 12, 13, 14, 15, 16], [(1, 3), (5, 6)], [99, 98, 97], 1),
            (list(range(20, 32)), [(2, 3), (4, 8), (10, 12)], [99, 98, 97, 96, 95, 94, 93], 1),
        ],
        [
            (
                _one_sentinel,
                "every span has the same sentinel, so nothing tells them apart: the first span has the first "
                "sentinel, the second the second.",
            ),
            (_without_ends, "source and target lack their end: both end with end, so that the decoder learns to stop."),
            (
                _token_by_token,
                "each token of a span got a sentinel of its own. A span has one, however long it is: this makes "
                "source and target short.",
            ),
            (
                _whole_row_as_target,
                "the target is the whole row. It holds what was cut out and no more, each span after its sentinel.",
            ),
            (
                _sentinel_after,
                "each sentinel stands after its span. It comes first, for it says which span follows.",
            ),
        ],
    ),
    "bucket": Exercise(
        "Return the bucket of a distance (key position − query position) in the encoder. Keys after the query use the "
        "second half of the buckets. In each half, the first half of the buckets holds one distance each; the others "
        "grow with the logarithm up to max_distance, and the last one holds all the rest.",
        _bucket,
        [(d, 32, 128) for d in (0, 1, -1, 7, -7, 8, -8, 20, -20, 60, -60, 200, -200)],
        [
            (
                _without_sides,
                "keys before and after the query share their buckets. A key after the query (distance above 0) gets "
                "n_buckets // 2 more.",
            ),
            (
                _sides_exchanged,
                "the sides are exchanged: keys *after* the query, distance above 0, use the second half.",
            ),
            (
                _never_clamped,
                "distances beyond max_distance leave their half of the buckets. The last bucket of the half holds all "
                "of them: take the minimum.",
            ),
            (
                _linear,
                "every distance got a bucket of its own until they ran out. From n_buckets // 4 on they grow with the "
                "logarithm.",
            ),
        ],
    ),
    "decoder_inputs": Exercise(
        "Return (B, T): start, then the target without its last token. Position t then reads what comes before the "
        "target's token t.",
        _decoder_inputs,
        [(torch.tensor([[5, 6, 7, 1], [8, 9, 10, 1]]), 0), (torch.tensor([[4, 4, 2]]), 3)],
        [
            (
                lambda target, start: target,
                "the decoder reads the token that it has to predict, and would copy it. It reads the token *before*: "
                "shift to the right by one, with start in front.",
            ),
            (
                lambda target, start: torch.cat([torch.full_like(target[:, :1], start), target], dim=1),
                "one token too many: the inputs have the target's length, so the last token is left out.",
            ),
            (
                lambda target, start: torch.cat([target[:, 1:], torch.full_like(target[:, :1], start)], dim=1),
                "this is shifted to the left: position t would read token t + 1 of the target, which it has not "
                "predicted yet.",
            ),
        ],
    ),
}
