"""In which order files reach the disk. A disk may write a new name before the content that belongs to it, and after a
power cut the name then stands for nothing. So content is forced to the disk before it takes its name, then the name."""

import hashlib
import os
from pathlib import Path

import pytest
import torch

from minigpt import GPT2, GPT2Config, Tokenizer, save_model
from minigpt._files import write_whole
from minigpt.train import Record
from minigpt.train.history import write_history
from minigpt.train.snapshots import save_snapshot


class Disk:
    """What was asked of the disk, in order: (force, path, content), (rename, from, to), (delete, path)."""

    def __init__(self, monkeypatch):
        self.asked, paths = [], {}
        real = {name: getattr(os, name) for name in ("open", "fsync", "rename", "replace", "unlink")}

        def opened(path, *arguments, **named):
            descriptor = real["open"](path, *arguments, **named)
            paths[descriptor] = Path(path)
            return descriptor

        def forced(descriptor):
            self.asked.append(("force", paths[descriptor], content(paths[descriptor])))
            real["fsync"](descriptor)

        def renamed(old, new, **_):
            self.check_forced(Path(old))
            self.asked.append(("rename", Path(old), Path(new)))
            real["replace"](old, new)

        def deleted(path, **named):
            real["unlink"](path, **named)
            self.asked.append(("delete", Path(path)))

        for name, function in dict(open=opened, fsync=forced, rename=renamed, replace=renamed, unlink=deleted).items():
            monkeypatch.setattr(os, name, function)

    def check_forced(self, path: Path) -> None:
        """All that is about to take a new name is on the disk as it is now: a file, or a folder and what is in it."""
        for part in [path, *(path.rglob("*") if path.is_dir() else [])]:
            assert ("force", part, content(part)) in self.asked, f"{part} takes its name before its content is there"

    def names_are_forced(self, folder: Path) -> bool:
        """Whether the folder was forced to the disk after the last change of its names."""
        changes = [n for n, ask in enumerate(self.asked) if ask[0] in ("rename", "delete") and ask[1].parent == folder]
        return any(ask[:2] == ("force", folder) for ask in self.asked[max(changes) + 1 :])


def content(path: Path) -> str:
    """Of a file its checksum, of a folder its names."""
    return str(sorted(path.iterdir())) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


def a_file(folder):
    write_whole(folder / "a.txt", b"content")


def a_history(folder):
    write_history([Record(1, 2, 0.1, 3.0, 3.0, 1.0)], folder / "metrics.csv")


def a_tokenizer(folder):
    Tokenizer.train(["some text"], 260).save(folder)


def a_snapshot(folder):
    save_snapshot(folder, 3, {"step": 3})


def a_checkpoint(folder):
    torch.manual_seed(0)
    model = GPT2(GPT2Config(vocab_size=260, n_positions=8, n_embd=4, n_layer=1, n_head=2))
    save_model(model, folder, Tokenizer.train(["some text"], 260))


@pytest.mark.parametrize("write", [a_file, a_history, a_tokenizer, a_snapshot, a_checkpoint])
def test_content_is_on_the_disk_before_its_name_and_then_the_name(tmp_path, monkeypatch, write):
    write(tmp_path)  # the second time there is something to lose
    (tmp_path / "vocab.txt").write_text("another tokenizer's: a new one deletes it")
    disk = Disk(monkeypatch)
    write(tmp_path)
    assert any(ask[0] == "rename" for ask in disk.asked) and disk.names_are_forced(tmp_path)


def test_the_weights_name_is_on_the_disk_before_the_other_files_change(tmp_path, monkeypatch):
    """Until then the old weights count, and need the old files beside them."""
    a_checkpoint(tmp_path)
    (tmp_path / "vocab.txt").write_text("another tokenizer's: a new one deletes it")
    disk = Disk(monkeypatch)
    a_checkpoint(tmp_path)
    steps = [(kind, path.name) for kind, path, *_ in disk.asked]
    weights = steps.index(("rename", "model.safetensors.new"))
    assert steps[weights + 1] == ("force", tmp_path.name)
    assert {kind for kind, _ in steps[:weights]} == {"force"} and ("delete", "vocab.txt") in steps[weights + 2 :]
    assert {name for kind, name in steps[weights + 2 :] if kind == "rename"} == {
        f"{name}.new" for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")
    }
