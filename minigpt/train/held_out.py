"""How good is a model while it learns: the loss on held-out text, and whether it copies what it has seen."""

import numpy as np
import torch
from torch import nn

from .._checks import integer
from ..data import check_tokens, segment_ids_of, targets_of
from ..fast import LanguageModelLoss
from ..language_model import eval_mode


@torch.no_grad()
def evaluate(
    model: nn.Module,
    tokens: np.ndarray,
    context: int,
    n_rows: int = 64,
    batch_size: int = 16,
    end_of_text: int | None = None,
) -> float:
    """Mean loss in nats over up to n_rows rows spread evenly over a text: always the same ones, so runs compare.

    With an end_of_text documents in a row do not see each other, as in training. Raises ValueError for a text shorter
    than one row, and for a setting out of range.
    """
    context, n_rows = integer("context", context, 2), integer("n_rows", n_rows, 1)
    batch_size = integer("batch_size", batch_size, 1)
    check_tokens("tokens", tokens, context)
    device = next(model.parameters()).device
    starts = np.unique(np.linspace(0, len(tokens) - context, n_rows, dtype=np.int64))
    total, n_targets, loss_of = 0.0, 0, LanguageModelLoss(model)
    with eval_mode(model):
        for first in range(0, len(starts), batch_size):
            rows = np.stack([tokens[s : s + context] for s in starts[first : first + batch_size]]).astype(np.int64)
            batch = torch.from_numpy(rows).to(device)
            labels = targets_of(batch, end_of_text)
            segments = {} if end_of_text is None else {"segment_ids": segment_ids_of(batch, end_of_text)}
            total += loss_of(batch, labels, reduction="sum", **segments).item()
            n_targets += int((labels[:, 1:] != -100).sum())
    return total / max(1, n_targets)


@torch.no_grad()
def induction_gap(model: nn.Module, vocab_size: int, length: int, n_rows: int = 64, seed: int = 0) -> float:
    """How much of a text seen before is recognised: random tokens, then the same again; mean loss of the first half
    minus that of the second, in nats (Olsson et al. 2022, "In-context Learning and Induction Heads").

    A model that copies nothing scores 0. Each half has `length` tokens, two or more.
    """
    vocab_size, length = integer("vocab_size", vocab_size, 1), integer("length", length, 2)
    n_rows = integer("n_rows", n_rows, 1)
    generator = torch.Generator().manual_seed(seed)
    once = torch.randint(vocab_size, (n_rows, length), generator=generator)
    rows = torch.cat([once, once], dim=1).to(next(model.parameters()).device)
    losses = LanguageModelLoss(model)(rows, rows, reduction="none")  # (n_rows, 2 * length - 1)
    # losses[:, t] is that of token t + 1. The first repeated token cannot be predicted and counts for neither half.
    return (losses[:, : length - 1].mean() - losses[:, length:].mean()).item()
