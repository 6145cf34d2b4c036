"""BERT: what it reads and what it has to predict, and a vector for a text with pads."""

import torch

from .checking import Exercise, numbers

IGNORED = -100


def _masked_inputs(tokens, chosen, kind, mask_id, random_tokens):
    read = torch.where(chosen & (kind < 0.8), mask_id, tokens)
    read = torch.where(chosen & (kind >= 0.8) & (kind < 0.9), random_tokens, read)
    return read, torch.where(chosen, tokens, IGNORED)


def _asked_everywhere(tokens, chosen, kind, mask_id, random_tokens):
    return _masked_inputs(tokens, chosen, kind, mask_id, random_tokens)[0], tokens


def _asked_what_is_read(tokens, chosen, kind, mask_id, random_tokens):
    read, _ = _masked_inputs(tokens, chosen, kind, mask_id, random_tokens)
    return read, torch.where(chosen, read, IGNORED)


def _all_masked(tokens, chosen, kind, mask_id, random_tokens):
    return torch.where(chosen, mask_id, tokens), torch.where(chosen, tokens, IGNORED)


def _none_stays(tokens, chosen, kind, mask_id, random_tokens):
    read = torch.where(chosen & (kind < 0.8), mask_id, tokens)
    return torch.where(chosen & (kind >= 0.8), random_tokens, read), torch.where(chosen, tokens, IGNORED)


def _replaced_anywhere(tokens, chosen, kind, mask_id, random_tokens):
    read = torch.where(kind < 0.8, mask_id, tokens)
    read = torch.where((kind >= 0.8) & (kind < 0.9), random_tokens, read)
    return read, torch.where(chosen, tokens, IGNORED)


def _mean_vector(hidden, attention_mask):
    weights = attention_mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _row(n_rows, length, seed):
    """tokens, chosen, kind, mask_id, random_tokens: a small batch in which each case occurs."""
    generator = torch.Generator().manual_seed(seed)
    tokens, other = (torch.randint(10, 99, (n_rows, length), generator=generator) for _ in range(2))
    chosen, kind = (torch.rand(n_rows, length, generator=generator) for _ in range(2))
    return tokens, chosen < 0.5, kind, 3, other


def _padded(n_rows, length, lengths, seed):
    mask = (torch.arange(length) < torch.tensor(lengths)[:, None]).long()
    return numbers(n_rows, length, 4, seed=seed), mask


EXERCISES = {
    "masked_inputs": Exercise(
        "Return (read, labels). Where chosen: mask_id for kind below 0.8, the random token for kind from 0.8 to below "
        "0.9, else the token itself; the label is the token. Elsewhere: the token, and the label -100.",
        _masked_inputs,
        [_row(4, 30, 0), _row(2, 60, 1)],
        [
            (
                _asked_everywhere,
                "the labels hold every token. The loss counts the chosen ones only: elsewhere the label is -100.",
            ),
            (
                _asked_what_is_read,
                "the labels were taken from what BERT reads, so it has to predict [MASK]. They are the tokens that "
                "stood there before.",
            ),
            (
                _all_masked,
                "every chosen token became [MASK]. One in ten becomes a random token (kind 0.8 to 0.9), and one in ten "
                "stays.",
            ),
            (
                _none_stays,
                "no chosen token stays as it is: those with kind of 0.9 and more do.",
            ),
            (
                _replaced_anywhere,
                "tokens that were not chosen are replaced, too. kind counts only where chosen is True.",
            ),
        ],
    ),
    "mean_vector": Exercise(
        "Return (B, C): the mean of each text's hidden states over its real tokens, where attention_mask is 1.",
        _mean_vector,
        [_padded(3, 6, [6, 2, 4], 0), _padded(2, 5, [1, 3], 1)],
        [
            (
                lambda hidden, attention_mask: hidden.mean(dim=1),
                "this is the mean over all positions, pads included. Then a short text gets one vector in a batch with "
                "a long text, and another one alone.",
            ),
            (
                lambda hidden, attention_mask: (hidden * attention_mask[:, :, None]).mean(dim=1),
                "the pads are zeros now, but the sum is divided by all positions: divide by the number of real tokens.",
            ),
            (
                lambda hidden, attention_mask: (hidden * attention_mask[:, :, None]).sum(dim=1),
                "this is the sum. Divide it by the number of real tokens of each text.",
            ),
            (
                lambda hidden, attention_mask: hidden[:, 0],
                "this is the state of [CLS] alone. It is a vector for the text, too; the mean is asked for.",
            ),
        ],
    ),
}
