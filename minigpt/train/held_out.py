"""How good a model in training is: its loss on held-out text, and whether it copies what it has seen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .._checks import integer
from ..data import check_tokens
from ..fast import LanguageModelLoss
from ..language_model import eval_mode
from .objectives import MaskedTokens, NextToken, Objective, Spans, mean_loss


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
    """Mean loss in nats over up to n_rows rows spread evenly over a text. They are always the same rows, so that runs
    can be compared.

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


class MaskedGuesses(NamedTuple):
    """places (N,) are the masked tokens' places in the text; right (N,) is true where the likeliest token is the
    text's own; nats is the mean loss."""

    places: np.ndarray
    right: np.ndarray
    nats: float


@torch.no_grad()
def masked_guesses(
    model: nn.Module, tokens: np.ndarray, context: int, objective: MaskedTokens, batch_size: int = 64
) -> MaskedGuesses:
    """What a BERT predicts for masked tokens: a whole text is cut into rows and masked as in training with seed 0. A
    rest shorter than a row is left out. Raises ValueError for a text shorter than one row, and for a setting out of
    range."""
    context, batch_size = integer("context", context, 3), integer("batch_size", batch_size, 1)
    places, right, total = [], [], 0.0
    for step, (rows, row_places) in enumerate(_rows(tokens, objective.row_length(context), batch_size)):
        examples = objective.examples(rows, step, seed=0)
        chosen = examples.labels != -100
        labels = examples.labels[chosen].to(next(model.parameters()).device)
        with eval_mode(model):
            hidden = model.hidden(examples.inputs["tokens"].to(labels.device))
            logits = model.logits(hidden[chosen.to(labels.device)])
        total += nn.functional.cross_entropy(logits.float(), labels, reduction="sum").item()
        right.append((logits.argmax(dim=-1) == labels).cpu())
        places.append(row_places[chosen[:, 1:-1]])  # without [CLS] and [SEP]
    places, right = torch.cat(places).numpy(), torch.cat(right).numpy()
    return MaskedGuesses(places, right, total / len(places))


class SpanLosses(NamedTuple):
    """places (N,) are the cut tokens' places in the text; nats is the mean loss of all predicted tokens, nats_in_spans
    that of the cut ones alone, without sentinels and the end."""

    places: np.ndarray
    nats: float
    nats_in_spans: float


@torch.no_grad()
def span_losses(
    model: nn.Module, tokens: np.ndarray, context: int, objective: Spans, batch_size: int = 64
) -> SpanLosses:
    """How well a T5 predicts spans: a whole text is cut into rows, and spans are cut out as in training with seed 0. A
    rest shorter than a row is left out. Raises ValueError for a text shorter than one row, and for a setting out of
    range."""
    context, batch_size = integer("context", context, 2), integer("batch_size", batch_size, 1)
    places, losses, cut = [], [], []
    for step, (rows, row_places) in enumerate(_rows(tokens, objective.row_length(context), batch_size)):
        examples = objective.examples(rows, step, seed=0)
        # To know which places were cut, cut the same spans out of rows of place numbers, larger than every token id.
        beyond = 1 + max(*objective.sentinels, objective.end_id)
        numbers = objective.examples(row_places + beyond, step, seed=0).labels
        device = next(model.parameters()).device
        inputs = {name: tensor.to(device) for name, tensor in examples.inputs.items()}
        with eval_mode(model):
            logits = model(**inputs).float()
        labels = examples.labels.to(device)
        losses.append(nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").cpu())
        cut.append(numbers.flatten() >= beyond)
        places.append(numbers[numbers >= beyond] - beyond)
    losses, cut = torch.cat(losses), torch.cat(cut)
    return SpanLosses(torch.cat(places).numpy(), losses.mean().item(), losses[cut].mean().item())


def _rows(tokens: np.ndarray, length: int, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches (B, length) of a text's rows, one after the other, and the tokens' places in the text."""
    check_tokens("tokens", tokens, length)
    n_rows = len(tokens) // length
    rows = torch.from_numpy(np.array(tokens[: n_rows * length], dtype=np.int64)).view(n_rows, length)
    places = torch.arange(n_rows * length).view(n_rows, length)
    return zip(rows.split(batch_size), places.split(batch_size), strict=True)


@contextmanager
def cross_attention_cut(model: nn.Module) -> Iterator[None]:
    """Inside the with block, the decoder of a T5 reads nothing of its source: each cross attention gives zeros."""
    hooks = [
        block.cross_attention.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        for block in model.decoder.blocks
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def induction_gap(model: nn.Module, vocab_size: int, length: int, n_rows: int = 64, seed: int = 0) -> float:
    """How well a model copies what it has read: random tokens, then the same again. Mean loss of the first half minus
    that of the second, in nats (Olsson et al. 2022, "In-context Learning and Induction Heads").

    A model that copies nothing scores 0. Each half has `length` tokens. Raises ValueError for fewer than two.
    """
    vocab_size, length = integer("vocab_size", vocab_size, 1), integer("length", length, 2)
    n_rows = integer("n_rows", n_rows, 1)
    generator = torch.Generator().manual_seed(integer("seed", seed))
    once = torch.randint(vocab_size, (n_rows, length), generator=generator)
    rows = torch.cat([once, once], dim=1).to(next(model.parameters()).device)
    losses = LanguageModelLoss(model)(rows, rows, reduction="none")  # (n_rows, 2 * length - 1)
    # losses[:, t] is that of token t + 1. The first repeated token cannot be predicted and counts for neither half.
    return (losses[:, : length - 1].mean() - losses[:, length:].mean()).item()
