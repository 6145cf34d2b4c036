"""Which model has a fast way to read one token, and when it may be taken."""

from collections.abc import Callable

import torch

from ..language_model import Past
from ..models import GPT2
from .cuda_graph import can_be_recorded, recorded_step
from .one_token import gpt2_step
from .switch import is_on
from .unmodified import is_unmodified_throughout, watch


def _make_gpt2_step(model: GPT2, n_steps: int) -> Callable:
    return (recorded_step if can_be_recorded(model) else gpt2_step)(model, n_steps)


# The exact class of a model -> what makes its step, (model, n_steps) -> ((tokens, past) -> logits).
STEPS = {GPT2: _make_gpt2_step}


def fast_reader(model, n_steps: int, plain: Callable) -> Callable:
    """`plain`, (unread (B, T), past) -> logits (B, V), except for a single token after a cache, which goes the fast way
    if it may: if the model is what its file says, at this very step.

    n_steps is about how often a token is going to be read. A step works with the parts and parameters that the model
    had when it was made; when these are others, the question is asked again and another step is made.
    """
    make = STEPS.get(type(model))
    if make is None:
        return plain
    step, unchanged = None, None

    def read(unread: torch.Tensor, past: Past) -> torch.Tensor:
        nonlocal step, unchanged
        if unread.size(1) > 1 or past.cache is None or not is_on():
            return plain(unread, past)
        if step is None or not unchanged():
            step = None
            if not is_unmodified_throughout(model):
                return plain(unread, past)
            step, unchanged = make(model, n_steps), watch(model)
        return step(unread, past).float()

    return read
