"""From logits to text: pure functions that choose a token, and the loop that decodes with them.

Training reads a whole text at once; generating writes one token, reads it, and writes the next.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import index

import torch

from .gpt2 import GPT2, eval_mode

# --- choosing a token: pure functions on float32 logits (B, V) ------------------------------------------------------


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest logits of each row stay, ties with the k-th included; the others become -inf (Fan et al. 2018)."""
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"top_k must be an integer of at least 1, got {k!r}")
    threshold = logits.topk(min(k, logits.size(-1)), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """The smallest set of tokens whose probabilities add up to p stays (nucleus sampling, Holtzman et al. 2020).

    Counted from the unlikely end: a token goes when it and everything less likely add up to at most 1 - p.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {p!r}")
    ascending, order = logits.sort(dim=-1)
    unlikely = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    unlikely[..., -1] = False  # the most likely token always stays
    return logits.masked_fill(unlikely.scatter(-1, order, unlikely), -torch.inf)


def sampling_probabilities(
    logits: torch.Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> torch.Tensor:
    """Logits (B, V) -> the probabilities that a token is drawn from: temperature, then top-k, then top-p.

    Raises ValueError for a temperature below 1e-30, where logits overflow, and a top_k or top_p out of range.
    """
    if not temperature >= 1e-30:
        raise ValueError(f"temperature must be positive, at least 1e-30, got {temperature!r}")
    logits = logits.float() / temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return logits.softmax(dim=-1)


# --- decoding --------------------------------------------------------------------------------------------------------


def generate(
    model: GPT2,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_tokens: Sequence[int] | None = None,
    seed: int | None = None,
    use_cache: bool = True,
) -> list[list[int]]:
    """Continue prompts, lists of token ids of any lengths, by up to max_new_tokens each; answers have their prompt in
    front, and their stop token, if one came, at the end.

    do_sample False takes the most likely token (greedy); True draws one, from probabilities shaped by temperature,
    top_k and top_p. Row i draws from a generator of its own, seeded with seed + i; seed None takes a fresh one from
    torch's. stop_tokens None = the config's eos_token_id; [] = never stop. A row also stops at n_positions tokens.

    Raises ValueError, before any work, for a bad setting, a sampling setting without do_sample=True, an empty prompt,
    an id out of range, or a prompt longer than the context.
    """
    prompts = _checked(prompts, model.config)
    choose = _chooser(do_sample, temperature, top_k, top_p, seed, len(prompts))
    steps = _start(model, prompts, max_new_tokens, choose, stop_tokens, use_cache)
    answers = [list(prompt) for prompt in prompts]
    for row, token in steps:
        answers[row].append(token)
    return answers


def stream(
    model: GPT2,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_tokens: Sequence[int] | None = None,
    seed: int | None = None,
    use_cache: bool = True,
) -> Iterator[int]:
    """The new token ids of one prompt, each as soon as it is chosen. Arguments and errors as in `generate`."""
    prompts = _checked([prompt], model.config)
    choose = _chooser(do_sample, temperature, top_k, top_p, seed, 1)
    steps = _start(model, prompts, max_new_tokens, choose, stop_tokens, use_cache)
    return (token for _, token in steps)


def _chooser(do_sample, temperature, top_k, top_p, seed, n_rows) -> Callable:
    """A function (logits (B, V), row numbers) -> one token id a row, from checked settings."""
    if not do_sample:
        if (temperature, top_k, top_p, seed) != (1.0, None, None, None):
            raise ValueError("temperature, top_k, top_p and seed need do_sample=True: greedy decoding draws nothing")
        return lambda logits, rows: logits.argmax(dim=-1).tolist()
    sampling_probabilities(torch.zeros(1, 1), temperature, top_k, top_p)  # refuses bad settings before any work
    if seed is None:
        seed = int(torch.randint(2**62, ()))
    if not isinstance(seed, int) or abs(seed) >= 2**63:
        raise ValueError(f"seed must be an integer of 64 bits, got {seed!r}")
    generators = [torch.Generator().manual_seed(seed + row) for row in range(n_rows)]

    def draw(logits, rows):
        probabilities = sampling_probabilities(logits, temperature, top_k, top_p).cpu()
        draws = zip(probabilities, rows, strict=True)
        return [int(torch.multinomial(p, 1, generator=generators[row])) for p, row in draws]

    return draw


def _checked(prompts, config) -> list[list[int]]:
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


def _start(model, prompts, max_new_tokens, choose, stop_tokens, use_cache) -> Iterator[tuple[int, int]]:
    """Check what is left to check, then hand out the decoding loop."""
    config = model.config
    if not isinstance(max_new_tokens, int) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be an integer of at least 0, got {max_new_tokens!r}")
    if stop_tokens is None:
        stop = set() if config.eos_token_id is None else {config.eos_token_id}
    else:
        stop = {index(token) for token in stop_tokens}
        if not all(token in range(config.vocab_size) for token in stop):
            raise ValueError(f"stop_tokens must be ids in 0..{config.vocab_size - 1}, got {sorted(stop)}")
    return _without_dropout(model, _decode(model, prompts, max_new_tokens, choose, stop, use_cache))


def _without_dropout(model, steps):
    with eval_mode(model):
        yield from steps


@torch.no_grad()
def _decode(model, prompts, max_new_tokens, choose, stop_tokens, use_cache) -> Iterator[tuple[int, int]]:
    """Yield (row, new token). Rows are padded on the left, so that every row's next token is in the last column;
    a row that has stopped leaves the batch."""
    n_positions, device = model.config.n_positions, model.token_embedding.weight.device
    rows = [row for row, prompt in enumerate(prompts) if len(prompt) < n_positions]
    if not rows or max_new_tokens == 0:
        return
    lengths = {row: len(prompts[row]) for row in rows}
    longest = max(lengths.values())
    tokens = torch.tensor([[0] * (longest - lengths[row]) + prompts[row] for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - lengths[row]) + [1] * lengths[row] for row in rows], device=device)
    if len(set(lengths.values())) == 1:
        mask = None  # no pads: nothing to hide
    capacity = min(longest + max_new_tokens, longest - min(lengths.values()) + n_positions)
    cache = model.new_cache(len(rows), capacity) if use_cache else None

    for _ in range(max_new_tokens):
        unread = tokens if cache is None else tokens[:, cache.length :]
        logits = model.logits(model.hidden(unread, mask, cache=cache)[:, -1])  # (B, V)
        if not logits.isfinite().all():
            raise FloatingPointError("the model's logits are not finite; are its weights?")
        new = choose(logits, rows)
        going_on = []  # places in the batch
        for place, (row, token) in enumerate(zip(rows, new, strict=True)):
            lengths[row] += 1
            yield row, token
            if token not in stop_tokens and lengths[row] < n_positions:
                going_on.append(place)
        if not going_on:
            return
        tokens = torch.cat([tokens, torch.tensor(new, device=device)[:, None]], dim=1)
        mask = None if mask is None else torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        if len(going_on) < len(rows):
            rows = [rows[place] for place in going_on]
            tokens, mask = tokens[going_on], None if mask is None else mask[going_on]
            if cache is not None:
                cache.select(going_on)
