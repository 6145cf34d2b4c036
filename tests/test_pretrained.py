import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from oracle import hugging_face, pair, random_config, relative
from safetensors.torch import load_file, save_file

from minigpt import GPT2, GPT2Config, generate, load_model, load_tokenizer, save_model
from minigpt.checkpoints import CheckpointError, find_checkpoint
from minigpt.checkpoints.configs import kind_of_classes
from minigpt.checkpoints.names.gpt2 import NAME_TABLE
from minigpt.models import MODELS


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


PREFIXES = """
_orig_mod. module. model. _forward_module.net. module._orig_mod. transformer. transformer.transformer.
_orig_mod.transformer. module._orig_mod.transformer. transformer._orig_mod. model.transformer.
"""


@pytest.mark.parametrize("prefix", PREFIXES.split())
def test_what_compilers_and_trainers_put_in_front_of_names_is_taken_off(folder, prefix):
    before = load_model(folder).state_dict()

    def rename(tensors):
        for name in list(tensors):
            tensors[prefix + name.removeprefix("transformer.")] = tensors.pop(name)

    edit(folder, rename)
    after = load_model(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("part", ["_orig_mod.", "module.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."])
def test_wrappers_of_single_layers_are_taken_out_of_names(folder, part):
    before = load_model(folder).state_dict()
    edit_names(folder, lambda name: re.sub(r"h\.\d+\.", rf"\g<0>{part}", name))
    assert f"transformer.h.0.{part}ln_1.bias" in load_file(folder / "model.safetensors")
    after = load_model(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def edit_names(folder, new_name):
    tensors = load_file(folder / "model.safetensors")
    tensors = {new_name(name): tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_model_beside_other_tensors_is_refused_with_its_prefix(folder):
    """A file of tensors of `model.` alone loads; with another module's tensors in the second place it does not."""
    edit_names(folder, lambda name: f"model.{name}")
    load_model(folder)
    edit(folder, lambda tensors: tensors.update({"teacher.wte.weight": torch.ones(2, 2)}))
    with pytest.raises(CheckpointError, match="wte.weight is missing, and model.transformer.* begin with 'model.'"):
        load_model(folder)


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


def test_the_head_of_dialogpts_files_is_the_embedding_or_refused(folder):
    """Its first files have the tied head as lm_head.decoder.weight; transformers reads past it and ties."""
    before = load_model(folder, dtype=torch.float64)
    edit(folder, lambda t: t.update({"lm_head.decoder.weight": t["transformer.wte.weight"].clone()}))
    after = load_model(folder, dtype=torch.float64)
    assert after.config.tie_word_embeddings
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        assert relative(after(tokens), their_model(folder)(tokens).logits) < 2e-13
    edit(folder, lambda t: t["lm_head.decoder.weight"][1].add_(1.0))
    with pytest.raises(CheckpointError, match="lm_head.weight differs from wte.weight, but the config ties them"):
        load_model(folder)
    edit(folder, lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"].clone()}))
    with pytest.raises(CheckpointError, match="lm_head.weight is there twice, once as lm_head"):
        load_model(folder)


def test_the_own_head_of_an_untied_model_may_have_dialogpts_name(tmp_path):
    hugging_face(random_config(3, tie_word_embeddings=False), 3).save_pretrained(tmp_path)
    before = load_model(tmp_path).lm_head.weight
    edit_names(tmp_path, lambda name: name.replace("lm_head.", "lm_head.decoder."))
    assert torch.equal(load_model(tmp_path).lm_head.weight, before)


@pytest.mark.parametrize("name", ["gelu_fast", "gelu_python", "gelu_python_tanh", "gelu_accurate", "swish"])
@torch.no_grad()
def test_transformers_other_names_of_an_activation_are_obeyed(folder, name):
    edit_config(folder, activation_function=name)
    tokens = torch.arange(8)[None]
    assert relative(load_model(folder, dtype=torch.float64)(tokens), their_model(folder)(tokens).logits) < 2e-13


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
        ({"model_type": "mistral"}, "mistral"),
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
    with pytest.raises(CheckpointError, match=r"no model 'gpt3'.*weights.*tiny, .*gpt2, gpt2-medium"):
        load_model("gpt3")


def test_a_folder_that_is_no_checkpoint_says_what_it_lacks(tmp_path):
    with pytest.raises(CheckpointError, match=r"needs config.json and one of model.safetensors,"):
        load_model(tmp_path)


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
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
    """A folder tiny in the working directory must be named as ./tiny."""
    ours, _ = pair(1, torch.float32)
    save_model(ours, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert load_model("tiny").config == tiny.config
    assert load_model("./tiny").config == load_model(Path("tiny")).config == ours.config


# --- names of config.json --------------------------------------------------------------------------------------------

ALIASES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
}


def rename_config(folder, *names, **added):
    fields = json.loads((folder / "config.json").read_text())
    fields = {ALIASES[name] if name in names else name: value for name, value in fields.items()}
    (folder / "config.json").write_text(json.dumps(fields | added))


@pytest.mark.parametrize("names", [*([name] for name in ALIASES), list(ALIASES)], ids=str)
@torch.no_grad()
def test_the_other_names_of_a_field_are_obeyed(tmp_path, names):
    """Six heads and twelve give the same shapes: if a name is ignored, a wrong model loads without an error."""
    config = random_config(5, n_embd=24, n_head=6, n_layer=2, n_positions=20)
    hugging_face(config, 5).save_pretrained(tmp_path)
    rename_config(tmp_path, *names)
    ours = load_model(tmp_path, dtype=torch.float64)
    tokens = torch.randint(config.vocab_size, (2, 12), generator=torch.Generator().manual_seed(0))
    assert [getattr(ours.config, name) for name in ALIASES] == [getattr(config, name) for name in ALIASES]
    assert relative(ours(tokens), their_model(tmp_path)(tokens).logits) < 2e-13


@pytest.mark.parametrize("name", ALIASES)
def test_two_names_with_two_values_are_refused_and_with_one_are_fine(folder, name):
    value = json.loads((folder / "config.json").read_text())[name]
    rename_config(folder, **{ALIASES[name]: value})
    assert getattr(load_model(folder).config, name) == value
    rename_config(folder, **{ALIASES[name]: value + 1})
    with pytest.raises(
        CheckpointError, match=f"config.json: {name} is {value} and {ALIASES[name]}, the same field, is"
    ):
        load_model(folder)


@pytest.mark.parametrize(
    "name, value",
    [
        ("quantization_config", {"bits": 4}),
        ("pruned_heads", {"0": [1]}),
        ("auto_map", {"AutoModel": "mine.py"}),
        ("rope_theta", 10000.0),
        ("sliding_window", 128),
        ("is_encoder_decoder", True),
        ("layer_norm_eps", 1e-3),
        ("hidden_act", "relu"),
        ("num_key_value_heads", 2),
        ("my_note", "hello"),
    ],
)
def test_a_field_that_cannot_be_obeyed_is_refused_by_name(folder, name, value):
    edit_config(folder, **{name: value})
    with pytest.raises(CheckpointError, match=f"config.json: {name} is .*, which this GPT2Config cannot obey"):
        load_model(folder)
    edit_config(folder, **{name: None})  # null says nothing
    load_model(folder)


def test_what_changes_no_number_is_passed_over(folder):
    edit_config(
        folder, n_ctx=7, summary_type="mean", use_cache=False, torch_dtype="float16", pad_token_id=3, _note="mine",
        task_specific_params={"text-generation": {"do_sample": True}}, reorder_and_upcast_attn=True, top_k=50,
        gradient_checkpointing=True, pruned_heads={}, is_encoder_decoder=False,
    )  # fmt: skip
    load_model(folder)


# --- tied weights, either half ---------------------------------------------------------------------------------------


def test_a_tied_matrix_under_the_heads_name_alone(folder):
    """safetensors.torch.save_model keeps one of two equal names, and not always the embedding's."""
    before = load_model(folder).state_dict()
    edit(folder, lambda tensors: tensors.update({"lm_head.weight": tensors.pop("transformer.wte.weight")}))
    after = load_model(folder).state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_what_safetensors_save_model_writes_loads(tmp_path):
    from safetensors.torch import save_model as write

    theirs = hugging_face(random_config(3, tie_word_embeddings=True), 3, torch.float32)
    theirs.save_pretrained(tmp_path)
    expected = load_model(tmp_path).state_dict()
    write(theirs, str(tmp_path / "model.safetensors"))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_model(tmp_path).state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_head_that_was_only_rounded_is_the_embedding(folder, dtype):
    before = load_model(folder).token_embedding.weight
    edit(folder, lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"].to(dtype)}))
    assert torch.equal(load_model(folder).token_embedding.weight, before)  # the finer of the two is taken
    edit(folder, lambda t: t["lm_head.weight"][0].add_(1.0))
    with pytest.raises(CheckpointError, match="lm_head.weight differs from"):
        load_model(folder)


@pytest.mark.parametrize("kind", [["gpt2"], {}, 5, "", "gpt3"])
def test_a_model_type_that_is_no_name_is_refused(folder, kind):
    """Also where "architectures" is there: model_type counts, as in transformers."""
    edit_config(folder, model_type=kind)
    with pytest.raises(CheckpointError, match='config.json: expected "model_type"') as error:
        load_model(folder)
    assert f'found "model_type": {kind!r} and "architectures": [\'GPT2LMHeadModel\']' in str(error.value)


def without_model_type(folder, **changes):
    fields = json.loads((folder / "config.json").read_text()) | changes
    fields = {name: value for name, value in fields.items() if name != "model_type" and value is not LEFT_OUT}
    (folder / "config.json").write_text(json.dumps(fields))


LEFT_OUT = object()


@torch.no_grad()
def test_the_family_follows_from_the_class_where_model_type_is_missing(folder):
    before = load_model(folder, dtype=torch.float64)
    for classes in (["GPT2LMHeadModel"], ["GPT2Model"], ["GPT2LMHeadModel", "GPT2DoubleHeadsModel"]):
        without_model_type(folder, architectures=classes)
        after = load_model(folder, dtype=torch.float64)
        assert after.config == before.config
    tokens = torch.arange(8)[None]
    assert relative(after(tokens), their_model(folder)(tokens).logits) < 2e-13
    edit_config(folder, model_type=None)
    assert load_model(folder).config == before.config


WRONG_CLASSES = [
    LEFT_OUT, None, [], "GPT2LMHeadModel", {"GPT2LMHeadModel": 1}, ["MistralForCausalLM"], ["GPT2"], ["GPT2Tokenizer"],
    ["T5GemmaForConditionalGeneration"], ["BertGenerationDecoder"], ["GPT2LMHeadModel", "BertForMaskedLM"],
    ["GPT2LMHeadModel", "MistralForCausalLM"], ["GPT2LMHeadModel", 5], ["GPT2LMHeadModel", None],
]  # fmt: skip


@pytest.mark.parametrize(
    "classes", WRONG_CLASSES, ids=lambda classes: "left out" if classes is LEFT_OUT else str(classes)
)
def test_without_both_the_error_names_both(folder, classes):
    without_model_type(folder, architectures=classes)
    with pytest.raises(CheckpointError, match='config.json: expected "model_type": .*"architectures"') as error:
        load_model(folder)
    found = None if classes is LEFT_OUT else classes
    assert f'found "model_type": None and "architectures": {found!r}' in str(error.value)


def test_the_classes_of_a_family_are_transformers_own():
    """For every class of transformers with such a name, the family is its own model_type, or none of ours."""
    networks = re.compile(r"(GPT2|Bert|T5|Llama)\w*(Model|For[A-Z]\w*)")
    names = [name for name in dir(transformers) if networks.fullmatch(name) and "PreTrained" not in name]
    assert len(names) > 30 and "T5GemmaForConditionalGeneration" in names
    for name in names:
        theirs = getattr(transformers, name).config_class.model_type
        assert kind_of_classes([name]) == (theirs if theirs in MODELS else None), name


@pytest.mark.parametrize("name", ["../mine", "/tmp/mine", "sub", "notes.md", ""])
def test_a_header_cannot_name_other_files_to_be_deleted(folder, name):
    """Loading finishes an interrupted save. It must not delete files that no save has written."""
    mine = folder.parent / "mine"
    mine.write_text("mine")
    (folder / "config.json.new").write_bytes(b"{}")
    companions = {"config.json": hashlib.sha256(b"{}").hexdigest(), name: None}
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors, folder / "model.safetensors", metadata={"minigpt.companions": json.dumps(companions)})
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(folder)
    assert mine.read_text() == "mine" and json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("end", [5, [5], [5, 7], None])
def test_the_end_of_text_of_a_generation_config_is_obeyed_as_in_transformers(folder, end):
    """null names none: config.json counts here."""
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end, "do_sample": True}))
    theirs = their_model(folder).generation_config.eos_token_id
    config_end = json.loads((folder / "config.json").read_text())["eos_token_id"]
    ends = {5, 7} if end == [5, 7] else {5} if end else {config_end} - {None}
    assert load_model(folder).end_tokens == ends
    assert theirs == end


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_a_text_ends_at_any_of_several_ids(folder, file, tmp_path_factory):
    """transformers' answer, whichever place in the list the id has that comes first; and again after saving."""
    for name in ("config.json", "generation_config.json"):
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | {"eos_token_id": None}))
    if file == "config.json":
        (folder / "generation_config.json").unlink()
    prompt = [5, 6, 7]
    text = generate(load_model(folder, dtype=torch.float64), [prompt], 8)[0]
    for end in (text[-1], text[-4]):
        for ends in ([end, max(text) + 1], [max(text) + 1, end]):
            (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | {"eos_token_id": ends}))
            model, theirs = load_model(folder, dtype=torch.float64), their_model(folder)
            ours = generate(model, [prompt], 8)[0]
            assert ours[-1] == end and end not in ours[len(prompt) : -1]
            settings = dict(max_new_tokens=8, do_sample=False, pad_token_id=0)
            assert theirs.generate(torch.tensor([prompt]), **settings)[0].tolist() == ours
            new = tmp_path_factory.mktemp("saved")
            save_model(model, new)
            assert load_model(new).config == model.config and model.config.eos_token_id == tuple(ends)
            assert their_model(new).generation_config.eos_token_id == ends


@pytest.mark.parametrize("end", [[5, "7"], [5, None], [5, True], [[5]], "5", 1.5, []], ids=str)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_ends_of_text_that_are_no_ids_are_refused(folder, file, end):
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | {"eos_token_id": end}))
    with pytest.raises(CheckpointError, match=f"{file}: eos_token_id must be an integer"):
        load_model(folder)


def test_a_path_is_also_looked_for_from_the_clones_folder(monkeypatch, tmp_path):
    """A notebook runs in notebooks/, and MINIGPT_SOURCE=runs/mine was typed one folder above."""
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("weights/tiny").samefile(find_checkpoint("tiny"))
    with pytest.raises(CheckpointError, match="there is no folder weights/missing/x in"):
        find_checkpoint("weights/missing/x")
