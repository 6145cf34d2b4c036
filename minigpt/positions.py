"""Where a token is: the number of its place in its text (with pads around it, or with documents packed into one row),
and three ways to use it inside attention: Llama rotates queries and keys, T5 adds a learned bias to the scores, ALiBi
adds a fixed one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ._checks import check_fields, choice, integer, number


def position_ids_for(attention_mask: torch.Tensor | None, past: int, tokens: torch.Tensor) -> torch.Tensor:
    """(B, T) positions of tokens: past ... past + T - 1, or with an attention_mask the count of real tokens before.

    So the first real token of a left-padded row has position 0, as it had in training. A pad gets the position of the
    last real token before it, or 0; no real token looks at it.
    """
    if attention_mask is None:
        return torch.arange(past, past + tokens.size(1), device=tokens.device).expand_as(tokens)
    positions = attention_mask.long().cumsum(dim=-1) - 1
    return positions.clamp(min=0)[:, -tokens.size(1) :]


def positions_in_segments(segment_ids: torch.Tensor) -> torch.Tensor:
    """(B, T) numbers of documents -> (B, T) positions, counted from the first token of each segment. A segment is a run
    of equal numbers: equal numbers that do not touch are two segments."""
    places = torch.arange(segment_ids.size(1), device=segment_ids.device).expand_as(segment_ids)
    starts = torch.ones_like(segment_ids, dtype=torch.bool)
    starts[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    return places - (places * starts).cummax(dim=1).values  # the newest start so far


def segment_mask(segment_ids: torch.Tensor) -> torch.Tensor:
    """(B, T) numbers of the documents packed into each row -> bool (B, 1, T, T): a token looks at its own document.

    Raises ValueError when the tensor is not two-dimensional, or not of integers.
    """
    if segment_ids.dim() != 2 or segment_ids.is_floating_point():
        got = f"{segment_ids.dtype} {tuple(segment_ids.shape)}"
        raise ValueError(f"segment_ids must be integers of shape (batch, tokens), got {got}")
    return (segment_ids[:, :, None] == segment_ids[:, None, :])[:, None]


# --- rotary embedding: Llama -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RopeScaling:
    """How the rates of a rotary embedding (`rotary_rates`) are made slower, for longer texts than a model was first
    trained on. Field names are those of config.json's rope_scaling.

    rope_type "linear": every rate is divided by factor (Chen et al. 2023, "Position interpolation"). "llama3" (Llama
    3.1) looks at the wavelength of a rate: the tokens until its pair of columns has turned once. Rates with a
    wavelength above original_max_position_embeddings / low_freq_factor are divided by factor. Those with one below
    original_max_position_embeddings / high_freq_factor stay. Between the two limits the old and the new rate are mixed.
    Raises ValueError for a field out of range, and for one that belongs to the other rope_type.
    """

    rope_type: str
    factor: float
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    original_max_position_embeddings: int | None = None

    def __post_init__(self):
        check_fields(self, choice, "rope_type", choices=("linear", "llama3"))
        check_fields(self, number, "factor", least=1)
        of_llama3 = ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        if self.rope_type == "linear":
            if superfluous := [name for name in of_llama3 if getattr(self, name) is not None]:
                raise ValueError(f"{superfluous[0]} belongs to rope_type llama3, got {self!r}")
            return
        check_fields(self, number, "low_freq_factor high_freq_factor", above=0)
        check_fields(self, integer, "original_max_position_embeddings", least=1)
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(f"low_freq_factor must be below high_freq_factor, got {self!r}")


def rotary_rates(d_head: int, theta: float, scaling: RopeScaling | None = None, device=None, dtype=None):
    """(D/2,): by how much each pair of columns is rotated from one position to the next, in radians: 1 / theta^(2i/D).

    RoPE (Su et al. 2021, "RoFormer", section 3.2.2). The first pair is rotated by 1, the last by little more than
    1 / theta. d_head is even. dtype is that of the result: float32 or float64, for half precision is too coarse for
    angles (`rotation`).
    """
    rates = 1.0 / theta ** (torch.arange(0, d_head, 2, device=device).to(dtype) / d_head)
    if scaling is None:
        return rates
    slowed = rates / scaling.factor
    if scaling.rope_type == "linear":
        return slowed
    wavelength = 2 * math.pi / rates  # tokens until a pair has turned once
    turns = scaling.original_max_position_embeddings / wavelength
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)  # 1 for the quick pairs, 0 for the slow ones
    return (1 - kept) * slowed + kept * rates


def rotation(position_ids: torch.Tensor, rates: torch.Tensor, dtype: torch.dtype) -> Callable:
    """The function that rotates queries or keys x (B, H, T, D) of a dtype by their positions (B, T).

    Columns i and i + D/2 are a pair, a point in the plane, which is rotated by position · rates[i]. So a query at
    position m and a key at n give the score that they would give at m - n and 0: it depends on their distance alone.
    (The paper, and Meta's own files, pair neighbours. Hugging Face's files hold the rows of queries and keys in another
    order, so that i and i + D/2 are a pair; the scores are the same.)
    Angles, sines and cosines are made in the dtype of the rates: in bfloat16 the numbers from 256 to 512 are 2 apart,
    so neighbouring positions would get one angle.
    """
    angles = position_ids[:, None, :, None].to(rates.dtype) * rates  # (B, 1, T, D/2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def rotate(x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    return rotate


# --- relative bias: T5 -----------------------------------------------------------------------------------------------


def relative_buckets(distance: torch.Tensor, n_buckets: int, max_distance: int, bidirectional: bool) -> torch.Tensor:
    """distance = key position - query position, int64 of any shape -> the number of its bucket, of the same shape.

    T5 (Raffel et al. 2020, section 2.1). A bucket is a group of distances that have one bias together. Half of the
    buckets hold one distance each, 0, 1, 2 ...; the others hold ranges, which become longer: the bucket's number grows
    with the logarithm of the distance. The last one begins somewhat below max_distance (in published models, with 128,
    at 91 in the encoder and at 113 in the decoder) and holds every larger distance. With bidirectional=True (the
    encoder) one half of the buckets is for keys before the query, and the other half for keys after it. In the decoder
    a query never looks at a key after it; such a distance gets bucket 0.
    """
    if bidirectional:
        n_buckets //= 2
        first, distance = torch.where(distance > 0, n_buckets, 0), distance.abs()
    else:
        first, distance = 0, (-distance).clamp(min=0)
    n_exact = n_buckets // 2
    # In float32 for every model: a distance on the border of two buckets must get the bucket that it had in training.
    # (Distance 0 gives -inf here, which the clamp makes 0; it is below n_exact and keeps its own bucket.)
    share = (distance.float() / n_exact).log() / math.log(max_distance / n_exact)  # 0 at n_exact, 1 at max_distance
    grown = n_exact + (share * (n_buckets - n_exact)).clamp(min=0).long()
    return first + torch.where(distance < n_exact, distance, grown.clamp(max=n_buckets - 1))


def relative_bias(
    table: torch.Tensor, query_positions: torch.Tensor, key_positions: torch.Tensor, max_distance: int, causal: bool
) -> torch.Tensor:
    """What T5 adds to the scores of queries (Tq,) and keys (Tk,): (1, H, Tq, Tk), from a table (n_buckets, H).

    Positions are int64, the result has the table's dtype. Only the rows of these queries are made: a cached step needs
    one. causal=True is for the decoder: all buckets are then for the query's own position and those before it.
    """
    distance = key_positions[None, :] - query_positions[:, None]
    buckets = relative_buckets(distance, len(table), max_distance, bidirectional=not causal)
    return F.embedding(buckets, table).permute(2, 0, 1)[None]


# --- a penalty for distance: ALiBi -----------------------------------------------------------------------------------


def alibi_slopes(n_head: int) -> torch.Tensor:
    """(H,) float32: how much each head loses per token of distance, 2^(-8/H), 2^(-16/H), ..., 2^-8.

    ALiBi (Press et al. 2022, "Train Short, Test Long", section 3). Where H is no power of two, as in the authors' code:
    the slopes of the next lower power n, then every second one of 2n. Raises ValueError for n_head below 1.
    """
    n_head = integer("n_head", n_head, 1)
    lower = 2 ** (n_head.bit_length() - 1)
    slopes = [2 ** (-8 * (head + 1) / lower) for head in range(lower)]
    between = [2 ** (-8 * (head + 1) / (2 * lower)) for head in range(0, 2 * lower, 2)]
    return torch.tensor((slopes + between)[:n_head])


def alibi_bias(n_head: int, query_positions: torch.Tensor, key_positions: torch.Tensor) -> torch.Tensor:
    """What is added to the scores of queries (Tq,) and keys (Tk,): (1, H, Tq, Tk) float32, -slope · distance.

    A key at a distance of d tokens loses slope · d. There are no position embeddings then, and nothing is learned.
    Raises ValueError for n_head below 1.
    """
    distance = (query_positions[:, None] - key_positions[None, :]).abs()
    slopes = alibi_slopes(n_head).to(distance.device)
    return -(slopes[:, None, None] * distance)[None]
