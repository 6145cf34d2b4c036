"""The page in a notebook, and as a file."""

from __future__ import annotations

import hashlib
import html as markup
import os
from pathlib import Path

from .._checks import integer
from .._files import write_whole
from .html import whole_page
from .texts import Subject, texts_of

NOTEBOOK_FOLDER = "explorer_pages"


def write_page(model, tokenizer, text: str, out: str | Path, name: str = "") -> Path:
    """Write the page of one text as one HTML file, which opens without a server and without a network.

    Raises ValueError for a text that is empty or too long, OSError where the file cannot be written.
    """
    out = Path(out)
    write_whole(out, whole_page(Subject(model, tokenizer, name), text).encode())
    return out


def explore(model, tokenizer, text: str, height: int = 760) -> Shown:
    """Show attention, logits and choices of a model for one text: the last line of a notebook's cell.

    The page is written to a file in the folder explorer_pages beside the notebook, and shown in a frame of `height`
    pixels. Where frames are not shown, such as in a saved notebook on a web page, a picture stands for it. With the
    environment variable MINIGPT_EXPLORER=picture only the picture is shown. Raises ValueError as `write_page` does, and
    for a height below 200.
    """
    height = integer("height", height, 200)
    subject = Subject(model, tokenizer, type(model).__name__)
    page = whole_page(subject, text).encode()
    folder = Path(NOTEBOOK_FOLDER)
    folder.mkdir(exist_ok=True)
    file = folder / f"{hashlib.sha256(page).hexdigest()[:12]}.html"
    write_whole(file, page)
    return Shown(subject, text, file, height)


class Shown:
    """What `explore` returns: a notebook shows it as a frame or a picture, anything else as the name of the file."""

    def __init__(self, subject: Subject, text: str, file: Path, height: int):
        self.subject, self.text, self.file, self.height = subject, text, file, height

    def __repr__(self) -> str:
        return f"the page is in {self.file.as_posix()}"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        shown = {"text/plain": repr(self), "image/png": self.picture()}
        if os.environ.get("MINIGPT_EXPLORER") != "picture":
            source = markup.escape(self.file.as_posix())
            shown["text/html"] = f'<iframe src="{source}" width="100%" height="{self.height}" frameborder="0"></iframe>'
        return shown

    def picture(self) -> bytes:
        """A PNG: every head as a small map, and the likeliest tokens."""
        from .picture import picture  # matplotlib takes half a second to load

        return picture(self.subject, texts_of(self.subject, self.text))
