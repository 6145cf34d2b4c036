"""What a model reads before it predicts one token, and what it predicts."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from .style import BLUE, GREY, ORANGE, from_white_to, token_label

COLUMN = 0.098  # inches of one character in the strip of tokens


@dataclass(frozen=True)
class Line:
    """One text: its pieces, and how much attention the prediction pays to each (None: the model does not read it).
    `predicts` is the index of the piece at which the prediction is made, if it is in this text."""

    name: str
    pieces: Sequence[str]
    attention: Sequence[float | None]
    predicts: int | None = None


@dataclass(frozen=True)
class Reader:
    """A model that predicts one token: the texts that it reads, and the likeliest (piece, probability) pairs."""

    title: str
    lines: Sequence[Line]
    likely: Sequence[tuple[str, float]]


def plot_readers(readers: Sequence[Reader]) -> Figure:
    """A row for each model. Left: its texts, darker where the prediction looks more, an orange frame where it is made,
    grey letters where nothing is read. Right: the likeliest tokens."""
    widest = max(_ends(line)[-1] for reader in readers for line in reader.lines)
    figure = Figure(figsize=(COLUMN * widest + 3.0, 1.4 * len(readers)), layout="constrained", facecolor="white")
    grid = figure.subplots(len(readers), 2, squeeze=False, width_ratios=(COLUMN * widest, 2.2))
    for reader, (strip, bars) in zip(readers, grid, strict=True):
        _draw_texts(strip, reader, widest)
        _draw_bars(bars, reader.likely)
    return figure


def _ends(line: Line) -> list[float]:
    """The column at which each piece ends; the name of the text stands before the first."""
    ends = [9.0]
    for piece in line.pieces:
        ends.append(ends[-1] + len(token_label(piece)) + 1.4)
    return ends


def _draw_texts(axes, reader: Reader, widest: float) -> None:
    axes.set(xlim=(0, widest), ylim=(-len(reader.lines) + 0.4, 0.6))
    axes.axis("off")
    axes.set_title(reader.title, loc="left", fontsize=11, fontweight="bold")
    colours = from_white_to(BLUE)
    for row, line in enumerate(reader.lines):
        axes.text(0, -row, line.name, va="center", fontsize=9, color=GREY)
        most = max(weight for weight in line.attention if weight is not None)
        for i, (piece, weight, end) in enumerate(zip(line.pieces, line.attention, _ends(line)[1:], strict=True)):
            label = token_label(piece)
            share = 0.0 if weight is None else 0.85 * weight / most
            predicts = i == line.predicts
            axes.text(
                end - (len(label) + 1.4) / 2, -row, label, ha="center", va="center", family="monospace", fontsize=9.5,
                color=GREY if weight is None else "white" if share > 0.5 else "black",
                bbox=dict(
                    boxstyle="round,pad=0.28", facecolor=colours(share), linewidth=2 if predicts else 0.6,
                    edgecolor=ORANGE if predicts else "#dddddd", linestyle="-" if weight is not None else ":",
                ),
            )  # fmt: skip


def _draw_bars(axes, likely: Sequence[tuple[str, float]]) -> None:
    pieces, probabilities = zip(*likely, strict=True)
    places = range(len(likely))
    axes.barh(places, probabilities, color=ORANGE, height=0.72)
    axes.set_yticks(places, [token_label(piece) for piece in pieces], family="monospace", fontsize=9)
    axes.set(xlim=(0, 1.15), xticks=[])
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    for place, probability in zip(places, probabilities, strict=True):
        axes.text(probability + 0.02, place, f"{probability:.0%}", va="center", fontsize=9)
