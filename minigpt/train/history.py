"""The history of a training run: a record for each evaluation."""

import csv
import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path

from .._files import write_whole


@dataclass(frozen=True)
class Record:
    """One line of the history. Losses are in nats a token; train_loss is the mean since the line before."""

    step: int
    tokens: int
    learning_rate: float
    train_loss: float
    held_out_loss: float
    seconds: float


def best_of(history: list[Record]) -> Record:
    """The record with the lowest held-out loss, the first of equals."""
    return min(history, key=lambda record: record.held_out_loss)


def write_history(history: list[Record], file: str | Path) -> None:
    """The history as CSV, a column for each field of Record. When writing fails, the file stays as it was."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Record)])
    writer.writeheader()
    writer.writerows(dataclasses.asdict(record) for record in history)
    write_whole(file, text.getvalue().encode())
