"""minigpt and transformers in turns: both do the same work with the same weights on the same machine.

Before anything is timed, all contenders compute the answer, and those in float32 must agree: times of different
computations cannot be compared.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..checkpoints import save_model
from ..models import GPT2, GPT2Config
from ..train.recipes import recipe_config
from .contenders import Contender, Process, ProcessForEachTurn
from .oracle import import_transformers
from .timing import Timing, alternate, matrix_rate, read_rate

SIZES = {"tiny": recipe_config("tiny"), "gpt2": GPT2Config.preset("gpt2")}
DTYPES = ("float32", "bfloat16", "float16")
OURS, THEIRS = Contender("minigpt", "sdpa"), Contender("transformers", "sdpa")
BOTH_SIDES = [Contender("minigpt", "explicit"), OURS, Contender("transformers", "eager"), THEIRS]
BASELINE = THEIRS.name


@dataclass(frozen=True)
class Workload:
    rounds: int
    forward_tokens: int
    training_rows: int
    training_tokens: int
    new_tokens: int
    windows: int
    prompts: tuple[int, ...]  # lengths, for the growth of decoding
    batches: tuple[int, ...]


FULL = Workload(7, 1024, 4, 256, 64, 20, prompts=(128, 512), batches=(2, 4, 16))
QUICK = Workload(3, 256, 2, 64, 16, 3, prompts=(64,), batches=(4,))


@dataclass(frozen=True)
class SpeedResult:
    """One kind of work, and the timing of each contender (timing.py)."""

    work: str
    timings: list[Timing]
    operations: float | None = None  # floating point operations of the work


class SharedCheckpoint:
    """A folder with a checkpoint of random weights, from which all contenders load their model, and how long they take.

    Raises ImportError where transformers is missing.
    """

    def __init__(self, config: GPT2Config, folder: str | Path, dtypes: Sequence[str] = DTYPES, device="cpu"):
        import_transformers()  # refuse now, not after the first measurement
        self.config, self.folder, self.device = config, Path(folder), torch.device(device)
        self.half = [name for name in dtypes if name != "float32"]  # both sides are always timed in float32
        torch.manual_seed(0)
        save_model(GPT2(config), self.folder)

    def in_half(self, dtypes: Sequence[str] = DTYPES) -> list[Contender]:
        """Ours in half precision; transformers' only on CUDA. On a CPU its weights lie in an order that is read at a
        thirtieth of the speed, so a comparison would say nothing."""
        sides = [OURS, THEIRS] if self.device.type == "cuda" else [OURS]
        return [replace(side, dtype=dtype) for dtype in dtypes if dtype in self.half for side in sides]

    def timings(
        self, contenders: list[Contender], rounds: int, work: str, *arguments: int, kind: Callable | None = None
    ) -> list[Timing]:
        """The timings of one of `contenders.WORKS`, each contender in a process of its own (or of another kind).

        Raises RuntimeError when the answers differ.
        """
        with ExitStack() as processes:
            workers = {}
            for contender in contenders:
                worker = (kind or Process)(contender, self.folder, self.config, str(self.device))
                workers[contender] = processes.enter_context(closing(worker))
            answers = {contender: worker.prepare(work, *arguments) for contender, worker in workers.items()}
            equal = {c.name: share_of_equal(c, answer, answers[THEIRS]) for c, answer in answers.items()}
            timings = alternate({c.name: worker.seconds for c, worker in workers.items()}, BASELINE, rounds)
        return [replace(timing, equal_tokens=equal[timing.contender]) for timing in timings]


def share_of_equal(contender: Contender, answer: np.ndarray | list, expected: np.ndarray | list) -> float | None:
    """Of answers that are tokens, how many are those expected; None for numbers. Raises RuntimeError where float32
    differs."""
    if isinstance(answer, list):
        share = float(np.mean(np.array(answer) == np.array(expected)))
        if contender.is_exact and share < 1:
            raise RuntimeError(f"{contender.name} decodes other tokens: there is nothing to compare")
        return share
    difference = np.abs(answer - expected).max() / np.abs(expected).max()
    if not difference < (1e-4 if contender.is_exact else 0.1):
        raise RuntimeError(
            f"{contender.name} differs from transformers' by {difference:.0e}: there is nothing to compare"
        )
    return None


def forward(shared: SharedCheckpoint, workload: Workload) -> list[SpeedResult]:
    """Logits of one row."""
    n = min(workload.forward_tokens, shared.config.n_positions)
    contenders = [*BOTH_SIDES, replace(OURS, special=("packed",))]
    timings = shared.timings(contenders, workload.rounds, "forward", n)
    return [SpeedResult(f"forward 1×{n}", timings, operations=_forward_operations(shared.config, 1, n))]


def training_step(shared: SharedCheckpoint, workload: Workload) -> list[SpeedResult]:
    """Forward, loss, backward and AdamW, without dropout."""
    batch, n = workload.training_rows, min(workload.training_tokens, shared.config.n_positions)
    contenders = list(BOTH_SIDES)
    if "bfloat16" in shared.half:
        contenders += [replace(contender, special=("autocast",)) for contender in BOTH_SIDES]
        if shared.device.type == "cuda":
            contenders.append(replace(OURS, special=("autocast", "compiled")))
    rounds, kind = min(3, workload.rounds), ProcessForEachTurn  # gradients and moments of all of them are too much
    timings = shared.timings(contenders, rounds, "training_step", batch, n, kind=kind)
    operations = 3 * _forward_operations(shared.config, batch, n)
    return [SpeedResult(f"training step {batch}×{n}", timings, operations)]


def decoding(shared: SharedCheckpoint, workload: Workload, batch: int = 1) -> list[SpeedResult]:
    """Greedy decoding after a prompt of 16 tokens."""
    return [_decoding(shared, workload, [*BOTH_SIDES, *shared.in_half()], batch, 16)]


def growth_of_decoding(shared: SharedCheckpoint, workload: Workload) -> list[SpeedResult]:
    """The same for longer prompts, and for other batches."""
    sizes = [(1, n) for n in workload.prompts] + [(batch, 16) for batch in workload.batches]
    contenders = [OURS, THEIRS, *shared.in_half(("bfloat16",))]
    return [_decoding(shared, workload, contenders, batch, n_prompt) for batch, n_prompt in sizes]


def _decoding(shared, workload, contenders, batch: int, n_prompt: int) -> SpeedResult:
    n_prompt = min(n_prompt, shared.config.n_positions // 2)
    n_new = min(workload.new_tokens, shared.config.n_positions - n_prompt)
    timings = shared.timings(contenders, workload.rounds, "decoding", batch, n_prompt, n_new)
    return SpeedResult(f"greedy decoding {batch}×({n_prompt} + {n_new})", timings)


def perplexity(shared: SharedCheckpoint, workload: Workload) -> list[SpeedResult]:
    """Sliding windows at half a window's stride: the lecture's loop on transformers, and `score`."""
    contenders = [THEIRS, *BOTH_SIDES[:2], *shared.in_half(("bfloat16",))]  # float16 has no fast kernels for many rows
    window = shared.config.n_positions
    timings = shared.timings(contenders, min(3, workload.rounds), "perplexity", window, workload.windows)
    return [SpeedResult(f"perplexity of {workload.windows} windows", timings)]


def loading(shared: SharedCheckpoint, workload: Workload) -> list[SpeedResult]:
    """From the folder to the first logits."""
    return [SpeedResult("loading, and one token", shared.timings([THEIRS, OURS], workload.rounds, "loading"))]


def limits(device="cpu") -> dict[str, float]:
    """What this machine can do at all: operations a second in matrix products, bytes a second read from memory."""
    return {
        "float32 operations a second": matrix_rate(torch.float32, device),
        "bfloat16 operations a second": matrix_rate(torch.bfloat16, device),
        "bytes a second": read_rate(device),
    }


def _forward_operations(config: GPT2Config, batch: int, n: int) -> float:
    """Multiplications and additions in the matrix products of a forward pass, of attention only the causal half."""
    inner = config.n_inner or 4 * config.n_embd
    a_token = config.n_layer * (4 * config.n_embd**2 + 2 * config.n_embd * inner) + config.vocab_size * config.n_embd
    looked_at = config.n_layer * config.n_embd * n * (n + 1)  # q·k and weights·v of every pair
    return batch * (2 * n * a_token + 2 * looked_at)
