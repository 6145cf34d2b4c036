"""Train small models in float64, alone or in several processes, and write what came out:

torchrun --nproc-per-node 2 tests/two_processes.py FOLDER

With several processes, each family's run is then set back to a snapshot, and resumed from there; so is a run with
dropout. Rank 1 works as if on another machine: it has a folder of its own, without snapshots, and gets what rank 0 has.
"""

import contextlib
import dataclasses
import io
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from minigpt.models import MODELS
from minigpt.train import MaskedTokens, NextToken, Objective, Spans, TrainConfig, processes, train
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


def small_model(family: str = "gpt2", **changes):
    torch.manual_seed(0)
    model_class, config_class = MODELS[family]
    return model_class(config_class(vocab_size=30 if family == "gpt2" else 35, **SIZES[family] | changes)).double()


def run(folder: Path, group: Group, resume: bool = False, family: str = "gpt2", **changes) -> None:
    model = small_model(family, **changes)
    config = CONFIG if family in ("gpt2", "llama") else dataclasses.replace(CONFIG, end_of_text=None)
    objective = OBJECTIVES[family]
    history = train(model, text(), text(200), config, folder, objective=objective, resume=resume, group=group)
    if group.writes:
        losses = [(record.train_loss, record.held_out_loss) for record in history]
        torch.save({"losses": losses, "weights": model.state_dict()}, folder / "result.pt")


def set_back_and_resume(folder: Path, group: Group, **how) -> None:
    """Train to the end, take the last snapshot away, and train from the one before it."""
    run(folder, group, **how)
    if group.writes:
        (folder / "result.pt").rename(folder / "first.pt")
        shutil.rmtree(folder / "snapshots" / f"step-{CONFIG.steps}")
    group.wait()
    run(folder, group, resume=True, **how)


def ask_each_other(group: Group) -> None:
    """What the processes tell each other, from different things in each."""
    own = torch.tensor([1.0, 10.0]) * (group.rank + 1)
    assert group.sum(own).tolist() == [3, 30]
    assert own.tolist() == [group.rank + 1, 10 * (group.rank + 1)], "the caller's tensor has changed"
    assert group.gather({"rank": group.rank}) == [{"rank": 0}, {"rank": 1}]
    cpu = torch.device("cpu")
    assert [group.any(flag, cpu) for flag in (group.rank == 0, group.rank == 1, False, True)] == [
        True,
        True,
        False,
        True,
    ]


def stop_one(group: Group) -> None:
    """A signal reaches rank 1 alone, in step 2. Both end after that step, and rank 0 alone reports. Each has drawn its
    random numbers from a seed of its own."""
    model, passes, reports = small_model(), [], []

    def ask_to_stop(*_):
        passes.append(1)
        if group.rank == 1 and len(passes) == 2:
            signal.raise_signal(signal.SIGTERM)

    model.register_forward_pre_hook(ask_to_stop)
    config, noted = dataclasses.replace(CONFIG, micro_batch_size=None), io.StringIO()
    with contextlib.redirect_stderr(noted):
        history = train(model, text(), text(200), config, on_record=reports.append, group=group)
    assert [record.step for record in history] == [2] and len(reports) == (1 if group.writes else 0)
    assert ("training: " in noted.getvalue()) == group.writes
    assert group.gather(torch.initial_seed()) == [CONFIG.seed, CONFIG.seed + 1]


def share_files(folder: Path, group: Group) -> None:
    """Each process has a folder, and sends and receives as if it were alone on its machine."""
    group = dataclasses.replace(group, local_rank=0)
    own = folder / f"files-of-{group.rank}"
    own.mkdir()
    (own / "same").write_text("equal everywhere")
    (own / "other").write_text(f"of {group.rank}")
    if group.writes:
        (own / "large").write_bytes(bytes(range(256)) * 10)
        (own / "empty").write_text("")
    else:
        (own / "not asked for").write_text("kept")
        (own / "absent").write_text("kept, too: rank 0 has none")
    inode = (own / "same").stat().st_ino
    processes.SENT_AT_ONCE = 1000  # bytes: the large file comes in three parts
    group.share(own, ("same", "other", "large", "empty", "absent"))
    assert (own / "same").stat().st_ino == inode, "an equal file was sent"
    assert group.from_first(group.rank) == 0
    if group.writes:
        (own / "for the first process of a machine").write_text("it writes, the others read")
    dataclasses.replace(group, local_rank=group.rank).share(own, ("for the first process of a machine",))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")) as group:
        ask_each_other(group)
        stop_one(group)
        own_folder = Path(sys.argv[1]) / ("" if group.writes else "elsewhere")
        for family in MODELS:
            set_back_and_resume(own_folder / family, group, family=family)
        set_back_and_resume(own_folder / "with dropout", group, resid_pdrop=0.3)
        share_files(Path(sys.argv[1]), group)
        (Path(sys.argv[1]) / f"done-{group.rank}").touch()
        group.wait()  # neither process ends before both are done
