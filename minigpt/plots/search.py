"""A picture of a search tree."""

from matplotlib.figure import Figure

from .style import BLUE, GREY, ORANGE, words


def plot_tree(probabilities, kept=(), framed=(), label=str) -> Figure:
    """A search tree. probabilities maps each path, a tuple of tokens, to its probability; parents are in it, too.

    The paths in kept are blue, those in framed have a frame. On an edge stands the probability of its last token, at a
    node that of the whole path; label turns a path into text.
    """
    levels = [
        sorted(path for path in probabilities if len(path) == n) for n in range(1, max(map(len, probabilities)) + 1)
    ]
    height = max(map(len, levels))
    places = {(): (0.0, height / 2)}
    for x, level in enumerate(levels, 1):
        places |= {path: (x, height * (i + 0.5) / len(level)) for i, path in enumerate(level)}
    figure = Figure(figsize=(1.2 + 2.9 * len(levels), 0.6 + 0.42 * height), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.text(*places[()], words("start"), ha="right", va="center")
    for path, probability in probabilities.items():
        parent = path[:-1]
        (x0, y0), (x1, y1) = places[parent], places[path]
        x0 += 0.35 if parent else 0.02  # after the parent's text
        colour = BLUE if path in kept else GREY
        axes.plot([x0, x1], [y0, y1], color=colour, lw=2.5 if path in kept else 0.8, zorder=1)
        middle = (0.4 * x0 + 0.6 * x1, 0.4 * y0 + 0.6 * y1)
        edge = f"{probability / probabilities.get(parent, 1.0):.2f}"
        paper = dict(facecolor="white", edgecolor="none", pad=0.8)
        axes.text(*middle, edge, ha="center", va="center", fontsize=8, color=colour, bbox=paper)
        frame = dict(boxstyle="round,pad=0.2", facecolor="white", edgecolor=ORANGE if path in framed else "none", lw=2)
        axes.text(x1 + 0.02, y1, f"{label(path)}  {probability:.3f}", va="center", color=colour, bbox=frame)
    axes.set(xlim=(-0.15, len(levels) + 0.55), ylim=(height, 0))
    axes.set_axis_off()
    return figure
