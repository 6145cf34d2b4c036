"""The name tables, one file a family of models: each says how Hugging Face's file calls what ours calls otherwise."""

from . import gpt2

NAMES = {"gpt2": gpt2}  # by model_type
