"""Continue texts: what every user of the package calls. The loops are in loop.py and beams.py.

Training reads a whole text at once; generating writes one token, reads it, and writes the next.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from ..language_model import LanguageModel
from .beams import beam_search
from .loop import Step, decode
from .settings import Settings, check_prompts
from .stopping import Stopping


@dataclass
class Generation:
    """A prompt and what has been written after it.

    tokens start with the prompt. log_probabilities are those of the new tokens by the model itself, before any
    processor (natural logarithms). stop_reason is "stop token", "length" (max_new_tokens are written), "context"
    (the model's context is full), or None while it is being written.
    """

    tokens: list[int]
    log_probabilities: list[float]
    stop_reason: str | None

    @property
    def new_tokens(self) -> list[int]:
        return self.tokens[len(self.tokens) - len(self.log_probabilities) :]

    def add(self, token: int, log_probability: float, stop_reason: str | None) -> None:
        """Write one token after the text."""
        self.tokens.append(token)
        self.log_probabilities.append(log_probability)
        self.stop_reason = stop_reason


def generate(
    model: LanguageModel,
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
    suppress_tokens: Sequence[int] | None = None,
    processors: Sequence[Callable] = (),
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    num_return_sequences: int = 1,
    min_new_tokens: int = 0,
    stop_tokens: Sequence[int] | None = None,
    seed: int | Sequence[int] | None = None,
    use_cache: bool = True,
) -> list[list[int]]:
    """Continue prompts, lists of token ids of any lengths, by up to max_new_tokens each.

    Returns token ids, each answer with its prompt in front and its stop token, if one came, at the end. The answer to a
    prompt does not depend on the other prompts in the batch. num_return_sequences = n > 1 gives n answers to each
    prompt, side by side in one flat list: n draws, or the n best texts of a search with at least n beams.

    do_sample False takes the most likely token each time (greedy), or with num_beams > 1 searches for the most likely
    text (beam search; length_penalty and early_stopping as in `beam_search`). True draws tokens: temperature, top_k,
    top_p and min_p change the probabilities (processors.py), seed makes the draws repeatable. Each row has its own
    random generator. With an int its seed is that int + the number of equal prompts before it: five equal prompts get
    five different answers. (Different prompts draw with the same random numbers, so their texts may resemble each
    other.) n answers to a prompt are the answers to n equal prompts: with seed 7 they are what 7, 8, 9 ... draw. A list
    gives each answer its own seed; None takes new seeds from torch's generator.

    These work in all three ways: repetition_penalty, no_repeat_ngram_size, suppress_tokens (ids that are never chosen),
    and processors, your own functions (logits (B, V) float32, texts) -> logits. A text is a list of ids, its prompt in
    front; -inf forbids a token. Their place is Hugging Face's: after the settings named in this paragraph, before
    temperature, top_k, top_p and min_p (processors.py). In a search their logits are log-probabilities. (A
    LogitsProcessor of Hugging Face takes its two arguments the other way round.)

    stop_tokens None = the config's eos_token_id; [] = never stop. None of them is chosen before min_new_tokens. A row
    also stops when it holds n_positions tokens. Raises ValueError, before any work, for a setting out of range or
    without effect, an empty prompt, an id out of range, or a prompt longer than the context; later for a processor
    that returns no logits, where every token is forbidden, and for a search that finds fewer than n texts;
    FloatingPointError where logits are not finite.
    """
    answers = generate_details(
        model, prompts, max_new_tokens,
        do_sample=do_sample, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty, no_repeat_ngram_size=no_repeat_ngram_size,
        suppress_tokens=suppress_tokens, processors=processors,
        num_beams=num_beams, length_penalty=length_penalty, early_stopping=early_stopping,
        num_return_sequences=num_return_sequences, min_new_tokens=min_new_tokens,
        stop_tokens=stop_tokens, seed=seed, use_cache=use_cache,
    )  # fmt: skip
    return [answer.tokens for answer in answers]


def generate_details(model: LanguageModel, prompts, max_new_tokens: int, **settings) -> list[Generation]:
    """`generate`, with each new token's log-probability and the reason why each row stopped."""
    settings = Settings(**settings)
    prompts, stopping = check_prompts(prompts, model), settings.stopping(model, max_new_tokens)
    progress = dict(desc="generate", delay=2, leave=False, disable=None)  # on a terminal only
    if settings.num_beams > 1:
        return [best for prompt in tqdm(prompts, **progress) for best in _search(model, prompt, settings, stopping)]
    answers, steps = _decode(model, prompts, settings, stopping)
    for step in tqdm(steps, total=stopping.max_new_tokens, unit="token", **progress):
        add_step(answers, step)
    return answers


def stream(model: LanguageModel, prompt: Sequence[int], max_new_tokens: int, **settings) -> Iterator[int]:
    """The new token ids of one prompt, each as soon as it is chosen. Settings and errors as in `generate`; ValueError
    for num_return_sequences > 1 as well: it is one text."""
    settings = Settings(**settings)
    if (n := settings.num_return_sequences) > 1:
        raise ValueError(f"num_return_sequences={n} cannot be streamed as one text: `steps` gives several side by side")
    return (step.tokens[0] for step in _steps(model, [prompt], max_new_tokens, settings))


def steps(model: LanguageModel, prompts, max_new_tokens: int, **settings) -> Iterator[Step]:
    """What happens inside `generate`, a Step at a time: tokens, their log-probabilities, and the logits they were
    chosen from. Raises ValueError for num_beams > 1 as well: a search knows its answer only at the end."""
    return _steps(model, prompts, max_new_tokens, Settings(**settings))


def _steps(model: LanguageModel, prompts, max_new_tokens: int, settings: Settings) -> Iterator[Step]:
    if settings.num_beams > 1:
        raise ValueError(f"num_beams={settings.num_beams} cannot be streamed: a search knows its answer at the end")
    prompts, stopping = check_prompts(prompts, model), settings.stopping(model, max_new_tokens)
    _, steps = _decode(model, prompts, settings, stopping)
    return steps


def begin(model: LanguageModel, prompts: Sequence[Sequence[int]], stopping: Stopping) -> list[Generation]:
    """Generations with nothing written yet; one whose context is full has its stop_reason already."""
    texts = model.first_texts(prompts)
    return [Generation(text, [], stopping.reason(len(text), 0)) for text in texts]


def add_step(generations: list[Generation], step: Step) -> None:
    """Write a step's tokens after the generations that they belong to."""
    for row, *new in zip(step.rows, step.tokens, step.log_probabilities, step.stop_reasons, strict=True):
        generations[row].add(*new)


def _decode(model, prompts, settings: Settings, stopping: Stopping) -> tuple[list[Generation], Iterator[Step]]:
    """The texts with nothing written yet, and the steps that write them. One whose context is full is not started:
    it would need a place in the cache."""
    prompts = [prompt for prompt in prompts for _ in range(settings.num_return_sequences)]
    answers = begin(model, prompts, stopping)
    choose = settings.chooser(prompts)
    rows = [row for row, answer in enumerate(answers) if answer.stop_reason is None]
    if not rows:
        return answers, iter([])
    start = model.start([prompts[row] for row in rows], stopping.max_new_tokens, settings.use_cache)
    return answers, decode(model, rows, start, stopping, settings.process, choose)


def _search(model, prompt: list[int], settings: Settings, stopping: Stopping) -> list[Generation]:
    """The num_return_sequences best texts, the best first."""
    n = settings.num_return_sequences
    empty = begin(model, [prompt] * n, stopping)
    if empty[0].stop_reason is not None:  # the context is full
        return empty
    search = beam_search(
        model,
        prompt,
        stopping.max_new_tokens,
        settings.num_beams,
        length_penalty=settings.length_penalty,
        early_stopping=settings.early_stopping,
        stop_tokens=stopping.stop_tokens,
        min_new_tokens=stopping.min_new_tokens,
        process=settings.process,
        use_cache=settings.use_cache,
    )
    [last] = deque(search, maxlen=1)  # the states before it are not needed
    if len(last.finished) < n:
        raise ValueError(f"num_return_sequences={n}, but the search found only {len(last.finished)} texts")
    return [Generation(beam.tokens, beam.log_probabilities, beam.stop_reason) for beam in last.finished[:n]]
