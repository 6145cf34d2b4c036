"""Batches of rows for training: which tokens, which documents they belong to, which of them are predicted."""

import numpy as np
import torch

from .._checks import integer, number
from .token_files import check_tokens


def batch_at(
    step: int, tokens: np.ndarray, batch_size: int, context: int, seed: int = 0, repeat_share: float = 0.0
) -> torch.Tensor:
    """The batch (batch_size, context) int64 of a training step: rows from random places of a token file.

    The rows depend on (seed, step) alone: a run that is resumed at a step, or is spread over several machines, gets the
    same rows. In a repeat_share of the rows a passage, as long as an eighth to a half of the row, comes twice, so that
    the model learns to look back.
    Raises ValueError when the file is shorter than one row, and for a setting out of range.
    """
    step, seed = integer("step", step, 0), integer("seed", seed, 0)
    batch_size, context = integer("batch_size", batch_size, 1), integer("context", context, 1)
    number("repeat_share", repeat_share, least=0, most=1)
    check_tokens("tokens", tokens, context)
    rng = np.random.default_rng([seed, step])
    starts = rng.integers(0, len(tokens) - context + 1, size=batch_size)
    rows = np.stack([tokens[start : start + context] for start in starts]).astype(np.int64)
    lengths = rng.integers(max(1, context // 8), max(1, context // 2) + 1, size=batch_size)
    for row, length, repeats in zip(rows, lengths, rng.random(batch_size) < repeat_share, strict=True):
        if repeats:
            row[length : 2 * length] = row[:length]
    return torch.from_numpy(rows)


def segment_ids_of(rows: torch.Tensor, end_of_text: int) -> torch.Tensor:
    """Which document each token of rows (B, T) belongs to, counted from 0 in each row; an end-of-text token closes
    the document before it."""
    ends = rows == end_of_text
    return ends.cumsum(dim=1) - ends.long()


def targets_of(batch: torch.Tensor, end_of_text: int | None) -> torch.Tensor:
    """The labels (B, T) of a batch: its tokens, but -100 for the first token of a document that follows another: the
    tokens before it are those of the other document."""
    if end_of_text is None:
        return batch
    labels = batch.clone()
    labels[:, 1:][batch[:, :-1] == end_of_text] = -100
    return labels
