"""What the page shows of one text: tokens, attention, prediction, layers. Every number comes from one `trace`."""

from __future__ import annotations

import math

import torch

from ..generation.processors import PROCESSORS
from ..loss import cross_entropy
from ..trace import AttentionTrace, Trace
from .heads import attention_layers, attention_traces, check_heads, written_norms
from .layers import streams
from .numbers import finite, packed, shades
from .texts import Subject, Texts, pieces, place, traced, typed

N_LIKELY = 20
SLIDERS = ("temperature", "top_k", "top_p", "min_p")


def describe(subject: Subject) -> dict:
    """What the page says of the model itself: its kind, its sizes, and the order in which its settings are applied."""
    model, layers = subject.model, attention_layers(subject.model)
    first = next(iter(layers.values()))[0]
    return {
        "name": subject.name,
        "class": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": {kind: len(of_kind) for kind, of_kind in layers.items()},
        "heads": first.n_head,
        "key_heads": first.n_kv_head,
        "width": first.d_head,
        "scale": {kind: [scale_of(layer) for layer in of_kind] for kind, of_kind in layers.items()},
        "vocab_size": model.vocab_size,
        "most_tokens": subject.most_tokens,
        "predicts": "gap" if subject.looks_at_both_sides else "next",
        "has_source": subject.has_encoder,
        "rotated": hasattr(model.config, "rope_theta"),
        "end": sorted(model.end_tokens),
        "mask": getattr(subject.tokenizer, "mask_id", None),
        "processors": [processor.setting for processor in PROCESSORS if processor.setting in SLIDERS],
    }


def scale_of(layer) -> float:
    """What the products of queries and keys are multiplied by."""
    return 1 / math.sqrt(layer.d_head) if layer.scale is None else float(layer.scale)


@torch.no_grad()
def read(subject: Subject, texts: Texts, position: int | None = None) -> dict:
    """Everything that the page needs of a text but the heads in full (`head`): numbers packed, the rest as JSON.

    Raises ValueError for a model whose attention function is not minigpt's: its weights cannot be known.
    """
    seen = traced(subject, texts)
    at = place(subject, texts, position)
    return {
        "text": typed(subject, texts),
        "tokens": _row(subject, texts.tokens),
        "source": None if texts.source is None else _row(subject, texts.source),
        **_losses(subject, texts, seen),
        "attention": [attention(subject, kind, layers) for kind, layers in attention_traces(seen).items()],
        "prediction": prediction(subject, seen.logits[0, at], at),
        "streams": streams(subject, seen),
        "caches": [] if subject.looks_at_both_sides else caches(seen),
    }


def _row(subject: Subject, ids: list[int]) -> dict:
    return {"ids": ids, "pieces": pieces(subject, ids)}


def _losses(subject: Subject, texts: Texts, seen: Trace) -> dict:
    """The loss of each token in nats, None where nothing predicts it, and the perplexity of all. A BERT, which sees
    the token itself, has none."""
    if subject.looks_at_both_sides or len(texts.tokens) < 2:
        return {"losses": [None] * len(texts.tokens), "perplexity": None}
    targets = torch.tensor(texts.tokens[1:], device=seen.logits.device)
    losses = cross_entropy(seen.logits[0, :-1].float(), targets, reduction="none").double()
    return {"losses": [None, *losses.tolist()], "perplexity": finite(losses.mean().exp())}


def attention(subject: Subject, kind: str, layers: list[AttentionTrace]) -> dict:
    """One kind of attention for the overview: a shade for each weight (L, H, T, S), the mean over the heads of each
    layer and, last, over all (L + 1, T, S), and how much each head writes at each token (L, H, T)."""
    weights = torch.stack([layer.weights[0] for layer in layers]).float()  # (L, H, T, S)
    of_layers = weights.mean(dim=1)
    modules = attention_layers(subject.model)[kind]
    norms = [written_norms(module, layer.heads) for module, layer in zip(modules, layers, strict=True)]
    return {
        "kind": kind,
        "queries": "source" if kind == "encoder" else "tokens",
        "keys": "source" if kind in ("encoder", "cross") else "tokens",
        "causal": kind == "decoder" or (kind == "self" and not subject.looks_at_both_sides),
        "shades": packed(shades(weights)),
        "means": packed(torch.cat([of_layers, of_layers.mean(dim=0, keepdim=True)])),
        "norms": packed(torch.stack(norms)),
    }


def prediction(subject: Subject, logits: torch.Tensor, at: int) -> dict:
    """Logits (V) of one position, and the texts of the likeliest tokens. The page applies the sliders to the logits."""
    logits = logits.float()
    ids = logits.topk(min(N_LIKELY, len(logits))).indices.tolist()
    return {"position": at, "logits": packed(logits), "likely": _row(subject, ids)}


def caches(seen: Trace) -> list[dict]:
    """The KV caches after this text, one for each attention of a step of writing. A T5 has two: its decoder's own, and
    that of the cross attention, which keeps the source (row). Each has its size in bytes for a token, and the length of
    the keys and values that each layer keeps of each token (L, T), over all heads."""
    own = [_kept("tokens", seen.attention)]
    return own if seen.cross_attention is None else [*own, _kept("source", seen.cross_attention)]


def _kept(row: str, layers: list[AttentionTrace]) -> dict:
    keys = torch.stack([layer.keys[0] for layer in layers])  # (L, H_kv, T, D)
    values = torch.stack([layer.values[0] for layer in layers])
    n_tokens = keys.size(2)
    return {
        "row": row,
        "bytes_per_token": (keys.numel() + values.numel()) * keys.element_size() // n_tokens,
        "number_bytes": keys.element_size(),
        "keys": packed(keys.float().norm(dim=(1, 3))),
        "values": packed(values.float().norm(dim=(1, 3))),
    }


@torch.no_grad()
def head(subject: Subject, texts: Texts, kind: str, layer: int, head: int) -> dict:
    """One head in full, to be followed cell by cell: queries (T, D), keys and values (S, D), as attention read them
    (of a Llama after the rotation), bias (T, S) or None, weights (T, S), output (T, D). Raises ValueError for a head
    that the model does not have."""
    [(kind, layer, head)] = check_heads(subject.model, [[kind, layer, head]])
    full = heads_in_full(subject, traced(subject, texts), kind, layer)
    return {name: None if part is None else packed(part[head]) for name, part in full.items()}


def heads_in_full(subject: Subject, seen: Trace, kind: str, layer: int) -> dict[str, torch.Tensor | None]:
    """All heads of one layer, float32: queries, keys, values, output (H, T or S, D), weights and bias (H, T, S). A key
    head that serves a group of query heads comes once for each of them."""
    found, module = attention_traces(seen)[kind][layer], attention_layers(subject.model)[kind][layer]
    copies = module.n_head // found.keys.size(1)
    bias = None
    if kind in ("encoder", "decoder"):
        stack = getattr(subject.model, kind)
        n_query, n_key = found.weights.shape[-2:]
        farthest = subject.model.config.relative_attention_max_distance
        bias = stack.bias(n_query, n_key, farthest, causal=kind == "decoder")[0].float()
    return {
        "queries": found.queries[0].float(),
        "keys": found.keys[0].float().repeat_interleave(copies, dim=0),
        "values": found.values[0].float().repeat_interleave(copies, dim=0),
        "bias": bias,
        "weights": found.weights[0].float(),
        "output": found.heads[0].float(),
    }
