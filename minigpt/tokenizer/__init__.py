"""Text <-> token ids."""

from .bpe import Tokenizer

__all__ = ["Tokenizer"]
