"""Checkpoints: load and save. The name table translates between Hugging Face's GPT-2 and ours."""

import dataclasses
import json
import re
from pathlib import Path

import torch

from ..fast.one_token import laid_out_for_one_row
from ..models import GPT2, GPT2Config
from ..tokenizer import Tokenizer
from .files import (
    CONFIG_FILE,
    CheckpointError,
    check_settings,
    read_json,
    read_tensors,
    settle,
    weights_file,
    write_checkpoint,
)
from .find import candidates, find_checkpoint

QUERY_KEY_VALUE = tuple(f"blocks.{{i}}.attention.{name}" for name in ("query", "key", "value"))

# Hugging Face stores the weights of GPT-2's four linear layers as (in, out), from OpenAI's TensorFlow code; nn.Linear
# stores (out, in): transpose. Of the square attn.c_proj no shape would tell. None: not needed, left out on purpose.
#
# Hugging Face's name            ours                              transpose
NAME_TABLE = [
    ("wte.weight",               "token_embedding.weight",         False),
    ("wpe.weight",               "position_embedding.weight",      False),
    ("h.{i}.ln_1.weight",        "blocks.{i}.attention_norm.weight", False),
    ("h.{i}.ln_1.bias",          "blocks.{i}.attention_norm.bias", False),
    ("h.{i}.attn.c_attn.weight", tuple(f"{name}.weight" for name in QUERY_KEY_VALUE), True),  # three side by side
    ("h.{i}.attn.c_attn.bias",   tuple(f"{name}.bias" for name in QUERY_KEY_VALUE), False),
    ("h.{i}.attn.c_proj.weight", "blocks.{i}.attention.output.weight", True),
    ("h.{i}.attn.c_proj.bias",   "blocks.{i}.attention.output.bias", False),
    ("h.{i}.attn.bias",          None,                             False),  # the causal mask, as a buffer
    ("h.{i}.attn.masked_bias",   None,                             False),  # what it was filled with
    ("h.{i}.ln_2.weight",        "blocks.{i}.mlp_norm.weight",     False),
    ("h.{i}.ln_2.bias",          "blocks.{i}.mlp_norm.bias",       False),
    ("h.{i}.mlp.c_fc.weight",    "blocks.{i}.mlp.up.weight",       True),
    ("h.{i}.mlp.c_fc.bias",      "blocks.{i}.mlp.up.bias",         False),
    ("h.{i}.mlp.c_proj.weight",  "blocks.{i}.mlp.down.weight",     True),
    ("h.{i}.mlp.c_proj.bias",    "blocks.{i}.mlp.down.bias",       False),
    ("ln_f.weight",              "final_norm.weight",              False),
    ("ln_f.bias",                "final_norm.bias",                False),
    ("lm_head.weight",           "lm_head.weight",                 False),  # only where the head is not tied
]  # fmt: skip

# Fields of the config that change no number the model computes in eval mode.
NOT_SETTINGS = {"resid_pdrop", "embd_pdrop", "attn_pdrop", "initializer_range", "bos_token_id", "eos_token_id"}


# --- load ------------------------------------------------------------------------------------------------------------


def load_model(source, device=None, dtype=None, attention: str | None = None) -> GPT2:
    """A GPT-2 in eval mode from "tiny", a Hugging Face folder, or a hub name such as "gpt2".

    device None = the CPU; dtype None = float32, whatever is on disk; attention None = "explicit".
    Raises CheckpointError, before a model exists, for anything that would give a wrong model; ValueError for a dtype
    that is not floating point.
    """
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype must be a floating point dtype such as torch.float32, got {dtype}")
    directory = find_checkpoint(source)
    settle(directory)
    config = read_config(directory / CONFIG_FILE)
    file = weights_file(directory)
    tensors, header = read_tensors(file)
    check_settings(file, header, settings(config))
    check_layers(tensors, config.n_layer, file)
    with torch.device("meta"):  # shapes only: the weights are about to come
        model = GPT2(config, attention=attention or "explicit")
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    state = from_hugging_face(tensors, shapes, config.n_layer, file, dtype or torch.float32)
    model.load_state_dict(state, assign=True)
    return model.to(device).eval()


def load_tokenizer(source) -> Tokenizer:
    """The tokenizer of "tiny", of a directory, or of a hub name; the weights need not be there."""
    for candidate in candidates(source):
        settle(candidate)
        try:
            return Tokenizer.load(candidate)
        except FileNotFoundError:
            continue
    return Tokenizer.load(find_checkpoint(source))


def read_config(file: Path) -> GPT2Config:
    """config.json -> GPT2Config. Fields that change nothing here (dtype, caching, ...) are passed over."""
    fields = read_json(file)
    if fields.get("model_type") != "gpt2":
        raise CheckpointError(f'{file}: expected "model_type": "gpt2", found {fields.get("model_type")!r}')
    if fields.get("add_cross_attention"):
        raise CheckpointError(f"{file}: add_cross_attention is true, and this GPT-2 has no cross-attention layers")
    known = {field.name for field in dataclasses.fields(GPT2Config)}
    try:
        return GPT2Config(**{name: value for name, value in fields.items() if name in known})
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: {error}") from None


def settings(config: GPT2Config) -> dict:
    """The fields of a config that change what the model computes; a wrong one may leave no trace in the shapes."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in NOT_SETTINGS}


def plain_names(tensors: dict[str, torch.Tensor], file) -> dict[str, torch.Tensor]:
    """Names without what torch.compile (_orig_mod.), DDP (module.) and Hugging Face (transformer.) put in front.

    Raises CheckpointError when two tensors end up with one name.
    """
    plain = {}
    for name, tensor in tensors.items():
        short = re.sub(r"^(_orig_mod\.|module\.|transformer\.)+", "", name)
        if short in plain:
            raise CheckpointError(f"{file}: tensor {short} is there twice, once as {name}")
        plain[short] = tensor
    return plain


def check_layers(tensors: dict[str, torch.Tensor], n_layer: int, file) -> None:
    """Raise CheckpointError when the file has not as many layers as config.json says: before they are all built."""
    found = {int(number) for name in tensors for number in re.findall(r"\bh\.(\d{1,9})\.", name)}
    if len(found) != n_layer:
        raise CheckpointError(f"{file} has the tensors of {len(found)} layers, {CONFIG_FILE} says n_layer={n_layer}")


def from_hugging_face(
    tensors: dict[str, torch.Tensor], shapes: dict[str, tuple], n_layer: int, file="checkpoint", dtype=None
) -> dict[str, torch.Tensor]:
    """Walk the name table: Hugging Face's tensors -> ours, each checked against the shape the model expects.

    dtype None = as they are. The dictionary given is emptied, so that no weight is in memory twice for long.
    Raises CheckpointError for a tensor that is missing, unexpected, of another shape, not floating point, not finite,
    and for a head that differs from the token embedding in a tied model.
    """
    given, tensors = tensors, plain_names(tensors, file)
    given.clear()
    state = {}
    tied_copy = tensors.pop("lm_head.weight", None) if "lm_head.weight" not in shapes else None
    if tied_copy is not None and not torch.equal(tied_copy, tensors.get("wte.weight", torch.empty(0))):
        raise CheckpointError(f"{file}: lm_head.weight differs from wte.weight, but the config ties them")
    for theirs, ours, transpose in _table_rows(n_layer):
        tensor = tensors.pop(theirs, None)
        if ours is None or (ours == "lm_head.weight" and ours not in shapes):
            continue
        if tensor is None:
            raise CheckpointError(f"{file}: tensor {theirs} is missing")
        names = ours if isinstance(ours, tuple) else (ours,)
        expected = (len(names) * shapes[names[0]][0], *shapes[names[0]][1:])
        expected = expected[::-1] if transpose else expected
        if tuple(tensor.shape) != expected:
            raise CheckpointError(f"{file}: tensor {theirs} has shape {tuple(tensor.shape)}, expected {expected}")
        if not tensor.is_floating_point():
            raise CheckpointError(f"{file}: tensor {theirs} holds {tensor.dtype}, expected floating point numbers")
        tensor = tensor.to(dtype or tensor.dtype)
        if not _all_finite(tensor):
            raise CheckpointError(f"{file}: tensor {theirs} holds nan or inf")
        parts = (tensor.t() if transpose else tensor).chunk(len(names))
        lay_out = laid_out_for_one_row if transpose else torch.Tensor.contiguous
        state.update(zip(names, map(lay_out, parts), strict=True))
    if tensors:
        raise CheckpointError(f"{file}: unexpected tensor {sorted(tensors)[0]}, {len(tensors)} in all")
    return state


def _all_finite(tensor: torch.Tensor) -> bool:
    """A finite sum has only finite terms, and costs one pass without a copy; an infinite one may have overflowed."""
    return bool(tensor.sum().isfinite() or tensor.isfinite().all())


def to_hugging_face(state: dict[str, torch.Tensor], n_layer: int) -> dict[str, torch.Tensor]:
    """The name table the other way round: our tensors -> Hugging Face's, contiguous and ready to save."""
    tensors = {}
    for theirs, ours, transpose in _table_rows(n_layer):
        if ours is None or (ours == "lm_head.weight" and ours not in state):
            continue
        tensor = torch.cat([state[name] for name in ours]) if isinstance(ours, tuple) else state[ours]
        prefix = "" if theirs.startswith("lm_head") else "transformer."
        tensors[prefix + theirs] = (tensor.t() if transpose else tensor).detach().cpu().contiguous()
    return tensors


def _table_rows(n_layer: int):
    """The name table with {i} written out for every layer."""
    for theirs, ours, transpose in NAME_TABLE:
        for i in range(n_layer if "{i}" in theirs else 1):
            filled = tuple(name.format(i=i) for name in ours) if isinstance(ours, tuple) else ours and ours.format(i=i)
            yield theirs.format(i=i), filled, transpose


# --- save ------------------------------------------------------------------------------------------------------------


def save_model(model: GPT2, directory: str | Path, tokenizer: Tokenizer | None = None) -> None:
    """Write config.json and model.safetensors (and vocab.json, merges.txt) that `load_model` and transformers load.

    A save that fails or is killed leaves the checkpoint that was there. Raises ValueError for a model with a nan or inf
    in its weights, which could not be loaded again, and for a tokenizer with more ids than the model's vocabulary;
    OSError when the disk refuses.
    """
    if tokenizer is not None and tokenizer.vocab_size > model.config.vocab_size:
        ids = f"{tokenizer.vocab_size} ids"
        raise ValueError(f"the tokenizer has {ids}, the model's vocabulary only vocab_size={model.config.vocab_size}")
    for name, parameter in model.named_parameters():
        if not _all_finite(parameter):
            raise ValueError(f"{name} holds nan or inf: a checkpoint of it could not be loaded again")
    companions = {CONFIG_FILE: (json.dumps(config_json(model), indent=2) + "\n").encode()}
    if tokenizer is not None:
        companions |= tokenizer.files()
    tensors = to_hugging_face(model.state_dict(), model.config.n_layer)
    write_checkpoint(Path(directory), tensors, settings(model.config), companions)


def config_json(model: GPT2) -> dict:
    """The fields of config.json, Hugging Face's own included."""
    dtype = str(model.token_embedding.weight.dtype).removeprefix("torch.")
    fields = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "dtype": dtype}
    return fields | dataclasses.asdict(model.config)
