"""Heads one by one: where they are, what they write, and what a prediction is without them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from .._checks import integer, several
from ..attention import MultiHeadAttention
from ..language_model import eval_mode
from ..trace import AttentionTrace, Trace
from .texts import Subject, Texts

TOKENS_AT_ONCE = 4096  # of the copies of a text that are read together, each without another head


class Head(NamedTuple):
    """kind is "self", or in a T5 "encoder", "decoder" or "cross"; layer and head are counted from 0."""

    kind: str
    layer: int
    head: int


def attention_layers(model: nn.Module) -> dict[str, list[MultiHeadAttention]]:
    """The attention of each layer, by kind."""
    if getattr(model, "has_encoder", False):
        return {
            "encoder": [block.attention for block in model.encoder.blocks],
            "decoder": [block.attention for block in model.decoder.blocks],
            "cross": [block.cross_attention for block in model.decoder.blocks],
        }
    return {"self": [block.attention for block in model.blocks]}


def attention_traces(seen: Trace) -> dict[str, list[AttentionTrace]]:
    """What each attention computed, by kind, in the order of `attention_layers`."""
    if seen.encoder is None:
        return {"self": seen.attention}
    return {"encoder": seen.encoder.attention, "decoder": seen.attention, "cross": seen.cross_attention}


def all_heads(model: nn.Module) -> list[Head]:
    """Every head of a model, layer by layer."""
    return [
        Head(kind, layer, head)
        for kind, layers in attention_layers(model).items()
        for layer, attention in enumerate(layers)
        for head in range(attention.n_head)
    ]


def check_heads(model: nn.Module, heads) -> list[Head]:
    """A list of [kind, layer, head] as heads. Raises ValueError for one that the model does not have."""
    layers, found = attention_layers(model), []
    for head in several("heads", heads, "heads, [kind, layer, head]"):
        if not (isinstance(head, list | tuple) and len(head) == 3 and isinstance(head[0], str) and head[0] in layers):
            raise ValueError(
                f"heads must be a list of [kind, layer, head], kind one of {', '.join(layers)}; got {head!r:.80}"
            )
        of_kind = layers[head[0]]
        layer = integer("layer", head[1], 0, len(of_kind) - 1)
        found.append(Head(head[0], layer, integer("head", head[2], 0, of_kind[layer].n_head - 1)))
    return found


@contextmanager
def switched_off(model: nn.Module, off: Iterable[tuple[int, Head]]) -> Iterator[None]:
    """Inside, these heads write nothing in these rows of the batch: (row, head) pairs. What a head has computed is
    replaced by zeros before the output projection reads it; the other heads, and the bias, stay as they are."""
    layers, columns = attention_layers(model), {}
    for row, (kind, layer, head) in off:
        columns.setdefault(layers[kind][layer], []).append((row, head))

    def zero(attention: MultiHeadAttention):
        def hook(_, inputs):
            [x] = inputs  # (B, T, H*D): the heads side by side
            x = x.clone()
            for row, head in columns[attention]:
                x[row, :, head * attention.d_head : (head + 1) * attention.d_head] = 0
            return (x,)

        return attention.output.register_forward_pre_hook(hook)

    hooks = [zero(attention) for attention in columns]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def logits_without(subject: Subject, texts: Texts, groups: Sequence[Sequence[Head]], at: int) -> torch.Tensor:
    """Logits (n, V) of position `at`, float32: row i is what the model predicts there when the heads of group i are
    switched off. The groups are read as rows of one batch, a few thousand tokens at a time."""
    model, found = subject.model, []
    inputs = texts.inputs(model.device)
    at_once = max(1, TOKENS_AT_ONCE // sum(tokens.size(1) for tokens in inputs))
    with eval_mode(model):
        for first in range(0, len(groups), at_once):
            batch = groups[first : first + at_once]
            *source, tokens = (part.expand(len(batch), -1) for part in inputs)
            with switched_off(model, [(row, head) for row, group in enumerate(batch) for head in group]):
                read = {"source": model.read_source(*source)} if source else {}
                hidden = model.hidden(tokens, **read)
            found.append(model.logits(hidden[:, at]).float())
    return torch.cat(found)


def written_norms(attention: MultiHeadAttention, heads: torch.Tensor) -> torch.Tensor:
    """(H, T): the length of the vector that each head adds to the stream at each token. heads (1, H, T, D) are what the
    heads computed; each goes through its own D columns of the output projection."""
    columns = attention.output.weight.unflatten(1, (attention.n_head, attention.d_head))  # (C, H, D)
    return torch.einsum("htd,chd->htc", heads[0], columns).float().norm(dim=-1)
