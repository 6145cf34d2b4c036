"""What `train` is asked for: recipes, changes, texts and folders, checked before any work."""

import ast
import dataclasses
import json
import math
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from .._checks import integer
from ..checkpoints import find_checkpoint
from ..checkpoints.configs import model_type, read_config
from ..checkpoints.files import CONFIG_FILE, WEIGHTS_LAYOUTS
from ..data import hold_out_tails
from ..models import MODELS
from ..tokenizer import END_OF_TEXT, Tokenizer
from ..train import RECIPES, TrainConfig
from ..train.recipe_for_texts import recipe_for_texts
from ..train.recipes import SPECIAL_TOKENS, Recipe

RUN_FILE = "run.json"  # what --resume needs to know


def recipe_of(options, own_texts: list[str]) -> Recipe:
    """The recipe that --recipe and --model, or --init, ask for; without any, the one that fits the user's own texts.
    Raises ValueError where there is none."""
    if own_texts and not (options.recipe or options.init):
        return recipe_for_texts(own_texts, options.model or "gpt2")
    name, model = options.recipe or "tiny", options.model
    if options.init:
        kind = model_type(read_config(find_checkpoint(options.init) / CONFIG_FILE))
        if model not in (None, kind):
            raise ValueError(f"--init {options.init} is a {kind}; leave out --model {model}")
        model = kind
    if model in (None, RECIPES[name].model):
        return RECIPES[name]
    if options.init:  # it brings its own size
        return dataclasses.replace(RECIPES.get(f"{name}-{model}", RECIPES[name]), model=model)
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
    """The configuration class of a run. A run of an earlier version, without model_type, is a GPT-2's."""
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
    if "missing_share" in changes and recipe.model not in ("bert", "t5"):
        raise ValueError(f"--set missing_share has no effect: a {recipe.model} is asked for every next token")
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


def chosen(recipe: Recipe, config: TrainConfig, n_bytes: int) -> str:
    """What was chosen for the user's own texts, in a sentence."""
    tokens = (
        f"a token for each of the {recipe.tokens_within}"
        if recipe.tokens_within == "characters"
        else (f"a vocabulary of up to {recipe.vocab_size}")
    )
    return (
        f"chosen for {n_bytes:,} bytes of text: {tokens}, rows of {config.context} tokens, {config.steps:,} steps; "
        "--recipe or --set NAME=VALUE change it"
    )


def texts_of(own_texts: list[str], recipe: Recipe) -> tuple[list[str], list[str]]:
    """(training, held-out) texts: of the user's own, or of the recipe's corpus."""
    if own_texts:
        return hold_out_tails(own_texts)
    return tuple([document.text for document in part[:: recipe.one_document_in]] for part in recipe.corpus())


def check_sizes(tokens, held_out, config: TrainConfig, options, n_characters: int) -> None:
    """Raise ValueError for a text that is too short to be trained on and reported, with a setting that fits."""
    shorter = min(len(tokens), len(held_out))
    if shorter > config.context:
        return
    files = ", ".join(options.text) if options.text else "the recipe's own text"
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
    value = read_value(text)
    kind = type(defaults[name])
    if (kind, type(value)) in [(float, int), (tuple, list)]:
        value = kind(value)
    if defaults[name] is not None and type(value) is not kind:
        raise ValueError(f"--set {change}: {name} must be like {defaults[name]!r}")
    return name, value


def read_value(text: str):
    """A value as JSON or Python writes it: false or False, null or None, [0.9, 0.95] or (0.9, 0.95), 1e-3 or .001. What
    neither reads is a name, such as gelu_new, and stays a text."""
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return read(text)
    return text
