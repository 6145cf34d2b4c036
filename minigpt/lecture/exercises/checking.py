"""How an answer is checked: run it, compare it with the right one, and then with every known mistake."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Exercise:
    task: str
    oracle: Callable
    inputs: list[tuple]
    mistakes: list[tuple[Callable, str]]  # (a wrong answer, the hint that names it)


def find_hint(exercise: Exercise, answer: Callable) -> str | None:
    """None for a right answer, else what is wrong with it."""
    results = [_result(answer, inputs) for inputs in exercise.inputs]
    expected = [_result(exercise.oracle, inputs) for inputs in exercise.inputs]
    if all(map(_same, results, expected)):
        return None
    if all(result is None or result is ... for result in results):
        return f"nothing came back yet. {exercise.task}"
    for mistake, hint in exercise.mistakes:
        if all(
            _same(result, _result(mistake, inputs)) for result, inputs in zip(results, exercise.inputs, strict=True)
        ):
            return hint
    wrong = next(i for i, (result, right) in enumerate(zip(results, expected, strict=True)) if not _same(result, right))
    return _difference(results[wrong], expected[wrong]) + f" The input was\n{_shown(exercise.inputs[wrong])}"


def _difference(result: Any, right: Any) -> str:
    """The difference in one sentence, or both values where no sentence says it."""
    if isinstance(result, Exception):
        return f"it raised {type(result).__name__}: {result}"
    if isinstance(result, torch.Tensor) and isinstance(right, torch.Tensor):
        if result.shape != right.shape:
            return f"the shape is {tuple(result.shape)}, expected {tuple(right.shape)}."
        if result.is_floating_point() != right.is_floating_point():
            return f"the numbers are {result.dtype}, expected {right.dtype}."
    elif type(result) is not type(right):
        return f"the answer is of type {type(result).__name__}, expected {type(right).__name__}."
    return f"expected\n{_shown(right)}\ngot\n{_shown(result)}\n"


def _result(function: Callable, inputs: tuple) -> Any:
    """What a function returns for copies of its inputs, or the exception that it raised."""
    copies = copy.deepcopy(inputs)
    try:
        with torch.no_grad():
            return function(*copies)
    except Exception as error:  # any exception is an answer, and a wrong one
        return error


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.shape != b.shape or a.is_floating_point() != b.is_floating_point():
            return False
        return torch.allclose(a.double(), b.double(), rtol=1e-6, atol=1e-9, equal_nan=True)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Exception) or isinstance(b, Exception):
        return type(a) is type(b) and str(a) == str(b)
    return type(a) is type(b) and a == b


def _shown(value: Any) -> str:
    if isinstance(value, torch.nn.Module):
        return f"a small {type(value).__name__.strip('_')}"
    return "\n".join(map(_shown, value)) if isinstance(value, tuple) else str(value)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    """Fixed normal random numbers in float64, to try answers on."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
