"""The comparison of speed is fair: turns, medians, the same answers on both sides; memory and operations are right."""

import json
import os
import statistics
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from command_line import run
from torch.utils.flop_counter import FlopCounterMode

from minigpt import GPT2, GPT2Config
from minigpt.commands import bench
from minigpt.compare import contenders, memory, speed, timing
from minigpt.compare.contenders import Process, Worker
from minigpt.compare.speed import BASELINE, OURS, THEIRS, SharedCheckpoint, Workload

SMALL = GPT2Config(vocab_size=300, n_positions=32, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.0)
WORKLOAD = Workload(2, 32, 2, 16, new_tokens=6, windows=3, prompts=(20,), batches=(2,))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return SharedCheckpoint(SMALL, tmp_path_factory.mktemp("shared"))


@pytest.fixture
def in_this_process(monkeypatch):
    """A process for each contender would need seconds to start; what it does is the same."""
    kinds = []
    monkeypatch.setattr(speed, "Process", lambda *a: kinds.append("one") or Worker(*a))
    monkeypatch.setattr(speed, "ProcessForEachTurn", lambda *a: kinds.append("one a turn") or Worker(*a))
    return kinds


def test_contenders_take_turns_and_ratios_of_rounds_are_compared():
    turns, durations = [], {"slow": iter([4, 40, 4]), "fast": iter([2, 2, 10])}

    def contender(name):
        turns.append(name)
        return next(durations[name])

    slow, fast = timing.alternate({n: lambda n=n: contender(n) for n in durations}, "slow", rounds=3)
    assert turns == ["slow", "fast", "fast", "slow", "slow", "fast"]
    assert slow.seconds == [4, 40, 4] and fast.seconds == [2, 2, 10]
    rounds = [4 / 2, 40 / 2, 4 / 10]
    assert slow.ratio == 1 and fast.ratio == statistics.median(rounds) and fast.median == 2
    assert [fast.ratio_low, fast.ratio_high] == [
        statistics.quantiles(rounds, n=4, method="inclusive")[k] for k in (0, 2)
    ]
    for seconds in ([1, 5, 2, 9], [3, 1], [7]):  # the ratio lies between its own quartiles
        paces = {"a": iter(seconds), "b": iter(seconds[::-1])}
        for found in timing.alternate({n: partial(next, pace) for n, pace in paces.items()}, "a", len(seconds)):
            assert found.ratio_low <= found.ratio <= found.ratio_high


def test_seconds_are_those_of_the_work(monkeypatch):
    clock = [5.0]
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert timing.seconds_of(lambda: clock.append(clock.pop() + 3)) == 3


def test_peak_memory_is_that_of_the_worst_moment():
    def work():
        a = torch.ones(1000)
        b = a + 1
        del a, b
        torch.ones(500)

    assert 8000 <= timing.peak_memory(work) < 8500


def test_the_machines_limits_are_rates():
    rates = speed.limits()
    assert rates["float32 operations a second"] > 1e8 and rates["bytes a second"] > 1e8


def test_operations_are_those_that_torch_counts():
    """torch counts whole score matrices, we count the causal half, with the diagonal."""
    model = GPT2(SMALL, "explicit").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(3, 20, dtype=torch.int64))
    of_hidden_pairs = 3 * SMALL.n_layer * SMALL.n_embd * 4 * (20 * 20 - 20 * 21 // 2)
    assert speed._forward_operations(SMALL, 3, 20) == counter.get_total_flops() - of_hidden_pairs


@pytest.mark.parametrize("work", [name for name in bench.WORKS])
def test_each_work_is_run_by_both_sides(shared, work, in_this_process):
    results = bench.WORKS[work](shared, WORKLOAD)
    assert len(results) == (2 if work == "decoding-growth" else 1)
    assert set(in_this_process) == {"one a turn" if work == "training" else "one"}
    for result in results:
        names = [t.contender for t in result.timings]
        assert BASELINE in names and "minigpt sdpa float32" in names and len(set(names)) == len(names)
        assert all(t.median > 0 and len(t.seconds) == 2 for t in result.timings)
        assert next(t for t in result.timings if t.contender == BASELINE).ratio == 1
        for t in result.timings:
            assert (t.equal_tokens is not None) == work.startswith("decoding")
            assert t.equal_tokens in (None, 1) or "float32" not in t.contender


@pytest.mark.parametrize("work", ["forward", "training", "decoding", "perplexity", "loading"])
def test_different_answers_are_not_timed(shared, work, monkeypatch, in_this_process):
    original = Worker.load

    def damaged(self):
        model = original(self)
        if self.is_ours and self.contender.attention == "sdpa":
            with torch.no_grad():
                model.token_embedding.weight.mul_(-1)
        return model

    monkeypatch.setattr(Worker, "load", damaged)
    with pytest.raises(RuntimeError, match="minigpt sdpa float32 (differs from transformers|decodes other tokens)"):
        bench.WORKS[work](shared, WORKLOAD)


def test_every_contender_has_a_process_of_its_own(shared):
    """What is raised there is raised here; a process that dies is reported."""
    workers = [Process(contender, shared.folder, SMALL, "cpu") for contender in (OURS, THEIRS)]
    try:
        ours, theirs = (worker.prepare("forward", 8) for worker in workers)
        assert abs(ours - theirs).max() < 1e-5 and ours.shape == (1, 300)
        assert all(worker.seconds() > 0 for worker in workers)
        assert len({os.getpid(), *(worker.process.pid for worker in workers)}) == 3
        with pytest.raises(ValueError, match="n_positions|context|position"):
            workers[0].prepare("forward", 33)
        workers[1].process.terminate()
        with pytest.raises(RuntimeError, match="the process of a contender ended"):
            workers[1].seconds()
    finally:
        for worker in workers:
            worker.process.terminate()


def test_much_memory_is_needed_by_one_process_at_a_time(monkeypatch):
    """A process for each turn: it begins, warms up, is timed, and ends."""
    done = []

    class Noted:
        def __init__(self, contender):
            done.append(contender)

        def __getattr__(self, name):
            return lambda *work: done.append((name, *work)) or name

    monkeypatch.setattr(contenders, "Process", Noted)
    process = contenders.ProcessForEachTurn(OURS)
    assert process.prepare("training_step", 2, 3) == "prepare" and process.seconds() == "seconds"
    turn = [OURS, ("prepare", "training_step", 2, 3)]
    assert done == [*turn, ("close",), *turn, ("seconds",), ("close",)]


@pytest.mark.parametrize("contender, chosen, expected", [(OURS, False, "1"), (THEIRS, False, "0"), (THEIRS, True, "1")])
def test_large_pages_are_for_minigpt_alone(contender, chosen, expected, monkeypatch):
    """transformers does not ask for them, so its process has none, unless the reader has switched them on."""
    over, asked = SimpleNamespace(recv=lambda: None, close=lambda: None), []
    context = SimpleNamespace(
        Pipe=lambda: (over, over),
        Process=lambda **settings: asked.append(settings["args"]) or SimpleNamespace(start=lambda: None),
    )
    monkeypatch.setattr(contenders.multiprocessing, "get_context", lambda kind: context)
    monkeypatch.setattr(contenders.huge_pages, "chosen_by_the_reader", chosen)
    Process(contender)
    monkeypatch.setenv(contenders.huge_pages.VARIABLE, "1")
    contenders._serve(over, asked[0][1], contender, ".", SMALL, "cpu")
    assert os.environ[contenders.huge_pages.VARIABLE] == expected


def test_memory_of_the_loss_is_less_than_its_logits(shared):
    found = memory.memory(shared, WORKLOAD)
    held, lean = (found[f"head and loss of 32 tokens, {how}"] for how in ("logits held", "linear_cross_entropy"))
    assert 2 * 32 * 300 * 4 <= held < 4 * 32 * 300 * 4 and lean > 0
    assert found["the checkpoint's file"] > 4 * 300 * 32


def test_growth_is_measured_against_three_things():
    points = memory.growth(SMALL, rounds=1)
    assert [p.size for p in points if (p.of, p.attention) == ("tokens", "sdpa")] == [4, 8, 16, 32]
    assert {p.of for p in points} == {"tokens", "rows", "layers"}
    peak = {p.size: p.peak_bytes for p in points if (p.of, p.attention) == ("tokens", "explicit")}
    assert peak[32] > 3 * peak[8] > 0


@pytest.mark.parametrize("arguments", [["--work", "forward", "loading"], ["--growth"]], ids=["works", "growth"])
def test_the_command(arguments, monkeypatch, capsys, tmp_path, in_this_process):
    monkeypatch.setitem(speed.SIZES, "tiny", SMALL)
    monkeypatch.setattr(speed, "QUICK", WORKLOAD)
    monkeypatch.setattr(memory, "_python", lambda code, *arguments: "1000")
    picture = tmp_path / "bench.png"
    code, out, _ = run(capsys, "bench", "--quick", *arguments, "--plot", str(picture), "--json")
    found = json.loads(out)
    assert code == 0 and picture.stat().st_size > 10_000
    assert found["machine"]["torch"] == torch.__version__ and found["quick"] is True
    if "--growth" in arguments:
        assert len(found["growth"]) == 3 * (4 + 4 + 2)
    else:
        assert [work["work"] for work in found["works"]] == ["forward 1×32", "loading, and one token"]
        assert {"limits", "memory", "importing"} <= found.keys()
    code, out, _ = run(capsys, "bench", "--quick", *arguments)
    assert code == 0 and ("explicit" in out) and len(out.splitlines()) > 10


@pytest.mark.parametrize("quick, rounds, workload", [(["--quick"], 3, speed.QUICK), ([], 7, speed.FULL)])
def test_quick_is_fewer_rounds_of_smaller_work(quick, rounds, workload, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(memory, "growth", lambda config, rounds, device: asked.append(rounds) or [])
    assert json.loads(run(capsys, "bench", *quick, "--growth", "--json")[1])["quick"] is bool(quick)
    assert asked == [rounds]
    monkeypatch.undo()
    monkeypatch.setattr(speed, "SharedCheckpoint", lambda *_: None)
    monkeypatch.setattr(speed, "limits", lambda _: {})
    monkeypatch.setattr(memory, "memory", lambda _, workload: asked.append(workload) or {})
    monkeypatch.setattr(memory, "importing", lambda workload: asked.append(workload) or {})
    monkeypatch.setitem(bench.WORKS, "forward", lambda _, workload: asked.append(workload) or [])
    options = SimpleNamespace(quick=bool(quick), dtype=["float32"], work=["forward"])
    bench.measure(options, SMALL, torch.device("cpu"))
    assert asked[1:] == [workload] * 3


def test_a_picture_that_cannot_be_written_is_found_out_first(capsys):
    code, _, err = run(capsys, "bench", "--quick", "--plot", "/nowhere/bench.png")
    assert code == 2 and "/nowhere" in err


def test_without_transformers_there_is_growth_but_no_comparison(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    monkeypatch.setitem(speed.SIZES, "tiny", SMALL)
    code, _, err = run(capsys, "bench", "--quick")
    assert code == 2 and "pip install minigpt[compare]" in err
    code, out, _ = run(capsys, "bench", "--quick", "--growth")
    assert code == 0 and "tokens" in out
