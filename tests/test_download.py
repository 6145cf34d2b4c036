"""A download that succeeds: which repository is asked, for which files, and where they come to be. A folder stands for
the hub; the patterns are applied by huggingface_hub itself."""

import inspect
import shutil

import huggingface_hub
import pytest
import torch
from command_line import run
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file

from minigpt import GPT2, GPT2Config, Tokenizer, load_model, load_tokenizer, save_model
from minigpt.checkpoints import HUB_NAMES, CheckpointError, find, find_checkpoint

NOT_NEEDED = (
    "README.md", ".gitattributes", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.onnx", "model.gguf",
    "spiece.model", "training_args.bin", "optimizer.pt", "consolidated.00.pth", "onnx/config.json",
)  # fmt: skip
TOKENIZER = {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"}
BESIDE = {"special_tokens_map.json", "added_tokens.json", "generation_config.json", "vocab.txt"}
WEIGHTS = {
    "model.safetensors": {"model.safetensors"},
    "shards": {"model.safetensors.index.json", *(f"model-0000{n}-of-00002.safetensors" for n in (1, 2))},
    "pytorch_model.bin": {"pytorch_model.bin"},
    "pickled shards": {"pytorch_model.bin.index.json", *(f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2))},
}


class Hub:
    """Repositories that lie in folders; each request is noted."""

    def __init__(self, root):
        self.root, self.asked = root, []

    def snapshot_download(self, *arguments, **named):
        given = inspect.signature(self.real).bind(*arguments, **named).arguments
        assert given.keys() <= {"repo_id", "local_dir", "allow_patterns"}
        repository, folder, patterns = given["repo_id"], given.get("local_dir"), given["allow_patterns"]
        self.asked.append((repository, folder))
        folder = self.root / "cache" / repository if folder is None else folder
        here = self.root / "hub" / repository
        names = [str(file.relative_to(here)) for file in here.rglob("*") if file.is_file()]
        for name in filter_repo_objects(names, allow_patterns=patterns):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here / name, folder / name)
        return str(folder)

    real = staticmethod(huggingface_hub.snapshot_download)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    return hub


def put_on(hub, repository, layout, without=()):
    """A repository with weights in this layout, its tokenizer, and files of other programs."""
    folder = hub.root / "hub" / repository
    torch.manual_seed(0)
    model = GPT2(GPT2Config(vocab_size=260, n_positions=8, n_embd=8, n_layer=2, n_head=2)).eval()
    save_model(model, folder, Tokenizer.train(["some text"], 260))
    if layout != "model.safetensors":
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        size = "12KB" if "shards" in layout else "1GB"
        kind = dict(safe_serialization="pickled" not in layout and "pytorch" not in layout)
        pattern = "model{suffix}.safetensors" if kind["safe_serialization"] else "pytorch_model{suffix}.bin"
        huggingface_hub.save_torch_state_dict(tensors, folder, max_shard_size=size, filename_pattern=pattern, **kind)
    for name in NOT_NEEDED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("of another program")
    for name in ("special_tokens_map.json", "added_tokens.json", "generation_config.json"):
        (folder / name).write_text("{}")
    (folder / "vocab.txt").write_text("a\n")
    for name in without:
        (folder / name).unlink()
    return model


@pytest.mark.parametrize("name", ["gpt2", "bert-base-uncased", "somebody/their-model_2.0"])
@pytest.mark.parametrize("layout", WEIGHTS)
def test_what_is_needed_is_fetched_into_the_weights_folder(hub, capsys, layout, name):
    repository = HUB_NAMES.get(name, name)
    model, folder = put_on(hub, repository, layout), hub.root / "weights" / name
    code, out, err = run(capsys, "download", name)
    assert (code, out, err) == (0, f"{folder}\n", "")
    assert {file.name for file in folder.iterdir()} == {"config.json"} | TOKENIZER | BESIDE | WEIGHTS[layout]
    # Pickles are asked for where there is nothing else, and from the same repository.
    assert hub.asked == [(repository, folder)] * (2 if layout in ("pytorch_model.bin", "pickled shards") else 1)
    again, expected = load_model(name).state_dict(), model.state_dict()
    assert all(torch.equal(again[key], expected[key]) for key in expected)
    assert load_tokenizer(name).encode("some text") == Tokenizer.load(folder).encode("some text")
    assert len(hub.asked) <= 2, "it is on disk, and was asked for again"


@pytest.mark.parametrize("layout", ["model.safetensors", "shards"])
def test_where_there_are_safetensors_no_pickle_is_fetched(hub, layout):
    put_on(hub, "a/b", layout)
    (hub.root / "hub" / "a/b" / "pytorch_model.bin").write_text("the same weights again")
    assert "pytorch_model.bin" not in {file.name for file in find_checkpoint("a/b").iterdir()} and len(hub.asked) == 1


def test_from_a_wheel_the_hubs_own_cache_is_the_folder(hub, capsys, monkeypatch):
    monkeypatch.setattr(find, "download_folder", lambda: None)
    put_on(hub, "openai-community/gpt2", "model.safetensors")
    code, out, _ = run(capsys, "download", "gpt2")
    assert code == 0 and out == f"{hub.root / 'cache' / 'openai-community/gpt2'}\n"
    assert hub.asked == [("openai-community/gpt2", None)] and not (hub.root / "weights").exists()


def test_the_weights_folder_may_be_named_from_home(hub, monkeypatch):
    monkeypatch.setenv("HOME", str(hub.root / "home"))
    monkeypatch.setenv("MINIGPT_WEIGHTS", "~/weights")
    put_on(hub, "a/b", "model.safetensors")
    assert find_checkpoint("a/b") == hub.root / "home" / "weights" / "a/b" == find_checkpoint("a/b")
    assert len(hub.asked) == 1


def test_a_repository_without_weights_is_named(hub, capsys):
    put_on(hub, "a/b", "model.safetensors", without=["model.safetensors"])
    code, out, err = run(capsys, "generate", "a", "--source", "a/b")
    assert code == 2 and out == "" and "the download of a/b brought none of model.safetensors, " in err
    with pytest.raises(CheckpointError, match=f"Looked for 'a/b' in {hub.root / 'weights'}"):
        find_checkpoint("a/b")
