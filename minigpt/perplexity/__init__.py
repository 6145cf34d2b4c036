"""How well a model predicts a text: one loss a token, and every way of averaging them."""

from .published import PUBLISHED
from .scores import AGGREGATIONS, Scores, Window, score, sliding_windows

__all__ = ["AGGREGATIONS", "PUBLISHED", "Scores", "Window", "score", "sliding_windows"]
