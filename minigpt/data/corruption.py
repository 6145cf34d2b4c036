"""Rows of tokens with something missing, and what is missing: what BERT and T5 are trained on.

What is missing depends on (rows, seed, step) alone, as in `batch_at`: a resumed run gets the same.
"""

from collections.abc import Sequence

import numpy as np
import torch

from .._checks import integer, number, token_ids

IGNORED = -100


def masked_tokens(
    rows: torch.Tensor, step: int, seed: int, *, mask_id: int, replacements: Sequence[int], share: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (B, T) -> what BERT reads, and the labels, both (B, T) int64 (Devlin et al. 2018, section 3.1, "Masked LM").

    In each row a share of the positions, at least one, is chosen. There the label is the token, elsewhere -100. Of the
    chosen tokens 80 % are replaced by mask_id, 10 % by one of the replacements, and 10 % stay: if only [MASK] were
    asked for, the model would learn nothing about the other positions. A token that is not among the
    replacements (a special one) is never chosen.
    Raises ValueError for a share outside 0 .. 1, without replacements, and for a row without a token to choose.
    """
    share = number("share", share, above=0, below=1)
    mask_id, replacements = integer("mask_id", mask_id, 0), np.array(token_ids("replacements", replacements))
    if not len(replacements):
        raise ValueError("replacements is empty: give the ids of the ordinary tokens")
    rng = np.random.default_rng([integer("seed", seed, 0), integer("step", step, 0), 1])
    tokens, labels = rows.numpy().copy(), np.full(rows.shape, IGNORED, dtype=np.int64)
    may_be_chosen = np.isin(tokens, replacements)
    for row, places in enumerate(may_be_chosen):
        places = np.flatnonzero(places)
        if not len(places):
            raise ValueError(f"row {row} has no ordinary token that could be masked")
        n = max(1, round(share * len(places)))
        chosen = rng.choice(places, size=n, replace=False)
        labels[row, chosen] = tokens[row, chosen]
        kind = rng.random(n)
        tokens[row, chosen[kind < 0.8]] = mask_id
        replaced = chosen[(kind >= 0.8) & (kind < 0.9)]
        tokens[row, replaced] = rng.choice(replacements, size=len(replaced))
    return torch.from_numpy(tokens), torch.from_numpy(labels)


def spans(
    rows: torch.Tensor,
    step: int,
    seed: int,
    *,
    sentinels: Sequence[int],
    end_id: int,
    share: float = 0.15,
    mean_length: float = 3.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (B, T) -> sources (B, S) and labels (B, L) int64 (Raffel et al. 2020, section 3.3.4, "Corrupting spans").

    In each row a share of the tokens, in spans of mean_length on average, is cut out; in place of the n-th span stands
    the n-th sentinel. The labels are the sentinels in this order, each with its span after it. Both end with
    end_id. The numbers of tokens and spans depend on T alone, so all rows are of one length.
    Raises ValueError for a share outside 0 .. 1, a mean_length below 1, a row too short to cut anything out, and for
    more spans than sentinels.
    """
    share, mean_length = number("share", share, above=0, below=1), number("mean_length", mean_length, least=1)
    sentinels, end_id = token_ids("sentinels", sentinels), integer("end_id", end_id, 0)
    length = rows.size(1)
    n_cut = max(1, round(share * length))
    n_spans = max(1, round(n_cut / mean_length))
    n_kept = length - n_cut
    if n_kept < n_spans:
        raise ValueError(f"rows of {length} tokens are too short: {n_spans} spans need as many tokens between them")
    if n_spans > len(sentinels):
        raise ValueError(f"rows of {length} tokens have {n_spans} spans, and there are {len(sentinels)} sentinels")
    rng = np.random.default_rng([integer("seed", seed, 0), integer("step", step, 0), 2])
    sources, labels = [], []
    for row in rows.tolist():
        source, label, place = [], [], 0
        for kept, cut, sentinel in zip(
            _parts(n_kept, n_spans, rng), _parts(n_cut, n_spans, rng), sentinels, strict=False
        ):
            source += [*row[place : place + kept], sentinel]
            label += [sentinel, *row[place + kept : place + kept + cut]]
            place += kept + cut
        sources.append([*source, end_id])
        labels.append([*label, end_id])
    return torch.tensor(sources), torch.tensor(labels)


def _parts(total: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """total as a sum of n numbers of at least 1, each such sum equally likely."""
    ends = np.sort(rng.choice(np.arange(1, total), size=n - 1, replace=False)) if n > 1 else np.array([], dtype=int)
    return np.diff(np.concatenate([[0], ends, [total]])).astype(int)
