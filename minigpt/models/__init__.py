"""The models: each whole in one file, its network and its configuration."""

from .gpt2 import GPT2, GPT2Config

# config.json's model_type -> what reads it.
MODELS = {"gpt2": (GPT2, GPT2Config)}

__all__ = ["GPT2", "MODELS", "GPT2Config"]
