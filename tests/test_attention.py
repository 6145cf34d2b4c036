import gc
import weakref

import pytest
import torch
import torch.nn.functional as F

from minigpt import KVCache
from minigpt import attention as attention_module
from minigpt.attention import (
    MultiHeadAttention,
    attention_function,
    attention_weights,
    causal_mask,
    explicit_attention,
    formula,
    is_ours,
    padding_mask,
    sdpa_attention,
)

BOTH = pytest.mark.parametrize("attend", [explicit_attention, sdpa_attention])


def random_qkv(n_query=5, n_key=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 3, n_query, 4), (2, 3, n_key, 4), (2, 3, n_key, 6)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]


def test_causal_mask_is_the_lower_triangle():
    assert torch.equal(causal_mask(4, 4), torch.ones(4, 4, dtype=torch.bool).tril())


def test_causal_mask_of_a_later_chunk_ends_at_the_last_key():
    # The example in the docstring.
    assert causal_mask(3, 5).int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert causal_mask(1, 5).all()
    for n_key in range(1, 9):
        for n_query in range(1, n_key + 1):
            assert torch.equal(causal_mask(n_query, n_key), causal_mask(n_key, n_key)[n_key - n_query :])


@pytest.mark.parametrize("n_query, n_key", [(0, 3), (4, 3), (-1, 3), (0, 0)])
def test_causal_mask_refuses(n_query, n_key):
    with pytest.raises(ValueError, match=f"n_query={n_query}, n_key={n_key}"):
        causal_mask(n_query, n_key)


def test_padding_mask():
    mask = padding_mask(torch.tensor([[0, 1, 1], [1, 1, 1]]))
    assert mask.dtype == torch.bool and mask.shape == (2, 1, 1, 3)
    assert mask[:, 0, 0].tolist() == [[False, True, True], [True, True, True]]
    assert torch.equal(padding_mask(torch.tensor([[False, True]])), padding_mask(torch.tensor([[0.0, 1.0]])))


@pytest.mark.parametrize("bad, word", [([[0, 2]], "2"), ([[0.5, 1.0]], "0.5"), ([[-1, 1]], "-1"), ([1, 1], "shape")])
def test_padding_mask_refuses(bad, word):
    with pytest.raises(ValueError, match=word):
        padding_mask(torch.tensor(bad))


def case_arguments(case, n_query, n_key):
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(2, 1, n_query, n_key, generator=generator) < 0.6
    mask[..., 0] = True  # every row has a key to look at
    bias = torch.randn(1, 3, n_query, n_key, generator=generator, dtype=torch.float64)
    return {
        "bidirectional": {},
        "causal": {"causal": True},
        "masked": {"mask": mask},
        "masked and causal": {"mask": mask, "causal": True},
        "biased, not scaled": {"bias": bias, "scale": 1.0},
        "everything": {"mask": mask, "causal": True, "bias": bias, "scale": 0.3},
    }[case]


CASES = ["bidirectional", "causal", "masked", "masked and causal", "biased, not scaled", "everything"]


@BOTH
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_query, n_key", [(7, 7), (3, 7), (1, 7)])
def test_equals_torch_with_gradients(attend, case, n_query, n_key):
    """The reference: torch's kernel with every mask and bias turned into one matrix that is added."""
    arguments = case_arguments(case, n_query, n_key)
    added = torch.zeros(2, 3, n_query, n_key, dtype=torch.float64)
    if "mask" in arguments:
        added = added.masked_fill(~arguments["mask"], -torch.inf)
    if arguments.get("causal"):
        added = added.masked_fill(~torch.ones(n_key, n_key).tril().bool()[n_key - n_query :], -torch.inf)
    if "bias" in arguments:
        added = added + arguments["bias"]
    ours_in, theirs_in = random_qkv(n_query, n_key), random_qkv(n_query, n_key)
    ours = attend(*ours_in, **arguments)
    theirs = F.scaled_dot_product_attention(*theirs_in, attn_mask=added, scale=arguments.get("scale"))
    assert (ours - theirs).abs().max() < 1e-14
    weighting = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (ours * weighting).sum().backward()
    (theirs * weighting).sum().backward()
    for a, b in zip(ours_in, theirs_in, strict=True):
        assert (a.grad - b.grad).abs().max() < 1e-13


@BOTH
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_query_with_nothing_to_look_at_gets_zeros_and_clean_gradients(attend, causal, with_bias):
    q, k, v = random_qkv(5, 5)
    mask = padding_mask(torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]))
    if not causal:
        mask = mask.repeat(1, 1, 5, 1)
        mask[0, :, :2] = False
    bias = torch.randn(1, 3, 5, 5, dtype=torch.float64) if with_bias else None
    out = attend(q, k, v, mask=mask, causal=causal, bias=bias)
    assert (out[0, :, :2] == 0).all() and (out[0, :, 2:] != 0).all() and (out[1] != 0).all()
    out.sum().backward()
    assert all(t.grad.isfinite().all() for t in (q, k, v))
    assert (q.grad[0, :, :2] == 0).all()


def test_weights_are_zero_where_looking_is_not_allowed():
    q, k, _ = random_qkv(5, 5)
    mask = padding_mask(torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]))
    weights = attention_weights(q, k, mask=mask, causal=True)
    allowed = (mask & causal_mask(5, 5)).expand_as(weights)
    assert (weights[~allowed] == 0).all() and (weights[allowed] > 0).all()
    expected = torch.ones(2, 3, 5, dtype=torch.float64)
    expected[0, :, 0] = 0  # the pad itself looks at nothing
    assert (weights.sum(-1) - expected).abs().max() < 1e-15


def test_masking_and_adding_a_mask_overflow_where_booleans_do_not():
    """Erratum: filling with the smallest number and adding a mask of the smallest number gives -inf, and then nan."""
    scores = torch.zeros(1, 3)
    smallest = torch.finfo(scores.dtype).min
    twice = scores.masked_fill(torch.tensor([[True, True, True]]), smallest) + smallest
    assert twice.isinf().all() and twice.softmax(-1).isnan().all()
    q, k, _ = random_qkv(3, 3)
    assert attention_weights(q, k, mask=padding_mask(torch.zeros(2, 3)), causal=True).isfinite().all()


@BOTH
def test_a_later_token_changes_nothing_before_it(attend):
    q, k, v = random_qkv(6, 6)
    before = attend(q, k, v, causal=True)
    k2, v2 = k.detach().clone(), v.detach().clone()
    k2[:, :, -1] += 1
    v2[:, :, -1] -= 3
    after = attend(q, k2, v2, causal=True)
    assert torch.equal(before[:, :, :-1], after[:, :, :-1]) and not torch.equal(before, after)


@BOTH
def test_mask_must_be_boolean(attend):
    q, k, v = random_qkv(5, 5)
    with pytest.raises(ValueError, match="bool"):
        attend(q, k, v, mask=torch.ones(5, 5))


@pytest.mark.parametrize(
    "n_query, n_key, arguments, is_causal, has_mask",
    [
        (5, 5, {"causal": True}, True, False),  # the one form FlashAttention takes
        (1, 5, {"causal": True}, False, False),  # decoding: is_causal would show it the first key only
        (3, 5, {"causal": True}, False, True),
        (5, 5, {}, False, False),
        (5, 5, {"causal": True, "mask": torch.ones(5, 5, dtype=torch.bool)}, False, True),
    ],
)
def test_how_sdpa_asks_torch(monkeypatch, n_query, n_key, arguments, is_causal, has_mask):
    asked = {}
    original = F.scaled_dot_product_attention

    def spy(*args, **kwargs):
        asked.update(kwargs)
        return original(*args, **kwargs)

    monkeypatch.setattr(attention_module.F, "scaled_dot_product_attention", spy)
    sdpa_attention(*random_qkv(n_query, n_key), **arguments)
    assert asked["is_causal"] is is_causal and (asked["attn_mask"] is not None) is has_mask


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 2, 3)], ids=str)
def test_a_mask_may_lack_any_dimension_on_the_left(batch):
    q, k, v = (torch.randn(*batch, n, 4, dtype=torch.float64) for n in (5, 6, 6))
    whole = torch.rand(*batch, 5, 6) < 0.7
    for missing in range(whole.dim()):
        mask = whole[(0,) * missing]
        for arguments in ({"mask": mask}, {"mask": mask, "bias": torch.randn(mask.shape).double()}):
            expected = explicit_attention(q, k, v, **arguments)
            found = sdpa_attention(q, k, v, **arguments)
            assert found.shape == expected.shape and (found - expected).abs().max() < 1e-13


def test_dropout_zeroes_weights_and_keeps_their_mean():
    q, k = (torch.zeros(1, 1, 200, 8) for _ in range(2))
    v = torch.ones(1, 1, 200, 1)
    torch.manual_seed(0)
    for attend in (explicit_attention, sdpa_attention):
        out = attend(q, k, v, dropout=0.25)
        assert out.std() > 0 and abs(out.mean() - 1) < 0.02
        assert torch.allclose(attend(q, k, v, dropout=0.0), v)


def test_multi_head_attention_refuses():
    with pytest.raises(ValueError, match="n_head=5"):
        MultiHeadAttention(12, 5)
    x = torch.zeros(1, 2, 12)
    cache = KVCache(1, 1, 3, 8, 4).layers[0]
    layer = MultiHeadAttention(12, 3)
    for both in [
        dict(source=x, cache=cache),
        dict(source=x, keys_values=layer.keys_values(x)),
        dict(keys_values=layer.keys_values(x), cache=cache),
        dict(source=x, rotate=lambda q: q),
    ]:
        with pytest.raises(
            ValueError, match="source and keys_values exclude each other; cache and rotate are for self"
        ):
            layer(x, **both)


# --- what other models ask for: grouped key heads, rotation, keys and values made before, functions that are not ours


@BOTH
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_query, n_key", [(7, 7), (3, 7), (1, 7)])
@pytest.mark.parametrize("n_kv_head", [1, 2, 3])
def test_grouped_key_heads_are_each_used_by_a_run_of_query_heads(attend, case, n_query, n_key, n_kv_head):
    """Key head j serves the query heads j · group ... j · group + group - 1. The expected values use only indexing."""
    generator = torch.Generator().manual_seed(2)
    n_head = 6
    shapes = [(2, n_head, n_query, 4), (2, n_kv_head, n_key, 4), (2, n_kv_head, n_key, 5)]
    q, k, v = (torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes)
    arguments = case_arguments(case, n_query, n_key)
    if "bias" in arguments:
        arguments["bias"] = arguments["bias"].repeat(1, 2, 1, 1)  # a bias for each of the six query heads
    head_of = torch.tensor([head // (n_head // n_kv_head) for head in range(n_head)])
    expected = explicit_attention(q, k[:, head_of], v[:, head_of], **arguments)
    found = attend(q, k, v, **arguments)
    assert found.shape == expected.shape and (found - expected).abs().max() < 1e-14
    if attend is explicit_attention:
        weights = attention_weights(q, k, **arguments)
        assert (weights - attention_weights(q, k[:, head_of], **arguments)).abs().max() < 1e-15
    ours, theirs = (torch.autograd.grad(out.square().sum(), (q, k, v)) for out in (found, expected))
    for mine, its in zip(ours, theirs, strict=True):
        assert (mine - its).abs().max() < 1e-13


def test_torch_is_asked_for_groups_and_no_key_is_copied(monkeypatch):
    asked = {}
    original = F.scaled_dot_product_attention
    monkeypatch.setattr(
        attention_module.F, "scaled_dot_product_attention", lambda *a, **k: asked.update(k) or original(*a, **k)
    )
    q, k, v = torch.randn(1, 4, 3, 8), torch.randn(1, 2, 3, 8), torch.randn(1, 2, 3, 8)
    sdpa_attention(q, k, v)
    assert asked["enable_gqa"]
    sdpa_attention(q, q, q)
    assert not asked["enable_gqa"]
    monkeypatch.setattr(torch.Tensor, "repeat_interleave", lambda *_, **__: pytest.fail("keys were copied"))
    one = explicit_attention(q[:, :, :1], k, v)
    assert one.shape == (1, 4, 1, 8)


def own_attention(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    """Attention as a student writes it, without grouped heads."""
    assert q.shape[:2] == k.shape[:2] == v.shape[:2]
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * (q.size(-1) ** -0.5 if scale is None else scale)
    if causal:
        scores = scores.masked_fill(~causal_mask(q.size(-2), k.size(-2)), -torch.inf)
    return torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), v)


@pytest.mark.parametrize("attend", [explicit_attention, sdpa_attention, own_attention])
@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
def test_a_layer_with_grouped_keys_is_the_layer_with_its_key_rows_repeated(attend, n_kv_head):
    """The other layer has as many key heads as query heads; within a group, their weight rows are equal."""
    torch.manual_seed(0)
    grouped = MultiHeadAttention(24, 4, n_kv_head, attend=attend).double()
    full = MultiHeadAttention(24, 4).double()
    state = grouped.state_dict()
    for name in ("key", "value"):
        for part in ("weight", "bias"):
            heads = state[f"{name}.{part}"].unflatten(0, (n_kv_head, 6))
            state[f"{name}.{part}"] = torch.cat([heads[head // (4 // n_kv_head)] for head in range(4)])
    full.load_state_dict(state)
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    assert (grouped(x, causal=True) - full(x, causal=True)).abs().max() < 1e-14
    cache = KVCache(1, 2, n_kv_head, 5, 6, dtype=torch.float64)
    parts = []
    for part in x.split([2, 1, 2], dim=1):
        parts.append(grouped(part, causal=True, cache=cache.layers[0]))
        cache.advance(part.size(1))
    assert (torch.cat(parts, dim=1) - full(x, causal=True)).abs().max() < 1e-14


def test_a_layer_refuses_groups_that_do_not_divide():
    for n_kv_head in (3, 8):
        with pytest.raises(ValueError, match=f"n_head=4, n_kv_head={n_kv_head}"):
            MultiHeadAttention(8, 4, n_kv_head)
    with pytest.raises(ValueError, match="a number of key heads that divides H"):
        explicit_attention(torch.zeros(1, 4, 2, 3), torch.zeros(1, 3, 2, 3), torch.zeros(1, 3, 2, 3))


def turn(x, positions):
    """A rotation of the plane of the first two columns, by as many radians as the position."""
    cos, sin = positions.double().cos()[:, None], positions.double().sin()[:, None]
    a, b = x[..., :1], x[..., 1:2]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, x[..., 2:]], dim=-1)


def test_queries_and_keys_are_rotated_between_projection_and_cache():
    """softmax(rotate(q) rotate(k)ᵀ) v by hand; a cached key is not rotated again, and values never are."""
    torch.manual_seed(1)
    layer = MultiHeadAttention(12, 2, 1).double()
    x = torch.randn(1, 6, 12, dtype=torch.float64)
    places = torch.arange(6)
    q = layer.query(x).view(1, 6, 2, 6).transpose(1, 2)
    k, v = layer.keys_values(x)
    heads = explicit_attention(turn(q, places), turn(k, places), v, causal=True)
    expected = layer.output(heads.transpose(1, 2).flatten(2))
    assert (layer(x, causal=True, rotate=lambda t: turn(t, places)) - expected).abs().max() < 1e-14
    assert (layer(x, causal=True) - expected).abs().max() > 1e-3
    cache, parts = KVCache(1, 1, 1, 6, 6, dtype=torch.float64), []
    for start, end in [(0, 3), (3, 4), (4, 6)]:
        rotate = lambda t, p=places[start:end]: turn(t, p)  # noqa: E731
        parts.append(layer(x[:, start:end], causal=True, rotate=rotate, cache=cache.layers[0]))
        cache.advance(end - start)
    assert (torch.cat(parts, dim=1) - expected).abs().max() < 1e-14
    assert (cache.keys[0] - turn(k, places)).abs().max() < 1e-14 and (cache.values[0] - v).abs().max() < 1e-14


def test_keys_and_values_of_a_source_are_made_once():
    torch.manual_seed(2)
    layer = MultiHeadAttention(12, 3).double()
    x, source = torch.randn(2, 4, 12).double(), torch.randn(2, 7, 12).double()
    k, v = layer.keys_values(source)
    assert k.shape == v.shape == (2, 3, 7, 4) and (k - v).abs().max() > 0.1
    expected = layer(x, source)
    layer.key.register_forward_hook(lambda *_: pytest.fail("the source was read again"))
    for row in range(4):
        one = layer(x[:, row : row + 1], keys_values=(k, v))
        assert (one - expected[:, row : row + 1]).abs().max() < 1e-14


def test_the_formula_to_read_is_explicit_attention():
    q, k, v = random_qkv(5, 5)
    everything = torch.ones(5, 5, dtype=torch.bool)
    for mask, causal in [(everything, False), (causal_mask(5, 5), True)]:
        assert (formula(q, k, v, mask) - explicit_attention(q, k, v, causal=causal)).abs().max() < 1e-15


def test_a_function_or_the_name_of_one():
    assert attention_function("sdpa") is sdpa_attention and attention_function(own_attention) is own_attention
    assert is_ours(sdpa_attention) and not is_ours(own_attention)
    for bad in ("flash", None, 3, ["sdpa"]):
        with pytest.raises(ValueError, match="attention must be one of explicit, sdpa, tiled; got"):
            attention_function(bad)


# --- the cache -------------------------------------------------------------------------------------------------------


def test_cache_appends_advances_selects_truncates_and_refuses():
    cache = KVCache(n_layer=2, batch_size=2, n_head=1, capacity=4, d_head=3)
    k, v = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)
    for layer in cache.layers:
        keys, values = layer.append(k, v)
        assert torch.equal(keys, k) and torch.equal(values, v)
        assert cache.length == 0  # no layer changes it, not even the last one
    cache.advance(3)
    assert cache.length == 3 and cache.capacity == 4 and cache.batch_size == 2
    with pytest.raises(ValueError, match="3 \\+ 2 tokens exceed its capacity 4"):
        cache.layers[0].append(k[:, :, :2], v[:, :, :2])
    with pytest.raises(ValueError, match=r"k must be \(2, 1, 1, 3\).* got \(1, 1, 1, 3\)"):
        cache.layers[0].append(k[:1, :, :1], v[:1, :, :1])
    with pytest.raises(ValueError, match="3 \\+ 2 tokens exceed its capacity 4"):
        cache.advance(2)
    assert cache.length == 3
    cache.truncate(1)
    keys, _ = cache.layers[0].append(k[:, :, 2:], v[:, :, 2:])
    assert torch.equal(keys, k[:, :, [0, 2]])
    with pytest.raises(ValueError, match="length 1 to 2"):
        cache.truncate(2)
    cache.select([1, 1, 0])
    assert cache.batch_size == 3 and torch.equal(cache.keys[0, :, :, 0], k[[1, 1, 0], :, 0])
    with pytest.raises(ValueError, match="capacity"):
        KVCache(1, 1, 1, 0, 1)


def test_m_is_zero_and_minus_infinity():
    """Erratum: the lecture's matrix has 1 where it means 0, and the rule beside it has 0 where it means -inf."""
    q, k, _ = random_qkv(5, 5)
    scores = q @ k.transpose(-2, -1) / 2
    past = torch.ones(5, 5).tril().bool()
    weights = attention_weights(q, k, causal=True)
    with_zero = (scores + torch.zeros(5, 5).masked_fill(~past, -torch.inf)).softmax(-1)
    with_one = (scores + torch.ones(5, 5).masked_fill(~past, -torch.inf)).softmax(-1)
    as_ruled = (scores + past.double()).softmax(-1)
    assert (weights - with_zero).abs().max() < 1e-15
    assert (weights - with_one).abs().max() < 1e-15  # a constant does not change softmax
    assert (weights - as_ruled).abs().max() > 0.5


def test_a_cache_that_nobody_holds_is_gone_at_once():
    """No circle of references keeps it until the garbage collector runs: on a GPU it may be most of the memory."""
    gc.disable()
    try:
        cache = KVCache(2, 1, 1, 4, 3)
        cache.layers[1].append(torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 3))
        gone = weakref.ref(cache)
        del cache
        assert gone() is None
    finally:
        gc.enable()
