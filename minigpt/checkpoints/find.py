"""Where checkpoints are: in a folder, under a name in a weights folder, in the package, or on the Hugging Face hub."""

import os
import re
from pathlib import Path

from .files import CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_LAYOUTS, CheckpointError, weights_file
from .hub import HUB_NAMES, fetch, in_cache

PACKAGE = Path(__file__).resolve().parent.parent


def weight_folders() -> list[Path]:
    """Where named models are looked for, in this order: $MINIGPT_WEIGHTS; weights/ beside the package, as in a clone;
    weights/ inside the package, as in a wheel."""
    variable = os.environ.get("MINIGPT_WEIGHTS")
    own = [PACKAGE.parent / "weights", PACKAGE / "weights"]
    return ([Path(variable).expanduser()] if variable else []) + [folder for folder in own if folder.is_dir()]


def download_folder() -> Path | None:
    """Where downloads go: into $MINIGPT_WEIGHTS or a clone's weights/; from a wheel into the hub's own cache (None)."""
    first = next(iter(weight_folders()), None)
    return None if first == PACKAGE / "weights" else first


def candidates(source: str | Path) -> list[Path]:
    """Where a source may be. "tiny" is the model of that name even where a folder ./tiny stands by chance; "./tiny" is
    the folder. A path such as runs/mine is also looked for from a clone's folder: notebooks run in notebooks/."""
    named = [folder / str(source) for folder in weight_folders()]
    here = Path(str(source)).expanduser()
    if isinstance(source, Path) or re.search(r"[/\\]", str(source)):
        return [here, PACKAGE.parent / here, *named]
    return [*named, here]


def on_disk(source: str | Path) -> Path | None:
    """The folder of a checkpoint that is here: a name in one of `weight_folders`, a directory itself, or what a wheel
    has downloaded into the hub's cache."""
    for candidate in candidates(source):
        if (candidate / CONFIG_FILE).is_file() and weights_file(candidate):
            return candidate
    return in_cache(str(source)) if str(source) in HUB_NAMES and download_folder() is None else None


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
    raise CheckpointError(
        f"no model {name!r}: not a folder, and not in {_listed(weight_folders())}. "
        f"Give a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, a hub name such as owner/name, "
        f"or one of {', '.join([*_names_on_disk(), *HUB_NAMES])}"
    )


def download(name: str) -> Path:
    """Fetch a checkpoint from the hub (`hub.fetch`); the folder it is in. Raises CheckpointError when that fails."""
    folder = download_folder()
    try:
        return fetch(name, None if folder is None else folder / name)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Looked for {name!r} in {_listed(weight_folders())} first") from error


def _names_on_disk() -> list[str]:
    """The models that are really here, so that no error offers a model that is not here."""
    found = {folder.name for root in weight_folders() if root.is_dir() for folder in root.iterdir() if on_disk(folder)}
    return sorted(found - HUB_NAMES.keys())


def _listed(folders: list[Path]) -> str:
    return " or ".join(map(str, folders)) or "any weights folder, for there is none"
