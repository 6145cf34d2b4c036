"""One text as a picture without words: every head as a small map, and the likeliest tokens."""

from __future__ import annotations

import io

import torch
from matplotlib.figure import Figure

from ..plots.style import BLUE, ORANGE, from_white_to, token_label
from .heads import attention_traces
from .texts import Subject, Texts, place, traced

SIZE = 0.62  # inches of one map
N_LIKELY = 8


def picture(subject: Subject, texts: Texts) -> bytes:
    """A PNG. Rows are layers, columns heads, both counted from 0; a T5's three attentions stand side by side. In a map
    a row is the token that looks, a column the token that is looked at; colours are square roots of weights."""
    seen = traced(subject, texts)
    kinds = [torch.stack([layer.weights[0] for layer in layers]) for layers in attention_traces(seen).values()]
    width, height = SIZE * sum(kind.size(1) for kind in kinds), SIZE * max(len(kind) for kind in kinds)
    figure = Figure(figsize=(width + 3.4, max(height, 1.9) + 0.3), layout="constrained", facecolor="white")
    *places, right = figure.subfigures(1, len(kinds) + 1, width_ratios=[*(SIZE * kind.size(1) for kind in kinds), 3.4])
    for part, kind in zip(places, kinds, strict=True):
        _draw_heads(part, kind)
    _draw_likely(right.subplots(), subject, seen.logits[0, place(subject, texts)])
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def _draw_heads(part, weights: torch.Tensor) -> None:
    grid = part.subplots(*weights.shape[:2], squeeze=False)
    for layer, row in enumerate(grid):
        for head, axes in enumerate(row):
            shades = weights[layer, head].float().sqrt().cpu().numpy()
            axes.imshow(shades, cmap=from_white_to(BLUE), vmin=0, vmax=1, aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#dddddd")
            if layer == 0:
                axes.set_title(str(head), fontsize=8)
            if head == 0:
                axes.set_ylabel(str(layer), fontsize=8, rotation=0, ha="right", va="center")


def _draw_likely(axes, subject: Subject, logits: torch.Tensor) -> None:
    top = logits.float().softmax(dim=-1).topk(min(N_LIKELY, len(logits)))
    pieces = subject.tokenizer.pieces(top.indices.tolist())
    axes.barh(range(len(pieces)), top.values.cpu().numpy(), color=ORANGE, height=0.72)
    axes.set_yticks(range(len(pieces)), [token_label(piece) for piece in pieces], fontsize=9)
    axes.set(xlim=(0, 1.15), xticks=[])
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    for row, p in enumerate(top.values.tolist()):
        axes.text(p + 0.02, row, f"{p:.0%}", va="center", fontsize=9)
