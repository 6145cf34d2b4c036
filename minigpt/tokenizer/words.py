"""How a text is cut into words before pairs are merged: GPT-2's pattern, or another one that a tokenizer.json names."""

from collections.abc import Iterator

import regex

from .unicode16 import LETTER, NUMBER, NUMERIC, OTHER

# A word: an English contraction; letters, digits or other signs with one space in front; the rest of the white space,
# whose last space is left to the next word.
WORDS = regex.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?{LETTER}+| ?{NUMBER}+| ?{OTHER}+|\s+(?!\S)|\s+", regex.VERSION1)

DIGIT = regex.compile(NUMERIC, regex.VERSION1)  # SmolLM2 makes each digit a word before it looks for words

# Hugging Face's patterns are written for Oniguruma, another engine for regular expressions. The two engines differ in
# many details, so only what both read in the same way is taken: these characters and sets of them, a plain quantifier
# after each, groups that catch nothing, and Llama 3's contractions in small letters or capitals.
_CHARACTER = r"(?:[A-Za-z' ]|\\[sSrn]|\\p\{[LN]\})"
_TIMES = r"(?:[?*+]|\{\d+(?:,\d*)?\})?"
_CONTRACTIONS = regex.escape("(?i:'s|'t|'re|'ve|'m|'ll|'d)")
_UNDERSTOOD = regex.compile(
    rf"(?:{_CONTRACTIONS}|(?:{_CHARACTER}|\[\^?{_CHARACTER}+\]|\)){_TIMES}|\(\?[:!]|\|)+", regex.VERSION0
)


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
    """The matches of a pattern and the texts between them, in order, none of them empty."""
    begin = 0  # of what has not been given out yet
    for match in pattern.finditer(text):
        if begin < match.start():
            yield text[begin : match.start()]
        if match[0]:
            yield match[0]
        begin = match.end()
    if begin < len(text):
        yield text[begin:]
