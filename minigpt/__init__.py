"""GPT-2, BERT, T5 and Llama written by hand, to be read beside a lecture and proven equal to Hugging Face."""

from .checkpoints import load_model, load_tokenizer, save_model
from .generation import generate, stream
from .kv_cache import KVCache
from .models import GPT2, T5, Bert, BertConfig, GPT2Config, Llama, LlamaConfig, T5Config
from .tokenizer import Tokenizer

__all__ = [
    "GPT2",
    "T5",
    "Bert",
    "BertConfig",
    "GPT2Config",
    "KVCache",
    "Llama",
    "LlamaConfig",
    "T5Config",
    "Tokenizer",
    "generate",
    "load_model",
    "load_tokenizer",
    "save_model",
    "stream",
]
