"""The product of a large matrix with a few rows, as fast as the matrix can be read from memory.

To decode a token takes hardly more time than to read all weights once. So its speed depends on the order in which they
lie in memory, and on how many threads read them.
"""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F

from .switch import is_on

LARGE = 100_000  # numbers in a matrix that is read from memory rather than from a cache
MOST_ROWS_TO_SPLIT = 8  # with more, the libraries use all threads themselves
CALLS_THAT_PAY_FOR_A_COPY = 32
HALF = (torch.float16, torch.bfloat16)


def laid_out(weight: torch.Tensor) -> torch.Tensor:
    """The same (out, in) matrix of a linear layer; a large one stored so that a product with a single row reads memory
    fastest: in (in, out) order. No number changes.

    That is up to three times as fast: whole rows are added up, instead of many short dot products, and threads can
    share the rows (`product`). A matrix in half precision stays as it is, in (out, in) order: for half precision torch
    has fast dot products only.
    """
    if is_on() and weight.dim() == 2 and weight.numel() >= LARGE and weight.dtype not in HALF:
        return weight.t().contiguous().t()
    return weight.contiguous()


def product(weight: torch.Tensor, bias: torch.Tensor | None = None, n_calls: int = 1) -> Callable:
    """A function x (B, in) -> x @ weight.T + bias (B, out), for a few rows as fast as the weight can be read.

    n_calls is how often it will be called: from CALLS_THAT_PAY_FOR_A_COPY on, a large matrix is copied for oneDNN
    (`packed_product`). A single row and a matrix in (in, out) order need no copy (`split_product`).
    """
    simple = split_product(weight, bias)
    if n_calls < CALLS_THAT_PAY_FOR_A_COPY or weight.numel() < LARGE or weight.device.type != "cpu":
        return simple
    if not can_be_packed(weight.dtype):
        return simple
    fewest = 2 if weight.t().is_contiguous() and weight.dtype not in HALF else 1
    packed = None

    def multiply(x: torch.Tensor) -> torch.Tensor:
        nonlocal packed
        if len(x) < fewest or torch.is_autocast_enabled("cpu"):  # autocast would convert x
            return simple(x)
        if packed is None:
            packed = packed_product(weight, bias, len(x))
        return packed(x)

    return multiply


def split_product(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Callable:
    """`product` without a copy.

    The libraries that torch calls multiply a single row on one thread, which cannot read memory at its full speed. So a
    large matrix that lies in memory in (in, out) order is cut along its inputs, a part for each thread: a batch of
    products, whose results are added up. (Half precision has products of its own, which need the other order.)
    """
    n_parts = max(n for n in range(1, min(16, torch.get_num_threads()) + 1) if weight.size(1) % n == 0)
    in_order = weight.device.type == "cpu" and weight.t().is_contiguous()
    if weight.numel() < LARGE or n_parts == 1 or not in_order:
        return lambda x: F.linear(x, weight, bias)

    def cut() -> tuple[int, torch.Tensor]:
        return weight.data_ptr(), weight.t().unflatten(0, (n_parts, -1))  # (n_parts, in / n_parts, out)

    address, parts = cut()

    def split(x: torch.Tensor) -> torch.Tensor:
        nonlocal address, parts
        if len(x) > MOST_ROWS_TO_SPLIT:
            return F.linear(x, weight, bias)
        if weight.data_ptr() != address:  # the parameter has got other memory
            address, parts = cut()
        total = torch.bmm(x.unflatten(1, (n_parts, -1)).transpose(0, 1), parts).sum(dim=0)
        return total if bias is None else total + bias

    return split


def packed_product(weight: torch.Tensor, bias: torch.Tensor | None, n_rows: int) -> Callable:
    """`product` by a copy of the matrix in the blocks in which oneDNN, a library inside torch, reads it fastest. The
    copy is made again when the matrix has been written to. It takes as much memory as the matrix.

    n_rows is how many rows to expect: for a single one the blocks are others. (torch.compile multiplies so, too.)
    """

    def state() -> tuple[int, int]:
        return weight.data_ptr(), 0 if weight.is_inference() else weight._version

    def pack() -> torch.Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), 1 if n_rows == 1 else MOST_ROWS_TO_SPLIT)

    copied, blocks = state(), pack()

    def multiply(x: torch.Tensor) -> torch.Tensor:
        nonlocal copied, blocks
        if state() != copied:
            copied, blocks = state(), pack()
        return torch.ops.mkldnn._linear_pointwise(x, blocks, bias, "none", [], "")

    return multiply


@functools.cache
def can_be_packed(dtype: torch.dtype) -> bool:
    """Whether this torch on this processor has oneDNN's product for a dtype: it is asked with a small matrix."""
    small = torch.zeros(16, 16, dtype=dtype)
    try:
        packed_product(small, None, 2)(small)
    except (RuntimeError, AttributeError):
        return False
    return True
