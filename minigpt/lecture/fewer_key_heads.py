"""From many key heads to few, by averaging ("GQA", Ainslie et al. 2023, section 2.1): a smaller cache, at a price."""

import copy
import dataclasses

import torch
from torch import nn

from .._checks import integer
from ..attention import MultiHeadAttention
from ..models import Llama


def average_key_heads(attention: MultiHeadAttention, n_kv_head: int) -> MultiHeadAttention:
    """A new layer with n_kv_head heads of keys and values. Each is the mean of the heads that its group of query heads
    had before. Queries and the output projection stay. Raises ValueError unless n_kv_head divides the layer's."""
    n_kv_head = integer("n_kv_head", n_kv_head, 1)
    if attention.n_kv_head % n_kv_head:
        raise ValueError(f"n_kv_head must divide the layer's {attention.n_kv_head} key heads, got {n_kv_head}")
    fewer = copy.deepcopy(attention)
    fewer.n_kv_head = n_kv_head
    for name in ("key", "value"):
        setattr(fewer, name, _mean_of_groups(getattr(attention, name), n_kv_head, attention.d_head))
    return fewer


def with_fewer_key_heads(model: Llama, n_kv_head: int) -> Llama:
    """A Llama whose layers are those of `average_key_heads`, in eval mode; the given model stays as it is.

    Raises ValueError for another model, and unless n_kv_head divides its number of key heads.
    """
    if not isinstance(model, Llama):
        raise ValueError(f"model must be a Llama, whose config names its key heads, got a {type(model).__name__}")
    layers = [average_key_heads(block.attention, n_kv_head) for block in model.blocks]
    attend = model.blocks[0].attention.attend
    fewer = Llama(dataclasses.replace(model.config, num_key_value_heads=int(n_kv_head)), attention=attend)
    parameter = next(model.parameters())
    fewer = fewer.to(parameter.device, parameter.dtype)
    weights = model.state_dict()
    for number, layer in enumerate(layers):
        weights |= {f"blocks.{number}.attention.{name}": tensor for name, tensor in layer.state_dict().items()}
    fewer.load_state_dict(weights)
    return fewer.eval()


@torch.no_grad()
def _mean_of_groups(linear: nn.Linear, n_group: int, d_head: int) -> nn.Linear:
    """The rows of a projection are its heads, d_head rows each: neighbours become one, their mean."""
    fewer = nn.Linear(linear.in_features, n_group * d_head, bias=linear.bias is not None).to(linear.weight)
    fewer.weight.copy_(linear.weight.unflatten(0, (n_group, -1, d_head)).mean(dim=1).flatten(0, 1))
    if linear.bias is not None:
        fewer.bias.copy_(linear.bias.unflatten(0, (n_group, -1, d_head)).mean(dim=1).flatten())
    return fewer
