"""What BERT is used for: the tokens that fit into a gap (a position that holds [MASK]), and a vector for a text."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from .._checks import check_ids, integer, several, token_ids
from ..language_model import eval_mode, padded_on_the_right
from .processors import most_likely

TEXTS_AT_ONCE = 32


@dataclass(frozen=True)
class Gap:
    """A masked position of a text, counted from 0 with [CLS], and the tokens that fit best, the likeliest first: pairs
    of an id and its probability among all of the vocabulary."""

    position: int
    likely: list[tuple[int, float]]


@torch.inference_mode()
def fill_mask(
    model, tokens: Sequence[int], mask_id: int, n: int = 5, token_types: Sequence[int] | None = None
) -> list[Gap]:
    """The n likeliest tokens (all, where the vocabulary has fewer) for every mask_id in a text, a list of ids with its
    [CLS] and [SEP]. token_types say which of two texts each token belongs to (`WordPiece.encode_pair` gives both); None
    = one text.

    Each gap is predicted while the others still hold [MASK], as BERT was trained (Devlin et al. 2018, section 3.1): two
    gaps side by side may get words that do not go together. Raises ValueError for a model that is no Bert or has no
    masked-token head, for a text without a gap, that is too long, or with an id out of range.
    """
    _check_bert(model, "fill gaps")
    [tokens], n = _check_texts(model, [tokens]), integer("n", n, 1)
    if model.head is None:
        raise ValueError("this Bert has no masked-token head, so it cannot fill gaps: take a BertForMaskedLM's file")
    mask_id = integer("mask_id", mask_id)
    places = [place for place, token in enumerate(tokens) if token == mask_id]
    if not places:
        raise ValueError(f"there is no gap in the text: no token is mask_id={mask_id}")
    types = None
    if token_types is not None:
        types = torch.tensor([token_ids("token_types", token_types)], device=model.device)
    with eval_mode(model):
        hidden = model.hidden(torch.tensor([tokens], device=model.device), token_types=types)
        logits = model.logits(hidden[0, places]).float()  # (gaps, V)
    return [Gap(place, likely) for place, likely in zip(places, most_likely(logits, n), strict=True)]


@torch.inference_mode()
def sentence_vectors(model, texts: Sequence[Sequence[int]]) -> torch.Tensor:
    """(n, C): a vector for each text, a list of ids: the mean of its hidden states, those of [CLS] and [SEP] included,
    pads left out. The vectors have the model's dtype; they are not scaled to length 1.

    Texts that mean the same should get vectors of the same direction (Reimers & Gurevych 2019, "Sentence-BERT", section
    3); this holds less for a model that was not trained for it. Raises ValueError for a model that is no Bert, an empty
    text, one that is too long, and an id out of range.
    """
    _check_bert(model, "make vectors of texts")
    texts, vectors = _check_texts(model, texts), []
    batches = [texts[first : first + TEXTS_AT_ONCE] for first in range(0, len(texts), TEXTS_AT_ONCE)]
    with eval_mode(model):
        for batch in tqdm(batches, desc="reading texts", leave=False, delay=2, disable=None):
            tokens, mask = padded_on_the_right(batch, model.device)
            hidden = model.hidden(tokens, mask)  # (B, T, C)
            real = torch.ones_like(tokens) if mask is None else mask
            vectors.append((hidden * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True))
    return torch.cat(vectors)


def _check_bert(model, task: str) -> None:
    if not getattr(model, "looks_at_both_sides", False):
        name = type(model).__name__
        raise ValueError(f"{name} cannot {task}: that needs a Bert, which looks at both sides of every token")


def _check_texts(model, texts: Sequence[Sequence[int]]) -> list[list[int]]:
    checked = [token_ids(f"text {row}", text) for row, text in enumerate(several("texts", texts, "lists of token ids"))]
    if not checked:
        raise ValueError("texts is empty: give at least one list of token ids")
    for row, text in enumerate(checked):
        if not 0 < len(text) <= model.max_tokens:
            limit = f"max_position_embeddings={model.max_tokens}"
            raise ValueError(
                f"text {row} has {len(text)} tokens; this Bert reads from 1 to {model.max_tokens} ({limit})"
            )
        check_ids(f"in text {row}, token id", torch.tensor([text]), model.vocab_size, "vocab_size")
    return checked
