"""One more token through a decoder, without calling its modules: what `hidden` and `logits` of GPT2, Llama and T5 do to
a single token a row.

In a small model calling the modules takes longer than the arithmetic. The formulas are those of models/, layers.py and
attention.py, where they are explained; a change there is made here, too (tests/test_one_token.py compares the two to
the last bits).
"""

from collections.abc import Callable
from itertools import count

import torch
import torch.nn.functional as F
from torch import nn

from ..attention import MultiHeadAttention, is_ours, padding_mask, repeat_key_heads
from ..language_model import Past
from ..layers import MLP, GatedMLP
from ..models import GPT2, T5, Llama
from ..positions import position_ids_for, rotary_rates, rotation
from .loss_without_logits import head_weight
from .products import joint_product, product


def one_token_step(model: GPT2 | Llama | T5, n_steps: int) -> Callable:
    """A function (tokens (B, 1), past) -> logits (B, V) that reads one more token.

    The model must be unmodified (`is_unmodified_throughout`); it computes as in eval mode. Nothing is checked: ids and
    past must be right. The step uses the parameters that the model has when the step is made; the numbers in them may
    change later. n_steps is how often it will be called: if often, `product` copies large matrices.
    """
    inputs = INPUTS[type(model)](model)
    decoder = model.decoder if isinstance(model, T5) else model
    blocks = [
        (
            _attention(block.attention_norm, block.attention, n_steps),
            _cross_attention(block.cross_norm, block.cross_attention, n_steps) if isinstance(model, T5) else None,
            _mlp(block.mlp_norm, block.mlp, n_steps),
        )
        for block in decoder.blocks
    ]
    final_norm, head = _norm(decoder.final_norm), product(head_weight(model), None, n_steps)
    scale = model.config.d_model**-0.5 if getattr(model.config, "scale_decoder_outputs", False) else None

    def step(tokens: torch.Tensor, past: Past) -> torch.Tensor:
        cache, real = past.cache, past.real_tokens(past.length + 1)
        mask = None if real is None else padding_mask(real)
        x, rotate, bias = inputs(tokens, past, real)  # (B, C)
        for number, layer, (attention, cross_attention, mlp) in zip(count(), cache.layers, blocks, strict=False):
            x = x + attention(x, layer, mask, rotate, bias)
            if cross_attention is not None:
                x = x + cross_attention(x, *past.source.keys_values[number], past.source.mask)
            x = x + mlp(x)
        cache.advance(1)
        x = final_norm(x)
        return head(x if scale is None else x * scale)

    return step


# --- what the first block gets: x (B, C), and how attention learns where the token is --------------------------------


def _gpt2_inputs(model: GPT2) -> Callable:
    token_embedding, position_embedding = model.token_embedding.weight, model.position_embedding.weight

    def inputs(tokens, past, real):
        positions = past.length if real is None else position_ids_for(real, 0, tokens)[:, 0]
        return F.embedding(tokens[:, 0], token_embedding) + position_embedding[positions], None, None

    return inputs


def _llama_inputs(model: Llama) -> Callable:
    c, embedding = model.config, model.token_embedding.weight
    angle_dtype = torch.promote_types(embedding.dtype, torch.float32)
    d_head = model.blocks[0].attention.d_head
    rates = rotary_rates(d_head, c.rope_theta, c.rope_scaling, embedding.device, angle_dtype)

    def inputs(tokens, past, real):
        positions = position_ids_for(real, past.length, tokens[:1] if real is None else tokens)
        return F.embedding(tokens[:, 0], embedding), rotation(positions, rates, embedding.dtype), None

    return inputs


def _t5_inputs(model: T5) -> Callable:
    embedding, max_distance = model.token_embedding.weight, model.config.relative_attention_max_distance

    def inputs(tokens, past, real):
        bias = model.decoder.bias(1, past.length + 1, max_distance, causal=True)  # (1, H, 1, n)
        return F.embedding(tokens[:, 0], embedding), None, bias

    return inputs


INPUTS = {GPT2: _gpt2_inputs, Llama: _llama_inputs, T5: _t5_inputs}


# --- the parts of a block: x (B, C) -> what is added to x ------------------------------------------------------------


def _attention(norm: nn.Module, attention: MultiHeadAttention, n_steps: int) -> Callable:
    a, normalise = attention, _norm(norm)
    queries_keys_values = joint_product((a.query, a.key, a.value), n_steps)
    output = _product(a.output, n_steps)

    def answer(x, layer, mask, rotate, bias):
        rows = x.size(0)
        q, k, v = queries_keys_values(normalise(x))
        q = q.view(rows, a.n_head, 1, a.d_head)  # (B, H, T = 1, D)
        k, v = k.view(rows, a.n_kv_head, 1, a.d_head), v.view(rows, a.n_kv_head, 1, a.d_head)
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        k, v = layer.append(k, v)
        if a.n_kv_head < a.n_head and not is_ours(a.attend):
            k, v = repeat_key_heads(k, a.n_head), repeat_key_heads(v, a.n_head)
        return output(a.attend(q, k, v, mask=mask, bias=bias, scale=a.scale).reshape(rows, -1))

    return answer


def _cross_attention(norm: nn.Module, attention: MultiHeadAttention, n_steps: int) -> Callable:
    a, normalise = attention, _norm(norm)
    query, output = _product(a.query, n_steps), _product(a.output, n_steps)

    def answer(x, k, v, mask):
        q = query(normalise(x)).view(x.size(0), a.n_head, 1, a.d_head)
        return output(a.attend(q, k, v, mask=mask, scale=a.scale).reshape(x.size(0), -1))

    return answer


def _mlp(norm: nn.Module, mlp: MLP, n_steps: int) -> Callable:
    normalise, activation, down = _norm(norm), mlp.activation, _product(mlp.down, n_steps)
    if not isinstance(mlp, GatedMLP):
        up = _product(mlp.up, n_steps)
        return lambda x: down(activation(up(normalise(x))))
    gate_and_up = joint_product((mlp.gate, mlp.up), n_steps)

    def answer(x):
        gate, up = gate_and_up(normalise(x))
        return down(activation(gate) * up)

    return answer


def _product(linear: nn.Linear, n_steps: int) -> Callable:
    return product(linear.weight, linear.bias, n_steps)


def _norm(norm: nn.Module) -> Callable:
    shape, weight, eps = norm.weight.shape, norm.weight, norm.eps
    if isinstance(norm, nn.LayerNorm):
        return lambda x: torch.layer_norm(x, shape, weight, norm.bias, eps)
    return lambda x: F.rms_norm(x, shape, weight, eps)
