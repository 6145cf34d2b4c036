"""The settings of `generate`, and its other arguments: checked before any work."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import index

import torch

from .._checks import check_fields, choice, flag, integer, is_integer, number, several, token_ids
from ..language_model import LanguageModel, check_language_model
from .processors import PROCESSORS, process
from .stopping import Stopping


@dataclass(frozen=True)
class Settings:
    """The settings of `generate`, which explains them. Raises ValueError for one out of range, and for one that would
    have no effect."""

    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    suppress_tokens: Sequence[int] | None = None
    processors: Sequence[Callable] = ()
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    num_return_sequences: int = 1
    min_new_tokens: int = 0
    stop_tokens: Sequence[int] | None = None
    seed: int | Sequence[int] | None = None
    use_cache: bool = True

    def __post_init__(self):
        check_fields(self, flag, "do_sample use_cache")
        check_fields(self, number, "temperature repetition_penalty")
        check_fields(self, number, "top_p min_p", or_none=True)
        check_fields(self, number, "length_penalty", least=-100, most=100)
        check_fields(self, integer, "num_beams num_return_sequences", least=1)
        check_fields(self, integer, "no_repeat_ngram_size min_new_tokens", least=0)
        check_fields(self, _functions, "processors")
        check_fields(self, _kept, "suppress_tokens stop_tokens seed", or_none=True)
        check_fields(self, choice, "early_stopping", choices=(True, False, "never"))
        sampling = (self.temperature, self.top_k, self.top_p, self.min_p, self.seed)
        if not self.do_sample and sampling != (1.0, None, None, None, None):
            names = "temperature, top_k, top_p, min_p and seed"
            raise ValueError(f"{names} need do_sample=True: without it nothing is drawn")
        if self.do_sample and self.num_beams > 1:
            raise ValueError(f"num_beams={self.num_beams} searches and do_sample=True draws: choose one of them")
        if self.num_beams == 1 and (self.length_penalty, self.early_stopping) != (1.0, False):
            raise ValueError("length_penalty and early_stopping need num_beams above 1: they rank beams")
        if not self.do_sample and self.num_return_sequences > self.num_beams:
            n = self.num_return_sequences
            found = "greedy decoding has one answer" if self.num_beams == 1 else f"num_beams={self.num_beams} is fewer"
            raise ValueError(f"num_return_sequences={n} needs do_sample=True or {n} beams: {found}")
        process(torch.zeros(1, 1), [[0]], **self._of_processors() | {"processors": ()})  # each refuses bad settings

    def process(self, logits: torch.Tensor, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits (B, V) of the token after each text -> the logits (B, V) that it is chosen from."""
        return process(logits, texts, **self._of_processors())

    def _of_processors(self) -> dict:
        return {name: getattr(self, name) for name, *_ in PROCESSORS}

    def chooser(self, prompts: Sequence[Sequence[int]]) -> Callable:
        """A function (logits (B, V), numbers of the rows) -> one token id a row."""
        if not self.do_sample:
            return lambda logits, rows: _some_left(logits).argmax(dim=-1).tolist()
        generators = [torch.Generator().manual_seed(seed) for seed in row_seeds(prompts, self.seed)]

        def draw(logits, rows):
            rows_of_probabilities = zip(_some_left(logits).softmax(dim=-1).cpu(), rows, strict=True)
            return [int(torch.multinomial(p, 1, generator=generators[row])) for p, row in rows_of_probabilities]

        return draw

    def stopping(self, model: LanguageModel, max_new_tokens: int) -> Stopping:
        """When a text of this model ends. Raises ValueError for a stop token or a suppressed one that is not in the
        vocabulary, where no other token is left, and unless max_new_tokens is an integer of at least min_new_tokens."""
        max_new_tokens = integer("max_new_tokens", max_new_tokens, 0)
        if self.min_new_tokens > max_new_tokens:
            raise ValueError(f"min_new_tokens={self.min_new_tokens} is above max_new_tokens={max_new_tokens}")
        for name in ("stop_tokens", "suppress_tokens"):
            _check_ids(name, getattr(self, name), model.vocab_size)
        stop_tokens = model.end_tokens if self.stop_tokens is None else frozenset(map(index, self.stop_tokens))
        never = [] if self.suppress_tokens is None else map(index, self.suppress_tokens)
        at_first = {*never, *(stop_tokens if self.min_new_tokens else [])}  # what may not be chosen
        if sum(token < model.vocab_size for token in at_first) == model.vocab_size:
            names = "suppress_tokens" + " and the stop tokens" * (self.min_new_tokens > 0)
            raise ValueError(f"no token can be chosen: {names} are all {model.vocab_size} of the vocabulary")
        return Stopping(stop_tokens, max_new_tokens, model.max_tokens, self.min_new_tokens)


def _kept(name: str, value):
    """The value; where it is an iterator, which can be read only once, a list of what it gives."""
    return list(value) if isinstance(value, Iterator) else value


def _functions(name: str, value) -> tuple[Callable, ...]:
    functions = tuple(several(name, value, "functions (logits, texts) -> logits"))
    for place, function in enumerate(functions):
        if not callable(function):
            raise ValueError(f"{name} must be a list of functions, got {function!r:.80} as function {place}")
    return functions


def _some_left(logits: torch.Tensor) -> torch.Tensor:
    """The logits (B, V), where each row has a token that may be chosen. Raises ValueError for a row of -inf."""
    if logits.amax(dim=-1).isneginf().any():
        raise ValueError("no token can be chosen: the processors forbid all of them")
    return logits


def _check_ids(name: str, ids: Sequence[int] | None, vocab_size: int) -> None:
    try:
        fits = ids is None or all(0 <= token < vocab_size for token in token_ids(name, ids))
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{name} must be ids in 0..{vocab_size - 1}, got {ids!r:.80}")


def row_seeds(prompts: Sequence[Sequence[int]], seed: int | Sequence[int] | None) -> list[int]:
    """The seed of each row's random generator; see `generate`."""
    if seed is None:
        return torch.randint(2**62, (len(prompts),)).tolist()
    largest = 2**63 - 1
    wrong = f"seed must be an integer of 64 bits, or a list with one for each answer, got {seed!r}"
    if is_integer(seed):
        rows = list(map(tuple, prompts))
        seeds = [index(seed) + rows[:row].count(prompt) for row, prompt in enumerate(rows)]
    else:
        try:
            seeds = token_ids("seed", seed)
        except (TypeError, ValueError):
            raise ValueError(wrong) from None
    if len(seeds) != len(prompts) or not all(abs(one) <= largest for one in seeds):
        raise ValueError(wrong)
    return seeds


def check_prompts(prompts: Sequence[Sequence[int]], model: LanguageModel) -> list[list[int]]:
    """The prompts as lists of plain integers, whatever they came in: lists, ranges, arrays, tensors.

    Raises ValueError for a model that writes no texts, and for a prompt that it cannot continue.
    """
    check_language_model(model, "continue a text")
    checked = []
    for row, prompt in enumerate(several("prompts", prompts, "lists of token ids")):
        try:
            checked.append(token_ids("prompt", prompt))
        except (TypeError, ValueError):
            raise ValueError(f"prompts must be lists of token ids, got {prompt!r:.80} as prompt {row}") from None
    if not checked:
        raise ValueError("prompts is empty: give at least one list of token ids")
    for row, prompt in enumerate(checked):
        if not prompt:
            raise ValueError(f"prompt {row} is empty: there is no token to continue")
        if model.max_tokens is not None and len(prompt) > model.max_tokens:
            raise ValueError(f"prompt {row} has {len(prompt)} tokens, the context holds {model.max_tokens}")
        for position, token in enumerate(prompt):
            if not 0 <= token < model.vocab_size:
                limit = f"0..{model.vocab_size - 1} (vocab_size={model.vocab_size})"
                raise ValueError(f"token id {token} of prompt {row}, position {position}, is outside {limit}")
    return checked
