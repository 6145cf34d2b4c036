"""config.json <-> the configuration of one of our models."""

import dataclasses
import re
from pathlib import Path

from ..models import MODELS
from .files import CheckpointError, read_json
from .names import NAMES

# Fields of any config.json that change no number: what wrote it, what is printed, how text is generated.
HARMLESS = {
    "_name_or_path", "architectures", "model_type", "transformers_version", "dtype", "torch_dtype", "use_cache",
    "output_hidden_states", "output_attentions", "return_dict", "use_return_dict", "torchscript", "use_bfloat16",
    "gradient_checkpointing", "id2label", "label2id", "num_labels", "problem_type", "finetuning_task",
    "task_specific_params", "tokenizer_class", "prefix", "pad_token_id", "sep_token_id", "decoder_start_token_id",
    "is_decoder", "chunk_size_feed_forward", "output_past", "tf_legacy_loss", "tie_encoder_decoder",
    "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids",
    "do_sample", "early_stopping", "max_length", "min_length", "max_new_tokens", "num_beams", "num_beam_groups",
    "num_return_sequences", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
    "no_repeat_ngram_size", "diversity_penalty", "encoder_no_repeat_ngram_size", "remove_invalid_values",
    "exponential_decay_length_penalty", "return_dict_in_generate", "output_scores", "attn_implementation",
}  # fmt: skip
GENERATION_IDS = ("eos_token_id", "decoder_start_token_id")
NOTHING = (None, False, {}, [])  # the values that an unknown field may have


def read_config(file: Path):
    """The configuration that a config.json describes.

    The kind of model is "model_type", or follows from "architectures" in a file without it. Each field is obeyed, or is
    known to change no number here, or is null, false or empty. Raises CheckpointError for any other field, with its
    name; for a field that is there under two names with two values; for another kind of model; for values that make no
    model.
    """
    fields = read_json(file)
    kind = fields.get("model_type")
    if kind is None:
        kind = kind_of_classes(fields.get("architectures"))
    if not isinstance(kind, str) or kind not in MODELS:
        found = " and ".join(f'"{name}": {fields.get(name)!r}' for name in ("model_type", "architectures"))
        raise CheckpointError(
            f'{file}: expected "model_type": "{", ".join(MODELS)}", or in its place "architectures" with the name of '
            f'a class, such as ["GPT2LMHeadModel"]; found {found}'
        )
    family, (_, config_class) = NAMES[kind], MODELS[kind]
    for name, values in family.fixed.items():
        if name in fields and fields[name] not in values:
            raise CheckpointError(f"{file}: {name} is {fields[name]!r}, which this {config_class.__name__} cannot obey")
    fields = {name: value for name, value in fields.items() if name not in family.fixed}
    try:
        fields = family.obey_fields(fields)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from None
    known = {field.name for field in dataclasses.fields(config_class)}
    obeyed = {}
    for name, value in fields.items():
        own = family.aliases.get(name, name)
        if own in known:
            if own in obeyed and obeyed[own][1] != value:
                other, before = obeyed[own]
                raise CheckpointError(f"{file}: {other} is {before!r} and {name}, the same field, is {value!r}")
            obeyed[own] = name, value
        elif not (name in HARMLESS | family.harmless or name.startswith("_") or _says_nothing(value)):
            raise CheckpointError(f"{file}: {name} is {value!r}, which this {config_class.__name__} cannot obey")
    try:
        return config_class(**{own: value for own, (_, value) in obeyed.items()})
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: {error}") from None


def obey_generation_config(config, file: Path):
    """The configuration with the ids that a generation_config.json names for the start and the end of a text (a list:
    each of them ends it): transformers obeys them, too. One that names none leaves the configuration as it is.

    Raises CheckpointError for what is no id.
    """
    fields = read_json(file) if file.is_file() else {}
    ids = {name: fields[name] for name in GENERATION_IDS if fields.get(name) is not None and hasattr(config, name)}
    try:
        return dataclasses.replace(config, **ids)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: {error}; correct it, or take the file away") from None


def kind_of_classes(names) -> str | None:
    """The model_type of transformers' classes: "gpt2" of ["GPT2LMHeadModel"]. None where they are of no model here, or
    of two. Our classes are named as theirs begin; what follows must be known, for T5GemmaModel is no T5."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    rest = "(Model|LMHeadModel|DoubleHeadsModel|EncoderModel|For[A-Z][A-Za-z]*)"
    kinds = {
        next((kind for kind, (ours, _) in MODELS.items() if re.fullmatch(ours.__name__ + rest, name)), None)
        for name in names
    }
    return kinds.pop() if len(kinds) == 1 else None


def _says_nothing(value) -> bool:
    return any(type(value) is type(nothing) and value == nothing for nothing in NOTHING)


def model_type(config) -> str:
    """The model_type of a configuration: "gpt2" for a GPT2Config."""
    return next(kind for kind, (_, config_class) in MODELS.items() if isinstance(config, config_class))


def settings(config) -> dict:
    """The fields of a config that change what the model computes. A wrong value may fit all shapes."""
    without = NAMES[model_type(config)].not_settings
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in without}


def config_json(config, dtype) -> dict:
    """The fields of config.json, Hugging Face's own included."""
    kind = model_type(config)
    architecture, _ = NAMES[kind].layout(config)
    of_hugging_face = {"architectures": [architecture], "model_type": kind}
    return of_hugging_face | {"dtype": str(dtype).removeprefix("torch.")} | NAMES[kind].to_fields(config)
