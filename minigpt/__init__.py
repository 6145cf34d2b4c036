"""GPT-2 written by hand, to be read beside a lecture and proven equal to Hugging Face."""

from .checkpoints import load_model, load_tokenizer, save_model
from .generation import generate, stream
from .kv_cache import KVCache
from .models import GPT2, GPT2Config
from .tokenizer import Tokenizer

__all__ = [
    "GPT2",
    "GPT2Config",
    "KVCache",
    "Tokenizer",
    "generate",
    "load_model",
    "load_tokenizer",
    "save_model",
    "stream",
]
