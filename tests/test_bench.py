"""The comparison of speed is fair: turns, medians, the same answers on both sides; memory and operations are right."""

import json
import statistics
import sys
from types import SimpleNamespace

import pytest
import torch
from command_line import run
from torch.utils.flop_counter import FlopCounterMode

from minigpt import GPT2, GPT2Config
from minigpt.commands import bench
from minigpt.compare import memory, speed, timing
from minigpt.compare.speed import BASELINE, SharedCheckpoint, Workload

SMALL = GPT2Config(vocab_size=300, n_positions=32, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.0)
WORKLOAD = Workload(rounds=2, forward_tokens=32, training_rows=2, training_tokens=16, new_tokens=6, windows=3)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return SharedCheckpoint(SMALL, tmp_path_factory.mktemp("shared"))


def test_contenders_take_turns_and_medians_are_compared(monkeypatch):
    clock, turns = [0.0], []
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    durations = {"slow": iter([99, 4, 40, 4]), "fast": iter([99, 2, 2, 10])}

    def contender(name):
        turns.append(name)
        clock[0] += next(durations[name])

    slow, fast = timing.alternate({n: lambda n=n: contender(n) for n in durations}, "slow", rounds=3)
    assert turns == ["slow", "fast", "fast", "slow"] * 2  # the first round, a warm-up, does not count
    assert slow.seconds == [4, 40, 4] and fast.seconds == [2, 2, 10]
    assert slow.ratio == 1 and fast.ratio == 2 and fast.median == 2
    rounds = [4 / 2, 40 / 2, 4 / 10]
    assert [fast.ratio_low, fast.ratio_high] == [
        statistics.quantiles(rounds, n=4, method="inclusive")[k] for k in (0, 2)
    ]


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


@pytest.mark.parametrize("work", ["forward", "training_step", "decoding", "perplexity", "loading"])
def test_each_work_is_run_by_both_sides(shared, work):
    arguments = [2] if work == "decoding" else []
    result = getattr(speed, work)(shared, WORKLOAD, *arguments)
    names = [t.contender for t in result.timings]
    assert BASELINE in names and "minigpt sdpa float32" in names
    assert all(t.median > 0 and len(t.seconds) == 2 for t in result.timings)
    assert next(t for t in result.timings if t.contender == BASELINE).ratio == 1


@pytest.mark.parametrize("work", ["forward", "training_step", "decoding", "perplexity"])
def test_different_answers_are_not_timed(shared, work, monkeypatch):
    original = shared.ours

    def damaged(attention, dtype=torch.float32):
        model = original(attention, dtype)
        with torch.no_grad():
            model.token_embedding.weight.mul_(-1)
        return model

    monkeypatch.setattr(shared, "ours", damaged)
    with pytest.raises(RuntimeError, match="differs from transformers'|different tokens"):
        getattr(speed, work)(shared, WORKLOAD, *([2] if work == "decoding" else []))


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
def test_the_command(arguments, monkeypatch, capsys, tmp_path):
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
    monkeypatch.setitem(bench.WORKS, "forward", lambda _, workload: asked.append(workload))
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
