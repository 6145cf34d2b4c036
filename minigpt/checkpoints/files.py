"""The files of a checkpoint: read every usual layout, raise an error for what is broken, and write all or nothing.

A damaged weight is still a number, and a wrong n_head fits every shape. So `write_checkpoint` puts the SHA-256 of every
tensor and the settings that change what the model computes into the header of model.safetensors, and `read_tensors`
and `check_settings` compare them with what they find.
"""

import hashlib
import json
import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .. import _files
from .._files import force_to_disk

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
GENERATION_FILE = "generation_config.json"  # how transformers generates, if not told otherwise
# What Hugging Face and training scripts leave, in the order of preference.
WEIGHTS_LAYOUTS = (WEIGHTS_FILE, "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
PENDING = ".new"  # a file of a save that is not complete yet
CHECKSUMS, SETTINGS, COMPANIONS = "minigpt.sha256", "minigpt.settings", "minigpt.companions"  # in the header


class CheckpointError(ValueError):
    """A checkpoint that is missing, broken, or of a model that is not here; the message names the file, the tensor or
    the field, what was found and what is expected."""


def weights_file(directory: Path) -> Path | None:
    """The file that holds, or lists, the weights of a folder; None when it has none."""
    return next((directory / name for name in WEIGHTS_LAYOUTS if (directory / name).is_file()), None)


def is_whole(directory: Path) -> bool:
    """Whether a folder holds a config.json and weights, with every shard that an index lists. After a download that was
    interrupted it does not."""
    file = weights_file(directory)
    if file is None or not (directory / CONFIG_FILE).is_file():
        return False
    try:
        return file.suffix != ".json" or all((directory / shard).is_file() for shard in _shards(file).values())
    except CheckpointError:  # a damaged index: who reads the weights will say so
        return True


# --- read ------------------------------------------------------------------------------------------------------------


def read_tensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(tensors by the names in the file, header) of one weights file: safetensors, an index of shards, or a pickle.

    The header is safetensors' string metadata, {} for the other layouts. Raises CheckpointError for a file that is
    not what its name says. A pickle, also as a shard, is read with weights_only=True: code in it does not run.
    """
    if file.suffix == ".json":
        return _read_shards(file), {}
    if file.suffix == ".bin":
        return _read_pickle(file), {}
    return _read_safetensors(file)


def _read_safetensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            sizes = {name: math.prod(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
            header = opened.metadata() or {}
        # The largest first: only the tensor being read is in memory twice, and the largest while little else is.
        tensors = {name: _read_tensor(file, name) for name in sorted(sizes, key=sizes.get, reverse=True)}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} is {_what_it_is_instead(file, 'safetensors')}: {error}") from None
    if CHECKSUMS in header:
        _check_sums(file, tensors, header[CHECKSUMS])
    return tensors, header


def _read_tensor(file: Path, name: str) -> torch.Tensor:
    """A copy in its own memory. safetensors gives a view of the file: the whole file stays in memory as long as any
    tensor is used, and it must not change on the disk meanwhile."""
    with safe_open(file, framework="pt") as opened:
        return opened.get_tensor(name).clone()


def _shards(index: Path) -> dict[str, str]:
    """{name of a tensor: the file in the same folder that holds it}"""
    shard_of = read_json(index).get("weight_map")
    if not isinstance(shard_of, dict) or not all(isinstance(shard, str) for shard in shard_of.values()):
        raise CheckpointError(f'{index}: expected a "weight_map" from tensor names to files')
    for shard in sorted(set(shard_of.values())):
        if Path(shard).name != shard or shard in ("", ".", ".."):
            raise CheckpointError(f"{index}: shard {shard!r} leaves the folder; expected a file name")
    return shard_of


def _read_shards(index: Path) -> dict[str, torch.Tensor]:
    shard_of, tensors = _shards(index), {}
    for shard in sorted(set(shard_of.values())):
        file = index.parent / shard
        found = _read_pickle(file) if file.suffix == ".bin" else _read_safetensors(file)[0]
        for name in found:
            if name in tensors or shard_of.get(name) != shard:
                raise CheckpointError(f"{index}: tensor {name} is in {shard}, the index has it in {shard_of.get(name)}")
        tensors |= found
    if missing := sorted(shard_of.keys() - tensors.keys()):
        raise CheckpointError(f"{index}: tensor {missing[0]} is missing from {shard_of[missing[0]]}")
    return tensors


def _read_pickle(file: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # in a damaged pickle the unpickler may raise anything
        if other := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{file} holds more than tensors: {other[1]}. It is not read, because such a file can run code; "
                f"where it was written, save its tensors alone: torch.save(model.state_dict(), ...)"
            ) from None
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{file} is {_what_it_is_instead(file, 'a file of tensors')}: {reason}") from None
    for wrapper in ("model", "state_dict", "module"):  # of training scripts, of Lightning, of DeepSpeed
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{file}: expected a dictionary of tensors, found {_kind(content)}")
    for name, tensor in content.items():
        if not isinstance(name, str) or tensor.layout != torch.strided or tensor.is_meta:
            raise CheckpointError(f"{file}: {name!r} is no plain tensor with a name, found {tensor.layout}")
    return content


def _kind(content) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    name, value = next((name, value) for name, value in content.items() if not isinstance(value, torch.Tensor))
    return f"{name!r}: {type(value).__name__}"


def _what_it_is_instead(file: Path, expected: str) -> str:
    if not file.is_file():
        return "missing"
    with open(file, "rb") as start:
        first = start.read(40)
    if first.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer, not the weights (run git lfs pull)"
    return "empty" if not first else f"broken, or not {expected}"


def read_json(file: Path) -> dict:
    """A JSON object. Raises CheckpointError when the file holds anything else, or is not there."""
    try:
        return _files.read_json(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read as JSON: {error}") from None


# --- check -----------------------------------------------------------------------------------------------------------


def checksum(tensor: torch.Tensor) -> str:
    """SHA-256 of the tensor's bytes, in hexadecimal."""
    return hashlib.sha256(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()).hexdigest()


def _check_sums(file: Path, tensors: dict[str, torch.Tensor], written: str) -> None:
    expected = _header_json(file, CHECKSUMS, written)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing releases Python's lock, so threads run at once
        sums = dict(zip(tensors, threads.map(checksum, tensors.values()), strict=True))
    for name in sorted(tensors.keys() | expected.keys()):
        found = sums.get(name, "no such tensor")
        if found != expected.get(name):
            raise CheckpointError(
                f"{file}: tensor {name} has changed since it was saved: SHA-256 {found[:16]}, "
                f"expected {str(expected.get(name))[:16]}"
            )


def check_settings(file: Path, header: dict[str, str], settings: dict) -> None:
    """Raise CheckpointError when settings, read from config.json, are not those that the weights were saved with."""
    if SETTINGS not in header:
        return
    expected = _header_json(file, SETTINGS, header[SETTINGS])
    for name in sorted(settings.keys() | expected.keys()):
        if settings.get(name) != expected.get(name):
            raise CheckpointError(
                f"{file.parent / CONFIG_FILE}: {name} is {settings.get(name)!r}, "
                f"but the weights were saved with {expected.get(name)!r}"
            )


def _header_json(file: Path, key: str, text: str) -> dict:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: the header's {key} is damaged")
    return value


# --- write -----------------------------------------------------------------------------------------------------------


def write_checkpoint(
    directory: Path, tensors: dict[str, torch.Tensor], settings: dict, companions: dict[str, bytes | None]
) -> None:
    """Write model.safetensors and its companions (config.json, tokenizer files) so that the folder holds the old
    checkpoint or the new one at every moment, whatever happens: a full disk, a power cut, kill -9.

    A companion without content (None) is deleted. Companions are first written as NAME.new. Then the weights are
    replaced: from here on the new checkpoint counts. Last, the companions take their names; `finish_save` does this
    for a save that died before it. Raises OSError when the disk refuses.
    """
    directory.mkdir(parents=True, exist_ok=True)
    header = {
        "format": "pt",
        CHECKSUMS: json.dumps({name: checksum(tensor) for name, tensor in tensors.items()}),
        SETTINGS: json.dumps(settings),
        COMPANIONS: json.dumps({name: _sum(content) for name, content in companions.items()}),
    }
    unfinished = directory / (WEIGHTS_FILE + PENDING)
    contents = {directory / (name + PENDING): content for name, content in companions.items() if content is not None}
    pending = list(contents)
    try:
        for file, content in contents.items():
            file.write_bytes(content)
        save_file(tensors, unfinished, metadata=header)
        unfinished.chmod(0o666 & ~_umask())  # save_file leaves it readable by its owner alone
        for file in [*pending, unfinished]:
            force_to_disk(file)
    except (OSError, SafetensorError) as error:
        for file in [*pending, unfinished]:
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise
        raise OSError(f"{unfinished} could not be written: {error}") from None
    os.replace(unfinished, directory / WEIGHTS_FILE)
    force_to_disk(directory)
    finish_save(directory)


def finish_save(directory: Path) -> None:
    """Finish a save that died after its weights were in place: put the companions that belong to them there, too.

    Another file called NAME.new is from a save that died before that; the next save overwrites it.
    """
    pending = [f for f in directory.glob("*" + PENDING) if f.name != WEIGHTS_FILE + PENDING and f.is_file()]
    if not pending or not (directory / WEIGHTS_FILE).is_file():
        return
    try:
        with safe_open(directory / WEIGHTS_FILE, framework="pt") as opened:
            header = opened.metadata() or {}
    except SafetensorError:
        return  # reading the weights will say what is wrong with them
    expected = _header_json(directory / WEIGHTS_FILE, COMPANIONS, header.get(COMPANIONS, "{}"))
    if strange := sorted(name for name in expected if not re.fullmatch(r"[\w-]+\.(json|txt|bpe|model)", name)):
        raise CheckpointError(f"{directory / WEIGHTS_FILE}: the header's {COMPANIONS} has {strange[0]!r}, no such file")
    unfinished = [file for file in pending if _sum(file.read_bytes()) == expected.get(file.with_suffix("").name)]
    if not unfinished:  # this save is complete; the user may have put other files there since
        return
    for name, written in expected.items():
        if written is None:
            (directory / name).unlink(missing_ok=True)
    for file in unfinished:
        os.replace(file, file.with_suffix(""))
    force_to_disk(directory)


def _sum(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
