"""Texts from elsewhere: known data sets, and the part of a text that is held out."""

import os
from pathlib import Path

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


def hold_out_tail(text: str) -> tuple[str, str]:
    """(training, held-out): the last twentieth of a text, from the start of a line where there is one."""
    cut = len(text) - len(text) // 20
    line = text.find("\n", cut) + 1
    cut = line if 0 < line < len(text) else cut
    return text[:cut], text[cut:]
