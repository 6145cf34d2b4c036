"""Checks of arguments: a value that fits is returned (an integer as a plain Python int), any other is refused.

Every error is a ValueError that names the argument, the limit and the value.
"""

import math
from collections.abc import Callable, Iterable
from numbers import Real
from operator import index


def integer(name: str, value, least: int | None = None, most: int | None = None) -> int:
    """An integer from least to most: anything that `operator.index` takes (an int, numpy's integers, a tensor that
    holds one). True and False are refused: a flag in the place of another argument would count as 1."""
    number = index(value) if is_integer(value) else None
    if number is None or (least is not None and number < least) or (most is not None and number > most):
        limit = "" if least is None else f" of at least {least}" if most is None else f" from {least} to {most}"
        raise ValueError(f"{name} must be an integer{limit}, got {value!r}")
    return number


def several(name: str, value: Iterable, what: str) -> Iterable:
    """A list of something, or another iterable. One string is refused, whose letters would be taken for its members;
    so are None and a number."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        raise ValueError(f"{name} must be a list of {what}, got {value!r:.80}")
    return value


def list_of_texts(name: str, value: Iterable[str]) -> list[str]:
    """A list of texts, all of them str."""
    found = list(several(name, value, "texts"))
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(f"{name} must be a list of texts, got {text!r:.80} as text {place}")
    return found


def token_ids(name: str, ids: Iterable) -> list[int]:
    """A row of ids as a list of ints. It may come as a list, a range, an array or a tensor."""
    several(name, ids, "integer token ids")
    row = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    if not all(type(token) is int or is_integer(token) for token in row):
        raise ValueError(f"{name} must be a list of integer token ids, got {ids!r:.80}")
    return [index(token) for token in row]


def end_ids(name: str, value) -> int | tuple[int, ...]:
    """The id that ends a text, or several in a list or tuple: each of them does. One id in a list is that id."""
    if isinstance(value, list | tuple) and len(value) > 1:
        return tuple(integer(name, id) for id in value)
    return integer(name, value[0] if isinstance(value, list | tuple) and value else value)


def is_integer(value) -> bool:
    """Whether `integer` takes the value when no limits are given."""
    if type(value) is int:
        return True
    try:
        return not _is_bool(value) and index(value) is not None
    except TypeError:
        return False


def _is_bool(value) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")


def number(name: str, value, *, least=None, above=None, most=None, below=None) -> Real:
    """A real number within the limits. nan is always refused, inf unless `most` is given."""
    limits = [("at least", least), ("above", above), ("at most", most), ("below", below)]
    wanted = " and ".join(f"{words} {limit}" for words, limit in limits if limit is not None and limit != math.inf)
    fits = (
        isinstance(value, Real)
        and not _is_bool(value)
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
        and not math.isnan(value)
        and not (math.isinf(value) and most is None)
    )
    if not fits:
        raise ValueError(f"{name} must be {wanted or 'a finite number'}, got {value!r}")
    return value


def flag(name: str, value) -> bool:
    """True or False itself: 1 and 0 are refused."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def choice(name: str, value, choices: Iterable):
    """The value, if it equals one of the choices and has its type: 1 is not taken for True."""
    if not any(type(value) is type(possible) and value == possible for possible in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}")
    return value


def check_fields(record, check: Callable, names: str, or_none: bool = False, **limits) -> None:
    """Check fields of a frozen dataclass in its __post_init__, and store each as the check returns it.

    check_fields(self, integer, "n_layer n_head", least=1) checks both. or_none lets None through.
    """
    for name in names.split():
        value = getattr(record, name)
        if value is not None or not or_none:
            object.__setattr__(record, name, check(name, value, **limits))


def check_ids(what: str, ids, limit: int, limit_name: str) -> None:
    """Raise ValueError that names the place of an id outside 0..limit - 1 in a tensor of ids (rows, columns)."""
    smallest, largest = (bound.item() for bound in ids.aminmax())
    if smallest < 0 or largest >= limit:
        wrong = smallest if smallest < 0 else largest
        row, column = (ids == wrong).nonzero()[0].tolist()
        raise ValueError(
            f"{what} {wrong} at row {row}, column {column} is outside 0..{limit - 1} ({limit_name}={limit})"
        )


def head_sizes(d_model, n_head, n_kv_head=None, d_head=None) -> tuple[int, int, int, int]:
    """(d_model, n_head, n_kv_head, d_head) of an attention layer; n_kv_head None = n_head, d_head None = d_model /
    n_head. Raises ValueError for a size below 1, or one that does not divide."""
    d_model, n_head = integer("d_model", d_model, 1), integer("n_head", n_head, 1)
    n_kv_head = n_head if n_kv_head is None else integer("n_kv_head", n_kv_head, 1)
    if d_head is None and d_model % n_head:
        raise ValueError(f"d_model must be divisible by n_head, got d_model={d_model}, n_head={n_head}: or give d_head")
    d_head = d_model // n_head if d_head is None else integer("d_head", d_head, 1)
    if n_head % n_kv_head:
        raise ValueError(f"n_head must be divisible by n_kv_head, got n_head={n_head}, n_kv_head={n_kv_head}")
    return d_model, n_head, n_kv_head, d_head


def check_attention(q, k, v, mask, bias, scale, causal: bool) -> None:
    """Raise ValueError for arguments of an attention function that do not fit: a kernel would fail on them, or
    broadcast them and say nothing. v may be None. For shapes see `minigpt.attention`."""
    fits = k.shape[:-2] == q.shape[:-2] or _is_grouped(q, k)
    if not (fits and k.shape[-1] == q.shape[-1]) or (v is not None and v.shape[:-1] != k.shape[:-1]):
        shapes = [f"{name} {tuple(t.shape)}" for name, t in [("q", q), ("k", k), ("v", v)] if t is not None]
        wanted = "q (B, H, Tq, D), k (B, H, Tk, D), v (B, H, Tk, Dv), or a number of key heads that divides H"
        raise ValueError(f"expected {wanted}, got {', '.join(shapes)}")
    for name, tensor in [("k", k), ("v", v), ("mask", mask), ("bias", bias)]:
        if tensor is not None and tensor.device != q.device:
            raise ValueError(f"{name} is on {tensor.device}, q on {q.device}")
    scores = (*q.shape[:-1], k.size(-2))
    for name, tensor in [("mask", mask), ("bias", bias)]:
        if tensor is None:
            continue
        try:
            tensor.expand(scores)
        except RuntimeError:
            raise ValueError(f"{name} {tuple(tensor.shape)} does not broadcast to the scores, {scores}") from None
    if mask is not None and not _is_bool(mask):
        raise ValueError(f"mask must be a bool tensor (True = may look), got {mask.dtype}")
    if bias is not None and not bias.is_floating_point():
        raise ValueError(f"bias is added to the scores: it must be floating point, got {bias.dtype}")
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive, got {scale}")
    if causal and not 1 <= q.size(-2) <= k.size(-2):
        raise ValueError(f"causal_mask needs 1 <= n_query <= n_key, got n_query={q.size(-2)}, n_key={k.size(-2)}")


def _is_grouped(q, k) -> bool:
    batch_fits = q.dim() == k.dim() >= 3 and q.shape[:-3] == k.shape[:-3]
    return batch_fits and 0 < k.size(-3) < q.size(-3) and q.size(-3) % k.size(-3) == 0
