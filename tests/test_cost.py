"""The cost of attention: operations are those that torch counts, bytes those of the tensors; the machine's limits."""

import math

import matplotlib
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minigpt.attention import MultiHeadAttention, attention_weights
from minigpt.compare import cost, timing
from minigpt.compare.cost import Cost, Limits, attention_costs, machine_limits, total
from minigpt.kv_cache import KVCache
from minigpt.plots import plot_roofline, style

SHAPES = {  # d_model, n_head, n_kv_head, d_head; rows, tokens, past
    "prefill": ((24, 4, 4, None), (2, 7, 0)),
    "one token": ((24, 4, 4, None), (1, 1, 9)),
    "a later chunk": ((24, 4, 4, None), (3, 5, 6)),
    "grouped keys": ((24, 6, 2, None), (2, 7, 3)),
    "grouped keys, one token": ((24, 6, 1, None), (4, 1, 8)),
    "wide heads": ((24, 3, 3, 20), (2, 4, 1)),
}


@pytest.fixture(params=SHAPES)
def run(request):
    """(arguments of attention_costs, the layer, its input, its cache with the keys of the past)"""
    (d_model, n_head, n_kv_head, d_head), (rows, tokens, past) = SHAPES[request.param]
    torch.manual_seed(0)
    layer = MultiHeadAttention(d_model, n_head, n_kv_head, d_head, linear_bias=False)
    whole = KVCache(1, rows, n_kv_head, past + tokens, layer.d_head)
    whole.advance(past)
    arguments = dict(n_kv_head=n_kv_head, d_head=d_head, rows=rows, tokens=tokens, past=past)
    return ((d_model, n_head), arguments), layer, torch.randn(rows, tokens, d_model), whole.layers[0]


@torch.no_grad()
def test_operations_are_those_that_torch_counts(run):
    (sizes, arguments), layer, x, cache = run
    with FlopCounterMode(display=False) as counter:
        layer(x, causal=True, cache=cache)
    costs = attention_costs(*sizes, **arguments)
    assert [c.step for c in costs] == ["queries, keys, values", "scores", "softmax", "weighted values", "output"]
    products = [c for c in costs if c.step != "softmax"]  # torch counts products of matrices only
    assert sum(c.operations for c in products) == counter.get_total_flops()
    fused = attention_costs(*sizes, **arguments, fused=True)
    assert total(fused).operations == total(costs).operations


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_bytes_are_those_of_the_tensors(run, dtype):
    """Every tensor is made; a step's bytes are those of its inputs and outputs."""
    (sizes, arguments), layer, x, cache = run
    layer, x = layer.to(dtype), x.to(dtype)
    q = layer._split_heads(layer.query(x), layer.n_head)
    new_k, new_v = layer.keys_values(x)
    k, v = (kv.to(dtype) for kv in cache.append(new_k.float(), new_v.float()))
    weights = attention_weights(q, k, causal=True)
    scores, heads = torch.empty_like(weights), torch.empty(*q.shape[:-1], v.size(-1), dtype=dtype)
    out = layer.output(heads.transpose(1, 2).flatten(2))
    linear = [layer.query.weight, layer.key.weight, layer.value.weight]
    tensors = {
        "queries, keys, values": [x, *linear, q, new_k, new_v],
        "scores": [q, k, scores],
        "softmax": [scores, weights],
        "weighted values": [weights, v, heads],
        "output": [heads, layer.output.weight, out],
    }
    expected = {step: sum(t.nbytes for t in used) for step, used in tensors.items()}
    assert {c.step: c.bytes for c in attention_costs(*sizes, **arguments, dtype=dtype)} == expected
    fused = {c.step: c.bytes for c in attention_costs(*sizes, **arguments, dtype=dtype, fused=True)}
    assert fused == {
        "queries, keys, values": expected["queries, keys, values"],
        "fused attention": sum(t.nbytes for t in (q, k, v, heads)),
        "output": expected["output"],
    }


def test_softmax_has_five_operations_for_each_score():
    softmax = attention_costs(24, 4, rows=2, tokens=3, past=4)[2]
    assert softmax.operations == 5 * 2 * 4 * 3 * 7 and softmax.intensity == 5 / 8


def test_one_token_is_memory_and_a_prefill_is_arithmetic():
    for fused in (False, True):
        decoding = attention_costs(768, 12, tokens=1, past=1023, fused=fused)
        assert all(step.intensity < 2 for step in [*decoding, total(decoding)])
        for name, step in {c.step: c for c in attention_costs(768, 12, tokens=1024, fused=fused)}.items():
            assert step.intensity > 25 or name == "softmax"
    explicit, fused = (total(attention_costs(768, 12, tokens=1024, fused=fused)).intensity for fused in (False, True))
    assert fused > 5 * explicit > 100


def test_more_rows_share_the_weights_but_not_the_cache():
    one, many = ({c.step: c for c in attention_costs(768, 12, rows=rows, past=1023, fused=True)} for rows in (1, 64))
    assert many["output"].intensity > 50 * one["output"].intensity
    assert many["fused attention"].intensity == one["fused attention"].intensity
    grouped = {c.step: c for c in attention_costs(768, 12, n_kv_head=2, past=1023, fused=True)}
    ratio = grouped["fused attention"].intensity / one["fused attention"].intensity
    assert ratio == pytest.approx(6, rel=0.01)  # six query heads share a key head


def test_the_roof():
    limits = Limits(operations_per_second=100e9, bytes_per_second=20e9)
    assert limits.ridge == 5
    assert [limits.attainable(x) for x in (0.5, 5, 50)] == [10e9, 100e9, 100e9]
    assert limits.seconds(Cost("memory", 10, 40)) == 40 / 20e9
    assert limits.seconds(Cost("arithmetic", 400, 40)) == 400 / 100e9


def test_the_machines_limits_are_measured_for_a_dtype(monkeypatch):
    monkeypatch.setitem(cost.MATRIX, "cpu", 128)
    monkeypatch.setitem(timing.READ, "cpu", 100_000)
    limits = machine_limits(dtype=torch.float64)
    assert limits.operations_per_second > 1e7 and limits.bytes_per_second > 1e7
    asked = []
    monkeypatch.setattr(cost, "matrix_rate", lambda *arguments: asked.append(arguments) or 6.0)
    monkeypatch.setattr(cost, "read_rate", lambda *arguments: asked.append(arguments) or 2.0)
    assert machine_limits("cpu", torch.bfloat16) == Limits(6.0, 2.0)
    assert asked == [(torch.bfloat16, "cpu", 128), ("cpu",)]


def test_the_product_that_is_measured_has_n_rows(monkeypatch):
    products = []
    monkeypatch.setattr(timing, "_tries", lambda work, device: products.append(work()) or [2.0, 4.0])
    assert timing.matrix_rate(torch.float64, n=3) == 2 * 3**3 / 2.0  # the fastest try counts
    assert products[0].shape == (3, 3) and products[0].dtype == torch.float64


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(d_model=10, n_head=4), "d_model must be divisible by n_head, got d_model=10, n_head=4"),
        (dict(d_model=12, n_head=4, n_kv_head=3), "n_head must be divisible by n_kv_head, got n_head=4, n_kv_head=3"),
        (dict(d_model=12, n_head=4, dtype=torch.int64), "dtype must be one of torch.float64, .* got torch.int64"),
        (dict(d_model=12, n_head=4, fused=1), "fused must be True or False, got 1"),
        (dict(d_model=12, n_head=4, past=-1), "past must be an integer of at least 0, got -1"),
    ],
    ids=["d_model", "n_kv_head", "dtype", "fused", "past"],
)
def test_bad_arguments_of_a_cost(arguments, words):
    with pytest.raises(ValueError, match=words):
        attention_costs(**arguments)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(dtype=torch.int8), "dtype must be one of .* got torch.int8"),
        (dict(device="meta"), "device must be one of"),
    ],
)
def test_bad_arguments_of_the_limits(arguments, words):
    with pytest.raises(ValueError, match=words):
        machine_limits(**arguments)


def test_the_picture_has_each_step_on_the_roof_and_each_measurement_at_its_height(tmp_path):
    limits = Limits(100e9, 20e9)
    works = {"prefill": dict(tokens=1024), "one token": dict(past=1023)}
    costs = {name: attention_costs(768, 12, **work) for name, work in works.items()}
    costs["unknown"] = [Cost("another step", 3, 3)]
    figure = plot_roofline(limits, costs, {"one token": 2e-3})
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for name, steps in costs.items():
        for x, y, step in zip(*lines[name].get_data(), steps, strict=True):
            assert x == step.intensity and math.isclose(y, min(100, 20 * x))
    (x,), (y,) = lines["one token: measured, all steps"].get_data()
    whole = total(costs["one token"])
    assert x == whole.intensity and math.isclose(y, whole.operations / 2e-3 / 1e9)
    assert "prefill: measured, all steps" not in lines
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert {"waits for memory", "waits for arithmetic", "softmax", "another step"} <= set(labels)
    assert "output\nqueries, keys, values" in labels  # two steps with nearly the same intensity
    figure.savefig(tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").stat().st_size > 10_000


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="costs must hold at least one kind of work"):
        plot_roofline(Limits(1.0, 1.0), {})
    with pytest.raises(ValueError, match="seconds must be of works in costs, a; got b"):
        plot_roofline(Limits(1.0, 1.0), {"a": [Cost("step", 1, 1)]}, {"b": 1.0})


def test_the_picture_speaks_chinese(monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "font.family", ["DejaVu Sans", style.CHINESE_FONTS[0]])
    monkeypatch.setenv("MINIGPT_LANG", "zh")
    steps = [*attention_costs(768, 12), *attention_costs(768, 12, fused=True), total(attention_costs(768, 12))]
    axes = plot_roofline(Limits(100e9, 20e9), {"一个词元": steps}, {"一个词元": 1.0}).axes[0]
    said = "\n".join([axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)])
    names = [line for line in said.split("\n") if line != "softmax"]
    assert "融合的注意力" in names and all(any(ord(letter) > 0x4E00 for letter in name) for name in names)
