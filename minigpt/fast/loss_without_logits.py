"""A model and its loss as one module: what training differentiates and scoring asks, the logits left out."""

import torch
from torch import nn
from torch.nn.modules import module as hooks_for_all

from ..loss import linear_cross_entropy, next_token_loss, next_token_targets
from ..models import GPT2


class LanguageModelLoss(nn.Module):
    """(tokens, labels), each (B, T), -> the `next_token_loss` of a model's logits.

    The model is any module that turns (B, T) ids into (B, T, V) logits. Of a GPT2 the logits are never all in memory:
    its hidden states and its head go to `linear_cross_entropy`, those of scored positions only. A subclass with another
    head, or a model with hooks on it as a whole, is asked for logits like any other module. compile=True compiles it.
    """

    def __init__(self, model: nn.Module, compile: bool = False):
        super().__init__()
        self.model = model
        ways = {"logits": model, "hidden": getattr(model, "hidden", None)}
        self.ways = {name: torch.compile(way) if compile and way else way for name, way in ways.items()}

    def forward(self, tokens, labels, reduction="mean", num_items=None, **inputs) -> torch.Tensor:
        """Arguments as in `next_token_loss`; further inputs, such as segment_ids or attention_mask, go to the model."""
        mask = inputs.get("attention_mask")
        if not _logits_are_hidden_times_head(self.model):
            logits = self.ways["logits"](tokens, **inputs)
            return next_token_loss(logits, labels, mask, reduction=reduction, num_items=num_items)
        hidden, targets = self.ways["hidden"](tokens, **inputs)[:, :-1], next_token_targets(labels, mask)
        head = self.model.head_weight
        return linear_cross_entropy(hidden, head, targets, reduction=reduction, num_items=num_items)


def _logits_are_hidden_times_head(model: nn.Module) -> bool:
    return (
        isinstance(model, GPT2)
        and (type(model).forward, type(model).logits) == (GPT2.forward, GPT2.logits)
        and not {"forward", "logits"} & vars(model).keys()
        and not (model._forward_hooks or model._forward_pre_hooks or model._backward_hooks)
        and not (hooks_for_all._global_forward_hooks or hooks_for_all._global_forward_pre_hooks)
    )
