"""How an answer is checked: run it, compare it with the right one, and then with every known mistake."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..._language import said
from ...chinese.exercises import TEXTS

MANY = 64  # numbers of a tensor are not shown where there are more


@dataclass(frozen=True)
class Exercise:
    """A task, its right answer, the inputs to try, and the known mistakes with their hints. Its texts are English;
    find_hint says them in the reader's language."""

    task: str
    oracle: Callable
    inputs: list[tuple]
    mistakes: list[tuple[Callable, str]]  # (a wrong answer, the hint that names it)
    by_hand: tuple[Callable, ...] = ()  # torch's functions for the whole task, which an answer must not call
    cases: tuple[str, ...] = ()  # what each input stands for, where an answer may be right for some of them


def find_hint(exercise: Exercise, answer: Callable) -> str | None:
    """None for a right answer, else a hint at what is wrong. Exceptions of the answer are caught and shown."""
    results = [_result(answer, inputs) for inputs in exercise.inputs]
    expected = [_result(exercise.oracle, inputs) for inputs in exercise.inputs]
    if all(map(_same, results, expected)):
        used = _used(exercise, answer)
        return used and said(
            TEXTS,
            "the numbers are right, and torch's own {name} computed them. Write the formula out by hand.",
            name=used,
        )
    if all(result is None or result is ... for result in results):
        return said(TEXTS, "nothing came back yet. {task}", task=said(TEXTS, exercise.task))
    for mistake, hint in exercise.mistakes:
        if all(
            _same(result, _result(mistake, inputs)) for result, inputs in zip(results, exercise.inputs, strict=True)
        ):
            return said(TEXTS, hint)
    if exercise.cases:
        return _hint_by_cases(exercise, results, expected)
    wrong = next(i for i, (result, right) in enumerate(zip(results, expected, strict=True)) if not _same(result, right))
    return said(
        TEXTS,
        "{difference} The input was\n{inputs}",
        difference=_difference(results[wrong], expected[wrong]),
        inputs=_named(exercise.inputs[wrong], answer),
    )


def _hint_by_cases(exercise: Exercise, results: list, expected: list) -> str:
    """For which cases an answer is right, and what is wrong with the first other one: the mistake that gives the same
    there, or the difference."""
    right = [_same(result, wanted) for result, wanted in zip(results, expected, strict=True)]
    cases = [said(TEXTS, case) for case in exercise.cases]
    done = [case for case, ok in zip(cases, right, strict=True) if ok]
    left = [case for case, ok in zip(cases, right, strict=True) if not ok]
    first = right.index(False)
    mistakes = ((_result(mistake, exercise.inputs[first]), hint) for mistake, hint in exercise.mistakes)
    hint = next((hint for result, hint in mistakes if _same(result, results[first])), None)
    comma = said(TEXTS, ", ")
    return said(
        TEXTS,
        "right for {done}; wrong for {left}. {case}: {hint}",
        done=comma.join(done) or said(TEXTS, "no case yet"),
        left=comma.join(left),
        case=left[0],
        hint=said(TEXTS, hint) if hint else _difference(results[first], expected[first]),
    )


class _Calls(TorchFunctionMode):
    """Notes which of torch's functions are called inside."""

    def __init__(self):
        self.called = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.called.append(function)
        return function(*args, **(kwargs or {}))


def _used(exercise: Exercise, answer: Callable) -> str | None:
    """The name of the first called function that does the whole task by itself; None if there is none."""
    with _Calls() as calls:
        for inputs in exercise.inputs:
            _result(answer, inputs)
    return next((function.__name__ for function in calls.called if function in exercise.by_hand), None)


def _named(inputs: tuple, answer: Callable) -> str:
    """The inputs as text, each with the name of the answer's argument."""
    try:
        names = list(inspect.signature(answer).parameters)
    except ValueError:  # some functions written in C have no signature
        names = []
    if len(names) != len(inputs):
        return _shown(inputs)
    return "\n".join(f"{name} = {_shown(value)}" for name, value in zip(names, inputs, strict=True))


def _difference(result: Any, right: Any) -> str:
    """The difference in one sentence, or both values if no sentence can say it."""
    if isinstance(result, Exception):
        return said(TEXTS, "it raised {name}: {error}", name=type(result).__name__, error=result)
    if isinstance(result, torch.Tensor) and isinstance(right, torch.Tensor):
        if result.shape != right.shape:
            shapes = dict(shape=tuple(result.shape), expected=tuple(right.shape))
            return said(TEXTS, "the shape is {shape}, expected {expected}.", **shapes)
        if result.is_floating_point() != right.is_floating_point():
            return said(
                TEXTS, "the numbers are {dtype}, expected {expected}.", dtype=result.dtype, expected=right.dtype
            )
        if right.numel() > MANY:
            largest = (result.double() - right.double()).abs().max()
            return said(TEXTS, "the numbers differ by up to {largest:.2g}.", largest=largest)
    elif type(result) is not type(right):
        types = dict(type=type(result).__name__, expected=type(right).__name__)
        return said(TEXTS, "the answer is of type {type}, expected {expected}.", **types)
    return said(TEXTS, "expected\n{expected}\ngot\n{got}\n", expected=_shown(right), got=_shown(result))


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
        return said(TEXTS, "a small {name}", name=type(value).__name__.strip("_"))
    if isinstance(value, torch.Tensor) and value.numel() > MANY:
        return said(TEXTS, "a tensor of shape {shape}", shape=tuple(value.shape))
    return "\n".join(map(_shown, value)) if isinstance(value, tuple) else str(value)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    """Fixed normal random numbers in float64, to try answers on."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
