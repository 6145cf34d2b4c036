"""The oracle: random GPT-2s, the same weights once in Hugging Face's implementation and once in ours.

Every parameter is drawn at random. Fresh Hugging Face weights prove little: biases are 0, norms 1 and 0, and the
standard deviation of 0.02 hides the difference between two kinds of GELU.
"""

import random
from dataclasses import asdict

import torch
import transformers

from minigpt import GPT2, GPT2Config
from minigpt.checkpoints.names import NAMES
from minigpt.checkpoints.translate import from_hugging_face

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

DTYPES = [torch.float64, torch.float32]
HALF = [torch.bfloat16, torch.float16]
ATTENTION = ["explicit", "sdpa"]

# The largest difference that rounding explains, in (float64, float32): several times the worst ever seen.
# Logits, hidden states and outputs are measured relative to the largest, gradients relative to the largest gradient
# anywhere in the model; attention weights, losses and parameters as they are.
BARS = {
    "logits": (2e-13, 2e-5),
    "loss": (5e-14, 1e-5),
    "gradients": (1e-12, 1e-4),
    "gradient of the key biases": (1e-14, 1e-5),
    "hidden states": (2e-13, 2e-5),
    "attention weights": (2e-13, 4e-5),
    "padded logits": (2e-13, 2e-5),
    "padded loss": (5e-14, 1e-5),
    "padded gradients": (1e-12, 1e-4),
    "cached logits": (2e-13, 2e-5),
    "numpy against ours: logits": (2e-13, 2e-5),
    "numpy against Hugging Face: logits": (2e-13, 2e-5),
    "dropout with the same seed: logits": (2e-13, 2e-5),
    "dropout with the same seed: gradients": (1e-12, 1e-4),
    "200 steps of AdamW: losses": (5e-14, 1e-5),
    "200 steps of AdamW: parameters": (1e-12, 3e-4),
    "one layer: outputs": (2e-13, None),
    "one layer: gradients": (2e-13, None),
}
# In half precision: our error divided by Hugging Face's, both against float64.
HALF_BAR = 1.5

# (quantity, dtype, attention) -> worst difference so far; printed at the end of the run.
worst: dict[tuple[str, torch.dtype, str], float] = {}


def check(quantity: str, difference, dtype: torch.dtype, attention: str, where: str = "") -> None:
    """Remember the difference, and fail when it is beyond its bar (or nan)."""
    difference = difference.item() if isinstance(difference, torch.Tensor) else difference
    bar = HALF_BAR if dtype in HALF else BARS[quantity][DTYPES.index(dtype)]
    key = (quantity, dtype, attention)
    worst[key] = max(worst.get(key, 0.0), difference)
    assert difference <= bar, f"{quantity}{where}: {difference:.1e} is above {bar:.2g} ({dtype}, {attention})"


def worst_figures() -> list[str]:
    """The worst differences of the run as Markdown: one table for float64 and float32, one for half precision."""
    lines = []
    for dtypes, title in [(DTYPES, "largest difference"), (HALF, "our error / Hugging Face's")]:
        columns = [(dtype, attention) for dtype in dtypes for attention in ATTENTION]
        quantities = dict.fromkeys(quantity for quantity, dtype, _ in worst if dtype in dtypes)
        if not quantities:
            continue
        names = [f"{str(dtype).removeprefix('torch.')} {attention}" for dtype, attention in columns]
        lines += ["", "| " + " | ".join([title, *names, "bars"]) + " |", "|---" * (len(columns) + 2) + "|"]
        for quantity in quantities:
            figures = [worst.get((quantity, *column)) for column in columns]
            bars = BARS[quantity] if dtypes == DTYPES else (HALF_BAR,)
            cells = ["" if figure is None else f"{figure:.2g}" for figure in figures]
            limits = ", ".join(f"{bar:g}" if bar > 1 else f"{bar:.0e}" for bar in bars if bar is not None)
            lines.append("| " + " | ".join([quantity, *cells, limits]) + " |")
    return lines


def random_config(seed: int, **fixed) -> GPT2Config:
    rng = random.Random(seed)
    n_head = rng.choice([1, 2, 3, 4])
    vocab_size = rng.randint(20, 120)
    drawn = dict(
        vocab_size=vocab_size,
        n_positions=rng.randint(24, 48),
        n_head=n_head,
        n_embd=n_head * rng.choice([4, 6, 8, 16]),
        n_layer=rng.randint(1, 3),
        n_inner=rng.choice([None, None, 20, 50]),
        activation_function=rng.choice(["gelu_new", "gelu_new", "gelu_pytorch_tanh", "gelu", "relu", "silu", "tanh"]),
        layer_norm_epsilon=rng.choice([1e-5, 1e-6, 1e-3]),
        scale_attn_weights=rng.random() < 0.8,
        scale_attn_by_inverse_layer_idx=rng.random() < 0.3,
        tie_word_embeddings=rng.random() < 0.75,
        bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return GPT2Config(**drawn | fixed)


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int) -> None:
    """Matrices N(0, 0.25²), biases N(0, 0.2²), norm weights 1 + N(0, 0.2²)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        is_norm = ".ln_" in name or "norm" in name
        if name.endswith("bias"):
            parameter.copy_(0.2 * noise)
        else:
            parameter.copy_(1 + 0.2 * noise if is_norm else 0.25 * noise)


def hugging_face(config: GPT2Config, seed: int, dtype=torch.float64, attention="eager") -> transformers.GPT2LMHeadModel:
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**asdict(config), attn_implementation=attention))
    randomise(model, seed)
    return model.to(dtype).eval()


def twin(theirs: transformers.GPT2LMHeadModel, config: GPT2Config, attention: str = "explicit") -> GPT2:
    """Our model with the weights of a Hugging Face model."""
    ours = GPT2(config, attention).to(next(theirs.parameters()).dtype).eval()
    shapes = {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(from_hugging_face(tensors, NAMES["gpt2"], shapes, config))
    return ours


def pair(seed: int, dtype=torch.float64, attention: str = "explicit", **fixed) -> tuple[GPT2, torch.nn.Module]:
    """(ours, theirs) of a random configuration, every parameter random and equal."""
    config = random_config(seed, **fixed)
    theirs = hugging_face(config, seed, dtype)
    return twin(theirs, config, attention), theirs


def gradients(ours: GPT2, theirs: torch.nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(our gradient, Hugging Face's) of every parameter by our names, through the same table as the weights."""
    shapes = {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}
    grads = {name.removeprefix("transformer."): parameter.grad for name, parameter in theirs.named_parameters()}
    expected = from_hugging_face(grads, NAMES["gpt2"], shapes, ours.config)
    missing = [name for name, parameter in ours.named_parameters() if parameter.grad is None]
    assert not missing, f"no gradient: {missing}"
    return {name: (parameter.grad, expected[name]) for name, parameter in ours.named_parameters()}


def padded_batch(config: GPT2Config, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask (6, T): a whole row; pads on the left, on the right, on both sides; two rows with holes."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return torch.randint(low, high + 1, (), generator=generator).item()

    n = draw(5, config.n_positions)
    tokens = torch.randint(config.vocab_size, (6, n), generator=generator)
    mask = torch.ones_like(tokens)
    mask[1, : draw(1, n - 2)] = 0
    mask[2, -draw(1, n - 2) :] = 0
    mask[3, : draw(1, n // 2)] = 0
    mask[3, -draw(1, (n - 1) // 2) :] = 0
    mask[4:] = torch.rand(2, n, generator=generator) < 0.6
    mask[4:, draw(0, n - 1)] = 1
    return tokens, mask


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids for Hugging Face, which counts the pads when it is given the mask alone."""
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
