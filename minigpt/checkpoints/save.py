"""Save a model so that `load_model` and transformers load it."""

import json
from pathlib import Path

import torch
from torch import nn

from .._files import read_json
from ..tokenizer import TOKENIZER_FILES, LibraryTokenizer, Tokenizer, WordPiece
from .configs import GENERATION_IDS, config_json, model_type, settings
from .files import CONFIG_FILE, GENERATION_FILE, write_checkpoint
from .names import NAMES
from .translate import all_finite, to_hugging_face


def save_model(
    model: nn.Module,
    directory: str | Path,
    tokenizer: Tokenizer | WordPiece | LibraryTokenizer | None = None,
    *,
    file_dtype: torch.dtype | None = None,
) -> None:
    """Write config.json and model.safetensors, and a tokenizer's files, that `load_model` and transformers load.

    file_dtype is the tensors' dtype on disk (None = the model's). float16 halves a file of float32, and config.json
    still names the model's own dtype, in which transformers will load it.
    Files in the folder that contradict the model are deleted: another tokenizer's files where a tokenizer is given, a
    generation_config.json with other ids. A save that fails or is killed leaves the checkpoint that was there. Raises
    ValueError for a model with a nan or inf in its weights or a weight too large for file_dtype, which could not be
    loaded again, for a file_dtype that is not floating point, and for a tokenizer with more ids than the model's
    vocabulary; OSError when the disk refuses.
    """
    config, directory = model.config, Path(directory)
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        ids = f"{tokenizer.vocab_size} ids"
        raise ValueError(f"the tokenizer has {ids}, the model's vocabulary only vocab_size={config.vocab_size}")
    if file_dtype is not None and not (isinstance(file_dtype, torch.dtype) and file_dtype.is_floating_point):
        raise ValueError(f"file_dtype must be a floating point dtype such as torch.float16, got {file_dtype}")
    for name, parameter in model.named_parameters():
        if not all_finite(parameter if file_dtype is None else parameter.to(file_dtype)):
            where = "" if file_dtype is None else f" as {file_dtype}"
            raise ValueError(f"{name} holds nan or inf{where}: a checkpoint of it could not be loaded again")
    companions = {
        CONFIG_FILE: (json.dumps(config_json(config, next(model.parameters()).dtype), indent=2) + "\n").encode()
    }
    if tokenizer is not None:
        companions |= dict.fromkeys(TOKENIZER_FILES) | tokenizer.files()
    if (directory / GENERATION_FILE).is_file() and _says_otherwise(directory / GENERATION_FILE, config):
        companions[GENERATION_FILE] = None
    tensors = to_hugging_face(model.state_dict(), NAMES[model_type(config)], config)
    if file_dtype is not None:
        tensors = {name: tensor.to(file_dtype) for name, tensor in tensors.items()}
    write_checkpoint(directory, tensors, settings(config), companions)


def _says_otherwise(file: Path, config) -> bool:
    """Whether a generation_config.json that is there belongs to a model with other ids, or cannot be read."""
    try:
        fields = read_json(file)
    except (OSError, ValueError):
        return True
    ids = {name: getattr(config, name, None) for name in ("bos_token_id", *GENERATION_IDS)}
    return any(name in fields and fields[name] not in (id, _as_list(id)) for name, id in ids.items())


def _as_list(id) -> list:
    return list(id) if isinstance(id, tuple) else [id]
