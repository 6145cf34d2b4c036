"""Compare with Hugging Face's transformers: the numbers, time and memory. Only this folder needs transformers."""

from .difference import Difference, first_layer, first_place, verdict, verify

__all__ = ["Difference", "first_layer", "first_place", "verdict", "verify"]
