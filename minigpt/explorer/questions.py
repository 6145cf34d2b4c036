"""What the page may ask: each question with its fields, checked, and answered with data for JSON."""

from __future__ import annotations

from typing import Any

import torch

from .._checks import flag, integer
from ..generation.processors import PROCESSORS
from ..generation.settings import Settings
from ..language_model import check_language_model
from .effects import effects, without
from .layers import lens
from .reading import SLIDERS, head, read
from .texts import Subject, Texts, texts_of, traced
from .windows import windows

SEEDS = 2**32


def answer(subject: Subject, question: str, fields: Any) -> dict:
    """Answer a question of the page. fields are its JSON: {"text": "..."} or {"tokens": [...], "source": [...]}, and
    what the question needs besides.

    Raises ValueError, in words for the reader, for a question or a field that there is not, and for a bad value.
    """
    if question not in QUESTIONS:
        raise ValueError(f"there is no question {question!r:.40}; there are {', '.join(QUESTIONS)}")
    ask, names = QUESTIONS[question]
    if not isinstance(fields, dict):
        raise ValueError("the question must be a JSON object")
    if unknown := [name for name in fields if name not in names]:
        raise ValueError(f"{question} knows no field {unknown[0]!r:.40}; it takes {', '.join(names)}")
    return ask(subject, **fields)


def _read(subject: Subject, text=None, tokens=None, source=None, position=None) -> dict:
    return read(subject, texts_of(subject, text, tokens, source), position)


def _head(subject: Subject, tokens=None, source=None, kind=None, layer=None, head_number=None) -> dict:
    return head(subject, texts_of(subject, None, tokens, source), kind, layer, head_number)


def _without(subject: Subject, tokens=None, source=None, heads=(), position=None) -> dict:
    return without(subject, texts_of(subject, None, tokens, source), heads, position)


def _effects(subject: Subject, tokens=None, source=None, position=None) -> dict:
    return {"effects": effects(subject, texts_of(subject, None, tokens, source), position)}


def _lens(subject: Subject, tokens=None, source=None, position=None) -> dict:
    return lens(subject, texts_of(subject, None, tokens, source), position)


def _next(subject: Subject, tokens=None, source=None, sample=False, seed=0, settings=None) -> dict:
    """The text with one more token, and why it ends there, if it does: "stop token" or "context"."""
    check_language_model(subject.model, "continue a text")
    texts = texts_of(subject, None, tokens, source)
    if len(texts.tokens) >= subject.most_tokens:
        raise ValueError(f"the text has {len(texts.tokens)} tokens, and the page shows no more: take some away")
    token = next_token(subject, texts, flag("sample", sample), integer("seed", seed, 0, SEEDS - 1), settings or {})
    ends = token in subject.model.end_tokens
    return read(subject, Texts([*texts.tokens, token], texts.source)) | {"ends": ends}


@torch.no_grad()
def next_token(subject: Subject, texts: Texts, sample: bool, seed: int, settings: dict) -> int:
    """The token that comes next by the rules of `generate`: the likeliest, or drawn by the settings of the sliders.

    A slider at rest sends None. Ids that the tokenizer cannot write, as in a padded vocabulary, are never chosen. Each
    length of the text draws with a seed of its own. Raises ValueError for a setting out of range.
    """
    if not isinstance(settings, dict) or set(settings) - set(SLIDERS):
        raise ValueError(f"settings must be an object with {', '.join(SLIDERS)}; got {settings!r:.80}")
    off = {processor.setting: processor.off for processor in PROCESSORS}
    drawn = {name: off[name] if value is None else value for name, value in settings.items()}
    drawn = drawn | {"do_sample": True, "seed": seed + len(texts.tokens)} if sample else {}
    unwritable = list(range(subject.tokenizer.vocab_size, subject.model.vocab_size)) or None
    rules = Settings(**drawn, suppress_tokens=unwritable)
    logits = traced(subject, texts).logits[:, -1].float()
    row = texts.source or texts.tokens
    [token] = rules.chooser([row])(rules.process(logits, [texts.tokens]), [0])
    return token


QUESTIONS = {
    "read": (_read, ("text", "tokens", "source", "position")),
    "head": (_head, ("tokens", "source", "kind", "layer", "head_number")),
    "without": (_without, ("tokens", "source", "heads", "position")),
    "effects": (_effects, ("tokens", "source", "position")),
    "lens": (_lens, ("tokens", "source", "position")),
    "next": (_next, ("tokens", "source", "sample", "seed", "settings")),
    "perplexity": (windows, ("text", "window", "strides")),
}
