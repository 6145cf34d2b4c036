"""FlashAttention in plain PyTorch: the scores come in tiles, and the whole (Tq, Tk) matrix never exists.

Softmax seems to need a whole row: its largest score, and its sum. Both can be kept while the keys come tile by tile
(the "online softmax", Milakov & Gimelshein 2018). For each query three things are kept:

    largest   the largest score so far
    total     the sum of exp(score - largest) so far
    output    the sum of exp(score - largest) · value so far

A new tile may raise `largest`. Then what was summed before has the wrong factor, and is multiplied by
exp(old largest - new largest). At the end, output / total is the answer (Dao et al. 2022, algorithm 1; Dao 2023,
algorithm 1). The backward pass computes each tile of weights again, from the log-sum-exp of its rows.

The letters are those of attention.py.
"""

import math
from collections.abc import Iterator

import torch
from torch.autograd.function import once_differentiable

from ._checks import check_attention, integer, number

TILE = 128


def tiled_attention(
    q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0, tile_size=TILE
) -> torch.Tensor:
    """The answers of `explicit_attention` with memory that grows with T, not with T². Arguments, result and errors are
    the same; a tile holds the scores of tile_size queries and as many keys, for all heads of all rows.

    Half precision is computed in float32 inside. With dropout, the weights that stay are a function of
    torch.manual_seed and of tile_size. The gradient cannot be differentiated again.
    """
    check_attention(q, k, v, mask, bias, scale, causal)
    dropout, tile_size = number("dropout", dropout, least=0, below=1), integer("tile_size", tile_size, 1)
    scale = 1 / math.sqrt(q.size(-1)) if scale is None else scale
    seed = int(torch.randint(2**62, ())) if dropout > 0 else 0
    with torch.autocast(q.device.type, enabled=False):  # sums of many tiles would lose digits
        return _TiledAttention.apply(q, k, v, bias, Tiles(q, k, mask, causal, scale, dropout, seed, tile_size))


class Tiles:
    """Which tiles there are, and the scores in each. Of q and k only the shapes are kept."""

    def __init__(self, q, k, mask, causal: bool, scale: float, dropout: float, seed: int, tile_size: int):
        self.mask, self.causal, self.scale, self.size = mask, causal, scale, tile_size
        self.dropout, self.seed = dropout, seed
        self.n_query, self.n_key, self.n_head = q.size(-2), k.size(-2), q.size(-3) if q.dim() > 2 else 1
        self.offset = self.n_key - self.n_query  # query i stands at key position offset + i

    def of_queries(self) -> Iterator[slice]:
        for start in range(0, self.n_query, self.size):
            yield slice(start, min(start + self.size, self.n_query))

    def of_keys(self, queries: slice) -> Iterator[slice]:
        """The tiles of keys that these queries may look at. With causal=True, those after the last one are skipped."""
        end = min(self.n_key, self.offset + queries.stop) if self.causal else self.n_key
        for start in range(0, end, self.size):
            yield slice(start, min(start + self.size, self.n_key))

    def scores(self, q, k, bias, queries: slice, keys: slice) -> torch.Tensor:
        """(B, H, tile, tile): q and k are this tile's; -inf where a query may not look."""
        scores = q * self.scale @ k.transpose(-2, -1)
        if bias is not None:
            scores = scores + _cut_out(bias, queries, keys)
        if self.mask is not None:
            scores = scores.masked_fill(~_cut_out(self.mask, queries, keys), -math.inf)
        if self.causal and keys.stop - 1 > self.offset + queries.start:  # the diagonal crosses this tile
            query_position = torch.arange(queries.start, queries.stop, device=q.device)[:, None] + self.offset
            key_position = torch.arange(keys.start, keys.stop, device=q.device)
            scores = scores.masked_fill(key_position > query_position, -math.inf)
        return scores

    def kept(self, weights, queries: slice, keys: slice) -> torch.Tensor | float:
        """What dropout multiplies the weights of a tile with: 0 or 1 / (1 - dropout). Forward and backward draw the
        same, because each tile has a seed of its own."""
        if self.dropout == 0:
            return 1.0
        number = queries.start * self.n_key + keys.start
        generator = torch.Generator(weights.device).manual_seed((self.seed + number) % 2**63)
        drawn = torch.rand(weights.shape, generator=generator, device=weights.device)
        return (drawn >= self.dropout).to(weights.dtype) / (1 - self.dropout)


class _TiledAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, bias, tiles: Tiles):
        """output (B, H, Tq, Dv); kept for the backward pass: the inputs, the output, and a number for each query."""
        dtype = _exact(q.dtype)
        output = q.new_zeros(*q.shape[:-1], v.size(-1), dtype=dtype)
        log_sums = q.new_full(q.shape[:-1], math.inf, dtype=dtype)
        for queries in tiles.of_queries():
            q_tile = q[..., queries, :].to(dtype)
            largest = q_tile.new_full((*q_tile.shape[:-1], 1), -math.inf)
            total, summed = torch.zeros_like(largest), 0.0
            for keys in tiles.of_keys(queries):
                k_tile, v_tile = (_tile_of(x, keys, tiles.n_head, dtype) for x in (k, v))
                scores = tiles.scores(q_tile, k_tile, bias, queries, keys)
                new_largest = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))
                shift = new_largest.masked_fill(new_largest == -math.inf, 0.0)  # no allowed key yet
                weights = (scores - shift).exp()
                rescale = (largest - shift).exp()
                total = total * rescale + weights.sum(dim=-1, keepdim=True)
                weights = weights * tiles.kept(weights, queries, keys)
                summed = summed * rescale + weights @ v_tile
                largest = new_largest
            empty = total == 0  # a query that may look at no key: its output is 0
            output[..., queries, :] = (summed / total).masked_fill(empty, 0.0)
            log_sums[..., queries] = (largest + total.log()).masked_fill(empty, math.inf)[..., 0]
        ctx.save_for_backward(q, k, v, bias, output, log_sums)
        ctx.tiles = tiles
        return output.to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_output):
        """The gradients, tile by tile (Dao 2023, algorithm 2).

        With weights P = exp(scores - log_sum), the output is P v. So dv = Pᵀ dO and dP = dO vᵀ. Softmax's own
        derivative is dS = P · (dP - sum of P · dP over the row), and that sum is the sum of dO · O: it needs no tile.
        """
        q, k, v, bias, output, log_sums = ctx.saved_tensors
        tiles, dtype = ctx.tiles, output.dtype
        dq, dk, dv = (torch.zeros_like(x, dtype=dtype) for x in (q, k, v))
        dbias = None if bias is None else torch.zeros_like(bias, dtype=dtype)
        for queries in tiles.of_queries():
            q_tile, d_tile = q[..., queries, :].to(dtype), d_output[..., queries, :].to(dtype)
            row_sums = (d_tile * output[..., queries, :]).sum(dim=-1, keepdim=True)
            for keys in tiles.of_keys(queries):
                k_tile, v_tile = (_tile_of(x, keys, tiles.n_head, dtype) for x in (k, v))
                scores = tiles.scores(q_tile, k_tile, bias, queries, keys)
                weights = (scores - log_sums[..., queries, None]).exp()
                kept = tiles.kept(weights, queries, keys)
                _add_tile(dv, keys, (weights * kept).transpose(-2, -1) @ d_tile)
                d_weights = d_tile @ v_tile.transpose(-2, -1) * kept
                d_scores = weights * (d_weights - row_sums)
                dq[..., queries, :] += d_scores @ k_tile * tiles.scale
                _add_tile(dk, keys, d_scores.transpose(-2, -1) @ q_tile * tiles.scale)
                if dbias is not None:
                    part = _cut_out(dbias, queries, keys)
                    part += d_scores.sum_to_size(part.shape)
        gradients = [None if x is None else grad.to(x.dtype) for grad, x in ((dq, q), (dk, k), (dv, v), (dbias, bias))]
        return *gradients, None


def _exact(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the sums: float32 for half precision."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def _cut_out(x, queries: slice, keys: slice):
    """A tile of a mask or a bias, whose dimensions may be missing or 1 where they broadcast. A view."""
    x = x[None] if x.dim() == 1 else x
    return x[..., slice(None) if x.size(-2) == 1 else queries, slice(None) if x.size(-1) == 1 else keys]


def _tile_of(x, keys: slice, n_head: int, dtype):
    """The keys or values of a tile, a copy for each query head of a group."""
    tile = x[..., keys, :].to(dtype)
    return tile.repeat_interleave(n_head // x.size(-3), dim=-3) if x.dim() > 2 and x.size(-3) < n_head else tile


def _add_tile(total, keys: slice, part) -> None:
    """Add the gradient of a tile of keys or values; the query heads of a group add to one key head."""
    if part.dim() > 2 and total.size(-3) < part.size(-3):
        part = part.unflatten(-3, (total.size(-3), -1)).sum(dim=-3)
    total[..., keys, :] += part
