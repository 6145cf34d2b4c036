"""Against Hugging Face: the same numbers, and who needs how long."""

from .difference import compare

__all__ = ["compare"]
