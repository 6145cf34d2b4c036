"""The contenders of a comparison: models of both sides, each in a process of its own, which do the same work.

In one process a model would be slowed down by the waiting threads and the memory of the one before.
"""

import multiprocessing
import os
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..checkpoints import load_model
from ..fast import LanguageModelLoss, huge_pages, packed_products
from ..generation import generate
from ..models import GPT2Config
from ..perplexity import lecture_perplexity, score
from ..train import decay_groups
from .oracle import load_oracle
from .timing import seconds_of


@dataclass(frozen=True)
class Contender:
    """Whose model computes ("minigpt" or "transformers"), with which attention and dtype, and what else is special:
    "autocast" to bfloat16, "compiled", or "packed" matrices (`packed_products`)."""

    side: str
    attention: str
    dtype: str = "float32"
    special: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        dtype = "bfloat16 autocast" if "autocast" in self.special else self.dtype
        return ", ".join([f"{self.side} {self.attention} {dtype}", *(s for s in self.special if s != "autocast")])

    @property
    def is_exact(self) -> bool:
        """Whether its answers are those of float32."""
        return self.dtype == "float32" and "autocast" not in self.special


class Worker:
    """A contender's model, loaded from a folder with a checkpoint, and the work that it was given last."""

    def __init__(self, contender: Contender, folder: str | Path, config: GPT2Config, device: str):
        self.contender, self.folder, self.config, self.device = contender, folder, config, torch.device(device)
        self.is_ours, self.run = contender.side == "minigpt", None

    def prepare(self, work: str, *arguments) -> np.ndarray | list:
        """Do one of `WORKS` once, and return its answer. It is done again by `seconds`."""
        self.run = WORKS[work](self, *arguments)
        answer = self.run()
        return answer.double().cpu().numpy() if isinstance(answer, torch.Tensor) else answer

    def seconds(self) -> float:
        """How long the work takes that was prepared last."""
        return seconds_of(self.run, self.device)

    def load(self) -> torch.nn.Module:
        c = self.contender
        if self.is_ours:
            return load_model(self.folder, self.device, getattr(torch, c.dtype), c.attention)
        model = load_oracle(self.folder, self.config, getattr(torch, c.dtype), self.device, c.attention)
        model.generation_config.eos_token_id = None  # no text stops early
        return model

    def tokens(self, *shape: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.config.vocab_size, shape, generator=generator).to(self.device)

    def close(self) -> None:
        self.run = None


class Process:
    """A `Worker` in another process: the same methods, which raise what was raised there.

    A process of transformers does not get the large pages that minigpt asks for (fast/huge_pages.py), as little as it
    does where transformers is used alone.
    """

    def __init__(self, contender: Contender, *arguments):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        large_pages = contender.side == "minigpt" or huge_pages.chosen_by_the_reader
        self.process = context.Process(target=_serve, args=(other, large_pages, contender, *arguments), daemon=True)
        self.process.start()
        other.close()  # the other process has it; so its end is noticed here

    def prepare(self, work: str, *arguments) -> np.ndarray | list:
        return self._ask("prepare", work, *arguments)

    def seconds(self) -> float:
        return self._ask("seconds")

    def close(self) -> None:
        self.connection.send(None)
        self.process.join()

    def _ask(self, method: str, *arguments):
        try:
            self.connection.send((method, arguments))
            answer = self.connection.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"the process of a contender ended while it did {method} {arguments}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class ProcessForEachTurn:
    """A `Process` that is started for each piece of work and ends after it, for work that needs much memory."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def prepare(self, *work) -> np.ndarray | list:
        self.work = work
        with closing(Process(*self.arguments)) as process:
            return process.prepare(*work)

    def seconds(self) -> float:
        with closing(Process(*self.arguments)) as process:
            process.prepare(*self.work)
            return process.seconds()

    def close(self) -> None:
        """Nothing is left to close."""


def _serve(connection, large_pages: bool, *arguments) -> None:
    if not large_pages:
        os.environ[huge_pages.VARIABLE] = "0"
    worker = Worker(*arguments)
    while (request := connection.recv()) is not None:
        method, asked = request
        try:
            connection.send(getattr(worker, method)(*asked))
        except Exception as error:
            connection.send(error)


# --- the pieces of work: a worker, and their sizes -> a function that does it once and returns its answer ------------


def forward(worker: Worker, n: int) -> Callable:
    """Logits (1, n, V); the answer is those of the last token."""
    model, tokens = worker.load(), worker.tokens(1, n)
    packed = packed_products() if "packed" in worker.contender.special else nullcontext()

    @torch.inference_mode()
    def run():
        with packed:
            logits = model(tokens)
        return (logits if worker.is_ours else logits.logits)[:, -1]

    return run


def training_step(worker: Worker, batch: int, n: int) -> Callable:
    """Forward, loss, backward and AdamW, without dropout; the answer is the loss."""
    model, tokens, special = worker.load(), worker.tokens(batch, n), worker.contender.special
    optimizer = torch.optim.AdamW(decay_groups(model, 0.1), lr=1e-5, fused=True)
    ours = LanguageModelLoss(model, compile="compiled" in special) if worker.is_ours else None

    def run():
        with torch.autocast(worker.device.type, torch.bfloat16, enabled="autocast" in special):
            loss = ours(tokens, tokens) if worker.is_ours else model(tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return run


def decoding(worker: Worker, batch: int, n_prompt: int, n_new: int) -> Callable:
    """The new tokens of greedy decoding, by each side's own generate."""
    model, prompts = worker.load(), worker.tokens(batch, n_prompt)
    if worker.is_ours:
        rows = prompts.tolist()
        return lambda: [row[n_prompt:] for row in generate(model, rows, n_new, stop_tokens=[])]
    settings = dict(attention_mask=torch.ones_like(prompts), max_new_tokens=n_new, do_sample=False, pad_token_id=0)
    return lambda: model.generate(prompts, **settings)[:, n_prompt:].tolist()


def perplexity(worker: Worker, window: int, n_windows: int) -> Callable:
    """Windows at half a window's stride: the lecture's loop on transformers, and `score`."""
    model, tokens = worker.load(), worker.tokens(window + (n_windows - 1) * (window // 2))
    if worker.is_ours:
        text = tokens.tolist()
        return lambda: torch.tensor(score(model, text).window_mean_perplexity)
    loss_of = lambda input_ids, labels: model(input_ids, labels=labels).loss  # noqa: E731
    return lambda: lecture_perplexity(loss_of, tokens[None], window, window // 2)


def loading(worker: Worker) -> Callable:
    """From the folder to the first logits. (transformers maps the file and reads a weight when it is first used.)"""
    token = worker.tokens(1, 1)

    @torch.inference_mode()
    def run():
        logits = worker.load()(token)
        return (logits if worker.is_ours else logits.logits)[:, -1]

    return run


WORKS = {work.__name__: work for work in (forward, training_step, decoding, perplexity, loading)}
