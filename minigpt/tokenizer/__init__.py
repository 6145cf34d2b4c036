"""Text <-> token ids."""

from .bpe import Tokenizer
from .files import CONTRADICT
from .specials import END_OF_TEXT, SpecialToken

__all__ = ["CONTRADICT", "END_OF_TEXT", "SpecialToken", "Tokenizer"]
