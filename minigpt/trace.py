"""Look inside a forward pass, without flags in the model: what each layer computed, and the gradients of a loss with
respect to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import torch
from torch import nn

from .attention import MultiHeadAttention, attention_weights, is_ours, repeat_key_heads
from .language_model import eval_mode


@dataclass(frozen=True)
class AttentionTrace:
    """What one attention computed, head by head.

    queries (B, H, T, D), keys and values (B, H_kv, S, D): what the attention function got, in a Llama after the
    rotation. weights (B, H, T, S). heads (B, H, T, D): for each query a mean of the values; the layer `output` reads
    them side by side. Of an attention function that is not minigpt's, weights cannot be known and are None, and it gets
    as many key heads as query heads.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    weights: torch.Tensor | None
    heads: torch.Tensor


@dataclass(frozen=True)
class Trace:
    """What one forward pass computed.

    embeddings (B, T, C): what the first block reads. Then for block i:
        attention[i]        its attention, head by head; attention_weights[i] (B, H, T, T) are its weights
        after_attention[i]  (B, T, C): the stream between attention and MLP; in a Bert after the norm that stands there
        mlp_outputs[i]      (B, T, C): what the MLP adds to it; both are None for a block without our `MLP` and norms
        hidden_states[i]    (B, T, C): what the block gives to the next one, before a final norm (Hugging Face's tuple
                            starts with the embeddings and has its last entry *after* that norm)
    logits (B, T, V); None for an encoder, and for a Bert without a head.

    Of a T5 all this is the decoder's; cross_attention[i] and cross_attention_weights[i] (B, H, T, S) say where in the
    source it looked, and encoder is the Trace of the encoder. They are None for other models.
    """

    embeddings: torch.Tensor
    hidden_states: list[torch.Tensor]
    attention: list[AttentionTrace]
    after_attention: list[torch.Tensor | None]
    mlp_outputs: list[torch.Tensor | None]
    logits: torch.Tensor | None
    cross_attention: list[AttentionTrace] | None = None
    encoder: Trace | None = None

    @property
    def attention_weights(self) -> list[torch.Tensor | None]:
        return [layer.weights for layer in self.attention]

    @property
    def cross_attention_weights(self) -> list[torch.Tensor | None] | None:
        return None if self.cross_attention is None else [layer.weights for layer in self.cross_attention]


@torch.no_grad()
def trace(model: nn.Module, *inputs, **named_inputs) -> Trace:
    """Run a model (in eval mode) and keep what it computes; inputs and errors are those of model(...).

    Works for every model whose blocks have a `MultiHeadAttention`, and for every attention function: each layer still
    calls its own, and the weights are computed beside it. Raises ValueError for a model without such a block.
    """
    return _run(model, inputs, named_inputs)


def trace_with_gradients(model: nn.Module, *inputs, loss: Callable, **named_inputs) -> tuple[Trace, Trace]:
    """`trace`, and a second Trace of the same shapes: the gradients of a loss with respect to the tensors of the first.

        seen, gradients = trace_with_gradients(model, tokens, loss=lambda logits: next_token_loss(logits, tokens))
        gradients.attention[2].weights  # how the loss changes with each weight of layer 2

    loss gets the logits (without logits, the last hidden states) and returns one number. A tensor's gradient says how
    the loss changes when that tensor alone is changed and all after it is computed again. So that attention weights
    have gradients, too, minigpt's attention functions are computed as weights @ values. Gradients of parameters are
    left as they are. Raises ValueError as `trace` does, and for a loss that is no function or does not return a number
    that depends on the logits.
    """
    if not callable(loss):
        raise ValueError(f"loss must be a function of the logits that returns one number, got {loss!r:.80}")
    with torch.inference_mode(False), torch.enable_grad():
        seen = _run(model, inputs, named_inputs)
        value = loss(seen.hidden_states[-1] if seen.logits is None else seen.logits)
        tensors = []
        _each(tensors.append, seen)
        is_number = isinstance(value, torch.Tensor) and value.numel() == 1 and value.requires_grad
        found = torch.autograd.grad(value, tensors, allow_unused=True) if is_number else []
        if all(gradient is None for gradient in found):
            wanted = "one number that depends on the logits, as a tensor"
            raise ValueError(f"loss must return {wanted}; it returned {value!r:.80}")
    gradients = zip(tensors, found, strict=True)
    gradients = (torch.zeros_like(tensor) if gradient is None else gradient for tensor, gradient in gradients)
    return _each(torch.detach, seen), _each(lambda tensor: next(gradients), seen)


def _each(change: Callable, part):
    """A Trace, or a part of one, with change(tensor) in the place of each tensor."""
    if isinstance(part, torch.Tensor):
        return change(part)
    if isinstance(part, list):
        return [_each(change, one) for one in part]
    if isinstance(part, Trace | AttentionTrace):
        return replace(part, **{field.name: _each(change, getattr(part, field.name)) for field in fields(part)})
    return part


def _run(model: nn.Module, inputs, named_inputs) -> Trace:
    blocks = [part for part in model.modules() if _attention_of(part)]
    if not blocks:
        raise ValueError(f"trace needs a model with MultiHeadAttention in it, got {type(model).__name__}")
    has_logits = getattr(model, "head", model) is not None  # a Bert may be without a head
    with _noted(blocks) as (read, wrote, attended), eval_mode(model):
        answer = (model if has_logits else model.hidden)(*inputs, **named_inputs)

    def after_attention(block):
        norms = [_part(block, name) for name in ("attention_norm", "mlp_norm")]
        if None in norms:
            return None
        pre_norm = read[norms[0]] is read[block]
        return read[norms[1]] if pre_norm else wrote[norms[0]]

    def seen(blocks, logits=None, **more) -> Trace:
        return Trace(
            embeddings=read[blocks[0]],
            hidden_states=[wrote[block] for block in blocks],
            attention=[attended[_attention_of(block)[0]] for block in blocks],
            after_attention=[after_attention(block) for block in blocks],
            mlp_outputs=[wrote.get(_part(block, "mlp.down")) for block in blocks],
            logits=logits,
            **more,
        )

    logits = answer if has_logits else None
    decoder = [block for block in blocks if len(_attention_of(block)) > 1]
    if not decoder:
        return seen(blocks, logits)
    encoder = [block for block in blocks if block not in decoder]
    cross = [attended[_attention_of(block)[1]] for block in decoder]
    return seen(decoder, logits, cross_attention=cross, encoder=seen(encoder) if encoder else None)


@contextmanager
def _noted(blocks: list[nn.Module]) -> Iterator[tuple[dict, dict, dict]]:
    """Inside, three dictionaries are filled: what the parts of these blocks read and wrote (module -> tensor), and the
    AttentionTrace of each attention. Afterwards the model is as it was."""
    read, wrote, attended = {}, {}, {}
    parts = [_part(block, name) for block in blocks for name in ("", "attention_norm", "mlp_norm", "mlp.down")]
    parts = [part for part in parts if part is not None]
    own = {layer: layer.attend for block in blocks for layer in _attention_of(block)}

    def note_input(part, inputs):
        x = inputs[0]
        if torch.is_grad_enabled() and not x.requires_grad:
            x = x.detach().requires_grad_()  # all before it is frozen: gradients begin here
        read[part] = x
        return x, *inputs[1:]

    def note_output(part, inputs, output):
        wrote[part] = output

    hooks = [part.register_forward_pre_hook(note_input) for part in parts]
    hooks += [part.register_forward_hook(note_output) for part in parts]
    try:
        for layer, attend in own.items():
            vars(layer)["attend"] = _noting(layer, attend, attended)  # in vars: `attend` may be a module
        yield read, wrote, attended
    finally:
        for layer, attend in own.items():
            vars(layer).pop("attend", None)
            layer.attend = attend
        for hook in hooks:
            hook.remove()


def _noting(layer: MultiHeadAttention, attend: Callable, attended: dict) -> Callable:
    """The attention function of a layer, which also puts what it computes into `attended`."""

    def attend_and_note(q, k, v, dropout=0.0, **masks_and_scale):
        weights = None
        if is_ours(attend):
            copies = k.size(1) // layer.n_kv_head  # the layer has repeated them for a function that it does not know
            k, v = k[:, ::copies], v[:, ::copies]
            weights = attention_weights(q, k, **masks_and_scale)
        if weights is not None and torch.is_grad_enabled():
            heads = weights @ repeat_key_heads(v, layer.n_head)
        else:
            heads = attend(q, k, v, dropout=dropout, **masks_and_scale)
        attended[layer] = AttentionTrace(q, k, v, weights, heads)
        return heads

    return attend_and_note


def _part(block: nn.Module, name: str) -> nn.Module | None:
    """The part of a block with this name ("": the block itself), None where there is none."""
    try:
        return block.get_submodule(name)
    except AttributeError:
        return None


def _attention_of(part: nn.Module) -> list[MultiHeadAttention]:
    """The attention of a block: one, or in a decoder's its self attention and its cross attention."""
    return [child for child in part.children() if isinstance(child, MultiHeadAttention)]
