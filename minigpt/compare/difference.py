"""Our model and Hugging Face's on the same checkpoint: how far their numbers differ, and from which layer on."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .._checks import integer
from ..loss import masked_loss, next_token_loss, sequence_loss
from ..positions import position_ids_for
from ..trace import trace
from .oracle import load_oracle

# Bars, the largest differences that rounding explains. Those of logits and hidden states are relative to their largest
# entry.
BARS = {
    torch.float64: {"logits": 2e-13, "loss": 5e-14, "hidden states": 2e-13, "attention weights": 2e-13},
    torch.float32: {"logits": 2e-5, "loss": 1e-5, "hidden states": 2e-5, "attention weights": 4e-5},
}
# T5's scores are not divided by sqrt(D) and can be large: a small difference in one is then a larger one in its weight.
T5_BARS = BARS | {torch.float32: {"logits": 1e-4, "loss": 5e-5, "hidden states": 1e-4, "attention weights": 1e-4}}


@dataclass(frozen=True)
class Difference:
    """How far one quantity is from transformers', in one dtype. difference None: it could not be compared, because our
    side does not show it. bar is the largest difference that rounding explains. first_layer is the first block whose
    part of it is beyond the bar."""

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

    The model keeps its attention function, minigpt's or a reader's own. The weights of a reader's own are not known:
    then the first layer that differs is found from the hidden states.
    Both models read random tokens, two rows of at most 64: whole, then with pads in the second row (T5's source has
    them from the start), then, if the model has a cache, in two parts.
    The reference loss is torch's, in the model's dtype: the one inside transformers is always float32.
    Raises ValueError for a model that is neither float64 nor float32, ImportError without transformers.
    """
    weight = next(model.parameters())
    if weight.dtype not in BARS:
        raise ValueError(f"verify needs a float64 or float32 model, got {weight.dtype}")
    generator = torch.Generator().manual_seed(integer("seed", seed))
    oracle = load_oracle(directory, model.config, weight.dtype, weight.device)
    shape = (2, min(64, model.max_tokens or 64))
    tokens = torch.randint(model.vocab_size, shape, generator=generator).to(weight.device)
    if getattr(model, "has_encoder", False):
        compare, bars = _encoder_and_decoder, T5_BARS
    else:
        compare, bars = _bidirectional if getattr(model, "looks_at_both_sides", False) else _causal, BARS
    note = partial(_note, str(weight.dtype).removeprefix("torch."), bars[weight.dtype])
    return list(compare(model, oracle, tokens, note))


def _note(dtype: str, bars: dict, quantity: str, differences: float | list[float] | None) -> Difference:
    """A Difference of a quantity, whose kind is in its name: one number, or one for each layer."""
    bar = next(bar for kind, bar in bars.items() if kind in quantity)
    if not isinstance(differences, list):
        return Difference(quantity, dtype, differences, bar)
    beyond = [layer for layer, difference in enumerate(differences) if not difference <= bar]
    return Difference(quantity, dtype, _largest(differences), bar, beyond[0] if beyond else None)


def _causal(model, oracle, tokens, note) -> Iterator[Difference]:
    """GPT-2 and Llama."""
    ours, theirs = trace(model, tokens), oracle(tokens, output_hidden_states=True, output_attentions=True)
    yield note("attention weights", _of_weights(ours.attention_weights, theirs.attentions))
    yield note("hidden states", _of_states(ours, theirs.hidden_states, model.final_norm))
    logits = model(tokens)
    yield note("logits", _relative(logits, theirs.logits))
    loss = F.cross_entropy(theirs.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    yield note("loss", _absolute(next_token_loss(logits, tokens), loss))

    real = torch.ones_like(tokens)
    real[1, : tokens.size(1) // 3] = 0
    padded = oracle(tokens, attention_mask=real, position_ids=position_ids_for(real, 0, tokens)).logits
    yield note("logits, left padding", _relative(model(tokens, attention_mask=real)[real == 1], padded[real == 1]))
    cache = model.new_cache(batch_size=2, capacity=tokens.size(1))
    parts = [model(part, cache=cache) for part in _halves(tokens)]
    yield note("logits, cached", _relative(torch.cat(parts, dim=1), theirs.logits))


def _bidirectional(model, oracle, tokens, note) -> Iterator[Difference]:
    """BERT, with the heads that it has."""
    ours, theirs = trace(model, tokens), oracle(tokens, output_hidden_states=True, output_attentions=True)
    yield note("attention weights", _of_weights(ours.attention_weights, theirs.attentions))
    yield note("hidden states", _of_states(ours, theirs.hidden_states))
    real = torch.ones_like(tokens)
    real[1, -(tokens.size(1) // 3) :] = 0
    hidden, padded = model.hidden(tokens), model.hidden(tokens, real)
    theirs_padded = oracle(tokens, attention_mask=real, output_hidden_states=True)
    last = theirs_padded.hidden_states[-1]
    yield note("hidden states, right padding", _relative(padded[real == 1], last[real == 1]))
    if model.head is not None:
        expected = theirs.logits if model.sentence_head is None else theirs.prediction_logits
        yield note("logits, masked token", _relative(model.logits(hidden), expected))
        loss = F.cross_entropy(expected.flatten(0, 1), tokens.flatten())
        yield note("loss, masked token", _absolute(masked_loss(model.logits(hidden), tokens), loss))
    if model.sentence_head is not None:
        expected = theirs.logits if model.head is None else theirs.seq_relationship_logits
        yield note("logits, next sentence", _relative(model.sentence_logits(hidden), expected))
    elif model.head is None and model.pooler is not None:
        yield note("hidden states, pooled", _relative(model.pooled(hidden), theirs.pooler_output))


def _encoder_and_decoder(model, oracle, tokens, note) -> Iterator[Difference]:
    """T5: the tokens are its source, and in other places what the decoder reads."""
    inputs, real = tokens.roll(7, dims=1), torch.ones_like(tokens)
    real[1, -(tokens.size(1) // 3) :] = 0
    ours = trace(model, tokens, inputs, real)
    named = dict(input_ids=tokens, attention_mask=real, decoder_input_ids=inputs)
    theirs = oracle(**named, output_hidden_states=True, output_attentions=True)
    yield note("encoder attention weights", _of_weights(ours.encoder.attention_weights, theirs.encoder_attentions))
    states = _of_states(ours.encoder, theirs.encoder_hidden_states, model.encoder.final_norm, real == 1)
    yield note("encoder hidden states", states)
    yield note("decoder attention weights", _of_weights(ours.attention_weights, theirs.decoder_attentions))
    yield note("cross attention weights", _of_weights(ours.cross_attention_weights, theirs.cross_attentions))
    yield note("decoder hidden states", _of_states(ours, theirs.decoder_hidden_states, model.decoder.final_norm))
    yield note("logits", _relative(ours.logits, theirs.logits))
    loss = F.cross_entropy(theirs.logits.flatten(0, 1), tokens.flatten())
    yield note("loss", _absolute(sequence_loss(ours.logits, tokens), loss))
    source, cache = model.read_source(tokens, real), model.new_cache(batch_size=2, capacity=tokens.size(1))
    parts = [model.logits(model.hidden(part, cache=cache, source=source)) for part in _halves(inputs)]
    yield note("logits, cached", _relative(torch.cat(parts, dim=1), theirs.logits))


def _of_weights(ours: list, theirs) -> list[float] | None:
    """The difference of each layer's attention weights; None where ours are not known."""
    if any(weights is None for weights in ours):
        return None
    return [_absolute(a, b) for a, b in zip(ours, theirs, strict=True)]


def _of_states(ours, theirs, final_norm=None, real=slice(None)) -> list[float]:
    """The difference of each block's hidden states. transformers' first are the embeddings, which count for block 0;
    its last come after the final norm, if there is one."""
    last = ours.hidden_states[-1] if final_norm is None else final_norm(ours.hidden_states[-1])
    states = [ours.embeddings, *ours.hidden_states[:-1], last]
    of_states = [_relative(a[real], b[real]) for a, b in zip(states, theirs, strict=True)]
    return [_largest(of_states[:2]), *of_states[2:]]


def _largest(differences: list[float]) -> float:
    """The largest difference. Unlike max(), it keeps a nan."""
    return torch.tensor(differences, dtype=torch.float64).max().item()


def _halves(tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    length = tokens.size(1)
    return tokens.split([length // 2, length - length // 2], dim=1)


def verdict(differences: list[Difference]) -> str | None:
    """What a difference beyond a bar means: None without one; "rounding" when float64 agrees and only a smaller dtype
    does not; "bug" when float64, which rounds half a billion times finer than float32, differs too."""
    failed = [difference for difference in differences if not difference.ok]
    if not failed:
        return None
    return "bug" if any(difference.dtype == "float64" for difference in failed) else "rounding"


def first_layer(differences: list[Difference]) -> int | None:
    """The first block at which anything is beyond its bar; None when no block is. Of a T5, a block of the encoder
    comes before those of the decoder."""
    found = first_place(differences)
    return None if found is None else found.first_layer


def first_place(differences: list[Difference]) -> Difference | None:
    """The Difference beyond its bar at the earliest block (of a T5, the encoder's come first); None where none is."""
    beyond = [d for d in differences if d.first_layer is not None]
    in_encoder = [d for d in beyond if d.quantity.startswith("encoder")]
    return min(in_encoder or beyond, key=lambda d: d.first_layer, default=None)


def _relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return _absolute(ours, theirs) / theirs.abs().max().item()


def _absolute(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return (ours - theirs).abs().max().item()
