"""Checkpoints: find, read, check and save them."""

from .files import CheckpointError
from .find import download, find_checkpoint, on_disk
from .hub import HUB_NAMES
from .load import load_model, load_tokenizer
from .save import save_model

__all__ = [
    "HUB_NAMES",
    "CheckpointError",
    "download",
    "find_checkpoint",
    "load_model",
    "load_tokenizer",
    "on_disk",
    "save_model",
]
