"""Snapshots on disk: everything that a training needs to go on. A snapshot is complete, or it is not there.

A snapshot is written into `step-N.tmp`, forced to the disk, and only then renamed to `step-N`. If the process dies in
between, the snapshot before it is still there.
"""

import re
import shutil
from pathlib import Path
from pickle import UnpicklingError

import torch

from .._files import force_to_disk

STATE_FILE = "state.pt"
KEPT = 2  # the one just written, and the one before it


def save_snapshot(folder: Path, step: int, state: dict) -> None:
    """Write `folder/step-N`, then delete all earlier snapshots but the newest. state holds tensors, numbers, texts,
    lists and dicts.

    Raises OSError (a full disk, a folder that cannot be written); the snapshots before it stay as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"step-{step}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        with open(temporary / STATE_FILE, "wb") as file:
            torch.save(state, file)
        force_to_disk(temporary / STATE_FILE)
        force_to_disk(temporary)
        shutil.rmtree(folder / f"step-{step}", ignore_errors=True)
        temporary.rename(folder / f"step-{step}")
        force_to_disk(folder)
    except (OSError, RuntimeError) as error:  # torch.save calls a full disk a RuntimeError
        shutil.rmtree(temporary, ignore_errors=True)
        kept = steps_on_disk(folder)
        last = f"the last good one is step {kept[-1]}" if kept else "there is none before it"
        raise OSError(f"snapshot of step {step} could not be written to {folder} ({error}); {last}") from error
    earlier = [old for old in steps_on_disk(folder) if old < step]
    for old in earlier[: 1 - KEPT]:
        shutil.rmtree(folder / f"step-{old}", ignore_errors=True)


def load_snapshot(folder: Path) -> dict | None:
    """The newest state that can be read, or None where there is no snapshot. Raises OSError where all are damaged."""
    damaged = None
    for step in reversed(steps_on_disk(folder)):
        try:
            return torch.load(folder / f"step-{step}" / STATE_FILE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            damaged = damaged or OSError(f"{folder / f'step-{step}'} cannot be read: {error}")
    if damaged:
        raise damaged
    return None


def steps_on_disk(folder: Path) -> list[int]:
    """The steps of the complete snapshots, in order."""
    if not folder.is_dir():
        return []
    names = (re.fullmatch(r"step-(\d+)", path.name) for path in folder.iterdir() if path.is_dir())
    return sorted(int(name[1]) for name in names if name)
