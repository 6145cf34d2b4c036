"""Cross-entropy by hand: log-softmax, labels that select, labels that are ignored, and the shift, written once."""

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from .attention import padding_mask


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """log of softmax over the last dimension, (..., V) -> (..., V).

    log softmax(x)_i = x_i - log Σ_j exp(x_j). Half precision is computed in float32.
    Raises ValueError for logits that are not floating point, or have no entries.
    """
    logits = _largest_at_zero(logits)
    return logits - _log_sum_exp(logits)


def _largest_at_zero(logits):
    """Softmax does not change when a constant is added to every logit; with the largest at 0 no exp overflows."""
    if not (logits.is_floating_point() and logits.dim() and logits.size(-1)):
        raise ValueError(f"logits must be floating point scores (..., V), got {logits.dtype} {tuple(logits.shape)}")
    logits = _at_least_float32(logits)
    return logits - logits.detach().amax(dim=-1, keepdim=True)


def _at_least_float32(x):
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _log_sum_exp(logits):
    return logits.exp().sum(dim=-1, keepdim=True).log()


def cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """How surprised the model is by each target: -log p(target). The target is a selector of one log-probability.

    logits (..., V), targets (...) of int64 in 0..V-1 or ignore_index. The lecture's example: with log-probabilities
    -1.3472, -2.3242, -3.7108 at the targets, the mean is 2.4607; with the last target -100 it is 1.8357.

    reduction "mean" divides by the number of targets that count (nan when none does, as in torch), "sum" does not
    (0.0 when none does), "none" returns one loss per target (0.0 where ignored). label_smoothing mixes the target
    with a uniform guess (Szegedy et al. 2016, section 7).

    Raises ValueError for shapes, dtypes or devices that do not match, a target out of range (with its position), or a
    bad option.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} need targets {tuple(logits.shape[:-1])}, got {tuple(targets.shape)}"
        )
    _check_reduction(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing}")
    counts = _counted(targets, logits.size(-1), logits.device, ignore_index)

    # Rows are selected before anything is computed: an inf or nan in an ignored row never reaches a gradient.
    logits, chosen = (logits.flatten(0, -2), targets.flatten()) if counts.all() else (logits[counts], targets[counts])
    logits = _largest_at_zero(logits)  # (n, V)
    log_total = _log_sum_exp(logits)  # (n, 1)
    # log_softmax(logits) at the target and nowhere else: the other V - 1 entries are never written down.
    losses = (log_total - logits.gather(-1, chosen[:, None])).squeeze(-1)  # (n,)
    if label_smoothing > 0:
        uniform = (log_total - logits.mean(dim=-1, keepdim=True)).squeeze(-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    if reduction == "none":
        return losses.new_zeros(targets.shape).masked_scatter(counts, losses)
    return losses.sum() if reduction == "sum" else losses.sum() / len(losses)


def next_token_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    num_items: int | None = None,
) -> torch.Tensor:
    """Cross-entropy of a language model: position t predicts the token at t + 1. The shift is here and nowhere else.

    logits (B, T, V), labels (B, T), usually the input tokens themselves. With an attention_mask (B, T) a label counts
    only if it and its predecessor are real tokens: a pad predicts nothing. reduction as in `cross_entropy` ("none"
    gives (B, T - 1)); num_items replaces the divisor of "mean", for a batch that is fed in several parts.
    Raises ValueError as `cross_entropy` does, for an attention_mask of another shape or with other values than 0 and 1,
    and for a num_items below 1.
    """
    if logits.dim() != 3 or labels.shape != logits.shape[:2]:
        raise ValueError(
            f"expected logits (B, T, V) and labels (B, T), got {tuple(logits.shape)}, {tuple(labels.shape)}"
        )
    _check_reduction(reduction, num_items)
    _counted(labels, logits.size(-1), logits.device, ignore_index)  # the first too, though nothing predicts it
    logits, targets = logits[:, :-1], next_token_targets(labels, attention_mask, ignore_index)
    if num_items is None:
        return cross_entropy(logits, targets, ignore_index, reduction)
    return cross_entropy(logits, targets, ignore_index, "sum") / num_items


def next_token_targets(
    labels: torch.Tensor, attention_mask: torch.Tensor | None = None, ignore_index: int = -100
) -> torch.Tensor:
    """What each position but the last has to predict: labels (B, T) -> targets (B, T - 1), the shift itself.

    Raises ValueError for an attention_mask of another shape or with other values than 0 and 1.
    """
    targets = labels[:, 1:]
    if attention_mask is None:
        return targets
    if attention_mask.shape != labels.shape or attention_mask.device != labels.device:
        raise ValueError(
            f"attention_mask {tuple(attention_mask.shape)} on {attention_mask.device} must have the shape of the "
            f"labels, {tuple(labels.shape)}, on {labels.device}"
        )
    real = padding_mask(attention_mask)[:, 0, 0]
    return targets.masked_fill(~(real[:, 1:] & real[:, :-1]), ignore_index)


def linear_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    ignore_index: int = -100,
    reduction: str = "mean",
    num_items: int | None = None,
    chunk_size: int | None = None,
) -> torch.Tensor:
    """cross_entropy(hidden @ weight.T, targets) without its (T, V) logits: head and loss, a few rows at a time.

    hidden (..., C), weight (V, C), targets (...); the other arguments as in `cross_entropy` and `next_token_loss`.
    At V = 50257 the logits of 1024 tokens fill 206 MB, and their gradient as much again. But a row of the gradient,
    softmax minus the target, is known as soon as the row's loss is: each chunk's part of the gradients of hidden and
    weight is computed at once, and its logits are forgotten. Only reduction "none", whose rows may be weighted later,
    computes them twice. chunk_size None = as many rows as make 2^22 logits (on CUDA 2^26).
    Under autocast the products are in its dtype, the loss in float32.
    Raises ValueError as `cross_entropy` does, for shapes that do not fit, and for a chunk_size or num_items below 1.
    """
    fits = weight.dim() == 2 and hidden.dim() and hidden.shape[-1] == weight.shape[-1] and hidden.is_floating_point()
    alike = hidden.device == weight.device
    alike = alike and (hidden.dtype == weight.dtype or torch.is_autocast_enabled(hidden.device.type))
    if not (fits and alike) or hidden.shape[:-1] != targets.shape:
        raise ValueError(
            f"expected hidden (..., C), weight (V, C) and targets (...), got {tuple(hidden.shape)} {hidden.dtype} on "
            f"{hidden.device}, {tuple(weight.shape)} {weight.dtype} on {weight.device}, {tuple(targets.shape)}"
        )
    _check_reduction(reduction, num_items)
    if chunk_size is None:
        chunk_size = max(1, 2 ** (26 if hidden.is_cuda else 22) // len(weight))
    if not isinstance(chunk_size, int) or chunk_size < 1:
        raise ValueError(f"chunk_size must be an integer of at least 1, got {chunk_size!r}")
    counts = _counted(targets, len(weight), hidden.device, ignore_index)
    rows, chosen = (hidden.flatten(0, -2), targets.flatten()) if counts.all() else (hidden[counts], targets[counts])
    if reduction == "none":
        parts = zip(rows.split(chunk_size), chosen.split(chunk_size), strict=True)
        options = {"use_reentrant": False, "preserve_rng_state": False}  # nothing random happens in there
        losses = [checkpoint(_row_losses, part, weight, of_part, **options) for part, of_part in parts]
        return losses[0].new_zeros(targets.shape).masked_scatter(counts, torch.cat(losses))
    if not torch.is_grad_enabled():
        rows, weight = rows.detach(), weight.detach()
    divisor = 1 if reduction == "sum" else num_items or len(rows)
    loss = _SumOfLosses.apply(rows, weight, chosen, chunk_size, 1 / max(1, divisor))
    return loss if divisor else loss + torch.nan  # a mean of nothing, whose gradients are 0 nevertheless


def _row_losses(rows, weight, targets):
    logits = _at_least_float32(F.linear(rows, weight))  # (n, V)
    return F.cross_entropy(logits, targets, reduction="none")  # in one kernel what `cross_entropy` does in several


class _SumOfLosses(torch.autograd.Function):
    """Σ losses · scale, and at the same time its gradients."""

    @staticmethod
    def forward(ctx, rows, weight, targets, chunk_size, scale):
        device = rows.device.type
        is_cast = torch.is_autocast_enabled(device) and rows.dtype != torch.float64  # which autocast leaves alone
        dtype = torch.get_autocast_dtype(device) if is_cast else rows.dtype
        head, total = weight.to(dtype), _at_least_float32(rows[:0]).sum()
        grad_rows = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        # A sum over all chunks: in half precision it would lose the small parts.
        grad_weight = _at_least_float32(torch.zeros_like(weight)) if ctx.needs_input_grad[1] else None
        with torch.autocast(device, enabled=False):
            for first in range(0, len(rows), chunk_size):
                part = slice(first, first + chunk_size)
                x = rows[part].to(dtype)
                loss, gradient = _loss_and_gradient(x, head, targets[part, None])
                total = total + loss
                if grad_rows is not None:
                    grad_rows[part] = gradient @ head
                if grad_weight is not None and dtype == grad_weight.dtype:
                    grad_weight.addmm_(gradient.t(), x)
                elif grad_weight is not None:  # half-precision products, in blocks that a cache can hold
                    for block in range(0, len(head), 2048):
                        product = gradient[:, block : block + 2048].t() @ x
                        grad_weight[block : block + 2048] += product.to(grad_weight.dtype)
                del gradient  # before the next chunk makes its own
        for gradient in filter(lambda g: g is not None, (grad_rows, grad_weight)):
            gradient.mul_(scale)
        ctx.save_for_backward(grad_rows, grad_weight if grad_weight is None else grad_weight.to(weight.dtype))
        return total * scale

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        # loss.backward() starts with a 1: nothing to multiply, and no copies.
        is_one = bool(grad_output == 1)
        scaled = [g if g is None or is_one else g * grad_output for g in ctx.saved_tensors]
        return *scaled, None, None, None


def _loss_and_gradient(x, head, target):
    """Sum of the losses of rows x (n, C), and its gradient with respect to their logits: softmax minus the target."""
    logits = _at_least_float32(F.linear(x, head))  # (n, V), the largest thing there is
    loss = -logits.log_softmax(dim=-1).gather(1, target).sum()
    gradient = logits.softmax(dim=-1)
    gradient.scatter_add_(1, target, gradient.new_full(target.shape, -1.0))
    return loss, gradient.to(x.dtype)


def _check_reduction(reduction, num_items=None):
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if num_items is not None and not (reduction == "mean" and num_items >= 1):
        raise ValueError(f'num_items must be at least 1 and needs reduction "mean", got {num_items}, {reduction!r}')


def _counted(targets, n_classes, device, ignore_index):
    """Which targets count, (...) bool. Raises ValueError for one that is not in 0..n_classes - 1."""
    if targets.dtype != torch.int64:
        raise ValueError(f"targets must be int64 token ids, got {targets.dtype}")
    if targets.device != device:
        raise ValueError(f"targets are on {targets.device}, logits on {device}")
    if not isinstance(ignore_index, int):
        raise ValueError(f"ignore_index must be an integer, got {ignore_index!r}")
    counts = targets != ignore_index
    wrong = counts & ((targets < 0) | (targets >= n_classes))
    if wrong.any():
        position = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(f"target {targets[position].item()} at position {position} is outside 0..{n_classes - 1}")
    return counts
