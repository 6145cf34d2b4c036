"""What a model checks before it computes anything: shapes, types, devices, ids, the cache."""

import torch

from .. import _checks


def check_ids(what: str, ids: torch.Tensor, limit: int, limit_name: str) -> None:
    """Raise ValueError that names the place of an id outside 0..limit - 1. Not while torch compiles or exports the
    model: a check of values would break the graph. (The embedding then finds out itself.)"""
    if not torch.compiler.is_compiling():
        _checks.check_ids(what, ids, limit, limit_name)


def check_inputs(model, tokens, attention_mask=None, position_ids=None, cache=None, segment_ids=None) -> None:
    """Raise ValueError for inputs of `hidden` that do not fit the model, or each other."""
    device = model.device
    for name, tensor in [("tokens", tokens), ("attention_mask", attention_mask), ("position_ids", position_ids)]:
        if tensor is None and name != "tokens":
            continue
        if not isinstance(tensor, torch.Tensor) or tensor.device != device:
            where = getattr(tensor, "device", type(tensor).__name__)
            raise ValueError(f"{name} must be a tensor on {device}, where the model is, got {where}")
        if name != "attention_mask" and tensor.dtype != torch.int64:
            raise ValueError(f"{name} must be int64 ids, got {tensor.dtype}")
    if tokens.dim() != 2 or tokens.numel() == 0:
        raise ValueError(f"tokens must have shape (batch, tokens) with at least one of each, got {tuple(tokens.shape)}")
    check_ids("token id", tokens, model.vocab_size, "vocab_size")
    past = 0 if cache is None else cache.length
    n_rows, n_keys = tokens.size(0), past + tokens.size(1)
    if attention_mask is not None and attention_mask.shape != (n_rows, n_keys):
        raise ValueError(
            f"attention_mask must cover all keys, shape {(n_rows, n_keys)}, "
            f"got {tuple(attention_mask.shape)} for tokens {tuple(tokens.shape)} after {past} cached"
        )
    if position_ids is not None and position_ids.shape != tokens.shape:
        raise ValueError(
            f"position_ids {tuple(position_ids.shape)} must have the shape of tokens, {tuple(tokens.shape)}"
        )
    if segment_ids is not None and (
        attention_mask is not None or cache is not None or segment_ids.shape != tokens.shape
    ):
        raise ValueError(
            f"segment_ids {tuple(segment_ids.shape)} must have the shape of tokens, {tuple(tokens.shape)}, and "
            "come without cache or attention_mask (give pads a segment of their own)"
        )
    if cache is not None:
        _check_cache(model, tokens, cache)


def _check_cache(model, tokens, cache) -> None:
    if cache.batch_size != tokens.size(0) or cache.length + tokens.size(1) > cache.capacity:
        raise ValueError(
            f"cache for {cache.batch_size} rows of {cache.capacity} tokens, {cache.length} filled, "
            f"cannot take tokens {tuple(tokens.shape)}"
        )
    attention, weight = model.blocks[0].attention, model.token_embedding.weight
    made_for = (*cache.keys.shape[::2], cache.keys.dtype, cache.keys.device)
    expected = (len(model.blocks), attention.n_kv_head, attention.d_head, weight.dtype, weight.device)
    if made_for != expected:
        raise ValueError(f"cache was made for (layers, heads, width, ...) {made_for}, the model has {expected}")
