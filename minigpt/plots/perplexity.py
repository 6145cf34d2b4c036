"""Pictures of a perplexity measurement. Each plot function returns a matplotlib Figure; `savefig` writes it."""

import numpy as np
from matplotlib.figure import Figure

from ..perplexity import Scores, Window
from .style import BLUE, GREY, ORANGE, token_label, words


def _figure(width: float, height: float):
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots()


def plot_windows(windows: list[Window], n_shown: int = 8) -> Figure:
    """The first windows as strips: grey tokens are context, blue ones are scored."""
    figure, axes = _figure(8, 1.2 + 0.34 * min(n_shown, len(windows)))
    draw_windows(axes, windows, n_shown)
    return figure


def draw_windows(axes, windows: list[Window], n_shown: int = 8) -> None:
    for row, window in enumerate(windows[:n_shown]):
        axes.barh(row, window.first_target - window.begin, left=window.begin, color=GREY, alpha=0.35)
        axes.barh(row, window.end - window.first_target, left=window.first_target, color=BLUE)
        middle = (window.first_target + window.end) / 2
        axes.text(middle, row, str(window.end - window.first_target), ha="center", va="center", color="white", size=8)
    axes.set_yticks(range(min(n_shown, len(windows))))
    axes.set_ylabel(words("window"))
    axes.set_xlabel(words("token (grey: context only; blue: scored, and how many)"))
    axes.invert_yaxis()


def plot_loss_by_context(scores: Scores, n_bins: int = 32) -> Figure:
    """Mean loss of the scored tokens against how many tokens the model saw before them."""
    figure, axes = _figure(7, 3.6)
    draw_loss_by_context(axes, scores, n_bins)
    return figure


def draw_loss_by_context(axes, scores: Scores, n_bins: int = 32) -> None:
    contexts, losses = loss_by_context(scores, n_bins)
    axes.plot(contexts, losses, color=BLUE, marker=".")
    axes.axhline(scores.total / scores.n_scored, color=ORANGE, lw=1, label=words("mean of all scored tokens"))
    axes.set_xlabel(words("tokens of context"))
    axes.set_ylabel(words("loss (nats a token)"))
    axes.grid(alpha=0.3)
    axes.legend()


def loss_by_context(scores: Scores, n_bins: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """(mean context, mean loss) of up to n_bins groups of scored tokens with contexts of similar length.

    Where windows overlap, short contexts come from the first window alone. Groups with less than a tenth of the tokens
    of the largest are left out, because their means are noisy.
    """
    scored = ~np.isnan(scores.nll)
    context, nll = scores.context_length[scored], scores.nll[scored]
    edges = np.unique(np.linspace(1, context.max() + 1, n_bins + 1).round())
    groups, group, count = np.unique(np.digitize(context, edges), return_inverse=True, return_counts=True)
    means = [(context[group == g].mean(), nll[group == g].mean()) for g in range(len(groups))]
    kept = np.array(means)[count >= count.max() / 10]
    return kept[:, 0], kept[:, 1]


def plot_strides(by_stride: dict[int, Scores]) -> Figure:
    """Perplexity against stride, and beside it what a smaller stride costs: the number of forward passes."""
    figure, axes = _figure(7, 3.6)
    draw_strides(axes, by_stride)
    return figure


def draw_strides(axes, by_stride: dict[int, Scores]) -> None:
    strides = sorted(by_stride)
    axes.plot(strides, [by_stride[s].perplexity for s in strides], color=BLUE, marker="o")
    axes.set_xscale("log", base=2)
    axes.set_xticks(strides, [str(stride) for stride in strides])
    axes.minorticks_off()
    axes.set_xlabel(words("stride"))
    axes.set_ylabel(words("perplexity (exact)"), color=BLUE)
    passes = axes.twinx()
    counts = [len(by_stride[s].windows) for s in strides]
    passes.plot(strides, counts, color=ORANGE, marker="s", ls="--")
    passes.set_yscale("log", base=2)
    passes.set_yticks(counts, [str(count) for count in counts])
    passes.set_ylabel(words("forward passes"), color=ORANGE)


def plot_surprise(tokens: list[str], nll: np.ndarray, columns: int = 12) -> Figure:
    """A text, each token on a colour that says how surprised the model was: white 0, deep orange 8 nats or more.

    Tokens that were not scored (nan) are grey. The tokens are texts; blanks and line ends are made visible.
    """
    figure, axes = _figure(1.05 * columns, 0.4 + 0.36 * -(-len(tokens) // columns))
    draw_surprise(axes, tokens, nll, columns)
    return figure


def draw_surprise(axes, tokens: list[str], nll: np.ndarray, columns: int = 12) -> None:
    if len(tokens) != len(nll):
        raise ValueError(f"tokens and nll must be of one length, got {len(tokens)} and {len(nll)}")
    for place, (token, loss) in enumerate(zip(tokens, nll, strict=True)):
        row, column = divmod(place, columns)
        colour, alpha = (GREY, 0.3) if np.isnan(loss) else (ORANGE, surprise(loss))
        axes.barh(row, 0.96, left=column, height=0.9, color=colour, alpha=alpha)
        axes.text(column + 0.48, row, token_label(token), ha="center", va="center", size=8)
    axes.set(xlim=(0, columns), ylim=(-(-len(tokens) // columns) - 0.4, -0.6))
    axes.set_axis_off()


def surprise(loss: float) -> float:
    """0 for a token that was certain, 1 for a loss of 8 nats (one chance in 3000) or more."""
    return min(float(loss) / 8, 1.0)


def surprise_in_colour(tokens: list[str], nll: np.ndarray) -> str:
    """`plot_surprise` for a terminal: each token on a background from dark (expected) to orange (a surprise)."""
    coloured = []
    for token, loss in zip(tokens, nll, strict=True):
        how_much = 0.0 if np.isnan(loss) else surprise(loss)
        colour = "110;110;110" if np.isnan(loss) else f"{int(30 + 180 * how_much)};{int(30 + 70 * how_much)};30"
        start = f"\x1b[38;2;255;255;255;48;2;{colour}m"
        # A coloured line end would colour the rest of the line: stop before it, go on after it.
        coloured.append("\n".join(f"{start}{line}\x1b[0m" if line else "" for line in token.split("\n")))
    return "".join(coloured)


def plot_measurement(by_stride: dict[int, Scores], tokens: list[str]) -> Figure:
    """All pictures of a measurement in one: windows, losses by context and the first tokens, at the first stride; and,
    where there are several strides, perplexity against stride. tokens are the texts of the first tokens."""
    first = next(iter(by_stride.values()))
    draw = [lambda axes: draw_windows(axes, first.windows), lambda axes: draw_loss_by_context(axes, first)]
    if len(by_stride) > 1:
        draw.append(lambda axes: draw_strides(axes, by_stride))
    draw.append(lambda axes: draw_surprise(axes, tokens, first.nll[: len(tokens)]))
    figure = Figure(figsize=(11, 3.3 * len(draw)), layout="constrained", facecolor="white")
    grid = figure.subplots(len(draw))
    for axes, panel in zip(grid, draw, strict=True):
        panel(axes)
    grid[0].set_title(words("the first windows at stride {stride}", stride=first.stride), fontsize=11)
    grid[1].set_title(words("loss and context at stride {stride}", stride=first.stride), fontsize=11)
    grid[-1].set_title(
        words("the first tokens, from white (expected) to orange (a surprise of 8 nats or more)"), fontsize=11
    )
    return figure
