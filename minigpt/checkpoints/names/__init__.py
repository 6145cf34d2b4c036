"""The name tables, one file a family of models: each translates Hugging Face's names of tensors into ours."""

from . import bert, gpt2, llama, t5
from .family import Family

# By model_type.
NAMES: dict[str, Family] = {"gpt2": gpt2.GPT2, "bert": bert.BERT, "t5": t5.T5, "llama": llama.LLAMA}
