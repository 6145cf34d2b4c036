"""Every layout that people have on disk loads, a broken file is refused with its name, and a save that is interrupted
leaves the old checkpoint or the new one."""

import argparse
import json
import os
import pickle
import random
import resource
import shutil
import subprocess
import sys
import textwrap

import pytest
import torch
import transformers
from huggingface_hub import save_torch_state_dict
from oracle import hugging_face, pair, random_config
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from minigpt import Tokenizer, load_model, load_tokenizer, save_model
from minigpt.checkpoints import CheckpointError
from minigpt.checkpoints.files import CHECKSUMS, COMPANIONS, SETTINGS
from minigpt.checkpoints.names import NAMES

SEED = 3


@pytest.fixture
def ours():
    return pair(SEED, torch.float32)[0]


@pytest.fixture
def folder(ours, tmp_path):
    save_model(ours, tmp_path)
    return tmp_path


def same_model(a, b) -> bool:
    states = a.state_dict(), b.state_dict()
    return a.config == b.config and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# --- what people have on disk ---------------------------------------------------------------------------------------


def shard(folder, n=3):
    """Cut model.safetensors into n files with an index, as large checkpoints are published."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shard_of = {name: f"model-{1 + i % n:05}-of-{n:05}.safetensors" for i, name in enumerate(names)}
    for file in set(shard_of.values()):
        save_file({name: tensors[name] for name in names if shard_of[name] == file}, folder / file)
    index = {"metadata": {}, "weight_map": shard_of}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return index


def test_shards_load(ours, folder):
    shard(folder)
    assert same_model(load_model(folder), ours)


def test_transformers_own_shards_load(tmp_path):
    theirs = hugging_face(random_config(SEED), SEED, torch.float32)
    theirs.save_pretrained(tmp_path, max_shard_size="10KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    assert load_model(tmp_path).config.n_layer == theirs.config.n_layer


def shard_pickles(folder):
    """Put the weights into pickles with an index, as large checkpoints were published; return the shards."""
    save_torch_state_dict(
        load_file(folder / "model.safetensors"), folder, filename_pattern="pytorch_model{suffix}.bin",
        safe_serialization=False, max_shard_size="10KB",
    )  # fmt: skip
    (folder / "model.safetensors").unlink()
    assert (folder / "pytorch_model.bin.index.json").is_file() and not (folder / "pytorch_model.bin").is_file()
    return sorted(folder.glob("pytorch_model-*.bin"))


def test_shards_that_are_pickles_load_as_in_transformers(ours, folder):
    assert len(shard_pickles(folder)) >= 3
    assert same_model(load_model(folder), ours)
    theirs, tokens = transformers.GPT2LMHeadModel.from_pretrained(folder).eval(), torch.arange(8)[None]
    with torch.no_grad():
        assert torch.allclose(ours(tokens), theirs(tokens).logits, atol=1e-4)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_of_two_layouts_the_safer_and_the_whole_one_counts(ours, folder, kind):
    """As in transformers: safetensors before pickles, one file before an index of shards."""
    tensors = load_file(folder / "model.safetensors")
    for shard in shard_pickles(folder):  # an older model's, with other numbers
        torch.save({name: tensor + 1 for name, tensor in torch.load(shard).items()}, shard)
    if kind == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert same_model(load_model(folder), ours)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: {"model": t},
        lambda t: {"state_dict": t, "epoch": 3},
        lambda t: {"module": t, "ds_version": "0.14", "global_steps": 7},  # DeepSpeed
        lambda t: {"state_dict": {f"model.{name}": tensor for name, tensor in t.items()}, "hyper_parameters": {"a": 1}},
    ],
)
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_pickled_tensors_load(ours, folder, wrap, prefix):
    tensors = {prefix + name: tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    torch.save(wrap(tensors), folder / "pytorch_model.bin")
    assert same_model(load_model(folder), ours)


# --- what is refused -------------------------------------------------------------------------------------------------


class Bomb:
    """An object that makes a file when an unsafe unpickler reads it."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


def test_code_in_a_pickle_does_not_run(folder, tmp_path):
    trap = tmp_path / "sprung"
    (folder / "model.safetensors").unlink()
    for content in (pickle.dumps(Bomb(trap)), pickle.dumps({"wte.weight": Bomb(trap)})):
        (folder / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(CheckpointError, match="pytorch_model.bin"):
            load_model(folder)
    torch.save({"wte.weight": Bomb(trap)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pytorch_model.bin"):
        load_model(folder)
    assert not trap.exists()


def test_code_in_the_second_shard_does_not_run(ours, folder, tmp_path):
    trap, shards = tmp_path / "sprung", shard_pickles(folder)
    assert same_model(load_model(folder), ours)
    tensors = torch.load(shards[1])
    for content in (pickle.dumps(Bomb(trap)), None):
        if content is None:
            torch.save(tensors | {"x": Bomb(trap)}, shards[1])
        else:
            shards[1].write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{shards[1].name} "):
            load_model(folder)
    assert not trap.exists()


def test_a_file_with_more_than_tensors_is_refused_with_what_it_holds(folder):
    """PyTorch Lightning writes the settings of a run beside the weights, often as a Namespace."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({"state_dict": tensors, "hyper_parameters": argparse.Namespace(rate=1e-3)}, folder / "pytorch_model.bin")
    words = r"pytorch_model.bin holds more than tensors: argparse.Namespace. .*torch.save\(model.state_dict\(\)"
    with pytest.raises(CheckpointError, match=words):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x04.", pickle.dumps(3), pickle.dumps({"a": 1})])
def test_pickles_without_tensors_are_refused(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match="pytorch_model.bin"):
        load_model(folder)


def broken(change, words):
    return pytest.param(change, words, id=words[:40])


@pytest.mark.parametrize(
    "change, words",
    [
        broken(lambda data: b"", "is empty"),
        broken(lambda data: b"\0" * 100, "broken, or not safetensors"),
        broken(lambda data: data[:-10], "file not fully covered"),
        broken(lambda data: data + b"0123", "file not fully covered"),
        broken(lambda data: (2**40).to_bytes(8, "little") + data[8:], "broken, or not safetensors.*[Hh]eader"),
        broken(lambda data: (len(data) + 9).to_bytes(8, "little") + data[8:], "[Hh]eader"),
        broken(lambda data: data[:7], "broken, or not safetensors"),
        broken(lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs pointer"),
    ],
)
def test_broken_files_are_refused(folder, change, words):
    file = folder / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(CheckpointError, match=words) as error:
        load_model(folder)
    assert str(file) in str(error.value)


def edit_index(folder, change):
    index = shard(folder)
    change(index["weight_map"])
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "change, words",
    [
        broken(lambda shard_of: shard_of.update(x="../model.safetensors"), r"'../model.safetensors' leaves the folder"),
        broken(lambda shard_of: shard_of.update(x="/etc/passwd"), "leaves the folder"),
        broken(lambda shard_of: shard_of.update(x=".."), "leaves the folder"),
        broken(lambda shard_of: shard_of.update(x="model-9.safetensors"), "model-9.safetensors is missing"),
        broken(lambda shard_of: shard_of.update(x="model-00001-of-00003.safetensors"), "tensor x is missing from"),
        broken(lambda shard_of: shard_of.popitem(), "the index has it in None"),
        broken(lambda shard_of: shard_of.update(x=3), '"weight_map" from tensor names to files'),
    ],
)
def test_broken_indices_are_refused(folder, change, words):
    edit_index(folder, change)
    with pytest.raises(CheckpointError, match=words):
        load_model(folder)


PICKLED = [
    # what is done to the second shard, and to the index
    broken(lambda shard, index: shard.unlink(), "pytorch_model-00002-.* is missing"),
    broken(lambda shard, index: shard.write_bytes(b""), "pytorch_model-00002-.* is empty"),
    broken(
        lambda shard, index: shard.write_bytes(shard.read_bytes()[:-50]), "pytorch_model-00002-.* is broken, or not a"
    ),
    broken(lambda shard, index: shard.write_text("version https://git-lfs.github.com/spec/v1"), "git-lfs pointer"),
    broken(lambda shard, index: torch.save([1], shard), "expected a dictionary of tensors, found list"),
    broken(lambda shard, index: torch.save({"x": torch.ones(1)}, shard), "tensor x is in .*, the index has it in None"),
    broken(
        lambda shard, index: torch.save(dict(list(torch.load(shard).items())[1:]), shard), "is missing from pytorch"
    ),
    broken(lambda shard, index: index["weight_map"].update(x="../pytorch_model.bin"), "'../pytorch_model.bin' leaves"),
    broken(lambda shard, index: index["weight_map"].update(x="pytorch_model.bin.index.json"), "or not safetensors"),
    broken(lambda shard, index: index.pop("weight_map"), '"weight_map" from tensor names to files'),
]


@pytest.mark.parametrize("change, words", PICKLED)
def test_broken_shards_that_are_pickles_are_refused(ours, folder, change, words):
    second, file = shard_pickles(folder)[1], folder / "pytorch_model.bin.index.json"
    assert same_model(load_model(folder), ours)
    index = json.loads(file.read_text())
    change(second, index)
    file.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=words):
        load_model(folder)


def test_one_key_in_two_shards_is_refused(folder):
    index = shard(folder)
    name, file = next(iter(index["weight_map"].items()))
    other = next(f for f in index["weight_map"].values() if f != file)
    tensors = load_file(folder / other) | {name: load_file(folder / file)[name]}
    save_file(tensors, folder / other)
    with pytest.raises(CheckpointError, match=f"{name} is in"):
        load_model(folder)


# --- what a save remembers -------------------------------------------------------------------------------------------


def header_of(folder):
    with safe_open(folder / "model.safetensors", framework="pt") as opened:
        return opened.metadata()


def test_a_flipped_bit_is_noticed_and_named(folder):
    tensors, header = load_file(folder / "model.safetensors"), header_of(folder)
    name = "transformer.h.0.attn.c_proj.weight"
    tensors[name].view(torch.int32)[0, 0] ^= 1
    save_file(tensors, folder / "model.safetensors", metadata=header)
    with pytest.raises(CheckpointError, match=f"tensor {name} has changed since it was saved: SHA-256 .*, expected"):
        load_model(folder)


def test_a_transposed_square_matrix_is_noticed(folder):
    tensors, header = load_file(folder / "model.safetensors"), header_of(folder)
    name = "transformer.h.0.attn.c_proj.weight"
    tensors[name] = tensors[name].T.contiguous()
    save_file(tensors, folder / "model.safetensors", metadata=header)
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


@pytest.mark.parametrize(
    "field, value",
    [
        ("n_head", 1),
        ("layer_norm_epsilon", 1e-4),
        ("activation_function", "quick_gelu"),
        ("scale_attn_by_inverse_layer_idx", "flip"),
        ("scale_attn_weights", "flip"),
    ],
)
def test_settings_that_leave_no_trace_in_the_shapes_are_noticed(field, value, folder):
    config = json.loads((folder / "config.json").read_text())
    config[field] = not config[field] if value == "flip" else value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"config.json: {field} is .*, but the weights were saved with"):
        load_model(folder)


def test_settings_that_change_no_number_may_be_edited(ours, folder):
    config = json.loads((folder / "config.json").read_text())
    assert config.keys() > NAMES["gpt2"].not_settings
    config |= {"attn_pdrop": 0.3, "eos_token_id": 1, "use_cache": False, "_my_note": "hello"}
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(folder).config.attn_pdrop == 0.3


DEEP = "[" * 100_000 + "]" * 100_000  # JSON; Python's reader gives up with a RecursionError


@pytest.mark.parametrize(
    "value", ["{", "[]", DEEP, '{"n": ' + DEEP + "}"], ids=["half", "a list", "deep", "deep field"]
)
@pytest.mark.parametrize("key", [CHECKSUMS, SETTINGS, COMPANIONS])
def test_a_damaged_header_is_refused(folder, key, value):
    tensors, header = load_file(folder / "model.safetensors"), header_of(folder)
    save_file(tensors, folder / "model.safetensors", metadata=header | {key: value})
    (folder / "config.json.new").write_text("{}")  # else nobody asks for the companions
    with pytest.raises(CheckpointError, match=f"header's {key} is damaged"):
        load_model(folder)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_json_nested_100000_deep_is_refused(folder, file):
    Tokenizer.train(["some text"], 260).save(folder)
    (folder / file).write_text('{"a": ' + DEEP + "}")
    with pytest.raises(ValueError, match=f"{file} .*JSON"):
        (load_tokenizer if "tokenizer" in file else load_model)(folder)


def test_a_header_of_safetensors_nested_100000_deep_is_refused(folder):
    header = ('{"a": ' + DEEP + "}").encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="broken, or not safetensors"):
        load_model(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_weights_whose_sum_overflows_are_saved_and_loaded(dtype, ours, folder):
    ours.to(dtype)
    with torch.no_grad():
        ours.blocks[0].mlp.up.weight.fill_(torch.finfo(dtype).max)
    assert ours.blocks[0].mlp.up.weight.sum().isinf()
    save_model(ours, folder)
    assert same_model(load_model(folder, dtype=dtype), ours)


def test_a_loaded_model_does_not_change_with_its_file(folder):
    """safetensors gives a view of the file, which another program may write."""
    model = load_model(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with open(folder / "model.safetensors", "r+b") as file:  # in place, without a new file
        n = file.seek(0, os.SEEK_END)
        file.seek(8)
        file.write(bytes(n - 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_with_nan_is_not_saved_over_a_good_one(ours, folder):
    with torch.no_grad():
        ours.blocks[0].mlp.up.weight[0, 0] = torch.nan
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ValueError, match="blocks.0.mlp.up.weight holds nan"):
        save_model(ours, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_file_may_have_another_dtype_than_the_model(dtype, ours, folder):
    save_model(ours, folder, file_dtype=dtype)
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {dtype}
    rounded = {name: tensor.to(dtype).float() for name, tensor in ours.state_dict().items()}
    ours.load_state_dict(rounded)
    assert same_model(load_model(folder), ours)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)  # by config.json's dtype
    assert theirs.dtype == torch.float32
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        assert torch.allclose(ours(tokens), theirs(tokens).logits, atol=1e-4)


def test_a_weight_too_large_for_the_file_is_refused(ours, folder):
    with torch.no_grad():
        ours.blocks[1].mlp.up.weight[0, 0] = 1e5
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ValueError, match=r"blocks.1.mlp.up.weight holds nan or inf as torch.float16"):
        save_model(ours, folder, file_dtype=torch.float16)
    for wrong in (torch.int8, "float16", 16):
        with pytest.raises(ValueError, match="file_dtype must be a floating point dtype"):
            save_model(ours, folder, file_dtype=wrong)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    save_model(ours, folder, file_dtype=torch.bfloat16)


def test_single_byte_mutations_never_give_a_wrong_model(ours, folder, full):
    """Header and data of a saved file, a byte at a time: a typed error, or the very same model."""
    file = folder / "model.safetensors"
    data = file.read_bytes()
    header_end = 8 + int.from_bytes(data[:8], "little")
    rng = random.Random(0)
    refused = 0
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n_mutations = 2000 if full else 400
    for number in range(n_mutations):
        position = rng.randrange(header_end) if number % 2 else rng.randrange(header_end, len(data))
        mutated = bytearray(data)
        mutated[position] ^= rng.randrange(1, 256)
        file.write_bytes(mutated)
        try:
            loaded = load_model(folder)
        except CheckpointError:
            refused += 1
        else:
            assert same_model(loaded, ours), f"byte {position}: {data[position]} -> {mutated[position]}"
    kilobytes = 1024 if sys.platform == "darwin" else 1  # ru_maxrss is in bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak - peak_before < 50_000 * kilobytes, "memory was reserved for a size that a mutated header claims"
    assert refused > 0.9 * n_mutations


# --- a save that dies ------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_at_any_byte_leaves_the_old_checkpoint(ours, folder, full):
    other = pair(SEED + 1, torch.float32, vocab_size=264)[0]
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    tokenizer = Tokenizer.train(["some text"], 270)
    size = (folder / "model.safetensors").stat().st_size
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    stages = [0, 1, 100, 400, 1000, 3000, 9000, *range(20_000, size, size // (40 if full else 8))]
    for limit in stages:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old_limit[1]))
        try:
            with pytest.raises(OSError):
                save_model(other, folder, tokenizer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before, f"limit {limit}"
    assert same_model(load_model(folder), ours)
    save_model(other, folder, tokenizer)
    assert same_model(load_model(folder), other) and load_tokenizer(folder).merges == tokenizer.merges


KILLED_SAVES = """
    import os, random, signal, sys, time
    import torch
    torch.set_num_threads(1)
    from minigpt import load_model, load_tokenizer, save_model

    folders, target, kills = sys.argv[1:3], sys.argv[3], int(sys.argv[4])
    models = [load_model(folder) for folder in folders]
    tokenizers = [load_tokenizer(folder) for folder in folders]
    start = time.perf_counter()
    save_model(models[0], target, tokenizers[0])
    one_save = time.perf_counter() - start
    rng = random.Random(0)
    seen = []
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            while True:  # alternate, so that every save changes the config, the weights and the tokenizer
                for model, tokenizer in zip(models, tokenizers):
                    save_model(model, target, tokenizer)
        time.sleep(rng.uniform(0.2, 6) * one_save)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loaded, words = load_model(target), load_tokenizer(target)
        which = [model.config == loaded.config for model in models].index(True)
        state = models[which].state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in loaded.state_dict().items())
        assert words.merges == tokenizers[which].merges
        seen.append(which)
    print("unloadable 0 of", kills, "old and new both seen:", len(set(seen)) == 2)
"""


def test_kill_9_at_any_moment_leaves_the_old_checkpoint_or_the_new_one(tmp_path, full):
    for number, words in enumerate(["some text", "another story"]):
        model = pair(SEED + number, torch.float32, n_embd=96, n_head=4, vocab_size=264 + 40 * number)[0]
        save_model(model, tmp_path / str(number), Tokenizer.train([words], 270))
    arguments = [str(tmp_path / name) for name in ("0", "1", "target")]
    kills = 60 if full else 25
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_SAVES), *arguments, str(kills)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"unloadable 0 of {kills} old and new both seen: True" in done.stdout


def test_a_save_that_died_after_its_weights_were_in_place_is_finished(ours, folder, tmp_path_factory):
    new_folder = tmp_path_factory.mktemp("new")
    tokenizer = Tokenizer.train(["some text"], 270)
    new = pair(SEED + 1, torch.float32, vocab_size=264)[0]
    save_model(new, new_folder, tokenizer)
    shutil.copy(new_folder / "model.safetensors", folder)  # the weights are in place, the other files not yet
    for name in ("config.json", "vocab.json", "merges.txt"):
        shutil.copy(new_folder / name, folder / f"{name}.new")
    assert same_model(load_model(folder), new)
    assert load_tokenizer(folder).merges == tokenizer.merges
    assert not list(folder.glob("*.new"))


def test_a_save_that_died_before_it_deleted_a_file_is_finished(folder, tmp_path_factory):
    """Another tokenizer's files were in the folder: after the save they would be a second tokenizer."""
    new_folder = tmp_path_factory.mktemp("new")
    (folder / "vocab.txt").write_text("a\n")
    shutil.copytree(folder, new_folder, dirs_exist_ok=True)
    tokenizer = Tokenizer.train(["some text"], 270)
    save_model(pair(SEED + 1, torch.float32, vocab_size=264)[0], new_folder, tokenizer)
    assert not (new_folder / "vocab.txt").exists()
    shutil.copy(new_folder / "model.safetensors", folder)
    for name in tokenizer.files():
        shutil.copy(new_folder / name, folder / f"{name}.new")
    assert load_tokenizer(folder).merges == tokenizer.merges and not (folder / "vocab.txt").exists()


@pytest.mark.parametrize(
    "content, is_kept",
    [
        ('{"eos_token_id": 5, "temperature": 0.6}', True),
        ('{"eos_token_id": [5], "bos_token_id": 6}', True),
        ('{"temperature": 0.6}', True),
        ('{"eos_token_id": 7}', False),
        ('{"eos_token_id": 5, "bos_token_id": 7}', False),
        ('{"eos_token_id": [5, 7]}', False),
        ("{", False),
        ("[5]", False),
    ],
)
def test_how_to_generate_is_kept_where_it_is_the_models(folder, content, is_kept):
    """What cannot be read, or names other ids, is another model's: transformers would end texts by it."""
    model = pair(SEED, torch.float32, eos_token_id=5, bos_token_id=6)[0]
    (folder / "generation_config.json").write_text(content)
    save_model(model, folder)
    assert (folder / "generation_config.json").exists() == is_kept
    assert load_model(folder).config == model.config


def test_leftovers_of_a_save_that_never_counted_are_ignored(ours, folder):
    (folder / "config.json.new").write_text('{"model_type": "gpt2"}')
    (folder / "model.safetensors.new").write_bytes(b"half")
    assert same_model(load_model(folder), ours)
    save_model(ours, folder)
    assert not list(folder.glob("*.new"))


@pytest.mark.parametrize("umask", [0o022, 0o027, 0])
def test_saved_weights_can_be_read_by_those_whom_the_umask_lets(umask, ours, folder):
    before = os.umask(umask)
    try:
        save_model(ours, folder)
        assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
        assert os.umask(umask) == umask, "a save has changed it for the files that come after it"
    finally:
        os.umask(before)
