"""A list in a file is checked whole: each is given a good element and then a bad one, and the error names the file."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from minigpt import GPT2, GPT2Config, Tokenizer, load_model, load_tokenizer, save_model
from minigpt.checkpoints.files import CHECKSUMS, SETTINGS
from minigpt.tokenizer import SpecialToken, WordPiece

WEIGHTS, PICKLE = "model.safetensors", "pytorch_model.bin"


@pytest.fixture
def folder(tmp_path):
    """A model with its tokenizer."""
    torch.manual_seed(0)
    save_model(
        GPT2(GPT2Config(vocab_size=260, n_positions=6, n_embd=8, n_layer=2, n_head=2)),
        tmp_path,
        Tokenizer.train(["some text of some words"], 260),
    )
    return tmp_path


def changed(file, change):
    """Change what a JSON file holds; a file that is not there begins as {}."""
    fields = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    change(fields)
    file.write_text(json.dumps(fields), encoding="utf-8")


# --- weights ---------------------------------------------------------------------------------------------------------

BAD_TENSORS = [
    ({"x": 5}, "expected a dictionary of tensors, found 'x': int"),
    ({"x": None}, "expected a dictionary of tensors, found 'x': NoneType"),
    ({"x": [torch.ones(1)]}, "expected a dictionary of tensors, found 'x': list"),
    ({"x": torch.eye(3).to_sparse()}, "'x' is no plain tensor with a name, found torch.sparse_coo"),
    ({"x": torch.ones(3, device="meta")}, "'x' is no plain tensor with a name"),
    ({5: torch.ones(3)}, "5 is no plain tensor with a name"),
]


@pytest.mark.parametrize("more, words", BAD_TENSORS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickle_holds_tensors_alone(folder, more, words, wrapped):
    tensors = load_file(folder / WEIGHTS) | more
    (folder / WEIGHTS).unlink()
    torch.save({"state_dict": tensors} if wrapped else tensors, folder / PICKLE)
    with pytest.raises(ValueError, match=f"{PICKLE}: {words}"):
        load_model(folder)


def test_each_shard_has_a_name(folder):
    names = sorted(load_file(folder / WEIGHTS))
    (folder / WEIGHTS).rename(folder / "one.safetensors")
    index = {"weight_map": dict.fromkeys(names, "one.safetensors")}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    load_model(folder)
    for bad in (5, None, ["one.safetensors"]):
        index["weight_map"][names[1]] = bad
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
        with pytest.raises(
            ValueError, match=f'{WEIGHTS}.index.json: expected a "weight_map" from tensor names to files'
        ):
            load_model(folder)


@pytest.mark.parametrize(
    "key, change, words",
    [
        (CHECKSUMS, lambda sums: sums.update({"x": "0" * 64}), "tensor x has changed .* no such tensor, expected 0000"),
        (CHECKSUMS, lambda sums: sums.pop("wte.weight"), "tensor .*wte.weight has changed .*, expected None"),
        (SETTINGS, lambda settings: settings.update(later="yes"), "later is None, but the weights .* with 'yes'"),
        (SETTINGS, lambda settings: settings.pop("n_head"), "n_head is 2, but the weights .* with None"),
    ],
)
def test_a_header_says_no_more_and_no_less_than_there_is(folder, key, change, words):
    with safe_open(folder / WEIGHTS, framework="pt") as opened:
        header = opened.metadata()
    said = {name.removeprefix("transformer."): value for name, value in json.loads(header[key]).items()}
    prefix = "transformer." if key == CHECKSUMS and "wte.weight" not in json.loads(header[key]) else ""
    change(said)
    said = {prefix * (name != "x") + name: value for name, value in said.items()}
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata=header | {key: json.dumps(said)})
    with pytest.raises(ValueError, match=words):
        load_model(folder)


@pytest.mark.parametrize(
    "file, change, words",
    [
        ("config.json", lambda f: f.update(eos_token_id=[1, "x"]), "eos_token_id must be an integer, got 'x'"),
        ("generation_config.json", lambda f: f.update(eos_token_id=[1, None]), "eos_token_id must be .*, got None"),
        ("config.json", lambda f: f.update(model_type=None, architectures=["GPT2Model", 5]), "found .*GPT2Model', 5"),
        ("config.json", lambda f: f.update(model_type=None, architectures=["GPT2Model", "X"]), "GPT2Model', 'X'"),
    ],
)
def test_lists_of_a_config(folder, file, change, words):
    changed(folder / file, change)
    with pytest.raises(ValueError, match=f"{file}: .*{words}"):
        load_model(folder)


# --- tokenizers ------------------------------------------------------------------------------------------------------

SOME_ID = {"id": 259, "special": True}
TOKENIZERS = [
    # the file, what is done to it, and the words of the error
    ("vocab.json", lambda f: f.update(zz="258"), "must map tokens to integer ids"),
    ("vocab.json", lambda f: f.update(zz=None), "must map tokens to integer ids"),
    ("tokenizer.json", lambda f: f["model"]["vocab"].update(zz="258"), "vocab must map tokens to integer ids"),
    ("tokenizer.json", lambda f: f["model"]["merges"].append(["s"]), "merges must be pairs"),
    ("tokenizer.json", lambda f: f["model"]["merges"].append("s o m"), "merges must be pairs"),
    ("tokenizer.json", lambda f: f["model"]["merges"].append(None), "is not the file of a BPE tokenizer"),
    ("tokenizer.json", lambda f: f["added_tokens"].append(SOME_ID | {"content": None}), "special token must be a text"),
    ("tokenizer.json", lambda f: f["added_tokens"].append({"content": "<x>"}), "an added token lacks 'id'"),
    ("tokenizer.json", lambda f: f["added_tokens"].append(None), "an added token lacks"),
    (
        "tokenizer.json",
        lambda f: f.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [f["pre_tokenizer"], "x"]}),
        "is another one|was expected for the files beside it",
    ),
    (
        "tokenizer.json",
        lambda f: f.update(post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<a>"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"<a>": {"ids": [0, 999]}},
        }),
        r"template of post_processor has ids \[0, 999\] that are no tokens",
    ),
    *[
        ("added_tokens.json", lambda f, bad=bad: f.update({"<x>": 260, "<y>": bad}), "expected tokens and their ids")
        for bad in ("two", "261", 261.0, True, None, [261])
    ],
    (
        "tokenizer_config.json",
        lambda f: f.update(added_tokens_decoder={"260": {"content": "<x>"}, "two": {"content": "<y>"}}),
        "tokenizer_config.json: expected tokens and their ids",
    ),
    ("special_tokens_map.json", lambda f: f.update(eos_token="<|endoftext|>", x=5), "which tokens are special"),
    ("special_tokens_map.json", lambda f: f.update(eos_token="<|endoftext|>", pad_token=True), "which tokens are"),
    (
        "tokenizer_config.json",
        lambda f: f.update(additional_special_tokens=["<|endoftext|>", 5]),
        "tokenizer_config.json",
    ),
]  # fmt: skip


@pytest.mark.parametrize("file, change, words", TOKENIZERS, ids=[f"{row[0]}-{row[2][:30]}" for row in TOKENIZERS])
def test_lists_of_a_tokenizers_files(folder, file, change, words):
    if file not in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "tokenizer.json").unlink()
    load_tokenizer(folder)
    changed(folder / file, change)
    with pytest.raises(ValueError, match=words) as caught:
        load_tokenizer(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "line, words",
    [
        ("one", "line 3: expected two tokens and a space between them, got 'one'"),
        ("s o m", "line 3: expected two tokens"),
        ("#version: 0.2", "merge 2, '#version:' [+] '0.2', needs token '#version:'"),  # a comment in line 1 only
    ],
)
def test_each_line_of_merges_txt_is_a_pair(folder, line, words):
    (folder / "tokenizer.json").unlink()
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    (folder / "merges.txt").write_text("\n".join([*lines[:2], line, *lines[2:]]), encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        load_tokenizer(folder)


def test_each_piece_of_a_wordpiece_file_has_an_id(tmp_path):
    special = [SpecialToken(name) for name in ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")]
    ids = {token.content: id for id, token in enumerate(special)} | {"a": 5}
    names = {f"{name[1:-1].lower()}_token": name for name in list(ids)[:5]}
    WordPiece(ids, special, names, prefix=[1], suffix=[2]).save(tmp_path)
    assert load_tokenizer(tmp_path).encode("a") == [1, 5, 2]
    for bad in ("6", None, 6.0):
        changed(tmp_path / "tokenizer.json", lambda fields, bad=bad: fields["model"]["vocab"].update(b=bad))
        with pytest.raises(ValueError, match="tokenizer.json: vocab must map tokens to integer ids"):
            load_tokenizer(tmp_path)
