"""Tokenizer folders as other tools write them: the ids of AutoTokenizer, or a refusal by name."""

import copy
import json
import random
import shutil

import pytest
import transformers

from minigpt import Tokenizer, load_model, load_tokenizer, save_model
from minigpt.tokenizer import SpecialToken

USER, SYSTEM, END = "<|user|>", "<|system|>", "<|endoftext|>"
PARTS = [
    USER,
    SYSTEM,
    END,
    " ",
    "  ",
    "\n",
    "\t",
    " \n ",
    "a",
    "word",
    " word",
    "1",
    "é",
    "中",
    "\u3000",
    "<|",
    "\x1c",
    "\x1f ",
    "!",
    "_",
]


def like(content, **ways):
    usual = dict(content=content, lstrip=False, rstrip=False, normalized=False, single_word=False, special=True)
    return usual | ways


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory):
    """tiny's tokenizer as transformers 5 saves it: tokenizer.json."""
    folder = tmp_path_factory.mktemp("whole")
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))


@pytest.fixture
def make(tmp_path, tiny_folder, whole):
    """A folder of the layout "parts" (vocab.json, merges.txt) or "whole" (tokenizer.json), with more files."""

    def make(layout="parts", change=None, **files):
        shutil.copy(tiny_folder / "config.json", tmp_path)
        if layout == "parts":
            for name in ("vocab.json", "merges.txt"):
                shutil.copy(tiny_folder / name, tmp_path)
        else:
            fields = copy.deepcopy(whole)
            if change:
                change(fields)
            (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        return tmp_path

    return make


def texts(seed, n=150):
    rng = random.Random(seed)
    return ["".join(rng.choice(PARTS) for _ in range(rng.randint(1, 9))) for _ in range(n)]


def assert_same_ids(ours, theirs, n=150):
    for text in [f"a {USER} b{USER}c  {USER}  d {END}x\n{USER}", *texts(0, n)]:
        assert ours.encode(text) == theirs(text)["input_ids"], repr(text)
        plain = theirs(text, split_special_tokens=True)["input_ids"]
        if not (ours.prefix or ours.suffix):
            assert ours.encode(text, special_tokens=False) == plain, repr(text)


def add_token(**ways):
    return lambda fields: fields["added_tokens"].append({"id": 4096} | like(USER, **ways))


def template(fields):
    piece = {"SpecialToken": {"id": END, "type_id": 0}}
    fields["post_processor"]["single"].insert(0, piece)
    fields["post_processor"]["pair"].insert(0, piece)
    fields["post_processor"]["special_tokens"] = {END: {"id": END, "ids": [4095], "tokens": [END]}}


def template_of_other_ids(fields):
    template(fields)
    fields["post_processor"]["special_tokens"][END]["ids"] = [300, 7]


def add_twice(fields):
    add_token()(fields)
    add_token(lstrip=True)(fields)


def begin_with_space(fields):
    fields["pre_tokenizer"]["add_prefix_space"] = True


def byte_level(fields):
    fields["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}


def string_merges(fields):
    fields["model"]["merges"] = [" ".join(pair) for pair in fields["model"]["merges"]]


FOLDERS = {
    "plain": dict(),
    "added_tokens.json": dict(added_tokens={USER: 4096, SYSTEM: 4097}),
    "special_tokens_map.json": dict(special_tokens_map={"eos_token": USER, "additional_special_tokens": [SYSTEM]}),
    "a map of dictionaries": dict(special_tokens_map={"eos_token": like(USER, rstrip=True, normalized=True)}),
    "the map has the last word": dict(special_tokens_map={"eos_token": USER}, tokenizer_config={"eos_token": "<e>"}),
    "eos_token": dict(tokenizer_config={"eos_token": USER}),
    "many names": dict(
        tokenizer_config={"eos_token": USER, "pad_token": SYSTEM, "unk_token": "<u>", "bos_token": "<b>"}
    ),
    "add_prefix_space": dict(tokenizer_config={"add_prefix_space": True}),
    "add_bos_token": dict(tokenizer_config={"add_bos_token": True}),
    "add_bos_token and add_eos_token": dict(tokenizer_config={"add_bos_token": True, "add_eos_token": True}),
    "added_tokens_decoder": dict(tokenizer_config={"added_tokens_decoder": {"4096": like(USER), "4097": like(SYSTEM)}}),
    "lstrip": dict(tokenizer_config={"added_tokens_decoder": {"4096": like(USER, lstrip=True)}}),
    "rstrip": dict(tokenizer_config={"added_tokens_decoder": {"4096": like(USER, rstrip=True, special=False)}}),
    "single_word": dict(tokenizer_config={"added_tokens_decoder": {"4096": like(USER, single_word=True)}}),
    "normalized": dict(
        tokenizer_config={"added_tokens_decoder": {"4096": like("<|", normalized=True), "4097": like(USER)}}
    ),
    "another end of text": dict(tokenizer_config={"added_tokens_decoder": {"4095": like(END, rstrip=True)}}),
    "the decoder before older files": dict(
        added_tokens={SYSTEM: 4096}, tokenizer_config={"added_tokens_decoder": {"4096": like(USER)}}
    ),
    "tokenizer.json": dict(layout="whole"),
    "tokenizer.json, merges as texts": dict(layout="whole", change=string_merges),
    "tokenizer.json, a token": dict(layout="whole", change=add_token()),
    "tokenizer.json, lstrip and rstrip": dict(layout="whole", change=add_token(lstrip=True, rstrip=True)),
    "tokenizer.json, single_word": dict(layout="whole", change=add_token(single_word=True, special=False)),
    "tokenizer.json, eos_token": dict(layout="whole", change=add_token(), tokenizer_config={"eos_token": USER}),
    "tokenizer.json, template": dict(layout="whole", change=template),
    "tokenizer.json, a template of other ids": dict(layout="whole", change=template_of_other_ids),
    "tokenizer.json, a token twice": dict(layout="whole", change=add_twice),
    "tokenizer.json, changed by the decoder": dict(
        layout="whole",
        change=add_token(),
        tokenizer_config={"added_tokens_decoder": {"4096": like(USER, lstrip=True, rstrip=True)}},
    ),
    "tokenizer.json, ByteLevel": dict(layout="whole", change=byte_level, tokenizer_config={"add_bos_token": True}),
    "tokenizer.json, add_prefix_space": dict(layout="whole", tokenizer_config={"add_prefix_space": True}),
    "tokenizer.json, added_tokens.json": dict(layout="whole", added_tokens={USER: 4096}),
    "tokenizer.json, the general class": dict(
        layout="whole", tokenizer_config={"tokenizer_class": "TokenizersBackend"}
    ),
    "the general class says itself how texts begin": dict(
        layout="whole",
        change=begin_with_space,
        tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": False},
    ),
    "the general class, and a setting that this class does not have": dict(
        layout="whole", tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": True}
    ),
    "tokens with tasks of their own": dict(
        tokenizer_config={"image_token": SYSTEM, "pad_token": "<p>", "user_token": USER, "note_token": {"content": "x"}}
    ),
    "extra tokens with names": dict(
        tokenizer_config={"extra_special_tokens": {"b": SYSTEM, "a": USER}, "image_token": "<i>"}
    ),
    "an older class of the same ids": dict(tokenizer_config={"tokenizer_class": "CodeGenTokenizer"}),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_the_ids_are_those_of_auto_tokenizer_and_a_saved_folder_keeps_them(name, make, tmp_path):
    """Specials before, inside and after words; then tf -> ours -> tf: what we write is read in the same way by both."""
    folder = make(**FOLDERS[name])
    ours, theirs = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert ours.vocab_size == len(theirs) and ours.eos_id == theirs.eos_token_id
    assert_same_ids(ours, theirs)
    saved = tmp_path / "saved"
    ours.save(saved)
    shutil.copy(folder / "config.json", saved)
    again = Tokenizer.load(saved)
    assert (again.vocabulary, again.merges, again.eos_id) == (ours.vocabulary, ours.merges, ours.eos_id)
    assert again.special_tokens == ours.special_tokens and again.prefix == ours.prefix and again.suffix == ours.suffix
    assert_same_ids(again, transformers.AutoTokenizer.from_pretrained(saved), n=60)


def set_field(part, **fields):
    return lambda whole: whole.__setitem__(part, (whole[part] or {}) | fields)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda whole: whole["added_tokens"].append({"id": 4100} | like(USER)), f"token '{USER}'.* has the id 4100"),
        (set_field("pre_tokenizer", type="Whitespace"), "pre_tokenizer is Whitespace"),
        (set_field("pre_tokenizer", use_regex=False), "use_regex is false"),
        (set_field("pre_tokenizer", add_prefix_space=True), "add_prefix_space.*tokenizer_config.json"),
        (set_field("normalizer", type="NFC"), "normalizer is NFC"),
        (set_field("post_processor", type="RobertaProcessing"), "post_processor is RobertaProcessing"),
        (set_field("model", type="WordPiece"), "model is WordPiece"),
        (set_field("model", ignore_merges=True), "ignore_merges is True"),
        (set_field("model", byte_fallback=True), "byte_fallback is True"),
        (set_field("model", vocab=None), "not the file of a BPE tokenizer"),
        (set_field("model", merges=[["a", "b", "c"]]), "merges must be pairs"),
        (set_field("model", vocab={"a": "b"}), "integer ids"),
        (set_field("post_processor", single=None), "the template of post_processor"),
        (set_field("post_processor", single=[]), "has the text 0 times"),
        (set_field("post_processor", single=[{"Sequence": {"id": "A"}}] * 2), "has the text 2 times"),
        (lambda whole: whole.update(normalizer=5), "normalizer must be an object, got 5"),
        (lambda whole: whole.update(model=["BPE"]), "model must be an object"),
        (
            set_field("post_processor", special_tokens={}, single=[{"SpecialToken": {"id": END}}]),
            "lacks '<|endoftext|>'",
        ),
    ],
)
def test_what_cannot_be_obeyed_is_refused_by_name(make, change, words):
    with pytest.raises(ValueError, match=rf"tokenizer.json.*{words}".replace("|", r"\|")):
        Tokenizer.load(make("whole", change))


@pytest.mark.parametrize("layout", ["parts", "whole"])
@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("tokenizer_config", {"tokenizer_class": "RobertaTokenizer"}, "tokenizer_class is 'RobertaTokenizer'"),
        ("tokenizer_config", {"tokenizer_class": "Qwen2Tokenizer"}, "tokenizer_class is 'Qwen2Tokenizer'"),
        ("tokenizer_config", {"split_special_tokens": True}, "split_special_tokens is True"),
        ("tokenizer_config", {"model_specific_special_tokens": {"x": USER}}, "model_specific_special_tokens is"),
        ("tokenizer_config", {"add_prefix_space": 1}, "add_prefix_space must be true or false, got 1"),
        ("tokenizer_config", {"add_bos_token": "yes"}, "add_bos_token must be true or false, got 'yes'"),
        ("tokenizer_config", {"extra_special_tokens": USER}, "extra_special_tokens must be a list"),
        ("tokenizer_config", {"eos_token": 5}, "tokenizer_config.json"),
        ("tokenizer_config", {"added_tokens_decoder": [USER]}, "expected tokens and their ids"),
        (
            "tokenizer_config",
            {"additional_special_tokens": [USER], "extra_special_tokens": [SYSTEM]},
            "two names of one",
        ),
        (
            "special_tokens_map",
            {"add_bos_token": True, "bos_token": USER},
            "which tokens are special, and nothing else",
        ),
        ("special_tokens_map", {"eos_token": USER, "split_special_tokens": True}, "and nothing else"),
        ("added_tokens", {USER: None}, "expected tokens and their ids"),
        ("added_tokens", {USER: 5}, "has the id 5"),
    ],
)
def test_what_the_files_beside_it_say_is_obeyed_or_refused_by_name(make, layout, name, fields, words):
    with pytest.raises(ValueError, match=words) as caught:
        Tokenizer.load(make(layout, **{name: fields}))
    assert name in str(caught.value) or "has the id" in words


def test_two_tokenizers_in_one_folder_are_refused(make, tiny_folder):
    """vocab.json and merges.txt of one model beside tokenizer.json of another: nothing says which is right."""
    folder = make("whole")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(tiny_folder / name, folder)
    Tokenizer.load(folder)  # the same one twice is fine
    Tokenizer.train(["another text"], 270).save(folder / "other")
    shutil.copy(folder / "other" / "merges.txt", folder)
    with pytest.raises(ValueError, match="tokenizer.json and the vocabulary beside it are two different tokenizers"):
        Tokenizer.load(folder)


# --- a save beside old files -----------------------------------------------------------------------------------------


def test_a_save_into_a_folder_with_another_tokenizer(make, tiny, tiny_tokenizer):
    """Loaded afterwards, with us or with transformers, the folder gives what was saved."""
    other = Tokenizer.train([f"some other text {USER} and more of it"] * 3, 300, [END, USER])
    folder = make("parts", added_tokens={"<old>": 4096}, special_tokens_map={"eos_token": "<old>"})
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 7, "do_sample": True}), encoding="utf-8")
    other.save(folder)
    assert not (folder / "added_tokens.json").exists() and not (folder / "special_tokens_map.json").exists()
    assert transformers.AutoTokenizer.from_pretrained(folder)(f"more {USER}")["input_ids"] == other.encode(
        f"more {USER}"
    )
    for name, content in [("added_tokens", {"<old>": 4096}), ("special_tokens_map", {"eos_token": "<old>"})]:
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    save_model(tiny, folder, tiny_tokenizer)
    assert not (folder / "generation_config.json").exists() and not list(folder.glob("*.new"))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert load_tokenizer(folder).vocabulary == tiny_tokenizer.vocabulary and len(theirs) == tiny_tokenizer.vocab_size
    assert_same_ids(load_tokenizer(folder), theirs, n=40)
    model = transformers.GPT2LMHeadModel.from_pretrained(folder)
    assert model.generation_config.eos_token_id == tiny.config.eos_token_id and not model.generation_config.do_sample


def test_what_does_not_contradict_stays(tmp_path, tiny, tiny_tokenizer):
    save_model(tiny, tmp_path, tiny_tokenizer)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 4095, "top_k": 5}), encoding="utf-8")
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    save_model(tiny, tmp_path)  # without a tokenizer: the one that is there stays
    assert (tmp_path / "generation_config.json").exists() and (tmp_path / "README.md").exists()
    assert load_tokenizer(tmp_path).vocabulary == tiny_tokenizer.vocabulary


def test_files_that_came_after_a_save_are_left_alone(tmp_path, tiny, tiny_tokenizer):
    """Only a save that died half-way takes contradicting files away when the folder is loaded."""
    save_model(tiny, tmp_path, tiny_tokenizer)
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "<|endoftext|>"}', encoding="utf-8")
    (tmp_path / "config.json.new").write_text("{}", encoding="utf-8")  # of a later save that never counted
    load_model(tmp_path)
    assert (tmp_path / "special_tokens_map.json").exists() and (tmp_path / "config.json.new").exists()
    content = (tmp_path / "config.json").read_bytes()
    (tmp_path / "config.json.new").write_bytes(content)  # as if the machine had died before the last renaming
    (tmp_path / "config.json").unlink()
    load_tokenizer(tmp_path)
    assert not (tmp_path / "special_tokens_map.json").exists() and (tmp_path / "config.json").read_bytes() == content


# --- special tokens in ordinary text ---------------------------------------------------------------------------------


def test_a_text_that_somebody_else_wrote_cannot_end_a_document(tiny_tokenizer):
    text = f"before {END} after"
    plain = tiny_tokenizer.encode(text, special_tokens=False)
    assert tiny_tokenizer.eos_id in tiny_tokenizer.encode(text) and tiny_tokenizer.eos_id not in plain
    assert tiny_tokenizer.decode(plain) == tiny_tokenizer.decode(tiny_tokenizer.encode(text)) == text


def test_training_learns_nothing_of_the_names_of_special_tokens():
    stories = f"one day {END} two days {END} three days {END}" * 50
    learned = Tokenizer.train([stories], 280)
    assert learned.eos_id == learned.vocab_size - 1 and not [pair for pair in learned.merges if "<" in "".join(pair)]
    assert learned.merges == Tokenizer.train(stories.split(END), 280).merges
    several = Tokenizer.train([f"{USER}hello{SYSTEM}hello"], 270, [END, USER, SYSTEM])
    assert [several.vocabulary[name] for name in (END, USER, SYSTEM)] == list(
        range(several.vocab_size - 3, several.vocab_size)
    )
    assert several.encode(f"{USER}{SYSTEM}") == [several.vocab_size - 2, several.vocab_size - 1]
    assert several.eos_token == END and Tokenizer.train(["a"], 256, []).eos_id is None
    for bad in ("<|x|>", [END, END]):
        with pytest.raises(ValueError, match="special_tokens must be a list of (different )?names"):
            Tokenizer.train(["a"], 300, bad)
    with pytest.raises(ValueError, match="vocab_size must be an integer of at least 258"):
        Tokenizer.train(["a"], 257, [END, USER])


def test_two_surrogates_are_one_character_and_half_of_one_is_refused(tiny_tokenizer):
    assert tiny_tokenizer.encode("a\ud83d\ude42b") == tiny_tokenizer.encode("a🙂b")
    assert Tokenizer.train(["\ud83d\ude42\ud83d\ude42"], 262).merges == Tokenizer.train(["🙂🙂"], 262).merges
    for text, place in [("a\ud83d", 1), ("\ude42", 0), ("🙂\ude42\ud83d", 1), ("ab\ud83d\ud83d\ude42", 2)]:
        for refuse in (tiny_tokenizer.encode, lambda text: Tokenizer.train([text], 300)):
            with pytest.raises(ValueError, match=f"lone surrogate .* at position {place}"):
                refuse(text)


def test_a_special_token_is_checked():
    for bad, words in [
        ({"content": ""}, "must be a text"),
        ({"content": 3}, "got 3"),
        ({"content": "a", "lstrip": 1}, "lstrip"),
    ]:
        with pytest.raises(ValueError, match=words):
            SpecialToken(**bad)
    tokenizer = Tokenizer.train(["text"], 260)
    with pytest.raises(ValueError, match="special token '<x>' is not in the vocabulary"):
        Tokenizer(tokenizer.vocabulary, tokenizer.merges, [END, "<x>"])
