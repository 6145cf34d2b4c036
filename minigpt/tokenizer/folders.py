"""The names of the files of every kind of tokenizer; writing a tokenizer so that its folder holds no other's files."""

from collections.abc import Mapping
from pathlib import Path

from .._files import force_to_disk, write_whole

WHOLE = "tokenizer.json"
CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
BPE_LAYOUTS = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]  # Hugging Face's names, OpenAI's names
LINES = "vocab.txt"  # of a WordPiece tokenizer, a token a line
SENTENCEPIECE = ("spiece.model", "tokenizer.model")

# A file of this list that a tokenizer does not write itself is another tokenizer's, or out of date: it is deleted.
TOKENIZER_FILES = (WHOLE, CONFIG, MAP, ADDED, *BPE_LAYOUTS[0], *BPE_LAYOUTS[1], LINES, *SENTENCEPIECE)


def write_files(directory: str | Path, files: Mapping[str, bytes]) -> None:
    """Write a tokenizer's files into a folder, which is made if it is not there; delete another tokenizer's files."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(directory / name, content)
    for name in TOKENIZER_FILES:
        if name not in files:
            (directory / name).unlink(missing_ok=True)
    force_to_disk(directory)
