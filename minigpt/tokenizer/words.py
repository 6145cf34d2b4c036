"""How a text is cut into words before pairs are merged: GPT-2's pattern, or another one that a tokenizer.json names."""

from collections.abc import Iterator

import regex

from .unicode16 import LETTER, NUMBER, NUMERIC, OTHER

# A word, as in OpenAI's encoder.py, is the end of an English contraction; or letters, digits or other characters, with
# one space before them or none; or other white space, whose last space is left to the next word.
WORDS = regex.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?{LETTER}+| ?{NUMBER}+| ?{OTHER}+|\s+(?!\S)|\s+", regex.VERSION1)

# Between these two characters, one word ends and the next begins, whatever stands around them.
_BOUNDARY = regex.compile(r"\S(?= )", regex.VERSION1)
READ_AT_ONCE = 2**16  # characters

DIGIT = regex.compile(NUMERIC, regex.VERSION1)  # SmolLM2 makes each digit a word before it looks for words

# Hugging Face's patterns are written for Oniguruma, another engine for regular expressions. The two engines differ in
# many details, so a pattern may hold only what both read in the same way: these characters and sets of them, a plain
# quantifier after each, groups that capture nothing, and Llama 3's contractions in small letters or capitals.
_CHARACTER = r"(?:[A-Za-z' ]|\\[sSrn]|\\p\{[LN]\})"
_TIMES = r"(?:[?*+]|\{\d+(?:,\d*)?\})?"
_CONTRACTIONS = regex.escape("(?i:'s|'t|'re|'ve|'m|'ll|'d)")
_UNDERSTOOD = regex.compile(
    rf"(?:{_CONTRACTIONS}|(?:{_CHARACTER}|\[\^?{_CHARACTER}+\]|\)){_TIMES}|\(\?[:!]|\|)+", regex.VERSION0
)


def gpt2_words(text: str) -> Iterator[str]:
    """The words of a text by GPT-2's pattern, found in parts: the list of all words would be ten times the text."""
    start = 0
    while start < len(text):
        boundary = _BOUNDARY.search(text, start + READ_AT_ONCE)
        end = len(text) if boundary is None else boundary.end()
        yield from WORDS.findall(text, start, end)
        start = end


def word_pattern(source: str) -> regex.Pattern:
    r"""The compiled pattern of a tokenizer.json, in which \p{L} and \p{N} are the letters and digits of Unicode 16.

    Raises ValueError for a pattern that Hugging Face's engine may read in another way.
    """
    if not isinstance(source, str) or not _UNDERSTOOD.fullmatch(source):
        raise ValueError(f"pattern {source!r} has more in it than this tokenizer is sure to read as Hugging Face does")
    try:
        return regex.compile(source.replace(r"\p{L}", LETTER).replace(r"\p{N}", NUMBER), regex.VERSION1)
    except regex.error as error:
        raise ValueError(f"pattern {source!r} is no regular expression: {error}") from None


def cut(pattern: regex.Pattern, text: str) -> Iterator[str]:
    """Yield the matches of a pattern and the texts between them, in order, none of them empty."""
    begin = 0  # of the text that has not been yielded yet
    for match in pattern.finditer(text):
        if begin < match.start():
            yield text[begin : match.start()]
        if match[0]:
            yield match[0]
        begin = match.end()
    if begin < len(text):
        yield text[begin:]
