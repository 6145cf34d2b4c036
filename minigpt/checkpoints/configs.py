"""config.json <-> the configuration of one of our models."""

import dataclasses
from pathlib import Path

from ..models import MODELS
from .files import CheckpointError, read_json
from .names import NAMES


def read_config(file: Path):
    """The configuration that a config.json describes. Fields that change nothing here (dtype, caching, ...) are passed
    over. Raises CheckpointError for another kind of model, and for values that make none."""
    fields = read_json(file)
    kind = fields.get("model_type")
    if kind not in MODELS:
        raise CheckpointError(f'{file}: expected "model_type": "{", ".join(MODELS)}", found {kind!r}')
    if fields.get("add_cross_attention"):
        raise CheckpointError(f"{file}: add_cross_attention is true, and this GPT-2 has no cross-attention layers")
    _, config_class = MODELS[kind]
    known = {field.name for field in dataclasses.fields(config_class)}
    try:
        return config_class(**{name: value for name, value in fields.items() if name in known})
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: {error}") from None


def model_type(config) -> str:
    """The model_type of a configuration: "gpt2" for a GPT2Config."""
    return next(kind for kind, (_, config_class) in MODELS.items() if isinstance(config, config_class))


def settings(config) -> dict:
    """The fields of a config that change what the model computes; a wrong one may leave no trace in the shapes."""
    without = NAMES[model_type(config)].NOT_SETTINGS
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in without}


def config_json(config, dtype) -> dict:
    """The fields of config.json, Hugging Face's own included."""
    kind = model_type(config)
    of_hugging_face = {"architectures": [NAMES[kind].ARCHITECTURE], "model_type": kind}
    return of_hugging_face | {"dtype": str(dtype).removeprefix("torch.")} | dataclasses.asdict(config)
