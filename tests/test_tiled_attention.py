"""FlashAttention by tiles equals the explicit formula, with its gradients, and its memory grows with T."""

import math
import random
from functools import partial

import pytest
import torch

from minigpt.attention import attention_function, causal_mask, explicit_attention, is_ours
from minigpt.compare.memory import peak_memory
from minigpt.tiled_attention import Tiles, tiled_attention

N_CALLS = 150
BARS = {torch.float64: (2e-13, 1e-12), torch.float32: (2e-5, 1e-4)}  # output, gradients: relative to the largest


def random_call(seed: int, dtype) -> tuple[list, dict, int]:
    """(q, k, v), the other arguments, and a tile size: any mixture of them."""
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    batch, n_key = draw.choice([1, 2]), draw.randint(1, 40)
    causal = draw.random() < 0.5
    n_query = draw.choice([1, n_key, draw.randint(1, n_key)]) if causal else draw.randint(1, 40)
    n_kv_head, group = draw.choice([1, 2, 3]), draw.choice([1, 1, 2, 4])
    d, dv = draw.choice([1, 4, 8]), draw.choice([4, 6])

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    head = n_kv_head * group
    qkv = [normal(batch, head, n_query, d) * draw.choice([1, 5]), normal(batch, n_kv_head, n_key, d)]
    qkv.append(normal(batch, n_kv_head, n_key, dv))
    arguments = {"causal": causal}
    if draw.random() < 0.6:  # shapes that broadcast; a tenth of the rows may look at nothing
        shape = draw.choice([(n_key,), (n_query, n_key), (batch, 1, 1, n_key), (batch, head, n_query, n_key)])
        mask = torch.rand(shape, generator=generator) < draw.choice([0.3, 0.9])
        if len(shape) > 1 and shape[-2] == n_query and draw.random() < 0.5:
            mask[..., torch.rand(n_query, generator=generator) < 0.1, :] = False
        arguments["mask"] = mask
    if draw.random() < 0.5:
        shape = draw.choice([(n_key,), (n_query, 1), (1, head, n_query, n_key), (batch, 1, n_query, n_key), (1, 1)])
        arguments["bias"] = normal(*shape) * 3
    arguments["scale"] = draw.choice([None, 1.0, 0.3])
    return qkv, arguments, draw.choice([1, 2, 3, 7, 16, 64])


def output_and_gradients(attend, qkv, arguments):
    leaves = [x.clone().requires_grad_() for x in (*qkv, *filter(lambda x: x is not None, [arguments.get("bias")]))]
    bias = {"bias": leaves[3]} if len(leaves) > 3 else {}
    output = attend(*leaves[:3], **arguments | bias)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = torch.autograd.grad((output * direction.to(output.dtype)).sum(), leaves, allow_unused=True)
    return output.detach(), [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]


@pytest.mark.parametrize("dtype", BARS)
def test_outputs_and_gradients_are_those_of_the_formula(dtype, full):
    kinds = set()
    for seed in range(N_CALLS if full else N_CALLS // 5):
        qkv, arguments, tile_size = random_call(seed, dtype)
        expected, grads = output_and_gradients(explicit_attention, qkv, arguments)
        output, tiled_grads = output_and_gradients(partial(tiled_attention, tile_size=tile_size), qkv, arguments)
        bar, grad_bar = BARS[dtype]
        assert (output - expected).abs().max() <= bar * max(1, expected.abs().max()), seed
        largest = max(1, *(grad.abs().max() for grad in grads))
        for grad, tiled_grad in zip(grads, tiled_grads, strict=True):
            assert (tiled_grad - grad).abs().max() <= grad_bar * largest, seed
        kinds |= {name for name, value in arguments.items() if value is not None and value is not False}
        kinds |= {"grouped"} if qkv[0].size(1) > qkv[1].size(1) else set()
        kinds |= {"later queries"} if arguments["causal"] and qkv[0].size(2) < qkv[1].size(2) else set()
        kinds |= {"an empty row"} if (expected == 0).all(dim=-1).any() else set()
    assert kinds >= {"mask", "causal", "bias", "scale", "grouped", "later queries", "an empty row"}


def test_gradcheck():
    q, k, v = (torch.randn(1, n, 5, 3, dtype=torch.float64, requires_grad=True) for n in (4, 2, 2))
    bias = torch.randn(4, 5, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[2, :] = False

    def attend(q, k, v, bias):
        return tiled_attention(q, k, v, mask=mask, causal=True, bias=bias, tile_size=2)

    assert torch.autograd.gradcheck(attend, (q, k, v, bias))


@pytest.mark.parametrize("tile_size", [1, 3, 16])
def test_dropout_is_the_formula_with_the_weights_that_it_kept(tile_size):
    """Its own draw, tile by tile, put into the explicit formula: outputs and gradients are equal."""
    q, k, v = (torch.randn(2, 2, 9, 4, dtype=torch.float64) for _ in range(3))
    torch.manual_seed(5)
    seed = int(torch.randint(2**62, ()))
    tiles = Tiles(q, k, None, True, 0.5, 0.3, seed, tile_size)
    kept = torch.zeros(2, 2, 9, 9, dtype=torch.float64)
    for queries in tiles.of_queries():
        for keys in tiles.of_keys(queries):
            part = kept[..., queries, keys]
            part.copy_(tiles.kept(part, queries, keys))
    share = (kept[..., causal_mask(9, 9)] == 0).double().mean()
    assert 0.2 < share < 0.4 and set(kept.unique().tolist()) <= {0.0, 1 / 0.7}

    def explicit(q, k, v):
        scores = (q @ k.transpose(-2, -1) * 0.5).masked_fill(~causal_mask(9, 9), -math.inf)
        return (scores.softmax(dim=-1) * kept) @ v

    def tiled(q, k, v):
        torch.manual_seed(5)
        return tiled_attention(q, k, v, causal=True, scale=0.5, dropout=0.3, tile_size=tile_size)

    (expected, grads), (output, tiled_grads) = (
        output_and_gradients(attend, [q, k, v], {}) for attend in (explicit, tiled)
    )
    assert torch.allclose(output, expected, atol=1e-13)
    for grad, tiled_grad in zip(grads, tiled_grads, strict=True):
        assert torch.allclose(tiled_grad, grad, atol=1e-12)
    assert torch.equal(tiled(q, k, v), tiled(q, k, v))
    torch.manual_seed(6)
    assert not torch.equal(tiled_attention(q, k, v, causal=True, scale=0.5, dropout=0.3), tiled(q, k, v))


def test_tiles_after_the_diagonal_are_skipped(monkeypatch):
    computed = []

    class Counted(Tiles):
        def scores(self, q, k, bias, queries, keys):
            computed.append((queries.start, keys.start))
            return super().scores(q, k, bias, queries, keys)

    monkeypatch.setattr("minigpt.tiled_attention.Tiles", Counted)
    q, k = torch.zeros(1, 1, 8, 2, requires_grad=True), torch.zeros(1, 1, 12, 2)
    output = tiled_attention(q, k, k, causal=True, tile_size=4)
    needed = [(0, 0), (0, 4), (4, 0), (4, 4), (4, 8)]  # queries 0-3 stand at positions 4-7, queries 4-7 at 8-11
    assert computed == needed
    output.sum().backward()
    assert computed == 2 * needed


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    q, k, v = (torch.randn(1, 2, 30, 8).to(dtype).requires_grad_() for _ in range(3))
    output = tiled_attention(q, k, v, causal=True, tile_size=8)
    exact = explicit_attention(q.double(), k.double(), v.double(), causal=True)
    assert output.dtype == dtype
    assert (output.double() - exact).abs().max() <= torch.finfo(dtype).eps * exact.abs().max()  # rounded once
    output.sum().backward()
    assert {x.grad.dtype for x in (q, k, v)} == {dtype}
    with torch.autocast("cpu", torch.bfloat16):
        wide = [x.detach().float() for x in (q, k, v)]
        assert tiled_attention(*wide, tile_size=8).dtype == torch.float32


def test_large_scores_do_not_overflow():
    q, k, v = (torch.randn(1, 1, 20, 4) for _ in range(3))
    q = q * 1e4
    output = tiled_attention(q, k, v, tile_size=4)
    assert output.isfinite().all() and torch.allclose(output, explicit_attention(q, k, v), atol=1e-4)


def test_it_has_a_name_and_refuses_what_explicit_refuses():
    assert attention_function("tiled") is tiled_attention and is_ours(tiled_attention)
    x = torch.zeros(1, 2, 4, 3)
    for arguments in (
        dict(mask=torch.ones(4, 4)),
        dict(mask=torch.ones(5, 4, dtype=torch.bool)),
        dict(bias=torch.zeros(4, 4, dtype=torch.long)),
        dict(scale=0.0),
    ):
        messages = []
        for attend in (explicit_attention, tiled_attention):
            with pytest.raises(ValueError) as error:
                attend(x, x, x, **arguments)
            messages.append(str(error.value))
        assert messages[0] == messages[1]
    with pytest.raises(ValueError, match="n_query=4, n_key=3"):
        tiled_attention(x, x[..., :3, :], x[..., :3, :], causal=True)
    for bad in (0, 1.5, None, True):
        with pytest.raises(ValueError, match="tile_size must be an integer of at least 1"):
            tiled_attention(x, x, x, tile_size=bad)
    for bad in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="dropout"):
            tiled_attention(x, x, x, dropout=bad)


def test_its_gradient_cannot_be_differentiated_again():
    q = torch.randn(1, 1, 4, 2, dtype=torch.float64, requires_grad=True)
    [grad] = torch.autograd.grad(tiled_attention(q, q, q).sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|does not require grad"):
        grad.sum().backward()


def test_memory_grows_with_the_tokens():
    """At T = 4096 a tenth of the explicit formula's, for a forward and backward pass."""

    def peak(attend, n_tokens):
        q, k, v = (torch.randn(1, 1, n_tokens, 32, requires_grad=True) for _ in range(3))
        return peak_memory(lambda: attend(q, k, v, causal=True).sum().backward())

    explicit, tiled, half = peak(explicit_attention, 4096), peak(tiled_attention, 4096), peak(tiled_attention, 2048)
    assert tiled < explicit / 10 and tiled < 2.5 * half
