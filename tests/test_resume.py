"""A run that was stopped and resumed ends with the bits of one that was not; two processes make the run of one."""

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command_line import run as command
from safetensors.torch import load_file
from two_processes import CONFIG, run, small_model, text

from minigpt import GPT2, GPT2Config, load_model
from minigpt.models import MODELS
from minigpt.train import TrainConfig, load_snapshot, steps_on_disk, train
from minigpt.train.processes import Group
from minigpt.train.snapshots import save_snapshot

HERE = Path(__file__).parent


def dropping_model() -> GPT2:
    """With dropout, so that the state of the random generator counts."""
    torch.manual_seed(0)
    return GPT2(GPT2Config(vocab_size=30, n_positions=24, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0.3))


QUICK = TrainConfig(steps=12, batch_size=4, context=24, warmup_steps=3, evaluate_every=4, autocast=False)


def bits(model) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


class Stop(Exception):
    pass


def stop_at(step):
    def on_record(history):
        if history[-1].step == step:
            raise Stop

    return on_record


@pytest.mark.parametrize("at", [4, 8])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, at):
    whole = dropping_model()
    history = train(whole, text(), text(200), QUICK)
    with pytest.raises(Stop):
        train(dropping_model(), text(), text(200), QUICK, tmp_path, stop_at(at))
    torch.manual_seed(99)  # the process that resumes has drawn other numbers
    resumed = dropping_model()
    again = train(resumed, text(), text(200), QUICK, tmp_path, resume=True)
    assert bits(resumed) == bits(whole)
    assert [(r.step, r.train_loss, r.held_out_loss) for r in again] == [
        (r.step, r.train_loss, r.held_out_loss) for r in history
    ]
    assert [row.split(",")[0] for row in (tmp_path / "metrics.csv").read_text().splitlines()] == [
        "step",
        "4",
        "8",
        "12",
    ]


def in_columns(model: GPT2) -> GPT2:
    """As `load_model` leaves large matrices: in (in, out) order, which AdamW's moments inherit."""
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            part.weight.data = part.weight.data.t().contiguous().t()
    return model


def test_a_run_that_began_with_a_loaded_model_is_resumed_in_its_order(tmp_path):
    """AdamW pairs weights and moments by place in memory: with two orders the pairs are wrong, without an error."""
    whole = in_columns(dropping_model())
    train(whole, text(), text(200), QUICK)
    with pytest.raises(Stop):
        train(in_columns(dropping_model()), text(), text(200), QUICK, tmp_path, stop_at(4))
    resumed = dropping_model()
    train(resumed, text(), text(200), QUICK, tmp_path, resume=True)
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_after_the_step_it_is_in(tmp_path, number):
    whole = dropping_model()
    train(whole, text(), text(200), QUICK)
    model, passes = dropping_model(), []

    def interrupt(module, inputs):
        passes.append(1)
        if len(passes) == 6:  # 4 steps, an evaluation, and the middle of step 5
            signal.raise_signal(number)

    hook = model.blocks[0].register_forward_pre_hook(interrupt)
    before = signal.getsignal(number)
    history = train(model, text(), text(200), QUICK, tmp_path)
    hook.remove()
    assert history[-1].step == 5 and signal.getsignal(number) is before and not model.training
    resumed = dropping_model()
    assert train(resumed, text(), text(200), QUICK, tmp_path, resume=True)[-1].step == 12
    assert bits(resumed) == bits(whole)


def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch):
    """But a signal soon after the first does not count: it is the first again, passed on by torchrun."""
    model, seconds = dropping_model(), iter([0.0, 1.0, 2.5])
    monkeypatch.setattr("minigpt.train.stop_request.time", SimpleNamespace(monotonic=lambda: next(seconds)))

    def interrupt_twice(module, inputs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # one second later
        signal.raise_signal(signal.SIGINT)

    model.register_forward_pre_hook(interrupt_twice)
    with pytest.raises(KeyboardInterrupt):
        train(model, text(), text(200), QUICK, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_ignored_stays_ignored(number):
    """A job in the background is started so: the Ctrl-C of the terminal is meant for another program."""
    model = dropping_model()
    model.register_forward_pre_hook(lambda *_: signal.raise_signal(number))
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert train(model, text(), text(200), QUICK)[-1].step == 12
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


KILLED = f"""
import sys, torch
sys.path.insert(0, {str(HERE)!r})
torch.set_num_threads(1)
from two_processes import *
import minigpt.train
real = minigpt.train.accumulate
def slow(*arguments):
    import time
    time.sleep(0.03)
    return real(*arguments)
minigpt.train.accumulate = slow
print("ready", flush=True)
run(Path(sys.argv[1]), Group(), resume=sys.argv[2] == "resume")
"""


def start(folder, *how):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), *how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def test_kill_9_at_any_moment_loses_no_bit(tmp_path, full):
    """Killed at random moments, resumed and killed again, the run ends with the weights of one that was left alone."""
    run(tmp_path / "whole", Group())
    expected = torch.load(tmp_path / "whole" / "result.pt")["weights"]
    rng = random.Random(0)
    folder, kills = tmp_path / "killed", 0
    (folder / "snapshots").mkdir(parents=True)
    while not (folder / "result.pt").exists():
        how = "resume" if steps_on_disk(folder / "snapshots") else "fresh"
        process = start(folder, how)
        if kills < (10 if full else 2):
            try:
                process.wait(rng.uniform(0.05, 0.5))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        process.wait(60)
        if full and (folder / "result.pt").exists() and kills < 10:  # it was faster than the next kill: once more
            assert same_weights(folder, expected)
            for file in (folder / "snapshots").rglob("*.pt"):
                file.unlink()
            (folder / "snapshots").rename(tmp_path / f"done-{kills}-{time.monotonic_ns()}")
            (folder / "result.pt").unlink()
    assert kills > 0 and same_weights(folder, expected)


def same_weights(folder, expected) -> bool:
    weights = torch.load(folder / "result.pt")["weights"]
    return all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory):
    """The folder in which two processes have trained each family, and resumed it (tests/two_processes.py).

    torchrun's exit code does not count: while it ends, a process of torch 2.13 now and then calls abort ("terminate
    called without an active exception"), on a busy machine, also in a program of ten lines."""
    folder = tmp_path_factory.mktemp("two-processes")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",  # any free port: two runs of the tests on one machine do not meet
        "--nproc-per-node",
        "2",
        HERE / "two_processes.py",
        folder,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert {path.name for path in folder.glob("done-*")} == {"done-0", "done-1"}, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("family", MODELS)
def test_two_processes_are_one_run(family, of_two_processes, tmp_path):
    """Gloo on CPUs, float64, unequal shares (7 rows, micro-batches of 2), packed documents where there are any."""
    run(tmp_path, Group(), family=family)
    one, two = torch.load(tmp_path / "result.pt"), torch.load(of_two_processes / family / "first.pt")
    assert torch.tensor(one["losses"]).sub(torch.tensor(two["losses"])).abs().max() < 1e-10
    for name, tensor in one["weights"].items():
        if not name.endswith("key.bias"):  # its gradient is rounding, which Adam makes large
            assert (tensor - two["weights"][name]).abs().max() < 1e-10, name
    with pytest.raises(ValueError, match="made by 2 processes and cannot go on with 1"):
        run(of_two_processes / family, Group(), resume=True, family=family)


@pytest.mark.parametrize("name", [*MODELS, "with dropout"])
def test_two_processes_resume_with_the_same_bits(name, of_two_processes):
    first, resumed = (torch.load(of_two_processes / name / file) for file in ("first.pt", "result.pt"))
    assert resumed["losses"] == first["losses"]
    assert same_weights(of_two_processes / name, first["weights"])


def test_each_process_drops_other_numbers(of_two_processes):
    """tests/two_processes.py compares their seeds; here dropout is at work."""
    with_dropout, without = (torch.load(of_two_processes / name / "first.pt") for name in ("with dropout", "gpt2"))
    assert with_dropout["losses"] != without["losses"]


def test_another_machine_gets_the_files_of_rank_0(of_two_processes):
    first, second = (
        {path.name: path.read_bytes() for path in (of_two_processes / f"files-of-{rank}").iterdir()} for rank in (0, 1)
    )
    assert first.pop("for the first process of a machine") == b"it writes, the others read"
    assert first == {
        "same": b"equal everywhere", "other": b"of 0", "large": bytes(range(256)) * 10, "empty": b"",
    }  # fmt: skip
    assert second == first | {"not asked for": b"kept", "absent": b"kept, too: rank 0 has none"}


def test_another_machine_keeps_no_snapshots(of_two_processes):
    assert not list((of_two_processes / "elsewhere").rglob("snapshots"))  # rank 0 sent its own


def test_two_machines_train_and_resume(tmp_path, full):
    """Two agents of torchrun on the loopback, each in a folder of its own. The text is on the first one alone. The run
    is set back to its first snapshot, the second machine loses all files, and the run ends with the same bits."""
    if not full:
        pytest.skip("two agents of torchrun take half a minute: python -m pytest --full")
    machines = [tmp_path / "first", tmp_path / "second"]
    for machine in machines:
        machine.mkdir()
    (machines[0] / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 200)

    def train(*arguments):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
        agents = []
        for rank, machine in enumerate(machines):
            command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank)]
            command += ["--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port]
            command += ["-m", "minigpt", "train", "--out", "run", *arguments]
            environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
            agents.append(subprocess.Popen(command, cwd=machine, env=environment, stderr=subprocess.PIPE))
        errors = [agent.communicate(timeout=200)[1].decode() for agent in agents]
        assert [agent.returncode for agent in agents] == [0, 0], errors

    train("--text", "text.txt", "--steps", "8", "--set", "evaluate_every=4")
    file = machines[0] / "run" / "model.safetensors"
    weights = load_file(file)
    shutil.rmtree(machines[0] / "run" / "snapshots" / "step-8")
    file.unlink()
    shutil.rmtree(machines[1] / "run")
    train("--resume")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in load_file(file).items())
    assert not (machines[1] / "run" / "snapshots").exists()


def test_a_process_alone_sends_nothing(tmp_path):
    Group().share(tmp_path / "nowhere", ["a"])
    assert Group().from_first("thing") == "thing" and not (tmp_path / "nowhere").exists()


def test_a_full_disk_is_reported_and_the_last_good_snapshot_kept(tmp_path, monkeypatch):
    save = torch.save

    def full_from_step_8_on(state, file):
        if state["step"] < 8:
            return save(state, file)
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full_from_step_8_on)
    with pytest.raises(OSError, match="step 8 could not be written.*No space left.*the last good one is step 4"):
        train(dropping_model(), text(), text(200), QUICK, tmp_path)
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["step-4"]
    monkeypatch.undo()
    whole, resumed = dropping_model(), dropping_model()
    train(whole, text(), text(200), QUICK)
    train(resumed, text(), text(200), QUICK, tmp_path, resume=True)
    assert bits(resumed) == bits(whole)


def test_snapshots_are_complete_or_not_there(tmp_path):
    for step in (3, 5, 9):
        save_snapshot(tmp_path, step, {"step": step})
    (tmp_path / "step-12.tmp").mkdir()
    (tmp_path / "step-12.tmp" / "state.pt").write_bytes(b"half")
    assert steps_on_disk(tmp_path) == [5, 9] and load_snapshot(tmp_path) == {"step": 9}
    save_snapshot(tmp_path, 12, {"step": 12})  # the folder of a killed process is no obstacle
    assert steps_on_disk(tmp_path) == [9, 12]
    assert load_snapshot(tmp_path / "nowhere") is None


class OneOfTwo(Group):
    """The first of two processes, whose second does not exist."""

    def from_first(self, thing):
        return thing


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(config=TrainConfig(**vars(QUICK) | {"learning_rate": 1e-3})), "made with learning_rate=0.002"),
        (
            dict(config=TrainConfig(**vars(QUICK) | {"steps": 99})),
            "same config. To train its model longer, begin a run",
        ),
        (dict(tokens=text(2999)), "another text"),
        (dict(directory="nowhere"), "no snapshot to resume"),
        (dict(group=OneOfTwo(0, 2)), "made by 1 processes and cannot go on with 2"),
    ],
    ids=lambda value: "",
)
def test_only_the_same_run_is_resumed(tmp_path, change, words):
    train(dropping_model(), text(), text(200), QUICK, tmp_path)
    model = dropping_model()
    before = bits(model)
    change = dict(tokens=text(), config=QUICK, directory=tmp_path, group=Group()) | change
    if change["directory"] == "nowhere":
        change["directory"] = tmp_path / "nowhere"
    with pytest.raises(ValueError, match=words):
        train(
            model,
            change["tokens"],
            text(200),
            change["config"],
            change["directory"],
            resume=True,
            group=change["group"],
        )
    assert bits(model) == before


def test_more_processes_than_rows_are_refused():
    with pytest.raises(ValueError, match="batch_size=4 leaves nothing for some of 5 processes"):
        train(small_model(), text(), text(200), QUICK, group=Group(0, 5))
    assert CONFIG.batch_size % 2, "the two processes of the test above have unequal shares"


def test_a_new_run_does_not_mix_with_an_old_one(tmp_path):
    train(dropping_model(), text(), text(200), QUICK, tmp_path)
    with pytest.raises(ValueError, match="holds the snapshots of a run"):
        train(dropping_model(), text(), text(200), QUICK, tmp_path)
    assert steps_on_disk(tmp_path / "snapshots") == [8, 12]


def test_a_damaged_snapshot_is_passed_over_and_named_if_it_is_the_last(tmp_path):
    save_snapshot(tmp_path, 3, {"step": 3})
    save_snapshot(tmp_path, 5, {"step": 5})
    (tmp_path / "step-5" / "state.pt").write_bytes((tmp_path / "step-5" / "state.pt").read_bytes()[:100])
    (tmp_path / "step-9").write_text("a file")
    assert load_snapshot(tmp_path) == {"step": 3}
    (tmp_path / "step-3" / "state.pt").write_bytes(b"")
    with pytest.raises(OSError, match="step-5 cannot be read"):
        load_snapshot(tmp_path)


def test_a_run_folder_of_the_version_before_is_resumed(tmp_path, capsys):
    """tests/run_of_before was stopped at step 5 of 8, when the package had no folders yet."""
    folder = tmp_path / "run"
    shutil.copytree(Path(__file__).parent / "run_of_before", folder)
    before = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()
    code, out, _ = command(capsys, "train", "--resume", "--out", folder)
    lines = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert code == 0 and "bits per byte" in out and lines[:3] == before
    step, _, _, train_loss, held_out_loss, _ = map(float, lines[3].split(","))
    assert step == 8 and len(lines) == 4
    # The losses of that version without a stop; another processor may round differently.
    assert abs(train_loss - 5.505423) < 1e-4 and abs(held_out_loss - 5.492052) < 1e-4
    assert load_model(folder).config.n_embd == 8


def test_a_snapshot_of_an_earlier_step_is_kept_beside_later_ones(tmp_path):
    """If newer snapshots are damaged, a run goes on from an older one; the snapshots that it then writes are kept."""
    for step in (4, 8, 12):
        save_snapshot(tmp_path, step, {"step": step})
    assert steps_on_disk(tmp_path) == [8, 12]
    for step in (8, 12):
        (tmp_path / f"step-{step}" / "state.pt").write_bytes(b"damaged")
    save_snapshot(tmp_path, 5, {"step": 5})
    save_snapshot(tmp_path, 6, {"step": 6})
    assert steps_on_disk(tmp_path) == [5, 6, 8, 12] and load_snapshot(tmp_path) == {"step": 6}
    save_snapshot(tmp_path, 7, {"step": 7})
    assert steps_on_disk(tmp_path) == [6, 7, 8, 12]
    save_snapshot(tmp_path, 12, {"step": 12})
    assert steps_on_disk(tmp_path) == [8, 12] and load_snapshot(tmp_path) == {"step": 12}
