"""Solutions to the exercises of notebooks/12_t5.ipynb."""

import math

import torch


def cut_spans(row, spans, sentinels, end):
    source, target, place = [], [], 0
    for number, (first, last) in enumerate(spans):
        sentinel = sentinels[number]
        source += [*row[place:first], sentinel]
        target += [sentinel, *row[first:last]]
        place = last
    return [*source, *row[place:], end], [*target, end]


def bucket(distance, n_buckets, max_distance):
    half = n_buckets // 2
    first = half if distance > 0 else 0  # keys after the query
    distance, exact = abs(distance), half // 2
    if distance < exact:
        return first + distance
    share = math.log(distance / exact) / math.log(max_distance / exact)  # 0 at exact, 1 at max_distance
    return first + min(exact + int(share * (half - exact)), half - 1)


def decoder_inputs(target, start):
    return torch.cat([torch.full_like(target[:, :1], start), target[:, :-1]], dim=1)
