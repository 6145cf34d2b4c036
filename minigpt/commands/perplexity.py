"""python -m minigpt perplexity: the loss of each token, and every number that is made of them."""

import csv
import math
import os
import sys

from .._language import said
from ..checkpoints import load_model, load_tokenizer, on_disk
from ..chinese.commands import TEXTS
from ..data import dataset_text
from ..perplexity import AGGREGATIONS, PUBLISHED, Scores, TextSize, score, wikitext_words
from ..plots import plot_measurement
from ..plots.perplexity import surprise_in_colour
from .options import (
    DTYPES,
    add_device,
    add_dtype,
    add_json,
    add_source,
    check_picture,
    check_writable,
    device_of,
    load,
    not_empty,
    positive,
    print_json,
    text_of,
)

NAME, HELP = "perplexity", "Measure how well a model predicts a text, and average it in every way"

TOKENS_IN_PLOT = 96
NO_WORDS = "words need spaces, and this text has none between them"


def add(parser) -> None:
    texts = parser.add_mutually_exclusive_group(required=True)
    texts.add_argument("--text", type=not_empty, metavar="FILE", help="a text file in UTF-8; - is stdin")
    texts.add_argument("--dataset", choices=["wikitext2"], help="WikiText-2's test set, joined as the lecture does")
    names = [published.name for published in PUBLISHED]
    texts.add_argument(
        "--published",
        choices=[*names, "all"],
        metavar="NAME",
        help=said(
            TEXTS,
            "measure a published number with its settings: {names}; all = those whose weights are on disk",
            names=", ".join(names),
        ),
    )
    add_source(parser)
    add_device(parser)
    parser.add_argument("--window", type=int, metavar="W", help="tokens read at once (default: the context length)")
    parser.add_argument("--stride", type=int, nargs="+", metavar="S", help="step between windows (default: W / 2)")
    add_dtype(parser)
    parser.add_argument("--batch-size", type=positive, metavar="B", help="windows at a time")
    parser.add_argument("--plot", type=not_empty, metavar="PNG", help="windows, losses and perplexities as a picture")
    parser.add_argument(
        "--surprise",
        type=positive,
        metavar="N",
        help="print the first N tokens and their loss (colours on a terminal)",
    )
    parser.add_argument(
        "--losses",
        type=not_empty,
        metavar="CSV",
        help="write each token's loss, window and context (of the first stride)",
    )
    add_json(parser)


def run(options) -> int:
    if options.published:
        return run_published(options)
    text = text_of(options.text) if options.text else dataset_text(options.dataset)
    check_picture(options.plot)
    check_writable(options.losses)
    model, tokenizer = load(options)
    ids = tokenizer.encode(text)
    measured = {}
    for stride in dict.fromkeys(options.stride or [None]):
        scores = score(model, ids, options.window, stride, options.batch_size)
        measured[scores.stride] = scores
    size = TextSize.of(text)
    if options.dataset:
        size = size._replace(words=wikitext_words())
    rows = [numbers(scores, size) for scores in measured.values()]
    first = next(iter(measured.values()))

    if options.plot:
        plot_measurement(measured, tokenizer.pieces(ids[:TOKENS_IN_PLOT])).savefig(options.plot, dpi=110)
    if options.losses:
        write_losses(options.losses, ids, first, tokenizer)
    tokens = tokenizer.pieces(ids[: options.surprise or 0])
    if options.json:
        for row, scores in zip(rows, measured.values(), strict=True):
            nll = {"nll": list(zip(tokens, scores.nll.tolist(), strict=False))} if options.surprise else {}
            print_json(row | nll)
        return 0
    if options.surprise:
        print_surprise(tokens, first.nll[: len(tokens)])
    print_one(first, rows[0], size) if len(rows) == 1 else print_several(rows, size)
    return 0


def print_surprise(tokens: list[str], nll) -> None:
    """The tokens on colours that say how surprised the model was, with a legend; where colours are not wanted (a pipe,
    NO_COLOR, TERM=dumb), a token a line with its loss."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        print(surprise_in_colour(tokens, nll), end="\n\n")
        samples = surprise_in_colour(
            ["not scored", " 0 nats ", " 2 ", " 4 ", " 6 ", " 8 or more "], [math.nan, 0, 2, 4, 6, 8]
        )
        print(f"loss of each token: {samples}", end="\n\n")
        return
    print("   loss  token")
    for token, loss in zip(tokens, nll, strict=True):
        print(f"{'':>7}  {token!r}" if math.isnan(loss) else f"{loss:7.3f}  {token!r}")
    print()


def numbers(scores: Scores, size: TextSize) -> dict:
    """What was measured and every aggregation of it, by name."""
    counts = {
        "tokens": len(scores.nll),
        "window": scores.window,
        "stride": scores.stride,
        "windows": len(scores.windows),
        "scored": scores.n_scored,
    }
    return counts | {a.name: a.value(scores, size) for a in AGGREGATIONS}


def print_one(scores: Scores, row: dict, size: TextSize) -> None:
    """A line for each aggregation, with its formula and where it comes from."""
    print(f"{row['tokens']} tokens, {row['scored']} scored in {row['windows']} windows", end=" ")
    words = f"{size.words} words, " if size.words else ""
    print(f"of {row['window']}, stride {row['stride']}; {words}{size.characters} characters, {size.bytes} bytes")
    if scores.n_unscored:
        print(f"{scores.n_unscored} tokens, the first of each later window, are not scored: take a smaller stride")
    for a in AGGREGATIONS:
        source = a.source if size.words or a.name != "word_perplexity" else NO_WORDS
        print(f"{a.name:24}{_number(row[a.name]):>14}   {source}\n{'':41}{a.formula}")


def print_several(rows: list[dict], size: TextSize) -> None:
    """A line for each stride; a window is a forward pass."""
    columns = ["stride", "windows", "scored", *(a.name for a in AGGREGATIONS)]
    print("  ".join(f"{name:>12}" for name in columns))
    for row in rows:
        print("  ".join(f"{_number(row[name]):>{max(12, len(name))}}" for name in columns))
    if any(row["scored"] < row["tokens"] - 1 for row in rows):
        print("Where fewer are scored, the first token of each later window had nothing to be predicted from.")
    if not size.words:
        print(f"word_perplexity: {NO_WORDS}")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if value != value else f"{value:.4f}" if value < 1e7 else f"{value:.4e}"


def write_losses(file: str, ids: list[int], scores: Scores, tokenizer) -> None:
    with open(file, "w", newline="", encoding="utf-8") as sheet:
        writer = csv.writer(sheet)
        writer.writerow(["position", "id", "token", "nll", "window", "context"])
        pieces = tokenizer.pieces(ids)
        columns = zip(ids, pieces, scores.nll, scores.window_index, scores.context_length, strict=True)
        for position, (token, label, *scored) in enumerate(columns):
            writer.writerow([position, token, label, *(scored if scored[1] >= 0 else ["", "", ""])])


def run_published(options) -> int:
    """Print published numbers, and beside each what is measured here with the same settings; blank if it is not."""
    asked_for = [
        name for name in ("window", "stride", "plot", "surprise", "losses") if getattr(options, name) is not None
    ]
    if asked_for or options.source != "tiny":
        raise ValueError(f"--published brings its own settings; leave out --{asked_for[0] if asked_for else 'source'}")
    shown = [p for p in PUBLISHED if options.published in (p.name, "all")]
    missing = {p.model for p in shown if options.published == "all" and not on_disk(p.model)}
    measured = {}
    for published in (p for p in shown if p.model not in missing):
        text = published.text()
        model = load_model(published.model, device_of(options), DTYPES[options.dtype], "sdpa")
        ids = load_tokenizer(published.model).encode(text)
        scores = score(model, ids, published.window, published.stride, options.batch_size)
        measured[published.name] = published.measured(scores, text)
    if options.json:
        for p in shown:
            print_json(vars(p) | {"measured": measured.get(p.name)})
        return 0
    print(f"{'':22}{'model':13}{'stride':>6}  {'aggregation':24}{'published':>9}  {'measured here':>13}   source")
    for p in shown:
        here = f"{measured[p.name]:.4f}" if p.name in measured else ""
        print(f"{p.name:22}{p.model:13}{p.stride:6}  {p.aggregation:24}{p.value:9g}  {here:>13}   {p.source}")
    if missing:
        print(
            f"not measured, for their weights are not on disk: {', '.join(sorted(missing))} "
            "(python -m minigpt download NAME)"
        )
    return 0
