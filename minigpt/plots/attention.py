"""Pictures of masks and of attention weights."""

import numpy as np
from matplotlib.figure import Figure

from .style import BLUE, GREY, from_white_to, words


def plot_mask(mask, query_labels=None, key_labels=None, title: str = "") -> Figure:
    """A bool mask (n_query, n_key): filled where the query of the row may look at the key of the column."""
    mask = np.asarray(mask)
    n_query, n_key = mask.shape
    figure = Figure(figsize=(1.6 + 0.42 * n_key, 1.3 + 0.42 * n_query), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.imshow(mask, cmap=from_white_to(BLUE), vmin=0, vmax=1.25)
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
        image = axes.imshow(weights[head], cmap=from_white_to(BLUE), vmin=0, vmax=1)
        _label_axes(axes, query_labels, key_labels or query_labels)
        axes.set_title(titles[head] if titles else (words("head {head}", head=head) if n_head > 1 else ""), fontsize=11)
    figure.colorbar(image, ax=grid, label=words("attention weight"), shrink=0.8)
    return figure


def _label_axes(axes, query_labels, key_labels) -> None:
    axes.set_yticks(range(len(query_labels)), query_labels)
    axes.set_xticks(range(len(key_labels)), key_labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_xlabel(words("key (looked at)"))
    axes.set_ylabel(words("query (looking)"))
