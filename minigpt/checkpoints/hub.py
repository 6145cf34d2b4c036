"""Download a checkpoint from the Hugging Face hub."""

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


def fetch(name: str, folder: Path | None) -> Path:
    """Fetch a checkpoint and its tokenizer into a folder (None: the hub's own cache), with a progress bar; return it.

    Mirrors and proxies work as everywhere in huggingface_hub (HF_ENDPOINT, HTTPS_PROXY); HF_HUB_OFFLINE is respected.
    Raises CheckpointError when the hub cannot be reached or does not know the name.
    """
    import httpx
    import huggingface_hub

    repository, patterns = HUB_NAMES.get(name, name), [CONFIG_FILE, WEIGHTS_FILE, *TOKENIZER, *BESIDE, *SHARDS]
    try:
        found = Path(huggingface_hub.snapshot_download(repository, local_dir=folder, allow_patterns=patterns))
        if not weights_file(found):  # a checkpoint from before safetensors
            huggingface_hub.snapshot_download(repository, local_dir=folder, allow_patterns=WEIGHTS_LAYOUTS[-1])
    except (OSError, ValueError, httpx.HTTPError, huggingface_hub.errors.HfHubHTTPError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"could not download {repository} ({reason}). "
            f"Without a network, put {CONFIG_FILE}, {WEIGHTS_FILE} and the tokenizer's files ({', '.join(TOKENIZER)}: "
            f"those that the model has) into {folder or 'a folder, and give its path'}; "
            f"behind a firewall, set HF_ENDPOINT to a mirror of the hub; or use the built-in model, tiny"
        ) from error
    if not weights_file(found):
        raise CheckpointError(f"{repository} on the hub has none of {', '.join(WEIGHTS_LAYOUTS)}")
    return found


def in_cache(name: str) -> Path | None:
    """The folder of a checkpoint that is in the hub's own cache already; None where it is not."""
    import huggingface_hub

    try:
        config = huggingface_hub.try_to_load_from_cache(HUB_NAMES.get(name, name), CONFIG_FILE)
    except (OSError, ValueError):  # no name of a repository
        return None
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder is not None and weights_file(folder) else None
