"""Beam search: keep the num_beams most likely beginnings instead of one, and rank the texts that end.

A greedy text need not be the most likely one: after a less likely word very likely ones may follow. (Sutskever et al.
2014, section 3.2. The length penalty is that of Wu et al. 2016, section 7, in its simplest form: log-probability /
length^α.)
"""

import math
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

import torch

from .._checks import integer, token_ids
from ..language_model import LanguageModel
from .loop import log_probabilities, reader
from .stopping import Stopping


@dataclass(frozen=True)
class Beam:
    """A text that is being continued, or a finished one. tokens start with the prompt. log_probabilities are those of
    the new tokens by the model. score is the sum of the log-probabilities after the processors; that of a finished text
    is divided by length^length_penalty (length in new tokens). stop_reason says why it is finished."""

    tokens: list[int]
    log_probabilities: list[float]
    score: float
    stop_reason: str | None = None


@dataclass(frozen=True)
class Beams:
    """The texts after a step: those being continued and those finished, each list with the best first."""

    running: list[Beam]
    finished: list[Beam]


@torch.inference_mode()
def beam_search(
    model: LanguageModel,
    prompt: Sequence[int],
    max_new_tokens: int,
    num_beams: int,
    *,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    stop_tokens: Set[int] = frozenset(),
    min_new_tokens: int = 0,
    process: Callable = lambda logits, texts: logits,
    use_cache: bool = True,
) -> Iterator[Beams]:
    """Search for a continuation of 1 to max_new_tokens tokens. Yields Beams after each step; the answer is finished[0]
    of the last ones. No stop token is chosen before min_new_tokens.

    length_penalty above 0 favours longer texts, below 0 shorter ones: log-probabilities are negative. early_stopping
    says when the search ends, once num_beams texts are finished:
        True     at once;
        False    when the best running beam, if it ended now, would not be better than the worst finished text;
        "never"  when it could never be better (length penalty above 0: at full length, if more tokens cost nothing).
    process(log-probabilities (B, V), texts) is applied before scores are added, as Hugging Face does. A text with a
    forbidden token has a score of -inf, and is dropped. Raises ValueError where no token can be written.
    """
    prompt, num_beams = token_ids("prompt", prompt), integer("num_beams", num_beams, 1)
    max_new_tokens = integer("max_new_tokens", max_new_tokens, 0)
    min_new_tokens = integer("min_new_tokens", min_new_tokens, 0)
    stopping = Stopping(frozenset(stop_tokens), max_new_tokens, model.max_tokens, min_new_tokens)
    [text], unread, past = model.start([prompt], max_new_tokens, use_cache)
    most_new = stopping.most_new(len(text))
    if most_new < 1:
        raise ValueError(
            f"no token can be written: max_new_tokens={max_new_tokens}, {len(text)} of the context's tokens used"
        )
    read = reader(model, max_new_tokens)
    running = [Beam(text, [], 0.0)]
    finished: list[Beam] = []
    # Of a beam's candidates at most len(stop_tokens) end it: of these n_candidates at least num_beams can go on.
    n_candidates = max(2, 1 + len(stop_tokens)) * num_beams

    while running:
        logits = read(unread, past)  # (beams, V)
        by_the_model = log_probabilities(logits)
        n_new = len(running[0].log_probabilities) + 1
        processed = process(stopping.postpone(by_the_model, n_new - 1), [beam.tokens for beam in running])
        scores = processed + torch.tensor([[beam.score] for beam in running], device=model.device)
        best = scores.flatten().topk(min(n_candidates, scores.numel()))
        parents, tokens = (best.indices // scores.size(1)).tolist(), (best.indices % scores.size(1)).tolist()

        going_on = []  # (parent, beam)
        ended = []
        candidates = zip(parents, tokens, by_the_model[parents, tokens].tolist(), best.values.tolist(), strict=True)
        for rank, (parent, token, log_probability, score) in enumerate(candidates):
            if score == -math.inf:  # the best first: what follows is forbidden, too
                break
            tokens_so_far = [*running[parent].tokens, token]
            history = [*running[parent].log_probabilities, log_probability]
            reason = stopping.reason(len(text), n_new, token)
            if reason is None and len(going_on) < num_beams:
                going_on.append((parent, Beam(tokens_so_far, history, score)))
            elif reason is not None and rank < num_beams:  # only the best num_beams may end
                ended.append(Beam(tokens_so_far, history, score / n_new**length_penalty, reason))
        finished = sorted(finished + ended, key=lambda beam: -beam.score)[:num_beams]
        running = [beam for _, beam in going_on]
        if not running and not finished:
            raise ValueError("no token can be chosen: the processors forbid all of them")
        yield Beams(running, finished)

        if len(finished) == num_beams and running:
            hoped_length = most_new if early_stopping == "never" and length_penalty > 0 else n_new
            if early_stopping is True or running[0].score / hoped_length**length_penalty <= finished[-1].score:
                return
        if running:
            unread = torch.tensor([beam.tokens[-1:] for beam in running], device=model.device)
            past.select([parent for parent, _ in going_on])
