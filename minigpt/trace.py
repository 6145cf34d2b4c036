"""Look inside a forward pass: hidden states and attention weights, without flags in the model."""

from dataclasses import dataclass

import torch
from torch import nn

from .attention import MultiHeadAttention, attention_weights, is_ours
from .language_model import eval_mode


@dataclass(frozen=True)
class Trace:
    """What one forward pass computed.

    embeddings (B, T, C): what the first block reads, token + position. hidden_states[i] (B, T, C): the residual stream
    after block i, before the final norm (Hugging Face's tuple starts with the embeddings and has its last entry *after*
    the final norm). attention_weights[i] (B, H, T, T), None where the layer attends by a function that is not ours:
    nobody can know which weights it uses, if any. logits (B, T, V).
    """

    embeddings: torch.Tensor
    hidden_states: list[torch.Tensor]
    attention_weights: list[torch.Tensor | None]
    logits: torch.Tensor


@torch.no_grad()
def trace(model: nn.Module, *inputs, **named_inputs) -> Trace:
    """Run a model (in eval mode) and keep what it computes; inputs and errors are those of model(...).

    Works for every model whose blocks have a `MultiHeadAttention`, and for every attention function: each layer goes on
    attending by its own, and is only listened to. Raises ValueError for a model without such a block.
    """
    blocks = [part for part in model.modules() if any(isinstance(p, MultiHeadAttention) for p in part.children())]
    layers = [part for part in model.modules() if isinstance(part, MultiHeadAttention)]
    if not blocks:
        raise ValueError(f"trace needs a model with MultiHeadAttention in it, got {type(model).__name__}")
    embeddings, hidden_states, weights = [], [], [None] * len(layers)
    own = [layer.attend for layer in layers]

    def listening(number, attend):
        def attend_and_note(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
            weights[number] = attention_weights(q, k, mask, causal, bias, scale)
            return attend(q, k, v, mask=mask, causal=causal, bias=bias, scale=scale, dropout=dropout)

        return attend_and_note

    hooks = [blocks[0].register_forward_pre_hook(lambda block, inputs: embeddings.append(inputs[0]))]
    hooks += [b.register_forward_hook(lambda block, inputs, output: hidden_states.append(output)) for b in blocks]
    try:
        for number, layer in enumerate(layers):
            if is_ours(layer.attend):
                layer.attend = listening(number, layer.attend)
        with eval_mode(model):
            logits = model(*inputs, **named_inputs)
    finally:
        for layer, attend in zip(layers, own, strict=True):
            layer.attend = attend
        for hook in hooks:
            hook.remove()
    return Trace(embeddings[0], hidden_states, weights, logits)
