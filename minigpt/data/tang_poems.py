"""Tang poems: the text that weights/tiny-zh learned from, and what makes a regular poem.

The text is made from the npm package chinese-poetry 2.0.1 (MIT; the poems are in the public domain):

    npm pack chinese-poetry@2.0.1 && pip install opencc==1.1.9
    python -m minigpt.data.tang_poems chinese-poetry-2.0.1.tgz --out data
    export MINIGPT_DATA=data
"""

import argparse
import json
import os
import re
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from tqdm import tqdm

from .._files import read_text, write_whole
from .corpus import Document

FILE = Path("tangshi") / "tangshi.txt"  # in $MINIGPT_DATA
IN_PACKAGE = re.compile(r"package/dist/quantangshi/poet\.tang\.(\d+)\.json")
HALF_LINES = re.compile(r"[，。？！；]")
CHARACTERS = re.compile(r"[\u3400-\u9fff，。？！；]*")  # no gaps, which are squares, and no notes, which have brackets
COUPLET = re.compile(
    r"([\u3400-\u9fff\U00020000-\U0003ffff]+)[，？！；]([\u3400-\u9fff\U00020000-\U0003ffff]+)[。？！]"
)
LONGEST_TITLE = 24


class Poem(NamedTuple):
    title: str
    author: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.title, self.author, *self.lines])


def poems_of(text: str) -> list[Poem]:
    """The poems of a text, an empty line between two of them. Raises ValueError for a poem without title, author
    and a line."""
    poems = [poem.split("\n") for poem in text.strip("\n").split("\n\n")]
    for number, poem in enumerate(poems, 1):
        if len(poem) < 3:
            raise ValueError(f"poem {number} must have a title, an author and lines, a line each, got {poem}")
    return [Poem(title, author, tuple(lines)) for title, author, *lines in poems]


def keeps_form(poem: Poem) -> bool:
    """Whether a poem is regular: in each line two half-lines, a mark after each, and all half-lines of five characters
    or all of seven; two lines at least."""
    couplets = [COUPLET.fullmatch(line) for line in poem.lines]
    if len(couplets) < 2 or not all(couplets):
        return False
    return {len(half) for couplet in couplets for half in couplet.groups()} in ({5}, {7})


def tang_poems_corpus() -> tuple[list[Document], list[Document]]:
    """(training, held-out) documents, one a poem, from $MINIGPT_DATA/tangshi/tangshi.txt.

    One poet in twenty is held out, by a checksum of the name: no poet is on both sides. The order is that of the poems'
    checksums, so that a poem says nothing about the next one. Raises FileNotFoundError, saying how the file is made.
    """
    file = Path(os.environ.get("MINIGPT_DATA", "")) / FILE
    if "MINIGPT_DATA" not in os.environ or not file.is_file():
        raise FileNotFoundError(
            f"the Tang poems are looked for in $MINIGPT_DATA/{FILE.as_posix()}; `python -m minigpt.data.tang_poems "
            "--help` says how they are made"
        )
    poems = sorted(poems_of(read_text(file)), key=lambda poem: crc32(str(poem).encode()))
    parts = ([poem for poem in poems if is_held_out(poem) == held_out] for held_out in (False, True))
    training, held_out = ([Document(poem.title, str(poem)) for poem in part] for part in parts)
    return training, held_out


def is_held_out(poem: Poem) -> bool:
    """Whether the poem's poet is one of those held out: one in twenty, by a checksum of the name."""
    return crc32(poem.author.encode()) % 20 == 0


def poems_in_package(file: str | Path, simplified: Callable[[str], str]) -> Iterator[Poem]:
    """The regular poems of the npm package, in its order: 4 to 16 half-lines, all of five or all of seven characters,
    no gaps and no notes; each poem once; the title's first 24 characters. simplified turns traditional characters into
    simplified ones. Raises ValueError for a file that is no such package."""
    seen = set()
    for entry in _entries(Path(file)):
        lines = entry["paragraphs"]
        text = "".join(lines)
        halves = [half for half in HALF_LINES.split(text) if half]
        regular = 4 <= len(halves) <= 16 and {len(half) for half in halves} in ({5}, {7})
        if regular and CHARACTERS.fullmatch(text) and tuple(lines) not in seen:
            seen.add(tuple(lines))
            title = " ".join(entry["title"].split())[:LONGEST_TITLE]
            title, author, *lines = simplified("\n".join([title, entry["author"], *lines])).split("\n")
            yield Poem(title, author, tuple(lines))


def _entries(file: Path) -> Iterator[dict]:
    """What the package's files of Tang poems hold, in the order of their numbers."""
    try:
        with tarfile.open(file) as package:
            members = {int(m[1]): member for member in package if (m := IN_PACKAGE.fullmatch(member.name))}
            contents = [json.load(package.extractfile(members[number])) for number in sorted(members)]
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{file} is not the npm package chinese-poetry: {error}") from None
    if not contents:
        raise ValueError(f"{file} is not the npm package chinese-poetry: it holds no {IN_PACKAGE.pattern}")
    return (entry for part in contents for entry in part)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt.data.tang_poems", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("package", help="chinese-poetry-2.0.1.tgz")
    parser.add_argument("--out", required=True, metavar="FOLDER", help=f"{FILE.as_posix()} is written in it")
    options = parser.parse_args(arguments)
    try:
        from opencc import OpenCC
    except ImportError:
        print("error: OpenCC makes the characters simplified: pip install opencc==1.1.9", file=sys.stderr)
        return 2
    try:
        poems = poems_in_package(options.package, OpenCC("t2s").convert)
        text = "\n\n".join(map(str, tqdm(poems, desc="converting", unit=" poems", disable=None)))
        target = Path(options.out) / FILE
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, (text + "\n").encode())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{target}: {text.count(chr(10) * 2) + 1} poems, {len(text) + 1} characters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
