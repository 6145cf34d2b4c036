"""Special tokens: matched in a text as a whole, before it is cut into words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import regex

from .._checks import check_fields, flag

END_OF_TEXT = "<|endoftext|>"  # GPT-2's only special token


@dataclass(frozen=True)
class SpecialToken:
    """A token with a name, such as <|endoftext|>, and how its name is found in a text.

    lstrip and rstrip: it takes the white space to its left or right along. single_word: only where no letter or digit
    touches it. normalized: looked for after those that are not. special False: a word that a reader has added; it is
    matched also where special tokens are to be plain text.
    """

    content: str
    special: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False

    def __post_init__(self):
        if not isinstance(self.content, str) or not self.content:
            raise ValueError(f"the name of a special token must be a text, and not empty, got {self.content!r}")
        check_fields(self, flag, "special lstrip rstrip single_word normalized")


def split_at(tokens: Iterable[SpecialToken], text: str) -> Iterator[str | SpecialToken]:
    """The parts of a text in order: the special tokens in it, and the texts between them, none of these empty.

    Of several tokens that begin at one place the longest counts. As in Hugging Face's tokenizers.
    """
    first, later = ([t for t in tokens if t.normalized == flagged] for flagged in (False, True))
    for part in _split(first, text):
        yield from [part] if isinstance(part, SpecialToken) else _split(later, part)


def _split(tokens: list[SpecialToken], text: str) -> Iterator[str | SpecialToken]:
    by_name = {token.content: token for token in tokens}
    begin = 0  # of what has not been given out yet
    if by_name:
        longest_first = sorted(by_name, key=len, reverse=True)
        for match in regex.finditer("|".join(map(regex.escape, longest_first)), text):
            token, start, end = by_name[match[0]], match.start(), match.end()
            if token.single_word and (regex.search(r"\w\Z", text[:start]) or regex.match(r"\w", text[end:])):
                continue
            if token.lstrip:
                start = max(begin, regex.search(r"\s*\Z", text[:start]).start())
            if token.rstrip:
                end = regex.compile(r"\s*").match(text, end).end()  # not strip(): to Python U+001C is a space
            if begin < start:
                yield text[begin:start]
            yield token
            begin = end
    if begin < len(text):
        yield text[begin:]
