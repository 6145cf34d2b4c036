"""Checks for the notebooks' exercises: write a function, call `check("its name", function)`, get ✓ or a hint.

An exercise is a right answer, some inputs, and the mistakes people make, each with its hint. A wrong answer is
compared with every known mistake; the one that gives the same results names what went wrong.
"""

from collections.abc import Callable
from importlib import import_module

from .checking import Exercise, find_hint

LESSONS = [import_module(f"{__name__}.lesson_{number:02}") for number in range(1, 12)]
EXERCISES: dict[str, Exercise] = {name: exercise for lesson in LESSONS for name, exercise in lesson.EXERCISES.items()}


def check(name: str, answer: Callable) -> None:
    """Try an answer on every input of an exercise; print ✓, or ✗ with a hint.

    Raises ValueError for the name of no exercise. A wrong answer raises nothing: a notebook runs on.
    """
    if name not in EXERCISES:
        raise ValueError(f"no exercise {name!r}; there are {', '.join(EXERCISES)}")
    if not callable(answer):
        raise ValueError(f"check({name!r}, ...) needs your function, got {answer!r}")
    hint = find_hint(EXERCISES[name], answer)
    print(f"✓ {name}" if hint is None else f"✗ {name}: {hint}")
