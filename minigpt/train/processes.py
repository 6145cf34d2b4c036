"""Several processes, one model: who am I, and what do we have together. Launched by torchrun; alone without it.

torchrun --nproc-per-node 2 -m minigpt train ...
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Group:
    """This process and the others. Alone, `rank` is 0, `size` 1, and nothing is ever sent."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """One process prints and writes files."""
        return self.rank == 0

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, in all of them."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def any(self, flag: bool, device) -> bool:
        """Whether the flag is up in one of them: all come to the same decision at the same step."""
        return bool(self.sum(torch.tensor(int(flag), device=device))) if self.size > 1 else flag

    def gather(self, thing) -> list:
        """What each process has, in the order of the ranks, in all of them."""
        things = [thing] * self.size
        if self.size > 1:
            dist.all_gather_object(things, thing)
        return things

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


ALONE = Group()


@contextmanager
def process_group(device: torch.device) -> Iterator[Group]:
    """The group that torchrun started this process in, else a group of one. nccl between GPUs, gloo between CPUs."""
    if "WORLD_SIZE" not in os.environ:
        yield Group()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """cuda -> the GPU of this process; anything else as it is."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device
