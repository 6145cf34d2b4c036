"""Arguments that several commands share, and the errors for bad ones."""

import argparse
import json
import math
import os
import sys
from pathlib import Path

import torch

from .._files import decode_text, read_text
from ..checkpoints import load_model, load_tokenizer
from ..tokenizer import Tokenizer


def not_empty(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**62:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to 2^62 - 1, got {text!r}")
    return value


def add_source(parser) -> None:
    parser.add_argument(
        "--source", type=not_empty, default="tiny", help="tiny, a checkpoint folder, or a hub name such as gpt2"
    )


def add_device(parser) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device, help="where to compute (default here: %(default)s)")


def add_json(parser) -> None:
    parser.add_argument("--json", action="store_true", help="print data instead of text")


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
PICTURES = (".png", ".pdf", ".svg")


def add_dtype(parser) -> None:
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the model's numbers (default float32)")


def check_writable(file: str | None) -> None:
    """Raise ValueError where no file of this name can be written; None is no file."""
    folder = Path(file or ".").absolute().parent
    if file and (Path(file).is_dir() or not (folder.is_dir() and os.access(folder, os.W_OK))):
        raise ValueError(f"{file} cannot be written: {folder} is not a folder that can be written to")


def check_picture(file: str | None) -> None:
    """Raise ValueError where --plot cannot be written, or is no picture."""
    check_writable(file)
    if file and Path(file).suffix not in PICTURES:
        raise ValueError(f"--plot {file}: the name of a picture ends in {', '.join(PICTURES)}")


def text_of(file: str) -> str:
    """The text of a file, or of stdin where its name is -. Raises ValueError for bytes that are not UTF-8, and OSError
    for a file that cannot be read."""
    return decode_text(sys.stdin.buffer.read(), "stdin") if file == "-" else read_text(file)


def device_of(options) -> torch.device:
    """The device asked for. Raises ValueError when this machine cannot use it."""
    try:
        device = torch.device(options.device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        usable = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        raise ValueError(f"--device {options.device} cannot be used on this machine; {usable} can") from None
    return device


def load(options) -> tuple[torch.nn.Module, Tokenizer]:
    """The model and the tokenizer that --source, --device and --dtype ask for."""
    model = load_model(options.source, device_of(options), DTYPES[options.dtype], attention="sdpa")
    return model, load_tokenizer(options.source)


def unwritable(model, tokenizer: Tokenizer) -> list[int] | None:
    """The ids that a model may choose and its tokenizer cannot write, as in a padded vocabulary; None without any."""
    return list(range(tokenizer.vocab_size, model.vocab_size)) or None


def print_json(data) -> None:
    """Print one line of JSON. JSON has no infinity and no nan: null stands for them."""
    print(json.dumps(_finite(data), ensure_ascii=False), flush=True)


def _finite(data):
    if isinstance(data, dict):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
