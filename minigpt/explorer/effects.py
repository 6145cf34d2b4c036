"""Without a head: which probabilities of a prediction change, for one head after the other, or for several at once."""

from __future__ import annotations

from .heads import Head, all_heads, check_heads, logits_without
from .texts import Subject, Texts, pieces, place

N_COMPARED = 8
MOST_TOKENS_READ = 16384  # heads × tokens of a text: a second of a tiny model, and more than 124M parameters can do
MOST_PARAMETERS = 20_000_000


def effects(subject: Subject, texts: Texts, position: int | None = None) -> list[dict] | None:
    """`without` for every head of the model alone; None where that is too much work."""
    heads = all_heads(subject.model)
    if len(heads) * (len(texts.tokens) + len(texts.source or ())) > MOST_TOKENS_READ or _is_large(subject):
        return None
    return _compared(subject, texts, [[], *([head] for head in heads)], place(subject, texts, position))


def _is_large(subject: Subject) -> bool:
    return sum(parameter.numel() for parameter in subject.model.parameters()) > MOST_PARAMETERS


def without(subject: Subject, texts: Texts, heads, position: int | None = None) -> dict:
    """The prediction without a list of heads, [kind, layer, head] each, all switched off together. Raises ValueError
    for a head that the model does not have."""
    heads = check_heads(subject.model, heads)
    [found] = _compared(subject, texts, [[], heads], place(subject, texts, position))
    return found


def _compared(subject: Subject, texts: Texts, groups: list[list[Head]], at: int) -> list[dict]:
    """Each group after the first against the first: the tokens that are among the likeliest with or without it, and the
    one that changes most, their probabilities before and after, and how much probability moves from some tokens to
    others (half of the sum of all differences, from 0 to 1)."""
    probabilities = logits_without(subject, texts, groups, at).softmax(dim=-1)  # (groups, V)
    n = min(N_COMPARED, probabilities.size(-1))
    likeliest = probabilities.topk(n).indices
    found = []
    for row, group in enumerate(groups[1:], start=1):
        change = (probabilities[row] - probabilities[0]).abs()
        ids = list(dict.fromkeys([*likeliest[0].tolist(), *likeliest[row].tolist(), int(change.argmax())]))
        found.append(
            {
                "heads": [list(head) for head in group],
                "ids": ids,
                "pieces": pieces(subject, ids),
                "before": probabilities[0, ids].tolist(),
                "after": probabilities[row, ids].tolist(),
                "moved": float(change.sum() / 2),
            }
        )
    return found
