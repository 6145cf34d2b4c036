"""Texts from elsewhere: known data sets, and the part of a text that is held out."""

import os
from collections.abc import Sequence
from pathlib import Path

from .._checks import list_of_texts
from .._files import read_text


def dataset_text(name: str) -> str:
    """The text of a known data set: "wikitext2", the test rows of WikiText-2 (raw), joined as the lecture joins them.

    Looked for in $MINIGPT_DATA/wikitext2/test.txt, then asked of the `datasets` library. Raises ValueError for another
    name, ImportError, saying what to do, where there is neither.
    """
    if name != "wikitext2":
        raise ValueError(f'no data set {name!r}; there is "wikitext2"')
    file = Path(os.environ.get("MINIGPT_DATA", "")) / name / "test.txt"
    if "MINIGPT_DATA" in os.environ and file.exists():
        return read_text(file)
    try:
        from datasets import load_dataset
    except ImportError:
        raise ImportError(
            "WikiText-2 is looked for in $MINIGPT_DATA/wikitext2/test.txt, then asked of the datasets library: "
            "pip install datasets"
        ) from None
    return "\n\n".join(load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1", split="test")["text"])


SMALL = 2000  # characters; a twentieth of a shorter text is too short to be held out


def hold_out_tail(text: str) -> tuple[str, str]:
    """(training, held-out): the held-out part is about the last twentieth of a text. It begins where a line begins, if
    one does so between 3 % and 8 % before the end, and else inside a line. The two joined are the text."""
    wanted = len(text) - max(1, len(text) // 20)
    first, last = len(text) - int(0.08 * len(text)), len(text) - -(-3 * len(text) // 100)
    starts = [place + 1 for place in range(first - 1, last) if place >= 0 and text[place] == "\n"]
    cut = min(starts, key=lambda start: abs(start - wanted), default=wanted)
    return text[:cut], text[cut:]


def hold_out_tails(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """(training, held-out) parts of several texts, none of them empty. Of each text of 2 000 characters or more, the
    tail is held out. The smaller texts are joined, and the tail of all is held out: so the last ones are held out
    whole. Raises ValueError for anything but a list of texts."""
    texts = list_of_texts("texts", texts)
    training = [text for text in texts if len(text) >= SMALL]
    training, held_out = map(list, zip(*map(hold_out_tail, training), strict=True)) if training else ([], [])
    small = [text for text in texts if len(text) < SMALL]
    place = len(hold_out_tail("".join(small))[0])  # where the held-out part of the row begins
    for text in small:
        training.append(text[: max(0, place)])
        held_out.append(text[max(0, place) :])
        place -= len(text)
    return [text for text in training if text], [text for text in held_out if text]


def longest_shared_run(text: str, corpus: str) -> str:
    """The longest run of characters of a text that stands in a corpus word for word, the first of equals: what a model
    may have remembered."""
    longest, start = "", 0
    while start + len(longest) < len(text):
        if text[start : start + len(longest) + 1] in corpus:
            longest = text[start : start + len(longest) + 1]
        else:
            start += 1
    return longest
