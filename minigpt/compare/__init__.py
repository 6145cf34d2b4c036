"""Against Hugging Face's transformers: the same numbers, and what they cost. It alone needs transformers."""

from .difference import Difference, first_layer, first_place, verdict, verify

__all__ = ["Difference", "first_layer", "first_place", "verdict", "verify"]
