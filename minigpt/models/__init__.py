"""The models. Each is in one file, with its network and its configuration."""

from .bert import Bert, BertConfig
from .gpt2 import GPT2, GPT2Config
from .llama import Llama, LlamaConfig
from .t5 import T5, T5Config

# config.json's model_type -> (network, configuration).
MODELS = {"gpt2": (GPT2, GPT2Config), "bert": (Bert, BertConfig), "t5": (T5, T5Config), "llama": (Llama, LlamaConfig)}

__all__ = ["GPT2", "MODELS", "T5", "Bert", "BertConfig", "GPT2Config", "Llama", "LlamaConfig", "T5Config"]
