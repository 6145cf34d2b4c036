"""Other masks, and ALiBi: each against its definition, cell by cell, and at work in attention."""

import math

import pytest
import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from minigpt.attention import causal_mask, explicit_attention, sdpa_attention
from minigpt.masks import prefix_mask, sliding_window_mask
from minigpt.positions import alibi_bias, alibi_slopes
from minigpt.tiled_attention import tiled_attention

SHAPES = [(1, 1), (4, 4), (2, 7), (1, 9), (9, 9)]


@pytest.mark.parametrize("n_query, n_key", SHAPES)
@pytest.mark.parametrize("window, n_sink", [(1, 0), (2, 0), (3, 1), (3, 4), (100, 0)])
def test_a_window_is_its_definition(n_query, n_key, window, n_sink):
    mask = sliding_window_mask(n_query, n_key, window, n_sink)
    for i in range(n_query):
        at = n_key - n_query + i
        seen = {j for j in range(n_key) if j <= at and (at - j < window or j < n_sink)}
        assert set(mask[i].nonzero().flatten().tolist()) == seen
        assert at in seen  # no row is empty
    if window >= n_key:
        assert torch.equal(mask, causal_mask(n_query, n_key))


@pytest.mark.parametrize("n_query, n_key", SHAPES)
def test_a_prefix_is_its_definition(n_query, n_key):
    for n_prefix in range(n_key + 1):
        mask = prefix_mask(n_query, n_key, n_prefix)
        for i in range(n_query):
            at = n_key - n_query + i
            assert set(mask[i].nonzero().flatten().tolist()) == {j for j in range(n_key) if j <= at or j < n_prefix}
    assert torch.equal(prefix_mask(n_query, n_key, 0), causal_mask(n_query, n_key))
    assert prefix_mask(n_query, n_key, n_key).all()


def test_a_later_chunk_of_queries_has_the_last_rows():
    for whole, part in (
        (sliding_window_mask(8, 8, 3, 1), sliding_window_mask(3, 8, 3, 1)),
        (prefix_mask(8, 8, 4), prefix_mask(3, 8, 4)),
    ):
        assert torch.equal(whole[5:], part)


@pytest.mark.parametrize("attend", [explicit_attention, sdpa_attention, tiled_attention])
def test_what_lies_outside_the_window_changes_nothing(attend):
    q, k, v = (
        torch.randn(1, 2, 8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (0, 1, 2)
    )
    mask = sliding_window_mask(8, 8, window=3, n_sink=1)
    before = attend(q, k, v, mask=mask)
    v[:, :, 2] -= 100.0  # outside for the queries 5, 6 and 7
    after = attend(q, k, v, mask=mask)
    assert torch.equal(before[:, :, [0, 1, 5, 6, 7]], after[:, :, [0, 1, 5, 6, 7]])
    assert (before[:, :, 2:5] - after[:, :, 2:5]).abs().amax(dim=-1).min() > 0.1


@pytest.mark.parametrize("n_head", range(1, 41))
def test_slopes_are_those_of_bloom(n_head):
    """transformers adds slope · key position: softmax does not see the part that all keys of a query have in common."""
    theirs = build_alibi_tensor(torch.ones(1, 5), n_head, torch.float32).view(n_head, 5)
    assert torch.allclose(theirs[:, 1], alibi_slopes(n_head), rtol=1e-5, atol=0)  # theirs are powers of a float32
    places = torch.arange(5)
    mine = alibi_bias(n_head, places, places)[0]
    triangle = causal_mask(5, 5)
    scores = torch.randn(n_head, 5, 5, generator=torch.Generator().manual_seed(n_head))
    weights = [(scores + bias).masked_fill(~triangle, -math.inf).softmax(-1) for bias in (mine, theirs[:, None, :])]
    assert (weights[0] - weights[1]).abs().max() < 2e-6


def test_alibi_loses_the_slope_for_each_token_of_distance():
    assert alibi_slopes(8).tolist() == [2.0**-n for n in range(1, 9)]  # the paper's example
    bias = alibi_bias(2, torch.tensor([4, 5]), torch.arange(6))
    assert bias.shape == (1, 2, 2, 6)
    assert bias[0, 1, 1].tolist() == [-5 / 256, -4 / 256, -3 / 256, -2 / 256, -1 / 256, 0]
    both = [attend(*[torch.randn(1, 2, n, 4, generator=torch.Generator().manual_seed(n)) for n in (2, 6, 6)], bias=bias)
            for attend in (explicit_attention, tiled_attention)]  # fmt: skip
    assert (both[0] - both[1]).abs().max() < 1e-6


def test_a_query_hears_through_layers_what_its_window_does_not_show():
    """With a window of 3, one layer reaches 2 tokens back, two layers 4."""
    reach = sliding_window_mask(9, 9, 3).double()
    assert (reach @ reach)[8].nonzero().flatten().tolist() == [4, 5, 6, 7, 8]
