"""The command line: python -m minigpt COMMAND [--source tiny] ...

Exit codes: 0 fine, 1 a claim or comparison failed, 2 bad input (one sentence on stderr), 130 interrupted.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
from pathlib import Path

import torch

from . import plots
from .data import documentation_corpus, encode_documents, hold_out_tail, read_text, read_token_file, write_token_file
from .generation import stream
from .gpt2 import GPT2, GPT2Config
from .perplexity import score
from .pretrained import WEIGHTS_FILE, download, find_checkpoint, load_model, load_tokenizer, save_model
from .tokenizer import Tokenizer
from .tour import run_tour
from .train import TrainConfig, check_lengths, induction_gap, train
from .verify import compare, first_layer, verdict

# name -> vocabulary, shape of the model, training. "tiny" remakes weights/tiny.
NO_DROPOUT = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
TRAIN_PRESETS = {
    "tiny": (4096, dict(n_positions=256, n_embd=192, n_layer=5, n_head=6, **NO_DROPOUT), TrainConfig()),
    "smoke": (
        512,
        dict(n_positions=64, n_embd=64, n_layer=2, n_head=4, **NO_DROPOUT),
        TrainConfig(steps=60, batch_size=16, context=64, warmup_steps=10, evaluate_every=30),
    ),
}

EPILOG = """\
a first walk:
  python -m minigpt tour                               the lecture, start to end, every number checked
  python -m minigpt generate "Return the" --temperature 0.8 --seed 1
  python -m minigpt perplexity --text README.md        three perplexities of one text
  python -m minigpt download gpt2                      OpenAI's weights, for --source gpt2
  python -m minigpt COMMAND --help                     what a command does and takes
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for output in (sys.stdout, sys.stderr):  # a pipe on a machine set to ASCII must not end in a traceback
        if hasattr(output, "reconfigure"):
            output.reconfigure(encoding="utf-8", errors="replace")
    options = build_parser().parse_args(arguments)
    try:
        return options.command(options)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of our output, head perhaps, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"minigpt: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nminigpt: interrupted", file=sys.stderr)
        return 130


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def not_empty(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to 2^63 - 1, got {text!r}")
    return value


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m minigpt",
        description="GPT-2 written by hand, to be read beside a lecture. Everything but `download` works offline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name, function, help, **details):
        sub = commands.add_parser(name, help=help, description=help + ".", **details)
        sub.set_defaults(command=function)
        return sub

    source = dict(type=not_empty, default="tiny", help="tiny, a checkpoint folder, or a hub name such as gpt2")

    def add_source(sub):
        sub.add_argument("--source", **source)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        sub.add_argument("--device", default=device, help="where to compute (default here: %(default)s)")

    def add_json(sub):
        sub.add_argument("--json", action="store_true", help="print data instead of text")

    sub = command("tour", tour_command, "Walk through the lecture on a real model and check every claim")
    sub.add_argument("--source", **source)
    add_json(sub)

    sub = command("generate", generate_command, "Continue a text, token by token")
    sub.add_argument("prompt", metavar="PROMPT", help="the text to continue")
    add_source(sub)
    sub.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="at most N tokens (default 100)")
    sampling = sub.add_argument_group("sampling", "greedy decoding unless one of these is given")
    sampling.add_argument("--temperature", type=float, metavar="T", help="below 1 bolder, above 1 more varied")
    sampling.add_argument("--top-k", type=int, metavar="K", help="draw from the K most likely tokens")
    sampling.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest tokens that add up to P")
    sampling.add_argument("--seed", type=seed, metavar="SEED", help="the same seed draws the same text")
    add_json(sub)

    sub = command("perplexity", perplexity_command, "Measure how well a model predicts a text, averaged three ways")
    sub.add_argument("--text", required=True, type=not_empty, metavar="FILE", help="a text file in UTF-8")
    add_source(sub)
    sub.add_argument("--window", type=int, metavar="W", help="tokens read at once (default: the context length)")
    sub.add_argument("--stride", type=int, metavar="S", help="tokens from one window to the next (default: W / 2)")
    add_json(sub)

    sub = command("train", train_command, "Train a tokenizer and a model from nothing")
    sub.add_argument(
        "--out", required=True, type=not_empty, metavar="FOLDER", help="where the checkpoint, metrics.csv, loss.png go"
    )
    sub.add_argument(
        "--text",
        nargs="+",
        type=not_empty,
        metavar="FILE",
        help="text in UTF-8 (default: the documentation installed here)",
    )
    sub.add_argument("--preset", choices=sorted(TRAIN_PRESETS), default="tiny", help="size and length (default tiny)")
    sub.add_argument("--steps", type=int, metavar="N", help="train for N steps instead of the preset's")
    sub.add_argument("--seed", type=seed, default=0, metavar="SEED", help="of the weights and the batches (default 0)")

    sub = command("download", download_command, "Fetch a model from the Hugging Face hub (mirrors: set HF_ENDPOINT)")
    sub.add_argument(
        "name", type=not_empty, metavar="NAME", help="gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2 or owner/name"
    )

    sub = command("verify", verify_command, "Compare a checkpoint, ours against Hugging Face's transformers")
    add_source(sub)
    add_json(sub)
    return parser


def tour_command(options) -> int:
    claims = run_tour(options.source, quiet=options.json)
    if options.json:
        print(json.dumps([dataclasses.asdict(claim) for claim in claims], indent=2, ensure_ascii=False))
    return 0 if all(claim.ok for claim in claims) else 1


def generate_command(options) -> int:
    model, tokenizer = _load(options)
    prompt = tokenizer.encode(options.prompt)
    if not prompt:
        raise ValueError("PROMPT is empty: give at least one character to continue")
    settings = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p", "seed")}
    settings = {name: value for name, value in settings.items() if value is not None}
    new = stream(model, prompt, options.max_new_tokens, do_sample=bool(settings), **settings)
    if options.json:
        ids = list(new)
        print(json.dumps({"prompt": options.prompt, "text": tokenizer.decode(ids), "tokens": ids}, ensure_ascii=False))
        return 0
    print(options.prompt, end="", flush=True)
    for text in tokenizer.decode_stream(new):
        print(text, end="", flush=True)
    print()
    return 0


def perplexity_command(options) -> int:
    text = read_text(options.text)
    model, tokenizer = _load(options)
    tokens = tokenizer.encode(text)
    scores = score(model, tokens, options.window, options.stride)
    n_words, n_bytes = len(text.split()), len(text.encode())
    numbers = {
        "tokens": len(tokens),
        "windows": len(scores.windows),
        "scored": scores.n_scored,
        "perplexity": scores.perplexity,
        "window_mean_perplexity": scores.window_mean_perplexity,
        "docs_perplexity": scores.docs_perplexity,
        "word_perplexity": scores.word_perplexity(n_words) if n_words else None,
        "bits_per_byte": scores.bits_per_byte(n_bytes),
    }
    if options.json:  # JSON knows no infinity, which a text of very long "words" reaches, and no nan
        print(
            json.dumps(
                {name: value if value is None or math.isfinite(value) else None for name, value in numbers.items()}
            )
        )
        return 0
    print(f"{len(tokens)} tokens, {scores.n_scored} scored in {len(scores.windows)} windows")
    for name, meaning in [
        ("perplexity", "exact: every scored token weighs the same"),
        ("window_mean_perplexity", "the lecture's: mean of the windows' means"),
        ("docs_perplexity", "today's Hugging Face documentation's"),
        ("word_perplexity", f"per word, {n_words} of them"),
        ("bits_per_byte", f"{n_bytes} bytes of UTF-8"),
    ]:
        value = (
            "-" if numbers[name] is None else f"{numbers[name]:.4f}" if numbers[name] < 1e7 else f"{numbers[name]:.4e}"
        )
        print(f"{name:24} {value:>14}   {meaning}")
    return 0


def train_command(options) -> int:
    vocab_size, shape, config = TRAIN_PRESETS[options.preset]
    config = dataclasses.replace(
        config, seed=options.seed, steps=config.steps if options.steps is None else options.steps
    )
    directory = Path(options.out)
    if (directory / WEIGHTS_FILE).exists():
        raise ValueError(f"{directory} already holds a model; give --out another folder")
    existing = next(folder for folder in [directory, *directory.resolve().parents] if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise ValueError(f"--out {directory} cannot be written: {existing} is not a folder that can be written to")
    if options.text:
        training, held_out = zip(*(hold_out_tail(read_text(file)) for file in options.text), strict=True)
    else:
        training, held_out = ([document.text for document in part] for part in documentation_corpus())
    tokenizer = Tokenizer.train(training, vocab_size)
    parts = [encode_documents(texts, tokenizer) for texts in (training, held_out)]
    check_lengths(*parts, config.context)

    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / "train.npy", directory / "held_out.npy"]
    for part, file in zip(parts, files, strict=True):
        write_token_file(part, file)
    tokens, held_out_tokens = map(read_token_file, files)
    print(f"{len(tokens):,} tokens to train on, {len(held_out_tokens):,} held out, vocabulary {tokenizer.vocab_size}")

    torch.manual_seed(config.seed)
    end = tokenizer.eos_id
    model = GPT2(GPT2Config(vocab_size=tokenizer.vocab_size, bos_token_id=end, eos_token_id=end, **shape))
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters; Ctrl-C ends early and saves")

    def keep(history):
        save_model(model, directory, tokenizer)
        plots.plot_losses(history).savefig(directory / "loss.png", dpi=120)

    history = train(model, tokens, held_out_tokens, config, directory, keep)
    if not history:  # Ctrl-C before the first step: there is nothing to keep
        for file in files:
            file.unlink()
        raise KeyboardInterrupt
    scores = score(model, held_out_tokens.astype("int64"))
    n_bytes = sum(len(text.encode()) for text in held_out)
    gap = induction_gap(model, tokenizer.vocab_size, length=shape["n_positions"] // 2)
    print(f"held out: {scores.perplexity:.2f} perplexity, {scores.bits_per_byte(n_bytes):.4f} bits per byte")
    print(f"induction gap: {gap:.3f} nats; checkpoint, metrics.csv and loss.png are in {directory}")
    return 0


def download_command(options) -> int:
    print(download(options.name))
    return 0


def verify_command(options) -> int:
    directory = find_checkpoint(options.source)
    comparisons = []
    for dtype in (torch.float64, torch.float32):
        for attention in ("explicit", "sdpa"):
            model = load_model(directory, _device(options), dtype, attention)
            comparisons += [(attention, comparison) for comparison in compare(model, directory)]
    rows = [comparison for _, comparison in comparisons]
    meaning = verdict(rows)
    if options.json:
        table = [{"attention": a} | dataclasses.asdict(c) | {"ok": c.ok} for a, c in comparisons]
        print(json.dumps({"comparisons": table, "verdict": meaning, "first_layer": first_layer(rows)}))
        return 1 if meaning else 0
    print(f"{options.source}: ours against transformers")
    print(f"{'quantity':22} {'dtype':8} {'attention':9} {'difference':>10} {'bar':>8}")
    for attention, c in comparisons:
        print(f"{c.quantity:22} {c.dtype:8} {attention:9} {c.difference:10.1e} {c.bar:8.0e} {'✓' if c.ok else '✗'}")
    if meaning:
        layer = first_layer(rows)
        where = "behind the last layer" if layer is None else f"from layer {layer} on"
        reason = {
            "rounding": "rounding: in float64 the two agree",
            "bug": "a bug: they differ in float64, too, where rounding cannot explain it",
        }
        print(f"They differ {where}. The verdict is {reason[meaning]}.")
    return 1 if meaning else 0


def _load(options):
    return load_model(options.source, _device(options), attention="sdpa"), load_tokenizer(options.source)


def _device(options) -> torch.device:
    try:
        device = torch.device(options.device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        usable = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        raise ValueError(f"--device {options.device} cannot be used on this machine; {usable} can") from None
    return device
