"""Folders of Llama, BERT and T5, as transformers 5 writes them, as version 4 did, and as people have them on disk:
each loads and gives transformers' numbers, or is refused by name. What we save, transformers reads bit for bit."""

import json
import random
import re
import resource
import shutil
from contextlib import nullcontext

import pytest
import torch
import transformers
from huggingface_hub import save_torch_state_dict
from oracle import RANDOM_CONFIG, check, hugging_face, relative
from safetensors.torch import load_file, save_file

from minigpt import Bert, Llama, Tokenizer, generate, load_model, load_tokenizer, save_model
from minigpt.checkpoints import CheckpointError
from minigpt.checkpoints.configs import read_config
from minigpt.checkpoints.names import NAMES
from minigpt.compare.oracle import in_its_dtype, without_float32_steps

F64 = torch.float64
FAMILIES = ("llama", "bert", "t5")
ARCHITECTURE = {"llama": "LlamaForCausalLM", "bert": "BertForPreTraining", "t5": "T5ForConditionalGeneration"}
OUTPUTS = ("logits", "prediction_logits", "seq_relationship_logits", "last_hidden_state", "pooler_output")
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
)


# --- both sides of a folder ------------------------------------------------------------------------------------------


def their_model(folder, architecture, dtype=F64):
    """transformers' model, as minigpt.compare's oracle loads it, but of the class that the test names."""
    with without_float32_steps() if dtype == F64 else nullcontext():
        model = getattr(transformers, architecture).from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    for parameter in model.parameters():  # a copy: in a memory-mapped file products may round differently
        parameter.data = parameter.data.clone()
    return in_its_dtype(model.eval())


def batch(vocab_size):
    """Tokens and, for T5, a source."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randint(vocab_size, (2, n), generator=generator) for n in (14, 11))


@torch.no_grad()
def their_answers(theirs) -> dict[str, torch.Tensor]:
    tokens, source = batch(theirs.config.vocab_size)
    t5 = dict(input_ids=source, decoder_input_ids=tokens)
    answer = theirs(**t5) if type(theirs.config).model_type == "t5" else theirs(tokens)
    return {name: answer[name] for name in OUTPUTS if name in answer}


@torch.no_grad()
def our_answers(ours, architecture) -> dict[str, torch.Tensor]:
    """Our answers by the names that transformers gives to the outputs of this class."""
    tokens, source = batch(ours.config.vocab_size)
    if not isinstance(ours, Bert):
        return {"logits": ours(tokens) if isinstance(ours, Llama) else ours(source, tokens)}
    hidden = ours.hidden(tokens)
    parts = {
        "BertForPreTraining": {"prediction_logits": ours.logits, "seq_relationship_logits": ours.sentence_logits},
        "BertForMaskedLM": {"logits": ours.logits},
        "BertForNextSentencePrediction": {"logits": ours.sentence_logits},
        "BertModel": {"last_hidden_state": lambda hidden: hidden, "pooler_output": ours.pooled},
    }[architecture]
    return {name: part(hidden) for name, part in parts.items() if name != "pooler_output" or ours.pooler is not None}


def agree(folder, architecture, dtype=F64, where=""):
    """Load the folder with both packages and compare every output. Returns both models."""
    ours, theirs = load_model(folder, dtype=dtype), their_model(folder, architecture, dtype)
    mine, expected = our_answers(ours, architecture), their_answers(theirs)
    assert mine.keys() == expected.keys()
    for name, tensor in mine.items():
        quantity = "hidden states" if name in ("last_hidden_state", "pooler_output") else "logits"
        family = type(theirs.config).model_type
        check(quantity, relative(tensor, expected[name]), dtype, "explicit", f" {name}{where}", family)
    return ours, theirs


def what_matters(config) -> dict:
    notes = ("_name_or_path", "transformers_version", "architectures", "dtype")
    return {name: value for name, value in config.to_dict().items() if name not in notes}


def saved_again(ours, theirs, folder):
    """What we save, transformers reads: the same class, configuration, tensors and outputs, bit for bit."""
    save_model(ours, folder)
    architecture = type(theirs).__name__
    assert json.loads((folder / "config.json").read_text())["architectures"] == [architecture]
    again = their_model(folder, architecture, next(theirs.parameters()).dtype)
    assert what_matters(again.config) == what_matters(theirs.config)
    before, after = theirs.state_dict(), again.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    before, after = their_answers(theirs), their_answers(again)
    assert all(torch.equal(before[name], after[name]) for name in before)
    if theirs.can_generate():
        ends = [model.generation_config for model in (theirs, again)]
        assert ends[0].eos_token_id == ends[1].eos_token_id
        assert ends[0].decoder_start_token_id == ends[1].decoder_start_token_id
    assert load_model(folder, dtype=F64).config == ours.config


# --- folders, and what is done to them -------------------------------------------------------------------------------


def edit(folder, fields=None, tensors=None):
    """Change config.json and the tensors of a folder: fields and tensors are additions, or functions to change them."""
    for file, read, change in [(folder / "config.json", read_fields, fields), (weights(folder), load_file, tensors)]:
        if change is None:
            continue
        content = read(file)
        content = change(content) if callable(change) else content | change
        if file.suffix == ".json":
            file.write_text(json.dumps(content))
        else:  # clones, for safetensors refuses two names of one memory
            save_file({name: x.clone() for name, x in content.items()}, file, metadata={"format": "pt"})


def weights(folder):
    return folder / "model.safetensors"


def read_fields(file):
    return json.loads(file.read_text())


def as_transformers_4(fields: dict) -> dict:
    """RoPE has two fields, tie_word_embeddings also says whether a T5's head is scaled, dtype is torch_dtype."""
    fields = dict(fields, torch_dtype=fields["dtype"], transformers_version="4.40.0")
    del fields["dtype"]
    if rope := fields.pop("rope_parameters", None):
        fields["rope_theta"] = rope.pop("rope_theta")
        fields["rope_scaling"] = None if rope == {"rope_type": "default"} else rope
    if "scale_decoder_outputs" in fields:
        fields["tie_word_embeddings"] = fields.pop("scale_decoder_outputs")
        del fields["is_gated_act"], fields["dense_act_fn"]
    return fields


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder of each family, with two layers or more, and with every tensor that its files can have."""
    folder = tmp_path_factory.mktemp("originals")
    fixed = {
        "llama": dict(
            num_hidden_layers=2, hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=None,
            rope_scaling=LLAMA3, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rope_theta=100.0,
            max_position_embeddings=48,
        ),
        "bert": dict(num_hidden_layers=2, hidden_size=32, num_attention_heads=4, hidden_act="gelu"),
        "t5": dict(
            num_layers=2, num_decoder_layers=2, feed_forward_proj="gated-gelu", d_model=20, d_kv=6, num_heads=3,
            tie_word_embeddings=False, scale_decoder_outputs=False, layer_norm_epsilon=1e-3,
        ),
    }  # fmt: skip
    for family in FAMILIES:
        hugging_face(RANDOM_CONFIG[family](1, **fixed[family]), 1).save_pretrained(folder / family)
    return folder


@pytest.fixture
def folder_of(originals, tmp_path):
    """folder_of(family): a copy that the test may change."""
    return lambda family: shutil.copytree(originals / family, tmp_path / family, dirs_exist_ok=True)


# --- written by transformers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("layout", ["transformers 5", "transformers 4"])
@EACH_FAMILY
def test_random_folders_load_and_are_saved_again(family, layout, dtype, tmp_path, full):
    for seed in range(60 if full else 3):
        config = RANDOM_CONFIG[family](seed)
        hugging_face(config, seed, dtype).save_pretrained(tmp_path / "theirs")
        if layout == "transformers 4":
            edit(tmp_path / "theirs", as_transformers_4)
            if family == "t5" and config.tie_word_embeddings and not config.scale_decoder_outputs:
                # In version 4 this was written as a head that is not tied and has equal numbers.
                edit(tmp_path / "theirs", tensors=lambda t: t | {"lm_head.weight": t["shared.weight"]})
        ours, theirs = agree(tmp_path / "theirs", ARCHITECTURE[family], dtype, f" of seed {seed}")
        saved_again(ours, theirs, tmp_path / "ours")


@pytest.mark.parametrize(
    "architecture, has",
    [
        ("BertForPreTraining", dict(has_head=True, has_pooler=True, has_sentence_head=True)),
        ("BertForMaskedLM", dict(has_head=True, has_pooler=False, has_sentence_head=False)),
        ("BertForNextSentencePrediction", dict(has_head=False, has_pooler=True, has_sentence_head=True)),
        ("BertModel", dict(has_head=False, has_pooler=True, has_sentence_head=False)),
    ],
)
def test_each_class_of_bert_loads_with_the_heads_it_has(architecture, has, tmp_path):
    model_class = getattr(transformers, architecture)
    for seed in range(3):
        whole = hugging_face(RANDOM_CONFIG["bert"](seed), seed)
        part = model_class(whole.config)
        part.load_state_dict({name.removeprefix("bert." * (architecture == "BertModel")): tensor
                              for name, tensor in whole.state_dict().items()}, strict=False)  # fmt: skip
        part.to(F64).save_pretrained(tmp_path / "theirs")
        ours, theirs = agree(tmp_path / "theirs", architecture)
        assert {name: getattr(ours.config, name) for name in has} == has
        prefix = "" if architecture == "BertModel" else "bert."
        saved_again(ours, theirs, tmp_path / "ours")
        assert f"{prefix}embeddings.LayerNorm.weight" in load_file(weights(tmp_path / "ours"))
    assert (ours.head is None) == (not has["has_head"])


def test_a_bert_without_a_pooler_loads(folder_of):
    folder = folder_of("bert")
    edit(folder, tensors=without("pooler", "cls"))
    ours = load_model(folder, dtype=F64)
    assert ours.pooler is None and ours.head is None
    mine, expected = our_answers(ours, "BertModel"), their_answers(their_model(folder, "BertModel"))
    assert relative(mine["last_hidden_state"], expected["last_hidden_state"]) < 2e-13


@pytest.mark.parametrize(
    "architecture, words",
    [
        ("BertForSequenceClassification", r"unexpected tensor classifier\.bias, 2 in all"),
        ("BertForTokenClassification", r"unexpected tensor classifier\.bias, 2 in all"),
        ("BertForQuestionAnswering", r"unexpected tensor qa_outputs\.bias, 2 in all"),
        ("T5EncoderModel", "is_encoder_decoder is False"),
        ("T5ForSequenceClassification", r"tensor shared\.weight is missing"),
        ("LlamaForSequenceClassification", r"unexpected tensor score\.weight"),
    ],
)
def test_heads_for_other_tasks_are_refused_by_name(architecture, words, tmp_path):
    model_class = getattr(transformers, architecture)
    family = model_class.config_class.model_type
    fields = NAMES[family].to_fields(RANDOM_CONFIG[family](3)) | {"tie_word_embeddings": True}
    model_class(model_class.config_class(**fields)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path)


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "not scaled"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "its own head"])
@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_the_head_of_a_t5_is_what_its_file_says(kind, tied, scaled, tmp_path):
    """transformers 5 writes "tied" for every model: only the tensors and scale_decoder_outputs show the truth."""
    config = RANDOM_CONFIG["t5"](
        5, feed_forward_proj=kind, tie_word_embeddings=tied, scale_decoder_outputs=scaled, d_model=20
    )
    hugging_face(config, 5).save_pretrained(tmp_path / "theirs")
    assert read_fields(tmp_path / "theirs" / "config.json")["tie_word_embeddings"]
    ours, theirs = agree(tmp_path / "theirs", ARCHITECTURE["t5"])
    assert (ours.config.tie_word_embeddings, ours.config.scale_decoder_outputs) == (tied, scaled)
    assert (ours.lm_head is None) == tied
    saved_again(ours, theirs, tmp_path / "ours")
    for name in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head")[: 3 if tied else 2]:
        one = shutil.copytree(tmp_path / "theirs", tmp_path / name)
        edit(one, tensors=renamed("shared", name))  # a file may hold the embedding under one of its names only
        assert agree(one, ARCHITECTURE["t5"])[0].config == ours.config


def test_a_head_of_its_own_that_is_equal_survives_saving(folder_of, tmp_path):
    """The config says that the head is not tied, and its numbers are equal: it is still not tied after loading."""
    ours = load_model(folder_of("t5"))
    with torch.no_grad():
        ours.lm_head.weight.copy_(ours.token_embedding.weight)
    save_model(ours, tmp_path / "ours")
    assert load_model(tmp_path / "ours").config == ours.config


@pytest.mark.parametrize("layout", ["shards", "a pickle", "shards that are pickles"])
@EACH_FAMILY
def test_shards_and_pickles_load(family, layout, folder_of, tmp_path):
    _, theirs = agree(folder_of(family), ARCHITECTURE[family])
    if layout == "shards":
        theirs.save_pretrained(tmp_path / "other", max_shard_size="5KB")
        assert (tmp_path / "other" / "model.safetensors.index.json").is_file()
    else:  # with the tied copies, which a state_dict has
        theirs.config.save_pretrained(tmp_path / "other")
        save_torch_state_dict(
            theirs.state_dict(), tmp_path / "other", filename_pattern="pytorch_model{suffix}.bin",
            safe_serialization=False, max_shard_size="1GB" if layout == "a pickle" else "5KB",
        )  # fmt: skip
        file = "pytorch_model.bin" if layout == "a pickle" else "pytorch_model.bin.index.json"
        assert (tmp_path / "other" / file).is_file()
    ours, _ = agree(tmp_path / "other", ARCHITECTURE[family])
    before = load_model(folder_of(family), dtype=F64)
    assert ours.config == before.config
    assert all(torch.equal(before.state_dict()[name], tensor) for name, tensor in ours.state_dict().items())


@EACH_FAMILY
def test_a_bad_second_shard_is_refused(family, folder_of, tmp_path):
    their_model(folder_of(family), ARCHITECTURE[family]).save_pretrained(tmp_path / "other", max_shard_size="5KB")
    second = sorted((tmp_path / "other").glob("model-*.safetensors"))[1]
    second.write_bytes(second.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=f"{second.name} is broken"):
        load_model(tmp_path / "other")


# --- accepted -------------------------------------------------------------------------------------


def without(*starts):
    return lambda tensors: {n: x for n, x in tensors.items() if not n.removeprefix("bert.").startswith(starts)}


def renamed(old, new):
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


def copied(names: dict):
    """{new name: the name of what it is a copy of}"""
    return lambda tensors: tensors | {new: tensors[old] for new, old in names.items()}


def added(name, tensor):
    return lambda tensors: tensors | {name: tensor}


def one_after_another(*changes):
    def change(content):
        for one in changes:
            content = one(content)
        return content

    return change


def rope(theta=100.0, **entries):
    """RoPE in transformers 4's layout."""
    fields = {"rope_parameters": None, "rope_scaling": entries or None}
    return fields | ({} if theta is None else {"rope_theta": theta})


def without_field(name, **more):
    return lambda fields: {key: value for key, value in fields.items() if key != name} | more


EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
WORDS, BIAS = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
DECODER_WORDS, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
SHARED = "shared.weight"
OLD_LLAMA3 = {"type" if name == "rope_type" else name: value for name, value in LLAMA3.items()}
PARAMETERS5 = {"rope_theta": 100.0, **LLAMA3}

ACCEPTED = [
    # family, what is done to config.json, to the tensors
    ("llama", rope(**LLAMA3), None),
    ("llama", rope(**OLD_LLAMA3), None),
    ("llama", rope(**OLD_LLAMA3, rope_type="llama3"), None),
    ("llama", rope(type="linear", factor=2), None),
    ("llama", rope(rope_type="linear", factor=2.0, rope_theta=100.0), None),
    ("llama", rope(type="default"), None),
    ("llama", rope(), None),
    ("llama", rope(theta=None), None),  # old Llama 2 files: 10000
    ("llama", rope(theta=50), None),  # an integer
    ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}, None),
    ("llama", {"rope_parameters": LLAMA3, "rope_theta": 50.0}, None),
    ("llama", {"rope_parameters": PARAMETERS5 | {"partial_rotary_factor": 1.0}}, None),
    ("llama", {"rope_scaling": dict(PARAMETERS5), "rope_theta": 100.0}, None),  # both, and they agree
    ("llama", {"partial_rotary_factor": None, "is_causal": True, "sliding_window": None, "layer_types": None}, None),
    ("llama", {"head_dim": None, "num_key_value_heads": 2}, None),
    ("llama", {"eos_token_id": [1, 2, 5]}, None),
    ("llama", {"hidden_act": "gelu_fast"}, None),
    ("llama", {"hidden_act": "swish"}, None),
    ("llama", without_field("model_type"), None),
    ("llama", {"model_type": None, "architectures": ["LlamaForCausalLM", "LlamaModel"]}, None),
    ("llama", {"eos_token_id": [1], "pad_token_id": -1, "pretraining_tp": 2, "is_decoder": True}, None),
    ("llama", None, renamed("model.", "")),  # LlamaModel: tied, so that nothing is missing
    ("llama", None, added("model.layers.1.self_attn.rotary_emb.inv_freq", torch.ones(3))),
    ("llama", None, renamed(EMBED, HEAD)),
    ("llama", None, copied({HEAD: EMBED})),
    ("llama", {"tie_word_embeddings": False}, lambda t: t | {HEAD: t[EMBED] + 1}),
    ("llama", {"attention_bias": False}, lambda t: {n: x for n, x in t.items() if "attn" not in n or "bias" not in n}),
    ("bert", None, one_after_another(renamed("LayerNorm.weight", "LayerNorm.gamma"),
                                     renamed("LayerNorm.bias", "LayerNorm.beta"))),
    ("bert", None, added("bert.embeddings.position_ids", torch.arange(30)[None])),
    ("bert", None, copied({DECODER_WORDS: WORDS, DECODER_BIAS: BIAS})),
    ("bert", None, one_after_another(copied({DECODER_BIAS: BIAS}), without(BIAS))),
    ("bert", without_field("tie_word_embeddings"), None),
    ("bert", {"tie_word_embeddings": True, "position_embedding_type": "absolute", "is_causal": False}, None),
    ("bert", {"is_decoder": False, "add_cross_attention": False, "chunk_size_feed_forward": 0}, None),
    ("bert", {"layer_norm_eps": 1e-2, "hidden_act": "gelu_new"}, None),
    *[("bert", {"hidden_act": f"gelu_{name}"}, None) for name in ("fast", "python", "python_tanh", "accurate")],
    ("bert", without_field("model_type"), None),
    ("bert", without_field("model_type", architectures=["BertForMaskedLM"]), None),
    ("t5", None, added("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", torch.ones(8, 3))),
    ("t5", None, copied(dict.fromkeys(["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"], SHARED))),
    ("t5", {"feed_forward_proj": "relu", "is_gated_act": True, "dense_act_fn": "gelu_new"}, None),  # early Flan
    ("t5", {"feed_forward_proj": "gated-gelu", "dense_act_fn": "silu"}, None),
    ("t5", without_field("is_gated_act", dense_act_fn="relu"), None),
    ("t5", without_field("dense_act_fn"), None),
    ("t5", without_field("scale_decoder_outputs", tie_word_embeddings=False), None),
    ("t5", without_field("scale_decoder_outputs", tie_word_embeddings=True), None),
    ("t5", without_field("scale_decoder_outputs", n_positions=512, output_past=True, bos_token_id=1), None),
    ("t5", {"scale_decoder_outputs": True, "tie_word_embeddings": False, "eos_token_id": [1]}, None),
    ("t5", without_field("d_model", hidden_size=20, head_dim=6), None),
    ("t5", {"feed_forward_proj": "gated-gelu_fast", "dense_act_fn": "gelu_fast"}, None),
    ("t5", {"eos_token_id": [1, 2]}, None),
    ("t5", without_field("model_type"), None),
    ("t5", {"relative_attention_max_distance": 20, "layer_norm_epsilon": 1e-2}, None),
]  # fmt: skip


@pytest.mark.parametrize("family, fields, tensors", ACCEPTED, ids=[f"{a[0]}-{i}" for i, a in enumerate(ACCEPTED)])
def test_what_real_folders_hold_loads_with_their_numbers(family, fields, tensors, folder_of):
    folder = folder_of(family)
    edit(folder, fields, tensors)
    agree(folder, ARCHITECTURE[family])


# --- refused --------------------------------------------------------------------------


def plus_one(name, copy_of=None):
    return lambda tensors: tensors | {name: tensors[copy_of or name] + 1}


def biases(*parts):
    """Add a bias to every layer whose weight's name ends with one of the parts."""
    return lambda t: t | {n[:-6] + "bias": torch.ones(len(x)) for n, x in t.items() if n.endswith(parts)}


def poisoned(name):
    def change(tensors):
        tensors[name].view(-1)[1] = torch.nan
        return tensors

    return change


WITHOUT_LENGTH = {name: value for name, value in LLAMA3.items() if name != "original_max_position_embeddings"}
RELATIVE = "decoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
UNSCALED4 = without_field("scale_decoder_outputs", tie_word_embeddings=False)
LAYER = "model.layers.{}.self_attn.q_proj.bias"

REFUSED = [
    # family, what is done to config.json, to the tensors, words of the error
    ("llama", {"model_type": "mistral"}, None, "expected \"model_type\".*found \"model_type\": 'mistral'"),
    ("llama", without_field("model_type", architectures=["MistralForCausalLM"]), None, 'found .*MistralForCausalLM'),
    ("llama", without_field("model_type", architectures=["LlamaModel", "BertModel"]), None, "LlamaModel', 'BertModel"),
    ("llama", without_field("model_type", architectures=["LlamaModel", None]), None, "found .*'LlamaModel', None"),
    ("llama", {"quantization_config": {"bits": 4}}, None, "quantization_config is {'bits': 4}"),
    ("llama", {"is_causal": False}, None, "is_causal is False"),
    ("llama", {"is_causal": None}, None, "is_causal is None"),
    ("llama", {"partial_rotary_factor": 0.5}, None, "partial_rotary_factor is 0.5"),
    ("llama", {"rope_parameters": PARAMETERS5 | {"partial_rotary_factor": 0.5}}, None, "partial_rotary_factor is 0.5"),
    ("llama", rope(type="dynamic", factor=2.0), None, "'dynamic'; .* knows default, linear, llama3"),
    ("llama", rope(rope_type="yarn", factor=2.0), None, "rope_scaling says rope_type 'yarn'"),
    ("llama", {"rope_parameters": {"rope_type": "longrope"}}, None, "rope_parameters says rope_type 'longrope'"),
    ("llama", rope(type="linear", rope_type="llama3"), None, "says type 'linear' and rope_type 'llama3'"),
    ("llama", rope(type="linear"), None, "rope_scaling is of type linear and lacks factor"),
    ("llama", rope(**WITHOUT_LENGTH), None, "is of type llama3 and lacks original_max_position_embeddings"),
    ("llama", {"rope_parameters": WITHOUT_LENGTH}, None, "rope_parameters is of type llama3 and lacks original_max"),
    ("llama", rope(**LLAMA3, attention_factor=2.0), None, "rope_scaling says attention_factor 2.0"),
    ("llama", rope(theta=50.0, rope_theta=100.0), None, "rope_scaling says rope_theta 100.0, .* rope_theta 50.0"),
    ("llama", {"rope_theta": 50.0}, None, "rope_parameters says rope_theta 100.0, .* rope_theta 50.0"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, None, "rope_scaling and rope_parameters contradict"),
    ("llama", {"rope_scaling": dict(LLAMA3)}, None, "rope_scaling and rope_parameters contradict"),  # theta is 100
    ("llama", {"rope_scaling": {"type": "default"}}, None, "rope_scaling and rope_parameters contradict"),
    ("llama", {"rope_scaling": "linear"}, None, "rope_scaling must be an object or null, got 'linear'"),
    ("llama", {"original_max_position_embeddings": 64}, None, "original_max_position_embeddings 32, .* 64"),
    ("llama", {"original_max_position_embeddings": False}, None, "original_max_position_embeddings 32, .* False"),
    ("llama", {"num_key_value_heads": 3}, None, "num_attention_heads must be divisible by num_key_value_heads"),
    ("llama", {"num_key_value_heads": None}, None, "k_proj.weight has shape"),
    ("llama", {"num_hidden_layers": 3}, None, "2 layers, .*num_hidden_layers=3"),
    ("llama", {"num_hidden_layers": 1}, None, "2 layers, .*num_hidden_layers=1"),
    ("llama", {"attention_bias": False}, None, r"unexpected tensor layers.0.self_attn.k_proj.bias, 8 in all"),
    ("llama", {"attention_bias": False}, without(LAYER.format(0)), "unexpected tensor layers.0.self_attn.k_proj.bias"),
    ("llama", None, without(LAYER.format(1)), "tensor layers.1.self_attn.q_proj.bias is missing"),
    ("llama", {"mlp_bias": False}, None, "unexpected tensor layers.0.mlp.down_proj.bias, 6 in all"),
    ("llama", None, without("model.layers.1.mlp.up_proj.bias"), "layers.1.mlp.up_proj.bias is missing"),
    ("llama", {"tie_word_embeddings": False}, None, "tensor lm_head.weight is missing"),
    ("llama", {"tie_word_embeddings": False}, renamed("model.", ""), "tensor lm_head.weight is missing"),
    ("llama", None, plus_one(HEAD, EMBED), "lm_head.weight differs from embed_tokens.weight, but the config ties"),
    ("llama", None, poisoned("model.layers.1.mlp.up_proj.weight"), "layers.1.mlp.up_proj.weight holds nan"),
    ("llama", None, plus_one("norm.weight", "model.norm.weight"), "norm.weight is there twice"),
    ("llama", None, added("model.layers.1.self_attn.q_proj.lora_A.weight", torch.ones(1)), "unexpected .*lora_A"),
    ("llama", {"eos_token_id": [1, "2"]}, None, "eos_token_id must be an integer, got '2'"),
    ("bert", {"is_decoder": True}, None, "is_decoder is True"),
    ("bert", {"position_embedding_type": "relative_key"}, None, "position_embedding_type is 'relative_key'"),
    ("bert", {"tie_word_embeddings": False}, None, "tie_word_embeddings is False"),
    ("bert", {"add_cross_attention": True}, None, "add_cross_attention is True"),
    ("bert", {"is_encoder_decoder": True}, None, "is_encoder_decoder is True"),
    ("bert", {"embedding_size": 16}, None, "embedding_size is 16"),
    ("bert", {"num_hidden_layers": 3}, None, "2 layers, .*num_hidden_layers=3"),
    ("bert", {"num_hidden_layers": 1}, None, "2 layers, .*num_hidden_layers=1"),
    ("bert", {"num_attention_heads": 5}, None, "hidden_size must be divisible by num_attention_heads"),
    ("bert", {"hidden_act": "gelu_10"}, None, "hidden_act must be one of .*'gelu_10'"),
    ("bert", None, plus_one(DECODER_WORDS, WORDS), "decoder.weight differs from embeddings.word_embeddings.weight"),
    ("bert", None, plus_one(DECODER_BIAS, BIAS), "decoder.bias differs from cls.predictions.bias"),
    ("bert", None, one_after_another(copied({DECODER_WORDS: WORDS}), plus_one(DECODER_BIAS, BIAS)), "bias differs"),
    ("bert", None, without("pooler"), "tensor pooler.dense.weight is missing"),
    ("bert", None, without("cls.predictions.transform"), "cls.predictions.transform.dense.weight is missing"),
    ("bert", None, without("encoder.layer.1.attention.self.query.bias"), "layer.1.attention.self.query.bias is miss"),
    ("bert", None, added("bert.encoder.layer.1.attention.self.distance_embedding.weight", torch.ones(2, 2)),
     "unexpected tensor encoder.layer.1.attention.self.distance_embedding.weight"),
    ("bert", None, copied({"bert.embeddings.LayerNorm.gamma": "bert.embeddings.LayerNorm.weight"}), "is there twice"),
    ("t5", {"is_encoder_decoder": False}, None, "is_encoder_decoder is False"),
    ("t5", {"is_causal": False}, None, "is_causal is False"),
    ("t5", {"scale_decoder_outputs": None}, None, "scale_decoder_outputs is null"),
    ("t5", {"is_gated_act": None}, None, "is_gated_act is null"),
    ("t5", {"dense_act_fn": None}, None, "dense_act_fn is null"),
    ("t5", {"dense_act_fn": "gelu"}, None, "dense_act_fn is 'gelu' in a gated MLP"),
    ("t5", {"is_gated_act": False}, None, r"unexpected tensor .*wi_0.weight|DenseReluDense.wi.weight is missing"),
    ("t5", {"feed_forward_proj": "gated-mish", "dense_act_fn": "mish"}, None, "feed_forward_proj must be one of"),
    ("t5", {"eos_token_id": [1, "2"]}, None, "eos_token_id must be an integer, got '2'"),
    ("t5", {"eos_token_id": [1, True]}, None, "eos_token_id must be an integer, got True"),
    ("t5", {"eos_token_id": []}, None, r"eos_token_id must be an integer, got \[\]"),
    ("t5", {"num_layers": 3}, None, "2 layers, .*num_layers=3"),
    ("t5", {"num_decoder_layers": 1}, None, "2 layers, .*num_decoder_layers=1"),
    ("t5", {"d_kv": 5}, None, r"SelfAttention.q.weight has shape"),
    ("t5", {"hidden_size": 24}, None, "d_model is 20 and hidden_size, the same field, is 24"),
    ("t5", UNSCALED4, without("lm_head"), "lm_head.weight is missing"),
    ("t5", None, without("decoder"), "0 layers, .*num_decoder_layers=2"),
    ("t5", None, plus_one("encoder.embed_tokens.weight", SHARED), "encoder.embed_tokens.weight differs from shared"),
    ("t5", None, one_after_another(copied({"encoder.embed_tokens.weight": SHARED}),
                                   plus_one("decoder.embed_tokens.weight", SHARED)), "decoder.* differs from shared"),
    ("t5", None, copied({RELATIVE.format(1): RELATIVE.format(0)}), "unexpected tensor decoder.block.1.*relative"),
    ("t5", None, without(RELATIVE.format(0)), "decoder.*relative_attention_bias.weight is missing"),
]  # fmt: skip


@pytest.mark.parametrize("family, fields, tensors, words", REFUSED, ids=[f"{r[0]}-{i}" for i, r in enumerate(REFUSED)])
def test_what_would_give_other_numbers_is_refused_by_name(family, fields, tensors, words, folder_of):
    folder = folder_of(family)
    edit(folder, fields, tensors)
    with pytest.raises(CheckpointError, match=words) as error:
        load_model(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("value", [False, None, 0, {}])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_a_decoder_that_is_told_to_look_ahead_is_refused(kind, value, tmp_path):
    """An undeclared field may be false or null, but is_causal may not: transformers then takes the causal mask
    away."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": kind, "is_causal": True}))
    read_config(file)
    file.write_text(json.dumps({"model_type": kind, "is_causal": value}))
    with pytest.raises(CheckpointError, match="config.json: is_causal is .*, which this .*Config cannot obey"):
        read_config(file)


# Values that any field may be given, and fields that transformers obeys, or has obeyed, without declaring them.
VALUES = [None, False, True, 0, 1, 2, 3, -1, 0.5, 1e-3, "x", {}, [], [1], "gelu", "silu"]
UNDECLARED = (
    "is_causal sliding_window layer_types attention_chunk_size original_max_position_embeddings partial_rotary_factor "
    "rope_parameters rope_scaling rope_theta is_decoder add_cross_attention tie_encoder_decoder tie_word_embeddings "
    "per_layer_config embedding_size scale_decoder_outputs is_gated_act dense_act_fn num_hidden_layers hidden_size "
    "num_attention_heads head_dim num_key_value_heads is_encoder_decoder position_embedding_type quantization_config "
    "chunk_size_feed_forward attn_implementation torch_dtype has_head has_pooler logit_scale final_logit_softcapping"
)


@EACH_FAMILY
def test_no_value_of_any_field_gives_other_numbers_in_silence(family, folder_of, full):
    """Every field with every value, or some of them: if both load it, the answers are equal. Ours may refuse more."""
    folder = folder_of(family)
    before = read_fields(folder / "config.json")
    edits = [(name, value) for name in dict.fromkeys([*before, *UNDECLARED.split()]) for value in VALUES]
    compared = 0
    for name, value in edits if full else random.Random(0).sample(edits, 40):
        edit(folder, lambda _, name=name, value=value: before | {name: value})
        try:
            ours = load_model(folder, dtype=F64)
            mine = our_answers(ours, ARCHITECTURE[family])
        except ValueError:  # a CheckpointError, or more tokens than max_position_embeddings
            continue
        try:
            expected = their_answers(their_model(folder, ARCHITECTURE[family]))
        except Exception:  # whatever transformers raises
            continue
        compared += 1
        for output in mine:
            assert relative(mine[output], expected[output]) < 2e-13, (name, value, output)
    assert compared > 8


# --- names with something in front -----------------------------------------------------------------------------------


def in_front(prefix, only=""):
    """Put a prefix in front of all names, or of those that begin with `only`."""
    return lambda tensors: {prefix * name.startswith(only) + name: tensor for name, tensor in tensors.items()}


def inside(part, after):
    """Put a part into names, after a pattern: what a wrapper of one layer does."""
    return lambda tensors: {re.sub(after, rf"\g<0>{part}.", name): tensor for name, tensor in tensors.items()}


LAYER_OF = {"llama": r"layers\.\d+\.", "bert": r"encoder\.layer\.\d+\.", "t5": r"block\.\d+\."}
STACK_OF = {"llama": r"^model\.", "bert": r"bert\.encoder\.", "t5": r"^(en|de)coder\."}


PREFIXES = "model. net. module. _orig_mod. module._orig_mod. _forward_module.model. 0.auto_model. a.b._orig_mod.module."


@pytest.mark.parametrize("prefix", PREFIXES.split())
@EACH_FAMILY
def test_what_stands_in_front_of_every_name_is_taken_off(family, prefix, folder_of):
    """Of PyTorch Lightning, DDP, torch.compile, DeepSpeed. Llama's own names begin with `model.`, but for lm_head."""
    folder = folder_of(family)
    if family == "llama":
        edit(folder, {"tie_word_embeddings": False}, lambda t: t | {HEAD: t[EMBED] + 1})
    before, _ = agree(folder, ARCHITECTURE[family])
    edit(folder, tensors=in_front(prefix))
    after = load_model(folder, dtype=F64)
    assert after.config == before.config
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())


@pytest.mark.parametrize("where", [LAYER_OF, STACK_OF], ids=["each layer", "the stack"])
@pytest.mark.parametrize("part", ["_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
@EACH_FAMILY
def test_wrappers_inside_of_names_are_taken_out(family, part, where, folder_of):
    folder = folder_of(family)
    before = load_model(folder)
    edit(folder, tensors=inside(part, where[family]))
    assert any(f".{part}." in name for name in load_file(weights(folder)))
    after = load_model(folder)
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())


BESIDE = added("criterion.weight", torch.ones(3))
EMBEDDING = {"llama": EMBED, "bert": WORDS, "t5": SHARED}
UNCERTAIN = [
    # family, what is done to the tensors, the longer name, the prefix
    ("bert", one_after_another(in_front("net."), BESIDE), f"net.{WORDS}", "net."),
    ("t5", one_after_another(in_front("net.t5."), BESIDE), f"net.t5.{SHARED}", "net.t5."),
    ("llama", one_after_another(in_front("net."), BESIDE), f"net.{EMBED}", "net."),
    ("bert", one_after_another(renamed("bert.", ""), in_front("encoder.")), "encoder.embeddings.word", "encoder."),
    ("t5", one_after_another(in_front("encoder.")), f"encoder.{SHARED}", "encoder."),
    ("t5", lambda t: in_front("student.")(t) | in_front("teacher.")(t), f"student.{SHARED}", "student."),
]


@pytest.mark.parametrize("family, tensors, longer, prefix", UNCERTAIN, ids=[f"{u[0]} {u[3]}" for u in UNCERTAIN])
def test_a_prefix_that_may_be_another_modules_is_refused_by_name(family, tensors, longer, prefix, folder_of):
    """Beside the model stand other tensors, or the prefix is one of the family's own names: the error says what to do,
    and it helps."""
    folder = folder_of(family)
    before = load_model(folder).state_dict()
    edit(folder, tensors=tensors)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "is missing, and " + longer in message and f"names begin with {prefix!r}" in message
    advice = message[message.index("{name.removeprefix") :]
    edit(folder, tensors=lambda tensors: eval(advice, {"tensors": tensors}))
    after = load_model(folder).state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_tensor_that_is_nowhere_is_just_missing(folder_of):
    folder = folder_of("t5")
    edit(folder, tensors=without("decoder.final_layer_norm.weight"))
    with pytest.raises(CheckpointError, match="tensor decoder.final_layer_norm.weight is missing$"):
        load_model(folder)


# --- where a text ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [[3, 5], [3], 3], ids=str)
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_the_ends_in_generation_config_are_obeyed_and_saved(family, ends, folder_of, tmp_path):
    folder = folder_of(family)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "temperature": 0.6}))
    ours, theirs = agree(folder, ARCHITECTURE[family])
    expected = tuple(ends) if ends == [3, 5] else 3
    assert ours.config.eos_token_id == expected and theirs.generation_config.eos_token_id == ends
    save_model(ours, tmp_path / "ours")
    again = their_model(tmp_path / "ours", ARCHITECTURE[family]).generation_config
    assert again.eos_token_id == (ends if ends == [3, 5] else 3)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_text_ends_at_any_of_several_ids_as_in_transformers(family, file, folder_of):
    """The model writes freely first; then a token that it wrote is one of the ends, the first or the last of them."""
    folder = folder_of(family)
    edit(folder, {"eos_token_id": None})
    if file == "config.json":
        (folder / "generation_config.json").unlink()
    else:
        edit_json(folder / file, {"eos_token_id": None})
    prompt = [5, 6, 7]
    text = generate(load_model(folder, dtype=F64), [prompt], 12)[0]
    assert len(text) == len(their_text(folder, family, prompt)) >= 12
    never = max(text) + 1
    for end in (text[-2], text[-5]):
        for ends in ([end, never], [never, end]):
            edit_json(folder / file, {"eos_token_id": ends})
            ours = generate(load_model(folder, dtype=F64), [prompt], 12)[0]
            assert ours == their_text(folder, family, prompt)
            n_prompt = 1 if family == "t5" else len(prompt)
            assert ours[-1] == end and end not in ours[n_prompt:-1]  # it stopped there, and nowhere before


def their_text(folder, family, prompt):
    theirs = their_model(folder, ARCHITECTURE[family])
    theirs.generation_config.pad_token_id = 0
    return theirs.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0].tolist()


def edit_json(file, changes):
    file.write_text(json.dumps(read_fields(file) | changes))


def test_the_start_of_a_t5_is_obeyed_and_saved(folder_of, tmp_path):
    folder = folder_of("t5")
    (folder / "generation_config.json").write_text(json.dumps({"decoder_start_token_id": 7}))
    ours = load_model(folder)
    assert ours.first_texts([[1]]) == [[7]]
    save_model(ours, tmp_path / "ours")
    assert their_model(tmp_path / "ours", ARCHITECTURE["t5"]).generation_config.decoder_start_token_id == 7


@pytest.mark.parametrize("ends", [[1, "x"], [1, [2]], [1, None], [[1]], "x", []], ids=str)
def test_ends_that_are_no_ids_are_refused(ends, folder_of):
    folder = folder_of("t5")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    with pytest.raises(CheckpointError, match="generation_config.json.*eos_token_id"):
        load_model(folder)


# --- what a save remembers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family, name, value",
    [
        ("llama", "rope_theta", 10000.0),
        ("llama", "rope_scaling", None),
        ("llama", "rope_scaling", LLAMA3 | {"factor": 4.0}),
        ("llama", "rms_norm_eps", 1e-4),
        ("llama", "hidden_act", "gelu"),
        ("bert", "layer_norm_eps", 1e-4),
        ("bert", "hidden_act", "gelu_new"),
        ("bert", "num_attention_heads", 2),
        ("t5", "scale_decoder_outputs", True),
        ("t5", "feed_forward_proj", "gated-silu"),
        ("t5", "layer_norm_epsilon", 1e-5),
        ("t5", "relative_attention_max_distance", 64),
    ],
)
def test_settings_that_leave_no_trace_in_the_shapes_are_noticed(family, name, value, folder_of, tmp_path):
    save_model(load_model(folder_of(family)), tmp_path / "ours")
    before = read_fields(tmp_path / "ours" / "config.json")
    assert before[name] != value
    (tmp_path / "ours" / "config.json").write_text(json.dumps(before | {name: value}))
    with pytest.raises(CheckpointError, match=f"config.json: {name} is .*, but the weights were saved with"):
        load_model(tmp_path / "ours")


def test_other_numbers_of_heads_of_the_same_shapes_are_noticed(folder_of, tmp_path):
    """Heads half as wide and twice as many: every tensor has the shape that it had."""
    ours = load_model(folder_of("llama"))
    assert (ours.config.num_attention_heads, ours.config.num_key_value_heads) == (4, 2)
    save_model(ours, tmp_path / "ours")
    before = read_fields(tmp_path / "ours" / "config.json")
    halved = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=12)
    (tmp_path / "ours" / "config.json").write_text(json.dumps(before | halved))
    with pytest.raises(CheckpointError, match="config.json: head_dim is 12, but the weights were saved with 6"):
        load_model(tmp_path / "ours")


@EACH_FAMILY
def test_what_changes_no_number_may_be_edited_and_a_flipped_bit_is_noticed(family, folder_of, tmp_path):
    ours = load_model(folder_of(family))
    save_model(ours, tmp_path / "ours")
    file = tmp_path / "ours" / "config.json"
    settings = NAMES[family].not_settings
    dropout = next(name for name in settings if "drop" in name)
    file.write_text(json.dumps(read_fields(file) | {dropout: 0.3, "use_cache": False, "_my_note": "hello"}))
    assert getattr(load_model(tmp_path / "ours").config, dropout) == 0.3
    data = bytearray(weights(tmp_path / "ours").read_bytes())
    data[-1] ^= 1
    weights(tmp_path / "ours").write_bytes(data)
    with pytest.raises(CheckpointError, match="has changed since it was saved"):
        load_model(tmp_path / "ours")


@EACH_FAMILY
def test_a_full_disk_leaves_the_old_checkpoint(family, folder_of, tmp_path):
    ours = load_model(folder_of(family))
    target = tmp_path / "ours"
    save_model(ours, target)
    before = {file.name: file.read_bytes() for file in target.iterdir()}
    other = type(ours)(ours.config)
    size = weights(target).stat().st_size
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 100, 3000, size // 2, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old_limit[1]))
        try:
            with pytest.raises(OSError):
                save_model(other, target)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        assert {file.name: file.read_bytes() for file in target.iterdir()} == before, f"limit {limit}"


@EACH_FAMILY
def test_a_tokenizer_must_fit_the_vocabulary(family, folder_of, tmp_path):
    tokenizer = Tokenizer.train(["some text"], 270)
    size = tokenizer.vocab_size
    with pytest.raises(ValueError, match=f"the tokenizer has {size} ids, .* only vocab_size="):
        save_model(load_model(folder_of(family)), tmp_path / "ours", tokenizer)
    assert not (tmp_path / "ours").exists()
    ours = type(load_model(folder_of(family)))(RANDOM_CONFIG[family](0, vocab_size=size))
    save_model(ours, tmp_path / "ours", tokenizer)
    assert load_model(tmp_path / "ours").config == ours.config
    assert load_tokenizer(tmp_path / "ours").merges == tokenizer.merges


# --- published configurations ----------------------------------------------------------------------------------------

PUBLISHED = {
    "bert-base-uncased": (
        dict(hidden_size=768, num_hidden_layers=12, layer_norm_eps=1e-12),
        """{"architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": false,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
        "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert",
        "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0, "position_embedding_type": "absolute",
        "transformers_version": "4.6.0.dev0", "type_vocab_size": 2, "use_cache": true, "vocab_size": 30522}""",
    ),
    "bert-base-chinese": (
        dict(vocab_size=21128),
        """{"architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "directionality": "bidi",
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
        "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert",
        "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0, "pooler_fc_size": 768,
        "pooler_num_attention_heads": 12, "pooler_num_fc_layers": 3, "pooler_size_per_head": 128,
        "pooler_type": "first_token_transform", "type_vocab_size": 2, "vocab_size": 21128}""",
    ),
    "all-MiniLM-L6-v2": (
        dict(hidden_size=384, num_hidden_layers=6),
        """{"_name_or_path": "nreimers/MiniLM-L6-H384-uncased", "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": false, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 384, "initializer_range": 0.02, "intermediate_size": 1536,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12,
        "num_hidden_layers": 6, "pad_token_id": 0, "position_embedding_type": "absolute",
        "transformers_version": "4.8.2", "type_vocab_size": 2, "use_cache": true, "vocab_size": 30522}""",
    ),
    "t5-small": (
        dict(d_model=512, is_gated=False, scale_decoder_outputs=True, tie_word_embeddings=True, num_decoder_layers=6),
        """{"architectures": ["T5ForConditionalGeneration"], "d_ff": 2048, "d_kv": 64, "d_model": 512,
        "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "initializer_factor": 1.0,
        "is_encoder_decoder": true, "layer_norm_epsilon": 1e-06, "model_type": "t5", "n_positions": 512,
        "num_heads": 8, "num_layers": 6, "output_past": true, "pad_token_id": 0,
        "relative_attention_num_buckets": 32, "task_specific_params": {"summarization": {"early_stopping": true,
        "length_penalty": 2.0, "max_length": 200, "min_length": 30, "no_repeat_ngram_size": 3, "num_beams": 4,
        "prefix": "summarize: "}, "translation_en_to_de": {"early_stopping": true, "max_length": 300, "num_beams": 4,
        "prefix": "translate English to German: "}}, "vocab_size": 32128}""",
    ),
    "t5-v1_1-small": (
        dict(activation="gelu_new", is_gated=True, scale_decoder_outputs=False, tie_word_embeddings=False, d_kv=64),
        """{"architectures": ["T5ForConditionalGeneration"], "d_ff": 1024, "d_kv": 64, "d_model": 512,
        "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
        "initializer_factor": 1.0, "is_encoder_decoder": true, "layer_norm_epsilon": 1e-06, "model_type": "t5",
        "num_decoder_layers": 8, "num_heads": 6, "num_layers": 8, "output_past": true, "pad_token_id": 0,
        "relative_attention_num_buckets": 32, "tie_word_embeddings": false, "use_cache": true,
        "vocab_size": 32128}""",
    ),
    "flan-t5-small": (
        dict(activation="gelu_new", is_gated=True, scale_decoder_outputs=False, tie_word_embeddings=False),
        """{"architectures": ["T5ForConditionalGeneration"], "classifier_dropout": 0.0, "d_ff": 1024, "d_kv": 64,
        "d_model": 512, "decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.1,
        "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_encoder_decoder": true,
        "is_gated_act": true, "layer_norm_epsilon": 1e-06, "model_type": "t5", "n_positions": 512,
        "num_decoder_layers": 8, "num_heads": 6, "num_layers": 8, "output_past": true, "pad_token_id": 0,
        "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32, "task_specific_params":
        {"summarization": {"early_stopping": true, "length_penalty": 2.0, "max_length": 200, "prefix": "summarize: "}},
        "tie_word_embeddings": false, "torch_dtype": "float32", "transformers_version": "4.23.1", "use_cache": true,
        "vocab_size": 32128}""",
    ),
    "SmolLM2-135M": (
        dict(num_key_value_heads=3, rope_theta=100000, rope_scaling=None, tie_word_embeddings=True),
        """{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576,
        "initializer_range": 0.041666666666666664, "intermediate_size": 1536, "is_llama_config": true,
        "max_position_embeddings": 8192, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9,
        "num_hidden_layers": 30, "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.42.3",
        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}}, "use_cache": true,
        "vocab_size": 49152}""",
    ),
    "TinyLlama-1.1B": (
        dict(num_key_value_heads=4, rope_theta=10000.0, tie_word_embeddings=False),
        """{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5632,
        "max_position_embeddings": 2048, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 22,
        "num_key_value_heads": 4, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "transformers_version": "4.35.0", "use_cache": true, "vocab_size": 32000}""",
    ),
    "Llama-2-7b-hf": (  # without rope_theta
        dict(rope_theta=10000.0, max_position_embeddings=4096, tie_word_embeddings=False, eos_token_id=2),
        """{"_name_or_path": "meta-llama/Llama-2-7b-hf", "architectures": ["LlamaForCausalLM"], "bos_token_id": 1,
        "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
        "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama",
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_scaling": null, "tie_word_embeddings": false, "torch_dtype": "float16",
        "transformers_version": "4.31.0.dev0", "use_cache": true, "vocab_size": 32000}""",
    ),
    "Llama-3.2-1B": (
        dict(rope_theta=500000.0, head_dim=64, tie_word_embeddings=True, num_key_value_heads=8),
        """{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": 128001, "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
        "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
        "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
        "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256}""",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_understood(name, tmp_path):
    expected, text = PUBLISHED[name]
    (tmp_path / "config.json").write_text(text)
    config = read_config(tmp_path / "config.json")
    assert {field: getattr(config, field) for field in expected} == expected
    if name == "Llama-3.2-1B":
        assert (config.rope_scaling.factor, config.rope_scaling.original_max_position_embeddings) == (32.0, 8192)
