"""Time and memory of pieces of work, measured so that other work on the machine does not decide which is faster.

The contenders, which are compared, take turns within each round: so other work slows all of them, and the ratios of a
round's times are compared, not times of different minutes.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from .._checks import choice, integer

# Rows of the square matrices, and float32 numbers, to measure limits: so many that starting the work does not count.
MATRIX, READ = {"cpu": 2048, "cuda": 8192}, {"cpu": 64_000_000, "cuda": 1_000_000_000}


@dataclass(frozen=True)
class Timing:
    """Seconds of one contender in each round, and how many times as fast as the baseline it was."""

    contender: str
    seconds: list[float]
    ratio: float  # the median of the rounds' own ratios, baseline / contender
    ratio_low: float  # their quartiles
    ratio_high: float
    equal_tokens: float | None = None  # of the tokens that it decoded, the share that the baseline decoded, too

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def alternate(contenders: dict[str, Callable[[], float]], baseline: str, rounds: int) -> list[Timing]:
    """Run `rounds` rounds of all contenders in turn, every second one backwards.

    A contender is a function that does its work, which has been done before to warm up, and returns the seconds that it
    took (`seconds_of`). Raises ValueError for a baseline that is no contender, and for rounds below 1.
    """
    baseline, rounds = choice("baseline", baseline, contenders), integer("rounds", rounds, 1)
    seconds = {name: [] for name in contenders}
    for name in tqdm(_turns(list(contenders), rounds), desc="measuring", leave=False, delay=2, disable=None):
        seconds[name].append(contenders[name]())
    timings = []
    for name, times in seconds.items():
        ratios = [base / own for base, own in zip(seconds[baseline], times, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if rounds > 1 else ratios * 3
        timings.append(Timing(name, times, middle, low, high))
    return timings


def _turns(names: list[str], rounds: int) -> list[str]:
    return [name for n in range(rounds) for name in (names[::-1] if n % 2 else names)]


def seconds_of(work: Callable, device="cpu") -> float:
    """Seconds until work() is done, on CUDA also on the card."""
    start = time.perf_counter()
    work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak_memory(work: Callable, device="cpu") -> int:
    """Bytes of tensors in use at the worst moment of work(), beyond those in use before it."""
    if torch.device(device).type == "cuda":
        work()  # now the libraries have their workspaces, which are not counted
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it writes to stderr when it starts and stops
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(changes), default=0)


def matrix_rate(dtype: torch.dtype, device="cpu", n: int | None = None) -> float:
    """Floating point operations a second in the product of two square matrices of n rows, the best of a few tries."""
    n = MATRIX[torch.device(device).type] if n is None else n
    a = torch.randn(n, n, device=device).to(dtype)
    return 2 * n**3 / min(_tries(lambda: a @ a, device))


def read_rate(device="cpu") -> float:
    """Bytes a second at which memory is read: a sum over many numbers, the best of a few tries."""
    numbers = torch.ones(READ[torch.device(device).type], device=device)
    return 4 * len(numbers) / min(_tries(numbers.sum, device))


def _tries(work: Callable, device, n: int = 8) -> Iterator[float]:
    work()
    return (seconds_of(work, device) for _ in range(n))
