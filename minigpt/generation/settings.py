"""Continue texts: what every user of the package calls. The loops are in decoding.py and beam_search.py.

Training reads a whole text at once; generating writes one token, reads it, and writes the next.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from operator import index

import torch
from tqdm import tqdm

from ..models import GPT2, GPT2Config
from .beams import beam_search
from .loop import Step, decode
from .processors import (
    apply_temperature,
    forbid_repeated_ngrams,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
)


@dataclass
class Generation:
    """A prompt and what has been written behind it.

    tokens start with the prompt. log_probabilities are those of the new tokens by the model itself, before any
    processor (natural logarithms). stop_reason is "stop token", "length" (max_new_tokens are written), "context"
    (n_positions are full), or None while it is being written.
    """

    tokens: list[int]
    log_probabilities: list[float]
    stop_reason: str | None

    @property
    def new_tokens(self) -> list[int]:
        return self.tokens[len(self.tokens) - len(self.log_probabilities) :]


def begin(prompts: Sequence[Sequence[int]], max_new_tokens: int, config: GPT2Config) -> list[Generation]:
    """Generations with nothing written yet; one that has no room for a token has its stop_reason already."""
    answers = [Generation(list(prompt), [], None) for prompt in prompts]
    for answer in answers:
        if max_new_tokens == 0:
            answer.stop_reason = "length"
        elif len(answer.tokens) >= config.n_positions:
            answer.stop_reason = "context"
    return answers


def add_step(generations: list[Generation], step: Step) -> None:
    """Write a step's tokens behind the generations they belong to."""
    new = zip(step.rows, step.tokens, step.log_probabilities, step.stop_reasons, strict=True)
    for row, token, log_probability, stop_reason in new:
        generations[row].tokens.append(token)
        generations[row].log_probabilities.append(log_probability)
        generations[row].stop_reason = stop_reason


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
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    stop_tokens: Sequence[int] | None = None
    seed: int | Sequence[int] | None = None
    use_cache: bool = True

    def __post_init__(self):
        for name in ("do_sample", "use_cache"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("temperature", "top_p", "min_p", "repetition_penalty", "length_penalty"):
            value = getattr(self, name)
            if not isinstance(value, Real) and not (value is None and name in ("top_p", "min_p")):
                raise ValueError(f"{name} must be a number, got {value!r}")
        for name in ("num_beams", "no_repeat_ngram_size"):
            smallest = 1 if name == "num_beams" else 0
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
                raise ValueError(f"{name} must be an integer of at least {smallest}, got {value!r}")
        if not -100 <= self.length_penalty <= 100:
            raise ValueError(f"length_penalty must be between -100 and 100, got {self.length_penalty!r}")
        if not isinstance(self.early_stopping, bool | str) or self.early_stopping not in (True, False, "never"):
            raise ValueError(f'early_stopping must be True, False or "never", got {self.early_stopping!r}')
        sampling = (self.temperature, self.top_k, self.top_p, self.min_p, self.seed)
        if not self.do_sample and sampling != (1.0, None, None, None, None):
            names = "temperature, top_k, top_p, min_p and seed"
            raise ValueError(f"{names} need do_sample=True: without it nothing is drawn")
        if self.do_sample and self.num_beams > 1:
            raise ValueError(f"num_beams={self.num_beams} searches and do_sample=True draws: choose one of them")
        if self.num_beams == 1 and (self.length_penalty, self.early_stopping) != (1.0, False):
            raise ValueError("length_penalty and early_stopping need num_beams above 1: they rank beams")
        self.process(torch.zeros(1, 1), [[0]])  # each processor refuses its own bad settings

    def process(self, logits: torch.Tensor, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits (B, V) behind texts -> what the next tokens are chosen from. The order matters."""
        if self.repetition_penalty != 1.0:
            logits = penalize_repetition(logits, texts, self.repetition_penalty)
        if self.no_repeat_ngram_size != 0:
            logits = forbid_repeated_ngrams(logits, texts, self.no_repeat_ngram_size)
        if self.temperature != 1.0:
            logits = apply_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = keep_min_p(logits, self.min_p)
        return logits

    def chooser(self, prompts):
        """A function (logits (B, V), numbers of the rows) -> one token id a row."""
        if not self.do_sample:
            return lambda logits, rows: logits.argmax(dim=-1).tolist()
        generators = [torch.Generator().manual_seed(seed) for seed in row_seeds(prompts, self.seed)]

        def draw(logits, rows):
            rows_of_probabilities = zip(logits.softmax(dim=-1).cpu(), rows, strict=True)
            return [int(torch.multinomial(p, 1, generator=generators[row])) for p, row in rows_of_probabilities]

        return draw

    def stop_ids(self, config: GPT2Config) -> set[int]:
        """The ids that end a row. Raises ValueError for one that is not in the vocabulary."""
        if self.stop_tokens is None:
            return set() if config.eos_token_id is None else {config.eos_token_id}
        limit = f"stop_tokens must be ids in 0..{config.vocab_size - 1}, got {self.stop_tokens!r}"
        try:
            ids = {index(token) for token in self.stop_tokens}
        except TypeError:
            raise ValueError(limit) from None
        if not all(0 <= token < config.vocab_size for token in ids):
            raise ValueError(limit)
        return ids


def generate(
    model: GPT2,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    stop_tokens: Sequence[int] | None = None,
    seed: int | Sequence[int] | None = None,
    use_cache: bool = True,
) -> list[list[int]]:
    """Continue prompts, lists of token ids of any lengths, by up to max_new_tokens each.

    Returns token ids, each answer with its prompt in front and its stop token, if one came, at the end. What becomes
    of a prompt does not depend on the others in the batch.

    do_sample False takes the most likely token each time (greedy), or with num_beams > 1 searches for the most likely
    text (beam search; length_penalty and early_stopping as in `beam_search`). True draws: temperature, top_k, top_p and
    min_p shape the probabilities (processors.py), seed makes the draws repeatable. Each row has a random generator of
    its own: an int seeds every row with seed + the number of equal prompts before it, so that the same prompt given
    five times gives five answers (different prompts then draw with the same random numbers, and may come to resemble
    each other); a list gives each row its own seed; None takes fresh ones from torch's generator.
    repetition_penalty and no_repeat_ngram_size work with all three.

    stop_tokens None = the config's eos_token_id; [] = never stop. A row also stops when it holds n_positions tokens.
    Raises ValueError, before any work, for a setting out of range or without effect, an empty prompt, an id out of
    range, or a prompt longer than the context; FloatingPointError where logits are not finite.
    """
    settings = Settings(
        do_sample, temperature, top_k, top_p, min_p, repetition_penalty, no_repeat_ngram_size,
        num_beams, length_penalty, early_stopping, stop_tokens, seed, use_cache,
    )  # fmt: skip
    return [generation.tokens for generation in _generate(model, prompts, max_new_tokens, settings)]


def generate_details(model: GPT2, prompts, max_new_tokens: int, **settings) -> list[Generation]:
    """`generate`, with each new token's log-probability and the reason why each row stopped."""
    return _generate(model, prompts, max_new_tokens, Settings(**settings))


def stream(model: GPT2, prompt: Sequence[int], max_new_tokens: int, **settings) -> Iterator[int]:
    """The new token ids of one prompt, each as soon as it is chosen. Settings and errors as in `generate`."""
    return (step.tokens[0] for step in steps(model, [prompt], max_new_tokens, **settings))


def steps(model: GPT2, prompts, max_new_tokens: int, **settings) -> Iterator[Step]:
    """What happens inside `generate`, a Step at a time: tokens, their log-probabilities, and the logits they were
    chosen from. Raises ValueError for num_beams > 1 as well: a search knows its answer only at the end."""
    settings = Settings(**settings)
    if settings.num_beams > 1:
        raise ValueError(f"num_beams={settings.num_beams} cannot be streamed: a search knows its answer at the end")
    return _decode(model, check_prompts(prompts, model.config), check_max_new_tokens(max_new_tokens), settings)


def row_seeds(prompts: Sequence[Sequence[int]], seed: int | Sequence[int] | None) -> list[int]:
    """The seed of each row's random generator; see `generate`."""
    if seed is None:
        return torch.randint(2**62, (len(prompts),)).tolist()
    wrong = f"seed must be an integer of 64 bits, or a list with one for each prompt, got {seed!r}"
    try:
        seeds = [index(s) for s in seed] if isinstance(seed, Iterable) else index(seed)
    except TypeError:
        raise ValueError(wrong) from None
    if isinstance(seeds, int):
        rows = list(map(tuple, prompts))
        seeds = [seeds + rows[:row].count(prompt) for row, prompt in enumerate(rows)]
    if len(seeds) != len(prompts) or not all(abs(s) < 2**63 for s in seeds):
        raise ValueError(wrong)
    return seeds


def check_prompts(prompts, config: GPT2Config) -> list[list[int]]:
    """The prompts as lists of plain integers, whatever they came in: lists, ranges, arrays, tensors."""
    checked = []
    for row, prompt in enumerate(prompts):
        try:
            checked.append([index(token) for token in prompt])
        except TypeError:
            raise ValueError(f"prompts must be lists of token ids, got {prompt!r:.80} as prompt {row}") from None
    if not checked:
        raise ValueError("prompts is empty: give at least one list of token ids")
    for row, prompt in enumerate(checked):
        if not prompt:
            raise ValueError(f"prompt {row} is empty: there is no token to continue")
        if len(prompt) > config.n_positions:
            raise ValueError(
                f"prompt {row} has {len(prompt)} tokens, the context holds n_positions={config.n_positions}"
            )
        for position, token in enumerate(prompt):
            if not 0 <= token < config.vocab_size:
                limit = f"0..{config.vocab_size - 1} (vocab_size={config.vocab_size})"
                raise ValueError(f"token id {token} of prompt {row}, position {position}, is outside {limit}")
    return checked


def check_max_new_tokens(max_new_tokens) -> int:
    """Raise ValueError unless it is an integer of at least 0."""
    if not isinstance(max_new_tokens, int) or isinstance(max_new_tokens, bool) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be an integer of at least 0, got {max_new_tokens!r}")
    return max_new_tokens


def _decode(model, prompts, max_new_tokens, settings: Settings) -> Iterator[Step]:
    choose, stop = settings.chooser(prompts), settings.stop_ids(model.config)
    return decode(model, prompts, max_new_tokens, settings.process, choose, stop, settings.use_cache)


def _generate(model, prompts, max_new_tokens, settings: Settings) -> list[Generation]:
    prompts = check_prompts(prompts, model.config)
    answers = begin(prompts, check_max_new_tokens(max_new_tokens), model.config)
    progress = dict(desc="generate", delay=2, leave=False, disable=None)  # on a terminal, after two seconds
    if settings.num_beams > 1:
        stop = settings.stop_ids(model.config)
        return [_search(model, answer, max_new_tokens, stop, settings) for answer in tqdm(answers, **progress)]
    for step in tqdm(_decode(model, prompts, max_new_tokens, settings), total=max_new_tokens, unit="token", **progress):
        add_step(answers, step)
    return answers


def _search(model, answer: Generation, max_new_tokens, stop, settings: Settings) -> Generation:
    if answer.stop_reason is not None:  # no room for a single token
        return answer
    search = beam_search(
        model, answer.tokens, max_new_tokens, settings.num_beams,
        length_penalty=settings.length_penalty, early_stopping=settings.early_stopping,
        stop_tokens=stop, process=settings.process, use_cache=settings.use_cache,
    )  # fmt: skip
    [last] = deque(search, maxlen=1)  # the states before it are not needed
    best = last.finished[0]
    return Generation(best.tokens, best.log_probabilities, best.stop_reason)
