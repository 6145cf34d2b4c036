"""Pictures of masks, attention, losses, search trees. Every function returns a matplotlib Figure; `savefig` writes it.

White paper and dark ink, so that a picture reads the same in print and on a dark page.
"""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e07b39", "#4c9a5f", "#c0504d", "#8a8f98"


def token_label(text: str) -> str:
    """A token as a short axis label: blanks made visible, characters that fonts may lack written as escapes."""
    shown = text.replace(" ", "␣").replace("\n", "⏎")
    shown = "".join(c if c in "␣⏎" or (c.isprintable() and ord(c) < 0x250) else f"\\u{ord(c):04x}" for c in shown)
    return shown if len(shown) <= 12 else shown[:11] + "…"


def plot_mask(mask, query_labels=None, key_labels=None, title: str = "") -> Figure:
    """A bool mask (n_query, n_key): filled where the query of the row may look at the key of the column."""
    mask = np.asarray(mask)
    n_query, n_key = mask.shape
    figure = Figure(figsize=(1.6 + 0.42 * n_key, 1.3 + 0.42 * n_query), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.imshow(mask, cmap=_from_white_to(BLUE), vmin=0, vmax=1.25)
    for i, j in np.ndindex(n_query, n_key):
        axes.text(j, i, "✓" if mask[i, j] else "−∞", ha="center", va="center", color="white" if mask[i, j] else GREY)
    axes.set_xticks(np.arange(-0.5, n_key), minor=True)
    axes.set_yticks(np.arange(-0.5, n_query), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    _label_axes(axes, query_labels or [f"q{i}" for i in range(n_query)], key_labels or [f"k{j}" for j in range(n_key)])
    axes.set_title(title, fontsize=11)
    return figure


def plot_attention(weights, query_labels, key_labels=None, titles=None, columns: int = 4) -> Figure:
    """Attention weights (T, S) or (H, T, S): a heat map for each head, white 0, full colour 1."""
    weights = np.asarray(weights)
    weights = weights[None] if weights.ndim == 2 else weights
    n_head, n_query, n_key = weights.shape
    columns = min(columns, n_head)
    rows = -(-n_head // columns)
    size = (1.2 + columns * (0.9 + 0.3 * n_key), 0.4 + rows * (1.1 + 0.3 * n_query))
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False)
    for head, axes in enumerate(grid.flat):
        if head >= n_head:
            axes.set_visible(False)
            continue
        image = axes.imshow(weights[head], cmap=_from_white_to(BLUE), vmin=0, vmax=1)
        _label_axes(axes, query_labels, key_labels or query_labels)
        axes.set_title(titles[head] if titles else (f"head {head}" if n_head > 1 else ""), fontsize=11)
    figure.colorbar(image, ax=grid, label="attention weight", shrink=0.8)
    return figure


def plot_losses(history) -> Figure:
    """Training and held-out loss (nats a token) against the tokens seen, from the records of `train`."""
    figure = Figure(figsize=(7, 4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    tokens = [record.tokens / 1e6 for record in history]
    axes.plot(tokens, [record.train_loss for record in history], color=BLUE, label="training")
    axes.plot(tokens, [record.held_out_loss for record in history], color=ORANGE, label="held out", marker=".")
    axes.set_xlabel("tokens seen (millions)")
    axes.set_ylabel("loss (nats a token)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def plot_tree(probabilities, kept=(), framed=(), label=str) -> Figure:
    """A search tree from {path, a tuple of tokens: its probability}, every path's parent among them.

    The paths in kept are blue, those in framed have a frame. An edge carries the probability of its last token, a node
    that of the whole path; label turns a path into text.
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
    axes.text(*places[()], "start", ha="right", va="center")
    for path, probability in probabilities.items():
        parent = path[:-1]
        (x0, y0), (x1, y1) = places[parent], places[path]
        x0 += 0.35 if parent else 0.02  # behind the parent's text
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


def _from_white_to(colour: str):
    return LinearSegmentedColormap.from_list("", ["white", colour])


def _label_axes(axes, query_labels, key_labels) -> None:
    axes.set_yticks(range(len(query_labels)), query_labels)
    axes.set_xticks(range(len(key_labels)), key_labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_xlabel("key (looked at)")
    axes.set_ylabel("query (looking)")
