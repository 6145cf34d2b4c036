"""Colours and labels that all pictures share: white paper and dark ink, in print and on a dark page."""

from matplotlib.colors import LinearSegmentedColormap

BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e07b39", "#4c9a5f", "#c0504d", "#8a8f98"


def token_label(text: str) -> str:
    """A token as a short axis label: blanks made visible, characters that fonts may lack written as escapes."""
    shown = text.replace(" ", "␣").replace("\n", "⏎")
    shown = "".join(c if c in "␣⏎" or (c.isprintable() and ord(c) < 0x250) else f"\\u{ord(c):04x}" for c in shown)
    return shown if len(shown) <= 12 else shown[:11] + "…"


def from_white_to(colour: str):
    return LinearSegmentedColormap.from_list("", ["white", colour])
