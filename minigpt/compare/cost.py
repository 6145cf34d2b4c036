"""What one attention layer costs: operations, bytes moved, and which of the two takes the time.

A step of a layer computes, and it moves numbers between memory and processor. Both happen at the same time, so a step
takes at least the longer of the two times ("roofline", Williams, Waterman & Patterson 2009). Which one that is follows
from its *arithmetic intensity*, the operations for each byte moved. Below the machine's own ratio a step waits for
memory, above it for arithmetic.

What is counted:

- An operation is one multiplication or one addition: a product (m, k) @ (k, n) has 2 · m · k · n.
- Softmax has 5 for each score: comparison, difference, exp, sum, division.
- Each step reads each of its inputs once, and writes each of its outputs once. A key head that serves several query
  heads is read once.
- All Tq · Tk scores are counted, with causal=True too: the explicit formula computes them all. A fused kernel may leave
  out the tiles after the diagonal, almost half of them in a prefill.
- Not counted are the scale, masks, dropout, the biases of the linear layers, and copies that an implementation makes.

The letters are those of attention.py.
"""

from dataclasses import dataclass

import torch

from .._checks import choice, flag, head_sizes, integer
from .timing import matrix_rate, read_rate

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SOFTMAX = 5  # operations for each score
MATRIX = {"cpu": 1024, "cuda": 8192}  # rows of the matrices that are multiplied to measure a machine


@dataclass(frozen=True)
class Cost:
    """Operations of one step, and the bytes that it reads and writes."""

    step: str
    operations: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.operations / self.bytes


@dataclass(frozen=True)
class Limits:
    """What a machine can do at most."""

    operations_per_second: float  # in the product of two large matrices
    bytes_per_second: float  # read from memory

    @property
    def ridge(self) -> float:
        """The machine's ratio, in operations a byte: at this intensity both take the same time."""
        return self.operations_per_second / self.bytes_per_second

    def attainable(self, intensity: float) -> float:
        """Operations a second at this intensity, at most: the roof."""
        return min(self.operations_per_second, intensity * self.bytes_per_second)

    def seconds(self, cost: Cost) -> float:
        """The shortest time of one step. Steps follow each other, so that of a layer is their sum."""
        return max(cost.operations / self.operations_per_second, cost.bytes / self.bytes_per_second)


def attention_costs(
    d_model: int,
    n_head: int,
    n_kv_head: int | None = None,
    d_head: int | None = None,
    *,
    rows: int = 1,
    tokens: int = 1,
    past: int = 0,
    dtype: torch.dtype = torch.float32,
    fused: bool = False,
) -> list[Cost]:
    """The steps of a `MultiHeadAttention` of this shape that reads `tokens` new tokens in each of `rows` rows, with the
    keys and values of `past` tokens in its cache.

    Explicit attention writes the scores to memory, reads them for softmax, and once more for the weighted values. With
    fused=True these three are one step, whose scores do not go through memory (`sdpa_attention`, `tiled_attention`).
    n_kv_head None = n_head, d_head None = d_model / n_head.

    Raises ValueError for a number below 1 (past: 0), heads that do not divide, and a dtype that is not floating point.
    """
    c, n_head, n_kv_head, d_head = head_sizes(d_model, n_head, n_kv_head, d_head)
    rows, tokens, past = integer("rows", rows, 1), integer("tokens", tokens, 1), integer("past", past, 0)
    choice("dtype", dtype, DTYPES)
    flag("fused", fused)

    new, every = rows * tokens, rows * (past + tokens)  # tokens that are read now, and those with keys and values
    hd, hd_kv = n_head * d_head, n_kv_head * d_head  # columns of the queries, and of the keys or of the values
    scores = new * n_head * (past + tokens)  # how many there are
    product = 2 * scores * d_head  # operations of q @ kᵀ, and again of weights @ v

    def step(name: str, operations: int, *numbers: int) -> Cost:
        return Cost(name, operations, sum(numbers) * dtype.itemsize)

    columns = hd + 2 * hd_kv
    projections = step("queries, keys, values", 2 * new * c * columns, new * c, c * columns, new * columns)
    output = step("output", 2 * new * hd * c, new * hd, hd * c, new * c)
    if fused:
        operations = 2 * product + SOFTMAX * scores
        return [projections, step("fused attention", operations, new * hd, 2 * every * hd_kv, new * hd), output]
    return [
        projections,
        step("scores", product, new * hd, every * hd_kv, scores),
        step("softmax", SOFTMAX * scores, scores, scores),
        step("weighted values", product, scores, every * hd_kv, new * hd),
        output,
    ]


def total(costs: list[Cost], name: str = "all steps") -> Cost:
    """All steps as one: their operations, and their bytes."""
    return Cost(name, sum(cost.operations for cost in costs), sum(cost.bytes for cost in costs))


def machine_limits(device="cpu", dtype: torch.dtype = torch.float32) -> Limits:
    """Measure this machine: the fastest of a few products of large matrices of this dtype, and of a few sums over many
    numbers. It takes about a second.

    Other work on the machine makes both smaller. float16 products are slow on most CPUs, and so is their measurement.
    Raises ValueError for a dtype that is not floating point, and a device that is neither a CPU nor CUDA.
    """
    choice("dtype", dtype, DTYPES)
    kind = choice("device", torch.device(device).type, MATRIX)
    return Limits(matrix_rate(dtype, device, MATRIX[kind]), read_rate(device))
