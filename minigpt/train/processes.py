"""Several processes that train one model: their ranks, and what they tell each other. torchrun starts them; else there
is one.

    torchrun --nproc-per-node 2 -m minigpt train ...

The processes may run on several machines, which need no disk in common: rank 0 sends the others what they read.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

SENT_AT_ONCE = 2**26  # bytes


@dataclass(frozen=True)
class Group:
    """This process (`rank`) among `size` processes. A process alone has rank 0 and size 1, and sends nothing.
    local_rank counts the processes of one machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def writes(self) -> bool:
        """Whether this process prints and writes files: only one does."""
        return self.rank == 0

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, in all of them."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def any(self, flag: bool, device) -> bool:
        """Whether the flag is true in any process. All processes get the same answer at the same step."""
        return bool(self.sum(torch.tensor(int(flag), device=device))) if self.size > 1 else flag

    def gather(self, thing) -> list:
        """What each process passes in, as a list in the order of the ranks; all processes get it."""
        things = [thing] * self.size
        if self.size > 1:
            dist.all_gather_object(things, thing)
        return things

    def from_first(self, thing):
        """What rank 0 passes in, in all processes."""
        things = [thing]
        if self.size > 1:
            dist.broadcast_object_list(things)
        return things[0]

    def share(self, folder: Path, names: Sequence[str]) -> None:
        """Send rank 0's files to each machine whose folder has no equal ones. Where all machines have one disk, nothing
        is sent. A name without a file on rank 0 is passed over."""
        if self.size == 1:
            return
        for name in self.from_first([name for name in names if (folder / name).is_file()]):
            path, copy = folder / name, folder / f"{name}.copy"
            right = self.from_first(sha256(path) if self.writes else None)
            lacks = self.local_rank == 0 and sha256(path) != right
            if not any(self.gather(lacks)):
                continue
            if lacks:
                folder.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(b"")
            for start in range(0, self.from_first(path.stat().st_size if self.writes else None), SENT_AT_ONCE):
                part = self.from_first(read_part(path, start) if self.writes else None)
                if lacks:
                    with open(copy, "ab") as file:
                        file.write(part)
            if lacks:
                copy.replace(path)
            self.wait()

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


def sha256(path: Path) -> str | None:
    """The checksum of a file, None where there is none."""
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_part(path: Path, start: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(SENT_AT_ONCE)


ALONE = Group()


@contextmanager
def process_group(device: torch.device) -> Iterator[Group]:
    """The group that torchrun started this process in, else a group of one. nccl between GPUs, gloo between CPUs."""
    if "WORLD_SIZE" not in os.environ:
        yield Group()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # objects are sent through the current GPU: without this, all through the first
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", 0)))
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """cuda -> the GPU of this process; anything else as it is."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device
