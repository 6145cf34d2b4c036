"""Look inside a forward pass: hidden states and attention weights, without flags in the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .attention import MultiHeadAttention, attention_weights, is_ours
from .language_model import eval_mode


@dataclass(frozen=True)
class Trace:
    """What one forward pass computed.

    embeddings (B, T, C): what the first block reads. hidden_states[i] (B, T, C): what block i gives to the next,
    before a final norm (Hugging Face's tuple starts with the embeddings and has its last entry *after* that norm).
    attention_weights[i] (B, H, T, T), None where the layer has an attention function that is not minigpt's: its weights
    cannot be known. logits (B, T, V); None for an encoder, and for a Bert without a head.

    Of a T5 all this is the decoder's; cross_attention_weights[i] (B, H, T, S) say where in the source it looked, and
    encoder is the Trace of the encoder. Both are None for other models.
    """

    embeddings: torch.Tensor
    hidden_states: list[torch.Tensor]
    attention_weights: list[torch.Tensor | None]
    logits: torch.Tensor | None
    cross_attention_weights: list[torch.Tensor | None] | None = None
    encoder: Trace | None = None


@torch.no_grad()
def trace(model: nn.Module, *inputs, **named_inputs) -> Trace:
    """Run a model (in eval mode) and keep what it computes; inputs and errors are those of model(...).

    Works for every model whose blocks have a `MultiHeadAttention`, and for every attention function: each layer still
    calls its own, and the weights are computed beside it. Raises ValueError for a model without such a block.
    """
    blocks = [part for part in model.modules() if _attention_of(part)]
    if not blocks:
        raise ValueError(f"trace needs a model with MultiHeadAttention in it, got {type(model).__name__}")
    layers = [layer for block in blocks for layer in _attention_of(block)]
    entered, left, weights = {}, {}, dict.fromkeys(layers)
    own = [layer.attend for layer in layers]

    def listening(layer, attend):
        def attend_and_note(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
            weights[layer] = attention_weights(q, k, mask, causal, bias, scale)
            return attend(q, k, v, mask=mask, causal=causal, bias=bias, scale=scale, dropout=dropout)

        return attend_and_note

    hooks = [b.register_forward_pre_hook(lambda block, inputs: entered.update({block: inputs[0]})) for b in blocks]
    hooks += [b.register_forward_hook(lambda block, inputs, output: left.update({block: output})) for b in blocks]
    try:
        for layer in layers:
            if is_ours(layer.attend):
                layer.attend = listening(layer, layer.attend)
        with eval_mode(model):
            has_logits = getattr(model, "head", model) is not None  # a Bert may be without a head
            answer = (model if has_logits else model.hidden)(*inputs, **named_inputs)
    finally:
        for layer, attend in zip(layers, own, strict=True):
            layer.attend = attend
        for hook in hooks:
            hook.remove()

    def seen(blocks, logits=None, **more) -> Trace:
        own_weights = [weights[_attention_of(block)[0]] for block in blocks]
        return Trace(entered[blocks[0]], [left[block] for block in blocks], own_weights, logits, **more)

    logits = answer if has_logits else None
    decoder = [block for block in blocks if len(_attention_of(block)) > 1]
    if not decoder:
        return seen(blocks, logits)
    encoder = [block for block in blocks if block not in decoder]
    cross = [weights[_attention_of(block)[1]] for block in decoder]
    return seen(decoder, logits, cross_attention_weights=cross, encoder=seen(encoder) if encoder else None)


def _attention_of(part: nn.Module) -> list[MultiHeadAttention]:
    """The attention of a block: one, or in a decoder's its self attention and its cross attention."""
    return [child for child in part.children() if isinstance(child, MultiHeadAttention)]
