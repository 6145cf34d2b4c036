"""Our model against Hugging Face's on the same checkpoint: the same numbers, or the checkpoint is not what it seems."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ..loss import next_token_loss
from ..models import GPT2
from ..models.gpt2 import position_ids_for
from ..trace import trace

# The largest difference that rounding explains. Logits and hidden states are measured relative to their largest entry.
BARS = {
    torch.float64: {"logits": 2e-13, "loss": 5e-14, "hidden states": 2e-13, "attention weights": 2e-13},
    torch.float32: {"logits": 2e-5, "loss": 1e-5, "hidden states": 2e-5, "attention weights": 4e-5},
}


@dataclass(frozen=True)
class Comparison:
    """One quantity in one dtype; first_layer is the first block whose part of it is beyond the bar."""

    quantity: str
    dtype: str
    difference: float
    bar: float
    first_layer: int | None = None

    @property
    def ok(self) -> bool:
        return self.difference <= self.bar  # false for nan, too


@torch.no_grad()
def compare(model: GPT2, directory: str | Path, seed: int = 0) -> list[Comparison]:
    """Compare a loaded model with transformers' GPT2LMHeadModel of the same folder, in the model's own dtype.

    Random tokens, two rows of at most 64: whole, then the second with pads on its left, then in two parts with a cache.
    The reference loss is torch's, in the model's dtype: the one inside transformers is float32 whatever the model.
    Raises ValueError for a model that is neither float64 nor float32.
    """
    weight = model.token_embedding.weight
    if weight.dtype not in BARS:
        raise ValueError(f"compare needs a float64 or float32 model, got {weight.dtype}")
    oracle = _load_oracle(directory, weight)
    bars, dtype = BARS[weight.dtype], str(weight.dtype).removeprefix("torch.")

    length = min(64, model.config.n_positions)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(model.config.vocab_size, (2, length), generator=generator).to(weight.device)
    ours, theirs = trace(model, tokens), oracle(tokens, output_hidden_states=True, output_attentions=True)

    states = [ours.embeddings, *ours.hidden_states[:-1], model.final_norm(ours.hidden_states[-1])]
    of_states = [_relative(a, b) for a, b in zip(states, theirs.hidden_states, strict=True)]
    of_weights = [_absolute(a, b) for a, b in zip(ours.attention_weights, theirs.attentions, strict=True)]
    logits = model(tokens)
    loss = torch.nn.functional.cross_entropy(theirs.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    comparisons = [
        _by_layer("attention weights", dtype, of_weights, bars["attention weights"]),
        # The first state is the embeddings; the state behind it belongs to block 0.
        _by_layer("hidden states", dtype, [max(of_states[:2]), *of_states[2:]], bars["hidden states"]),
        Comparison("logits", dtype, _relative(logits, theirs.logits), bars["logits"]),
        Comparison("loss", dtype, _absolute(next_token_loss(logits, tokens), loss), bars["loss"]),
    ]

    mask = torch.ones_like(tokens)
    mask[1, : length // 3] = 0
    real = mask.bool()
    padded = oracle(tokens, attention_mask=mask, position_ids=position_ids_for(mask, 0, tokens)).logits[real]
    difference = _relative(model(tokens, attention_mask=mask)[real], padded)
    comparisons.append(Comparison("logits, left padding", dtype, difference, bars["logits"]))

    cache = model.new_cache(batch_size=2, capacity=length)
    parts = [model(part, cache=cache) for part in tokens.split([length // 2, length - length // 2], dim=1)]
    difference = _relative(torch.cat(parts, dim=1), theirs.logits)
    comparisons.append(Comparison("logits, cached", dtype, difference, bars["logits"]))
    return comparisons


def verdict(comparisons: list[Comparison]) -> str | None:
    """What a difference beyond a bar means: None without one; "rounding" when float64 agrees and only a smaller dtype
    does not; "bug" when float64, which rounds a billion times finer than float32, differs too."""
    failed = [comparison for comparison in comparisons if not comparison.ok]
    if not failed:
        return None
    return "bug" if any(comparison.dtype == "float64" for comparison in failed) else "rounding"


def first_layer(comparisons: list[Comparison]) -> int | None:
    """The first block at which anything is beyond its bar; None when no block is."""
    return min((c.first_layer for c in comparisons if c.first_layer is not None), default=None)


def import_transformers():
    """The other side of every comparison, told to be quiet. Raises ImportError with what to do where it is missing."""
    try:
        import transformers
    except ImportError:
        reason = "transformers, the other side of the comparison, is not installed: pip install -r requirements.txt"
        raise ImportError(reason) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _load_oracle(directory, weight):
    transformers = import_transformers()
    oracle = transformers.GPT2LMHeadModel.from_pretrained(directory, dtype=weight.dtype, attn_implementation="eager")
    return oracle.to(weight.device).eval()


def _by_layer(quantity: str, dtype: str, differences: list[float], bar: float) -> Comparison:
    beyond = [layer for layer, difference in enumerate(differences) if not difference <= bar]
    largest = torch.tensor(differences, dtype=torch.float64).max().item()  # unlike max(), it does not lose a nan
    return Comparison(quantity, dtype, largest, bar, beyond[0] if beyond else None)


def _relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return _absolute(ours, theirs) / theirs.abs().max().item()


def _absolute(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return (ours - theirs).abs().max().item()
