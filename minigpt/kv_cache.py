"""The keys and values of every token seen so far, so that a new token costs one position, not all of them.

In a causal model an earlier token never looks at a later one: its keys and values are final once computed.
"""

import torch


class KVCache:
    """Preallocated keys and values of all layers: (n_layer, B, H, capacity, D) each, of which `length` are filled.

    The cache belongs to the caller; the model only appends to it. A forward pass appends T positions once per layer,
    in the order of the layers, and the last layer completes the step: a pass that fails half-way leaves `length`
    as it was.
    """

    def __init__(self, n_layer, batch_size, n_head, capacity, d_head, device=None, dtype=None):
        shape = (n_layer, batch_size, n_head, capacity, d_head)
        for name, size in zip(("n_layer", "batch_size", "n_head", "capacity", "d_head"), shape, strict=True):
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} of a cache must be an integer of at least 1, got {size!r}")
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0

    @property
    def batch_size(self) -> int:
        return self.keys.size(1)

    @property
    def capacity(self) -> int:
        return self.keys.size(3)

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store k and v (B, H, T, D) of one layer behind what is there; return all of them (B, H, length + T, D).

        Raises ValueError, before anything is stored, for an unknown layer, a shape or device that differs, or when the
        capacity would be exceeded.
        """
        if layer not in range(len(self.keys)):
            raise ValueError(f"layer must be one of 0..{len(self.keys) - 1}, got {layer!r}")
        expected = (self.batch_size, self.keys.size(2), *k.shape[2:3], self.keys.size(4))
        for name, tensor in [("k", k), ("v", v)]:
            if tensor.shape != expected or tensor.device != self.keys.device:
                raise ValueError(
                    f"{name} must be {expected} on {self.keys.device} to fit the cache, "
                    f"got {tuple(tensor.shape)} on {tensor.device}"
                )
        end = self.length + k.size(2)
        if end > self.capacity:
            raise ValueError(f"cache is full: {self.length} + {k.size(2)} tokens exceed its capacity {self.capacity}")
        keys, values = self.keys[layer], self.values[layer]
        keys.narrow(2, self.length, end - self.length).copy_(k)
        values.narrow(2, self.length, end - self.length).copy_(v)
        if layer == len(self.keys) - 1:
            self.length = end
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def select(self, rows) -> None:
        """Keep these rows of the batch, in this order (a list of indices; a row may be taken twice: beams).

        Raises ValueError for anything but at least one index of a row.
        """
        rows = torch.as_tensor(rows)
        inside = rows.dtype == torch.int64 and rows.dim() == 1 and all(0 <= r < self.batch_size for r in rows.tolist())
        if not inside or len(rows) == 0:
            raise ValueError(f"rows must be a list of indices in 0..{self.batch_size - 1}, got {rows.tolist()}")
        if rows.tolist() == list(range(self.batch_size)):
            return
        rows = rows.to(self.keys.device)
        filled = [old[:, rows, :, : self.length] for old in (self.keys, self.values)]
        if len(rows) != self.batch_size:
            self.keys, self.values = (
                old.new_zeros(len(self.keys), len(rows), *old.shape[2:]) for old in (self.keys, self.values)
            )
        self.keys[..., : self.length, :], self.values[..., : self.length, :] = filled

    def truncate(self, n: int) -> None:
        """Forget all but the first n tokens; what follows is overwritten by the next append."""
        if n not in range(self.length + 1):
            raise ValueError(f"cannot truncate a cache of length {self.length} to {n!r}")
        self.length = int(n)
