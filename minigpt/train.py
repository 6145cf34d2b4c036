"""A trainer that knows tokens and losses, not GPT-2: any module that turns (B, T) ids into (B, T, V) logits will do."""

import csv
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .data import check_integer, check_tokens, random_batches
from .loss import next_token_loss


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are those of weights/tiny."""

    steps: int = 9_000
    batch_size: int = 7
    context: int = 256  # tokens in a row of the batch
    learning_rate: float = 2e-3  # at the end of the warm-up
    final_learning_rate: float = 1e-4
    warmup_steps: int = 200
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0  # largest norm of the gradient
    evaluate_every: int = 500
    autocast: bool = True  # matrix products in bfloat16
    seed: int = 0

    def __post_init__(self):
        for name, least in [
            ("steps", 1),
            ("batch_size", 1),
            ("context", 2),
            ("evaluate_every", 1),
            ("warmup_steps", 0),
            ("seed", 0),
        ]:
            check_integer(name, getattr(self, name), least)
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("learning_rate", "final_learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers of at least 0 and below 1, got {self.betas}")


@dataclass(frozen=True)
class Record:
    """One line of the history. Losses in nats a token; train_loss is the mean since the line before."""

    step: int
    tokens: int
    learning_rate: float
    train_loss: float
    held_out_loss: float
    seconds: float


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to the final rate (Loshchilov & Hutter 2017, equation 5).

    Steps count from 0, and the last one, steps - 1, ends at the final rate.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps)
    cosine = (1 + math.cos(math.pi * done)) / 2
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """AdamW's two groups: matrices and embeddings are pulled towards 0; biases and norms, which only shift and scale,
    are not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def train(
    model: nn.Module,
    tokens: np.ndarray,
    held_out: np.ndarray,
    config: TrainConfig,
    directory: str | Path | None = None,
    on_record: Callable[[list[Record]], None] | None = None,
) -> list[Record]:
    """Train in place on random rows of `tokens`; return the history, one record per evaluation.

    With a directory the history is also kept there, in metrics.csv, as it grows. on_record is called with the history
    after each evaluation. Ctrl-C ends the training early, with a last evaluation. Raises ValueError for a text shorter
    than one row, FloatingPointError when the loss is no longer a number.
    """
    check_lengths(tokens, held_out, config.context)
    if directory is not None:
        Path(directory).mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        decay_groups(model, config.weight_decay), lr=config.learning_rate, betas=config.betas, fused=True
    )
    torch.manual_seed(config.seed)
    batches = random_batches(tokens, config.batch_size, config.context, config.seed)
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.autocast)
    history, recent, start = [], [], time.perf_counter()

    model.train()
    progress = tqdm(range(config.steps), desc="training", unit=" steps")
    for step in progress:
        try:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, config)
            batch = next(batches).to(device)
            with autocast:
                loss = next_token_loss(model(batch), batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad()
            recent.append(loss.item())
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
        if recent and not math.isfinite(recent[-1]):
            raise FloatingPointError(f"the loss is {recent[-1]} at step {step}: lower the learning rate")
        done = step if interrupted else step + 1
        if recent and (interrupted or done % config.evaluate_every == 0 or done == config.steps):
            record = Record(
                step=done,
                tokens=done * config.batch_size * config.context,
                learning_rate=learning_rate_at(done - 1, config),
                train_loss=sum(recent) / len(recent),
                held_out_loss=evaluate(model, held_out, config.context),
                seconds=time.perf_counter() - start,
            )
            recent = []
            history.append(record)
            progress.set_postfix(train=f"{record.train_loss:.3f}", held_out=f"{record.held_out_loss:.3f}")
            if directory is not None:
                write_history(history, Path(directory) / "metrics.csv")
            if on_record is not None:
                on_record(history)
        if interrupted:
            break
    model.eval()
    return history


def check_lengths(tokens: np.ndarray, held_out: np.ndarray, context: int) -> None:
    """Raise ValueError when a text is no row of integers, or shorter than one row of a batch."""
    check_tokens("tokens", tokens, context)
    check_tokens("held_out", held_out, context)


@torch.no_grad()
def evaluate(model: nn.Module, tokens: np.ndarray, context: int, n_rows: int = 64, batch_size: int = 16) -> float:
    """Mean loss in nats over up to n_rows rows spread evenly over a text: always the same ones, so runs compare.

    Raises ValueError for a text shorter than one row, and for a setting out of range.
    """
    for name, value, least in [("context", context, 2), ("n_rows", n_rows, 1), ("batch_size", batch_size, 1)]:
        check_integer(name, value, least)
    check_tokens("tokens", tokens, context)
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    starts = np.unique(np.linspace(0, len(tokens) - context, n_rows, dtype=np.int64))
    total = 0.0
    for first in range(0, len(starts), batch_size):
        rows = np.stack([tokens[s : s + context] for s in starts[first : first + batch_size]]).astype(np.int64)
        batch = torch.from_numpy(rows).to(device)
        total += next_token_loss(model(batch), batch, reduction="sum").item()
    model.train(was_training)
    return total / (len(starts) * (context - 1))


@torch.no_grad()
def induction_gap(model: nn.Module, vocab_size: int, length: int, n_rows: int = 64, seed: int = 0) -> float:
    """How much of a text seen before is recognised: random tokens, then the same again; mean loss of the first half
    minus that of the second, in nats (Olsson et al. 2022, "In-context Learning and Induction Heads").

    A model that copies nothing scores 0. Each half has `length` tokens, two or more.
    """
    for name, value, least in [("vocab_size", vocab_size, 1), ("length", length, 2), ("n_rows", n_rows, 1)]:
        check_integer(name, value, least)
    generator = torch.Generator().manual_seed(seed)
    once = torch.randint(vocab_size, (n_rows, length), generator=generator)
    rows = torch.cat([once, once], dim=1).to(next(model.parameters()).device)
    losses = next_token_loss(model(rows), rows, reduction="none")  # (n_rows, 2 * length - 1)
    # losses[:, t] is that of token t + 1. The first repeated token cannot be foreseen and counts for neither half.
    return (losses[:, : length - 1].mean() - losses[:, length:].mean()).item()


def write_history(history: list[Record], file: str | Path) -> None:
    """The history as CSV, a column for each field of Record."""
    with open(file, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(Record)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(record) for record in history)
