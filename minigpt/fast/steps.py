"""Which model has a fast way to read one token, and when it may be taken."""

from collections.abc import Callable

import torch

from ..language_model import Past
from ..models import GPT2
from .cuda_graph import can_be_recorded, recorded_step
from .one_token import gpt2_step
from .switch import is_on
from .unmodified import is_unmodified_throughout, parts


def _make_gpt2_step(model: GPT2, n_steps: int) -> Callable:
    return (recorded_step if can_be_recorded(model) else gpt2_step)(model, n_steps)


# The exact class of a model -> what makes its step, (model, n_steps) -> ((tokens, past) -> logits).
STEPS = {GPT2: _make_gpt2_step}


def fast_reader(model, n_steps: int, plain: Callable) -> Callable:
    """`plain`, (unread (B, T), past) -> logits (B, V), except for a single token after a cache, which goes the fast way
    if it may: if the model is what its file says, at this very step.

    n_steps is about how often a token is going to be read. Steps work with the weights that the model had when they
    were made, so new ones are made when other weights have come.
    """
    make = STEPS.get(type(model))
    if make is None:
        return plain
    step, made_for = None, None

    def read(unread: torch.Tensor, past: Past) -> torch.Tensor:
        nonlocal step, made_for
        if unread.size(1) > 1 or past.cache is None or not is_on() or not is_unmodified_throughout(model):
            return plain(unread, past)
        weights = _weights(model)
        if weights != made_for:
            step, made_for = make(model, n_steps), weights
        return step(unread, past).float()

    return read


def _weights(model) -> list:
    """Where the weights are in memory, and how often they were written to: a copy made of them may be out of date."""
    tensors = [tensor for part in parts(model) for tensor in part._parameters.values() if tensor is not None]
    return [(tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]
