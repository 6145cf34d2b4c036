"""The keys and values of every token seen so far: for a new token only its own position has to be computed.

In a causal model an earlier token never looks at a later one: its keys and values are final once computed.
"""

from __future__ import annotations

import torch

from ._checks import integer, token_ids


class KVCache:
    """Preallocated keys and values of all layers: (n_layer, B, H, capacity, D) each, of which `length` are filled.

    The cache belongs to the caller. In a forward pass each layer appends its keys and values to its own part,
    `cache.layers[i].append(k, v)`, after the first `length` tokens; after its last block the model calls `advance`, and
    only then does the length change. So a pass that fails half-way leaves the cache as it was. Raises ValueError for a
    size below 1.
    """

    def __init__(self, n_layer, batch_size, n_head, capacity, d_head, device=None, dtype=None):
        sizes = dict(n_layer=n_layer, batch_size=batch_size, n_head=n_head, capacity=capacity, d_head=d_head)
        shape = [integer(f"{name} of a cache", size, 1) for name, size in sizes.items()]
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0

    @property
    def layers(self) -> list[LayerCache]:
        """A view for each layer, made at each call. (If the cache kept them, they would keep each other in memory.)"""
        return [LayerCache(self, layer) for layer in range(len(self.keys))]

    @property
    def batch_size(self) -> int:
        return self.keys.size(1)

    @property
    def capacity(self) -> int:
        return self.keys.size(3)

    def advance(self, n: int) -> None:
        """Add n to the length: the next n tokens are in all layers now. Raises ValueError beyond the capacity."""
        n = integer("n", n, 0)
        self._check_space(n)
        self.length += n

    def select(self, rows) -> None:
        """Keep these rows of the batch, in this order (a list of indices; a row may be taken twice: beams).

        Raises ValueError for anything but at least one index of a row.
        """
        try:
            chosen = [integer("row", row, 0, self.batch_size - 1) for row in token_ids("rows", rows)]
        except ValueError:
            chosen = []
        if not chosen:
            raise ValueError(f"rows must be a list of indices in 0..{self.batch_size - 1}, got {rows!r:.80}")
        if chosen == list(range(self.batch_size)):
            return
        rows = torch.tensor(chosen, device=self.keys.device)
        filled = [old[:, rows, :, : self.length] for old in (self.keys, self.values)]
        if len(rows) != self.batch_size:
            self.keys, self.values = (
                old.new_zeros(len(self.keys), len(rows), *old.shape[2:]) for old in (self.keys, self.values)
            )
        self.keys[..., : self.length, :], self.values[..., : self.length, :] = filled

    def truncate(self, n: int) -> None:
        """Forget all but the first n tokens: the next append overwrites the others. Raises ValueError beyond length."""
        try:
            self.length = integer("n", n, 0, self.length)
        except ValueError:
            raise ValueError(f"cannot truncate a cache of length {self.length} to {n!r}") from None

    def _check_space(self, n_new: int) -> None:
        if self.length + n_new > self.capacity:
            raise ValueError(f"cache is full: {self.length} + {n_new} tokens exceed its capacity {self.capacity}")


class LayerCache:
    """One layer of a `KVCache`: all that `MultiHeadAttention` sees of it."""

    def __init__(self, cache: KVCache, layer: int):
        self.cache, self.layer = cache, layer

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store k and v (B, H, T, D) after the tokens that count; return all of them, (B, H, length + T, D).

        Raises ValueError, before anything is stored, for a shape or device that differs, or beyond the capacity.
        """
        cache, n_new = self.cache, k.size(2) if k.dim() == 4 else 1
        expected = (cache.batch_size, cache.keys.size(2), n_new, cache.keys.size(4))
        for name, tensor in [("k", k), ("v", v)]:
            if tensor.shape != expected or tensor.device != cache.keys.device:
                raise ValueError(
                    f"{name} must be {expected} on {cache.keys.device} to fit the cache, "
                    f"got {tuple(tensor.shape)} on {tensor.device}"
                )
        cache._check_space(n_new)
        keys, values = cache.keys[self.layer], cache.values[self.layer]
        keys.narrow(2, cache.length, n_new).copy_(k)
        values.narrow(2, cache.length, n_new).copy_(v)
        return keys.narrow(2, 0, cache.length + n_new), values.narrow(2, 0, cache.length + n_new)
