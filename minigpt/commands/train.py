"""python -m minigpt train: a tokenizer and a model from nothing, or a model that is there trained further."""

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import torch

from .._files import read_text
from ..checkpoints import load_model, load_tokenizer, save_model
from ..checkpoints.files import WEIGHTS_FILE
from ..data import documentation_corpus, encode_documents, hold_out_tail, read_token_file, write_token_file
from ..generation import generate
from ..models import GPT2, GPT2Config
from ..perplexity import score
from ..plots import plot_losses
from ..tokenizer import Tokenizer
from ..train import RECIPES, Record, TrainConfig, check_lengths, induction_gap, steps_on_disk, train
from ..train.baselines import kneser_ney_nll, primed_lzma_bytes
from ..train.processes import Group, local_device, process_group
from .options import add_device, device_of, not_empty, seed

NAME, HELP = "train", "Train a tokenizer and a model on your own text"

RUN_FILE = "run.json"  # what --resume needs to know
TOKEN_FILES = ("train.npy", "held_out.npy")


def add(parser) -> None:
    parser.add_argument("--out", required=True, type=not_empty, metavar="FOLDER", help="where everything is written")
    parser.add_argument(
        "--text",
        nargs="+",
        type=not_empty,
        metavar="FILE",
        help="texts in UTF-8, in any language (default: the documentation installed here)",
    )
    parser.add_argument(
        "--recipe", choices=list(RECIPES), help="size of the model and length of the training (default tiny)"
    )
    parser.add_argument("--init", type=not_empty, metavar="SOURCE", help="train this model further, with its tokenizer")
    parser.add_argument("--resume", action="store_true", help="go on with the run in FOLDER, from its newest snapshot")
    parser.add_argument("--steps", type=int, metavar="N", help="train for N steps instead of the recipe's")
    parser.add_argument("--seed", type=seed, metavar="SEED", help="of weights and batches (default 0)")
    fields = [field.name for field in (*dataclasses.fields(TrainConfig), *dataclasses.fields(GPT2Config))]
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help=f"change the recipe, for example n_layer=4 learning_rate=1e-3; names: {', '.join(fields)}",
    )
    parser.add_argument(
        "--baselines", action="store_true", help="at the end, what counting and compressing make of the held-out text"
    )
    add_device(parser)


def run(options) -> int:
    directory = Path(options.out)
    device = local_device(device_of(options))
    with process_group(device) as group:
        if options.resume:
            check_resumable(options, directory)
        elif group.writes:
            prepare(options, directory)
        group.wait()
        code = train_in(directory, device, group, options.resume)
        if options.baselines and group.writes:
            print_baselines(directory)
        return code


def check_resumable(options, directory: Path) -> None:
    given = [name for name in ("text", "recipe", "init", "steps", "seed") if getattr(options, name) is not None]
    if given or options.set:
        raise ValueError(f"--resume goes on with the run as it was; leave out --{given[0] if given else 'set'}")
    if not (directory / RUN_FILE).is_file():
        raise ValueError(f"{directory} holds no run to resume: there is no {RUN_FILE}")


def prepare(options, directory: Path) -> None:
    """Everything that can be wrong is found here; then the token files, the tokenizer and RUN_FILE are written."""
    recipe = RECIPES[options.recipe or "tiny"]
    changes = dict(parse_change(change) for change in options.set)
    changes |= {name: getattr(options, name) for name in ("steps", "seed") if getattr(options, name) is not None}
    own = {field.name for field in dataclasses.fields(TrainConfig)}
    config = dataclasses.replace(recipe.config, **{name: value for name, value in changes.items() if name in own})
    size = recipe.size | {name: value for name, value in changes.items() if name not in own}
    vocab_size = size.pop("vocab_size", recipe.vocab_size)
    GPT2Config(vocab_size=vocab_size, **size)

    for file in (RUN_FILE, WEIGHTS_FILE):
        if (directory / file).exists():
            raise ValueError(f"{directory} already holds a model or a run; give --out another folder, or --resume")
    existing = next(folder for folder in [directory, *directory.resolve().parents] if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise ValueError(f"--out {directory} cannot be written: {existing} is not a folder that can be written to")
    if options.text:
        training, held_out = zip(*(hold_out_tail(read_text(file)) for file in options.text), strict=True)
    else:
        corpus = documentation_corpus()
        training, held_out = ([document.text for document in part[:: recipe.one_document_in]] for part in corpus)
    if options.init:
        if changes.keys() - own:
            raise ValueError(f"--init brings its own size; leave out --set {sorted(changes.keys() - own)[0]}")
        model, tokenizer = load_model(options.init), load_tokenizer(options.init)
        size = {name: value for name, value in dataclasses.asdict(model.config).items() if name != "vocab_size"}
        vocab_size = model.config.vocab_size
    else:
        tokenizer = Tokenizer.train(training, vocab_size)
        vocab_size = tokenizer.vocab_size
        size |= {"bos_token_id": tokenizer.eos_id, "eos_token_id": tokenizer.eos_id}
    if config.context > GPT2Config(vocab_size=vocab_size, **size).n_positions:
        raise ValueError(f"context={config.context} is longer than the model's n_positions={size['n_positions']}")
    parts = [encode_documents(texts, tokenizer) for texts in (training, held_out)]
    check_lengths(*parts, config.context)

    directory.mkdir(parents=True, exist_ok=True)
    for part, file in zip(parts, TOKEN_FILES, strict=True):
        write_token_file(part, directory / file)
    tokenizer.save(directory)
    run = {
        "model": {"vocab_size": vocab_size, **size},
        "config": dataclasses.asdict(config),
        "init": options.init,
        "held_out_bytes": sum(len(text.encode()) for text in held_out),
    }
    (directory / RUN_FILE).write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


def parse_change(change: str) -> tuple[str, object]:
    """ "n_layer=4" -> ("n_layer", 4). Raises ValueError for an unknown name, and for a value of another kind."""
    fields = (*dataclasses.fields(GPT2Config), *dataclasses.fields(TrainConfig))
    defaults = {field.name: field.default for field in fields}
    name, _, text = change.partition("=")
    if name not in defaults or not text:
        raise ValueError(f"--set {change}: expected NAME=VALUE with one of {', '.join(defaults)}")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text  # a name, such as gelu_new
    kind = type(defaults[name])
    if (kind, type(value)) in [(float, int), (tuple, list)]:
        value = kind(value)
    if defaults[name] is not None and type(value) is not kind:
        raise ValueError(f"--set {change}: {name} must be like {defaults[name]!r}")
    return name, value


def train_in(directory: Path, device: torch.device, group: Group, resume: bool) -> int:
    """Train what RUN_FILE describes, and write the model, samples, the loss curve and figures beside it."""
    run = json.loads((directory / RUN_FILE).read_text(encoding="utf-8"))
    config = TrainConfig(**run["config"] | {"betas": tuple(run["config"]["betas"])})
    tokenizer = Tokenizer.load(directory)
    tokens, held_out = (read_token_file(directory / file) for file in TOKEN_FILES)
    resume = resume and bool(steps_on_disk(directory / "snapshots"))  # it may have been stopped before its first one
    torch.manual_seed(config.seed)
    if run["init"] and not resume:
        model = load_model(run["init"], device, attention="sdpa")
    else:
        model = GPT2(GPT2Config(**run["model"]), attention="sdpa").to(device)
    if group.writes:
        n_parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{len(tokens):,} tokens to train on, {len(held_out):,} held out, vocabulary {tokenizer.vocab_size}")
        print(f"{n_parameters:,} parameters; Ctrl-C ends early and saves, --resume goes on")

    def keep(history: list[Record]) -> None:
        save_model(model, directory, tokenizer)
        plot_losses(history).savefig(directory / "loss.png", dpi=120)
        [sample] = generate(model, [held_out[:8].tolist()], 60, do_sample=True, temperature=0.8, seed=config.seed)
        with open(directory / "samples.txt", "a", encoding="utf-8") as file:
            file.write(f"--- step {history[-1].step}\n{tokenizer.decode(sample)}\n\n")

    history = train(model, tokens, held_out, config, directory, keep, resume=resume, group=group)
    if group.writes:
        scores = score(model, held_out.astype(np.int64), min(config.context, model.config.n_positions))
        bits = scores.bits_per_byte(run["held_out_bytes"])
        gap = induction_gap(model, tokenizer.vocab_size, length=config.context // 2)
        print(f"held out: {scores.perplexity:.2f} perplexity, {bits:.4f} bits per byte; induction gap {gap:.3f} nats")
        print(f"model, tokenizer, metrics.csv, loss.png, samples.txt and snapshots are in {directory}")
    return 0 if history and history[-1].step == config.steps else 130


def print_baselines(directory: Path) -> None:
    """Bits per byte of the held-out text without any network: to be beaten."""
    run, tokenizer = json.loads((directory / RUN_FILE).read_text(encoding="utf-8")), Tokenizer.load(directory)
    tokens, held_out = (read_token_file(directory / file) for file in TOKEN_FILES)
    nats = kneser_ney_nll(tokens, held_out, tokenizer.vocab_size).sum()
    print(f"Kneser-Ney, five tokens: {nats / math.log(2) / run['held_out_bytes']:.4f} bits per byte")
    texts = [[tokenizer.decode(part.tolist())] for part in (tokens, held_out)]
    print(f"lzma after the training text: {8 * primed_lzma_bytes(*texts) / run['held_out_bytes']:.4f} bits per byte")
