"""Perplexity of a longer text: its windows at several strides, and the loss of each token in them."""

from __future__ import annotations

import torch

from .._checks import integer, several
from ..language_model import check_language_model
from ..perplexity import AGGREGATIONS, TextSize, score, sliding_windows
from .numbers import finite, packed
from .texts import Subject, pieces

MOST_TOKENS = 4000
MOST_STRIDES = 4
MOST_WORK = 1e12  # parameters × tokens that are read: some twenty seconds on two cores


def windows(subject: Subject, text: str | None = None, window: int | None = None, strides=None) -> dict:
    """The windows and losses of a text. window None = the context, or half of a shorter text; strides None = the
    window, a half, and a quarter of it.

    Raises ValueError for a model that scores no text token by token, a text that is too short or too long, a window or
    stride out of range, and for more work than a reader waits for.
    """
    model = subject.model
    check_language_model(model, "score a text token by token")
    if subject.has_encoder:
        raise ValueError("a T5 predicts a text from another one, so a text alone has no perplexity")
    if not isinstance(text, str) or not text:
        raise ValueError("the text is empty: type at least two tokens")
    if len(text) > 20 * MOST_TOKENS:
        raise ValueError(f"the text has {len(text)} characters; at most {20 * MOST_TOKENS} are scored here")
    ids = subject.tokenizer.encode(text)
    if not 2 <= len(ids) <= MOST_TOKENS:
        raise ValueError(f"the text has {len(ids)} tokens; from 2 to {MOST_TOKENS} are scored here")
    if window is None:
        window = max(2, min(model.max_tokens, (len(ids) + 1) // 2))
    window = integer("window", window, 2, model.max_tokens)
    asked = (
        [window, max(1, window // 2), max(1, window // 4)]
        if strides is None
        else several("strides", strides, "integers")
    )
    strides = list(dict.fromkeys(integer("stride", stride, 1, window) for stride in asked))
    if not 1 <= len(strides) <= MOST_STRIDES:
        raise ValueError(f"strides must be 1 to {MOST_STRIDES} integers, got {len(strides)}")
    work = sum(len(sliding_windows(len(ids), window, stride)) for stride in strides) * window
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if work * parameters > MOST_WORK:
        raise ValueError(f"these strides read {work} tokens in all, which takes too long here: take larger strides")
    return {
        "pieces": pieces(subject, ids),
        "window": window,
        "strides": [_scored(subject, text, ids, window, stride) for stride in strides],
    }


def _scored(subject: Subject, text: str, ids: list[int], window: int, stride: int) -> dict:
    scores, size = score(subject.model, ids, window=window, stride=stride), TextSize.of(text)
    return {
        "stride": stride,
        "windows": [[one.begin, one.first_target, one.end] for one in scores.windows],
        "nll": packed(torch.from_numpy(scores.nll)),
        "scored": scores.n_scored,
        "averages": {way.name: finite(way.value(scores, size)) for way in AGGREGATIONS},
    }
