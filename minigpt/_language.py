"""Texts in the reader's language: Chinese where the environment variable MINIGPT_LANG is "zh", else English."""

import os
import unicodedata
from collections.abc import Mapping


def in_chinese() -> bool:
    """The variable alone decides, not the machine's locale: what a program prints is the same everywhere."""
    return os.environ.get("MINIGPT_LANG", "").lower() == "zh"


def said(chinese: Mapping[str, str], english: str, **values) -> str:
    """An English text, or the Chinese one that a table has for it, with {placeholders} filled in by name.

    Without values a text is returned as it is: then its braces are braces. A text that the table lacks stays English.
    """
    text = chinese.get(english, english) if in_chinese() else english
    return text.format(**values) if values else text


def columns(text: str) -> int:
    """The width of a text on a terminal, where a Chinese character takes two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def padded(text: str, width: int) -> str:
    """The text with spaces after it, up to a width in columns."""
    return text + " " * (width - columns(text))
