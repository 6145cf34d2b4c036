"""The names of a tokenizer's files, of every kind, and how a folder comes to hold those of one tokenizer alone."""

from collections.abc import Mapping
from pathlib import Path

from .._files import write_whole

WHOLE = "tokenizer.json"
CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
BPE_LAYOUTS = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]  # Hugging Face's names, OpenAI's names
LINES = "vocab.txt"  # of a WordPiece tokenizer, a token a line
SENTENCEPIECE = ("spiece.model", "tokenizer.model")

# Whatever of these a tokenizer does not write itself belongs to another one, or says what it says no more.
TOKENIZER_FILES = (WHOLE, CONFIG, MAP, ADDED, *BPE_LAYOUTS[0], *BPE_LAYOUTS[1], LINES, *SENTENCEPIECE)


def write_files(directory: str | Path, files: Mapping[str, bytes]) -> None:
    """Write a tokenizer's files into a folder, which is made when it is not there; take away another tokenizer's."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(directory / name, content)
    for name in TOKENIZER_FILES:
        if name not in files:
            (directory / name).unlink(missing_ok=True)
