"""Checks for the notebooks' exercises: write a function and call `check("its name", function)`; it prints ✓ or a hint.

An exercise is a right answer, some inputs, and the mistakes that people make, each with its hint. A wrong answer is
compared with every known mistake; the hint of the one that gives the same results is printed.
"""

from collections.abc import Callable
from importlib import import_module

from . import own_attention
from .checking import Exercise, find_hint

LESSONS = [import_module(f"{__name__}.lesson_{number:02}") for number in range(1, 15)] + [own_attention]
EXERCISES: dict[str, Exercise] = {name: exercise for lesson in LESSONS for name, exercise in lesson.EXERCISES.items()}


def check(name: str, answer: Callable) -> None:
    """Try an answer on every input of an exercise; print ✓, or ✗ with a hint.

    ValueError for a name that no exercise has, and for an answer that is no function. A wrong answer raises nothing: a
    notebook runs on.
    """
    if name not in EXERCISES:
        raise ValueError(f"no exercise {name!r}; there are {', '.join(EXERCISES)}")
    if not callable(answer):
        raise ValueError(f"check({name!r}, ...) needs your function, got {answer!r}")
    hint = find_hint(EXERCISES[name], answer)
    print(f"✓ {name}" if hint is None else f"✗ {name}: {hint}")
