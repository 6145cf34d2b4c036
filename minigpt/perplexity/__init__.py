"""How well a model predicts a text: one loss a token, and every way of averaging them."""

from .lecture_loop import lecture_perplexity
from .published import PUBLISHED, detokenize, wikitext_words
from .scores import AGGREGATIONS, Scores, TextSize
from .scoring import score
from .windows import Window, sliding_windows, windows_after_prefix

__all__ = [
    "AGGREGATIONS",
    "PUBLISHED",
    "Scores",
    "TextSize",
    "Window",
    "detokenize",
    "lecture_perplexity",
    "score",
    "sliding_windows",
    "wikitext_words",
    "windows_after_prefix",
]
