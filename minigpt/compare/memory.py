"""Other costs than speed: memory of loading and of the loss, seconds of importing; how a forward pass's costs grow."""

import dataclasses
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from ..attention import ATTENTION_FUNCTIONS
from ..fast import linear_cross_entropy
from ..models import GPT2, GPT2Config
from .speed import SharedCheckpoint, Workload
from .timing import alternate, peak_memory, seconds_of


def importing(workload: Workload) -> dict[str, float]:
    """Seconds of `import torch` and of `import minigpt`, which includes it, each in a process of its own."""
    contenders = {name: partial(seconds_of, partial(_python, f"import {name}")) for name in ("torch", "minigpt")}
    for run in contenders.values():  # now the files are in memory
        run()
    timings = alternate(contenders, "torch", workload.rounds)
    return {f"import {timing.contender}": timing.median for timing in timings}


PEAK_OF_LOADING = """
import sys, minigpt
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
before = peak()
minigpt.load_model(sys.argv[1])
print(1024 * (peak() - before))
"""


def memory(shared: SharedCheckpoint, workload: Workload) -> dict[str, int | None]:
    """Bytes of the checkpoint's file; peak bytes of a process that loads it, and of head and loss, forward and
    backward, with all logits held and without.

    The gradient of the head's weight, which both need, is not counted. Loading is None on other systems than Linux.
    """
    n, c = min(workload.forward_tokens, shared.config.n_positions), shared.config
    weight = torch.randn(c.vocab_size, c.n_embd, device=shared.device).mul_(0.02).requires_grad_()
    hidden = torch.randn(n, c.n_embd, device=shared.device, requires_grad=True)
    targets = torch.randint(c.vocab_size, (n,), device=shared.device)

    def extra(loss: Callable) -> int:
        def forward_and_backward():
            loss(hidden, weight, targets).backward()
            weight.grad = hidden.grad = None

        return peak_memory(forward_and_backward, shared.device) - weight.numel() * weight.element_size()

    return {
        "the checkpoint's file": (shared.folder / "model.safetensors").stat().st_size,
        "load_model": None if sys.platform != "linux" else int(_python(PEAK_OF_LOADING, str(shared.folder))),
        f"head and loss of {n} tokens, logits held": extra(lambda h, w, t: F.cross_entropy(F.linear(h, w), t)),
        f"head and loss of {n} tokens, linear_cross_entropy": extra(linear_cross_entropy),
    }


def _python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Growth:
    """One forward pass: what was made larger, how large, and what it cost."""

    of: str  # "tokens", "rows" or "layers"
    size: int
    attention: str
    seconds: float
    peak_bytes: int


def growth(config: GPT2Config, rounds: int = 5, device="cpu") -> list[Growth]:
    """Time and memory of a forward pass against its length (up to the context), its rows, and the model's layers."""
    found = []
    longest = config.n_positions
    plans = [("tokens", longest // k) for k in (8, 4, 2, 1)] + [("rows", k) for k in (1, 2, 4, 8)]
    plans += [("layers", k) for k in sorted({max(1, config.n_layer * k // 4) for k in (1, 2, 3, 4)})]
    for of, size in plans:
        plan = {"tokens": longest // 8, "rows": 1, "layers": config.n_layer} | {of: size}
        for attention in ATTENTION_FUNCTIONS:
            model = GPT2(dataclasses.replace(config, n_layer=plan["layers"]), attention).to(device).eval()
            tokens = torch.zeros(plan["rows"], plan["tokens"], dtype=torch.int64, device=device)
            with torch.inference_mode():
                peak = peak_memory(lambda model=model, tokens=tokens: model.hidden(tokens), device)
                seconds = [seconds_of(lambda m=model, t=tokens: m.hidden(t), device) for _ in range(rounds)]
            found.append(Growth(of, size, attention, statistics.median(seconds), peak))
    return found
