"""Download a checkpoint from the Hugging Face hub, or find it in the hub's own cache, without a network."""

import re
from pathlib import Path

from .files import CONFIG_FILE, GENERATION_FILE, WEIGHTS_FILE, WEIGHTS_LAYOUTS, CheckpointError, weights_file

HUB_NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "t5-small": "google-t5/t5-small",
    "google/flan-t5-small": "google/flan-t5-small",
    "HuggingFaceTB/SmolLM2-135M": "HuggingFaceTB/SmolLM2-135M",
}

# A tokenizer is one file, or a vocabulary (and merges). The files BESIDE it say how it treats special tokens, and where
# generation ends.
TOKENIZER = ["tokenizer.json", "vocab.json", "merges.txt", "vocab.txt"]
BESIDE = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", GENERATION_FILE]
SHARDS = ["model.safetensors.index.json", "model-*.safetensors"]
PICKLES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"]


def is_hub_name(name: str) -> bool:
    """Whether this may be a name on the hub: one of `HUB_NAMES`, or owner/name."""
    return name in HUB_NAMES or bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII))


def fetch(name: str, folder: Path | None) -> Path:
    """Fetch a checkpoint and its tokenizer into a folder (None: the hub's own cache), with a progress bar; return it.

    Mirrors and proxies work as everywhere in huggingface_hub (HF_ENDPOINT, HTTPS_PROXY); HF_HUB_OFFLINE is respected.
    Raises CheckpointError when the hub cannot be reached or does not know the name.
    """
    import huggingface_hub

    repository, patterns = HUB_NAMES.get(name, name), [CONFIG_FILE, WEIGHTS_FILE, *TOKENIZER, *BESIDE, *SHARDS]
    try:
        found = Path(huggingface_hub.snapshot_download(repository, local_dir=folder, allow_patterns=patterns))
        if not weights_file(found):  # a checkpoint from before safetensors
            huggingface_hub.snapshot_download(repository, local_dir=folder, allow_patterns=PICKLES)
    except (OSError, ValueError, huggingface_hub.errors.HTTPError) as error:  # that of the HTTP package it uses
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"could not download {repository} ({reason}). "
            f"Without a network, put {CONFIG_FILE}, {WEIGHTS_FILE} and the tokenizer's files ({', '.join(TOKENIZER)}: "
            f"those that the model has) into {folder or 'a folder, and give its path'}; "
            f"behind a firewall, set HF_ENDPOINT to a mirror of the hub; or use the built-in model, tiny"
        ) from error
    if not weights_file(found):
        raise CheckpointError(
            f"the download of {repository} brought none of {', '.join(WEIGHTS_LAYOUTS)}: "
            f"the hub has no such file there, or could not be asked"
        )
    return found


def cached(source: str | Path) -> list[Path]:
    """The folders with files of a hub name in the hub's own cache ($HF_HUB_CACHE, else $HF_HOME/hub), whatever program
    has downloaded them. They need not hold all that a model or a tokenizer needs. A repository is looked for under its
    name of today and under the name as given: transformers keeps what it was asked for as "gpt2" under that name."""
    import huggingface_hub

    folders = []
    for repository in (HUB_NAMES.get(source, source), source) if isinstance(source, str) else ():
        for file in (CONFIG_FILE, *TOKENIZER):
            try:
                found = huggingface_hub.try_to_load_from_cache(repository, file)
            except (OSError, ValueError):  # no name of a repository
                continue
            if isinstance(found, str) and Path(found).parent not in folders:
                folders.append(Path(found).parent)
    return folders
