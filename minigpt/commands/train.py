"""python -m minigpt train: train a tokenizer and a model from nothing, or an existing model further."""

import dataclasses
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .._checks import choice, integer
from .._files import read_json, read_text, write_whole
from .._language import said
from ..checkpoints import load_model, load_tokenizer, save_model
from ..chinese.commands import TEXTS
from ..data import encode_documents, read_token_file, write_token_file
from ..generation import fill_mask, generate
from ..models import MODELS
from ..plots import plot_losses
from ..tokenizer import Tokenizer
from ..tokenizer.folders import TOKENIZER_FILES
from ..train import RECIPES, Record, TrainConfig, best_of, load_snapshot, steps_on_disk, train
from ..train.processes import Group, local_device, process_group
from ..train.recipes import SPECIAL_TOKENS, ids_of, objective_of, with_frame
from .options import add_device, device_of, not_empty, seed, unwritable
from .train_report import TOKEN_FILES, kept, next_commands, overfitting, print_baselines, print_figures
from .train_settings import (
    RUN_FILE,
    check_folder,
    check_init,
    check_sizes,
    chosen,
    config_class_of,
    end_of_text_id,
    longest_row,
    recipe_of,
    settings_of,
    texts_of,
)

FILE_DTYPES = ("float32", "float16", "bfloat16")

NAME, HELP = "train", "Train a tokenizer and a model on your own text"


def add(parser) -> None:
    parser.add_argument("--out", required=True, type=not_empty, metavar="FOLDER", help="where everything is written")
    parser.add_argument(
        "--text",
        nargs="+",
        type=not_empty,
        metavar="FILE",
        help="texts in UTF-8, in any language (default: the recipe's, mostly the documentation installed here)",
    )
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        help="size of the model and length of the training (default: what fits your text, else tiny)",
    )
    parser.add_argument("--model", choices=list(MODELS), help="family (default gpt2); its recipe is RECIPE-MODEL")
    parser.add_argument("--init", type=not_empty, metavar="SOURCE", help="train this model further, with its tokenizer")
    parser.add_argument("--resume", action="store_true", help="go on with the run in FOLDER, from its newest snapshot")
    parser.add_argument(
        "--file-dtype",
        choices=FILE_DTYPES,
        help="dtype of the weights on disk (default float32); they are trained, and loaded, in float32",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="train for N steps instead of the recipe's")
    parser.add_argument("--seed", type=seed, metavar="SEED", help="seed of weights and batches (default 0)")
    fields = [field.name for field in (*dataclasses.fields(TrainConfig), *dataclasses.fields(MODELS["gpt2"][1]))]
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help=said(
            TEXTS,
            "change the recipe, for example n_layer=4 learning_rate=1e-3; names: {names}; for another family the "
            "fields of its configuration",
            names=", ".join(fields),
        ),
    )
    parser.add_argument(
        "--baselines", action="store_true", help="at the end, what counting and compressing reach on the held-out text"
    )
    add_device(parser)


def run(options) -> int:
    directory = Path(options.out)
    device = local_device(device_of(options))
    with process_group(device) as group:
        if group.writes:
            (check_resumable if options.resume else prepare)(options, directory)
        group.wait()
        group.share(directory, (RUN_FILE, *TOKEN_FILES, *TOKENIZER_FILES))
        return train_in(directory, device, group, options.resume, options.baselines)


def check_resumable(options, directory: Path) -> None:
    names = ("text", "recipe", "model", "init", "steps", "seed", "file_dtype")
    asked_for = [name.replace("_", "-") for name in names if getattr(options, name) is not None]
    if asked_for or options.set:
        text = ["--text", *options.text] if options.text else []
        longer = ["--init", directory, *text, "--steps", options.steps or "N", "--out", f"{directory}-longer"]
        command = "python -m minigpt train " + shlex.join(map(str, longer))
        raise ValueError(
            f"--resume goes on with the run as it was; leave out --{asked_for[0] if asked_for else 'set'}. To train "
            f"its model longer, or otherwise, begin a new run with it: {command}"
        )
    if not (directory / RUN_FILE).is_file():
        raise ValueError(f"{directory} holds no run to resume: there is no {RUN_FILE}")
    run = read_json(directory / RUN_FILE)
    try:
        TrainConfig(**run["config"] | {"betas": tuple(run["config"]["betas"])})
        config_class_of(run)(**run["model"])
        n_bytes = integer("held_out_bytes", run["held_out_bytes"], 0)
        not_empty(run["init"] or "nothing")
        choice("file_dtype", run.get("file_dtype", FILE_DTYPES[0]), FILE_DTYPES)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{directory / RUN_FILE} is damaged: {type(error).__name__} {error}") from None
    if n_bytes < 1:
        raise ValueError(f"the run in {directory} holds out no text, so nothing could be reported: begin again")


def prepare(options, directory: Path) -> None:
    """Everything that can be wrong is found here; then the token files, the tokenizer and RUN_FILE are written."""
    own_texts = [read_text(file) for file in options.text or []]
    recipe = recipe_of(options, own_texts)
    config, size, end_of_text = settings_of(options, recipe)
    check_folder(directory)
    training, held_out = texts_of(own_texts, recipe)
    n_characters = sum(map(len, [*training, *held_out]))
    if not (training and held_out):
        check_sizes([], [], config, options, n_characters)
    if options.init:
        tokenizer, model = load_tokenizer(options.init), load_model(options.init)
        check_init(options, model, tokenizer)
        size = dataclasses.asdict(model.config)
        if tokenizer.vocab_size > model.vocab_size:
            raise ValueError(
                f"--init {options.init}: the tokenizer has {tokenizer.vocab_size} ids, the model {model.vocab_size}"
            )
    else:
        tokenizer = Tokenizer.train(
            training, size["vocab_size"], list(SPECIAL_TOKENS[recipe.model]), within=recipe.tokens_within
        )
        size |= {"vocab_size": tokenizer.vocab_size} | ids_of(tokenizer, recipe.model)
    name, limit = longest_row(MODELS[recipe.model][1](**size))
    if limit is not None and config.context > limit:
        raise ValueError(f"context={config.context} is longer than the model's {name}={limit}")
    plain = Tokenizer(tokenizer.vocabulary, tokenizer.merges, tokenizer.special_tokens, tokenizer.eos_token)
    tokens, held_out_tokens = (encode_documents(texts, plain) for texts in (training, held_out))
    check_sizes(tokens, held_out_tokens, config, options, n_characters)
    if end_of_text is not None:
        config = dataclasses.replace(config, end_of_text=end_of_text_id(end_of_text, tokenizer, tokens))

    if own_texts and not (options.recipe or options.init):
        print(chosen(recipe, config, sum(len(text.encode()) for text in own_texts)))
    directory.mkdir(parents=True, exist_ok=True)
    for part, file in zip((tokens, held_out_tokens), TOKEN_FILES, strict=True):
        write_token_file(part, directory / file)
    (tokenizer if options.init else with_frame(tokenizer, recipe.model)).save(directory)
    run = {
        "model_type": recipe.model,
        "model": size,
        "config": dataclasses.asdict(config),
        "init": options.init,
        "file_dtype": options.file_dtype or FILE_DTYPES[0],
        "held_out_bytes": sum(len(text.encode()) for text in held_out),
        "held_out_characters": sum(map(len, held_out)),
    }
    write_whole(directory / RUN_FILE, (json.dumps(run, indent=2) + "\n").encode())


def train_in(directory: Path, device: torch.device, group: Group, resume: bool, baselines: bool) -> int:
    """Train what RUN_FILE describes, and write the model, samples, the loss curve and figures beside it."""
    run = read_json(directory / RUN_FILE)
    config = TrainConfig(**run["config"] | {"betas": tuple(run["config"]["betas"])})
    tokenizer, kind = Tokenizer.load(directory), run.get("model_type", "gpt2")
    objective = objective_of(kind, tokenizer, config)
    tokens, held_out = (read_token_file(directory / file) for file in TOKEN_FILES)
    # It may have stopped before its first snapshot. (On another machine there are none: rank 0 sends its own.)
    resume = group.from_first(resume and bool(steps_on_disk(directory / "snapshots")))
    torch.manual_seed(config.seed)
    if run["init"] and not resume:
        model = load_model(run["init"], device, attention="sdpa")
    else:
        model = MODELS[kind][0](config_class_of(run)(**run["model"]), attention="sdpa").to(device)
    if group.writes:
        n_parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{len(tokens):,} tokens to train on, {len(held_out):,} held out, vocabulary {tokenizer.vocab_size}")
        print(f"{n_parameters:,} parameters; Ctrl-C ends early and saves, --resume goes on")

    file_dtype = getattr(torch, run.get("file_dtype", FILE_DTYPES[0]))
    n_evaluations = -(-config.steps // config.evaluate_every)

    def keep_best(history: list[Record]) -> None:
        if best_of(history) is history[-1]:
            save_model(model, directory, tokenizer, file_dtype=file_dtype)

    def keep(history: list[Record]) -> None:
        keep_best(history)
        if warning := overfitting(history, n_evaluations):
            tqdm.write(warning, file=sys.stderr)
        plot_losses(history).savefig(directory / "loss.png", dpi=120)
        with open(directory / "samples.txt", "a", encoding="utf-8") as file:
            file.write(f"--- step {history[-1].step}\n{sample(model, tokenizer, held_out, config.seed)}\n\n")

    if resume and group.writes:  # the run may have ended between a snapshot and the model's file
        state = load_snapshot(directory / "snapshots")
        model.load_state_dict(state["model"])
        keep_best([Record(**record) for record in state["history"]])
    history = train(model, tokens, held_out, config, directory, keep, objective=objective, resume=resume, group=group)
    if group.writes:
        best = best_of(history)
        if best is not history[-1]:
            model = load_model(directory, device, attention="sdpa")
        print(kept(history))
        print_figures(model, tokenizer, objective, held_out, config.context, run)
        if baselines:
            print_baselines(directory, objective, config)
        print(f"model, tokenizer, metrics.csv, loss.png, samples.txt and snapshots are in {directory}")
        print(next_commands(directory, kind))
    return 0 if history and history[-1].step == config.steps else 130


def sample(model, tokenizer: Tokenizer, held_out: np.ndarray, seed: int) -> str:
    """What the model writes after the first held-out tokens (a BERT fills a gap in them, a T5 writes what a sentinel
    stands for); where it cannot, why. An error must not end the training."""
    if getattr(model, "looks_at_both_sides", False):
        return sample_of_gap(model, tokenizer, held_out[:24].tolist())
    settings = dict(do_sample=True, temperature=0.8, seed=seed, suppress_tokens=unwritable(model, tokenizer))
    try:
        prompt = held_out[:8].tolist()
        if model.has_encoder:
            prompt = [*prompt, tokenizer.vocabulary["<extra_id_0>"], *held_out[10:18].tolist(), tokenizer.eos_id]
        [tokens] = generate(model, [prompt], 60, **settings)
    except (ValueError, FloatingPointError) as error:
        return f"(no sample: {error})"
    return tokenizer.decode([*prompt, *tokens] if model.has_encoder else tokens)


def sample_of_gap(model, tokenizer: Tokenizer, tokens: list[int]) -> str:
    """A text with its middle token masked, and the five likeliest tokens there."""
    ids = [*tokenizer.prefix, *tokens, *tokenizer.suffix]
    ids[len(ids) // 2] = tokenizer.mask_id
    [gap] = fill_mask(model, ids, tokenizer.mask_id)
    likely = ", ".join(
        f"{piece!r} {p:.0%}"
        for piece, p in zip(tokenizer.pieces(t for t, _ in gap.likely), [p for _, p in gap.likely], strict=True)
    )
    return f"{tokenizer.decode(ids)}\n{likely}"
