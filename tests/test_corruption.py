"""Masked tokens and spans: the rates of the papers, no leak of the answer, the same rows for one seed and step."""

from itertools import pairwise

import pytest
import torch

from minigpt.data.corruption import masked_tokens, spans

MASK, SPECIAL, ORDINARY = 3, (0, 1, 2, 3), range(4, 100)
SENTINELS, END = [199, 198, 197, 196, 195, 194, 193, 192, 191, 190, 189, 188], 1


def rows_of(n_rows, length, seed=0):
    return torch.randint(4, 100, (n_rows, length), generator=torch.Generator().manual_seed(seed))


def test_fifteen_in_a_hundred_are_chosen_and_treated_in_three_ways():
    rows = rows_of(400, 100)
    rows[:, 0], rows[:, -1] = 1, 2  # [CLS] and [SEP]
    tokens, labels = masked_tokens(rows, 0, 0, mask_id=MASK, replacements=ORDINARY)
    chosen = labels != -100
    assert (chosen.sum(dim=1) == 15).all()  # 15 % of the 98 that may be chosen
    assert torch.equal(labels[chosen], rows[chosen]) and torch.equal(tokens[~chosen], rows[~chosen])
    assert not chosen[:, 0].any() and not chosen[:, -1].any()
    masked, same = (tokens == MASK)[chosen], (tokens == rows)[chosen]
    replaced = ~masked & ~same
    for found, expected in [(masked, 0.8), (same, 0.1), (replaced, 0.1)]:
        assert found.float().mean().item() == pytest.approx(expected, abs=0.015)
    drawn = tokens[chosen][replaced]
    assert drawn.min() >= 4 and len(drawn.unique()) > 90  # any ordinary token
    places = chosen.float().mean(dim=0)[1:-1]
    assert places.min() > 0.08 and places.max() < 0.23  # anywhere in the row


def test_the_masked_rows_follow_from_seed_and_step():
    rows = rows_of(4, 40)
    before = rows.clone()
    settings = dict(mask_id=MASK, replacements=ORDINARY)
    first = masked_tokens(rows, 5, 7, **settings)
    assert all(torch.equal(a, b) for a, b in zip(first, masked_tokens(rows, 5, 7, **settings), strict=True))
    assert torch.equal(rows, before)
    for other in (masked_tokens(rows, 6, 7, **settings), masked_tokens(rows, 5, 8, **settings)):
        assert not torch.equal(first[1], other[1])


def put_together(source, label):
    """The row that a source and its label were made of."""
    *label, end = label
    found, *source_end = [], source[-1]
    after = {}
    for token in label:
        if token in SENTINELS:
            after[token] = []
            newest = token
        else:
            after[newest].append(token)
    for token in source[:-1]:
        found += after[token] if token in SENTINELS else [token]
    assert end == END and source_end == [END]
    return found


@pytest.mark.parametrize("length", [2, 3, 7, 20, 64, 128, 200])
def test_source_and_spans_together_are_the_row(length):
    rows = rows_of(50, length)
    sources, labels = spans(rows, 3, 1, sentinels=SENTINELS, end_id=END)
    n_cut = max(1, round(0.15 * length))
    n_spans = max(1, round(n_cut / 3))
    assert sources.shape == (50, length - n_cut + n_spans + 1) and labels.shape == (50, n_cut + n_spans + 1)
    for row, source, label in zip(rows.tolist(), sources.tolist(), labels.tolist(), strict=True):
        assert put_together(source, label) == row
        for tokens in (source, label):  # the first sentinel for the first span, and so on
            assert [token for token in tokens if token in SENTINELS] == SENTINELS[:n_spans]
        assert label[0] == SENTINELS[0] and source[0] not in SENTINELS


def test_the_spans_have_all_lengths_and_places():
    sources, labels = spans(rows_of(500, 100), 0, 0, sentinels=SENTINELS, end_id=END)
    is_sentinel = torch.isin(labels, torch.tensor(SENTINELS))
    starts = [[*row.nonzero().flatten().tolist(), labels.size(1) - 1] for row in is_sentinel]
    lengths = torch.tensor([b - a - 1 for row in starts for a, b in pairwise(row)])
    assert lengths.float().mean().item() == pytest.approx(3.0) and lengths.min() == 1 and lengths.max() >= 9
    first = torch.isin(sources, torch.tensor(SENTINELS[:1])).float().argmax(dim=1)
    assert first.min() <= 2 and first.max() > 40


def test_the_spans_follow_from_seed_and_step():
    rows, settings = rows_of(4, 40), dict(sentinels=SENTINELS, end_id=END)
    first = spans(rows, 5, 7, **settings)
    assert all(torch.equal(a, b) for a, b in zip(first, spans(rows, 5, 7, **settings), strict=True))
    for other in (spans(rows, 6, 7, **settings), spans(rows, 5, 8, **settings)):
        assert not torch.equal(first[0], other[0])


BAD = [
    (lambda: masked_tokens(rows_of(1, 9), 0, 0, mask_id=MASK, replacements=[]), "replacements is empty"),
    (lambda: masked_tokens(rows_of(1, 9), 0, 0, mask_id=MASK, replacements=ORDINARY, share=0), "share must be above 0"),
    (lambda: masked_tokens(rows_of(1, 9), 0, 0, mask_id=-1, replacements=ORDINARY), "mask_id must be an integer of at"),
    (lambda: masked_tokens(rows_of(1, 9), -1, 0, mask_id=MASK, replacements=ORDINARY), "step must be an integer of at"),
    (
        lambda: masked_tokens(torch.tensor([[9, 9], [1, 2]]), 0, 0, mask_id=MASK, replacements=ORDINARY),
        "row 1 has no ordinary token",
    ),
    (
        lambda: spans(rows_of(1, 9), 0, 0, sentinels=SENTINELS, end_id=END, share=1.0),
        "share must be above 0 and below 1",
    ),
    (lambda: spans(rows_of(1, 9), 0, 0, sentinels=SENTINELS, end_id=END, mean_length=0.5), "mean_length must be at"),
    (lambda: spans(rows_of(1, 1), 0, 0, sentinels=SENTINELS, end_id=END), "rows of 1 tokens are too short"),
    (lambda: spans(rows_of(1, 999), 0, 0, sentinels=SENTINELS, end_id=END), "50 spans, and there are 12 sentinels"),
]


@pytest.mark.parametrize("call, words", BAD)
def test_bad_arguments_are_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
