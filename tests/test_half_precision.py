"""Half precision end to end: how far its answers are from those of float32, and what torch computes inside."""

import pytest
import torch
import torch.nn.functional as F

from minigpt import generate, load_model
from minigpt.data import module_documentation
from minigpt.perplexity import score

HALF = [torch.bfloat16, torch.float16]


@pytest.fixture(scope="module")
def text(tiny_tokenizer):
    """Documentation that tiny has not seen. It does not change when this package does."""
    return tiny_tokenizer.encode(module_documentation("python.unittest.mock").text)[:6656]


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_the_tiny_model_stays_what_it_is(dtype, tiny, text, record_property):
    """Teacher-forced: at 95 of 100 tokens or more the likeliest next is the same; perplexity within half a percent."""
    half = load_model("tiny", dtype=dtype, attention="sdpa")
    rows = torch.tensor(text).view(-1, 256)
    with torch.inference_mode():
        same = (half(rows).float().argmax(-1) == tiny(rows).argmax(-1)).double().mean().item()
    ratio = score(half, text).perplexity / score(tiny, text).perplexity
    record_property("the same likeliest token", same)
    assert len(text) == 6656 and same >= 0.95 and abs(ratio - 1) < 0.005, f"{same:.4f}, {ratio:.5f}"


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_decoding_in_half_precision_follows_its_own_logits(dtype, tiny_tokenizer):
    """Tokens chosen by the step without modules are, up to half precision, the likeliest by the modules' logits."""
    half = load_model("tiny", dtype=dtype, attention="sdpa")
    prompt = tiny_tokenizer.encode("Return the number of items in the list")
    written = generate(half, [prompt], 40, stop_tokens=[])[0]
    with torch.inference_mode():
        logits = half(torch.tensor([written])).float()[0, len(prompt) - 1 : -1]
    chosen = logits.gather(1, torch.tensor(written[len(prompt) :])[:, None])[:, 0]
    assert (logits.amax(-1) - chosen).max() < 40 * torch.finfo(dtype).eps * logits.abs().max()


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_norms_and_softmax_are_float32_inside(dtype):
    """torch computes in float32 and rounds only the result, once. The last bit may be rounded up or down."""
    x = torch.randn(50, 768, generator=torch.Generator().manual_seed(0)).mul(7).to(dtype)
    weight, bias = (torch.randn(768, generator=torch.Generator().manual_seed(n)).to(dtype) for n in (1, 2))
    for found, expected in [
        (F.layer_norm(x, (768,), weight, bias), F.layer_norm(x.float(), (768,), weight.float(), bias.float())),
        (x.softmax(-1), x.float().softmax(-1)),
    ]:
        assert found.dtype == dtype
        assert ((found.float() - expected).abs() <= torch.finfo(dtype).eps * expected.abs() + 1e-7).all()


@pytest.mark.parametrize("dtype", [torch.float32, *HALF], ids=str)
def test_loading_rounds_each_number_once(dtype):
    """And every tensor lies in its own order, as the fast products expect it."""
    model, exact = load_model("tiny", dtype=dtype), load_model("tiny", dtype=torch.float64)
    for name, weight in model.named_parameters():
        assert torch.equal(weight, exact.get_parameter(name).to(dtype)) and weight.is_contiguous()
