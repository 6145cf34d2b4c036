"""Where a checkpoint is found: in the hub's own cache without a network, whatever program has filled it; a path that
is mistyped is an error at once, and never a name on the hub."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from oracle import hugging_face, random_config
from safetensors.torch import load_file, save_file

from minigpt import load_model, load_tokenizer
from minigpt.checkpoints import HUB_NAMES, CheckpointError, find_checkpoint, on_disk
from minigpt.checkpoints.files import CONFIG_FILE, GENERATION_FILE, WEIGHTS_FILE


@pytest.fixture(scope="module")
def published(tmp_path_factory, tiny_tokenizer):
    """A model with its tokenizer, as a repository on the hub holds them."""
    folder = tmp_path_factory.mktemp("published")
    theirs = hugging_face(random_config(3, vocab_size=tiny_tokenizer.vocab_size), 3, torch.float32)
    theirs.save_pretrained(folder)
    tiny_tokenizer.save(folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and no way to the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    return tmp_path / "hub"


def no_network(*args, **settings):
    raise AssertionError(f"the hub is asked: {args}, {settings}")


def put(cache: Path, repository: str, folder: Path, without=(), revision="0123456789abcdef") -> Path:
    """Lay a folder's files out as huggingface_hub does: blobs, and a snapshot of links to them."""
    root = cache / f"models--{repository.replace('/', '--')}"
    for name in ("refs", "blobs", f"snapshots/{revision}"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(revision)
    for file in folder.iterdir():
        if file.name not in without:
            shutil.copy(file, root / "blobs" / f"blob-{file.name}")
            (root / "snapshots" / revision / file.name).symlink_to(f"../../blobs/blob-{file.name}")
    return root / "snapshots" / revision


def shards(folder: Path, new: Path) -> Path:
    """A copy of a folder with its weights in two shards."""
    shutil.copytree(folder, new)
    tensors = load_file(new / WEIGHTS_FILE)
    names = sorted(tensors)
    shard_of = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(shard_of.values()):
        save_file({name: tensors[name] for name in names if shard_of[name] == shard}, new / shard)
    (new / f"{WEIGHTS_FILE}.index.json").write_text(json.dumps({"weight_map": shard_of}))
    (new / WEIGHTS_FILE).unlink()
    return new


# --- the hub's own cache ---------------------------------------------------------------------------------------------

# The name that is given, and the repository under which a program has cached it.
IN_CACHE = [
    ("gpt2", "openai-community/gpt2"),
    ("gpt2", "gpt2"),  # transformers' own old name
    ("openai-community/gpt2", "openai-community/gpt2"),
    ("google/flan-t5-small", "google/flan-t5-small"),
    ("somebody/their-model_2.0", "somebody/their-model_2.0"),
    ("bert-base-chinese", "bert-base-chinese"),
]


@pytest.mark.parametrize("name, repository", IN_CACHE)
def test_a_name_is_found_in_the_hubs_cache_without_a_network(cache, published, name, repository):
    assert on_disk(name) is None
    there = put(cache, repository, published)
    assert on_disk(name) == find_checkpoint(name) == there
    expected = load_model(published).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in load_model(name).state_dict().items())
    assert load_tokenizer(name).encode("a test") == load_tokenizer(published).encode("a test")
    assert on_disk(Path(name)) is None  # a path is no name


def test_a_weights_folder_comes_before_the_cache(cache, published, tmp_path, monkeypatch):
    put(cache, "openai-community/gpt2", published)
    shutil.copytree(published, tmp_path / "weights" / "gpt2")
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    assert find_checkpoint("gpt2") == tmp_path / "weights" / "gpt2"


BOTH = """
import torch, transformers, minigpt
theirs = transformers.AutoModelForCausalLM.from_pretrained("openai-community/gpt2").eval()
ours, tokens = minigpt.load_model("gpt2"), torch.arange(12)[None]
with torch.no_grad():
    assert torch.allclose(ours(tokens), theirs(tokens).logits, atol=1e-4)
"""


@pytest.mark.parametrize(
    "variable, code", [("HF_HOME", BOTH), ("HF_HUB_CACHE", 'import minigpt; minigpt.load_tokenizer("gpt2")')]
)
def test_the_variables_of_the_hub_are_obeyed_and_transformers_finds_the_same(variable, code, published, tmp_path):
    put(tmp_path / "hub", "openai-community/gpt2", published)
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_HOME", "HF_HUB_CACHE")}
    environment[variable] = str(tmp_path if variable == "HF_HOME" else tmp_path / "hub")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_download_that_was_interrupted_is_no_checkpoint(cache, published, tmp_path, monkeypatch):
    """Without its weights, or without its second shard: the hub is asked for the rest."""
    put(cache, "openai-community/gpt2", published, without=[WEIGHTS_FILE])
    cut = shards(published, tmp_path / "sharded")
    put(cache, "google/flan-t5-small", cut, without=["model-00002-of-00002.safetensors"])
    whole = put(cache, "distilbert/distilgpt2", cut)
    assert on_disk("gpt2") is None and on_disk("google/flan-t5-small") is None and on_disk("distilgpt2") == whole
    for name in ("gpt2", "google/flan-t5-small"):
        with pytest.raises(AssertionError, match=f"the hub is asked.*{HUB_NAMES[name]}"):
            find_checkpoint(name)
    # In a weights folder, too.
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    shutil.copytree(cut, tmp_path / "weights" / "t5-small")
    (tmp_path / "weights" / "t5-small" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(AssertionError, match="the hub is asked.*google-t5/t5-small"):
        find_checkpoint("t5-small")


def test_a_path_whose_second_shard_is_missing_names_the_shard(published, tmp_path):
    folder = shards(published, tmp_path / "mine")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002.safetensors is missing"):
        load_model(folder)


def test_the_tokenizer_of_a_cached_name_needs_no_weights(cache, published):
    """transformers' AutoTokenizer leaves a snapshot without config.json and without weights."""
    put(cache, "google/flan-t5-small", published, without=[WEIGHTS_FILE, CONFIG_FILE])
    assert load_tokenizer("google/flan-t5-small").encode("a test") == load_tokenizer(published).encode("a test")


def test_a_cached_model_without_its_tokenizer_is_completed_in_the_cache(cache, published, monkeypatch):
    """transformers' AutoModel leaves a snapshot without a tokenizer."""
    tokenizer = {file.name for file in published.iterdir()} - {CONFIG_FILE, WEIGHTS_FILE, GENERATION_FILE}
    there = put(cache, "openai-community/gpt2", published, without=tokenizer)
    assert find_checkpoint("gpt2") == there
    asked = []

    def snapshot_download(repository, local_dir=None, allow_patterns=None):
        asked.append((repository, local_dir))
        for name in tokenizer:
            shutil.copy(published / name, there)
        return str(there)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    for _ in range(2):  # the second time nothing is missing
        assert load_tokenizer("gpt2").encode("a test") == load_tokenizer(published).encode("a test")
        assert asked == [("openai-community/gpt2", None)]


def test_sharded_pickles_are_downloaded_whole(cache, published, tmp_path, monkeypatch):
    """A repository from before safetensors: its index and its shards are asked for when there are no others."""
    from fnmatch import fnmatch

    hub = tmp_path / "on the hub"
    shutil.copytree(published, hub, ignore=lambda *_: [WEIGHTS_FILE])
    huggingface_hub.save_torch_state_dict(
        load_file(published / WEIGHTS_FILE), hub, safe_serialization=False, max_shard_size="100KB",
        filename_pattern="pytorch_model{suffix}.bin",
    )  # fmt: skip
    assert (hub / "pytorch_model.bin.index.json").is_file()

    def snapshot_download(repository, local_dir=None, allow_patterns=None):
        local_dir.mkdir(parents=True, exist_ok=True)
        for file in hub.iterdir():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copy(file, local_dir)
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    expected = load_model(published).state_dict()
    ours = load_model("somebody/old-model")
    assert all(torch.equal(tensor, expected[key]) for key, tensor in ours.state_dict().items())


@pytest.mark.parametrize("error", [huggingface_hub.errors.HTTPError("proxy refused"), OSError("no route")])
def test_an_error_of_the_network_says_what_to_do(cache, monkeypatch, error):
    """The package for HTTP is huggingface_hub's choice (requests, httpx, httpx2): none of them is imported here."""

    def snapshot_download(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setitem(sys.modules, "httpx", None)  # importing it fails
    with pytest.raises(CheckpointError, match=rf"could not download openai-community/gpt2 \({error}\).*HF_ENDPOINT"):
        find_checkpoint("gpt2")


def test_a_download_without_weights_says_so(cache, published, tmp_path, monkeypatch):
    """Offline, huggingface_hub returns a cached snapshot also where the weights are not in it."""
    there = put(cache, "openai-community/gpt2", published, without=[WEIGHTS_FILE])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(there))
    with pytest.raises(CheckpointError, match="openai-community/gpt2 brought none of .*or could not be asked"):
        find_checkpoint("gpt2")


# --- paths -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(cache, published, tmp_path, monkeypatch):
    """A working directory with runs/book, which is a checkpoint, and a path to it; the hub must not be asked."""
    folder = tmp_path / "here"
    shutil.copytree(published, folder / "runs" / "book")
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    return folder


GOOD = ["runs/book", "./runs/book", "{here}/runs/book", "../here/runs/book", "~/runs/book", Path("runs/book")]


@pytest.mark.parametrize("source", GOOD, ids=str)
def test_a_path_is_found(here, source):
    source = source.format(here=here) if isinstance(source, str) else source
    assert find_checkpoint(source).samefile(here / "runs" / "book")


# A source, and the name that is similar.
MISTYPED = [
    ("runs/boook", "runs/book"),  # the form of owner/name
    ("./runs/boook", "./runs/book"),
    ("../here/runs/boook", "../here/runs/book"),
    ("{here}/runs/boook", "{here}/runs/book"),
    ("~/runs/boook", "~/runs/book"),
    ("runs/boook/", "runs/book"),
    ("./emptyy", "./empty"),
    ("runs/somethingelse", None),
    ("./runss/book", None),
    ("/nowhere/at/all", None),
    ("~nobody-of-this-name/book", None),
    ("a/b/c", None),
    ("owner/", None),
    ("运行/书", None),
    (Path("runs/boook"), "runs/book"),
    (Path("owner/name"), None),
    (Path("gpt2"), None),
]


@pytest.mark.parametrize("load", [find_checkpoint, load_model, load_tokenizer])
@pytest.mark.parametrize("source, similar", MISTYPED, ids=[str(source) for source, _ in MISTYPED])
def test_a_mistyped_path_is_no_name_on_the_hub(here, load, source, similar):
    source = source.format(here=here) if isinstance(source, str) else source
    with pytest.raises(CheckpointError) as caught:
        load(source)
    message = str(caught.value)
    assert message.startswith(f"there is no folder {source}")
    assert ("Did you mean" in message) == (similar is not None)
    assert similar is None or f"Did you mean {similar.format(here=here)}?" in message
    absolute = str(source).startswith(("/", "~/"))
    assert (f" in {here} or {Path(__file__).parents[1]}" in message) == (not absolute)


def test_the_second_of_two_paths_is_refused_as_the_first(here):
    assert load_model("runs/book").config == load_model(here / "runs" / "book").config
    for wrong in ("runs/boook", "./boook"):
        with pytest.raises(CheckpointError, match=f"there is no folder {wrong}"):
            load_model(wrong)


def test_a_path_may_be_seen_from_the_clones_folder_only(cache, tmp_path, monkeypatch):
    """A notebook runs in notebooks/: weights/ is there one folder above."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="there is no folder weights/tinny .*Did you mean weights/tiny?"):
        find_checkpoint("weights/tinny")


def test_only_folders_are_similar_to_a_folder(here):
    (here / "poems").write_text("a file")
    with pytest.raises(CheckpointError, match="there is no folder ./poemss") as caught:
        find_checkpoint("./poemss")
    assert "Did you mean" not in str(caught.value)


def test_each_name_is_offered_once(cache, published, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    for name in ("gpt2", "mine"):
        shutil.copytree(published, tmp_path / "weights" / name)
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint("gpt17")
    offered = str(caught.value).split("or one of ")[1].split(", ")
    assert len(offered) == len(set(offered)) and {"mine", "tiny", *HUB_NAMES} <= set(offered)


def test_a_damaged_list_of_shards_is_named_and_not_fetched_again(cache, published, tmp_path, monkeypatch):
    """A checkpoint with such a list is there: it is the list that has to be looked at."""
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    folder = shards(published, tmp_path / "weights" / "gpt2")
    for damaged in ("{", "{}", '{"weight_map": {"a": "one.safetensors", "b": 5}}'):
        (folder / f"{WEIGHTS_FILE}.index.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=f"gpt2/{WEIGHTS_FILE}.index.json"):
            load_model("gpt2")


@pytest.mark.parametrize("name", ["google/flan-t5-small", "gpt2", "owner/name"])
def test_a_name_on_the_hub_is_still_asked_for(here, name):
    """Also one of the known names where its owner's folder is here by chance."""
    (here / "google").mkdir()
    (here / "gpt2").mkdir()
    with pytest.raises(AssertionError, match="the hub is asked"):
        find_checkpoint(name)


def test_where_the_owners_folder_is_here_the_error_says_how_to_download(here, published, cache):
    (here / "google").mkdir()
    with pytest.raises(CheckpointError, match="first run python -m minigpt download google/flan-t5-base"):
        find_checkpoint("google/flan-t5-base")
    there = put(cache, "google/flan-t5-base", published)
    assert find_checkpoint("google/flan-t5-base") == there


@pytest.mark.parametrize(
    "source, words",
    [
        ("empty", "empty is not a checkpoint: the folder needs config.json and one of"),
        ("./empty", "empty is not a checkpoint: the folder needs config.json and one of"),
        ("runs/book/config.json", "config.json is a file: give the folder that has config.json and one of"),
        ("runs/book/model.safetensors", "model.safetensors is a file: give the folder"),
    ],
)
def test_what_is_there_and_no_checkpoint_says_what_it_is(here, source, words):
    with pytest.raises(CheckpointError, match=words):
        load_model(source)
