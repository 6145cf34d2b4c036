"""How good is a model while it learns: the loss on held-out text, and whether it copies what it has seen."""

import numpy as np
import torch
from torch import nn

from .._checks import integer
from ..data import check_tokens
from ..fast import LanguageModelLoss
from ..language_model import eval_mode
from .objectives import NextToken, Objective, mean_loss


@torch.no_grad()
def evaluate(
    model: nn.Module,
    tokens: np.ndarray,
    context: int,
    n_rows: int = 64,
    batch_size: int = 16,
    end_of_text: int | None = None,
    objective: Objective | None = None,
) -> float:
    """Mean loss in nats over up to n_rows rows spread evenly over a text: always the same ones, so runs compare.

    objective None = the next token; with an end_of_text documents in a row do not see each other, as in training.
    What another objective masks or cuts out is always the same, too. Raises ValueError for a text shorter than one row,
    and for a setting out of range.
    """
    context, n_rows = integer("context", context, 2), integer("n_rows", n_rows, 1)
    batch_size = integer("batch_size", batch_size, 1)
    objective = NextToken(end_of_text) if objective is None else objective
    length = objective.row_length(context)
    check_tokens("tokens", tokens, length)
    starts = np.unique(np.linspace(0, len(tokens) - length, n_rows, dtype=np.int64))
    rows = torch.from_numpy(np.stack([tokens[start : start + length] for start in starts]).astype(np.int64))
    parts = [objective.examples(part, step, seed=0) for step, part in enumerate(rows.split(batch_size))]
    with eval_mode(model):
        return mean_loss(objective.loss_of(model), parts)


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
