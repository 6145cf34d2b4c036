"""Train small models in float64, alone or in several processes, and write what came out:

torchrun --nproc-per-node 2 tests/two_processes.py FOLDER

With several processes, each family's run is then set back to a snapshot, and resumed from there.
"""

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from minigpt.models import MODELS
from minigpt.train import MaskedTokens, NextToken, Objective, Spans, TrainConfig, train
from minigpt.train.processes import Group, process_group

CONFIG = TrainConfig(
    steps=12, batch_size=7, micro_batch_size=2, context=24, warmup_steps=3, evaluate_every=4, end_of_text=0,
    repeat_share=0.3, autocast=False,
)  # fmt: skip


def text(n: int = 3000) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 30, n).astype(np.uint16)


SIZES = {
    "gpt2": dict(n_positions=24, n_embd=16, n_layer=2, n_head=2, initializer_range=0.2)
    | dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),  # each process would drop other numbers
    "llama": dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)
    | dict(num_key_value_heads=2, max_position_embeddings=24, initializer_range=0.2, tie_word_embeddings=True),
    "bert": dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
    | dict(max_position_embeddings=24, initializer_range=0.2, has_pooler=False, has_sentence_head=False)
    | dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
    "t5": dict(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, dropout_rate=0.0),
}
OBJECTIVES: dict[str, Objective] = {
    "gpt2": NextToken(CONFIG.end_of_text),
    "llama": NextToken(CONFIG.end_of_text),
    "bert": MaskedTokens(34, mask_id=33, begin_id=31, end_id=32, special_ids=(31, 32, 33)),
    "t5": Spans(sentinels=(30, 31, 32), end_id=33, start_id=34),
}


def small_model(family: str = "gpt2"):
    torch.manual_seed(0)
    model_class, config_class = MODELS[family]
    return model_class(config_class(vocab_size=30 if family == "gpt2" else 35, **SIZES[family])).double()


def run(folder: Path, group: Group, resume: bool = False, family: str = "gpt2") -> None:
    model = small_model(family)
    config = CONFIG if family in ("gpt2", "llama") else dataclasses.replace(CONFIG, end_of_text=None)
    objective = OBJECTIVES[family]
    history = train(model, text(), text(200), config, folder, objective=objective, resume=resume, group=group)
    if group.writes:
        losses = [(record.train_loss, record.held_out_loss) for record in history]
        torch.save({"losses": losses, "weights": model.state_dict()}, folder / "result.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")) as group:
        for family in MODELS:
            folder = Path(sys.argv[1]) / family
            run(folder, group, family=family)
            if group.writes:
                (folder / "result.pt").rename(folder / "first.pt")
                shutil.rmtree(folder / "snapshots" / f"step-{CONFIG.steps}")
            group.wait()
            run(folder, group, resume=True, family=family)
