"""12_t5.ipynb 的练习答案。"""

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
    first = half if distance > 0 else 0  # 在 query 之后的 key
    distance, exact = abs(distance), half // 2
    if distance < exact:
        return first + distance
    share = math.log(distance / exact) / math.log(max_distance / exact)  # 在 exact 处为 0，在 max_distance 处为 1
    return first + min(exact + int(share * (half - exact)), half - 1)


def decoder_inputs(target, start):
    return torch.cat([torch.full_like(target[:, :1], start), target[:, :-1]], dim=1)
