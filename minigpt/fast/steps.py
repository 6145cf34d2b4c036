"""Which model has a fast way to read one token, and when it may be taken."""

from collections.abc import Callable

import torch

from ..language_model import Past
from ..models import GPT2, T5, Llama
from .cuda_graph import can_be_recorded, recorded_step
from .one_token import one_token_step
from .switch import is_on
from .unmodified import is_unmodified_throughout, watch


def _gpt2_step(model: GPT2, n_steps: int) -> Callable:
    return (recorded_step if can_be_recorded(model) else one_token_step)(model, n_steps)


# The exact class of a model -> what makes its step, (model, n_steps) -> ((tokens, past) -> logits).
STEPS = {GPT2: _gpt2_step, Llama: one_token_step, T5: one_token_step}


def fast_reader(model, n_steps: int, plain: Callable) -> Callable:
    """A function (unread (B, T), past) -> logits (B, V): `plain`, but a single token with a cache is read the fast way,
    if the model is unmodified (`is_unmodified_throughout`) at that moment.

    n_steps is about how often a token will be read. A fast step uses the parts and parameters that the model had when
    it was made. When the model has got others, it is checked again and another step is made.
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
