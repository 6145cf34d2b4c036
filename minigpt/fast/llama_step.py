"""Llama's decoding step without its modules, as one_token.py does it for GPT-2: the formulas are those of llama.py."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ..attention import is_ours, padding_mask, repeat_key_heads
from ..language_model import Past
from ..layers import RMSNorm
from ..models import Llama
from ..models.llama import Block
from ..positions import position_ids_for, rotary_rates, rotation
from .loss_without_logits import head_weight
from .one_row_products import product


def llama_step(model: Llama, n_steps: int) -> Callable:
    """A function (tokens (B, 1), past) -> logits (B, V) that reads one more token, as `gpt2_step`."""
    c, embedding = model.config, model.token_embedding.weight
    first = model.blocks[0].attention
    n_head, n_kv_head, d_head = first.n_head, first.n_kv_head, first.d_head
    angle_dtype = torch.promote_types(embedding.dtype, torch.float32)
    rates = rotary_rates(d_head, c.rope_theta, c.rope_scaling, embedding.device, angle_dtype)
    layers = [_parts(block, n_steps) for block in model.blocks]
    final_norm, logits_of = _norm(model.final_norm), product(head_weight(model), None, n_steps)

    def step(tokens: torch.Tensor, past: Past) -> torch.Tensor:
        cache, real = past.cache, past.real_tokens(past.length + 1)
        positions = position_ids_for(real, past.length, tokens[:1] if real is None else tokens)
        rotate = rotation(positions, rates, embedding.dtype)
        mask = None if real is None else padding_mask(real)
        rows = len(tokens)
        x = F.embedding(tokens[:, 0], embedding)  # (B, C)
        for layer, parts in zip(cache.layers, layers, strict=True):
            attention, norm1, query, key, value, output, norm2, gate, up, down, activation = parts
            normed = norm1(x)
            q, k = rotate(query(normed).view(rows, n_head, 1, d_head)), key(normed).view(rows, n_kv_head, 1, d_head)
            k, v = layer.append(rotate(k), value(normed).view(rows, n_kv_head, 1, d_head))
            if n_kv_head < n_head and not is_ours(attention.attend):
                k, v = repeat_key_heads(k, n_head), repeat_key_heads(v, n_head)
            attended = attention.attend(q, k, v, mask=mask, scale=attention.scale)
            x = x + output(attended.reshape(rows, -1))
            normed = norm2(x)
            x = x + down(activation(gate(normed)) * up(normed))
        cache.advance(1)
        return logits_of(final_norm(x))

    return step


def _parts(block: Block, n_steps: int) -> tuple:
    a, mlp = block.attention, block.mlp
    linears = (a.query, a.key, a.value, a.output, mlp.gate, mlp.up, mlp.down)
    query, key, value, output, gate, up, down = (product(part.weight, part.bias, n_steps) for part in linears)
    norm1, norm2 = _norm(block.attention_norm), _norm(block.mlp_norm)
    return a, norm1, query, key, value, output, norm2, gate, up, down, mlp.activation


def _norm(norm: RMSNorm) -> Callable:
    weight, shape, eps = norm.weight, norm.weight.shape, norm.eps
    return lambda x: F.rms_norm(x, shape, weight, eps)
