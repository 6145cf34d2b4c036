"""Faster decoding on CUDA: the hundred kernels of one token are recorded once, and then started together.

In a small model a kernel works for a few microseconds, less than Python needs to start it. A CUDA graph is the
recording of a step; to replay it costs one start. But in a graph every address and every shape is fixed. So the step
reads and writes a cache at its full capacity, where a mask hides what is not filled yet. Its inputs are tensors that
stay where they are and are overwritten before each replay.
"""

import functools
from collections.abc import Callable

import torch

from ..attention import is_ours
from ..kv_cache import KVCache
from ..language_model import Past
from ..models import GPT2
from .one_token import one_token_step

STEPS_THAT_PAY_FOR_A_GRAPH = 8


def can_be_recorded(model: GPT2) -> bool:
    """Whether the step of an unmodified model may become a graph. It may on CUDA, with the attention functions of this
    package, which depend on their arguments only. It may not under autocast: its copies of the weights would be
    recorded, too."""
    device = model.device.type
    known = all(is_ours(block.attention.attend) for block in model.blocks)
    return device == "cuda" and known and not torch.is_autocast_enabled(device)


def recorded_step(model: GPT2, n_steps: int) -> Callable:
    """What `one_token_step` gives, (tokens (B, 1), past) -> logits (B, V), from a graph.

    It is recorded when a cache is first seen. When rows leave the batch, the shapes change, and others may leave soon.
    So it is recorded again only after STEPS_THAT_PAY_FOR_A_GRAPH steps without a change, and only if the cache has
    space for as many more.
    """
    simple = one_token_step(model, n_steps)
    storage, fixed, steps_without_change = None, None, 0

    def step(tokens: torch.Tensor, past: Past) -> torch.Tensor:
        nonlocal storage, fixed, steps_without_change
        cache = past.cache
        if cache.keys is not storage:
            steps_without_change = STEPS_THAT_PAY_FOR_A_GRAPH if storage is None else 0
            storage, fixed = cache.keys, None
        free = cache.capacity - cache.length
        if fixed is None and min(steps_without_change, free) >= STEPS_THAT_PAY_FOR_A_GRAPH:
            fixed = FixedStep(model, cache)
        steps_without_change += 1
        return simple(tokens, past) if fixed is None else fixed(tokens, past)

    return step


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all recordings: the libraries keep a workspace for every stream they have seen."""
    return torch.cuda.Stream(device)


class FixedCache:
    """The storage of a `KVCache` at its full capacity: `append` writes at the position that the tensor `place` holds
    when the step runs, and returns all keys and values, filled or not."""

    length = 0  # the real one is not known while a graph is recorded; it is in `place`

    def __init__(self, cache: KVCache):
        self.place = torch.full((1,), cache.length, device=cache.keys.device)
        self.layers = [FixedLayer(k, v, self.place) for k, v in zip(cache.keys, cache.values, strict=True)]

    def advance(self, n: int) -> None:
        """Do nothing: `FixedStep` advances the cache whose storage this is."""


class FixedLayer:
    """Keys and values (B, H, capacity, D) of one layer."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, place: torch.Tensor):
        self.keys, self.values, self.place = keys, values, place

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys.index_copy_(2, self.place, k)
        self.values.index_copy_(2, self.place, v)
        return self.keys, self.values


class FixedPast(Past):
    """A past at the full capacity of its cache: `real` hides what is not filled yet, too."""

    def real_tokens(self, n: int) -> torch.Tensor:
        return self.real


class FixedStep:
    """(tokens (B, 1), past) -> logits (B, V), for one cache at its full capacity; a graph on CUDA.

    The step writes into the caller's cache, so another way of reading can go on after it. Without CUDA the same step
    runs without being recorded.
    """

    def __init__(self, model: GPT2, cache: KVCache):
        device = cache.keys.device
        self.step = one_token_step(model, n_steps=1)
        self.tokens = torch.zeros(cache.batch_size, 1, dtype=torch.int64, device=device)
        may_look = torch.zeros(cache.batch_size, cache.capacity, dtype=torch.bool, device=device)
        self.fixed = FixedPast(FixedCache(cache), may_look)
        self.graph = self._record() if device.type == "cuda" else None

    def __call__(self, tokens: torch.Tensor, past: Past) -> torch.Tensor:
        n = past.length + 1
        real, may_look = past.real_tokens(n), self.fixed.real
        self.tokens.copy_(tokens)
        self.fixed.cache.place.fill_(past.length)
        may_look[:, :n] = True if real is None else real.bool()
        may_look[:, n:] = False  # a cache that was truncated is shorter than before
        if self.graph is None:
            self.logits = self._run()
        else:
            self.graph.replay()
        past.cache.advance(1)
        return self.logits.clone()  # the next replay writes over it

    def _run(self) -> torch.Tensor:
        return self.step(self.tokens, self.fixed)

    def _record(self) -> torch.cuda.CUDAGraph:
        """Run three times on a side stream, because the libraries prepare themselves in their first calls; then record.
        What this writes into the cache is after its length, where the first real step overwrites it."""
        self.fixed.real[:, 0] = True
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
