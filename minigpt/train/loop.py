"""A trainer that knows tokens and losses, and no model: any module works that turns (B, T) ids into (B, T, V) logits.

A run depends on its config alone: batches depend on (seed, step), the learning rate on the step, and everything else is
in the snapshot. A run that is stopped at any moment and resumed ends with the same bits.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from ..data import batch_at, check_tokens
from .config import TrainConfig
from .held_out import evaluate
from .history import Record, write_history
from .objectives import NextToken, Objective, accumulate
from .optimizer import learning_rate_at, make_optimizer
from .processes import ALONE, Group
from .snapshots import load_snapshot, save_snapshot, steps_on_disk
from .stop_request import ctrl_c


def train(
    model: nn.Module,
    tokens: np.ndarray,
    held_out: np.ndarray,
    config: TrainConfig,
    directory: str | Path | None = None,
    on_record: Callable[[list[Record]], None] | None = None,
    *,
    objective: Objective | None = None,
    resume: bool = False,
    group: Group = ALONE,
) -> list[Record]:
    """Train in place on random rows of `tokens`; return the history, one record per evaluation.

    objective says what is predicted (objectives.py); None = the next token, with config.end_of_text.
    With a directory the history is also kept there, in metrics.csv, and a snapshot of everything is taken at each
    evaluation; resume=True goes on from the newest, bit for bit. on_record is called with the history after each
    evaluation. Ctrl-C ends the training after the step it is in, with a last evaluation and a snapshot.

    Raises ValueError, before any work, for a text shorter than one row, nothing to resume, a resumed run of another
    config, text or number of processes; FloatingPointError when the loss is nan or infinite; OSError when the disk
    refuses a snapshot (the one before is kept).
    """
    objective = NextToken(config.end_of_text) if objective is None else objective
    check_lengths(tokens, held_out, objective.row_length(config.context))
    shortest = objective.row_length(config.shortest_context or config.context)
    objective.examples(batch_at(0, tokens, 1, shortest, config.seed), 0, config.seed)  # raises if nothing is predicted
    if config.batch_size < group.size:
        raise ValueError(f"batch_size={config.batch_size} leaves nothing for some of {group.size} processes")
    run = Run(model, tokens, config, objective, directory, group, resume)
    progress = tqdm(total=config.steps, initial=run.done, desc="training", unit=" steps", disable=not group.writes)
    with progress, ctrl_c() as asked_to_stop, _train_mode(model):
        while run.done < config.steps:
            run.step()
            progress.update()
            stop = group.any(bool(asked_to_stop), run.device)
            if not (stop or run.done % config.evaluate_every == 0 or run.done == config.steps):
                continue
            record = run.record(held_out)
            progress.set_postfix(
                train=f"{record.train_loss:.3f}",
                held_out=f"{record.held_out_loss:.3f}",
                tokens_per_s=f"{record.tokens / record.seconds:,.0f}",
            )
            run.keep()
            if group.writes and on_record is not None:
                on_record(run.history)
            group.wait()
            if stop:
                break
    return run.history


class Run:
    """A running training: the state that changes from step to step, and how it is saved."""

    def __init__(
        self, model: nn.Module, tokens: np.ndarray, config: TrainConfig, objective: Objective, directory, group, resume
    ):
        self.model, self.tokens, self.config, self.objective, self.group = model, tokens, config, objective, group
        self.directory = None if directory is None else Path(directory)
        self.snapshots = None if directory is None else Path(directory) / "snapshots"
        self.device = next(model.parameters()).device
        self.optimizer = make_optimizer(model, config)
        torch.manual_seed(config.seed + group.rank)  # for dropout; equal seeds would drop the same in all processes
        self.done, self.history, self.recent_losses = 0, [], []
        self.started = time.perf_counter()  # of a resumed run, earlier by the seconds it took before
        self._resume() if resume else self._claim_folder()
        self.loss_of = objective.loss_of(model, config.compile)
        if group.size > 1:
            self.loss_of = DistributedDataParallel(self.loss_of)

    def _claim_folder(self) -> None:
        """Raise ValueError where the folder holds another run, OSError where it cannot be made, before any work."""
        if self.snapshots is not None and self.group.writes:
            if steps_on_disk(self.snapshots):
                raise ValueError(f"{self.snapshots} holds the snapshots of a run: resume it, or give another directory")
            self.snapshots.mkdir(parents=True, exist_ok=True)

    def step(self) -> None:
        """One batch, one step of the optimizer. Raises FloatingPointError when the loss is nan or infinite."""
        c = self.config
        for parameters in self.optimizer.param_groups:
            factor = parameters.get("rate_factor", 1.0)  # snapshots of earlier versions have none
            parameters["lr"] = factor * learning_rate_at(self.done, c)
        n_rows, context = batch_shape_at(self.done, c)
        rows = batch_at(self.done, self.tokens, n_rows, self.objective.row_length(context), c.seed, c.repeat_share)
        examples = self.objective.examples(rows, self.done, c.seed)
        loss = accumulate(self.loss_of, examples, c, self.group).item()
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {self.done}: lower the learning rate")
        nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.recent_losses.append(loss)
        self.done += 1

    def record(self, held_out: np.ndarray) -> Record:
        """Evaluate on the held-out text, and add a line to the history."""
        c = self.config
        record = Record(
            step=self.done,
            tokens=self.done * c.batch_size * c.context,
            learning_rate=learning_rate_at(self.done - 1, c),
            train_loss=sum(self.recent_losses) / len(self.recent_losses),
            held_out_loss=evaluate(self.model, held_out, c.context, objective=self.objective),
            seconds=time.perf_counter() - self.started,
        )
        self.history, self.recent_losses = [*self.history, record], []
        return record

    def keep(self) -> None:
        """Save a snapshot of everything, and the history as a file."""
        random_states = self.group.gather(_random_states())
        if self.group.writes and self.directory is not None:
            learned = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
            so_far = {"step": self.done, "history": [dataclasses.asdict(record) for record in self.history]}
            machine = {"random": random_states, "threads": torch.get_num_threads()}
            save_snapshot(self.snapshots, self.done, self._description() | so_far | learned | machine)
            write_history(self.history, self.directory / "metrics.csv")

    def _description(self) -> dict:
        """What a resumed run must have in common with the one before."""
        every = max(1, len(self.tokens) // 10_000_000)  # of a longer text only some tokens are compared
        text = [len(self.tokens), crc32(np.ascontiguousarray(self.tokens[::every]).tobytes())]
        config = dataclasses.asdict(self.config)
        return {"config": config, "text": text, "processes": self.group.size, "objective": repr(self.objective)}

    def _resume(self) -> None:
        """Restore the state of rank 0's newest snapshot. Raises ValueError where there is none, or another run's."""
        has_one = self.snapshots is not None and self.group.writes
        state = self.group.from_first(load_snapshot(self.snapshots) if has_one else None)
        if state is None:
            raise ValueError(f"there is no snapshot to resume in {self.snapshots}")
        self._check_same_run(state)
        self.model.load_state_dict(state["model"])
        for name, parameter in self.model.named_parameters():  # with the saved memory layout, as AdamW's moments
            parameter.data = state["model"][name].to(parameter)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_num_threads(state["threads"])
        cpu, cuda = state["random"][self.group.rank]
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        self.history = [Record(**record) for record in state["history"]]
        self.done, self.started = self.history[-1].step, time.perf_counter() - self.history[-1].seconds

    def _check_same_run(self, state: dict) -> None:
        run = self._description()
        if state["processes"] != run["processes"]:
            raise ValueError(
                f"the run in {self.snapshots} was made by {state['processes']} processes and cannot go on with "
                f"{run['processes']}: a batch that is divided in another way rounds differently. Launch it as before"
            )
        if state["text"] != run["text"]:
            raise ValueError(f"the run in {self.snapshots} was made with another text")
        if state.get("objective", run["objective"]) != run["objective"]:  # older snapshots have none
            raise ValueError(f"the run in {self.snapshots} was made with the objective {state['objective']}")
        before = dataclasses.asdict(TrainConfig()) | state["config"]
        changed = [name for name, value in run["config"].items() if before[name] != value]
        if changed:
            was = ", ".join(f"{name}={before[name]!r}" for name in changed)
            longer = ". To train its model longer, begin a run with that model in another folder"
            raise ValueError(
                f"the run in {self.snapshots} was made with {was}: resume it with the same config"
                f"{longer if changed == ['steps'] else ''}"
            )


def batch_shape_at(step: int, config: TrainConfig) -> tuple[int, int]:
    """(rows, tokens in each) of a step's batch. With shortest_context the length is another in each step, and a batch
    of shorter rows has more of them: about the same number of tokens. Each doubling of the length is equally likely."""
    if config.shortest_context is None:
        return config.batch_size, config.context
    drawn = np.random.default_rng([config.seed, step, 2]).random()
    context = round(config.shortest_context * (config.context / config.shortest_context) ** drawn)
    return config.batch_size * config.context // context, context


@contextmanager
def _train_mode(model: nn.Module) -> Iterator[None]:
    """Inside the with block: train mode, with dropout. After it, also after an error: eval mode."""
    model.train()
    try:
        yield
    finally:
        model.eval()


def _random_states() -> list:
    """The states that dropout draws from. (The batches need none: they depend on seed and step.)"""
    return [torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []]


def check_lengths(tokens: np.ndarray, held_out: np.ndarray, context: int) -> None:
    """Raise ValueError when a text is no row of integers, or shorter than one row of a batch."""
    check_tokens("tokens", tokens, context)
    check_tokens("held_out", held_out, context)
