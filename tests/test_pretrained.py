import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from oracle import hugging_face, pair, random_config, relative
from safetensors.torch import load_file, save_file

from minigpt import GPT2, GPT2Config, load_model, load_tokenizer, save_model
from minigpt.checkpoints import CheckpointError, find_checkpoint
from minigpt.checkpoints.names.gpt2 import NAME_TABLE


def their_model(folder, dtype=torch.float64):
    return transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


@pytest.fixture
def folder(tmp_path):
    """A checkpoint written by Hugging Face, every parameter random."""
    hugging_face(random_config(3, tie_word_embeddings=True), 3).save_pretrained(tmp_path)
    return tmp_path


def edit(folder, change):
    """Change the tensors of a checkpoint in place."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder, **changes):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | changes))


@pytest.mark.parametrize("seed", range(6))
@torch.no_grad()
def test_a_hugging_face_folder_loads(seed, tmp_path):
    config = random_config(seed)
    theirs = hugging_face(config, seed)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path, dtype=torch.float64)
    assert not ours.training
    tokens = torch.randint(config.vocab_size, (2, 12))
    assert relative(ours(tokens), theirs(tokens).logits) < 2e-13


@pytest.mark.parametrize("seed", range(6))
@torch.no_grad()
def test_what_we_save_loads_in_both_bit_for_bit(seed, tmp_path):
    ours, _ = pair(seed, torch.float32)
    save_model(ours, tmp_path)
    again = load_model(tmp_path)
    assert again.config == ours.config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    tokens = torch.randint(ours.config.vocab_size, (2, 12))
    assert torch.equal(again(tokens), ours(tokens))
    assert relative(load_model(tmp_path, dtype=torch.float64)(tokens), their_model(tmp_path)(tokens).logits) < 2e-13
    assert not list(tmp_path.glob("*.tmp"))


@torch.no_grad()
def test_tiny_loads_in_transformers_unchanged(tiny_folder):
    tokens = torch.randint(4096, (2, 40), generator=torch.Generator().manual_seed(0))
    ours = load_model("tiny", dtype=torch.float64)
    assert relative(ours(tokens), their_model(tiny_folder)(tokens).logits) < 2e-13
    assert transformers.AutoTokenizer.from_pretrained(tiny_folder)("a test\n")["input_ids"] == load_tokenizer(
        "tiny"
    ).encode("a test\n")


def test_tiny_is_small(tiny_folder):
    parts = ["model.safetensors", "config.json", "vocab.json", "merges.txt"]
    assert sum((tiny_folder / part).stat().st_size for part in parts) <= 12.5e6


def test_the_square_projection_is_transposed_on_the_way(folder):
    """attn.c_proj is (C, C): no shape tells whether it was transposed."""
    theirs = load_file(folder / "model.safetensors")["transformer.h.0.attn.c_proj.weight"]
    ours = load_model(folder, dtype=torch.float64).blocks[0].attention.output.weight
    assert torch.equal(ours, theirs.T) and not torch.equal(ours, theirs)


def test_the_name_table_knows_every_parameter():
    with torch.device("meta"):
        ours = GPT2(GPT2Config(n_layer=1, tie_word_embeddings=False))
    listed = [name for _, names, _ in NAME_TABLE for name in (names if isinstance(names, tuple) else [names]) if name]
    assert sorted(name.format(i=0) for name in listed) == sorted(ours.state_dict())


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "_orig_mod.transformer.", "module._orig_mod.transformer."])
def test_what_compilers_and_trainers_put_in_front_of_names_is_taken_off(folder, prefix):
    before = load_model(folder).state_dict()

    def rename(tensors):
        for name in list(tensors):
            tensors[prefix + name.removeprefix("transformer.")] = tensors.pop(name)

    edit(folder, rename)
    after = load_model(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_one_tensor_under_two_names_is_refused(folder):
    edit(folder, lambda tensors: tensors.update({"ln_f.bias": tensors["transformer.ln_f.bias"].clone()}))
    with pytest.raises(CheckpointError, match="ln_f.bias is there twice"):
        load_model(folder)


def test_names_without_prefix_buffers_and_a_copied_head(folder):
    def as_on_the_hub(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
        tensors["h.0.attn.masked_bias"] = torch.tensor(-1e4)
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()

    before = load_model(folder).state_dict()
    edit(folder, as_on_the_hub)
    after = load_model(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_point_dtype_becomes_float32(folder, dtype):
    edit(folder, lambda tensors: tensors.update({name: t.to(dtype) for name, t in tensors.items()}))
    model = load_model(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert load_model(folder, dtype=torch.bfloat16).token_embedding.weight.dtype == torch.bfloat16


def set_tensor(name, tensor):
    return lambda tensors: tensors.update({name: tensor})


def poison(tensors):
    tensors["transformer.h.0.mlp.c_fc.bias"][3] = torch.nan


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda tensors: tensors.pop("transformer.ln_f.bias"), "ln_f.bias is missing"),
        (set_tensor("transformer.h.9.ln_1.bias", torch.zeros(4)), "n_layer="),
        (set_tensor("transformer.h.0.ln_3.bias", torch.zeros(4)), "unexpected tensor h.0.ln_3.bias"),
        (set_tensor("transformer.wpe.weight", torch.zeros(5, 5)), r"wpe.weight has shape \(5, 5\), expected \("),
        (poison, "h.0.mlp.c_fc.bias holds nan"),
        (lambda t: t.update({n: x.int() for n, x in t.items() if "wte" in n}), "wte.weight holds torch.int32"),
        (set_tensor("lm_head.weight", torch.zeros(3, 3)), "lm_head.weight differs from wte.weight"),
    ],
)
def test_wrong_tensors_are_refused_by_name(folder, change, words):
    edit(folder, change)
    with pytest.raises(CheckpointError, match=words) as error:
        load_model(folder)
    assert "model.safetensors" in str(error.value)


def test_a_missing_head_of_an_untied_model_is_refused(tmp_path):
    hugging_face(random_config(3, tie_word_embeddings=False), 3).save_pretrained(tmp_path)
    edit(tmp_path, lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(CheckpointError, match="lm_head.weight is missing"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model_type": "llama"}, "llama"),
        ({"add_cross_attention": True}, "cross-attention"),
        ({"n_head": 5}, "n_head=5"),
        ({"n_layer": 10**9}, "says n_layer=1000000000"),  # refused before a billion blocks are built
        ({"n_layer": "2"}, "n_layer"),
        ({"activation_function": "xielu"}, "xielu"),
    ],
)
def test_wrong_configs_are_refused(folder, changes, words):
    edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=words) as error:
        load_model(folder)
    assert "config.json" in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_config_that_is_no_json_object_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="config.json"):
        load_model(folder)


def test_weights_are_looked_for_in_the_variables_folder_first(folder, tmp_path_factory, monkeypatch):
    weights = tmp_path_factory.mktemp("weights")
    shutil.copytree(folder, weights / "tiny")
    assert find_checkpoint("tiny") != weights / "tiny"
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(weights))
    assert find_checkpoint("tiny") == weights / "tiny"


def test_an_unknown_name_is_answered_with_places_and_names():
    with pytest.raises(CheckpointError, match=r"no model 'gpt3'.*weights.*tiny, gpt2, gpt2-medium"):
        load_model("gpt3")


def test_a_folder_that_is_no_checkpoint_says_what_it_lacks(tmp_path):
    with pytest.raises(CheckpointError, match=r"needs config.json and one of model.safetensors,"):
        load_model(tmp_path)


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path))
    for name in ("gpt2-xl", "somebody/some-model"):
        with pytest.raises(CheckpointError, match="could not download") as error:
            load_model(name)
        message = str(error.value)
        assert str(tmp_path) in message and "HF_ENDPOINT" in message and "tiny" in message


def test_the_tokenizer_of_a_name_needs_no_weights(tmp_path, tiny_tokenizer, monkeypatch):
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path))
    tiny_tokenizer.save(tmp_path / "mine")
    assert load_tokenizer("mine").encode("a test") == tiny_tokenizer.encode("a test")


def test_a_name_is_the_model_of_that_name_wherever_one_stands(tmp_path, monkeypatch, tiny):
    """A folder ./tiny in the working directory is asked for as ./tiny."""
    ours, _ = pair(1, torch.float32)
    save_model(ours, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert load_model("tiny").config == tiny.config
    assert load_model("./tiny").config == load_model(Path("tiny")).config == ours.config
