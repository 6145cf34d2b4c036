"""Llama 3's and SmolLM2's byte-level BPE by hand; T5's and Llama 2's tokenizers through the package tokenizers."""

import copy
import json
import random
import sys

import pytest
import regex
import tokenizers
import transformers
from test_tokenizer import fuzzed_texts
from test_wordpiece import assert_as_hugging_face, some_lines, texts_with, write_folder
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from minigpt import Tokenizer, load_tokenizer
from minigpt.tokenizer import LibraryTokenizer, SpecialToken, WordPiece, read_any
from minigpt.tokenizer.bpe import CHARACTER_OF_BYTE
from minigpt.tokenizer.decoding import clean_up, stream_text
from minigpt.tokenizer.specials import split_at
from minigpt.tokenizer.words import DIGIT, WORDS, cut, word_pattern

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
LLAMA3 += r"\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
BEGIN, END, HEADER = "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>"
SIGNS = [
    "'S",
    "'ſ",
    "'LL",
    "\u212a",
    "12345",
    "½",
    "٣",
    " \n",
    "\r\n\r\n",
    "\n  x",
    "\u3000",
    "\u00a0a",
    "😀",
    "\u0345",
    "e\u0301",
]
AS_WRITTEN = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BEGIN, "eos_token": END}
AS_WRITTEN["clean_up_tokenization_spaces"] = True  # Llama 3's file says so; it has no effect


def some_texts(names, n, seed=1):
    rng = random.Random(seed)
    texts = list(texts_with(names, seed, n))
    return texts + ["".join(rng.choices([*SIGNS, *names, "a", " the", " "], k=6)) for _ in range(n // 2)]


def llama3(pattern=LLAMA3):
    theirs = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    theirs.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    theirs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator(some_lines(150), trainer)
    # A word that no merge makes: only ignore_merges finds it.
    fields = json.loads(theirs.to_str())
    fields["model"]["vocab"]["Ġxylophone"] = len(fields["model"]["vocab"])
    theirs = tokenizers.Tokenizer.from_str(json.dumps(fields))
    theirs.add_special_tokens([BEGIN, END, HEADER])
    begin = processors.TemplateProcessing(
        single=f"{BEGIN} $A",
        pair=f"{BEGIN} $A {BEGIN}:1 $B:1",
        special_tokens=[(BEGIN, theirs.token_to_id(BEGIN))],
    )
    theirs.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begin])
    return theirs


def smollm2():
    """Its vocabulary lacks the bytes that its training texts did not have; its folder names GPT2Tokenizer."""
    theirs = tokenizers.Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    theirs.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(False)])
    theirs.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<|im_start|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    lines = [f"    {line}    1" for line in some_lines(150)]
    theirs.train_from_iterator(lines, trainer)
    fields = json.loads(theirs.to_str())
    rare = [CHARACTER_OF_BYTE[byte] for byte in (0x00, 0x07, 0x1B, 0xC0, 0xF5, 0xFF)]
    names = sorted(fields["model"]["vocab"], key=fields["model"]["vocab"].get)
    fields["model"]["vocab"] = {name: id for id, name in enumerate(name for name in names if name not in rare)}
    return tokenizers.Tokenizer.from_str(json.dumps(fields))


def t5():
    theirs = tokenizers.Tokenizer(models.Unigram())
    space = dict(replacement="▁", prepend_scheme="always", split=True)
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**space)]
    )
    theirs.decoder = decoders.Metaspace(**space)
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    theirs.train_from_iterator(some_lines(90), trainer)
    theirs.add_special_tokens([f"<extra_id_{n}>" for n in reversed(range(100))])
    theirs.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return theirs


def llama2():
    theirs = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    theirs.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=["<unk>", "<s>", "</s>", *bytes_], max_token_length=8, show_progress=False
    )
    theirs.train_from_iterator([line[:300] for line in some_lines(90)], trainer)
    fields = json.loads(theirs.to_str())
    fields["added_tokens"] = fields["added_tokens"][:3]
    theirs = tokenizers.Tokenizer.from_str(json.dumps(fields))
    theirs.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    theirs.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return theirs


@pytest.fixture(scope="module")
def made():
    """Each tokenizer, made once."""
    made = {}
    return lambda make: made.setdefault(make, make())


# --- byte-level BPE by hand ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [AS_WRITTEN, AS_WRITTEN | {"tokenizer_class": "LlamaTokenizerFast"}, {"eos_token": END}],
    ids=["as written", "LlamaTokenizerFast", "no class"],
)
def test_llama_3(config, made, tmp_path, full):
    theirs = made(llama3)
    folder = write_folder(tmp_path, "llama", theirs, config)
    n = (6000 if full else 250) if config == AS_WRITTEN else 50
    texts = some_lines(n) + some_texts([BEGIN, END, HEADER], n) + [" xylophone", "xylophone", " xylophones"]
    ours = assert_as_hugging_face(folder, texts)
    assert isinstance(ours, Tokenizer) and isinstance(load_tokenizer(folder), Tokenizer)
    assert ours.encode("") == ours.prefix == [theirs.token_to_id(BEGIN)] and ours.eos_id == theirs.token_to_id(END)
    assert len(ours.encode(" xylophone")) == 2 < len(ours.encode(" xylophones"))
    for text, expected in zip(texts, theirs.encode_batch(texts), strict=True):
        assert ours.encode(text) == expected.ids, repr(text)
    ours.save(tmp_path / "saved")
    write_folder(tmp_path / "saved", "llama")
    again = assert_as_hugging_face(tmp_path / "saved", texts[::9] + texts[-3:])
    differing = {"_known_words": 0, "names": 0}  # a begin of text that only the template had has a name afterwards
    assert vars(again) | differing == vars(ours) | differing and again.names.items() >= ours.names.items()
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert (saved.bos_token, saved.eos_token) == (BEGIN, END)


def test_smollm2(made, tmp_path, full):
    """tokenizer.json is obeyed. transformers 5 uses GPT2Tokenizer, which ignores Digits; see `files._words`."""
    theirs = made(smollm2)
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    config = names | {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}
    folder = write_folder(tmp_path, "llama", theirs, config)
    n = 10_000 if full else 400
    texts = some_lines(n) + some_texts(["<|endoftext|>", "<|im_start|>", "    1", "a  23"], n)
    ours = read_any(folder)
    assert isinstance(ours, Tokenizer) and ours.vocab_size == len(transformers.AutoTokenizer.from_pretrained(folder))
    assert ours.eos_id == theirs.token_to_id("<|endoftext|>")
    refused = 0
    for text, expected in zip(texts, theirs.encode_batch(texts), strict=True):
        try:
            assert ours.encode(text) == expected.ids, repr(text)
        except ValueError:
            assert set(text.encode()) & {0x00, 0x07, 0x1B, 0xC0, 0xF5, 0xFF}
            refused += 1
    assert refused < n / 10
    ours.save(tmp_path / "saved")
    write_folder(tmp_path / "saved", "llama")
    assert_as_hugging_face(tmp_path / "saved", ["  12 a  3", "x 45"])
    for text, byte in [("bell\x07", "07"), ("a\x00", "00")]:
        with pytest.raises(ValueError, match=f"the vocabulary has no token for its byte 0x{byte}: take it out"):
            ours.encode(text)


def test_digits_and_letters_of_every_unicode_version(made, full):
    """Words are cut as tokenizers cuts them, whatever signs the installed regex calls a letter or a digit."""
    codes = [*range(0xD800), *range(0xE000, 0x33500 if full else 0x1F000), *range(0xE0000, 0xE0200)]
    alone = Tokenizer({character: id for id, character in enumerate(CHARACTER_OF_BYTE)}, [], digits_alone=True)
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    digits = pre_tokenizers.Digits(individual_digits=True)
    pattern = word_pattern(LLAMA3)

    for begin in range(0, len(codes), 3000):
        text = "".join(f" a{chr(code)}1" for code in codes[begin : begin + 3000])
        assert list(cut(pattern, text)) == [word for word, _ in split.pre_tokenize_str(text)]
        assert list(cut(DIGIT, text)) == [word for word, _ in digits.pre_tokenize_str(text)]
    assert alone.decode(alone.encode("a12 ٣")) == "a12 ٣"


def test_what_a_word_is_where_a_token_is_a_word_of_its_own(full):
    """single_word: beside a letter, digit, mark or underscore of Unicode 16, the name is not read as the token."""
    theirs = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    theirs.add_tokens([AddedToken("<new>", single_word=True, normalized=False)])
    token = SpecialToken("<new>", single_word=True)
    for code in [*range(0xD800), *range(0xE000, 0x33500)][:: 3 if full else 61]:
        for text in (f"{chr(code)}<new>", f"<new>{chr(code)}"):
            parts = [int(isinstance(part, SpecialToken)) for part in split_at([token], text)]
            assert parts == theirs.encode(text).ids, hex(code)


@pytest.mark.parametrize(
    "source", [LLAMA3, QWEN2, r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?[^\s\p{L}]+|\s+", r"\p{N}", r"[ab]*"]
)
def test_patterns_that_are_understood_cut_as_tokenizers_does(source):
    split, pattern = pre_tokenizers.Split(Regex(source), "isolated"), word_pattern(source)
    for text in some_texts(["bab", "12"], 300, seed=3):
        assert list(cut(pattern, text)) == [word for word, _ in split.pre_tokenize_str(text)], repr(text)


@pytest.mark.parametrize(
    "source",
    [r"\p{L}++", r"\p{Lu}", r"\w+", "(a)", "a{2}?", "a|[", "(?i:ss)", "[a-z]", r"\h", "^a", "", None, 5, r"(?<!a)b"],
)
def test_patterns_that_might_be_read_in_another_way_are_refused(source):
    with pytest.raises(ValueError, match=regex.escape(f"pattern {source!r} ")):
        word_pattern(source)


def test_gpt2s_words_lose_nothing_when_they_are_cut():
    for text in fuzzed_texts(200, seed=4):
        assert list(cut(WORDS, text)) == WORDS.findall(text)


def field(*path, value):
    def change(fields):
        for key in path[:-1]:
            fields = fields[key]
        fields[path[-1]] = value

    return change


def two_splits(fields):
    steps = fields["pre_tokenizer"]["pretokenizers"]
    steps.insert(0, {"type": "Digits", "individual_digits": True})


def digits_together(fields):
    steps = fields["pre_tokenizer"]["pretokenizers"]
    steps[0] = {"type": "Digits", "individual_digits": False}
    steps[1]["use_regex"] = True


FIRST, LAST = ("pre_tokenizer", "pretokenizers", 0), ("pre_tokenizer", "pretokenizers", 1)
NOT_BY_HAND = [
    (two_splits, "pre_tokenizer is Digits and Split and ByteLevel"),
    (field(*FIRST, "pattern", value={"Regex": r"\w+|\W+"}), "has more in it"),
    (field(*FIRST, "pattern", value={"String": " "}), "pattern None has more in it"),
    (field(*FIRST, "behavior", value="MergedWithNext"), "Split must be Isolated and not inverted"),
    (field(*FIRST, "invert", value=True), "Split must be Isolated and not inverted"),
    (field(*FIRST, value={"type": "Digits", "individual_digits": True}), "use_regex is false"),
    (field(*LAST, "use_regex", value=True), "use_regex is true after another pattern"),
    (field(*LAST, "add_prefix_space", value=True), "add_prefix_space after another cut"),
    (digits_together, "individual_digits is false"),
    (field("normalizer", value={"type": "NFC"}), "normalizer is NFC"),
    (field("model", "byte_fallback", value=True), "byte_fallback is True"),
]


@pytest.mark.parametrize("change, words", NOT_BY_HAND)
def test_what_is_not_by_hand_is_refused_by_name_or_read_by_the_library(change, words, made, tmp_path):
    fields = json.loads(made(llama3).to_str())
    change(fields)
    folder = write_folder(tmp_path, "llama", fields, AS_WRITTEN)
    with pytest.raises(ValueError, match=words):
        Tokenizer.load(folder)
    ours = assert_as_hugging_face(folder, some_texts([END, "12 ab", "e\u0301"], 30))
    assert isinstance(ours, LibraryTokenizer)
    write_folder(
        tmp_path, "llama", None, AS_WRITTEN | {"tokenizer_class": "LlamaTokenizer"}
    )  # the same to transformers
    assert_as_hugging_face(folder, ["a 12"])
    write_folder(tmp_path, "gpt2", None, {"tokenizer_class": "GPT2Tokenizer"})  # which would ignore all of this
    for load in (Tokenizer.load, read_any):
        with pytest.raises(
            ValueError, match="pre_tokenizer is|normalizer is|byte_fallback is|use_regex is|ignore_merges"
        ):
            load(folder)


def test_llama_3_in_the_name_of_gpt2_is_refused(made, tmp_path):
    folder = write_folder(tmp_path, "llama", made(llama3), AS_WRITTEN | {"tokenizer_class": "GPT2Tokenizer"})
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    text = "it'll xylophone (the) \n\n b"
    assert theirs(text)["input_ids"] != made(llama3).encode(text).ids  # the reason for the error below
    with pytest.raises(ValueError, match="ignore_merges is True, and GPT-2's BPE has none"):
        read_any(folder)
    fields = json.loads(made(llama3).to_str())
    fields["model"]["ignore_merges"] = False
    with pytest.raises(ValueError, match="pre_tokenizer is Split and ByteLevel, which this byte-level BPE cannot obey"):
        read_any(write_folder(tmp_path, "llama", fields))


def test_two_templates_are_refused(made, tmp_path):
    fields = json.loads(made(llama3).to_str())
    fields["post_processor"]["processors"] *= 2
    with pytest.raises(ValueError, match="post_processor has 2 templates, expected one"):
        read_any(write_folder(tmp_path, "llama", fields, AS_WRITTEN))


def test_a_folder_of_tokenizer_json_alone(made, tmp_path):
    (tmp_path / "tokenizer.json").write_text(made(llama3).to_str(), encoding="utf-8")
    ours = read_any(tmp_path)
    assert ours.encode("it'S 1234") == made(llama3).encode("it'S 1234").ids and ours.eos_id is None


def test_a_token_that_transformers_would_pass_over_is_refused(made, tmp_path):
    theirs = copy.deepcopy(made(smollm2))
    theirs.add_tokens(["<new>"])
    config = {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {}}
    folder = write_folder(tmp_path, "llama", theirs, config)
    assert len(transformers.AutoTokenizer.from_pretrained(folder)) == theirs.get_vocab_size() - 1
    with pytest.raises(ValueError, match="adds the token .* and transformers asks the added_tokens_decoder"):
        read_any(folder)


def test_most_bytes_are_needed():
    few = {character: id for id, character in enumerate(CHARACTER_OF_BYTE[40:100])}
    with pytest.raises(ValueError, match="the vocabulary lacks 196 of the 256 byte tokens, 'Ā' first"):
        Tokenizer(few, [])
    some = Tokenizer({character: id for id, character in enumerate(CHARACTER_OF_BYTE[32:127])}, [])
    with pytest.raises(ValueError, match="text has 'café', and the vocabulary has no token for its byte 0xC3"):
        some.encode("café é")
    assert some.decode(some.encode("plain")) == "plain"


# --- through the library ---------------------------------------------------------------------------------------------


T5_CONFIG = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
T5_CONFIG |= {"extra_ids": 100, "additional_special_tokens": [f"<extra_id_{n}>" for n in range(100)]}


@pytest.mark.parametrize(
    "config",
    [T5_CONFIG, T5_CONFIG | {"clean_up_tokenization_spaces": True}, None],
    ids=["T5Tokenizer", "blanks taken out", "nothing beside it"],
)
def test_t5(config, made, tmp_path, full):
    theirs = made(t5)
    folder = write_folder(tmp_path, "t5", theirs, config)
    n = (3000 if full else 100) if config == T5_CONFIG else 30
    texts = some_lines(n) + some_texts(["<extra_id_0>", "</s>", "<pad>", "<extra_id_99>"], n)
    ours = assert_as_hugging_face(folder, texts)
    assert isinstance(ours, LibraryTokenizer) and isinstance(load_tokenizer(folder), LibraryTokenizer)
    assert (ours.eos_id, ours.pad_id, ours.unk_id, ours.mask_id) == (1, 0, 2, None) and ours.encode("a")[-1] == 1
    assert ours.eos_token == "</s>" and ours.vocab_size == len(ours.vocabulary)
    for text in texts[-30:]:
        assert ours.encode(text) == theirs.encode(text).ids
    theirs.encode_special_tokens = True
    assert ours.encode("a </s>", special_tokens=False) == theirs.encode("a </s>").ids != ours.encode("a </s>")
    theirs.encode_special_tokens = False


def test_llama_2(made, tmp_path, full):
    """tokenizer.json is obeyed. transformers 5 uses LlamaTokenizer, without its normalizer: a text that begins with a
    space then loses a ▁, which sentencepiece and the model have."""
    theirs = made(llama2)
    config = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "add_eos_token": False}
    folder = write_folder(tmp_path, "llama", theirs, config | {"clean_up_tokenization_spaces": False})
    n = 1000 if full else 100
    texts = some_lines(n) + some_texts(["<s>", "</s>"], n)
    ours, auto = read_any(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert isinstance(ours, LibraryTokenizer) and (ours.bos_id, ours.eos_id, ours.pad_id) == (1, 2, None)
    for text in texts:
        ids = theirs.encode(text).ids
        assert ours.encode(text) == ids and ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)
    assert auto(" a")["input_ids"] != ours.encode(" a") and auto("a b")["input_ids"] == ours.encode("a b")
    write_folder(tmp_path, "llama", None, {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"})
    assert_as_hugging_face(folder, texts[::4])


@pytest.mark.parametrize("make", [t5, llama2])
def test_text_as_ids_arrive(make, made, tmp_path, full):
    folder = write_folder(tmp_path, "t5" if make is t5 else "llama", made(make), {"clean_up_tokenization_spaces": True})
    ours, rng = read_any(folder), random.Random(0)
    for text in some_texts(["</s>", "你好", "🙂 .", " n't"], 400 if full else 30):
        ids = ours.encode(text)
        pieces = list(ours.decode_stream(ids))
        assert "".join(pieces) == ours.decode(ids) and all(pieces)
        ids = [rng.randrange(ours.vocab_size + 2) for _ in range(10)]  # bytes without their neighbours, unknown ids
        assert "".join(ours.decode_stream(ids)) == ours.decode(ids), ids
    if make is llama2:
        ids = ours.encode("🙂")
        assert len(list(ours.decode_stream(ids))) <= 3 and ours.decode(ids) == "<s> 🙂"


def test_the_stream_shows_what_is_certain_at_once():
    texts = {1: "a", 2: "a\ufffd", 3: "aé b"}
    assert list(stream_text(lambda ids: texts[len(ids)], iter("xyz"))) == ["a", "é b"]
    assert list(stream_text(lambda ids: "".join(ids), iter(["abc", "def"]), reach=4)) == ["ab", "cdef"]
    assert clean_up("do n't , it 's ' x ' .") == "don't, it's'x '."


def test_ids_that_are_none(made, tmp_path):
    ours = read_any(write_folder(tmp_path, "t5", made(t5)))
    assert ours.pieces([0, 10**12]) == ["<pad>", "<|no token 1000000000000|>"]
    assert "<|no token 99999|>" in ours.decode([5, 99999])
    for bad in (-1, 1.0, True, "1", None):
        for decode in (ours.decode, lambda ids: list(ours.decode_stream(ids)), ours.pieces):
            with pytest.raises(ValueError, match=f"token id must be an integer of at least 0, got {bad!r}"):
                decode([5, bad])
    with pytest.raises(ValueError, match="lone surrogate"):
        ours.encode("\ud800")


def test_padding_and_truncation_of_a_file_are_not_obeyed(made, tmp_path):
    theirs = copy.deepcopy(made(t5))
    theirs.enable_padding(length=64)
    theirs.enable_truncation(4)
    ours = read_any(write_folder(tmp_path, "t5", theirs))
    assert ours.encode("the film was good") == made(t5).encode("the film was good").ids


def test_added_tokens_beside_a_tokenizer_json(made, tmp_path):
    new = {
        "content": "<new>",
        "lstrip": True,
        "rstrip": False,
        "normalized": False,
        "single_word": False,
        "special": True,
    }
    gap = new | {"content": "<extra_id_7>"}
    theirs, texts = made(t5), ["a <new> b", "x  <extra_id_7> ", "a<new>"]
    id = theirs.token_to_id("<extra_id_7>")
    decoder = {str(theirs.get_vocab_size()): new, str(id): gap}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": decoder, "pad_token": "<p>"}
    ours = assert_as_hugging_face(write_folder(tmp_path, "t5", theirs, config), texts)
    assert ours.pad_id == theirs.get_vocab_size() + 1 == ours.vocab_size - 1
    without = tokenizers.Tokenizer.from_str(theirs.to_str())
    fields = json.loads(without.to_str())
    fields["added_tokens"] = fields["added_tokens"][:3]  # T5Tokenizer adds them itself
    assert_as_hugging_face(write_folder(tmp_path / "without", "t5", fields), [*texts, "<extra_id_0>"])


def test_files_come_back_byte_for_byte(made, tmp_path):
    folder = write_folder(tmp_path / "a", "t5", made(t5), T5_CONFIG, special_tokens_map={"eos_token": "</s>"})
    (folder / "spiece.model").write_bytes(b"\x00\xff the same, in another form")
    ours = read_any(folder)
    Tokenizer.train(["text"], 260).save(tmp_path / "b")
    ours.save(tmp_path / "b")
    kept = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model"}
    assert {file.name for file in (tmp_path / "b").iterdir()} == kept == set(ours.files())
    for name in kept:
        assert (tmp_path / "b" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    "change, config, words",
    [
        (None, {"tokenizer_class": "AlbertTokenizer"}, "tokenizer_class is 'AlbertTokenizer', which is not known here"),
        (
            None,
            {"tokenizer_class": "BertTokenizer"},
            "tokenizer_class is 'BertTokenizer', and as written or T5 or Llama",
        ),
        (None, {"tokenizer_class": "LlamaTokenizer"}, "model is Unigram, and Llama's tokenizer is another one"),
        (None, {"extra_ids": -1}, "extra_ids must be an integer of at least 0, got -1"),
        (None, {"split_special_tokens": True}, "split_special_tokens is True"),
        (lambda fields: fields["model"].pop("vocab"), {}, "is no file of the package tokenizers"),
        (lambda fields: fields.update(model=None), {}, "is no file of the package tokenizers"),
        (lambda fields: fields.update(decoder=3), {}, "decoder must be an object, got 3"),
    ],
)
def test_what_the_library_cannot_obey_is_refused_by_name(change, config, words, made, tmp_path):
    fields = json.loads(made(t5).to_str())
    if change:
        change(fields)
    with pytest.raises(ValueError, match=f"tokenizer.*{words}"):
        read_any(write_folder(tmp_path, "t5", fields, config))


def test_ids_with_holes_are_refused_where_a_token_is_to_be_added(tmp_path):
    theirs = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 7}, unk_token="[UNK]"))
    ours = read_any(write_folder(tmp_path, "llama", theirs))
    assert ours.vocab_size == 8 and ours.encode("b") == [7] and ours.pieces([3]) == ["<|no token 3|>"]
    write_folder(tmp_path, "llama", None, {"added_tokens_decoder": {"7": {"content": "<x>"}}})
    with pytest.raises(ValueError, match="'<x>' has the id 7, and 3 is its place in the vocabulary"):
        read_any(tmp_path)


def test_the_class_in_config_json_counts_where_no_other_is_named(made, tmp_path):
    folder = write_folder(tmp_path, "t5", made(t5), {"eos_token": "</s>"})
    config = {"model_type": "t5", "tokenizer_class": "AlbertTokenizer"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match="config.json: tokenizer_class is 'AlbertTokenizer', which is not known here"):
        read_any(folder)
    write_folder(tmp_path, "t5", None, {"tokenizer_class": "T5Tokenizer"})
    assert read_any(folder).pad_id == 0


def test_sentencepiece_files_alone_and_other_folders(made, tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"\x00")
    with pytest.raises(ValueError, match="spiece.model is not read here: make tokenizer.json of it once"):
        read_any(tmp_path)
    with pytest.raises(FileNotFoundError, match="no tokenizer in .*: expected tokenizer.json"):
        LibraryTokenizer.load(tmp_path)
    folder = write_folder(tmp_path / "t5", "t5", made(t5))
    for load, words in [
        (Tokenizer.load, "the model is made for T5's tokenizer, and "),
        (WordPiece.load, "T5's tokenizer"),
    ]:
        with pytest.raises(ValueError, match=f"{words}.*minigpt.load_tokenizer takes the right one"):
            load(folder)


def test_without_the_package_a_sentence_says_what_to_install(made, tmp_path, monkeypatch):
    folder = write_folder(tmp_path, "t5", made(t5))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match="tokenizer.json is read with the package tokenizers: pip install tokenizers"):
        read_any(folder)


def test_the_package_is_imported_only_where_it_is_needed(tmp_path, monkeypatch):
    """GPT-2's and BERT's files need no more than regex."""
    trained = Tokenizer.train(["some text"], 270)
    trained.save(tmp_path / "bpe")
    WordPiece({"[UNK]": 0, "a": 1}, names={"unk_token": "[UNK]"}).save(tmp_path / "wordpiece")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert read_any(tmp_path / "bpe").vocabulary == trained.vocabulary
    assert read_any(tmp_path / "wordpiece").encode("a") == [1]


def test_a_token_of_the_package_is_as_ours(made, tmp_path, full):
    """lstrip, rstrip, single_word, normalized: by hand as in the package, in text that is cut by Llama 3's pattern."""
    rng = random.Random(5)
    for round in range(20 if full else 4):
        theirs = copy.deepcopy(made(llama3))
        ways = {way: rng.random() < 0.5 for way in ("lstrip", "rstrip", "single_word", "normalized")}
        theirs.add_tokens([AddedToken("<new>", **ways), AddedToken("the", **ways)])
        theirs.add_special_tokens(["zzx"])
        folder = write_folder(tmp_path / str(round), "llama", theirs, AS_WRITTEN)
        texts = some_texts(["<new>", " the ", "theme", " the", "zzx"], 30)
        ours = assert_as_hugging_face(folder, texts)
        theirs.encode_special_tokens = True
        for text in [*texts, "zzx", "a zzx"]:
            assert ours.encode(text, special_tokens=False) == theirs.encode(text).ids, repr(text)
