"""The models: each whole in one file, its configuration and its network."""

from .config import GPT2Config
from .gpt2 import GPT2

__all__ = ["GPT2", "GPT2Config"]
