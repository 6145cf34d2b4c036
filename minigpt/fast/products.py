"""Products with large matrices, for a few rows as fast as the matrix can be read from memory.

To decode a token takes hardly more time than to read all weights once. How fast the libraries inside torch read and
multiply a matrix depends on the way in which they are asked for the product.
"""

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from .switch import is_on

LARGE = 100_000  # numbers in a matrix that is worth the trouble
CALLS_THAT_PAY_FOR_A_COPY = 32
ROWS_THAT_PAY_FOR_A_COPY = 2048
MOST_ROWS_WITHOUT_A_COPY = 2
HALF = (torch.float16, torch.bfloat16)


def product(weight: torch.Tensor, bias: torch.Tensor | None = None, n_calls: int = 1) -> Callable:
    """A function x (B, in) -> x @ weight.T + bias (B, out), for a few rows as fast as the weight can be read.

    n_calls is how often it will be called. From CALLS_THAT_PAY_FOR_A_COPY on, a large matrix is copied for oneDNN
    (`packed_product`) where that is the faster way for so many rows. The copy is made at the first call that needs it,
    and again when the numbers have changed.
    """
    if weight.numel() < LARGE or weight.device.type != "cpu":
        return lambda x: F.linear(x, weight, bias)
    in_half = weight.dtype in HALF  # which has fast products of its own, from the right
    most = 0 if in_half else MOST_ROWS_WITHOUT_A_COPY
    can_copy = n_calls >= CALLS_THAT_PAY_FOR_A_COPY and can_be_packed(weight.dtype)
    parts = [weight] if bias is None else [weight, bias]
    seen, from_the_left, packed = None, None, None

    def multiply(x: torch.Tensor) -> torch.Tensor:
        nonlocal seen, from_the_left, packed
        if (state := _state(parts)) != seen:
            seen, packed, from_the_left = state, None, product_from_the_left(weight, bias)
        if torch.is_autocast_enabled("cpu"):  # it converts what torch's own linear gets
            return F.linear(x, weight, bias)
        if can_copy and x.size(0) > most:
            packed = packed or packed_product(weight, bias, x.size(0))
            return packed(x)
        return F.linear(x, weight, bias) if in_half else from_the_left(x)

    return multiply


def joint_product(linears: Sequence[nn.Linear], n_calls: int) -> Callable:
    """A function x (B, in) -> the answers of several linear layers, a list of (B, out).

    Small matrices that are used often are copied into one, because starting a product takes longer than the arithmetic.
    """
    weights, biases = [part.weight for part in linears], [part.bias for part in linears]
    are_small = all(weight.numel() < LARGE for weight in weights)
    are_alike = len({bias is None for bias in biases}) == 1  # all with a bias, or all without
    if n_calls < CALLS_THAT_PAY_FOR_A_COPY or not (are_small and are_alike):
        products = [product(weight, bias, n_calls) for weight, bias in zip(weights, biases, strict=True)]
        return lambda x: [multiply(x) for multiply in products]
    sizes, parts = [len(weight) for weight in weights], weights + [bias for bias in biases if bias is not None]
    seen, multiply = None, None

    def multiply_all(x: torch.Tensor) -> Sequence[torch.Tensor]:
        nonlocal seen, multiply
        if (state := _state(parts)) != seen:
            bias = None if biases[0] is None else torch.cat(biases)
            seen, multiply = state, product(torch.cat(weights), bias)
        return multiply(x).split_with_sizes(sizes, dim=-1)

    return multiply_all


def _state(parts: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
    """Changes when one of the tensors is written to, or gets other memory."""
    return [(part.data_ptr(), 0 if part.is_inference() else part._version) for part in parts]


def product_from_the_left(weight: torch.Tensor, bias: torch.Tensor | None) -> Callable:
    """`product` as (weight @ x.T + bias).T: the libraries read a matrix (out, in) two to four times as fast where it is
    the left factor.

    With a single column on the right they would use one thread. So the matrix is cut along its outputs into a batch of
    products, at least one for each thread.
    """
    n_threads, n_out = torch.get_num_threads(), len(weight)
    n_parts = next((n for n in range(n_threads, 8 * n_threads + 32) if n_out % n == 0), 1)
    parts = weight.detach().unflatten(0, (n_parts, -1))  # (n_parts, out / n_parts, in)
    columns = None if bias is None else bias.detach().view(n_parts, -1, 1)

    def multiply(x: torch.Tensor) -> torch.Tensor:
        if x.size(0) == 1:
            one = x.t().expand(n_parts, -1, -1)  # (n_parts, in, 1)
            return (torch.bmm(parts, one) if bias is None else torch.baddbmm(columns, parts, one)).view(1, -1)
        y = (weight @ x.t()).t().contiguous()  # (B, out) in rows: attention's kernels need them
        return y if bias is None else y + bias

    return multiply


def packed_product(weight: torch.Tensor, bias: torch.Tensor | None, n_rows: int) -> Callable:
    """`product` by a copy of the matrix in the blocks in which oneDNN, a library inside torch, reads it fastest. It
    takes as much memory as the matrix.

    n_rows is how many rows to expect: for a single one the blocks are others. (torch.compile multiplies so, too.)
    """
    blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), 1 if n_rows == 1 else 8)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, blocks, bias, "none", [], "")


def packed_products(n_rows: int = ROWS_THAT_PAY_FOR_A_COPY) -> AbstractContextManager:
    """Inside `with packed_products():` the linear layers of all models multiply by packed copies, without gradients.

    A copy is made when its matrix is first used, again when the matrix has changed, and is freed at the end. n_rows is
    how many rows each matrix will be multiplied with in there. With few, nothing is copied.
    """
    return _PackedProducts() if is_on() and n_rows >= ROWS_THAT_PAY_FOR_A_COPY else nullcontext()


class _PackedProducts(TorchFunctionMode):
    """torch calls __torch_function__ in place of each of its functions."""

    def __init__(self):
        super().__init__()
        self.products = {}

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is not F.linear or torch.is_grad_enabled() or kwargs or type(args[1]) is not nn.Parameter:
            return function(*args, **(kwargs or {}))
        x, weight, *bias = args
        if id(weight) not in self.products:  # the matrix is kept, too, so that no other one gets its id
            self.products[id(weight)] = weight, product(weight, *bias, n_calls=CALLS_THAT_PAY_FOR_A_COPY)
        _, multiply = self.products[id(weight)]
        return multiply(x.reshape(-1, x.size(-1))).view(*x.shape[:-1], -1)


@functools.cache
def can_be_packed(dtype: torch.dtype) -> bool:
    """Whether this torch on this processor has oneDNN's product for a dtype: it is asked with a small matrix."""
    small = torch.zeros(16, 16, dtype=dtype)
    try:
        packed_product(small, None, 2)(small)
    except (RuntimeError, AttributeError):
        return False
    return True
