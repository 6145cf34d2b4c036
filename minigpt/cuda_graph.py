"""Decoding on CUDA at the speed of the card: one token's hundred kernels recorded once, then started as one.

A token of a small model is a few microseconds of work per kernel, less than Python needs to start one. A CUDA graph is
the recording of a step; replaying it costs one start. The price: every address and every shape is fixed. So the step
reads and writes a cache at its full capacity, where a mask hides what is not filled yet, and its inputs are tensors
that stay where they are and are overwritten before each replay.
"""

from collections.abc import Callable

import torch

from .gpt2 import GPT2
from .kv_cache import KVCache
from .one_token import one_token_step

STEPS_THAT_PAY_FOR_A_GRAPH = 8


def recorded_step(model: GPT2, n_steps: int) -> Callable:
    """What `one_token_step` gives, (tokens (B, 1), mask (B, past + 1) or None, cache) -> logits (B, V), from a graph.

    It is recorded when a cache is first seen, and again when rows have left the batch, unless that is nearly full.
    """
    simple, fixed = one_token_step(model, n_steps), None

    def step(tokens: torch.Tensor, mask: torch.Tensor | None, cache: KVCache) -> torch.Tensor:
        nonlocal fixed
        if fixed is None or not fixed.fits(cache):
            if cache.capacity - cache.length < STEPS_THAT_PAY_FOR_A_GRAPH:
                return simple(tokens, mask, cache)
            fixed = FixedStep(model, cache)
        return fixed(tokens, mask)

    return step


class FixedCache:
    """The storage of a `KVCache` at its full capacity: `append` writes where the tensor `place` says, whatever it says
    when the step runs, and gives back everything, filled or not."""

    def __init__(self, cache: KVCache):
        self.keys, self.values = cache.keys, cache.values  # (n_layer, B, H, capacity, D)
        self.place = torch.full((1,), cache.length, device=cache.keys.device)

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self.keys[layer], self.values[layer]
        keys.index_copy_(2, self.place, k)
        values.index_copy_(2, self.place, v)
        return keys, values


class FixedStep:
    """(tokens, mask) -> logits behind one cache, at its full capacity; a graph where there is CUDA.

    The cache stays whole: whoever goes on without this step finds in it what was read. Where there is no CUDA the same
    step runs without being recorded.
    """

    def __init__(self, model: GPT2, cache: KVCache):
        device = cache.keys.device
        self.cache, self.fixed = cache, FixedCache(cache)
        self.step = one_token_step(model, n_steps=1)
        self.tokens = torch.zeros(cache.batch_size, 1, dtype=torch.int64, device=device)
        self.may_look = torch.zeros(cache.batch_size, cache.capacity, dtype=torch.bool, device=device)
        self.graph = self._record() if device.type == "cuda" else None

    def fits(self, cache: KVCache) -> bool:
        """Whether this is still the cache that was recorded: a row that leaves gives its batch another storage."""
        return cache.keys.data_ptr() == self.fixed.keys.data_ptr()

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        past = self.cache.length
        self.tokens.copy_(tokens)
        self.fixed.place.fill_(past)
        self.may_look[:, : past + 1] = True if mask is None else mask.bool()
        self.may_look[:, past + 1 :] = False  # a cache that was truncated is shorter than before
        if self.graph is None:
            self.logits = self._run()
        else:
            self.graph.replay()
        self.cache.length += 1
        return self.logits.clone()  # the next replay writes over it

    def _run(self) -> torch.Tensor:
        return self.step(self.tokens, self.may_look, self.fixed)

    def _record(self) -> torch.cuda.CUDAGraph:
        """Run a few times on a side stream, as libraries set themselves up at first, then record. What is written into
        the cache meanwhile lies behind its length, where the first real step overwrites it."""
        self.may_look[:, 0] = True
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.logits = self._run()
        return graph
