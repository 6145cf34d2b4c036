"""What a model checks before it computes anything: shapes, types, devices, ids, the cache."""

import torch

from .. import _checks
from ..attention import padding_mask
from ..kv_cache import KVCache
from ..positions import position_ids_for, positions_in_segments, segment_mask


def check_ids(what: str, ids: torch.Tensor, limit: int, limit_name: str) -> None:
    """Raise ValueError that names the place of an id outside 0..limit - 1. Nothing is checked while torch compiles or
    exports the model, for then there are no values. (The embedding fails on such an id, too.)"""
    if not torch.compiler.is_compiling():
        _checks.check_ids(what, ids, limit, limit_name)


def check_inputs(model, tokens, attention_mask=None, position_ids=None, cache=None, segment_ids=None) -> None:
    """Raise ValueError for inputs of `hidden` that do not fit the model, or each other."""
    check_tokens(model, tokens, attention_mask, past=0 if cache is None else cache.length)
    if position_ids is not None:
        check_companion(model, "position_ids", position_ids, tokens)
    if segment_ids is not None and (
        attention_mask is not None or cache is not None or segment_ids.shape != tokens.shape
    ):
        raise ValueError(
            f"segment_ids {tuple(segment_ids.shape)} must have the shape of tokens, {tuple(tokens.shape)}, and "
            "come without cache or attention_mask (give pads a segment of their own)"
        )
    if cache is not None:
        check_cache(model, model.blocks, tokens, cache)


def check_tokens(model, tokens, attention_mask=None, past: int = 0, names=("tokens", "attention_mask")) -> None:
    """Raise ValueError unless tokens are rows of the model's ids, and the mask covers them and what is past."""
    _check_tensor(model, names[0], tokens)
    if attention_mask is not None:
        _check_device(model, names[1], attention_mask)
    if tokens.dim() != 2 or tokens.numel() == 0:
        raise ValueError(
            f"{names[0]} must have shape (batch, tokens) with at least one of each, got {tuple(tokens.shape)}"
        )
    check_ids("token id", tokens, model.vocab_size, "vocab_size")
    expected = (tokens.size(0), past + tokens.size(1))
    if attention_mask is not None and attention_mask.shape != expected:
        raise ValueError(
            f"{names[1]} must cover all keys, shape {expected}, "
            f"got {tuple(attention_mask.shape)} for {names[0]} {tuple(tokens.shape)} after {past} cached"
        )


def check_companion(model, name: str, ids, tokens) -> None:
    """Raise ValueError unless ids are int64, one for each of the tokens."""
    _check_tensor(model, name, ids)
    if ids.shape != tokens.shape:
        raise ValueError(f"{name} {tuple(ids.shape)} must have the shape of tokens, {tuple(tokens.shape)}")


def _check_device(model, name: str, tensor) -> None:
    if not isinstance(tensor, torch.Tensor) or tensor.device != model.device:
        where = getattr(tensor, "device", type(tensor).__name__)
        raise ValueError(f"{name} must be a tensor on {model.device}, where the model is, got {where}")


def _check_tensor(model, name: str, tensor) -> None:
    _check_device(model, name, tensor)
    if tensor.dtype != torch.int64:
        raise ValueError(f"{name} must be int64 ids, got {tensor.dtype}")


def check_cache(model, blocks, tokens, cache) -> None:
    """Raise ValueError for a cache that is too full, or was made for other rows or another model."""
    if cache.batch_size != tokens.size(0) or cache.length + tokens.size(1) > cache.capacity:
        raise ValueError(
            f"cache for {cache.batch_size} rows of {cache.capacity} tokens, {cache.length} filled, "
            f"cannot take tokens {tuple(tokens.shape)}"
        )
    attention, weight = blocks[0].attention, model.token_embedding.weight
    made_for = (*cache.keys.shape[::2], cache.keys.dtype, cache.keys.device)
    expected = (len(blocks), attention.n_kv_head, attention.d_head, weight.dtype, weight.device)
    if made_for != expected:
        raise ValueError(f"cache was made for (layers, heads, width, ...) {made_for}, the model has {expected}")


def mask_and_positions(tokens, attention_mask=None, cache=None, segment_ids=None):
    """What attention may look at, a bool mask or None for everything, and the position ids (B, T) of the tokens."""
    if segment_ids is not None:
        return segment_mask(segment_ids), positions_in_segments(segment_ids)
    mask = None if attention_mask is None else padding_mask(attention_mask)
    return mask, position_ids_for(attention_mask, 0 if cache is None else cache.length, tokens)


def new_cache(model, blocks, batch_size: int, capacity: int) -> KVCache:
    """An empty cache for up to `capacity` tokens of `batch_size` rows, on the model's device, in its dtype."""
    attention, weight = blocks[0].attention, model.token_embedding.weight
    size = (len(blocks), batch_size, attention.n_kv_head, capacity, attention.d_head)
    return KVCache(*size, weight.device, weight.dtype)


def layers_of(cache: KVCache | None, blocks) -> list:
    """The part of a cache that each block gets: its layer, or None without a cache."""
    return [None] * len(blocks) if cache is None else cache.layers
