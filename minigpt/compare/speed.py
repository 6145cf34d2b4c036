"""Ours against Hugging Face's transformers: the same work, the same weights, the same machine, in turns.

Before a race both sides answer in float32, and have to agree: a race between different computations is no race.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..attention import ATTENTION_FUNCTIONS
from ..checkpoints import load_model, save_model
from ..fast.loss_without_logits import LanguageModelLoss
from ..generation import generate
from ..models import GPT2, GPT2Config
from ..perplexity import score, sliding_windows
from ..train import decay_groups
from .difference import import_transformers
from .timing import Timing, alternate, matrix_rate, read_rate

SHAPES = {
    "tiny": GPT2Config(vocab_size=4096, n_positions=256, n_embd=192, n_layer=5, n_head=6),
    "gpt2": GPT2Config(),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BASELINE = "transformers sdpa float32"


@dataclass(frozen=True)
class Sizes:
    rounds: int
    forward_tokens: int
    training_rows: int
    training_tokens: int
    new_tokens: int
    windows: int


FULL = Sizes(rounds=7, forward_tokens=1024, training_rows=4, training_tokens=256, new_tokens=64, windows=20)
QUICK = Sizes(rounds=3, forward_tokens=256, training_rows=2, training_tokens=64, new_tokens=16, windows=3)


@dataclass(frozen=True)
class Comparison:
    """One kind of work, and how it went for everyone."""

    work: str
    timings: list[Timing]
    operations: float | None = None  # floating point operations of the work


class Workshop:
    """A folder with a checkpoint of random weights, from which both sides load what they race with."""

    def __init__(self, config: GPT2Config, folder: str | Path, dtypes: Sequence[str] = tuple(DTYPES), device="cpu"):
        self.transformers, self.config, self.folder = import_transformers(), config, Path(folder)
        self.device = torch.device(device)
        self.on_cuda = self.device.type == "cuda"
        self.half = [name for name in dtypes if name != "float32"]  # float32 is what both sides have in common
        torch.manual_seed(0)
        save_model(GPT2(config), self.folder)

    def ours(self, attention: str, dtype=torch.float32) -> GPT2:
        return load_model(self.folder, self.device, dtype, attention)

    def theirs(self, attention: str, dtype=torch.float32) -> torch.nn.Module:
        model = self.transformers.GPT2LMHeadModel.from_pretrained(
            self.folder, dtype=dtype, attn_implementation=attention
        )
        model.generation_config.eos_token_id = None  # nobody stops early
        return model.to(self.device).eval()

    def tokens(self, *shape: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.config.vocab_size, shape, generator=generator).to(self.device)

    def race(self, contenders: dict[str, Callable], rounds: int) -> list[Timing]:
        return alternate(contenders, BASELINE, rounds, self.device)


def forward(shop: Workshop, sizes: Sizes) -> Comparison:
    """Logits of one row."""
    n = min(sizes.forward_tokens, shop.config.n_positions)
    tokens = shop.tokens(1, n)
    models = _both_sides(shop)
    with torch.inference_mode():
        expected = models[BASELINE](tokens).logits
        for name, model in models.items():
            if name.startswith("minigpt"):
                _same(name, model(tokens), expected)
        timings = shop.race({name: lambda model=model: model(tokens) for name, model in models.items()}, sizes.rounds)
    return Comparison(f"forward 1×{n}", timings, operations=_forward_operations(shop.config, 1, n))


def training_step(shop: Workshop, sizes: Sizes) -> Comparison:
    """Forward, loss, backward and AdamW, without dropout."""
    batch, n = sizes.training_rows, min(sizes.training_tokens, shop.config.n_positions)
    tokens = shop.tokens(batch, n)
    ours, theirs = shop.ours("sdpa"), shop.theirs("sdpa")  # in eval mode: no dropout
    loss_of = LanguageModelLoss(ours)
    optimizers = [torch.optim.AdamW(decay_groups(model, 0.1), lr=1e-5, fused=True) for model in (ours, theirs)]

    def our_step(attention: str, half: bool, loss_of=loss_of):
        for block in ours.blocks:
            block.attention.attention = ATTENTION_FUNCTIONS[attention]
        return step(lambda: loss_of(tokens, tokens), optimizers[0], half)

    def their_step(attention: str, half: bool):
        theirs.set_attn_implementation(attention)
        return step(lambda: theirs(tokens, labels=tokens).loss, optimizers[1], half)

    def step(loss_of_batch, optimizer, half):
        with torch.autocast(shop.device.type, torch.bfloat16, enabled=half):
            loss = loss_of_batch()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    _same("the first loss", our_step("sdpa", False), their_step("sdpa", False))
    ways = [("float32", False), ("bfloat16 autocast", True)] if "bfloat16" in shop.half else [("float32", False)]
    contenders = {
        f"{side} {attention} {dtype}": lambda run=run, attention=attention, half=half: run(attention, half)
        for side, run, plain in [("minigpt", our_step, "explicit"), ("transformers", their_step, "eager")]
        for attention in (plain, "sdpa")
        for dtype, half in ways
    }
    if shop.on_cuda and "bfloat16" in shop.half:
        compiled = LanguageModelLoss(ours, compile=True)
        contenders["minigpt sdpa bfloat16 autocast, compiled"] = lambda: our_step("sdpa", True, compiled)
    timings = shop.race(contenders, sizes.rounds)
    return Comparison(f"training step {batch}×{n}", timings, operations=3 * _forward_operations(shop.config, batch, n))


def decoding(shop: Workshop, sizes: Sizes, batch: int) -> Comparison:
    """Greedy decoding behind a prompt of 16 tokens, with each side's own generate."""
    n_new = min(sizes.new_tokens, shop.config.n_positions - 16)
    prompts = shop.tokens(batch, 16)
    rows = prompts.tolist()
    models = _both_sides(shop)
    for dtype in shop.half:
        models |= _in_half(shop, dtype)
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
    timings = shop.race({name: lambda name=name: run(name) for name in models}, sizes.rounds)
    return Comparison(f"greedy decoding {batch}×{n_new}", timings)


def perplexity(shop: Workshop, sizes: Sizes) -> Comparison:
    """Sliding windows at half a window's stride: the lecture's loop on transformers, and `score`."""
    window = shop.config.n_positions
    tokens = shop.tokens(window + (sizes.windows - 1) * (window // 2))
    models = {
        BASELINE: shop.theirs("sdpa"),
        "minigpt explicit float32": shop.ours("explicit"),
        "minigpt sdpa float32": shop.ours("sdpa"),
    }
    if "bfloat16" in shop.half:  # float16 products of many rows have no fast kernels on a CPU
        models |= _in_half(shop, "bfloat16")

    def lecture(model):
        losses = []
        for begin, end, n_new in sliding_windows(len(tokens), window, window // 2):
            labels = tokens[None, begin:end].clone()
            labels[:, :-n_new] = -100
            with torch.no_grad():
                losses.append(model(tokens[None, begin:end], labels=labels).loss)
        return torch.stack(losses).mean().exp()

    def run(name):
        if name.startswith("transformers"):
            return lecture(models[name]).item()
        return score(models[name], tokens.cpu()).window_mean_perplexity

    _same("perplexity", torch.tensor(run("minigpt sdpa float32")), torch.tensor(run(BASELINE)))
    timings = shop.race({name: lambda name=name: run(name) for name in models}, min(3, sizes.rounds))
    return Comparison(f"perplexity of {sizes.windows} windows", timings)


def loading(shop: Workshop, sizes: Sizes) -> Comparison:
    """From the folder to the first logits. (transformers maps the file and reads a weight when it is first used.)"""
    token = shop.tokens(1, 1)

    @torch.inference_mode()
    def run(name):
        model = shop.theirs("sdpa") if name == BASELINE else shop.ours("sdpa")
        return model(token)

    names = (BASELINE, "minigpt sdpa float32")
    _same("the first token's logits", run(names[1]), run(BASELINE).logits)
    return Comparison("loading, and one token", shop.race({n: lambda n=n: run(n) for n in names}, sizes.rounds))


def limits(device="cpu") -> dict[str, float]:
    """What this machine can do at all: operations a second in matrix products, bytes a second read from memory."""
    return {
        "float32 operations a second": matrix_rate(torch.float32, device),
        "bfloat16 operations a second": matrix_rate(torch.bfloat16, device),
        "bytes a second": read_rate(device),
    }


def _both_sides(shop: Workshop) -> dict[str, torch.nn.Module]:
    ours = {f"minigpt {attention} float32": shop.ours(attention) for attention in ("explicit", "sdpa")}
    theirs = {f"transformers {attention} float32": shop.theirs(attention) for attention in ("eager", "sdpa")}
    return ours | theirs


def _in_half(shop: Workshop, dtype: str) -> dict[str, torch.nn.Module]:
    """Ours in half precision; transformers' only on CUDA, since on a CPU its weights lie in the order that is read at a
    thirtieth of the speed, and beating that would be an empty win."""
    models = {f"minigpt sdpa {dtype}": shop.ours("sdpa", DTYPES[dtype])}
    if shop.on_cuda:
        models[f"transformers sdpa {dtype}"] = shop.theirs("sdpa", DTYPES[dtype])
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
