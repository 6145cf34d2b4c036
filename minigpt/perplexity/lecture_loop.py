"""The lecture's own loop, as the lecture writes it. `Scores.window_mean_perplexity` must be its number."""

from collections.abc import Callable

import torch


def lecture_perplexity(loss_of: Callable, input_ids: torch.Tensor, max_length: int, stride: int) -> torch.Tensor:
    """exp of the mean of the windows' mean losses: the number that the lecture prints.

    input_ids (1, N). loss_of(input_ids (1, T), labels (1, T)) is a model's `next_token_loss`; the labels of the
    overlap, which are only context, are -100.
    """
    n_tokens = input_ids.size(1)
    nlls, previous_end = [], 0
    for begin_loc in range(0, n_tokens, stride):
        end_loc = min(begin_loc + max_length, n_tokens)
        trg_len = end_loc - previous_end  # the tokens that no earlier window has read
        target_ids = input_ids[:, begin_loc:end_loc].clone()
        target_ids[:, :-trg_len] = -100
        with torch.no_grad():
            nlls.append(loss_of(input_ids[:, begin_loc:end_loc], target_ids))
        previous_end = end_loc
        if end_loc == n_tokens:
            break
    return torch.exp(torch.stack(nlls).mean())
