"""Logits -> logits: what may be chosen next, and how likely. Pure functions; the loops that use them are elsewhere.

Each takes float32 logits (B, V) and returns new ones; what may not be chosen becomes -inf. Their order changes the
result: `PROCESSORS`, at the end, is the order in which they are applied.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from .._checks import integer, number, several, token_ids


def penalize_repetition(logits: torch.Tensor, texts: Sequence[Sequence[int]], penalty: float) -> torch.Tensor:
    """Make tokens that row i's text already holds less likely (CTRL, Keskar et al. 2019, section 4.1).

    A positive logit is divided by the penalty, a negative one multiplied: both go down when it is above 1.
    Raises ValueError for a penalty outside 0.001 .. 1000, where logits overflow.
    """
    number("repetition_penalty", penalty, least=0.001, most=1000)
    logits = logits.clone()
    for row, text in zip(logits, several("texts", texts, "lists of token ids"), strict=True):
        seen = torch.tensor(sorted(set(token_ids("text", text))), device=row.device)
        row[seen] = torch.where(row[seen] < 0, row[seen] * penalty, row[seen] / penalty)
    return logits


def forbid_repeated_ngrams(logits: torch.Tensor, texts: Sequence[Sequence[int]], n: int) -> torch.Tensor:
    """Forbid every token that would complete a run of n tokens which row i's text already holds (Paulus et al. 2017,
    section 2.5). Where that would leave nothing, nothing is forbidden. Raises ValueError unless n >= 1.
    """
    n = integer("no_repeat_ngram_size", n, 1)
    logits = logits.clone()
    for row, text in zip(logits, several("texts", texts, "lists of token ids"), strict=True):
        text = token_ids("text", text)
        ending = text[len(text) - n + 1 :]  # the n - 1 newest tokens
        starts = range(len(text) - n + 1)
        completions = {text[start + n - 1] for start in starts if text[start : start + n - 1] == ending}
        if len(completions) < len(row):
            row[list(completions)] = -torch.inf
    return logits


def suppress_tokens(logits: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """Forbid these tokens, wherever they would come. Raises ValueError for anything but a list of ids."""
    forbidden = [id for id in token_ids("suppress_tokens", ids) if 0 <= id < logits.size(-1)]
    logits = logits.clone()
    logits[:, forbidden] = -torch.inf
    return logits


def apply_own(logits: torch.Tensor, texts: Sequence[Sequence[int]], functions: Sequence[Callable]) -> torch.Tensor:
    """Apply the caller's own functions, (logits (B, V), texts) -> logits (B, V), one after the other. What they get are
    copies: they may change them.

    Raises ValueError for an answer of another shape, dtype or device, and for one that holds nan or inf.
    """
    for place, function in enumerate(functions):
        found = function(logits.clone(), [list(text) for text in texts])
        wanted, got = map(_described, (logits, found))
        if got != wanted:
            raise ValueError(f"processors[{place}] must return logits, {wanted}; it returned {got}")
        if not (found < torch.inf).all():  # nan is not below inf, either
            raise ValueError(f"processors[{place}] returned nan or inf; a token that may not be chosen gets -inf")
        logits = found
    return logits


def _described(logits) -> str:
    if not isinstance(logits, torch.Tensor):
        return f"{logits!r:.80}"
    return f"{logits.dtype} {tuple(logits.shape)} on {logits.device}"


def apply_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divide by the temperature: below 1 likely tokens become likelier, above 1 the differences become smaller.

    Raises ValueError for a temperature below 1e-30, where logits overflow; greedy decoding is the limit at zero.
    """
    return logits / number("temperature", temperature, least=1e-30)


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest logits of each row stay, ties with the k-th included (Fan et al. 2018, section 5.4).

    Raises ValueError unless k >= 1.
    """
    threshold = logits.topk(min(integer("top_k", k, 1), logits.size(-1)), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """The smallest set of tokens whose probabilities add up to p stays: nucleus sampling (Holtzman et al. 2020).

    A token is removed when it and all less likely tokens add up to at most 1 - p. Raises ValueError unless 0 < p <= 1.
    """
    number("top_p", p, above=0, most=1)
    ascending, order = logits.sort(dim=-1)
    unlikely = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    unlikely[..., -1] = False  # the most likely token always stays
    return logits.masked_fill(unlikely.scatter(-1, order, unlikely), -torch.inf)


def keep_min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Tokens at least p times as likely as the likeliest stay (Nguyen et al. 2024, "Min-p sampling").

    Raises ValueError unless 0 <= p <= 1.
    """
    number("min_p", p, least=0, most=1)
    probabilities = logits.softmax(dim=-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(dim=-1, keepdim=True), -torch.inf)


class Processor(NamedTuple):
    """A setting of `generate`, the value that switches it off, and what it does: (logits, texts, value) -> logits."""

    setting: str
    off: Any
    apply: Callable


# In the order in which they are applied, which is Hugging Face's. Then follow softmax and the draw. (Before them all,
# min_new_tokens forbids the stop tokens: `Stopping.postpone`. None of the first three would allow a token again.)
PROCESSORS = (
    Processor("repetition_penalty", 1.0, penalize_repetition),
    Processor("no_repeat_ngram_size", 0, forbid_repeated_ngrams),
    Processor("suppress_tokens", None, lambda logits, texts, ids: suppress_tokens(logits, ids)),
    Processor("processors", (), apply_own),
    Processor("temperature", 1.0, lambda logits, texts, temperature: apply_temperature(logits, temperature)),
    Processor("top_k", None, lambda logits, texts, k: keep_top_k(logits, k)),
    Processor("top_p", None, lambda logits, texts, p: keep_top_p(logits, p)),
    Processor("min_p", None, lambda logits, texts, p: keep_min_p(logits, p)),
)


def process(logits: torch.Tensor, texts: Sequence[Sequence[int]], **settings) -> torch.Tensor:
    """Logits (B, V) of the token after each text -> the logits (B, V) that it is chosen from, after all processors.

    settings are those of `PROCESSORS`; one that is not given is off. Raises ValueError as the processors do, TypeError
    for a setting that no processor has.
    """
    for name, off, apply in PROCESSORS:
        value = settings.pop(name, off)
        if value != off or isinstance(value, bool):  # True == 1.0, but its processor refuses it
            logits = apply(logits, texts, value)
    if settings:
        raise TypeError(f"no processor has a setting {sorted(settings)[0]!r}")
    return logits


def sampling_probabilities(
    logits: torch.Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> torch.Tensor:
    """Logits (B, V) -> the probabilities (B, V) that a token is drawn from. Raises ValueError as the processors do."""
    shaped = process(logits.float(), [], temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    return shaped.softmax(dim=-1)


def most_likely(logits: torch.Tensor, n: int) -> list[list[tuple[int, float]]]:
    """The n likeliest tokens of each row of logits (B, V) and their probabilities, likeliest first; tokens of
    probability 0 are left out. Raises ValueError unless n >= 1."""
    top = logits.softmax(dim=-1).topk(min(integer("n", n, 1), logits.size(-1)), dim=-1)
    rows = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [[(token, p) for token, p in zip(*row, strict=True) if p > 0] for row in rows]
