"""Beam search: keep the num_beams most likely beginnings instead of one, and rank the texts that end.

A greedy text is not the most likely one: a dull word may lead to a splendid sentence. (Sutskever et al. 2014, section
3.2. The length penalty is that of Wu et al. 2016, section 7, in its simplest form: log-probability / length^α.)
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

import torch

from ..language_model import LanguageModel
from .loop import log_probabilities, reader
from .stopping import Stopping


@dataclass(frozen=True)
class Beam:
    """A text in the running, or a finished one: its tokens, prompt in front; the log-probability of each new token;
    its score, the sum of them (as the processors left them), which for a finished text is divided by
    length^length_penalty; and why it is finished."""

    tokens: list[int]
    log_probabilities: list[float]
    score: float
    stop_reason: str | None = None


@dataclass(frozen=True)
class Beams:
    """The state after a step, both best first."""

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
    process: Callable = lambda logits, texts: logits,
    use_cache: bool = True,
) -> Iterator[Beams]:
    """Search for a continuation of at least one and up to max_new_tokens; the answer is the first of the last step's
    finished.

    length_penalty above 0 favours longer texts, below 0 shorter ones: log-probabilities are negative. early_stopping
    says when to be content with num_beams finished texts:
        True     at once;
        False    when the best beam in the running, ending now, would not be better than the worst of them;
        "never"  when it could not even become better (with a length penalty above 0: at full length, for free).
    process(log-probabilities (B, V), texts) is applied before scores are added, as Hugging Face does.
    """
    stopping = Stopping(frozenset(stop_tokens), max_new_tokens, model.max_tokens)
    [text], unread, past = model.start([prompt], max_new_tokens, use_cache)
    most_new = stopping.most_new(len(text))
    if most_new < 1:
        raise ValueError(
            f"no token can be written: max_new_tokens={max_new_tokens}, {len(text)} of the context's tokens used"
        )
    read = reader(model, max_new_tokens)
    running = [Beam(text, [], 0.0)]
    finished: list[Beam] = []
    # A beam has one best token and as many others as could end it: so many candidates leave num_beams to go on with.
    n_candidates = max(2, 1 + len(stop_tokens)) * num_beams

    while running:
        logits = read(unread, past)  # (beams, V)
        by_the_model = log_probabilities(logits)
        processed = process(by_the_model, [beam.tokens for beam in running])
        scores = processed + torch.tensor([[beam.score] for beam in running], device=model.device)
        best = scores.flatten().topk(min(n_candidates, scores.numel()))
        parents, tokens = (best.indices // scores.size(1)).tolist(), (best.indices % scores.size(1)).tolist()
        n_new = len(running[0].log_probabilities) + 1

        going_on = []  # (parent, beam)
        ended = []
        candidates = zip(parents, tokens, by_the_model[parents, tokens].tolist(), best.values.tolist(), strict=True)
        for rank, (parent, token, log_probability, score) in enumerate(candidates):
            tokens_so_far = [*running[parent].tokens, token]
            history = [*running[parent].log_probabilities, log_probability]
            reason = stopping.reason(len(text), n_new, token)
            if reason is None and len(going_on) < num_beams:
                going_on.append((parent, Beam(tokens_so_far, history, score)))
            elif reason is not None and rank < num_beams:  # one that ends from further down was not worth a beam
                ended.append(Beam(tokens_so_far, history, score / n_new**length_penalty, reason))
        finished = sorted(finished + ended, key=lambda beam: -beam.score)[:num_beams]
        running = [beam for _, beam in going_on]
        yield Beams(running, finished)

        if len(finished) == num_beams and running:
            hoped_length = most_new if early_stopping == "never" and length_penalty > 0 else n_new
            if early_stopping is True or running[0].score / hoped_length**length_penalty <= finished[-1].score:
                return
        if running:
            unread = torch.tensor([beam.tokens[-1:] for beam in running], device=model.device)
            past.select([parent for parent, _ in going_on])
