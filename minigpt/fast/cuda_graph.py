"""Decoding on CUDA at the speed of the card: one token's hundred kernels recorded once, then started as one.

A token of a small model is a few microseconds of work per kernel, less than Python needs to start one. A CUDA graph is
the recording of a step; replaying it costs one start. The price: every address and every shape is fixed. So the step
reads and writes a cache at its full capacity, where a mask hides what is not filled yet, and its inputs are tensors
that stay where they are and are overwritten before each replay.
"""

import functools
from collections.abc import Callable

import torch

from ..attention import ATTENTION_FUNCTIONS
from ..kv_cache import KVCache
from ..models import GPT2
from .one_token import one_token_step

STEPS_THAT_PAY_FOR_A_GRAPH = 8


def can_be_recorded(model: GPT2) -> bool:
    """Whether the step of a plain model may become a graph: on CUDA, with attention of this project, which nothing but
    its arguments decides about, and not under autocast, whose copies of the weights would be recorded, too."""
    device = model.head_weight.device.type
    known = all(block.attention.attention in ATTENTION_FUNCTIONS.values() for block in model.blocks)
    return device == "cuda" and known and not torch.is_autocast_enabled(device)


def recorded_step(model: GPT2, n_steps: int) -> Callable:
    """What `one_token_step` gives, (tokens (B, 1), mask (B, past + 1) or None, cache) -> logits (B, V), from a graph.

    It is recorded when a cache is first seen. When rows leave the batch, others may soon follow: the next recording
    waits until none has for a while, and is not made for a cache that is nearly full.
    """
    simple = one_token_step(model, n_steps)
    storage, fixed, quiet_steps = None, None, 0

    def step(tokens: torch.Tensor, mask: torch.Tensor | None, cache: KVCache) -> torch.Tensor:
        nonlocal storage, fixed, quiet_steps
        if cache.keys is not storage:
            quiet_steps = STEPS_THAT_PAY_FOR_A_GRAPH if storage is None else 0
            storage, fixed = cache.keys, None
        room = cache.capacity - cache.length
        if fixed is None and min(quiet_steps, room) >= STEPS_THAT_PAY_FOR_A_GRAPH:
            fixed = FixedStep(model, cache)
        quiet_steps += 1
        return simple(tokens, mask, cache) if fixed is None else fixed(tokens, mask)

    return step


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all recordings: the libraries keep a workspace for every stream they have seen."""
    return torch.cuda.Stream(device)


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
        device, graph = self.tokens.device, torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            side = _side_stream(device)
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self._run()
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph, stream=side):
                self.logits = self._run()
        return graph
