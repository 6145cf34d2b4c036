"""Products with a packed copy of a matrix: right for any rows, as new as the matrix, used where they pay."""

import pytest
import torch
from oracle import pair, relative

from minigpt import generate
from minigpt.fast import one_row_products
from minigpt.fast.llama_step import llama_step
from minigpt.fast.one_row_products import CALLS_THAT_PAY_FOR_A_COPY, can_be_packed, packed_product, product
from minigpt.fast.one_token import gpt2_step
from minigpt.language_model import Past

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
    monkeypatch.setattr(one_row_products, "LARGE", 0)
    monkeypatch.setattr(
        one_row_products,
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
    for n_rows in (3, 1, 8, 20):
        x = torch.randn(n_rows, 24, generator=generator).to(dtype)
        right = x.double() @ weight.double().t() + (0 if bias is None else bias.double())
        found = multiply(x)
        assert found.dtype == dtype and relative(found.double(), right) < rounded_once(dtype)
    assert packed == [3]  # one copy, made when it was first needed


def test_when_there_is_a_copy(packed, monkeypatch):
    """For many calls only; not for a single row where the order of the matrix suits it; not in float64 or autocast."""
    rows = torch.randn(12, 8)
    columns = rows.t().contiguous().t()
    for weight, n_calls, n_rows, copies in [
        (rows, 31, 4, []),
        (rows, 32, 4, [4]),
        (rows, 32, 1, [1]),
        (columns, 32, 1, []),
        (columns, 32, 2, [2]),
        (rows.double(), 32, 4, []),
    ]:
        packed.clear()
        product(weight, None, n_calls)(torch.randn(n_rows, 8).to(weight.dtype))
        assert packed == copies, (n_calls, n_rows)
    packed.clear()
    with torch.autocast("cpu", torch.bfloat16):
        assert product(rows, None, 32)(torch.randn(4, 8)).dtype == torch.bfloat16 and packed == []
    monkeypatch.setattr(one_row_products, "LARGE", 1000)
    product(rows, None, 32)(torch.randn(4, 8))
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


@pytest.mark.parametrize("family, make", [("gpt2", gpt2_step), ("llama", llama_step)])
@torch.inference_mode()
def test_a_step_with_packed_matrices_is_the_models_step(packed, family, make):
    model, _ = pair(2, torch.float32, "sdpa", family)
    tokens = torch.randint(model.config.vocab_size, (3, 7), generator=torch.Generator().manual_seed(1))
    expected, past = model(tokens), Past(model.new_cache(3, 7), None)
    step = make(model, 1000)
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
