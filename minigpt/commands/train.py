"""python -m minigpt train: a tokenizer and a model from nothing, or a model that is there trained further."""

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import torch

from .._checks import integer
from .._files import read_json, read_text, write_whole
from ..checkpoints import load_model, load_tokenizer, save_model
from ..checkpoints.configs import model_type
from ..checkpoints.files import CONFIG_FILE, WEIGHTS_LAYOUTS
from ..data import documentation_corpus, encode_documents, hold_out_tails, read_token_file, write_token_file
from ..generation import fill_mask, generate
from ..models import MODELS
from ..perplexity import score
from ..plots import plot_losses
from ..tokenizer import END_OF_TEXT, Tokenizer
from ..train import RECIPES, NextToken, Record, TrainConfig, evaluate, induction_gap, steps_on_disk, train
from ..train.baselines import kneser_ney_nll, primed_lzma_bytes
from ..train.processes import Group, local_device, process_group
from ..train.recipes import SPECIAL_TOKENS, Recipe, ids_of, objective_of, with_frame
from .options import add_device, device_of, not_empty, seed, unwritable

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
    parser.add_argument("--model", choices=list(MODELS), help="the family (default gpt2): RECIPE-MODEL is the recipe")
    parser.add_argument("--init", type=not_empty, metavar="SOURCE", help="train this model further, with its tokenizer")
    parser.add_argument("--resume", action="store_true", help="go on with the run in FOLDER, from its newest snapshot")
    parser.add_argument("--steps", type=int, metavar="N", help="train for N steps instead of the recipe's")
    parser.add_argument("--seed", type=seed, metavar="SEED", help="of weights and batches (default 0)")
    fields = [field.name for field in (*dataclasses.fields(TrainConfig), *dataclasses.fields(MODELS["gpt2"][1]))]
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help=f"change the recipe, for example n_layer=4 learning_rate=1e-3; names: {', '.join(fields)}; "
        "for another family the fields of its configuration",
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
    given = [
        name for name in ("text", "recipe", "model", "init", "steps", "seed") if getattr(options, name) is not None
    ]
    if given or options.set:
        raise ValueError(f"--resume goes on with the run as it was; leave out --{given[0] if given else 'set'}")
    if not (directory / RUN_FILE).is_file():
        raise ValueError(f"{directory} holds no run to resume: there is no {RUN_FILE}")
    run = read_json(directory / RUN_FILE)
    try:
        TrainConfig(**run["config"] | {"betas": tuple(run["config"]["betas"])})
        config_class_of(run)(**run["model"])
        n_bytes = integer("held_out_bytes", run["held_out_bytes"], 0)
        not_empty(run["init"] or "nothing")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{directory / RUN_FILE} is damaged: {type(error).__name__} {error}") from None
    if n_bytes < 1:
        raise ValueError(f"the run in {directory} holds out no text, so nothing could be reported: begin it anew")


def prepare(options, directory: Path) -> None:
    """Everything that can be wrong is found here; then the token files, the tokenizer and RUN_FILE are written."""
    recipe = recipe_of(options)
    config, size, end_of_text = settings_of(options, recipe)
    check_folder(directory)
    training, held_out = texts_of(options, recipe)
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
        tokenizer = Tokenizer.train(training, size["vocab_size"], list(SPECIAL_TOKENS[recipe.model]))
        size |= {"vocab_size": tokenizer.vocab_size} | ids_of(tokenizer, recipe.model)
    name, limit = longest_row(MODELS[recipe.model][1](**size))
    if limit is not None and config.context > limit:
        raise ValueError(f"context={config.context} is longer than the model's {name}={limit}")
    plain = Tokenizer(tokenizer.vocabulary, tokenizer.merges, tokenizer.special_tokens, tokenizer.eos_token)
    tokens, held_out_tokens = (encode_documents(texts, plain) for texts in (training, held_out))
    check_sizes(tokens, held_out_tokens, config, options, n_characters)
    if end_of_text is not None:
        config = dataclasses.replace(config, end_of_text=end_of_text_id(end_of_text, tokenizer, tokens))

    directory.mkdir(parents=True, exist_ok=True)
    for part, file in zip((tokens, held_out_tokens), TOKEN_FILES, strict=True):
        write_token_file(part, directory / file)
    (tokenizer if options.init else with_frame(tokenizer, recipe.model)).save(directory)
    run = {
        "model_type": recipe.model,
        "model": size,
        "config": dataclasses.asdict(config),
        "init": options.init,
        "held_out_bytes": sum(len(text.encode()) for text in held_out),
    }
    write_whole(directory / RUN_FILE, (json.dumps(run, indent=2) + "\n").encode())


def recipe_of(options) -> Recipe:
    """The recipe that --recipe and --model, or --init, ask for. Raises ValueError where there is none."""
    name, model = options.recipe or "tiny", options.model
    if options.init:
        kind = model_type(load_model(options.init).config)
        if model not in (None, kind):
            raise ValueError(f"--init {options.init} is a {kind}; leave out --model {model}")
        model = kind
    if model in (None, RECIPES[name].model):
        return RECIPES[name]
    if options.init:  # it brings its own size
        return dataclasses.replace(RECIPES[name], model=model)
    if f"{name}-{model}" not in RECIPES:
        there = ", ".join(key for key, recipe in RECIPES.items() if recipe.model == model)
        raise ValueError(f"there is no recipe {name} for --model {model}; take --recipe {there}")
    return RECIPES[f"{name}-{model}"]


def check_init(options, model, tokenizer) -> None:
    """Raise ValueError for a model to be trained further whose tokenizer is no byte-level BPE, or that lacks a head or
    a special token that training needs."""
    kind = model_type(model.config)
    if not isinstance(tokenizer, Tokenizer):
        raise ValueError(
            f"--init {options.init} has a {type(tokenizer).__name__}; models with a byte-level BPE can be trained here"
        )
    if lacking := [
        token for token in SPECIAL_TOKENS[kind] if kind in ("bert", "t5") and token not in tokenizer.vocabulary
    ]:
        raise ValueError(f"--init {options.init}: its tokenizer has no {lacking[0]}, which training a {kind} needs")
    if kind == "bert" and model.head is None:
        raise ValueError(f"--init {options.init} has no masked-token head, so there is nothing to train")


def config_class_of(run: dict):
    """The configuration class of a run; one that an earlier version began is a GPT-2's."""
    return MODELS[run.get("model_type", "gpt2")][1]


def longest_row(config) -> tuple[str | None, int | None]:
    """The field that limits a row of tokens, and its value; (None, None) for a T5."""
    names = [name for name in ("n_positions", "max_position_embeddings") if hasattr(config, name)]
    return (names[0], getattr(config, names[0])) if names else (None, None)


def settings_of(options, recipe) -> tuple[TrainConfig, dict, int | str | None]:
    """The recipe as --set, --steps and --seed change it: how to train, the size of the model, and what ends a text.

    Raises ValueError for a change that is given twice, has no effect, or fits no model.
    """
    own = {field.name for field in dataclasses.fields(TrainConfig)}
    config_class = MODELS[recipe.model][1]
    listed = [parse_change(change, config_class) for change in options.set]
    listed += [(name, getattr(options, name)) for name in ("steps", "seed") if getattr(options, name) is not None]
    changes = dict(listed)
    if len(changes) < len(listed):
        twice = next(name for name in changes if [other for other, _ in listed].count(name) > 1)
        raise ValueError(f"{twice} is set twice; give it once")
    for name in ("bos_token_id", "eos_token_id"):
        if name in changes:
            raise ValueError(f"--set {name} has no effect: it is the id of the tokenizer's end of text; leave it out")
    if options.init and changes.keys() - own:
        raise ValueError(f"--init brings its own size; leave out --set {sorted(changes.keys() - own)[0]}")
    end_of_text = changes.pop("end_of_text", None)
    if end_of_text is not None and recipe.model in ("bert", "t5"):
        raise ValueError(f"--set end_of_text packs documents for a model of next tokens, and this is a {recipe.model}")
    if options.baselines and recipe.model in ("bert", "t5"):
        raise ValueError(f"--baselines guess the next token, and a {recipe.model} predicts others")
    config = dataclasses.replace(recipe.config, **{name: value for name, value in changes.items() if name in own})
    size = {"vocab_size": recipe.vocab_size} | recipe.size
    size |= {name: value for name, value in changes.items() if name not in own}
    if not options.init:
        config_class(**size)
    return config, size, end_of_text


def end_of_text_id(end: int | str, tokenizer: Tokenizer, tokens: np.ndarray) -> int:
    """The id of what ends a text, given by id or by name. Raises ValueError where no token of the text has it."""
    if isinstance(end, str) and end not in tokenizer.vocabulary:
        raise ValueError(f"end_of_text={end}: the tokenizer has no such token; its end of text is {END_OF_TEXT}")
    id = tokenizer.vocabulary[end] if isinstance(end, str) else integer("end_of_text", end, 0)
    if not (tokens == id).any():
        raise ValueError(
            f"end_of_text={end} has no effect: no token of the text has the id {id} (the vocabulary has "
            f"{tokenizer.vocab_size} ids; the end of a document is {END_OF_TEXT}, {tokenizer.eos_id})"
        )
    return id


def check_folder(directory: Path) -> None:
    """Raise ValueError where --out holds a model or a run, or cannot be written."""
    for file in (RUN_FILE, *WEIGHTS_LAYOUTS, CONFIG_FILE, "tokenizer.json", "vocab.json"):
        if (directory / file).exists():
            raise ValueError(f"{directory} already holds a model or a run; give --out another folder, or --resume")
    existing = next(folder for folder in [directory, *directory.resolve().parents] if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise ValueError(f"--out {directory} cannot be written: {existing} is not a folder that can be written to")


def texts_of(options, recipe) -> tuple[list[str], list[str]]:
    """(training, held-out) texts: of the files, or of the documentation installed here."""
    if options.text:
        return hold_out_tails([read_text(file) for file in options.text])
    corpus = documentation_corpus()
    return tuple([document.text for document in part[:: recipe.one_document_in]] for part in corpus)


def check_sizes(tokens, held_out, config: TrainConfig, options, n_characters: int) -> None:
    """Raise ValueError for a text that is too short to be trained on and reported, with a setting that fits."""
    shorter = min(len(tokens), len(held_out))
    if shorter > config.context:
        return
    files = ", ".join(options.text) if options.text else "the documentation"
    fits = 2 ** int(math.log2(max(1, shorter - 1)))
    advice = f"try --set context={fits}" if fits >= 2 else "give a longer text"
    raise ValueError(
        f"text too short for context={config.context}: {files} has {n_characters} characters, {len(tokens)} tokens to "
        f"train on and {len(held_out)} held out, and each part needs one more than context; {advice}"
    )


def parse_change(change: str, config_class) -> tuple[str, object]:
    """ "n_layer=4" -> ("n_layer", 4). Raises ValueError for an unknown name, and for a value of another kind."""
    fields = (*dataclasses.fields(config_class), *dataclasses.fields(TrainConfig))
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
    run = read_json(directory / RUN_FILE)
    config = TrainConfig(**run["config"] | {"betas": tuple(run["config"]["betas"])})
    tokenizer, kind = Tokenizer.load(directory), run.get("model_type", "gpt2")
    objective = objective_of(kind, tokenizer, config.end_of_text)
    tokens, held_out = (read_token_file(directory / file) for file in TOKEN_FILES)
    resume = resume and bool(steps_on_disk(directory / "snapshots"))  # it may have been stopped before its first one
    torch.manual_seed(config.seed)
    if run["init"] and not resume:
        model = load_model(run["init"], device, attention="sdpa")
    else:
        model = MODELS[kind][0](config_class_of(run)(**run["model"]), attention="sdpa").to(device)
    if group.writes:
        n_parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{len(tokens):,} tokens to train on, {len(held_out):,} held out, vocabulary {tokenizer.vocab_size}")
        print(f"{n_parameters:,} parameters; Ctrl-C ends early and saves, --resume goes on")

    def keep(history: list[Record]) -> None:
        save_model(model, directory, tokenizer)
        plot_losses(history).savefig(directory / "loss.png", dpi=120)
        with open(directory / "samples.txt", "a", encoding="utf-8") as file:
            file.write(f"--- step {history[-1].step}\n{sample(model, tokenizer, held_out, config.seed)}\n\n")

    history = train(model, tokens, held_out, config, directory, keep, objective=objective, resume=resume, group=group)
    if group.writes and not isinstance(objective, NextToken):
        loss = evaluate(model, held_out, config.context, objective=objective)
        print(f"held out: {loss:.4f} nats a predicted token, perplexity {math.exp(loss):.2f}")
    elif group.writes:
        scores = score(model, held_out.astype(np.int64), min(config.context, model.max_tokens))
        bits = scores.bits_per_byte(run["held_out_bytes"])
        print(f"held out: {scores.perplexity:.2f} perplexity, {bits:.4f} bits per byte")
        if config.context >= 4:  # a shorter row has no two halves
            gap = induction_gap(model, tokenizer.vocab_size, length=config.context // 2)
            print(f"induction gap {gap:.3f} nats")
    if group.writes:
        print(f"model, tokenizer, metrics.csv, loss.png, samples.txt and snapshots are in {directory}")
    return 0 if history and history[-1].step == config.steps else 130


def sample(model, tokenizer: Tokenizer, held_out: np.ndarray, seed: int) -> str:
    """What the model writes after the first held-out tokens (a BERT fills a gap in them, a T5 writes what a sentinel
    stands for); why it could not, where it could not: no step is lost."""
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


def print_baselines(directory: Path) -> None:
    """Bits per byte of the held-out text without any network: to be beaten."""
    run, tokenizer = read_json(directory / RUN_FILE), Tokenizer.load(directory)
    tokens, held_out = (read_token_file(directory / file) for file in TOKEN_FILES)
    nats = kneser_ney_nll(tokens, held_out, tokenizer.vocab_size).sum()
    print(f"Kneser-Ney, five tokens: {nats / math.log(2) / run['held_out_bytes']:.4f} bits per byte")
    texts = [[tokenizer.decode(part.tolist())] for part in (tokens, held_out)]
    print(f"lzma after the training text: {8 * primed_lzma_bytes(*texts) / run['held_out_bytes']:.4f} bits per byte")
