"""Where checkpoints are: in a folder, under a name in a weights folder, or on the Hugging Face hub."""

import os
import re
from pathlib import Path

from .files import CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_LAYOUTS, CheckpointError, weights_file

HUB_NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}


def weight_folders() -> list[Path]:
    """Where named models are looked for, in this order; downloads go to the first: $MINIGPT_WEIGHTS, weights/."""
    beside_package = Path(__file__).resolve().parent.parent / "weights"
    variable = os.environ.get("MINIGPT_WEIGHTS")
    return [Path(variable).expanduser(), beside_package] if variable else [beside_package]


def candidates(source: str | Path) -> list[Path]:
    """Where a source may be. "tiny" is the model of that name even where a folder ./tiny stands by chance; "./tiny" is
    the folder."""
    named = [folder / str(source) for folder in weight_folders()]
    here = [Path(str(source)).expanduser()]
    return here + named if isinstance(source, Path) or re.search(r"[/\\]", str(source)) else named + here


def on_disk(source: str | Path) -> Path | None:
    """The folder of a checkpoint that is here: a name in one of `weight_folders`, or a directory itself."""
    for candidate in candidates(source):
        if (candidate / CONFIG_FILE).is_file() and weights_file(candidate):
            return candidate
    return None


def find_checkpoint(source: str | Path) -> Path:
    """The folder of "tiny", of a directory, or of a hub name such as "gpt2" (downloaded when it is nowhere on disk).

    Raises CheckpointError that says where it looked and what to do.
    """
    name = str(source)
    if folder := on_disk(source):
        return folder
    folder = Path(name).expanduser()
    if name in HUB_NAMES or (re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) and not folder.exists()):
        return download(name)
    if folder.is_dir():
        layouts = ", ".join(WEIGHTS_LAYOUTS)
        raise CheckpointError(f"{name} is not a checkpoint: the folder needs {CONFIG_FILE} and one of {layouts}")
    known = ", ".join(["tiny", *HUB_NAMES])
    raise CheckpointError(
        f"no model {name!r}: not a folder, and not in {_listed(weight_folders())}. "
        f"Give a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, a hub name such as owner/name, or one of {known}"
    )


def download(name: str) -> Path:
    """Fetch a checkpoint and its tokenizer from the Hugging Face hub into the first weights folder, with a bar.

    Mirrors and proxies work as everywhere in huggingface_hub (HF_ENDPOINT, HTTPS_PROXY); HF_HUB_OFFLINE is respected.
    Raises CheckpointError when the hub cannot be reached or does not know the name.
    """
    import httpx
    import huggingface_hub

    repository = HUB_NAMES.get(name, name)
    folder = weight_folders()[0] / name
    wanted = [CONFIG_FILE, WEIGHTS_FILE, "vocab.json", "merges.txt"]
    shards = ["model.safetensors.index.json", "model-*.safetensors"]
    try:
        huggingface_hub.snapshot_download(repository, local_dir=folder, allow_patterns=[*wanted, *shards])
        if not weights_file(folder):  # a checkpoint from before safetensors
            huggingface_hub.snapshot_download(repository, local_dir=folder, allow_patterns=WEIGHTS_LAYOUTS[-1])
    except (OSError, ValueError, httpx.HTTPError, huggingface_hub.errors.HfHubHTTPError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"could not download {repository} ({reason}). Looked for {name!r} in {_listed(weight_folders())}. "
            f"Without a network, put {', '.join(wanted)} into {folder}; "
            f"behind a firewall, set HF_ENDPOINT to a mirror of the hub; or use the built-in model, tiny"
        ) from error
    if not weights_file(folder):
        raise CheckpointError(f"{repository} on the hub has none of {', '.join(WEIGHTS_LAYOUTS)}")
    return folder


def _listed(folders) -> str:
    return " or ".join(str(folder) for folder in folders)
