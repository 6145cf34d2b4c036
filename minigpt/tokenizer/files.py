"""The files of a byte-level BPE tokenizer: a vocabulary and the merges, best first."""

import json
from pathlib import Path

from .._files import read_json, read_text

FILE_LAYOUTS = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]  # Hugging Face's names, OpenAI's names


def find_files(directory: Path) -> tuple[Path, Path]:
    """The vocabulary and the merges of a folder. Raises FileNotFoundError that says what was looked for."""
    for names in FILE_LAYOUTS:
        vocabulary, merges = (directory / name for name in names)
        if vocabulary.is_file() and merges.is_file():
            return vocabulary, merges
    wanted = " or ".join(f"{vocabulary} and {merges}" for vocabulary, merges in FILE_LAYOUTS)
    raise FileNotFoundError(f"no tokenizer in {directory}: expected {wanted}")


def read_vocabulary(file: Path) -> dict[str, int]:
    """{token: id} of vocab.json. Raises ValueError for anything else."""
    vocabulary = read_json(file)
    if not all(type(id) is int for id in vocabulary.values()):
        raise ValueError(f"{file} must map tokens to integer ids")
    return vocabulary


def read_merges(file: Path) -> list[tuple[str, str]]:
    """The pairs of merges.txt, best first. Raises ValueError that names the line that is none."""
    merges = []
    for number, line in enumerate(read_text(file).replace("\r\n", "\n").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = tuple(line.split(" "))
        if len(pair) != 2:
            raise ValueError(f"{file}, line {number}: expected two tokens and a space between them, got {line!r}")
        merges.append(pair)
    return merges


def file_contents(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> dict[str, bytes]:
    """What is written into vocab.json and merges.txt, by name."""
    vocabulary_name, merges_name = FILE_LAYOUTS[0]
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    return {
        vocabulary_name: json.dumps(vocabulary, ensure_ascii=False).encode(),
        merges_name: ("#version: 0.2\n" + lines).encode(),
    }
