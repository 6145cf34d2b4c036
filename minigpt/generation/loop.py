"""Token by token: the loop of greedy decoding and sampling, for prompts of any lengths in one batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..fast import fast_reader
from ..language_model import LanguageModel, Past, Start, eval_mode
from .stopping import Stopping


@dataclass(frozen=True)
class Step:
    """One new token for each row that was still going on: the number of its answer, the token, its log-probability by
    the model itself (natural logarithm), and why the row ends with it (None: it goes on). logits, float32 (len(rows),
    V), are those that it was chosen from, after the processors: an inference tensor, so clone it before you change it.
    """

    rows: list[int]
    tokens: list[int]
    log_probabilities: list[float]
    stop_reasons: list[str | None]
    logits: torch.Tensor


@torch.inference_mode()
def decode(
    model: LanguageModel, rows: Sequence[int], start: Start, stopping: Stopping, process: Callable, choose: Callable
) -> Iterator[Step]:
    """Yield a Step for every token; a row that has stopped leaves the batch, and costs nothing more.

    rows are the numbers of the prompts in start; each Step holds those of its tokens. process(logits (B, V), texts)
    returns new logits, from which choose(logits, rows) takes one token a row. Raises FloatingPointError for nan.
    """
    texts = {row: list(text) for row, text in zip(rows, start.texts, strict=True)}
    n_prompt = {row: len(text) for row, text in texts.items()}
    unread, past = start.unread, start.past
    read = reader(model, stopping.max_new_tokens)
    n_new = 0

    while rows:
        logits = read(unread, past)
        by_the_model = log_probabilities(logits)
        processed = process(stopping.postpone(logits, n_new), [texts[row] for row in rows])
        new = choose(processed, rows)
        unread = torch.tensor(new, device=model.device)[:, None]
        for row, token in zip(rows, new, strict=True):
            texts[row].append(token)
        n_new += 1
        reasons = [stopping.reason(n_prompt[row], n_new, texts[row][-1]) for row in rows]
        yield Step(rows, new, by_the_model.gather(1, unread)[:, 0].tolist(), reasons, processed)
        going_on = [place for place, reason in enumerate(reasons) if reason is None]
        if len(going_on) < len(rows):
            rows, unread = [rows[place] for place in going_on], unread[going_on]
            if rows:
                past.select(going_on)


def reader(model: LanguageModel, n_steps: int) -> Callable:
    """`next_logits` of this model, (unread, past) -> logits, to be called about n_steps times; a single token is read
    the fast way (`fast_reader`) if there is one."""
    return fast_reader(model, n_steps, lambda unread, past: next_logits(model, unread, past))


def next_logits(model: LanguageModel, unread: torch.Tensor, past: Past) -> torch.Tensor:
    """Read tokens (B, T) and return float32 logits (B, V) of the token after the last; no others are computed."""
    with eval_mode(model):
        for part in past.parts_to_read(unread):
            hidden = model.read(part, past)
        return model.logits(hidden[:, -1]).float()


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """log-softmax of logits (B, V). Raises FloatingPointError where that is nan."""
    found = logits.log_softmax(dim=-1)
    if found[:, 0].isnan().any():  # a nan or +inf anywhere makes the whole row nan
        raise FloatingPointError("the model's logits are not finite: look for nan or inf in its weights")
    return found
