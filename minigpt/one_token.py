"""The decoding step written flat: what GPT2.hidden and GPT2.logits do to one new token a row, in one loop.

In a small model the way from module to module and back takes longer than the arithmetic: decoding the built-in model
through the modules takes about twice as long. The formulas are those of gpt2.py and attention.py, where they are
explained; whoever changes them there changes them here (tests/test_one_token.py compares the two to the last bits).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as hooks_for_all

from .attention import MultiHeadAttention, padding_mask
from .gpt2 import GPT2, MLP, Block, position_ids_for
from .kv_cache import KVCache

_KNOWN = {GPT2, Block, MLP, MultiHeadAttention, nn.ModuleList, nn.Linear, nn.LayerNorm, nn.Embedding, nn.Dropout}
# As they were when this file was read: `is_plain` sees when somebody has patched a class since.
_METHODS = (GPT2.hidden, GPT2.logits, Block.forward, MLP.forward, MultiHeadAttention.forward)

STEPS_THAT_PAY_FOR_A_COPY = 64


def is_plain(model: nn.Module) -> bool:
    """Whether the model computes what gpt2.py says and nobody listens: no hooks, no exchanged part or method.

    Anything else, an ablation, an adapter, a subclass, has to go through the modules.
    """
    listened_to = hooks_for_all._global_forward_hooks or hooks_for_all._global_forward_pre_hooks
    methods = (GPT2.hidden, GPT2.logits, Block.forward, MLP.forward, MultiHeadAttention.forward)
    return (
        isinstance(model, GPT2)
        and not listened_to
        and methods == _METHODS
        and not {"hidden", "logits"} & vars(model).keys()
        and all(
            type(part) in _KNOWN
            and not part._forward_hooks
            and not part._forward_pre_hooks
            and "forward" not in vars(part)
            for part in model.modules()
        )
    )


def one_token_step(model: GPT2, n_steps: int) -> Callable:
    """A function (tokens (B, 1), mask (B, past + 1) or None, cache) -> logits (B, V) that reads one token behind the
    cache, for a plain model in eval mode; mask as in `GPT2.hidden`. It checks nothing: ids and mask are to be right.

    It works with the parameters that the model has when it is made. n_steps is how often it is going to be called:
    where that pays, the head is copied into (C, V) order. V dot products as short as C read memory at a third of its
    speed, C long rows to add up at all of it. (Not in half precision: see `pretrained`.)
    """
    c, head = model.config, model.head_weight
    in_half = head.dtype in (torch.float16, torch.bfloat16)
    if n_steps >= STEPS_THAT_PAY_FOR_A_COPY and head.device.type == "cpu" and not in_half:
        head = head.t().contiguous().t()
    token_embedding, position_embedding = model.token_embedding.weight, model.position_embedding.weight
    layers = [_parameters(block) for block in model.blocks]
    final_norm = _norm(model.final_norm)

    def step(tokens: torch.Tensor, mask: torch.Tensor | None, cache: KVCache) -> torch.Tensor:
        positions = cache.length if mask is None else position_ids_for(mask, 0, tokens)[:, 0]
        allowed = None if mask is None else padding_mask(mask)
        heads = (len(tokens), c.n_head, 1, c.n_embd // c.n_head)  # (B, H, T = 1, D)
        x = F.embedding(tokens[:, 0], token_embedding) + position_embedding[positions]  # (B, C)
        layer_norm, linear = F.layer_norm, F.linear
        if len(tokens) == 1 and not in_half:  # one row: a vector, whose products with matrices are a little faster
            x, linear = x[0], _times_vector
        for i, (attention, scale, norm1, query, key, value, output, norm2, up, activation, down) in enumerate(layers):
            normed = layer_norm(x, *norm1)
            k, v = cache.append(i, linear(normed, *key).view(heads), linear(normed, *value).view(heads))
            attended = attention(linear(normed, *query).view(heads), k, v, mask=allowed, scale=scale)
            x = x + linear(attended.reshape(x.shape), *output)
            x = x + linear(activation(linear(layer_norm(x, *norm2), *up)), *down)
        return linear(layer_norm(x, *final_norm), head).view(len(tokens), -1)

    return step


def _times_vector(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """F.linear for a single vector (C,)."""
    return torch.mv(weight, x) if bias is None else torch.addmv(bias, weight, x)


def _parameters(block: Block) -> tuple:
    a, mlp = block.attention, block.mlp
    linears = [(part.weight, part.bias) for part in (a.query, a.key, a.value, a.output, mlp.up, mlp.down)]
    query, key, value, output, up, down = linears
    norm1, norm2 = _norm(block.attention_norm), _norm(block.mlp_norm)
    return a.attention, a.scale, norm1, query, key, value, output, norm2, up, mlp.activation, down


def _norm(norm: nn.LayerNorm) -> tuple:
    return norm.normalized_shape, norm.weight, norm.bias, norm.eps
