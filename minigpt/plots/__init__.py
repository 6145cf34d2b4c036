"""Pictures. Each function returns a matplotlib Figure; its `savefig` writes it."""

from .attention import plot_attention, plot_mask
from .cost import plot_roofline
from .perplexity import plot_loss_by_context, plot_measurement, plot_strides, plot_surprise, plot_windows
from .readers import plot_readers
from .search import plot_tree
from .speed import plot_growth, plot_speed
from .style import BLUE, GREEN, GREY, ORANGE, RED, from_white_to, token_label, use_chinese_font
from .training import plot_losses

use_chinese_font()

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "RED",
    "from_white_to",
    "plot_attention",
    "plot_growth",
    "plot_loss_by_context",
    "plot_losses",
    "plot_mask",
    "plot_measurement",
    "plot_readers",
    "plot_roofline",
    "plot_speed",
    "plot_strides",
    "plot_surprise",
    "plot_tree",
    "plot_windows",
    "token_label",
    "use_chinese_font",
]
