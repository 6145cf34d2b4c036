"""Load a model or a tokenizer by a name, from a folder, or from the hub."""

from collections.abc import Callable

import torch

from ..models import MODELS
from ..tokenizer import LibraryTokenizer, Tokenizer, WordPiece, read_any
from .configs import model_type, obey_generation_config, read_config, settings
from .files import CONFIG_FILE, GENERATION_FILE, check_settings, finish_save, read_tensors, weights_file
from .find import candidates, find_checkpoint, on_disk
from .hub import cached, fetch
from .names import NAMES
from .translate import check_layers, from_hugging_face, plain_names


def load_model(source, device=None, dtype=None, attention: str | Callable | None = None):
    """A model in eval mode from "tiny", a Hugging Face folder, or a hub name such as "gpt2". Its class follows
    config.json.

    device None = the CPU; dtype None = float32, whatever is on disk; attention None = "explicit", or "sdpa", "tiled",
    or any function with the signature of `explicit_attention`.
    Raises CheckpointError, before a model exists, for anything that would give a wrong model; ValueError for a dtype
    that is not floating point.
    """
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype must be a floating point dtype such as torch.float32, got {dtype}")
    directory = find_checkpoint(source)
    finish_save(directory)
    config = obey_generation_config(read_config(directory / CONFIG_FILE), directory / GENERATION_FILE)
    kind = model_type(config)
    family, (model_class, _) = NAMES[kind], MODELS[kind]
    dtype = dtype or torch.float32
    model_class.check_dtype(dtype)
    file = weights_file(directory)
    tensors, header = read_tensors(file)
    tensors = plain_names(tensors, family, config, file)
    check_layers(tensors, family, config, file)
    config = family.obey_tensors(config, tensors)
    check_settings(file, header, settings(config))
    with torch.device("meta"):  # shapes only: the weights are put in below
        model = model_class(config, attention="explicit" if attention is None else attention)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    state = from_hugging_face(tensors, family, shapes, config, file, dtype)
    model.load_state_dict(state, assign=True)
    return model.to(device).eval()


def load_tokenizer(source) -> Tokenizer | WordPiece | LibraryTokenizer:
    """The tokenizer of "tiny", of a directory, or of a hub name; the weights need not be there. Its class follows the
    files: byte-level BPE (GPT-2, Llama 3), WordPiece (BERT), or what the package tokenizers reads (T5, Llama 2).
    Raises as `read_any` and `find_checkpoint`."""
    for candidate in candidates(source):
        finish_save(candidate)
        try:
            return read_any(candidate)
        except FileNotFoundError:
            continue
    if on_disk(source) in cached(source):  # the model without its tokenizer: nobody has asked the hub for that yet
        return read_any(fetch(source, None))
    return read_any(find_checkpoint(source))
