"""The product of a large matrix with a few rows, as fast as the matrix can be read from memory.

To decode a token takes hardly more time than to read all weights once. So its speed depends on the order in which they
lie in memory, and on how many threads read them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from .switch import is_on

LARGE = 100_000  # numbers in a matrix that is read from memory rather than from a cache
MOST_ROWS_TO_SPLIT = 8  # with more, the libraries use all threads themselves
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


def product(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Callable:
    """A function x (B, in) -> x @ weight.T + bias (B, out), for a few rows as fast as the weight can be read.

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


def product_with_copy(weight: torch.Tensor) -> Callable:
    """`product` of a (V, C) matrix by a copy of it, which is in the order that is read fastest. The copy is made again
    when the matrix has been written to. This pays where the function is called many times."""

    def state() -> tuple[int, int]:
        return weight.data_ptr(), 0 if weight.is_inference() else weight._version

    copied, multiply = state(), product(copied_by_columns(weight))

    def through_the_copy(x: torch.Tensor) -> torch.Tensor:
        nonlocal copied, multiply
        if state() != copied:
            copied, multiply = state(), product(copied_by_columns(weight))
        return multiply(x)

    return through_the_copy


def copied_by_columns(weight: torch.Tensor) -> torch.Tensor:
    """The same (V, C) matrix, copied into (C, V) order a few rows at a time: torch's own copy is slow."""
    copy = weight.new_empty(weight.shape[::-1])
    for first in range(0, len(weight), 256):
        copy[:, first : first + 256] = weight[first : first + 256].t()
    return copy.t()
