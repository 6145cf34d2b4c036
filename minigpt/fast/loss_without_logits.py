"""The loss without holding its logits: head and loss a few rows at a time; and a model with its loss as one module."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from .._checks import integer
from ..loss import (
    at_least_float32,
    check_reduction,
    counted_targets,
    cross_entropy,
    next_token_loss,
    next_token_targets,
)
from .switch import is_on
from .unmodified import is_unmodified


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
    softmax minus 1 at the target, is known as soon as the row's loss is. So each chunk's part of the gradients of
    hidden and weight is computed at once, and its logits are freed. Only reduction "none", whose rows may be weighted
    later, computes the logits twice. chunk_size None = as many rows as make 2^22 logits (on CUDA 2^26).
    Under autocast the products are in its dtype, the loss in float32.
    Raises ValueError as `cross_entropy` does, for shapes that do not fit, and for a chunk_size or num_items below 1.
    """
    fits = weight.dim() == 2 and hidden.dim() and hidden.shape[-1] == weight.shape[-1] and hidden.is_floating_point()
    same_dtype = hidden.dtype == weight.dtype or torch.is_autocast_enabled(hidden.device.type)
    if not (fits and same_dtype and hidden.device == weight.device) or hidden.shape[:-1] != targets.shape:
        raise ValueError(
            f"expected hidden (..., C), weight (V, C) and targets (...), got {tuple(hidden.shape)} {hidden.dtype} on "
            f"{hidden.device}, {tuple(weight.shape)} {weight.dtype} on {weight.device}, {tuple(targets.shape)}"
        )
    num_items = check_reduction(reduction, num_items)
    if chunk_size is None:
        chunk_size = max(1, 2 ** (26 if hidden.is_cuda else 22) // len(weight))
    chunk_size = integer("chunk_size", chunk_size, 1)
    counts = counted_targets(targets, len(weight), hidden.device, ignore_index)
    rows, chosen = (hidden.flatten(0, -2), targets.flatten()) if counts.all() else (hidden[counts], targets[counts])
    if reduction == "none":
        parts = zip(rows.split(chunk_size), chosen.split(chunk_size), strict=True)
        losses_of = _row_losses
        if torch.is_grad_enabled():  # without gradients nothing is kept, and torch need not load what checkpoint needs
            losses_of = partial(checkpoint, _row_losses, use_reentrant=False, preserve_rng_state=False)
        losses = [losses_of(part, weight, of_part) for part, of_part in parts]
        return losses[0].new_zeros(targets.shape).masked_scatter(counts, torch.cat(losses))
    if not torch.is_grad_enabled():
        rows, weight = rows.detach(), weight.detach()
    divisor = 1 if reduction == "sum" else num_items or len(rows)
    loss = _SumOfLosses.apply(rows, weight, chosen, chunk_size, 1 / max(1, divisor))
    # If no target counts, the mean is nan, as in torch, and the gradients are 0.
    return loss if divisor else loss + torch.nan


def _row_losses(rows, weight, targets):
    logits = at_least_float32(F.linear(rows, weight))  # (n, V)
    return F.cross_entropy(logits, targets, reduction="none")  # one kernel; `cross_entropy` here needs several


class _SumOfLosses(torch.autograd.Function):
    """Σ losses · scale, and at the same time its gradients."""

    @staticmethod
    def forward(ctx, rows, weight, targets, chunk_size, scale):
        device = rows.device.type
        is_cast = torch.is_autocast_enabled(device) and rows.dtype != torch.float64  # which autocast leaves alone
        dtype = torch.get_autocast_dtype(device) if is_cast else rows.dtype
        head, total = weight.to(dtype), at_least_float32(rows[:0]).sum()
        grad_rows = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        # A sum over all chunks: in half precision it would lose the small parts.
        grad_weight = at_least_float32(torch.zeros_like(weight)) if ctx.needs_input_grad[1] else None
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
                elif grad_weight is not None:  # half-precision products, in blocks that fit the processor's cache
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
        # loss.backward() gives a 1: then nothing is multiplied, and nothing copied.
        is_one = bool(grad_output == 1)
        scaled = [g if g is None or is_one else g * grad_output for g in ctx.saved_tensors]
        return *scaled, None, None, None


def _loss_and_gradient(x, head, target):
    """Sum of the losses of rows x (n, C), and its gradient by their logits (n, V): softmax minus 1 at the target."""
    logits = at_least_float32(F.linear(x, head))  # (n, V), the largest tensor in here
    loss = -logits.log_softmax(dim=-1).gather(1, target).sum()
    gradient = logits.softmax(dim=-1)
    gradient.scatter_add_(1, target, gradient.new_full(target.shape, -1.0))
    return loss, gradient.to(x.dtype)


def loss_of_hidden(
    model, hidden: torch.Tensor, targets: torch.Tensor, reduction: str = "mean", num_items: int | None = None
) -> torch.Tensor:
    """The cross-entropy of a model's head: hidden states (B, T, C) -> the loss of targets (B, T), without a shift.

    model has logits(hidden). If these are only the head's matrix times the hidden states, they are never all in memory.
    For a model with another head, a patch or a hook, logits(hidden) is called, and all are. Raises ValueError as
    `cross_entropy` does.
    """
    if is_on() and has_plain_head(model):
        return linear_cross_entropy(hidden, head_weight(model), targets, reduction=reduction, num_items=num_items)
    logits, num_items = model.logits(hidden), check_reduction(reduction, num_items)
    if num_items is None:
        return cross_entropy(logits, targets, reduction=reduction)
    return cross_entropy(logits, targets, reduction="sum") / num_items


def head_weight(model) -> torch.Tensor:
    """(V, C), what turns hidden states into logits: the token embedding itself, unless the head is not tied."""
    return (model.token_embedding if model.lm_head is None else model.lm_head).weight


def has_plain_head(model) -> bool:
    """Whether a model's logits are its head's matrix times the hidden states, and no hook or patch sees them. (T5 may
    scale its hidden states first.)"""
    return is_unmodified(model) and not model.has_encoder and (model.lm_head is None or is_unmodified(model.lm_head))


class LanguageModelLoss(nn.Module):
    """(tokens, labels), each (B, T), -> the `next_token_loss` of a model's logits: what training differentiates.

    The model is any module that turns (B, T) ids into (B, T, V) logits. Of a model with a plain head the logits are
    never all in memory (`loss_of_hidden`). compile=True compiles it.
    """

    def __init__(self, model: nn.Module, compile: bool = False):
        super().__init__()
        self.model = model
        ways = {"logits": model, "hidden": getattr(model, "hidden", None)}
        self.ways = {name: torch.compile(way) if compile and way else way for name, way in ways.items()}

    def forward(self, tokens, labels, reduction="mean", num_items=None, **inputs) -> torch.Tensor:
        """Arguments and errors as in `next_token_loss`; other inputs, such as segment_ids, go to the model."""
        real = inputs.get("attention_mask")
        if not (is_on() and has_plain_head(self.model)):
            logits = self.ways["logits"](tokens, **inputs)
            return next_token_loss(logits, labels, real, reduction=reduction, num_items=num_items)
        hidden, targets = self.ways["hidden"](tokens, **inputs)[:, :-1], next_token_targets(labels, real)
        return linear_cross_entropy(hidden, head_weight(self.model), targets, reduction=reduction, num_items=num_items)
