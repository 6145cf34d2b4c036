"""What a model reads of a typed text: token ids, within the limits of the model and of the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from .._checks import check_ids, integer, token_ids
from ..generation import generate
from ..tokenizer import Tokenizer
from ..trace import Trace, trace

MOST_TOKENS = 256  # a map of 256 × 256 weights is the largest that a page can show
FIRST_ANSWER = 12  # tokens that a T5 writes when it gets a new source: its cross attention has a row for each


@dataclass(frozen=True)
class Subject:
    """A model that is looked at, its tokenizer, and the name that the page shows. last holds the last text that was
    traced: a reader looks at one head after the other. The model must not change meanwhile. Raises ValueError for what
    is no model or no tokenizer, such as their names."""

    model: nn.Module
    tokenizer: Tokenizer
    name: str = ""
    last: dict = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self):
        for name, method, load in (("model", "hidden", "load_model"), ("tokenizer", "pieces", "load_tokenizer")):
            if not hasattr(getattr(self, name), method):
                wanted = f'a {name}, such as {load}("tiny")'
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r:.80}")

    @property
    def has_encoder(self) -> bool:
        return getattr(self.model, "has_encoder", False)

    @property
    def looks_at_both_sides(self) -> bool:
        return getattr(self.model, "looks_at_both_sides", False)

    @property
    def most_tokens(self) -> int:
        """The most tokens of one text on the page."""
        context = self.model.max_tokens
        return MOST_TOKENS if context is None else min(context, MOST_TOKENS)


@dataclass(frozen=True)
class Texts:
    """tokens (T) are what the model reads; of a T5 what its decoder has written, the start token first, and source (S)
    is what its encoder reads. Other models have no source."""

    tokens: list[int]
    source: list[int] | None = None

    def inputs(self, device) -> tuple[torch.Tensor, ...]:
        """The arguments of model(...), as a batch of one row."""
        rows = [self.tokens] if self.source is None else [self.source, self.tokens]
        return tuple(torch.tensor([row], device=device) for row in rows)


def texts_of(subject: Subject, text: str | None = None, tokens=None, source=None) -> Texts:
    """A typed text, or the ids of one, as `Texts`. A typed text of a T5 is its source, and what it answers (greedy, the
    end left out) is what it has written.

    Raises ValueError for a text that is empty or too long, for half a surrogate pair, and for ids out of range.
    """
    if (text is None) == (tokens is None):
        raise ValueError("give a text, or the ids of its tokens: one of the two")
    if text is None:
        found = Texts(token_ids("tokens", tokens), None if source is None else token_ids("source", source))
        if (found.source is not None) != subject.has_encoder:
            raise ValueError("a T5 needs tokens and source, another model tokens only")
    elif not isinstance(text, str):
        raise ValueError(f"text must be a str, got {text!r:.80}")
    elif not text:
        raise ValueError("the text is empty: type at least one character")
    else:
        found = Texts(_encode(subject, text))
        if subject.has_encoder:
            _check(subject, Texts(found.tokens, found.tokens))
            [written] = generate(subject.model, [found.tokens], FIRST_ANSWER)
            ended = written[-1] in subject.model.end_tokens  # left out, so that it is what the page predicts
            found = Texts(written[:-1] if ended else written, found.tokens)
    _check(subject, found)
    return found


def _encode(subject: Subject, text: str) -> list[int]:
    """The ids of a text, refused before it is cut where it must be too long: no token has more than 500 characters."""
    longest = 500 * subject.most_tokens
    if len(text) > longest:
        raise ValueError(f"the text has {len(text)} characters; the page takes at most {longest}")
    return subject.tokenizer.encode(text)


def _check(subject: Subject, texts: Texts) -> None:
    most = subject.most_tokens
    for name, row in (("text", texts.tokens), ("source", texts.source)):
        if row is None:
            continue
        if not 1 <= len(row) <= most:
            limit = "the model's context" if most == subject.model.max_tokens else "all that it can draw"
            if not row:
                raise ValueError(f"the {name} has 0 tokens: type at least one character")
            raise ValueError(
                f"{len(row)} tokens are too many for the {name}: this page reads at most {most}, which is {limit}"
            )
        check_ids("token id", torch.tensor([row]), subject.model.vocab_size, "vocab_size")


def pieces(subject: Subject, ids: Sequence[int]) -> list[str]:
    """Each token alone, to be shown; a part of a character is written as its bytes, such as <E4><B8>."""
    return subject.tokenizer.pieces(ids)


def typed(subject: Subject, texts: Texts) -> str:
    """The text that a reader would type to get these tokens (of a T5 its source), without the ids that the tokenizer
    adds by itself. Half a character becomes �, and is read as another token."""
    ids = texts.tokens if texts.source is None else texts.source
    added = subject.tokenizer.encode("")
    begin = 1 if len(ids) > 1 and ids[0] in added else 0
    end = len(ids) - 1 if len(ids) > begin + 1 and ids[-1] in added[-1:] else len(ids)
    text = subject.tokenizer.decode(ids[begin:end])
    for token in getattr(subject.tokenizer, "special_tokens", ()):
        if token.lstrip:  # such as [MASK]: it took the space before it
            text = re.sub(rf"(?<=\S){re.escape(token.content)}", f" {token.content}", text)
    return text


def place(subject: Subject, texts: Texts, position=None) -> int:
    """Where the page shows a prediction: after the last token; in a BERT at the first gap, or at the position that is
    asked for. Raises ValueError for a position outside the text."""
    last = len(texts.tokens) - 1
    if position is not None:
        return integer("position", position, 0, last)
    if subject.looks_at_both_sides:
        mask = getattr(subject.tokenizer, "mask_id", None)
        return texts.tokens.index(mask) if mask in texts.tokens else max(0, last - 1)
    return last


def traced(subject: Subject, texts: Texts) -> Trace:
    """The trace of a text. Raises ValueError for a model without logits, and for one whose attention function is not
    minigpt's: its weights cannot be known. FloatingPointError for logits that are nan or infinite."""
    model = subject.model
    if getattr(model, "head", model) is None:
        raise ValueError("this Bert has no masked-token head, so it predicts nothing: take a BertForMaskedLM's file")
    if subject.last.get("texts") == texts:
        return subject.last["seen"]
    seen = trace(model, *texts.inputs(model.device))
    parts = [seen] if seen.encoder is None else [seen, seen.encoder]
    if any(weights is None for part in parts for weights in part.attention_weights):
        raise ValueError("the weights of this attention function cannot be known: load the model with attention='sdpa'")
    if not seen.logits.isfinite().all():
        raise FloatingPointError("the model's logits are not finite: look for nan or inf in its weights")
    subject.last.update(texts=texts, seen=seen)
    return seen
