"""Pictures. Every function returns a matplotlib Figure."""

from .attention import BLUE, GREEN, GREY, ORANGE, RED, plot_attention, plot_losses, plot_mask, plot_tree, token_label

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "RED",
    "plot_attention",
    "plot_losses",
    "plot_mask",
    "plot_tree",
    "token_label",
]
