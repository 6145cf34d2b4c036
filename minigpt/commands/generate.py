"""python -m minigpt generate: one prompt streams to the terminal, several are decoded in batches."""

import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

from .._checks import integer
from ..generation import Generation, generate_details, steps, stream
from ..generation.api import add_step, begin
from ..generation.drafts import speculate
from ..generation.processors import most_likely
from ..generation.settings import Settings, check_prompts, row_seeds
from ..generation.text import before_stop, check_stop
from ..tokenizer import Tokenizer
from .options import (
    add_device,
    add_dtype,
    add_json,
    add_source,
    load,
    not_empty,
    positive,
    print_json,
    seed,
    text_of,
    unwritable,
)

NAME, HELP = "generate", "Continue texts, token by token (a T5 reads the prompt and writes its answer)"

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "seed")
SEARCH = ("num_beams", "length_penalty", "early_stopping")
PENALTIES = ("repetition_penalty", "no_repeat_ngram_size")


def add(parser) -> None:
    parser.add_argument(
        "prompts",
        nargs="*",
        metavar="PROMPT",
        help="texts to continue (default: lines from stdin); after -- they may begin with -",
    )
    parser.add_argument("--file", type=not_empty, metavar="FILE", help="prompts from a file, one a line; - is stdin")
    add_source(parser)
    add_device(parser)
    add_dtype(parser)
    parser.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="at most N tokens (default 100)")
    parser.add_argument("--repetition-penalty", type=float, metavar="R", help="above 1: used tokens become less likely")
    parser.add_argument("--no-repeat-ngram-size", type=int, metavar="N", help="no run of N tokens comes twice")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT (repeatable)")
    parser.add_argument("--batch-size", type=positive, default=16, metavar="B", help="prompts at a time (default 16)")
    parser.add_argument("--show-probabilities", action="store_true", help="each step's five likeliest tokens")
    add_json(parser)
    sampling = parser.add_argument_group("sampling", "tokens are drawn when one of these is given, else the likeliest")
    sampling.add_argument("--temperature", type=float, metavar="T", help="below 1 safer, above 1 more varied")
    sampling.add_argument("--top-k", type=int, metavar="K", help="draw from the K most likely tokens")
    sampling.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest tokens that add up to P")
    sampling.add_argument(
        "--min-p", type=float, metavar="P", help="draw from tokens at least P times as likely as the first"
    )
    sampling.add_argument("--seed", type=seed, metavar="SEED", help="the same seed draws the same text")
    sampling.add_argument("--samples", type=positive, default=1, metavar="N", help="draw N texts from each prompt")
    search = parser.add_argument_group("beam search")
    search.add_argument("--num-beams", type=positive, metavar="N", help="keep the N most likely beginnings")
    search.add_argument("--length-penalty", type=float, metavar="A", help="rank by log-probability / length^A")
    search.add_argument(
        "--early-stopping",
        choices=["true", "false", "never"],
        help="at N finished texts: true = stop; false = go on while a beam is better; never = while one can be",
    )
    parser.add_argument(
        "--prompt-lookup", action="store_true", help="greedy, in fewer passes where the text repeats itself"
    )


def run(options) -> int:
    texts = read_prompts(options)
    check_draws(options)
    settings = settings_of(options)
    one = len(texts) == options.samples == 1
    if options.prompt_lookup and (settings or not one or options.json or options.show_probabilities):
        raise ValueError("--prompt-lookup continues one prompt, greedily: it goes with no other setting")
    if options.show_probabilities and (options.num_beams or 1) > 1:
        raise ValueError("--show-probabilities shows a choice at a time; a beam search makes none before its end")
    live = one and not (options.json or options.show_probabilities or options.num_beams)
    if check_stop(options.stop) and not live:
        raise ValueError(
            "--stop ends one text while it is printed: give one PROMPT, and no --json, --samples, --num-beams or "
            "--show-probabilities"
        )
    Settings(**settings)  # refuses what is wrong before a model is loaded
    integer("max_new_tokens", options.max_new_tokens, 0)
    model, tokenizer = load(options)
    if (ids := unwritable(model, tokenizer)) is not None:
        settings["suppress_tokens"] = ids
    texts = [text for text in texts for _ in range(options.samples)]
    prompts = check_prompts([tokenizer.encode(text) for text in texts], model)
    if live:
        write = speculate if options.prompt_lookup else stream
        new = write(model, prompts[0], options.max_new_tokens, **settings)
        stopping = Settings(**settings).stopping(model, options.max_new_tokens)
        [begun] = model.first_texts(prompts)
        in_front = "" if model.has_encoder else texts[0]  # a T5 writes its own text, not more of the prompt
        return write_live(in_front, new, tokenizer, options.stop, lambda *newest: stopping.reason(len(begun), *newest))
    return write_batches(options, texts, prompts, settings, model, tokenizer)


def read_prompts(options) -> list[str]:
    """Texts from the arguments, a file or stdin. Raises ValueError for none, for an empty one, for bytes that are not
    UTF-8."""
    if options.prompts and options.file:
        raise ValueError("give PROMPT or --file, not both")
    if options.prompts:
        if not all(options.prompts):
            raise ValueError("PROMPT is empty: give at least one character to continue")
        return options.prompts
    file = options.file or "-"
    name = "stdin" if file == "-" else file
    text = text_of(file) if options.file or not sys.stdin.isatty() else ""
    if name == "stdin" and not text.strip():
        raise ValueError("no prompt: give PROMPT, --file FILE, or one prompt a line on stdin")
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise ValueError(f"line {number} of {name} is empty: each line is a prompt")
    return lines


def sampling_flags(options) -> list[str]:
    """The flags that were given and switch sampling on."""
    names = [name for name in SAMPLING if getattr(options, name) is not None]
    return [options.flags[name] for name in [*names, *(["samples"] if options.samples > 1 else [])]]


def check_draws(options) -> None:
    """Raise ValueError for flags that leave nothing to draw from, and for a search that is to draw."""
    flags = sampling_flags(options)
    for flag in [options.flags[name] for name in ("temperature", "top_k", "top_p") if getattr(options, name) == 0]:
        limits = flag != "--temperature" and len(flags) > 1
        more = f", {flag} alone to draw without that limit" if limits else ""
        raise ValueError(f"{flag} 0 draws no token: leave out {' and '.join(flags)} for the likeliest token{more}")
    if flags and (options.num_beams or 1) > 1:
        raise ValueError(f"--num-beams {options.num_beams} searches and {flags[0]} draws: choose one of them")


def settings_of(options) -> dict:
    """The settings of `generate` that were given. A sampling flag switches sampling on."""
    settings = {name: getattr(options, name) for name in (*SAMPLING, *SEARCH, *PENALTIES)}
    settings = {name: value for name, value in settings.items() if value is not None}
    if "early_stopping" in settings:
        settings["early_stopping"] = {"true": True, "false": False}.get(options.early_stopping, options.early_stopping)
    if sampling_flags(options):
        settings["do_sample"] = True
    return settings


def write_live(text: str, new: Iterator[int], tokenizer: Tokenizer, stop: list[str], reason: Callable) -> int:
    """Print each character as soon as it is complete, up to a stop string. Ctrl-C ends it, and what is printed stays.

    reason(number of new tokens, the newest) says why a text ends there.
    """
    n_tokens, token, stop_string = 0, None, None

    def counted():
        nonlocal n_tokens, token
        for token in new:
            n_tokens += 1
            yield token

    def pieces():
        nonlocal stop_string
        stop_string = yield from before_stop(tokenizer.decode_stream(counted()), stop)

    start, code = time.perf_counter(), 0
    print(text, end="", flush=True)
    try:
        for piece in pieces():
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        code = 130
    print()
    ended_by = "interrupted" if code else "stop string" if stop_string else reason(n_tokens, token)
    report_speed(n_tokens, time.perf_counter() - start, ended_by)
    return code


def write_batches(options, texts, prompts, settings, model, tokenizer) -> int:
    """Decode --batch-size prompts at a time and print each result. Ctrl-C ends it; what is done is printed, too."""
    if settings.get("do_sample"):
        settings["seed"] = row_seeds(prompts, options.seed)
    start, n_tokens, interrupted = time.perf_counter(), 0, False
    for first in range(0, len(prompts), options.batch_size):
        batch = slice(first, first + options.batch_size)
        own = settings | ({"seed": settings["seed"][batch]} if "seed" in settings else {})
        batch_start = time.perf_counter()
        answers, tables, interrupted = decode_batch(options, prompts[batch], own, model)
        seconds = time.perf_counter() - batch_start
        new_in_batch = sum(len(answer.new_tokens) for answer in answers)
        n_tokens += new_in_batch
        for row, (answer, table) in enumerate(zip(answers, tables, strict=True), start=first):
            found = {
                "prompt": texts[row],
                "sample": row % options.samples,
                **({"seed": settings["seed"][row]} if "seed" in settings else {}),
                "text": tokenizer.decode(answer.new_tokens),
                "tokens": answer.new_tokens,
                "log_probabilities": answer.log_probabilities,
                "stop_reason": answer.stop_reason or "interrupted",
                "batch_tokens_per_second": new_in_batch / seconds,
            }
            if options.show_probabilities:
                found["steps"] = [
                    {"token": piece, "probability": p, "likely": [(*tokenizer.pieces([t]), q) for t, q in likely]}
                    for piece, (p, likely) in zip(tokenizer.pieces(answer.new_tokens), table, strict=True)
                ]
            in_front = "" if model.has_encoder else texts[row]
            print_json(found) if options.json else print_answer(found, in_front, alone=len(prompts) == 1)
        if interrupted:
            break
    report_speed(n_tokens, time.perf_counter() - start, "interrupted" if interrupted else "")
    return 130 if interrupted else 0


def decode_batch(options, prompts, settings, model):
    """(generations, each one's table of likely tokens a step, whether Ctrl-C came)."""
    answers: list[Generation] = begin(model, prompts, Settings(**settings).stopping(model, options.max_new_tokens))
    tables = [[] for _ in prompts]
    try:
        if options.num_beams:
            for row, prompt in enumerate(tqdm(prompts, desc="searching", delay=2, leave=False, disable=None)):
                [answers[row]] = generate_details(model, [prompt], options.max_new_tokens, **settings)
            return answers, tables, False
        decoding = steps(model, prompts, options.max_new_tokens, **settings)
        progress = dict(desc="generate", delay=2, leave=False, disable=None)  # on a terminal, after two seconds
        for step in tqdm(decoding, total=options.max_new_tokens, unit="token", **progress):
            add_step(answers, step)
            if options.show_probabilities:
                chosen = step.logits.softmax(dim=-1)[range(len(step.rows)), step.tokens].tolist()
                for row, p, likely in zip(step.rows, chosen, most_likely(step.logits, 5), strict=True):
                    tables[row].append((p, likely))
    except KeyboardInterrupt:
        return answers, tables, True
    return answers, tables, False


def print_answer(found: dict, in_front: str, alone: bool) -> None:
    if not alone:
        sample = f", sample {found['sample'] + 1}" if "seed" in found else ""
        print(f"--- {found['prompt']!r:.60}{sample}, ended by: {found['stop_reason']}")
    print(in_front + found["text"])
    for number, step in enumerate(found.get("steps", []), start=1):
        likely = "".join(f"  {token!r:>12} {p:6.2%}" for token, p in step["likely"])
        print(f"{number:4} {step['token']!r:>12} {step['probability']:6.2%} of{likely}")


def report_speed(n_tokens: int, seconds: float, end: str = "") -> None:
    """Print the speed on stderr, so that stdout holds nothing but text or data."""
    ended_by = f", ended by: {end}" if end else ""
    print(f"{n_tokens} tokens, {n_tokens / max(seconds, 1e-9):.0f} tokens per second{ended_by}", file=sys.stderr)
