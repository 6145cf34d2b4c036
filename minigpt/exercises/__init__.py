"""Checks for the notebooks' exercises: write a function, call `check("its name", function)`, get ✓ or a hint.

An exercise is a right answer, some inputs, and the mistakes people make, each with its hint. A wrong answer is
compared with every known mistake; the one that gives the same results names what went wrong.
"""

from collections.abc import Callable

from . import (
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_04,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
    lesson_09,
    lesson_10,
)
from .checking import Exercise, find_hint

LESSONS = (
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_04,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
    lesson_09,
    lesson_10,
)
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
