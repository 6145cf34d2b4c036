"""Checkpoints: found, read, checked, saved."""

from .files import CheckpointError
from .find import find_checkpoint
from .load import load_model, load_tokenizer, save_model

__all__ = ["CheckpointError", "find_checkpoint", "load_model", "load_tokenizer", "save_model"]
