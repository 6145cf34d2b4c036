"""The modes in which the trainer runs a model: with dropout or without, in bfloat16 or float32; what its record of a
run holds; and what it would do on a GPU, which needs no GPU to be seen."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from command_line import run as command

from minigpt import GPT2, GPT2Config, load_model, save_model
from minigpt.commands import train as train_command
from minigpt.train import NextToken, TrainConfig, accumulate, learning_rate_at, loop, train
from minigpt.train.processes import local_device, process_group

SHAPE = dict(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=2)
QUICK = dict(steps=4, batch_size=2, context=8, warmup_steps=1, evaluate_every=2, autocast=False)
TEXT = (np.arange(200) * 7 % 20).astype(np.uint16)


def small_model(**changes) -> GPT2:
    torch.manual_seed(0)
    return GPT2(GPT2Config(**SHAPE | changes))


def noted(model) -> list[tuple]:
    """(whether gradients are computed, how many parts are in train mode, dtype of a product) of each pass, noted while
    the model runs."""
    passes = []

    def note(part, inputs, output):
        in_train_mode = sum(module.training for module in model.modules())
        passes.append((torch.is_grad_enabled(), in_train_mode, output.dtype))

    model.blocks[0].mlp.up.register_forward_hook(note)
    return passes


# --- dropout ---------------------------------------------------------------------------------------------------------


def test_a_loaded_model_is_trained_with_dropout_and_evaluated_without(tmp_path):
    """`load_model` gives a model in eval mode; so does training, at its end."""
    save_model(small_model(), tmp_path)
    model = load_model(tmp_path)
    passes, n_parts = noted(model), len(list(model.modules()))
    train(model, TEXT, TEXT, TrainConfig(**QUICK))
    assert [n for with_gradients, n, _ in passes if with_gradients] == [n_parts] * 4
    assert {n for with_gradients, n, _ in passes if not with_gradients} == {0}
    assert not any(module.training for module in model.modules())


def test_with_init_dropout_counts(capsys, tmp_path, monkeypatch):
    models, passes = [], []

    def watched(*arguments, **named):
        models.append(load_model(*arguments, **named))
        passes.append(noted(models[-1]))
        return models[-1]

    monkeypatch.setattr(train_command, "load_model", watched)
    (tmp_path / "own.txt").write_text("The list of lists is a list.\n" * 100, encoding="utf-8")
    usual = ["--text", tmp_path / "own.txt", "--init", "tiny", "--steps", 2, "--out", tmp_path / "more"]
    assert command(capsys, "train", *usual, "--set", "context=16", "batch_size=2", "warmup_steps=0")[0] == 0
    n_parts = len(list(models[0].modules()))
    assert [n for seen in passes for with_gradients, n, _ in seen if with_gradients] == [n_parts] * 2


# --- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("autocast, dtype", [(True, torch.bfloat16), (False, torch.float32)])
def test_autocast_is_bfloat16_for_products_and_nothing_else(autocast, dtype):
    model = small_model()
    passes = noted(model)
    train(model, TEXT, TEXT, TrainConfig(**QUICK | {"autocast": autocast}))
    assert {found for with_gradients, _, found in passes if with_gradients} == {dtype}
    assert {found for with_gradients, _, found in passes if not with_gradients} == {torch.float32}  # evaluated in whole
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


# --- the loss and the record -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [torch.inf, -torch.inf, torch.nan])
def test_an_infinite_loss_stops_the_training_like_nan(monkeypatch, loss):
    monkeypatch.setattr(loop, "accumulate", lambda *_: torch.tensor(loss))
    with pytest.raises(FloatingPointError, match=f"the loss is {loss} at step 0: lower the learning rate"):
        train(small_model(), TEXT, TEXT, TrainConfig(**QUICK))


def test_a_batch_of_end_tokens_alone_has_loss_0():
    """Each token begins a document, and the first token of a document is not predicted."""
    model = small_model()
    examples = NextToken(end_of_text=3).examples(torch.full((2, 8), 3), 0, 0)
    assert examples.n_targets == 0
    loss = accumulate(NextToken(3).loss_of(model), examples, TrainConfig(**QUICK))
    assert loss == 0 and all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_a_record_says_what_was_done_since_the_last_one(monkeypatch, tmp_path):
    losses, clock = iter([8.0, 4.0, 3.0, 1.0]), [100.0]

    def a_step_of_ten_seconds(*_):
        clock[0] += 10
        return torch.tensor(next(losses))

    def stop(history):
        raise InterruptedError

    monkeypatch.setattr(loop, "accumulate", a_step_of_ten_seconds)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    config = TrainConfig(**QUICK)
    with pytest.raises(InterruptedError):
        train(small_model(), TEXT, TEXT, config, tmp_path, stop)
    clock[0] = 5000.0  # another process, another clock
    history = train(small_model(), TEXT, TEXT, config, tmp_path, resume=True)
    assert [(r.step, r.tokens, r.train_loss, r.seconds) for r in history] == [(2, 32, 6.0, 20.0), (4, 64, 2.0, 40.0)]
    assert [r.learning_rate for r in history] == [learning_rate_at(step, config) for step in (1, 3)]


def test_a_resumed_run_has_the_threads_of_the_one_before(tmp_path):
    """With another number of threads a sum is added up in another order."""
    train(small_model(), TEXT, TEXT, TrainConfig(**QUICK), tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        train(small_model(), TEXT, TEXT, TrainConfig(**QUICK), tmp_path, resume=True)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(threads)


def test_training_may_run_outside_of_the_main_thread():
    """In a web server or a notebook's widget. Only the main thread may set what a signal does."""
    history = []
    thread = threading.Thread(target=lambda: history.extend(train(small_model(), TEXT, TEXT, TrainConfig(**QUICK))))
    thread.start()
    thread.join()
    assert [record.step for record in history] == [2, 4]


# --- on a GPU --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device, rank, expected",
    [
        ("cuda", "1", "cuda:1"),
        ("cuda", "0", "cuda:0"),
        ("cuda", None, "cuda"),
        ("cpu", "1", "cpu"),
        ("meta", "1", "meta"),
    ],
)
def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch, device, rank, expected):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert local_device(torch.device(device)) == torch.device(expected)


@pytest.mark.parametrize("device, begin", [("cuda:1", ["the GPU is cuda:1", "nccl"]), ("cpu", ["gloo"])])
def test_gpus_talk_through_nccl_and_each_process_through_its_own(monkeypatch, device, begin):
    done = []
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(f"the GPU is {device}"))
    monkeypatch.setattr(dist, "init_process_group", done.append)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("end"))
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    with pytest.raises(InterruptedError), process_group(torch.device(device)) as group:
        assert (group.rank, group.size, group.local_rank, group.writes) == (3, 4, 1, False)
        assert done == begin
        raise InterruptedError
    assert done == [*begin, "end"]


def test_the_random_states_of_the_gpus_are_resumed(monkeypatch, tmp_path):
    states, given = [torch.tensor([1, 2]), torch.tensor([3])], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", given.append)
    train(small_model(), TEXT, TEXT, TrainConfig(**QUICK), tmp_path)
    assert given == []
    train(small_model(), TEXT, TEXT, TrainConfig(**QUICK), tmp_path, resume=True)
    assert [[state.tolist() for state in all_gpus] for all_gpus in given] == [[[1, 2], [3]]]
