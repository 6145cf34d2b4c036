"""Packed copies of matrices: right for any rows, as new as the matrix, used where they pay. And large pages."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import pair, relative

from minigpt import fast, generate
from minigpt.fast import huge_pages, products
from minigpt.fast.one_token import one_token_step
from minigpt.fast.products import CALLS_THAT_PAY_FOR_A_COPY, can_be_packed, packed_product, product
from minigpt.language_model import Past
from minigpt.perplexity import score

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
pytestmark = pytest.mark.skipif(not can_be_packed(torch.float32), reason="this torch has no oneDNN")


def rounded_once(dtype):
    return {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]


@pytest.fixture
def packed(monkeypatch):
    """Every matrix counts as large. The list notes each copy: for how many rows it was made."""
    for dtype in (*DTYPES, torch.float64):
        can_be_packed(dtype)  # asked once for each dtype, with a small matrix that does not count
    made, real = [], packed_product
    monkeypatch.setattr(products, "LARGE", 0)
    monkeypatch.setattr(
        products,
        "packed_product",
        lambda weight, bias, n_rows: made.append(n_rows) or real(weight, bias, n_rows),
    )
    return made


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("with_bias", [False, True])
def test_any_number_of_rows(packed, dtype, with_bias):
    if not can_be_packed(dtype):
        pytest.skip(f"this processor has no product of {dtype} in oneDNN")
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(40, 24, generator=generator).to(dtype)
    bias = torch.randn(40, generator=generator).to(dtype) if with_bias else None
    multiply = product(weight, bias, CALLS_THAT_PAY_FOR_A_COPY)
    for n_rows in (3, 1, 2, 8, 20):
        x = torch.randn(n_rows, 24, generator=generator).to(dtype)
        right = x.double() @ weight.double().t() + (0 if bias is None else bias.double())
        found = multiply(x)
        assert found.dtype == dtype and relative(found.double(), right) < rounded_once(dtype)
    assert packed == [3]  # one copy, made when it was first needed


def test_when_there_is_a_copy(packed, monkeypatch):
    """For many calls only; in float32 for three rows and more; not in float64 or autocast."""
    weight = torch.randn(12, 8)
    for dtype, n_calls, n_rows, copies in [
        (torch.float32, 31, 4, []),
        (torch.float32, 32, 3, [3]),
        (torch.float32, 32, 2, []),
        (torch.bfloat16, 32, 1, [1] * can_be_packed(torch.bfloat16)),
        (torch.bfloat16, 31, 1, []),
        (torch.float64, 32, 4, []),
    ]:
        packed.clear()
        product(weight.to(dtype), None, n_calls)(torch.randn(n_rows, 8).to(dtype))
        assert packed == copies, (dtype, n_calls, n_rows)
    packed.clear()
    with torch.autocast("cpu", torch.bfloat16):
        assert product(weight, None, 32)(torch.randn(4, 8)).dtype == torch.bfloat16 and packed == []
    monkeypatch.setattr(products, "LARGE", 1000)
    product(weight, None, 32)(torch.randn(4, 8))
    assert packed == []


@pytest.mark.parametrize("change", ["in place", "other memory"])
def test_the_copy_is_as_new_as_the_matrix(packed, change):
    weight, x = torch.nn.Parameter(torch.randn(12, 8)), torch.randn(3, 8)
    multiply = product(weight, None, 32)
    with torch.no_grad():
        multiply(x)
        if change == "in place":
            weight.mul_(2)
        else:
            weight.data = torch.randn(12, 8)
        assert (multiply(x) - x @ weight.t()).abs().max() < 1e-5


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@torch.inference_mode()
def test_a_step_with_packed_matrices_is_the_models_step(packed, family):
    model, _ = pair(2, torch.float32, "sdpa", family)
    tokens = torch.randint(model.config.vocab_size, (3, 7), generator=torch.Generator().manual_seed(1))
    expected, past = model(tokens), Past(model.new_cache(3, 7), None)
    step = one_token_step(model, 1000)
    model.read(tokens[:, :2], past)
    for t in range(2, 7):
        assert relative(step(tokens[:, t : t + 1], past), expected[:, t]) < 2e-5
    assert set(packed) == {3} and len(packed) > 6 * len(model.blocks)


def test_texts_are_the_same_while_rows_leave(packed):
    """Rows that end leave the batch: the last one is a single row, in a copy that was made for several."""
    model, _ = pair(5, torch.float32, "sdpa", n_layer=2, n_positions=64)
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8]]
    options = dict(max_new_tokens=40, stop_tokens=list(range(model.config.vocab_size // 8)))
    texts = generate(model, prompts, **options)
    assert packed and texts == generate(model, prompts, **options, use_cache=False)
    assert len({len(text) for text in texts}) > 1


# --- inside `with packed_products():` --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_family_computes_with_packed_matrices(packed, family, dtype):
    model, _ = pair(3, torch.float32, "sdpa", family)
    model = model.to(dtype)
    ids = torch.randint(model.config.vocab_size, (2, 7), generator=torch.Generator().manual_seed(1))
    inputs = (ids, ids.flip(1)) if family == "t5" else (ids,)

    def answer():
        found = model(*inputs)
        return found.mlm_logits if hasattr(found, "mlm_logits") else found

    with torch.no_grad():
        expected = answer()
        assert packed == []
        with fast.packed_products():
            found = answer(), answer()
        n_layers = sum(isinstance(part, torch.nn.Linear) for part in model.modules())
        assert len(packed) >= n_layers - 2 and torch.equal(*found)  # one copy a matrix, in both passes
        n_copies = len(packed)
        assert relative(found[0].double(), expected.double()) < 50 * rounded_once(dtype)
        assert torch.equal(answer(), expected) and len(packed) == n_copies  # outside nothing has changed


def test_with_gradients_or_switched_off_or_for_few_rows_nothing_is_packed(packed):
    model, _ = pair(3, torch.float32, "sdpa")
    ids = torch.randint(model.config.vocab_size, (2, 7))
    with fast.packed_products():
        model(ids).sum().backward()
    assert model.token_embedding.weight.grad is not None
    with torch.no_grad(), fast.packed_products(products.ROWS_THAT_PAY_FOR_A_COPY - 1):
        model(ids)
    with torch.no_grad(), fast.switched_off(), fast.packed_products():
        model(ids)
    assert packed == []
    with torch.no_grad(), fast.packed_products(products.ROWS_THAT_PAY_FOR_A_COPY):
        model(ids)
    assert packed


def test_scores_of_a_long_text(packed, monkeypatch):
    """`score` packs the matrices if the windows together have rows enough; the losses are the same."""
    model, _ = pair(3, torch.float32, "sdpa", n_positions=16)
    text = [(7 * k) % model.vocab_size for k in range(60)]
    plain = score(model, text).nll[1:]
    assert packed == []
    monkeypatch.setattr(products, "ROWS_THAT_PAY_FOR_A_COPY", 60)
    assert np.abs(score(model, text).nll[1:] - plain).max() < 1e-5 and packed


def test_a_matrix_that_is_changed_inside(packed):
    layer, x = torch.nn.Linear(8, 12), torch.randn(5, 8)
    with torch.no_grad(), fast.packed_products():
        before = layer(x)
        layer.weight.mul_(2)
        assert (layer(x) - (2 * (before - layer.bias) + layer.bias)).abs().max() < 1e-5
        layer.weight = torch.nn.Parameter(torch.ones(12, 8))
        assert (layer(x) - (x.sum(1, keepdim=True) + layer.bias)).abs().max() < 1e-5


# --- large pages ------------------------------------------------------------------------------------------------------


def in_large_pages() -> int:
    """Bytes of this process that lie in pages of 2 MB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


@pytest.mark.skipif(
    not LARGE_PAGES.exists() or "[never]" in LARGE_PAGES.read_text(), reason="this system has no large pages on demand"
)
def test_large_tensors_lie_in_large_pages():
    """And a choice that the reader has made is kept."""
    before = in_large_pages()
    held = torch.ones(50_000_000)  # 200 MB
    assert in_large_pages() - before > 100_000_000
    del held
    with pytest.MonkeyPatch.context() as patch:
        for already, afterwards in [(None, "1"), ("0", "0"), ("1", "1")]:
            patch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
            if already is not None:
                patch.setenv("THP_MEM_ALLOC_ENABLE", already)
            importlib.reload(huge_pages)
            assert os.environ["THP_MEM_ALLOC_ENABLE"] == afterwards
