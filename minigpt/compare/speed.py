"""minigpt and transformers in turns: both do the same work with the same weights on the same machine.

Before anything is timed, both sides compute the answer in float32, and the two must agree: times of different
computations cannot be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..attention import ATTENTION_FUNCTIONS
from ..checkpoints import load_model, save_model
from ..fast import LanguageModelLoss
from ..generation import generate
from ..models import GPT2, GPT2Config
from ..perplexity import lecture_perplexity, score
from ..train import decay_groups
from ..train.recipes import recipe_config
from .oracle import import_transformers, load_oracle
from .timing import Timing, alternate, matrix_rate, read_rate

SIZES = {"tiny": recipe_config("tiny"), "gpt2": GPT2Config.preset("gpt2")}
DTYPES = ("float32", "bfloat16", "float16")
BASELINE = "transformers sdpa float32"


@dataclass(frozen=True)
class Workload:
    rounds: int
    forward_tokens: int
    training_rows: int
    training_tokens: int
    new_tokens: int
    windows: int


FULL = Workload(rounds=7, forward_tokens=1024, training_rows=4, training_tokens=256, new_tokens=64, windows=20)
QUICK = Workload(rounds=3, forward_tokens=256, training_rows=2, training_tokens=64, new_tokens=16, windows=3)


@dataclass(frozen=True)
class SpeedResult:
    """One kind of work, and the timing of each contender (timing.py)."""

    work: str
    timings: list[Timing]
    operations: float | None = None  # floating point operations of the work


class SharedCheckpoint:
    """A folder with a checkpoint of random weights, from which both sides load their model."""

    def __init__(self, config: GPT2Config, folder: str | Path, dtypes: Sequence[str] = DTYPES, device="cpu"):
        import_transformers()  # refuse now, not after the first measurement
        self.config, self.folder = config, Path(folder)
        self.device = torch.device(device)
        self.on_cuda = self.device.type == "cuda"
        self.half = [name for name in dtypes if name != "float32"]  # both sides are always timed in float32
        torch.manual_seed(0)
        save_model(GPT2(config), self.folder)

    def ours(self, attention: str, dtype=torch.float32) -> GPT2:
        return load_model(self.folder, self.device, dtype, attention)

    def theirs(self, attention: str, dtype=torch.float32) -> torch.nn.Module:
        model = load_oracle(self.folder, self.config, dtype, self.device, attention)
        model.generation_config.eos_token_id = None  # no text stops early
        return model

    def tokens(self, *shape: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.config.vocab_size, shape, generator=generator).to(self.device)

    def measure(self, contenders: dict[str, Callable], rounds: int) -> list[Timing]:
        return alternate(contenders, BASELINE, rounds, self.device)


def forward(shared: SharedCheckpoint, workload: Workload) -> SpeedResult:
    """Logits of one row."""
    n = min(workload.forward_tokens, shared.config.n_positions)
    tokens = shared.tokens(1, n)
    models = _both_sides(shared)
    with torch.inference_mode():
        expected = models[BASELINE](tokens).logits
        for name, model in models.items():
            if name.startswith("minigpt"):
                _same(name, model(tokens), expected)
        timings = shared.measure(
            {name: lambda model=model: model(tokens) for name, model in models.items()}, workload.rounds
        )
    return SpeedResult(f"forward 1×{n}", timings, operations=_forward_operations(shared.config, 1, n))


def training_step(shared: SharedCheckpoint, workload: Workload) -> SpeedResult:
    """Forward, loss, backward and AdamW, without dropout."""
    batch, n = workload.training_rows, min(workload.training_tokens, shared.config.n_positions)
    tokens = shared.tokens(batch, n)
    ours, theirs = shared.ours("sdpa"), shared.theirs("sdpa")  # in eval mode: no dropout
    loss_of = LanguageModelLoss(ours)
    optimizers = [torch.optim.AdamW(decay_groups(model, 0.1), lr=1e-5, fused=True) for model in (ours, theirs)]

    def our_step(attention: str, half: bool, loss_of=loss_of):
        for block in ours.blocks:
            block.attention.attend = ATTENTION_FUNCTIONS[attention]
        return step(lambda: loss_of(tokens, tokens), optimizers[0], half)

    def their_step(attention: str, half: bool):
        theirs.set_attn_implementation(attention)
        return step(lambda: theirs(tokens, labels=tokens).loss, optimizers[1], half)

    def step(loss_of_batch, optimizer, half):
        with torch.autocast(shared.device.type, torch.bfloat16, enabled=half):
            loss = loss_of_batch()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    _same("the first loss", our_step("sdpa", False), their_step("sdpa", False))
    ways = [("float32", False), ("bfloat16 autocast", True)] if "bfloat16" in shared.half else [("float32", False)]
    contenders = {
        f"{side} {attention} {dtype}": lambda run=run, attention=attention, half=half: run(attention, half)
        for side, run, plain in [("minigpt", our_step, "explicit"), ("transformers", their_step, "eager")]
        for attention in (plain, "sdpa")
        for dtype, half in ways
    }
    if shared.on_cuda and "bfloat16" in shared.half:
        compiled = LanguageModelLoss(ours, compile=True)
        contenders["minigpt sdpa bfloat16 autocast, compiled"] = lambda: our_step("sdpa", True, compiled)
    timings = shared.measure(contenders, workload.rounds)
    return SpeedResult(
        f"training step {batch}×{n}", timings, operations=3 * _forward_operations(shared.config, batch, n)
    )


def decoding(shared: SharedCheckpoint, workload: Workload, batch: int) -> SpeedResult:
    """Greedy decoding after a prompt of 16 tokens, with each side's own generate."""
    n_new = min(workload.new_tokens, shared.config.n_positions - 16)
    prompts = shared.tokens(batch, 16)
    rows = prompts.tolist()
    models = _both_sides(shared)
    for dtype in shared.half:
        models |= _in_half(shared, dtype)
    real = torch.ones_like(prompts)

    def run(name):
        if name.startswith("minigpt"):
            return [row[-n_new:] for row in generate(models[name], rows, n_new, stop_tokens=[])]
        found = models[name].generate(
            prompts, attention_mask=real, max_new_tokens=n_new, do_sample=False, pad_token_id=0
        )
        return found[:, -n_new:].tolist()

    if run("minigpt sdpa float32") != run(BASELINE):
        raise RuntimeError("the two sides decode different tokens")
    timings = shared.measure({name: lambda name=name: run(name) for name in models}, workload.rounds)
    return SpeedResult(f"greedy decoding {batch}×{n_new}", timings)


def perplexity(shared: SharedCheckpoint, workload: Workload) -> SpeedResult:
    """Sliding windows at half a window's stride: the lecture's loop on transformers, and `score`."""
    window = shared.config.n_positions
    tokens = shared.tokens(window + (workload.windows - 1) * (window // 2))
    models = {
        BASELINE: shared.theirs("sdpa"),
        "minigpt explicit float32": shared.ours("explicit"),
        "minigpt sdpa float32": shared.ours("sdpa"),
    }
    if "bfloat16" in shared.half:  # float16 products of many rows have no fast kernels on a CPU
        models |= _in_half(shared, "bfloat16")

    def run(name):
        if name.startswith("transformers"):
            model = models[name]
            loss_of = lambda input_ids, labels: model(input_ids, labels=labels).loss  # noqa: E731
            return lecture_perplexity(loss_of, tokens[None], window, window // 2).item()
        return score(models[name], tokens.cpu()).window_mean_perplexity

    _same("perplexity", torch.tensor(run("minigpt sdpa float32")), torch.tensor(run(BASELINE)))
    timings = shared.measure({name: lambda name=name: run(name) for name in models}, min(3, workload.rounds))
    return SpeedResult(f"perplexity of {workload.windows} windows", timings)


def loading(shared: SharedCheckpoint, workload: Workload) -> SpeedResult:
    """From the folder to the first logits. (transformers maps the file and reads a weight when it is first used.)"""
    token = shared.tokens(1, 1)

    @torch.inference_mode()
    def run(name):
        model = shared.theirs("sdpa") if name == BASELINE else shared.ours("sdpa")
        return model(token)

    names = (BASELINE, "minigpt sdpa float32")
    _same("the first token's logits", run(names[1]), run(BASELINE).logits)
    return SpeedResult(
        "loading, and one token", shared.measure({n: lambda n=n: run(n) for n in names}, workload.rounds)
    )


def limits(device="cpu") -> dict[str, float]:
    """What this machine can do at all: operations a second in matrix products, bytes a second read from memory."""
    return {
        "float32 operations a second": matrix_rate(torch.float32, device),
        "bfloat16 operations a second": matrix_rate(torch.bfloat16, device),
        "bytes a second": read_rate(device),
    }


def _both_sides(shared: SharedCheckpoint) -> dict[str, torch.nn.Module]:
    ours = {f"minigpt {attention} float32": shared.ours(attention) for attention in ("explicit", "sdpa")}
    theirs = {f"transformers {attention} float32": shared.theirs(attention) for attention in ("eager", "sdpa")}
    return ours | theirs


def _in_half(shared: SharedCheckpoint, dtype: str) -> dict[str, torch.nn.Module]:
    """Ours in half precision; transformers' only on CUDA. On a CPU its weights lie in an order that is read at a
    thirtieth of the speed, so a comparison would say nothing."""
    models = {f"minigpt sdpa {dtype}": shared.ours("sdpa", getattr(torch, dtype))}
    if shared.on_cuda:
        models[f"transformers sdpa {dtype}"] = shared.theirs("sdpa", getattr(torch, dtype))
    return models


def _same(what: str, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    difference = ((ours.double() - theirs.double()).abs().max() / theirs.abs().max()).item()
    if not difference < 1e-4:
        raise RuntimeError(f"{what} differs from transformers' by {difference:.0e}: there is nothing to compare")


def _forward_operations(config: GPT2Config, batch: int, n: int) -> float:
    """Multiplications and additions in the matrix products of a forward pass, of attention only the causal half."""
    inner = config.n_inner or 4 * config.n_embd
    a_token = config.n_layer * (4 * config.n_embd**2 + 2 * config.n_embd * inner) + config.vocab_size * config.n_embd
    looked_at = config.n_layer * config.n_embd * n * (n + 1)  # q·k and weights·v of every pair
    return batch * (2 * n * a_token + 2 * looked_at)
