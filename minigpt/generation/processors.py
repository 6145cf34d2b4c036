"""Logits -> logits: what may be chosen next, and how likely. Pure functions; the loops that use them are elsewhere.

Each takes float32 logits (B, V) and returns new ones; what may not be chosen becomes -inf. Their order changes the
result; this is the usual one, Hugging Face's too:

    repetition penalty -> repeated n-grams -> temperature -> top-k -> top-p -> min-p -> softmax -> draw
"""

from collections.abc import Sequence

import torch


def penalize_repetition(logits: torch.Tensor, texts: Sequence[Sequence[int]], penalty: float) -> torch.Tensor:
    """Make tokens that row i's text already holds less likely (CTRL, Keskar et al. 2019, section 4.1).

    A positive logit is divided by the penalty, a negative one multiplied: both go down when it is above 1.
    Raises ValueError for a penalty outside 0.001 .. 1000, where logits overflow.
    """
    if not 0.001 <= penalty <= 1000:
        raise ValueError(f"repetition_penalty must be between 0.001 and 1000 (1.0 = none), got {penalty!r}")
    logits = logits.clone()
    for row, text in zip(logits, texts, strict=True):
        seen = torch.tensor(sorted(set(text)), device=row.device)
        row[seen] = torch.where(row[seen] < 0, row[seen] * penalty, row[seen] / penalty)
    return logits


def forbid_repeated_ngrams(logits: torch.Tensor, texts: Sequence[Sequence[int]], n: int) -> torch.Tensor:
    """Forbid every token that would complete a run of n tokens which row i's text already holds (Paulus et al. 2017,
    section 2.5). Where that would leave nothing, nothing is forbidden. Raises ValueError unless n >= 1.
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"no_repeat_ngram_size must be an integer of at least 1, got {n!r}")
    logits = logits.clone()
    for row, text in zip(logits, texts, strict=True):
        text = list(text)
        ending = text[len(text) - n + 1 :]  # the n - 1 newest tokens
        starts = range(len(text) - n + 1)
        completions = {text[start + n - 1] for start in starts if text[start : start + n - 1] == ending}
        if len(completions) < len(row):
            row[list(completions)] = -torch.inf
    return logits


def apply_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divide by the temperature: below 1 the likely becomes likelier, above 1 everything becomes more alike.

    Raises ValueError for a temperature below 1e-30, where logits overflow; greedy decoding is the limit at zero.
    """
    if not 1e-30 <= temperature < float("inf"):
        raise ValueError(f"temperature must be positive, at least 1e-30 and finite, got {temperature!r}")
    return logits / temperature


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest logits of each row stay, ties with the k-th included (Fan et al. 2018, section 5.4)."""
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise ValueError(f"top_k must be an integer of at least 1, got {k!r}")
    threshold = logits.topk(min(k, logits.size(-1)), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """The smallest set of tokens whose probabilities add up to p stays: nucleus sampling (Holtzman et al. 2020).

    Counted from the unlikely end: a token goes when it and everything less likely add up to at most 1 - p.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {p!r}")
    ascending, order = logits.sort(dim=-1)
    unlikely = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    unlikely[..., -1] = False  # the most likely token always stays
    return logits.masked_fill(unlikely.scatter(-1, order, unlikely), -torch.inf)


def keep_min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Tokens at least p times as likely as the likeliest stay (Nguyen et al. 2024, "Min-p sampling")."""
    if not 0 <= p <= 1:
        raise ValueError(f"min_p must be between 0 and 1, got {p!r}")
    probabilities = logits.softmax(dim=-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(dim=-1, keepdim=True), -torch.inf)


def sampling_probabilities(
    logits: torch.Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> torch.Tensor:
    """Logits (B, V) -> the probabilities that a token is drawn from: temperature, top-k, top-p, min-p, softmax."""
    logits = apply_temperature(logits.float(), temperature)
    for keep, setting in [(keep_top_k, top_k), (keep_top_p, top_p), (keep_min_p, min_p)]:
        if setting is not None:
            logits = keep(logits, setting)
    return logits.softmax(dim=-1)


def most_likely(logits: torch.Tensor, n: int) -> list[list[tuple[int, float]]]:
    """The n likeliest tokens of each row of logits (B, V) and their probabilities, likeliest first; none of those that
    cannot be chosen."""
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be an integer of at least 1, got {n!r}")
    top = logits.softmax(dim=-1).topk(min(n, logits.size(-1)), dim=-1)
    rows = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [[(token, p) for token, p in zip(*row, strict=True) if p > 0] for row in rows]
