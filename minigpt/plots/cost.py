"""A picture of what memory and arithmetic allow."""

from matplotlib.figure import Figure

from ..compare.cost import Cost, Limits, total
from .style import BLUE, GREEN, GREY, ORANGE, RED, words

COLOURS = (ORANGE, BLUE, GREEN, RED)


def plot_roofline(limits: Limits, costs: dict[str, list[Cost]], seconds: dict[str, float] | None = None) -> Figure:
    """The most operations a second that the machine allows, against operations a byte; both axes are logarithmic.

    costs: the steps of each kind of work, by its name; a step is a point on the roof, at its intensity. The labels of
    up to three kinds have a place of their own. seconds: how long all steps of a kind of work took, measured; this is a
    star, at the intensity of all steps together. Raises ValueError without costs, and for seconds of unknown work.
    """
    if not costs:
        raise ValueError("costs must hold at least one kind of work, got {}: give {name: attention_costs(...)}")
    if unknown := sorted(set(seconds or ()) - set(costs)):
        raise ValueError(f"seconds must be of works in costs, {', '.join(costs)}; got {', '.join(unknown)}")
    figure = Figure(figsize=(9, 5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    points = [cost.intensity for steps in costs.values() for cost in steps]
    left, right = min(*points, limits.ridge) / 8, max(*points, limits.ridge) * 3
    roof = [left, limits.ridge, right]
    axes.plot(roof, [limits.attainable(x) / 1e9 for x in roof], color=GREY, lw=2, zorder=1)
    axes.axvspan(left, limits.ridge, color=GREY, alpha=0.12, lw=0)
    axes.text(0.01, 0.97, words("waits for memory"), transform=axes.transAxes, va="top", color=GREY)
    axes.text(0.99, 0.97, words("waits for arithmetic"), transform=axes.transAxes, va="top", ha="right", color=GREY)
    for row, (work, steps) in enumerate(costs.items()):
        colour, size = COLOURS[row % len(COLOURS)], 11 - 3 * min(row, 2)  # where points coincide, both are seen
        heights = [limits.attainable(step.intensity) / 1e9 for step in steps]
        axes.plot([step.intensity for step in steps], heights, "o", color=colour, ms=size, label=work)
        for names, intensity in _labels(steps):
            place = (intensity, limits.attainable(intensity) / 1e9)
            axes.annotate(names, place, color=colour, **_beside(row, on_the_slope=intensity < limits.ridge))
        if seconds and work in seconds:
            whole = total(steps)
            label = words("{work}: measured, all steps", work=work)
            axes.plot(whole.intensity, whole.operations / seconds[work] / 1e9, "*", color=colour, ms=14, label=label)
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    axes.set_ylim(top=10 * limits.operations_per_second / 1e9)  # space for words above the roof
    axes.set_xlabel(words("operations for each byte moved"))
    axes.set_ylabel(words("billion operations a second"))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def _beside(row: int, on_the_slope: bool) -> dict:
    """Where the labels of a kind of work stand: above the roof, below it, and farther away from the third kind on."""
    away, line = 10 + 40 * (row // 2), dict(arrowstyle="-", lw=0.5, color=GREY)
    if row % 2:
        where = dict(xytext=(14 if on_the_slope else 0, -away), va="top", ha="left" if on_the_slope else "center")
    else:
        where = dict(
            xytext=(6 - 1.2 * away if on_the_slope else 0, away), va="bottom", ha="right" if on_the_slope else "center"
        )
    return dict(textcoords="offset points", fontsize=9, arrowprops=line if row > 1 else None, **where)


def _labels(steps: list[Cost]) -> list[tuple[str, float]]:
    """(names, intensity) of each label: the steps whose intensities are close have one, a line for each."""
    found: list[tuple[str, float]] = []
    for cost in sorted(steps, key=lambda cost: cost.intensity):
        if found and cost.intensity < 1.5 * found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{_name(cost.step)}", found[-1][1])
        else:
            found.append((_name(cost.step), cost.intensity))
    return found


def _name(step: str) -> str:
    """A step of `attention_costs` in the reader's language; softmax has one name in both."""
    return {
        "queries, keys, values": words("queries, keys, values"),
        "scores": words("scores"),
        "weighted values": words("weighted values"),
        "fused attention": words("fused attention"),
        "output": words("output"),
        "all steps": words("all steps"),
    }.get(step, step)
