"""Arguments that several commands share, and the words of a bad one."""

import argparse
import json
import math

import torch

from ..gpt2 import GPT2
from ..pretrained import load_model, load_tokenizer
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


def device_of(options) -> torch.device:
    """The device asked for. Raises ValueError when this machine cannot use it."""
    try:
        device = torch.device(options.device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        usable = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        raise ValueError(f"--device {options.device} cannot be used on this machine; {usable} can") from None
    return device


def load(options) -> tuple[GPT2, Tokenizer]:
    return load_model(options.source, device_of(options), attention="sdpa"), load_tokenizer(options.source)


def print_json(data) -> None:
    """One line of JSON, which knows neither infinity nor nan: null stands for them."""
    print(json.dumps(_finite(data), ensure_ascii=False), flush=True)


def _finite(data):
    if isinstance(data, dict):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
