"""Where a token is: the number of its place in its text, with pads around it or with documents packed into one row."""

import torch


def position_ids_for(attention_mask: torch.Tensor | None, past: int, tokens: torch.Tensor) -> torch.Tensor:
    """(B, T) positions of tokens: past ... past + T - 1, or with an attention_mask the count of real tokens before.

    So the first real token of a left-padded row has position 0, as it had in training; pads get a harmless 0.
    """
    if attention_mask is None:
        return torch.arange(past, past + tokens.size(1), device=tokens.device).expand_as(tokens)
    positions = attention_mask.long().cumsum(dim=-1) - 1
    return positions.clamp(min=0)[:, -tokens.size(1) :]


def positions_in_segments(segment_ids: torch.Tensor) -> torch.Tensor:
    """(B, T) positions counted from the first token of each segment, a run of equal numbers (that comes once)."""
    places = torch.arange(segment_ids.size(1), device=segment_ids.device).expand_as(segment_ids)
    starts = torch.ones_like(segment_ids, dtype=torch.bool)
    starts[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    return places - (places * starts).cummax(dim=1).values  # the newest start so far


def segment_mask(segment_ids: torch.Tensor) -> torch.Tensor:
    """(B, T) numbers of the documents packed into each row -> bool (B, 1, T, T): a token looks at its own document.

    Raises ValueError when the tensor is not two-dimensional, or not of integers.
    """
    if segment_ids.dim() != 2 or segment_ids.is_floating_point():
        got = f"{segment_ids.dtype} {tuple(segment_ids.shape)}"
        raise ValueError(f"segment_ids must be integers of shape (batch, tokens), got {got}")
    return (segment_ids[:, :, None] == segment_ids[:, None, :])[:, None]
