"""The page as one file: markup, style, scripts, texts in both languages, and data, with nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path

import torch

from .._language import in_chinese
from ..language_model import check_language_model
from .effects import effects
from .heads import attention_layers, attention_traces
from .layers import lens
from .numbers import packed
from .reading import describe, heads_in_full, read
from .texts import Subject, texts_of, traced
from .windows import windows

FOLDER = Path(__file__).parent / "page"
# In the order in which they are joined: a file uses what stands before it.
SCRIPTS = "numbers state drawing tokens small_maps attention switch head next layers windows notes main"
EXAMPLES = {  # what the text field begins with, by the name of the model, or by what it does
    "tiny-zh": "春夜",
    "next": "Return the number of elements in the array. If the array is empty, return the number of",
    "gap": "Open the [MASK] and return a file object.",
    "source": "Return the <extra_id_0> of the list",
}
LONG_EXAMPLE = """Return a new array of given shape and type, filled with zeros.

Parameters
----------
shape : int or tuple of ints
    Shape of the new array, e.g., (2, 3) or 2.
dtype : data-type, optional
    The desired data-type for the array, e.g., numpy.int8. Default is numpy.float64.

Returns
-------
out : ndarray
    Array of zeros with the given shape, dtype, and order.
"""


def live_page(subject: Subject, text: str | None = None) -> str:
    """The page that asks a server. text None = an example."""
    kind = "source" if subject.has_encoder else "gap" if subject.looks_at_both_sides else "next"
    example = EXAMPLES.get(subject.name, EXAMPLES[kind])
    return _page(subject, example if text is None else text, None)


def whole_page(subject: Subject, text: str) -> str:
    """The page with all that it shows of one text in it, to be opened from a disk. Raises ValueError as `read` does."""
    texts = texts_of(subject, text)
    seen = traced(subject, texts)
    inside = {
        "reading": read(subject, texts),
        "heads": {kind: _all_heads(subject, seen, kind) for kind in attention_traces(seen)},
        "effects": effects(subject, texts),
        "lens": lens(subject, texts),
        "perplexity": _windows(subject, text),
    }
    return _page(subject, text, inside)


def _all_heads(subject: Subject, seen, kind: str) -> dict:
    """`heads_in_full` of every layer: arrays (L, H, ...). The bias is the same in all layers: (H, T, S)."""
    n_layers = len(attention_layers(subject.model)[kind])
    layers = [heads_in_full(subject, seen, kind, layer) for layer in range(n_layers)]
    found = {name: torch.stack([layer[name] for layer in layers]) for name in layers[0] if name != "bias"}
    bias = layers[0]["bias"]
    return {name: packed(part) for name, part in found.items()} | {"bias": None if bias is None else packed(bias)}


def _windows(subject: Subject, text: str) -> dict | None:
    """The perplexity of the text, None where this model or this text has none."""
    try:
        check_language_model(subject.model, "score a text token by token")
        return windows(subject, text)
    except ValueError:
        return None


def _page(subject: Subject, text: str, inside: dict | None) -> str:
    data = {
        "model": describe(subject),
        "words": words(),
        "language": "zh" if in_chinese() else None,
        "text": text,
        "long_text": LONG_EXAMPLE,
        "inside": inside,
    }
    policy = content_policy() if inside is None else content_policy(connect="'none'")
    page = _file("page.html")
    for name, part in (("policy", policy), ("style", style()), ("script", script()), ("data", harmless(data))):
        page = page.replace("{{" + name + "}}", part, 1)
    return page


def harmless(data) -> str:
    """JSON that no parser of HTML takes for markup, and no parser of JavaScript for the end of a line."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def content_policy(connect: str = "'self'") -> str:
    """What the page may load (Content-Security-Policy): its own script and style, known by their checksums, and data
    from its server."""
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (script(), style())]
    allowed = f"script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'"
    return f"default-src 'none'; {allowed}; img-src data:; connect-src {connect}; base-uri 'none'; form-action 'none'"


@cache
def words() -> dict[str, list[str]]:
    """What the page says: {name: [English, Chinese]}."""
    return json.loads(_file("words.json"))


@cache
def script() -> str:
    return "\n".join(_file(f"{name}.js") for name in SCRIPTS.split())


@cache
def style() -> str:
    return _file("style.css")


def _file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
