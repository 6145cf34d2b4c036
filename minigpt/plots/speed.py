"""Pictures of measured speed, and of how time and memory grow."""

from matplotlib.figure import Figure

from ..compare.memory import Growth
from ..compare.speed import BASELINE, SpeedResult
from .style import BLUE, GREY, ORANGE


def plot_speed(results: list[SpeedResult], title: str) -> Figure:
    """A bar for each contender: how many times as fast as the baseline, the rounds' quartiles as whiskers."""
    sizes = [len(result.timings) for result in results]
    height = 0.9 + 0.55 * len(sizes) + 0.27 * sum(sizes)
    figure = Figure(figsize=(9, height), layout="constrained", facecolor="white")
    all_axes = figure.subplots(len(sizes), height_ratios=sizes, squeeze=False)
    for axes, result in zip(all_axes[:, 0], results, strict=True):
        timings = sorted(result.timings, key=lambda t: t.ratio)
        names = [timing.contender for timing in timings]
        whiskers = [[max(0, t.ratio - t.ratio_low) for t in timings], [max(0, t.ratio_high - t.ratio) for t in timings]]
        colours = [BLUE if name.startswith("minigpt") else GREY for name in names]
        bars = axes.barh(names, [t.ratio for t in timings], xerr=whiskers, color=colours, ecolor="#555555")
        labels = [f"{t.ratio:.2f}×   {1000 * t.median:,.0f} ms" for t in timings]
        axes.bar_label(bars, labels, padding=14, fontsize=8)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xlim(0, 1.35 * max(t.ratio_high for t in timings))
        axes.set_title(result.work, loc="left", fontsize=10)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[-1, 0].set_xlabel(f"times as fast as {BASELINE}: longer is faster")
    figure.suptitle(title, fontsize=11)
    return figure


def plot_growth(points: list[Growth], title: str) -> Figure:
    """Milliseconds (above) and megabytes (below) against tokens, rows and layers."""
    kinds = list(dict.fromkeys(point.of for point in points))
    figure = Figure(figsize=(11, 6), layout="constrained", facecolor="white")
    all_axes = figure.subplots(2, len(kinds), squeeze=False)
    for column, kind in enumerate(kinds):
        for attention, colour in (("explicit", ORANGE), ("sdpa", BLUE)):
            chosen = [point for point in points if (point.of, point.attention) == (kind, attention)]
            sizes = [point.size for point in chosen]
            all_axes[0, column].plot(sizes, [1000 * p.seconds for p in chosen], "o-", color=colour, label=attention)
            all_axes[1, column].plot(sizes, [p.peak_bytes / 1e6 for p in chosen], "o-", color=colour)
        for axes in all_axes[:, column]:
            axes.set(xlabel=kind, xticks=sizes, ylim=(0, None))
            axes.grid(alpha=0.3)
    all_axes[0, 0].set_ylabel("milliseconds of a forward pass")
    all_axes[1, 0].set_ylabel("megabytes beyond the weights")
    all_axes[0, 0].legend(title="attention")
    figure.suptitle(title, fontsize=11)
    return figure
