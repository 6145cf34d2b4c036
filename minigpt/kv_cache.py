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
        for name, value in [("batch_size", batch_size), ("capacity", capacity)]:
            if value < 1:
                raise ValueError(f"{name} of a cache must be at least 1, got {value}")
        shape = (n_layer, batch_size, n_head, capacity, d_head)
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

        Raises ValueError when the batch differs or the capacity would be exceeded.
        """
        end = self.length + k.size(2)
        if end > self.capacity:
            raise ValueError(f"cache is full: {self.length} + {k.size(2)} tokens exceed its capacity {self.capacity}")
        if k.size(0) != self.batch_size:
            raise ValueError(f"cache was made for a batch of {self.batch_size}, got {k.size(0)}")
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        if layer == len(self.keys) - 1:
            self.length = end
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def select(self, rows) -> None:
        """Keep these rows of the batch, in this order (a list of indices; a row may be taken twice: beams)."""
        rows = torch.as_tensor(rows, device=self.keys.device)
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]

    def truncate(self, n: int) -> None:
        """Forget all but the first n tokens; what follows is overwritten by the next append."""
        if not 0 <= n <= self.length:
            raise ValueError(f"cannot truncate a cache of length {self.length} to {n}")
        self.length = n
