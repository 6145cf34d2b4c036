"""A trainer that knows tokens and losses, not GPT-2: any module that turns (B, T) ids into (B, T, V) logits will do.

A run is a function of its config: batches depend on (seed, step), the learning rate on the step, everything else is in
the snapshot. Stopped at any moment and resumed, it ends with the same bits.
"""

import csv
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from ..data import batch_at, segment_ids_of, targets_of
from ..data.texts import check_integer, check_tokens
from ..fast.loss_without_logits import LanguageModelLoss
from .held_out import evaluate
from .processes import Group
from .snapshots import load_snapshot, save_snapshot, steps_on_disk
from .stop_request import ctrl_c

ALONE = Group()


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are those of weights/tiny, but for repeat_share."""

    steps: int = 20_000
    batch_size: int = 7  # rows in a step, of all processes together
    micro_batch_size: int | None = None  # rows that go through the model at once; None = all of a process's share
    context: int = 256  # tokens in a row of the batch
    learning_rate: float = 2e-3  # at the end of the warm-up
    final_learning_rate: float = 1e-4
    warmup_steps: int = 200
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0  # largest norm of the gradient
    repeat_share: float = 0.0  # of the rows, those in which a passage comes twice
    end_of_text: int | None = None  # documents packed into a row do not see each other; None = they do
    evaluate_every: int = 500  # steps; a snapshot is taken as often
    autocast: bool = True  # matrix products in bfloat16
    compile: bool = False  # torch.compile: faster steps after a minute or more of compiling
    seed: int = 0

    def __post_init__(self):
        for name, least in [
            ("steps", 1),
            ("batch_size", 1),
            ("micro_batch_size", 1),
            ("context", 2),
            ("evaluate_every", 1),
            ("warmup_steps", 0),
            ("end_of_text", 0),
            ("seed", 0),
        ]:
            if getattr(self, name) is not None or name not in ("micro_batch_size", "end_of_text"):
                check_integer(name, getattr(self, name), least)
        for name in ("learning_rate", "final_learning_rate", "weight_decay", "clip", "repeat_share"):
            if not isinstance(getattr(self, name), Real):
                raise ValueError(f"{name} must be a number, got {getattr(self, name)!r}")
        for name in ("autocast", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("learning_rate", "final_learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)}")
        if not isinstance(self.betas, tuple) or len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers of at least 0 and below 1, got {self.betas}")
        if self.seed >= 2**62:
            raise ValueError(f"seed must be below 2^62, got {self.seed}")
        if not 0 <= self.repeat_share <= 1:
            raise ValueError(f"repeat_share must be between 0 and 1, got {self.repeat_share}")


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


def accumulate(loss_of: nn.Module, batch: torch.Tensor, config: TrainConfig, group: Group = ALONE) -> torch.Tensor:
    """Put the gradient of the mean loss over the whole batch (B, T) into the parameters; return that loss.

    loss_of is a `LanguageModelLoss`, inside DistributedDataParallel where there are several processes.
    The rows are shared out over the processes and fed in micro-batches. Each part adds its *sum* of losses divided by
    the number of targets of the *whole* batch: a mean of the parts' means would give a token in a short part more
    weight than one in a long part.
    """
    labels = targets_of(batch, config.end_of_text)
    n_targets = max(1, int((labels[:, 1:] != -100).sum()))  # none, in a batch of nothing but ends: a loss of 0
    own = list(zip(batch[group.rank :: group.size], labels[group.rank :: group.size], strict=True))
    size = config.micro_batch_size or len(own)
    device, total = next(loss_of.parameters()).device, 0.0
    for first in range(0, len(own), size):
        rows, targets = (torch.stack(part).to(device) for part in zip(*own[first : first + size], strict=True))
        segments = {} if config.end_of_text is None else {"segment_ids": segment_ids_of(rows, config.end_of_text)}
        is_last = first + size >= len(own)
        # Gradients travel between processes once, behind the last part.
        with loss_of.no_sync() if group.size > 1 and not is_last else nullcontext():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.autocast):
                loss = loss_of(rows, targets, num_items=n_targets, **segments)
            # The processes' gradients are averaged, and a sum is wanted.
            (loss * group.size if group.size > 1 else loss).backward()
        total = total + loss.detach()
    return group.sum(total)


def train(
    model: nn.Module,
    tokens: np.ndarray,
    held_out: np.ndarray,
    config: TrainConfig,
    directory: str | Path | None = None,
    on_record: Callable[[list[Record]], None] | None = None,
    *,
    resume: bool = False,
    group: Group = ALONE,
) -> list[Record]:
    """Train in place on random rows of `tokens`; return the history, one record per evaluation.

    With a directory the history is also kept there, in metrics.csv, and a snapshot of everything is taken at each
    evaluation; resume=True goes on from the newest, bit for bit. on_record is called with the history after each
    evaluation. Ctrl-C ends the training after the step it is in, with a last evaluation and a snapshot.

    Raises ValueError, before any work, for a text shorter than one row, nothing to resume, a resumed run of another
    config, text or number of processes; FloatingPointError when the loss is no longer a number; OSError when the disk
    refuses a snapshot (the one before is kept).
    """
    check_lengths(tokens, held_out, config.context)
    if config.batch_size < group.size:
        raise ValueError(f"batch_size={config.batch_size} leaves nothing for some of {group.size} processes")
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        decay_groups(model, config.weight_decay),
        lr=config.learning_rate,
        betas=config.betas,
        fused=device.type in ("cpu", "cuda"),
    )
    torch.manual_seed(config.seed + group.rank)  # of dropout; equal on all processes would drop the same
    snapshots = None if directory is None else Path(directory) / "snapshots"
    run = {"config": dataclasses.asdict(config), "text": _fingerprint(tokens), "processes": group.size}
    history, recent = [], []
    if resume:
        history = _resume(snapshots, run, model, optimizer, group)
    elif snapshots is not None and group.writes:
        if steps_on_disk(snapshots):
            raise ValueError(f"{snapshots} holds the snapshots of a run: resume it, or give another directory")
        snapshots.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is found out now
    done, seconds = (history[-1].step, history[-1].seconds) if history else (0, 0.0)
    loss_of = LanguageModelLoss(model, config.compile)
    if group.size > 1:
        loss_of = DistributedDataParallel(loss_of)

    start = time.perf_counter() - seconds
    progress = tqdm(total=config.steps, initial=done, desc="training", unit=" steps", disable=not group.writes)
    with progress, ctrl_c() as asked_to_stop, _train_mode(model):
        while done < config.steps:
            for param_group in optimizer.param_groups:
                param_group["lr"] = learning_rate_at(done, config)
            batch = batch_at(done, tokens, config.batch_size, config.context, config.seed, config.repeat_share)
            loss = accumulate(loss_of, batch, config, group).item()
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} at step {done}: lower the learning rate")
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad()
            recent.append(loss)
            done += 1
            progress.update()

            stop = group.any(bool(asked_to_stop), device)
            if not (stop or done % config.evaluate_every == 0 or done == config.steps):
                continue
            record = Record(
                step=done,
                tokens=done * config.batch_size * config.context,
                learning_rate=learning_rate_at(done - 1, config),
                train_loss=sum(recent) / len(recent),
                held_out_loss=evaluate(model, held_out, config.context, end_of_text=config.end_of_text),
                seconds=time.perf_counter() - start,
            )
            history, recent = [*history, record], []
            progress.set_postfix(
                train=f"{record.train_loss:.3f}",
                held_out=f"{record.held_out_loss:.3f}",
                tokens_per_s=f"{record.tokens / record.seconds:,.0f}",
            )
            random_states = group.gather(_random_states())
            if group.writes and directory is not None:
                progress_so_far = {"step": done, "history": [dataclasses.asdict(r) for r in history]}
                learned = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": random_states}
                save_snapshot(snapshots, done, run | progress_so_far | learned | {"threads": torch.get_num_threads()})
                write_history(history, Path(directory) / "metrics.csv")
            if group.writes and on_record is not None:
                on_record(history)
            group.wait()
            if stop:
                break
    return history


@contextmanager
def _train_mode(model: nn.Module) -> Iterator[None]:
    """Inside, with dropout; afterwards ready to be used, whatever happened."""
    model.train()
    try:
        yield
    finally:
        model.eval()


def _resume(snapshots: Path | None, run: dict, model, optimizer, group: Group) -> list[Record]:
    """Put the newest snapshot's state where it belongs; return its history."""
    state = None if snapshots is None else load_snapshot(snapshots)
    if state is None:
        raise ValueError(f"there is no snapshot to resume in {snapshots}")
    if state["processes"] != run["processes"]:
        raise ValueError(
            f"the run in {snapshots} was made by {state['processes']} processes and cannot go on with "
            f"{run['processes']}: sums over other shares round differently. Launch it as before"
        )
    if state["text"] != run["text"]:
        raise ValueError(f"the run in {snapshots} was made with another text")
    before = dataclasses.asdict(TrainConfig()) | state["config"]
    changed = [name for name, value in run["config"].items() if before[name] != value]
    if changed:
        was = ", ".join(f"{name}={before[name]!r}" for name in changed)
        raise ValueError(f"the run in {snapshots} was made with {was}: resume it with the same config")
    model.load_state_dict(state["model"])
    for name, parameter in model.named_parameters():  # in the order in memory that AdamW's moments have, too
        parameter.data = state["model"][name].to(parameter)
    optimizer.load_state_dict(state["optimizer"])
    torch.set_num_threads(state["threads"])
    cpu, cuda = state["random"][group.rank]
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
    return [Record(**record) for record in state["history"]]


def _random_states() -> list:
    """What dropout draws from. (The batches need no state: they follow from the step.)"""
    return [torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []]


def _fingerprint(tokens: np.ndarray) -> list[int]:
    """Length and checksum of a text."""
    every = max(1, len(tokens) // 10_000_000)  # a longer text is looked at here and there
    return [len(tokens), crc32(np.ascontiguousarray(tokens[::every]).tobytes())]


def check_lengths(tokens: np.ndarray, held_out: np.ndarray, context: int) -> None:
    """Raise ValueError when a text is no row of integers, or shorter than one row of a batch."""
    check_tokens("tokens", tokens, context)
    check_tokens("held_out", held_out, context)


def write_history(history: list[Record], file: str | Path) -> None:
    """The history as CSV, a column for each field of Record; the file is there whole, or as it was."""
    temporary = Path(f"{file}.tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(Record)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(record) for record in history)
    os.replace(temporary, file)
