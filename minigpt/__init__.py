"""GPT-2 written by hand, to be read beside a lecture and proven equal to Hugging Face."""

from .generation import generate, stream
from .gpt2 import GPT2, GPT2Config
from .kv_cache import KVCache
from .pretrained import load_model, load_tokenizer, save_model
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
