"""Look inside a forward pass: hidden states and attention weights, without flags in the model."""

from dataclasses import dataclass

import torch

from .attention import attention_weights
from .models import GPT2
from .models.gpt2 import eval_mode


@dataclass(frozen=True)
class Trace:
    """What one forward pass computed.

    embeddings (B, T, C): token + position. hidden_states[i] (B, T, C): the residual stream after block i, before the
    final norm (Hugging Face's tuple starts with the embeddings and has its last entry *after* the final norm).
    attention_weights[i] (B, H, T, T). logits (B, T, V).
    """

    embeddings: torch.Tensor
    hidden_states: list[torch.Tensor]
    attention_weights: list[torch.Tensor]
    logits: torch.Tensor


@torch.no_grad()
def trace(model: GPT2, tokens: torch.Tensor, attention_mask=None, position_ids=None) -> Trace:
    """Run the model (in eval mode) and keep what it computes. Arguments and errors as in `GPT2.hidden`.

    Works for explicit and sdpa models alike: for the length of the call, every layer's attention function is swapped
    for one that computes the same and records its weights.
    """
    embeddings, hidden_states, weights = [], [], []

    def recording_attention(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
        weights.append(attention_weights(q, k, mask, causal, bias, scale))
        return weights[-1] @ v

    layers = [block.attention for block in model.blocks]
    originals = [layer.attention for layer in layers]
    hooks = [model.blocks[0].register_forward_pre_hook(lambda block, inputs: embeddings.append(inputs[0]))]
    hooks += [b.register_forward_hook(lambda block, inputs, output: hidden_states.append(output)) for b in model.blocks]
    try:
        for layer in layers:
            layer.attention = recording_attention
        with eval_mode(model):
            logits = model(tokens, attention_mask, position_ids)
    finally:
        for layer, original in zip(layers, originals, strict=True):
            layer.attention = original
        for hook in hooks:
            hook.remove()
    return Trace(embeddings[0], hidden_states, weights, logits)
