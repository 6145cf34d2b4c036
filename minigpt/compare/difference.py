"""Our model against Hugging Face's on the same checkpoint: the same numbers, or the checkpoint is not what it seems."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..loss import next_token_loss
from ..positions import position_ids_for
from ..trace import trace
from .oracle import load_oracle

# The largest difference that rounding explains. Logits and hidden states are measured relative to their largest entry.
BARS = {
    torch.float64: {"logits": 2e-13, "loss": 5e-14, "hidden states": 2e-13, "attention weights": 2e-13},
    torch.float32: {"logits": 2e-5, "loss": 1e-5, "hidden states": 2e-5, "attention weights": 4e-5},
}


@dataclass(frozen=True)
class Difference:
    """How far one quantity is from transformers', in one dtype. difference None: it could not be compared, for our side
    does not show it. first_layer is the first block whose part of it is beyond the bar."""

    quantity: str
    dtype: str
    difference: float | None
    bar: float
    first_layer: int | None = None

    @property
    def ok(self) -> bool:
        return self.difference is None or self.difference <= self.bar  # false for nan, too

    def __str__(self) -> str:
        if self.difference is None:
            return "not compared: an attention function that is not minigpt's shows no weights"
        return f"{self.difference:10.1e} {self.bar:8.0e} {'✓' if self.ok else '✗'}"


@torch.no_grad()
def verify(model: nn.Module, directory: str | Path, seed: int = 0) -> list[Difference]:
    """Compare a loaded model with transformers' model of the same folder, in the model's own dtype.

    The model attends by its own function, ours or a reader's. Of a reader's the weights are not known: then the first
    layer that differs is found from the hidden states.
    Random tokens, two rows of at most 64: whole, then the second with pads on its left, then in two parts with a cache.
    The reference loss is torch's, in the model's dtype: the one inside transformers is float32 whatever the model.
    Raises ValueError for a model that is neither float64 nor float32.
    """
    weight = next(model.parameters())
    if weight.dtype not in BARS:
        raise ValueError(f"verify needs a float64 or float32 model, got {weight.dtype}")
    oracle = load_oracle(directory, model.config, weight.dtype, weight.device)
    bars, dtype = BARS[weight.dtype], str(weight.dtype).removeprefix("torch.")

    length = min(64, model.max_tokens)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(model.vocab_size, (2, length), generator=generator).to(weight.device)
    ours, theirs = trace(model, tokens), oracle(tokens, output_hidden_states=True, output_attentions=True)

    states = [ours.embeddings, *ours.hidden_states[:-1], model.final_norm(ours.hidden_states[-1])]
    of_states = [_relative(a, b) for a, b in zip(states, theirs.hidden_states, strict=True)]
    of_weights = None
    if all(weights is not None for weights in ours.attention_weights):
        of_weights = [_absolute(a, b) for a, b in zip(ours.attention_weights, theirs.attentions, strict=True)]
    logits = model(tokens)
    loss = torch.nn.functional.cross_entropy(theirs.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    found = [
        _by_layer("attention weights", dtype, of_weights, bars["attention weights"]),
        # The first state is the embeddings; the state after it belongs to block 0.
        _by_layer("hidden states", dtype, [max(of_states[:2]), *of_states[2:]], bars["hidden states"]),
        Difference("logits", dtype, _relative(logits, theirs.logits), bars["logits"]),
        Difference("loss", dtype, _absolute(next_token_loss(logits, tokens), loss), bars["loss"]),
    ]

    real = torch.ones_like(tokens)
    real[1, : length // 3] = 0
    theirs_padded = oracle(tokens, attention_mask=real, position_ids=position_ids_for(real, 0, tokens)).logits
    difference = _relative(model(tokens, attention_mask=real)[real == 1], theirs_padded[real == 1])
    found.append(Difference("logits, left padding", dtype, difference, bars["logits"]))

    cache = model.new_cache(batch_size=2, capacity=length)
    parts = [model(part, cache=cache) for part in tokens.split([length // 2, length - length // 2], dim=1)]
    difference = _relative(torch.cat(parts, dim=1), theirs.logits)
    found.append(Difference("logits, cached", dtype, difference, bars["logits"]))
    return found


def verdict(differences: list[Difference]) -> str | None:
    """What a difference beyond a bar means: None without one; "rounding" when float64 agrees and only a smaller dtype
    does not; "bug" when float64, which rounds a billion times finer than float32, differs too."""
    failed = [difference for difference in differences if not difference.ok]
    if not failed:
        return None
    return "bug" if any(difference.dtype == "float64" for difference in failed) else "rounding"


def first_layer(differences: list[Difference]) -> int | None:
    """The first block at which anything is beyond its bar; None when no block is."""
    return min((c.first_layer for c in differences if c.first_layer is not None), default=None)


def _by_layer(quantity: str, dtype: str, differences: list[float] | None, bar: float) -> Difference:
    if differences is None:
        return Difference(quantity, dtype, None, bar)
    beyond = [layer for layer, difference in enumerate(differences) if not difference <= bar]
    largest = torch.tensor(differences, dtype=torch.float64).max().item()  # unlike max(), it does not lose a nan
    return Difference(quantity, dtype, largest, bar, beyond[0] if beyond else None)


def _relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return _absolute(ours, theirs) / theirs.abs().max().item()


def _absolute(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return (ours - theirs).abs().max().item()
