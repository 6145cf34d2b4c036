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
