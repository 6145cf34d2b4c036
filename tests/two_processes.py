"""Train a small model in float64, alone or in several processes, and write what came out:

torchrun --nproc-per-node 2 tests/two_processes.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch

from minigpt import GPT2, GPT2Config
from minigpt.train import TrainConfig, train
from minigpt.train.processes import Group, process_group

CONFIG = TrainConfig(
    steps=12, batch_size=7, micro_batch_size=2, context=24, warmup_steps=3, evaluate_every=4, end_of_text=0,
    repeat_share=0.3, autocast=False,
)  # fmt: skip


def text(n: int = 3000) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 30, n).astype(np.uint16)


def small_model() -> GPT2:
    torch.manual_seed(0)
    no_dropout = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # each process would drop others
    shape = dict(vocab_size=30, n_positions=24, n_embd=16, n_layer=2, n_head=2, initializer_range=0.2)
    return GPT2(GPT2Config(**shape, **no_dropout)).double()


def run(folder: Path, group: Group, resume: bool = False) -> None:
    model = small_model()
    history = train(model, text(), text(200), CONFIG, folder, resume=resume, group=group)
    if group.writes:
        losses = [(record.train_loss, record.held_out_loss) for record in history]
        torch.save({"losses": losses, "weights": model.state_dict()}, folder / "result.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")) as group:
        run(Path(sys.argv[1]), group)
