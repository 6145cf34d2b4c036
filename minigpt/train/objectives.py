"""What a model reads and predicts in a batch, and the gradient of its mean loss, also where the batch comes in parts.

| objective    | the model reads                          | and predicts                               | for          |
|--------------|------------------------------------------|--------------------------------------------|--------------|
| NextToken    | the cat sat on the mat                   | each token from those before it            | GPT-2, Llama |
| MaskedTokens | [CLS] the [MASK] sat on the mat [SEP]    | cat                                        | BERT         |
| Spans        | the <extra_id_0> on the <extra_id_1></s> | <extra_id_0> cat sat <extra_id_1> mat </s> | T5           |
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from .._checks import check_fields, integer, token_ids
from ..data import segment_ids_of, targets_of
from ..data.corruption import masked_tokens, spans
from ..fast import LanguageModelLoss
from ..loss import decoder_inputs, masked_loss, sequence_loss
from .config import TrainConfig
from .processes import ALONE, Group


class Examples(NamedTuple):
    """inputs: what the model reads, a tensor (B, ...) each. labels (B, T): -100 where nothing is predicted. n_targets:
    how many labels are predicted."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    n_targets: int


class Objective(Protocol):
    """Turns rows of tokens into examples: a function of (rows, step, seed) and nothing else."""

    def row_length(self, context: int) -> int:
        """How many tokens of the text make a row that the model reads as `context` tokens."""

    def examples(self, rows: torch.Tensor, step: int, seed: int) -> Examples:
        """Rows (B, row_length) int64 -> examples."""

    def loss_of(self, model: nn.Module, compile: bool = False) -> nn.Module:
        """A module that is called with inputs and labels of examples, reduction and num_items, and gives their loss."""


@dataclass(frozen=True)
class NextToken:
    """Predict each token from those before it. With end_of_text, documents packed into a row do not see each other.
    Raises ValueError for an end_of_text that is no integer of at least 0."""

    end_of_text: int | None = None

    def __post_init__(self):
        check_fields(self, integer, "end_of_text", least=0, or_none=True)

    def row_length(self, context: int) -> int:
        return context

    def examples(self, rows: torch.Tensor, step: int, seed: int) -> Examples:
        labels, inputs = targets_of(rows, self.end_of_text), {"tokens": rows}
        if self.end_of_text is not None:
            inputs["segment_ids"] = segment_ids_of(rows, self.end_of_text)
        return Examples(inputs, labels, int((labels[:, 1:] != -100).sum()))

    def loss_of(self, model: nn.Module, compile: bool = False) -> nn.Module:
        return LanguageModelLoss(model, compile)


@dataclass(frozen=True)
class MaskedTokens:
    """BERT's objective: predict masked tokens from the text on both sides (`data.corruption.masked_tokens`). begin_id
    and end_id ([CLS] and [SEP]) stand around each row; special_ids are never masked, and never put in for a token.
    Raises ValueError for an id that is no integer of at least 0."""

    vocab_size: int
    mask_id: int
    begin_id: int
    end_id: int
    special_ids: tuple[int, ...]
    share: float = 0.15

    def __post_init__(self):
        check_fields(self, integer, "vocab_size", least=1)
        check_fields(self, integer, "mask_id begin_id end_id", least=0)
        check_fields(self, _ids, "special_ids")

    def row_length(self, context: int) -> int:
        return context - 2

    def examples(self, rows: torch.Tensor, step: int, seed: int) -> Examples:
        rows = F.pad(F.pad(rows, (1, 0), value=self.begin_id), (0, 1), value=self.end_id)
        ordinary = sorted(set(range(self.vocab_size)) - set(self.special_ids))
        tokens, labels = masked_tokens(rows, step, seed, mask_id=self.mask_id, replacements=ordinary, share=self.share)
        return Examples({"tokens": tokens}, labels, int((labels != -100).sum()))

    def loss_of(self, model: nn.Module, compile: bool = False) -> nn.Module:
        return _MaskedLoss(model, compile)


@dataclass(frozen=True)
class Spans:
    """T5's objective: predict spans that were cut out of a text (`data.corruption.spans`), each after its sentinel.
    Raises ValueError for an id that is no integer of at least 0."""

    sentinels: tuple[int, ...]
    end_id: int
    start_id: int
    share: float = 0.15

    def __post_init__(self):
        check_fields(self, _ids, "sentinels")
        check_fields(self, integer, "end_id start_id", least=0)

    def row_length(self, context: int) -> int:
        return context

    def examples(self, rows: torch.Tensor, step: int, seed: int) -> Examples:
        source, labels = spans(rows, step, seed, sentinels=self.sentinels, end_id=self.end_id, share=self.share)
        inputs = {"source": source, "tokens": decoder_inputs(labels, self.start_id, self.start_id)}
        return Examples(inputs, labels, labels.numel())

    def loss_of(self, model: nn.Module, compile: bool = False) -> nn.Module:
        return _SequenceLoss(model, compile)


def _ids(name: str, ids) -> tuple[int, ...]:
    return tuple(integer(name, id, least=0) for id in token_ids(name, ids))


class _MaskedLoss(nn.Module):
    """Only the hidden states at masked positions go through the head: about one in seven."""

    def __init__(self, model: nn.Module, compile: bool):
        super().__init__()
        self.model = model
        self.hidden = [torch.compile(model.hidden) if compile else model.hidden]  # in a list: it is no submodule

    def forward(self, tokens, labels, reduction="mean", num_items=None) -> torch.Tensor:
        chosen = labels != -100
        logits = self.model.logits(self.hidden[0](tokens)[chosen])  # (n, V)
        return masked_loss(logits[None], labels[chosen][None], reduction=reduction, num_items=num_items)


class _SequenceLoss(nn.Module):
    def __init__(self, model: nn.Module, compile: bool):
        super().__init__()
        self.model = model
        self.way = [torch.compile(model) if compile else model]

    def forward(self, source, tokens, labels, reduction="mean", num_items=None) -> torch.Tensor:
        return sequence_loss(self.way[0](source, tokens), labels, reduction=reduction, num_items=num_items)


def accumulate(loss_of: nn.Module, examples: Examples, config: TrainConfig, group: Group = ALONE) -> torch.Tensor:
    """Put the gradient of the mean loss over all examples into the parameters; return that loss.

    loss_of is an objective's, inside DistributedDataParallel where there are several processes.
    The rows are divided among the processes, and read in micro-batches. Each part adds its *sum* of losses divided by
    the number of targets of the *whole* batch: a mean of the parts' means would give a token in a short part more
    weight than one in a long part.
    """
    n_targets = max(1, examples.n_targets)  # a batch of end tokens alone has no targets and loss 0
    own = slice(group.rank, None, group.size)
    labels, inputs = examples.labels[own], {name: rows[own] for name, rows in examples.inputs.items()}
    size = config.micro_batch_size or len(labels)
    device, total = next(loss_of.parameters()).device, 0.0
    for first in range(0, len(labels), size):
        part = slice(first, first + size)
        rows = {name: tensor[part].to(device) for name, tensor in inputs.items()}
        targets, is_last = labels[part].to(device), first + size >= len(labels)
        # Gradients travel between processes once, after the last part.
        with loss_of.no_sync() if group.size > 1 and not is_last else nullcontext():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.autocast):
                loss = loss_of(**rows, labels=targets, num_items=n_targets)
            # DistributedDataParallel averages the processes' gradients, but a sum is wanted.
            (loss * group.size if group.size > 1 else loss).backward()
        total = total + loss.detach()
    return group.sum(total)


def mean_loss(loss_of: nn.Module, parts: Sequence[Examples]) -> float:
    """The mean loss of all targets in several examples, in nats; no gradient."""
    device, total = next(loss_of.parameters()).device, 0.0
    for examples in parts:
        inputs = {name: rows.to(device) for name, rows in examples.inputs.items()}
        total += loss_of(**inputs, labels=examples.labels.to(device), reduction="sum").item()
    return total / max(1, sum(examples.n_targets for examples in parts))
