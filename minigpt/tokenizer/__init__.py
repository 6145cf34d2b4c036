"""Text <-> token ids."""

from .bpe import Tokenizer
from .folders import TOKENIZER_FILES
from .kinds import read_any
from .library import LibraryTokenizer
from .specials import END_OF_TEXT, SpecialToken
from .wordpiece import WordPiece

__all__ = [
    "END_OF_TEXT",
    "TOKENIZER_FILES",
    "LibraryTokenizer",
    "SpecialToken",
    "Tokenizer",
    "WordPiece",
    "read_any",
]
