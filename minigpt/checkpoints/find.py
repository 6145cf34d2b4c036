"""Where checkpoints are: in a folder, under a name in a weights folder, in the package, in the hub's own cache, or on
the Hugging Face hub."""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .files import CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_LAYOUTS, CheckpointError, is_whole, weights_file
from .hub import HUB_NAMES, cached, fetch, is_hub_name

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


def candidates(source: str | Path) -> Iterator[Path]:
    """Where a source may be. "tiny" is the model of that name even where a folder ./tiny stands by chance; "./tiny" is
    the folder. A path such as runs/mine is also looked for from a clone's folder: notebooks run in notebooks/. The last
    places are in the hub's own cache: huggingface_hub is imported only where they are reached."""
    named = [folder / str(source) for folder in weight_folders()]
    yield from [*_as_paths(source), *named] if _has_parts(source) else [*named, *_as_paths(source)]
    yield from cached(source)


def _has_parts(source: str | Path) -> bool:
    return isinstance(source, Path) or bool(re.search(r"[/\\]", str(source)))


def _as_paths(source: str | Path) -> list[Path]:
    """What a source means as a path, seen from each of `_roots`; a single word is seen from the working directory."""
    try:
        path = Path(str(source)).expanduser()
    except RuntimeError:  # ~nobody: there is no such user
        path = Path(str(source))
    return [root / path for root in _roots()] if _has_parts(source) and not path.is_absolute() else [path]


def _roots() -> list[Path]:
    """The working directory, and a clone's folder, which has weights/ beside the package."""
    return [Path(), PACKAGE.parent] if (PACKAGE.parent / "weights").is_dir() else [Path()]


def _is_path(source: str | Path) -> bool:
    """Whether a source means a folder on this machine and no name on the hub: a Path, ./tinyy, /models/mine, or
    runs/boook where runs is a folder that is here."""
    if isinstance(source, Path) or not is_hub_name(str(source)):
        return _has_parts(source)
    return source not in HUB_NAMES and any((root / str(source).split("/")[0]).is_dir() for root in _roots())


def on_disk(source: str | Path) -> Path | None:
    """The folder of a checkpoint that is here, with all its weights: a name in one of `weight_folders`, a directory
    itself, or a hub name in the hub's own cache."""
    return next(filter(is_whole, candidates(source)), None)


def find_checkpoint(source: str | Path) -> Path:
    """The folder of "tiny", of a directory, or of a hub name such as "gpt2" (downloaded when it is nowhere on disk).

    Raises CheckpointError that says where it looked and what to do. A path is never looked for on the hub.
    """
    name = str(source)
    if folder := on_disk(source):
        return folder
    if is_hub_name(name) and not _is_path(source):
        return download(name)
    if there := next((folder for folder in candidates(source) if folder.exists()), None):
        if (there / CONFIG_FILE).is_file() and weights_file(there):
            return there  # a shard is missing: who reads them will say which
        needs = f"{CONFIG_FILE} and one of {', '.join(WEIGHTS_LAYOUTS)}"
        what = "not a checkpoint: the folder needs" if there.is_dir() else "a file: give the folder that has"
        raise CheckpointError(f"{there} is {what} {needs}")
    if _is_path(source):
        raise CheckpointError(f"there is no folder {name}{_where_and_near(source)}")
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


def _where_and_near(source: str | Path) -> str:
    """For the error about a folder that is not there: where it was looked for, a similar name that is there, and what
    to do where a name on the hub was meant."""
    name, paths = str(source), _as_paths(source)
    roots = list(dict.fromkeys(root.resolve() for root in _roots()))
    where = "" if paths[0].is_absolute() else f" in {_listed(roots)}"
    similar = [match for path in paths for match in _similar_folders(path)]
    meant = f". Did you mean {name.rstrip('/').removesuffix(paths[0].name)}{similar[0]}?" if similar else "."
    on_the_hub = f" For a model of this name on the hub, first run python -m minigpt download {name}"
    return where + meant + (on_the_hub if is_hub_name(name) else "")


def _similar_folders(path: Path) -> list[str]:
    try:
        folders = [other.name for other in path.parent.iterdir() if other.is_dir()]
    except OSError:  # there is no such folder either
        return []
    return difflib.get_close_matches(path.name, folders, n=1)


def _names_on_disk() -> list[str]:
    """The models that are really here, so that no error offers a model that is not here."""
    found = {folder.name for root in weight_folders() if root.is_dir() for folder in root.iterdir() if on_disk(folder)}
    return sorted(found - HUB_NAMES.keys())


def _listed(folders: list[Path]) -> str:
    return " or ".join(map(str, folders)) or "any weights folder, for there is none"
