"""GPT-2's decoding step without its modules: what GPT2.hidden and GPT2.logits do to one new token a row, in one loop.

In a small model calling the modules takes longer than the arithmetic: decoding the built-in model through the modules
takes about twice as long. The formulas are those of gpt2.py and attention.py, where they are
explained; a change there is made here, too (tests/test_one_token.py compares the two to the last bits).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..attention import padding_mask
from ..language_model import Past
from ..models import GPT2
from ..models.gpt2 import Block
from ..positions import position_ids_for
from .loss_without_logits import head_weight
from .one_row_products import product


def gpt2_step(model: GPT2, n_steps: int) -> Callable:
    """A function (tokens (B, 1), past) -> logits (B, V) that reads one more token.

    The model must be unmodified (`is_unmodified_throughout`); it computes as in eval mode. Nothing is checked: ids and
    past must be right. The step uses the parameters that the model has when the step is made; the numbers in them may
    change later. n_steps is how often it will be called: if often, `product` copies large matrices.
    """
    c = model.config
    token_embedding, position_embedding = model.token_embedding.weight, model.position_embedding.weight
    layers = [_parts(block, n_steps) for block in model.blocks]
    final_norm, logits_of = _norm(model.final_norm), product(head_weight(model), None, n_steps)
    layer_norm = F.layer_norm

    def step(tokens: torch.Tensor, past: Past) -> torch.Tensor:
        cache, real = past.cache, past.real_tokens(past.length + 1)
        positions = cache.length if real is None else position_ids_for(real, 0, tokens)[:, 0]
        mask = None if real is None else padding_mask(real)
        heads = (len(tokens), c.n_head, 1, c.n_embd // c.n_head)  # (B, H, T = 1, D)
        x = F.embedding(tokens[:, 0], token_embedding) + position_embedding[positions]  # (B, C)
        for layer, parts in zip(cache.layers, layers, strict=True):
            attention, norm1, query, key, value, output, norm2, up, mlp, down = parts
            normed = layer_norm(x, *norm1)
            k, v = layer.append(key(normed).view(heads), value(normed).view(heads))
            attended = attention.attend(query(normed).view(heads), k, v, mask=mask, scale=attention.scale)
            x = x + output(attended.reshape(x.shape))
            x = x + down(mlp.activation(up(layer_norm(x, *norm2))))
        cache.advance(1)
        return logits_of(layer_norm(x, *final_norm))

    return step


def _parts(block: Block, n_steps: int) -> tuple:
    a, mlp = block.attention, block.mlp
    linears = (a.query, a.key, a.value, a.output, mlp.up, mlp.down)
    query, key, value, output, up, down = (product(part.weight, part.bias, n_steps) for part in linears)
    norm1, norm2 = _norm(block.attention_norm), _norm(block.mlp_norm)
    return a, norm1, query, key, value, output, norm2, up, mlp, down


def _norm(norm: nn.LayerNorm) -> tuple:
    return norm.normalized_shape, norm.weight, norm.bias, norm.eps
