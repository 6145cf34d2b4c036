"""Cross-entropy by hand: log-softmax, labels that select, labels that are ignored, and the shift, written once.

log p(v) = logits[v] - log Σ_u exp(logits[u])         log-softmax
loss     = -log p(target)                             a label selects one log-probability
loss     = mean over the labels that are not -100     those are ignored
logits[:, :-1] predict labels[:, 1:]                  the shift: position t predicts token t + 1

| loss            | model         | position t predicts | the model has read                      |
|-----------------|---------------|---------------------|-----------------------------------------|
| next_token_loss | GPT-2, Llama  | token t + 1         | tokens 0 ... t                          |
| masked_loss     | BERT          | token t             | all of the text, with [MASK] at t       |
| sequence_loss   | T5            | label t             | the source, and labels 0 ... t - 1      |
"""

import torch

from ._checks import integer, number
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
    logits = at_least_float32(logits)
    return logits - logits.detach().amax(dim=-1, keepdim=True)


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Half precision as float32, anything else as it is."""
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
    """How surprised the model is by each target: -log p(target). The target selects one log-probability.

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
    check_reduction(reduction)
    number("label_smoothing", label_smoothing, least=0, most=1)
    counts = counted_targets(targets, logits.size(-1), logits.device, ignore_index)

    # Rows are selected before anything is computed: an inf or nan in an ignored row never reaches a gradient.
    logits, chosen = (logits.flatten(0, -2), targets.flatten()) if counts.all() else (logits[counts], targets[counts])
    logits = _largest_at_zero(logits)  # (n, V)
    log_total = _log_sum_exp(logits)  # (n, 1)
    # log_softmax(logits) at the target and nowhere else: the other V - 1 entries are never stored.
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
    """Cross-entropy of a language model: position t predicts the token at t + 1. The shift is in `next_token_targets`
    and nowhere else (T5's labels are shifted by `decoder_inputs`).

    logits (B, T, V), labels (B, T), usually the input tokens themselves. With an attention_mask (B, T) a label counts
    only if it and its predecessor are real tokens: a pad predicts nothing. reduction as in `cross_entropy` ("none"
    gives (B, T - 1)); num_items replaces the divisor of "mean", for a batch that is fed in several parts.
    Raises ValueError as `cross_entropy` does, for an attention_mask of another shape or with other values than 0 and 1,
    and for a num_items below 1.
    """
    _check_rows(logits, labels)
    num_items = check_reduction(reduction, num_items)
    counted_targets(labels, logits.size(-1), logits.device, ignore_index)  # the first too, though nothing predicts it
    logits, targets = logits[:, :-1], next_token_targets(labels, attention_mask, ignore_index)
    return _loss(logits, targets, ignore_index, reduction, num_items)


def masked_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    ignore_index: int = -100,
    reduction: str = "mean",
    num_items: int | None = None,
) -> torch.Tensor:
    """BERT's loss (Devlin et al. 2018, section 3.1, "Masked LM"): position t predicts its own token. There is no shift.

    logits (B, T, V); labels (B, T) hold the original token where one was chosen for prediction (the model has read
    [MASK] there, or now and then another token or the token itself), and ignore_index everywhere else, pads included.
    For the next sentence, add `cross_entropy` of `Bert.sentence_logits`. reduction and num_items as in
    `next_token_loss`. Raises ValueError as that does.
    """
    _check_rows(logits, labels)
    num_items = check_reduction(reduction, num_items)
    return _loss(logits, labels, ignore_index, reduction, num_items)


def sequence_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    pad_token_id: int | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    num_items: int | None = None,
) -> torch.Tensor:
    """T5's loss (Raffel et al. 2020, section 2.4): position t of the decoder predicts label t. `decoder_inputs` has
    shifted the labels already.

    logits (B, T, V), labels (B, T) with ignore_index in place of pads. pad_token_id, where it is given, may not be
    among the labels: a pad that counts would change the loss. Raises ValueError for that, and as `masked_loss` does.
    """
    _check_rows(logits, labels)
    refuse_pads(labels, pad_token_id, ignore_index)
    return masked_loss(logits, labels, ignore_index, reduction, num_items)


def decoder_inputs(
    labels: torch.Tensor, start_token_id: int, pad_token_id: int, ignore_index: int = -100
) -> torch.Tensor:
    """What T5's decoder reads to predict labels (B, T): the labels one place later, with the start token in front.

    labels and result (B, T) int64. An ignored label is read as a pad; labels after it still count, so ignored labels
    belong at the end of a row. Raises ValueError for labels of another shape, and for pads among them.
    """
    if labels.dim() != 2:
        raise ValueError(f"labels must have shape (batch, tokens), got {tuple(labels.shape)}")
    start_token_id, pad_token_id = integer("start_token_id", start_token_id), integer("pad_token_id", pad_token_id)
    refuse_pads(labels, pad_token_id, ignore_index)
    inputs = labels.roll(1, dims=1)
    inputs[:, 0] = start_token_id
    return inputs.masked_fill(inputs == ignore_index, pad_token_id)


def refuse_pads(labels: torch.Tensor, pad_token_id: int | None, ignore_index: int = -100) -> None:
    """Raise ValueError, with its place, for a label that is a pad."""
    ignore_index = integer("ignore_index", ignore_index)
    pad_token_id = None if pad_token_id is None else integer("pad_token_id", pad_token_id)
    if pad_token_id is not None and pad_token_id != ignore_index and (labels == pad_token_id).any():
        row, column = (labels == pad_token_id).nonzero()[0].tolist()
        raise ValueError(
            f"labels hold the pad {pad_token_id} at row {row}, column {column}, where it would count; "
            f"write ignore_index={ignore_index} in place of pads"
        )


def _loss(logits, targets, ignore_index, reduction, num_items):
    if num_items is None:
        return cross_entropy(logits, targets, ignore_index, reduction)
    return cross_entropy(logits, targets, ignore_index, "sum") / num_items


def _check_rows(logits: torch.Tensor, labels: torch.Tensor) -> None:
    if logits.dim() != 3 or labels.shape != logits.shape[:2]:
        shapes = f"{tuple(logits.shape)}, {tuple(labels.shape)}"
        raise ValueError(f"expected logits (B, T, V) and labels (B, T), got {shapes}")


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
    return targets.masked_fill(~(real[:, 1:] & real[:, :-1]), integer("ignore_index", ignore_index))


def check_reduction(reduction: str, num_items: int | None = None) -> int | None:
    """num_items as an int. Raises ValueError for an unknown reduction, and for a num_items below 1 or without reduction
    "mean"."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if num_items is None:
        return None
    if reduction != "mean":
        raise ValueError(f'num_items={num_items} needs reduction "mean", got {reduction!r}')
    return integer("num_items", num_items, 1)


def counted_targets(targets: torch.Tensor, n_classes: int, device, ignore_index: int) -> torch.Tensor:
    """Which targets count, (...) bool. Raises ValueError, with the position, for one outside 0..n_classes - 1."""
    if targets.dtype != torch.int64:
        raise ValueError(f"targets must be int64 token ids, got {targets.dtype}")
    if targets.device != device:
        raise ValueError(f"targets are on {targets.device}, logits on {device}")
    counts = targets != integer("ignore_index", ignore_index)
    wrong = counts & ((targets < 0) | (targets >= n_classes))
    if wrong.any():
        position = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(f"target {targets[position].item()} at position {position} is outside 0..{n_classes - 1}")
    return counts
