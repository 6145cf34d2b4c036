"""The quick check of what stands around the models: files and the disk, downloads, commands, the corpus, the trainer's
modes. `quick_check` imports this file: its checks stand in the same list."""

import contextlib
import importlib
import io
import json
import os
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import torch
from quick_check import check, small_run


@contextlib.contextmanager
def replaced(owner, **changes):
    """Inside, these attributes of an object are others."""
    before = {name: getattr(owner, name) for name in changes}
    for name, value in changes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def refused(call) -> str:
    """What the ValueError of a call says; an AssertionError where there is none."""
    try:
        call()
    except ValueError as error:
        return str(error)
    raise AssertionError("accepted")


def tiny_checkpoint(minigpt, folder) -> Path:
    torch.manual_seed(0)
    shape = dict(vocab_size=260, n_positions=8, n_embd=4, n_layer=1, n_head=2)
    minigpt.save_model(minigpt.GPT2(minigpt.GPT2Config(**shape)), folder, minigpt.Tokenizer.train(["some text"], 260))
    return Path(folder)


# --- files -----------------------------------------------------------------------------------------------------------


@check(
    "the order of writing",
    "_files checkpoints.files train.snapshots",
    "test_power_cut.py::test_content_is_on_the_disk_before_its_name_and_then_the_name",
)
def _():
    """All is forced to the disk before it is renamed, and the weights' folder before what comes next."""
    minigpt, files = importlib.import_module("minigpt"), importlib.import_module("minigpt._files")
    snapshots = importlib.import_module("minigpt.train.snapshots")
    paths, asked, real = {}, [], {name: getattr(os, name) for name in ("open", "fsync", "replace")}

    def opened(path, *arguments, **named):
        descriptor = real["open"](path, *arguments, **named)
        paths[descriptor] = str(path)
        return descriptor

    def renamed(old, new):
        parts = [Path(old), *Path(old).rglob("*")]
        assert all(str(part) in asked for part in parts), f"{old} takes its name before its content is there"
        asked.append(Path(new).name)
        real["replace"](old, new)

    with tempfile.TemporaryDirectory() as folder:
        force = lambda descriptor: asked.append(paths[descriptor])  # noqa: E731
        with replaced(os, open=opened, fsync=force, rename=renamed, replace=renamed):
            files.write_whole(Path(folder, "a.txt"), b"content")
            assert asked[-1] == folder
            snapshots.save_snapshot(Path(folder, "snapshots"), 3, {"step": 3})
            tiny_checkpoint(minigpt, folder)
        assert asked[asked.index("model.safetensors") + 1] == folder == asked[-1]


@check(
    "weights as they are",
    "checkpoints.files checkpoints.translate",
    "test_checkpoint.py::test_a_loaded_model_does_not_change_with_its_file",
)
def _():
    minigpt = importlib.import_module("minigpt")
    translate = importlib.import_module("minigpt.checkpoints.translate")
    assert translate.all_finite(torch.full((9,), torch.finfo(torch.float32).max))
    with tempfile.TemporaryDirectory() as folder:
        file = tiny_checkpoint(minigpt, folder) / "model.safetensors"
        model = minigpt.load_model(folder)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with open(file, "r+b") as opened:
            opened.write(bytes(file.stat().st_size))
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@check(
    "good, then bad",
    "checkpoints.files tokenizer.files generation.settings generation.loop tokenizer.specials",
    "test_good_then_bad_files.py::test_a_pickle_holds_tensors_alone",
)
def _():
    minigpt = importlib.import_module("minigpt")
    loop, settings = (importlib.import_module(f"minigpt.generation.{name}") for name in ("loop", "settings"))
    with tempfile.TemporaryDirectory() as folder:
        folder = tiny_checkpoint(minigpt, folder)
        (folder / "model.safetensors").unlink()
        torch.save({"wte.weight": torch.ones(3), "x": 5}, folder / "pytorch_model.bin")
        assert "'x': int" in refused(lambda: minigpt.load_model(folder))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
        vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        (folder / "vocab.json").write_text(json.dumps(vocabulary | {"zz": "1"}), encoding="utf-8")
        assert "vocab.json must map" in refused(lambda: minigpt.Tokenizer.load(folder))
        assert "prefix has the id 999" in refused(lambda: minigpt.Tokenizer(vocabulary, [], prefix=[0, 999]))
    rows = torch.tensor([[1.0, 2.0], [-torch.inf, -torch.inf]])
    assert "no token can be chosen" in refused(lambda: settings.Settings().chooser([[1], [1]])(rows, [0, 1]))
    with contextlib.suppress(FloatingPointError):
        loop.log_probabilities(torch.tensor([[1.0, 2.0], [1.0, torch.nan]]))
        raise AssertionError("nan in the second row is not seen")


@check("a download", "checkpoints.hub", "test_download.py::test_what_is_needed_is_fetched_into_the_weights_folder")
def _():
    hub, asked = importlib.import_module("minigpt.checkpoints.hub"), []
    shard = "model-00002-of-00002.safetensors"

    def snapshot_download(repository, local_dir=None, allow_patterns=None):
        asked.append(repository)
        names = ["config.json", shard, "model.safetensors.index.json", "vocab.txt", "model.gguf", "pytorch_model.bin"]
        for name in huggingface_hub.utils.filter_repo_objects(names, allow_patterns=allow_patterns):
            (local_dir / name).touch()
        return str(local_dir)

    with tempfile.TemporaryDirectory() as folder:
        with replaced(huggingface_hub, snapshot_download=snapshot_download):
            hub.fetch("gpt2", Path(folder))
        found = {file.name for file in Path(folder).iterdir()}
    assert asked == ["openai-community/gpt2"]
    assert found == {"config.json", shard, "model.safetensors.index.json", "vocab.txt"}


# --- data ------------------------------------------------------------------------------------------------------------


@check("documentation", "data.corpus", "test_data.py::test_what_of_a_file_is_documentation")
def _():
    documentation = importlib.import_module("minigpt.data.corpus")._documentation
    long = "What a function written in C computes. " * 3
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.py")
        file.write_text(f'async def f(): "Said."\nadd_docstr(torch.abs, "{long}")\nadd_newdoc("numpy", "x", "{long}")')
        assert [title for title, _ in documentation(file, "a")] == ["a.f()", "torch.abs", "numpy"]
        file.write_text("def f(:")
        assert list(documentation(file, "a")) == []


@check("every id", "data.token_files", "test_data.py::test_every_id_fits_into_the_file")
def _():
    encode_documents = importlib.import_module("minigpt.data").encode_documents
    tokenizer = SimpleNamespace(vocab_size=2**16 + 1, eos_id=None, encode=lambda text: [2**16])
    assert encode_documents(["a"], tokenizer).tolist() == [2**16]


# --- training --------------------------------------------------------------------------------------------------------


@check(
    "modes",
    "train.loop train.objectives train.stop_request",
    "test_train_modes.py::test_a_loaded_model_is_trained_with_dropout_and_evaluated_without",
)
def _():
    minigpt, loop = importlib.import_module("minigpt"), importlib.import_module("minigpt.train.loop")
    passes = []

    def watch(model):
        model.eval().float()
        note = lambda part, inputs, output: passes.append((torch.is_grad_enabled(), model.training, output.dtype))  # noqa: E731
        model.blocks[0].mlp.up.register_forward_hook(note)

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        small_run(minigpt, prepare=watch, autocast=True, on_record=lambda _: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert {seen[1:] for seen in passes if seen[0]} == {(True, torch.bfloat16)}
    assert {seen[1:] for seen in passes if not seen[0]} == {(False, torch.float32)}
    assert sum(with_gradients for with_gradients, *_ in passes) == 6, "an ignored signal has ended the run"
    for loss in (torch.inf, torch.nan):
        with replaced(loop, accumulate=lambda *_, loss=loss: torch.tensor(loss)):
            try:
                small_run(minigpt)
            except FloatingPointError:
                continue
        raise AssertionError(f"a loss of {loss} is accepted")


@check("processes", "train.processes train.loop", "test_resume.py::test_each_process_drops_other_numbers")
def _():
    minigpt = importlib.import_module("minigpt")
    processes, train = (importlib.import_module(f"minigpt.train{name}") for name in (".processes", ""))
    loop = importlib.import_module("minigpt.train.loop")
    own = torch.tensor([3.0])
    with replaced(processes.dist, all_reduce=lambda tensor: tensor.add_(10)):
        assert processes.Group(0, 2).sum(own).item() == 13 and own.item() == 3
    with replaced(os, environ=os.environ | {"LOCAL_RANK": "1"}):
        found = [processes.local_device(torch.device(name)) for name in ("cuda", "cpu")]
        assert found == [torch.device("cuda", 1), torch.device("cpu")]
    model = minigpt.GPT2(minigpt.GPT2Config(vocab_size=9, n_positions=8, n_embd=4, n_layer=1, n_head=2))
    seeds = []
    with replaced(loop, DistributedDataParallel=lambda loss_of: loss_of):
        for rank in (0, 1):
            group = processes.Group(rank, 2)
            loop.Run(model, np.arange(9), train.TrainConfig(), train.NextToken(), None, group, False)
            seeds.append(torch.initial_seed())
    assert seeds[0] != seeds[1]


# --- commands --------------------------------------------------------------------------------------------------------


def said(*arguments) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command."""
    main = importlib.import_module("minigpt.commands.main").main
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return code, out.getvalue(), err.getvalue()


@check(
    "prompts",
    "commands.generate",
    "test_command_outcomes.py::test_a_bad_second_prompt_line_or_file_is_found",
)
def _():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "prompts.txt")
        file.write_text("a\n  \nb\n")
        assert "line 2 of" in said("generate", "--file", str(file))[2]
        assert "PROMPT is empty" in said("generate", "a", "")[2]
        tiny_checkpoint(importlib.import_module("minigpt"), folder)
        usual = ["--samples", "2", "--source", folder, "--max-new-tokens", "1", "--device", "cpu"]
        answers = [json.loads(line) for line in said("generate", "some", "text", *usual, "--json")[1].splitlines()]
        code, out, err = said("generate", "some", "text", *usual, "--seed", "1")
    assert [(answer["prompt"], answer["sample"]) for answer in answers] == [
        ("some", 0), ("some", 1), ("text", 0), ("text", 1)
    ]  # fmt: skip
    assert code == 0 and "interrupted" not in out + err and out.count(", sample 2, ") == 2


@check("exit codes", "commands.verify", "test_cli.py::test_verify_names_the_layer_of_a_bug")
def _():
    verify = importlib.import_module("minigpt.commands.verify")
    found = dict(load_model=lambda *_: None, verify=lambda *_: [], first_place=lambda _: None)
    for meaning, code in [(None, 0), ("bug", 1)]:
        with replaced(verify, verdict=lambda _, meaning=meaning: meaning, **found):
            assert said("verify", "--json", "--device", "cpu")[0] == code
