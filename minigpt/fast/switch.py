"""One switch for everything in this folder: inside `switched_off()` every caller takes the plain way."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ON = ContextVar("the fast ways are taken", default=True)


def is_on() -> bool:
    """Whether the fast ways may be taken here."""
    return _ON.get()


@contextmanager
def switched_off() -> Iterator[None]:
    """Inside, models are loaded, read, scored, trained and asked for tokens by their own modules, as they are written.

    The answers are the same up to rounding. Use this to see that they are, or whether an error comes from this folder.
    """
    before = _ON.set(False)
    try:
        yield
    finally:
        _ON.reset(before)
