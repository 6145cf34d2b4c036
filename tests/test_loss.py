import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from minigpt.fast import linear_cross_entropy
from minigpt.loss import cross_entropy, log_softmax, next_token_loss, next_token_targets


@pytest.fixture
def lecture():
    """The lecture's tensors: torch.manual_seed(42), randn(3, 5), then three targets below 5."""
    torch.manual_seed(42)
    return torch.randn(3, 5), torch.empty(3, dtype=torch.long).random_(5)


def test_the_lectures_numbers(lecture):
    logits, target = lecture
    assert target.tolist() == [0, 4, 3]
    chosen = log_softmax(logits)[range(3), target]
    assert [f"{value:.4f}" for value in chosen] == ["-1.3472", "-2.3242", "-3.7108"]
    assert f"{(-1.3472 + -2.3242 + -3.7108) / 3:.6f}" == "-2.460733"
    assert f"{cross_entropy(logits, target):.4f}" == "2.4607"
    target[-1] = -100
    assert f"{cross_entropy(logits, target):.4f}" == "1.8357"
    assert f"{-(-1.3472 + -2.3242) / 2:.4f}" == "1.8357"


def test_a_uniform_guess_costs_the_logarithm_of_the_vocabulary():
    logits = torch.zeros(2, 10_000, dtype=torch.float64)
    assert abs(cross_entropy(logits, torch.tensor([17, 4242])).item() - math.log(10_000)) < 1e-13
    assert f"{math.log(10_000):.5f}" == "9.21034"


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_log_softmax_equals_torchs_at_any_height(offset):
    logits = torch.randn(4, 3, 11, dtype=torch.float64) * 20 + offset
    assert (log_softmax(logits) - F.log_softmax(logits, -1)).abs().max() < 1e-12


def test_half_precision_is_computed_in_float32():
    logits = torch.randn(5, 9).to(torch.bfloat16)
    assert log_softmax(logits).dtype == torch.float32
    assert torch.allclose(log_softmax(logits), F.log_softmax(logits.float(), -1), atol=1e-6)


@pytest.mark.parametrize("ignored", [0, 3])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_equals_torch_with_gradients(ignored, reduction, smoothing):
    generator = torch.Generator().manual_seed(7)
    ours_in = torch.randn(2, 6, 13, generator=generator, dtype=torch.float64).mul(3).requires_grad_()
    theirs_in = ours_in.detach().clone().requires_grad_()
    targets = torch.randint(13, (2, 6), generator=generator)
    targets.view(-1)[[1, 7, 11][:ignored]] = -100
    ours = cross_entropy(ours_in, targets, reduction=reduction, label_smoothing=smoothing)
    theirs = F.cross_entropy(theirs_in.transpose(1, 2), targets, reduction=reduction, label_smoothing=smoothing)
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 5e-14
    ours.sum().backward()
    theirs.sum().backward()
    assert (ours_in.grad - theirs_in.grad).abs().max() < 1e-15


def test_gradient_is_softmax_minus_the_target():
    logits = torch.randn(1, 6, dtype=torch.float64, requires_grad=True)
    cross_entropy(logits, torch.tensor([2])).backward()
    expected = logits.detach().softmax(-1) - F.one_hot(torch.tensor([2]), 6)
    assert (logits.grad - expected).abs().max() < 1e-15


def test_another_ignore_index():
    logits = torch.randn(3, 5)
    assert torch.equal(
        cross_entropy(logits, torch.tensor([1, 0, 2]), ignore_index=0),
        cross_entropy(logits[[0, 2]], torch.tensor([1, 2])),
    )


def test_all_ignored_is_nan_for_mean_and_zero_for_sum():
    logits, targets = torch.randn(2, 5), torch.full((2,), -100)
    assert cross_entropy(logits, targets).isnan()
    assert cross_entropy(logits, targets, reduction="sum") == 0
    assert torch.equal(cross_entropy(logits, targets, reduction="none"), torch.zeros(2))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_ignored_row_may_hold_anything(bad):
    logits = torch.randn(3, 5)
    logits[1] = bad
    logits.requires_grad_()
    loss = cross_entropy(logits, torch.tensor([1, -100, 2]))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all() and (logits.grad[1] == 0).all()


@pytest.mark.parametrize(
    "targets, options, words",
    [
        (torch.tensor([0, 5]), {}, r"target 5 at position \(1,\) is outside 0..4"),
        (torch.tensor([-1, 2]), {}, r"target -1 at position \(0,\)"),
        (torch.tensor([0.0, 1.0]), {}, "int64"),
        (torch.tensor([0]), {}, r"\(2, 5\)"),
        (torch.tensor([0, 1]), {"reduction": "avg"}, "'avg'"),
        (torch.tensor([0, 1]), {"label_smoothing": 1.5}, "1.5"),
    ],
)
def test_cross_entropy_refuses(targets, options, words):
    with pytest.raises(ValueError, match=words):
        cross_entropy(torch.randn(2, 5), targets, **options)


def shifted_reference(logits, labels, attention_mask=None):
    """The lecture's shift, written with loops."""
    losses = []
    for row in range(labels.size(0)):
        for t in range(labels.size(1) - 1):
            real = attention_mask is None or (attention_mask[row, t] and attention_mask[row, t + 1])
            if real and labels[row, t + 1] != -100:
                losses.append(-F.log_softmax(logits[row, t], -1)[labels[row, t + 1]])
    return torch.stack(losses)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_next_token_loss_shifts_once(padding):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 6, 9, generator=generator, dtype=torch.float64)
    labels = torch.randint(9, (3, 6), generator=generator)
    labels[0, 4] = -100
    mask = None
    if padding != "none":
        mask = torch.ones_like(labels)
        mask[1, :2] = 0
        mask = mask if padding == "left" else mask.flip(1)
    expected = shifted_reference(logits, labels, mask)
    assert abs(next_token_loss(logits, labels, mask) - expected.mean()) < 1e-14
    assert abs(next_token_loss(logits, labels, mask, reduction="sum") - expected.sum()) < 1e-13
    each = next_token_loss(logits, labels, mask, reduction="none")
    assert each.shape == (3, 5) and (each[each > 0] - expected).abs().max() < 1e-14


def test_the_last_pad_does_not_predict_the_first_token():
    """With pads labelled -100 and no mask, Hugging Face lets the last pad's position predict the first real token."""
    logits, labels = torch.randn(1, 5, 7), torch.tensor([[-100, -100, 3, 4, 5]])
    mask = torch.tensor([[0, 0, 1, 1, 1]])
    assert next_token_loss(logits, labels, mask, reduction="sum") < next_token_loss(logits, labels, reduction="sum")
    expected = next_token_loss(logits[:, 2:], labels[:, 2:])
    assert torch.equal(next_token_loss(logits, labels, mask), expected)


def test_parts_of_a_batch_add_up_to_the_whole():
    logits, labels = torch.randn(4, 5, 7, dtype=torch.float64), torch.randint(7, (4, 5))
    labels[0, 1:] = -100  # an uneven split: the mean of the parts' means would be wrong
    parts = [next_token_loss(logits[i : i + 2], labels[i : i + 2], num_items=12) for i in (0, 2)]
    assert abs(sum(parts) - next_token_loss(logits, labels)) < 1e-14


@pytest.mark.parametrize(
    "logits, labels, options, words",
    [
        ((2, 4, 5), torch.zeros(2, 3, dtype=torch.long), {}, r"\(2, 3\)"),
        ((4, 5), torch.zeros(4, dtype=torch.long), {}, r"\(B, T, V\)"),
        ((1, 2, 5), torch.tensor([[9, 1]]), {}, r"target 9 at position \(0, 0\)"),  # nothing predicts it, still refused
        ((1, 2, 5), torch.tensor([[0, 1]]), {"attention_mask": torch.ones(1, 3)}, r"\(1, 3\).*\(1, 2\)"),
        ((1, 2, 5), torch.tensor([[0, 1]]), {"num_items": 0}, "num_items"),
        ((1, 2, 5), torch.tensor([[0, 1]]), {"num_items": 2, "reduction": "sum"}, "num_items"),
    ],
)
def test_next_token_loss_refuses(logits, labels, options, words):
    with pytest.raises(ValueError, match=words):
        next_token_loss(torch.randn(logits), labels, **options)


# --- without the logits -----------------------------------------------------------------------------------------------


def rows_and_head(n_ignored: int = 2, dtype=torch.float64, seed: int = 5):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, 6, 7, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(11, 7, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(11, (2, 6), generator=generator)
    targets.view(-1)[[3, 8, *range(12)][:n_ignored]] = -100
    return hidden, weight, targets


@pytest.mark.parametrize("n_ignored", [0, 2])
@pytest.mark.parametrize("chunk_size", [1, 3, 12, None])
@pytest.mark.parametrize(
    "options", [{}, {"num_items": 5}, {"reduction": "sum"}, {"reduction": "none"}], ids=["mean", "items", "sum", "none"]
)
def test_the_lean_loss_is_the_loss(options, chunk_size, n_ignored):
    """Equal to cross_entropy of the logits: the value, and the gradients of a computation that uses the loss."""
    hidden, weight, targets = rows_and_head(n_ignored)

    def lean(hidden, weight):
        return linear_cross_entropy(hidden, weight, targets, chunk_size=chunk_size, **options)

    assert torch.autograd.gradcheck(lean, (hidden, weight))
    found = lean(hidden, weight)
    whole = "sum" if "num_items" in options else options.get("reduction", "mean")
    expected = cross_entropy(hidden @ weight.t(), targets, reduction=whole) / options.get("num_items", 1)
    assert found.shape == expected.shape and (found - expected).abs().max() < 5e-14
    for value in (found, expected):
        (value * torch.arange(1, value.numel() + 1).view(value.shape) * 3).sum().backward()
        for tensor in (hidden, weight):
            tensor.seen = [*getattr(tensor, "seen", []), tensor.grad]
            tensor.grad = None
    for tensor in (hidden, weight):
        assert (tensor.seen[0] - tensor.seen[1]).abs().max() < 1e-13
    with torch.no_grad():
        assert torch.equal(lean(hidden, weight), found)


def test_a_tied_weight_gets_both_of_its_gradients():
    """Embedding and head are one matrix: the gradients of both uses add up."""
    _, weight, targets = rows_and_head()
    gradients = []
    for lean in (True, False):
        rows = F.embedding(targets.clamp(min=0), weight).tanh()
        loss = linear_cross_entropy(rows, weight, targets) if lean else cross_entropy(rows @ weight.t(), targets)
        gradients.append(torch.autograd.grad(loss, weight)[0])
    assert (gradients[0] - gradients[1]).abs().max() < 1e-14


@pytest.mark.parametrize("needed", [(True, False), (False, True)])
def test_only_the_gradient_that_is_wanted(needed):
    hidden, weight, targets = rows_and_head()
    expected = torch.autograd.grad(cross_entropy(hidden @ weight.t(), targets), (hidden, weight))
    wanted = [tensor.detach().requires_grad_(need) for tensor, need in zip((hidden, weight), needed, strict=True)]
    linear_cross_entropy(*wanted, targets).backward()
    for tensor, gradient, need in zip(wanted, expected, needed, strict=True):
        assert (tensor.grad - gradient).abs().max() < 1e-14 if need else tensor.grad is None


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_lean_loss_under_autocast(reduction):
    """bfloat16 products, a float32 loss, float32 gradients: at most twice the error of the loss from the logits."""
    truth, found, usual = [], [], []
    for kind, into in [(torch.float64, truth), (torch.float32, found), (torch.float32, usual)]:
        hidden, weight, targets = rows_and_head(dtype=torch.float32)
        hidden, weight = (tensor.detach().to(kind).requires_grad_() for tensor in (hidden, weight))
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.float32):
            if into is found:
                loss = linear_cross_entropy(hidden, weight, targets, reduction=reduction, chunk_size=4)
            else:
                loss = cross_entropy(hidden @ weight.t(), targets, reduction=reduction)
        loss.sum().backward()
        into += [loss.detach(), hidden.grad, weight.grad]
    for exact, ours, theirs in zip(truth, found, usual, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - exact).abs().max() <= 2 * (theirs - exact).abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_lean_loss_of_half_precision_is_float32(dtype):
    hidden, weight, targets = rows_and_head(dtype=dtype)
    for reduction in ("sum", "none"):
        found = linear_cross_entropy(hidden, weight, targets, reduction=reduction)
        assert found.dtype == torch.float32
        expected = cross_entropy((hidden @ weight.t()).float(), targets, reduction=reduction)
        assert torch.allclose(found, expected, rtol=1e-6)


def test_half_precision_weights_lose_nothing_between_chunks():
    """The gradients of many chunks add up in float32: the error is that of one product, and nothing overflows."""
    generator = torch.Generator().manual_seed(0)
    exact = [torch.randn(2000, 16, generator=generator) * 20, torch.randn(50, 16, generator=generator) / 20]
    targets = torch.randint(50, (2000,), generator=generator)
    for dtype in (torch.bfloat16, torch.float16):
        found = [tensor.to(dtype).requires_grad_() for tensor in exact]
        truth = [tensor.detach().double().requires_grad_() for tensor in found]
        linear_cross_entropy(*found, targets, chunk_size=16).backward()
        cross_entropy(truth[0] @ truth[1].t(), targets).backward()
        for ours, its in zip(found, truth, strict=True):
            assert ours.grad.dtype == dtype
            assert (ours.grad - its.grad).abs().max() < 2 * torch.finfo(dtype).eps * its.grad.abs().max()


def test_float64_is_float64_under_autocast():
    hidden, weight, targets = rows_and_head()
    expected = linear_cross_entropy(hidden, weight, targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(linear_cross_entropy(hidden, weight, targets), expected)


def test_all_ignored_in_the_lean_loss():
    hidden, weight, targets = rows_and_head(14)
    loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward()
    assert loss.isnan() and not hidden.grad.any() and not weight.grad.any()  # as in torch
    hidden.grad = weight.grad = None
    assert torch.equal(
        linear_cross_entropy(hidden, weight, targets, reduction="none"), torch.zeros_like(hidden[..., 0])
    )
    loss = linear_cross_entropy(hidden, weight, targets, reduction="sum")
    loss.backward()
    assert loss == 0 and not hidden.grad.any() and not weight.grad.any()


class Largest(TorchDispatchMode):
    """The size of the largest tensor that any operation gives back."""

    n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.n = max(self.n, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("autocast", [False, True])
def test_the_logits_are_never_all_there(reduction, autocast):
    n_rows, n_classes, width = 64, 500, 8
    hidden, weight = torch.randn(n_rows, width, requires_grad=True), torch.randn(n_classes, width, requires_grad=True)
    targets = torch.randint(n_classes, (n_rows,))
    sizes = {}
    for lean in (True, False):
        with Largest() as largest:
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                if lean:
                    loss = linear_cross_entropy(hidden, weight, targets, reduction=reduction, chunk_size=8)
                else:
                    loss = cross_entropy(hidden @ weight.t(), targets, reduction=reduction)
            loss.sum().backward()
        sizes[lean] = largest.n
    assert sizes[True] == max(8 * n_classes, n_classes * width) and sizes[False] >= n_rows * n_classes


def test_the_shift_of_the_labels():
    labels = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert next_token_targets(labels).tolist() == [[2, 3, 4], [6, 7, 8]]
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    assert next_token_targets(labels, mask).tolist() == [[-100, -100, 4], [6, 7, -100]]
