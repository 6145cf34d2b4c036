"""Token by token: the loop behind greedy decoding and sampling, for prompts of any lengths in one batch.

Prompts are padded on the left, so that every row's next token comes in the same column:

    row 0   [pad pad the  cat]  sat  down
    row 1   [the old  grey cat] was  here      the mask hides the pads, the positions start behind them
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

import torch

from ..fast.cuda_graph import can_be_recorded, recorded_step
from ..fast.one_token import is_plain, one_token_step
from ..kv_cache import KVCache
from ..models import GPT2
from ..models.gpt2 import eval_mode

# A long prompt is read in chunks of so many tokens: attention then holds (chunk, T) scores and never (T, T).
PREFILL_CHUNK = 512


@dataclass(frozen=True)
class Step:
    """One new token for each row that was still going on: its prompt's number, the token, how likely the model itself
    held it (natural logarithm), why the row ends with it (None: it goes on), and the logits it was chosen from, the
    processors' work included, float32 (len(rows), V); an inference tensor, to be cloned by who wants to change it."""

    rows: list[int]
    tokens: list[int]
    log_probabilities: list[float]
    stop_reasons: list[str | None]
    logits: torch.Tensor


def next_logits(model: GPT2, unread: torch.Tensor, mask=None, cache: KVCache | None = None) -> torch.Tensor:
    """Read tokens (B, T) behind those in the cache; float32 logits (B, V) of the token after the last.

    mask (B, past + T) as in `GPT2.hidden`. With a cache, long texts are read in chunks. Logits are computed for the
    last position only: the others would be thrown away.
    """
    with eval_mode(model):
        if cache is None:
            hidden = model.hidden(unread, mask)
        else:
            for part in unread.split(PREFILL_CHUNK, dim=1):
                seen = None if mask is None else mask[:, : cache.length + part.size(1)]
                hidden = model.hidden(part, seen, cache=cache)
        return model.logits(hidden[:, -1]).float()


def reader(model: GPT2, n_steps: int) -> Callable:
    """`next_logits` for this model, (unread, mask, cache) -> logits, to be called about n_steps times; a single token
    goes the short way if it may."""
    if not is_plain(model):
        return lambda unread, mask=None, cache=None: next_logits(model, unread, mask, cache)
    step = recorded_step(model, n_steps) if can_be_recorded(model) else one_token_step(model, n_steps)

    def read(unread, mask=None, cache=None):
        if cache is None or unread.size(1) > 1:
            return next_logits(model, unread, mask, cache)
        return step(unread, mask, cache).float()

    return read


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """log-softmax of logits (B, V). Raises FloatingPointError where that is no number."""
    found = logits.log_softmax(dim=-1)
    if found[:, 0].isnan().any():  # a nan or +inf anywhere makes the whole row nan
        raise FloatingPointError("the model's logits are not finite; are its weights?")
    return found


@torch.inference_mode()
def decode(
    model: GPT2,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    process: Callable,
    choose: Callable,
    stop_tokens: Set[int],
    use_cache: bool = True,
) -> Iterator[Step]:
    """Yield a Step for every token; a row that has stopped leaves the batch, and costs nothing more.

    process(logits (B, V), texts) gives the logits that choose(logits, rows) picks one token a row from.
    """
    n_positions, device = model.config.n_positions, model.token_embedding.weight.device
    rows = [row for row, prompt in enumerate(prompts) if len(prompt) < n_positions]
    if not rows or max_new_tokens == 0:
        return
    texts = [list(prompt) for prompt in prompts]
    limits = [min(len(prompt) + max_new_tokens, n_positions) for prompt in prompts]
    longest = max(len(texts[row]) for row in rows)
    pads = {row: longest - len(texts[row]) for row in rows}
    unread = torch.tensor([[0] * pads[row] + texts[row] for row in rows], device=device)
    mask = None
    if any(pads.values()):
        mask = torch.tensor([[0] * pads[row] + [1] * len(texts[row]) for row in rows], device=device)
    capacity = max(pads[row] + limits[row] for row in rows) - 1  # the last token of all is written, never read
    cache = model.new_cache(len(rows), capacity) if use_cache else None
    read = reader(model, max_new_tokens)

    while rows:
        logits = read(unread, mask, cache)
        by_the_model = log_probabilities(logits)
        processed = process(logits, [texts[row] for row in rows])
        new = choose(processed, rows)
        newest = torch.tensor(new, device=device)[:, None]
        reasons = []
        for row, token in zip(rows, new, strict=True):
            texts[row].append(token)
            length = len(texts[row])
            at_the_end = "length" if length == len(prompts[row]) + max_new_tokens else "context"
            reasons.append("stop token" if token in stop_tokens else at_the_end if length == limits[row] else None)
        yield Step(rows, new, by_the_model.gather(1, newest)[:, 0].tolist(), reasons, processed)

        going_on = [place for place, reason in enumerate(reasons) if reason is None]
        unread = newest if use_cache else torch.cat([unread, newest], dim=1)
        mask = None if mask is None else torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        if len(going_on) < len(rows):
            rows = [rows[place] for place in going_on]
            unread, mask = unread[going_on], None if mask is None else mask[going_on]
            if cache is not None and rows:
                cache.select(going_on)
