import pytest
import torch
import torch.nn.functional as F

from minigpt import KVCache
from minigpt import attention as attention_module
from minigpt.attention import (
    MultiHeadAttention,
    attention_weights,
    causal_mask,
    explicit_attention,
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
    mask[..., 0] = True  # no empty row here
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
    """Erratum: fill with the smallest number, then add a padding mask of the smallest number: -inf, and nan."""
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
    with pytest.raises(ValueError, match="source"):
        MultiHeadAttention(12, 3)(x, source=x, cache=KVCache(1, 1, 3, 8, 4), layer=0)


def test_cache_appends_selects_truncates_and_refuses():
    cache = KVCache(n_layer=2, batch_size=2, n_head=1, capacity=4, d_head=3)
    k, v = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)
    for layer in range(2):
        assert cache.length == 0  # a step is complete when the last layer has appended
        keys, values = cache.append(layer, k, v)
        assert torch.equal(keys, k) and torch.equal(values, v)
    assert cache.length == 3 and cache.capacity == 4 and cache.batch_size == 2
    with pytest.raises(ValueError, match="3 \\+ 2 tokens exceed its capacity 4"):
        cache.append(0, k[:, :, :2], v[:, :, :2])
    with pytest.raises(ValueError, match=r"k must be \(2, 1, 1, 3\).* got \(1, 1, 1, 3\)"):
        cache.append(0, k[:1, :, :1], v[:1, :, :1])
    assert cache.length == 3
    cache.truncate(1)
    keys, _ = cache.append(0, k[:, :, 2:], v[:, :, 2:])
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
    assert (weights - with_one).abs().max() < 1e-15  # softmax does not see a constant
    assert (weights - as_ruled).abs().max() > 0.5
