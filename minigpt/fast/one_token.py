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

from ..attention import MultiHeadAttention, padding_mask
from ..kv_cache import KVCache
from ..models import GPT2
from ..models.gpt2 import MLP, Block, position_ids_for

_KNOWN = {GPT2, Block, MLP, MultiHeadAttention, nn.ModuleList, nn.Linear, nn.LayerNorm, nn.Embedding, nn.Dropout}
# As they were when this file was read: `is_plain` sees when somebody has patched a class since.
_METHODS = (GPT2.hidden, GPT2.logits, Block.forward, MLP.forward, MultiHeadAttention.forward)

STEPS_THAT_PAY_FOR_A_COPY = 32
MOST_ROWS_TO_SPLIT = 8  # with more, the libraries use all threads themselves


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


LARGE = 100_000  # numbers in a matrix that is read from memory rather than from a cache


def laid_out_for_one_row(weight: torch.Tensor) -> torch.Tensor:
    """The same (out, in) matrix; a large one stored so that the product with a single row reads memory fastest.

    Decoding a token is little else than reading all weights once. (in, out) order does that up to three times as fast:
    whole rows are added up, instead of many short dot products, and threads can share them (`one_token`). It is the
    order of Hugging Face's files, so little has to be moved. Half precision is the other way round: torch has fast dot
    products for it and nothing else.
    """
    in_half = weight.dtype in (torch.float16, torch.bfloat16)
    if weight.dim() == 2 and weight.numel() >= LARGE and not in_half:
        return weight.t().contiguous().t()
    return weight.contiguous()


def one_token_step(model: GPT2, n_steps: int) -> Callable:
    """A function (tokens (B, 1), mask (B, past + 1) or None, cache) -> logits (B, V) that reads one token behind the
    cache, for a plain model in eval mode; mask as in `GPT2.hidden`. It checks nothing: ids and mask are to be right.

    It works with the parameters that the model has when it is made. n_steps is how often it is going to be called:
    where that pays, the head is copied into the order that `_product` reads fastest.
    """
    c, head = model.config, model.head_weight
    in_half = head.dtype in (torch.float16, torch.bfloat16)
    if n_steps >= STEPS_THAT_PAY_FOR_A_COPY and head.device.type == "cpu" and not in_half:
        head = _in_columns(head)
    token_embedding, position_embedding = model.token_embedding.weight, model.position_embedding.weight
    layers = [_parts(block) for block in model.blocks]
    final_norm, logits_of = _norm(model.final_norm), _product(head)
    layer_norm = F.layer_norm

    def step(tokens: torch.Tensor, mask: torch.Tensor | None, cache: KVCache) -> torch.Tensor:
        positions = cache.length if mask is None else position_ids_for(mask, 0, tokens)[:, 0]
        allowed = None if mask is None else padding_mask(mask)
        heads = (len(tokens), c.n_head, 1, c.n_embd // c.n_head)  # (B, H, T = 1, D)
        x = F.embedding(tokens[:, 0], token_embedding) + position_embedding[positions]  # (B, C)
        for i, (attention, scale, norm1, query, key, value, output, norm2, up, activation, down) in enumerate(layers):
            normed = layer_norm(x, *norm1)
            k, v = cache.append(i, key(normed).view(heads), value(normed).view(heads))
            attended = attention(query(normed).view(heads), k, v, mask=allowed, scale=scale)
            x = x + output(attended.reshape(x.shape))
            x = x + down(activation(up(layer_norm(x, *norm2))))
        return logits_of(layer_norm(x, *final_norm))

    return step


def _in_columns(weight: torch.Tensor) -> torch.Tensor:
    """The same (V, C) matrix, copied into (C, V) order a few rows at a time: torch's own copy leaps through memory."""
    copy = weight.new_empty(weight.shape[::-1])
    for first in range(0, len(weight), 256):
        copy[:, first : first + 256] = weight[first : first + 256].t()
    return copy.t()


def _product(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Callable:
    """A function x (B, in) -> x @ weight.T + bias (B, out), for a few rows as fast as the weight can be read.

    The libraries behind torch multiply a single row on one thread, which cannot read memory at its full speed. So a
    large matrix that lies in memory in (in, out) order is cut along its inputs, a part for each thread: a batch of
    products, whose results are added up. (Half precision has products of its own, which want the other order.)
    """
    n_parts = max(n for n in range(1, min(16, torch.get_num_threads()) + 1) if weight.size(1) % n == 0)
    in_order = weight.device.type == "cpu" and weight.t().is_contiguous()
    if weight.numel() < LARGE or n_parts == 1 or not in_order:
        return lambda x: F.linear(x, weight, bias)
    parts = weight.t().unflatten(0, (n_parts, -1))  # (n_parts, in / n_parts, out)

    def product(x: torch.Tensor) -> torch.Tensor:
        if len(x) > MOST_ROWS_TO_SPLIT:
            return F.linear(x, weight, bias)
        total = torch.bmm(x.unflatten(1, (n_parts, -1)).transpose(0, 1), parts).sum(dim=0)
        return total if bias is None else total + bias

    return product


def _parts(block: Block) -> tuple:
    a, mlp = block.attention, block.mlp
    linears = [_product(part.weight, part.bias) for part in (a.query, a.key, a.value, a.output, mlp.up, mlp.down)]
    query, key, value, output, up, down = linears
    norm1, norm2 = _norm(block.attention_norm), _norm(block.mlp_norm)
    return a.attention, a.scale, norm1, query, key, value, output, norm2, up, mlp.activation, down


def _norm(norm: nn.LayerNorm) -> tuple:
    return norm.normalized_shape, norm.weight, norm.bias, norm.eps
