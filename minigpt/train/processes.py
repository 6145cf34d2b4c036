"""Several processes that train one model: their ranks, and what they add up. torchrun starts them; else there is one.

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
    """This process (`rank`) among `size` processes. A process alone has rank 0 and size 1, and sends nothing."""

    rank: int = 0
    size: int = 1

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
