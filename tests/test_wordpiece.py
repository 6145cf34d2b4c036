"""BERT's tokenizer: the ids and texts of transformers' AutoTokenizer and of the tokenizers package, or a refusal."""

import builtins
import copy
import functools
import json
import os
import random
import statistics
import textwrap
from pathlib import Path

import pytest
import tokenizers
import transformers
from test_tokenizer import fuzzed_texts
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from minigpt import Tokenizer, load_tokenizer
from minigpt.tokenizer import LibraryTokenizer, SpecialToken, WordPiece, read_any
from minigpt.tokenizer.wordpiece import longest_pieces

SIZE = 600  # of the vocabulary
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@functools.cache
def some_lines(n: int) -> list[str]:
    """WikiText and Chinese poems where they are, else what this Python says about itself."""
    data = os.environ.get("MINIGPT_DATA")
    if data:
        english, chinese = (Path(data) / name for name in ("wikitext2/test.txt", "tangshi/tangshi.txt"))
        lines = [line for line in english.read_text(encoding="utf-8").split("\n") if line.strip()][: n * 2 // 3]
        return lines + [line for line in chinese.read_text(encoding="utf-8").split("\n") if line.strip()][: n // 3]
    modules = (builtins, os, random, statistics, textwrap)
    documented = [getattr(module, name).__doc__ or "" for module in modules for name in sorted(vars(module))]
    lines = [line for text in documented for line in text.split("\n") if line.strip()]
    poem = ["床前明月光，疑是地上霜。", "举头望明月，低头思故乡。"] * 50
    return [*lines[: n * 2 // 3], *poem[: n // 3]]


def write_folder(folder: Path, model_type: str, whole=None, config: dict | None = None, **files) -> Path:
    """config.json, tokenizer.json from a `tokenizers.Tokenizer` or its fields, tokenizer_config.json, and more."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"config": {"model_type": model_type}, "tokenizer_config": config} | files
    if whole is not None:
        files["tokenizer"] = json.loads(whole.to_str()) if isinstance(whole, tokenizers.Tokenizer) else whole
    for name, content in files.items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder


def assert_as_hugging_face(folder: Path, texts, ours=None):
    """The ids, the texts of the ids, and the size are those of AutoTokenizer."""
    ours, theirs = ours or read_any(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert ours.vocab_size == len(theirs)
    for text in texts:
        ids = ours.encode(text)
        assert ids == theirs(text)["input_ids"], repr(text)
        assert ours.decode(ids) == theirs.decode(ids), repr(text)
    return ours


def texts_with(names, seed, n):
    """Fuzzed texts with special tokens in them, white space around or not."""
    rng = random.Random(seed)
    for text in fuzzed_texts(n, seed):
        place = rng.randint(0, len(text))
        yield (
            text[:place] + rng.choice(["", " ", "\n", "  "]) + rng.choice(names) + rng.choice(["", " "]) + text[place:]
        )


def trained(lower_case=True, special_tokens=SPECIALS, **ways):
    theirs = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer = normalizers.BertNormalizer(lowercase=lower_case, **ways)
    theirs.pre_tokenizer, theirs.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=special_tokens, show_progress=False)
    theirs.train_from_iterator(some_lines(200), trainer)
    theirs.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return theirs


@pytest.fixture(scope="module")
def uncased():
    return trained()


@pytest.fixture(scope="module")
def cased():
    return trained(lower_case=False)


@pytest.fixture(scope="module")
def whole(uncased):
    return json.loads(uncased.to_str())


@pytest.fixture(scope="module")
def small(uncased, tmp_path_factory):
    return WordPiece.load(write_folder(tmp_path_factory.mktemp("small"), "bert", uncased))


def vocab_lines(theirs) -> str:
    names = theirs.get_vocab()
    return "".join(f"{name}\n" for name in sorted(names, key=names.get))


# --- the algorithm ---------------------------------------------------------------------------------------------------


def test_the_longest_piece_first():
    """Devlin's example: embeddings is em ##bed ##ding ##s. No other way to cut is looked for."""
    vocabulary = {piece: id for id, piece in enumerate(["em", "##bed", "##ding", "##s", "##d", "un", "una", "##able"])}
    assert longest_pieces("embeddings", vocabulary) == [0, 1, 2, 3]
    assert longest_pieces("unable", vocabulary) is None  # una ##ble, although un ##able would do
    assert longest_pieces("ding", vocabulary) is None and longest_pieces("", vocabulary) == []


@pytest.mark.parametrize("lower_case", [True, False])
def test_the_ids_are_hugging_faces(lower_case, uncased, cased, tmp_path, full):
    theirs = uncased if lower_case else cased
    folder = write_folder(tmp_path, "bert", theirs, {"do_lower_case": lower_case})
    texts = [*some_lines(4000 if full else 300)]
    texts += list(texts_with([*SPECIALS, "[mask]", "[MASK", " [SEP]"], 1, 8000 if full else 600))
    ours = assert_as_hugging_face(folder, texts)
    assert isinstance(ours, WordPiece) and isinstance(load_tokenizer(folder), WordPiece)
    for text, expected in zip(texts, theirs.encode_batch(texts), strict=True):
        assert ours.encode(text) == expected.ids, repr(text)
    theirs.encode_special_tokens = True
    for text in texts[-200:]:
        assert ours.encode(text, special_tokens=False) == theirs.encode(text).ids, repr(text)
    theirs.encode_special_tokens = False


@pytest.mark.parametrize("ways", [{}, {"strip_accents": True, "lowercase": False}, {"lowercase": False}])
def test_every_character_is_cleaned_and_cut_as_hugging_face_does(ways, full):
    """Hugging Face has the accents, punctuation and control characters of Unicode 8. A letter that is too new for this
    Python to make it small makes no difference: BERT's vocabularies have none of them."""
    names = [*SPECIALS, "a", "b", "##b", "##a", ".", "e", "##e", "##\u0301", "中", "i"]
    theirs = tokenizers.Tokenizer(models.WordPiece({name: id for id, name in enumerate(names)}, unk_token="[UNK]"))
    theirs.normalizer = normalizers.BertNormalizer(**ways)
    theirs.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    lower_case, strip = ways.get("lowercase", True), ways.get("strip_accents")
    ours = WordPiece(
        theirs.get_vocab(), lower_case=lower_case, strip_accents=strip, names={"unk_token": "[UNK]"}, chinese_alone=True
    )
    codes = [*range(0xD800), *range(0xE000, 0x30000 if full else 0x1FA00), *range(0xE0000, 0xE0200), 0xF0000, 0x10FFFF]
    codes = codes if full or not ways else codes[:0x3100]
    for edge in (0x2A6DF, 0x2A700, 0x2B73F, 0x2B81F, 0x2B920, 0x2CEAF, 0x2F800, 0x2FA1F):  # Chinese characters end here
        codes += range(edge - 2, edge + 3)
    for begin in range(0, len(codes), 1000):
        text = " ".join(f"a{chr(code)}b" for code in codes[begin : begin + 1000])
        if ours.encode(text) != theirs.encode(text).ids:
            wrong = [
                hex(c) for c in codes[begin : begin + 1000] if ours.encode(w := f"a{chr(c)}b") != theirs.encode(w).ids
            ]
            raise AssertionError(wrong)


def test_a_small_sigma_and_other_letters_of_two_kinds(small, uncased):
    for text in [
        "ΑΣ ΣΑΣ ΑΣ'",
        "İstanbul",
        "ǅ ß ẞ ﬁ",
        "Å Å A\u030a",
        "한국어 \u1112\u1161",
        "\u0344\u0301x",
        "ᾳ ᾼ",
        "a\u3000b\t\r\n\x85c\x1c",
    ]:
        assert small.encode(text) == uncased.encode(text).ids, text
        assert small.normalize(text) == uncased.normalizer.normalize_str(text), text


def test_the_mask_that_a_user_types_is_the_mask(small):
    ids = small.encode("Return the [MASK] of the list")
    assert ids[0] == small.cls_id == 2 and ids[-1] == small.sep_id == 3 and ids.count(small.mask_id) == 1
    assert small.mask_token == "[MASK]" and small.mask_id == 4 and small.pad_id == 0 and small.unk_id == 1
    assert small.eos_id is None and small.bos_id is None and small.eos_token is None
    assert small.mask_id not in small.encode("Return the [MASK] of the list", special_tokens=False)


def test_two_texts(small, uncased):
    for first, second in [("the film", "was good [SEP] !"), ("", "x"), ("a [MASK]", "")]:
        expected = uncased.encode(first, second)
        assert small.encode_pair(first, second) == (expected.ids, expected.type_ids)


def test_long_words_are_unknown(small, uncased, tmp_path):
    for n in (99, 100, 101, 5000):
        assert small.encode("e" * n) == uncased.encode("e" * n).ids
    whole = json.loads(uncased.to_str())
    whole["model"]["max_input_chars_per_word"] = 3
    folder = write_folder(tmp_path / "three", "bert", whole, {"tokenizer_class": "PreTrainedTokenizerFast"})
    assert_as_hugging_face(folder, ["the them", "eeee", "中文中文"])


# --- text again ------------------------------------------------------------------------------------------------------


def test_text_of_any_ids(tmp_path, full):
    """`decode` is the package's, blanks in front of signs and contractions included; the stream adds up to it."""
    words = ["don", "'", "t", "n't", "'s", "'ve", ".", ",", "?", "##s", "a", "do not", "##", "'re", "'m", "not", "!"]
    names = [*SPECIALS, *words]
    theirs = tokenizers.Tokenizer(models.WordPiece({name: id for id, name in enumerate(names)}, unk_token="[UNK]"))
    theirs.decoder = decoders.WordPiece()
    vocabulary = theirs.get_vocab()
    folder = write_folder(tmp_path, "bert", None, {"clean_up_tokenization_spaces": True})
    (folder / "vocab.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    cleaned, auto = WordPiece.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    plain = WordPiece(vocabulary, names={"unk_token": "[UNK]"})
    rng = random.Random(0)
    for _ in range(20_000 if full else 600):
        ids = [rng.randrange(len(names)) for _ in range(rng.randint(0, 12))]
        assert plain.decode(ids) == "".join(plain.decode_stream(ids)) == theirs.decode(ids, skip_special_tokens=False)
        assert cleaned.decode(ids) == "".join(cleaned.decode_stream(ids)) == auto.decode(ids)


def test_pieces_and_ids_that_are_none(small):
    assert small.pieces([4, 10**9]) == ["[MASK]", "<|no token 1000000000|>"]
    assert small.decode([4, SIZE, 4]) == f"[MASK] <|no token {SIZE}|> [MASK]"
    ids = small.encode("unbelievably [MASK]")
    assert small.pieces(ids)[0] == "[CLS]" and any(piece.startswith("##") for piece in small.pieces(ids))
    for bad in (-1, 1.0, True, "1", None):
        for decode in (small.decode, lambda ids: list(small.decode_stream(ids)), small.pieces):
            with pytest.raises(ValueError, match=f"token id must be an integer of at least 0, got {bad!r}"):
                decode([5, bad])


def test_half_a_surrogate_pair_is_refused(small):
    assert small.encode("a\ud83d\ude42b") == small.encode("a🙂b")
    for encode in (small.encode, lambda text: small.encode_pair("a", text)):
        with pytest.raises(ValueError, match="lone surrogate .* at position 1"):
            encode("a\ud800")


@pytest.mark.parametrize("letter", ["a", " ", "é", "中", "[MASK]", "."])
def test_long_runs_do_not_hang(small, uncased, letter):
    text = letter * 50_000
    assert small.encode(text) == uncased.encode(text).ids


# --- folders ---------------------------------------------------------------------------------------------------------

USER = "Userword"
ADDED = {"content": USER, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False, "special": False}
SPECIAL = ADDED | {"normalized": False, "special": True}


def bert_processing(fields):
    fields["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}


def add(**ways):
    return lambda fields: fields["added_tokens"].append({"id": SIZE} | ADDED | ways)


def padded(fields):
    """With padding, as in MiniLM's file."""
    fields["padding"] = {"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    fields["padding"] |= {"pad_type_id": 0, "pad_token": "[PAD]"}
    fields["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}


def no_template(fields):
    fields["post_processor"] = None


def small_words(fields):
    fields["normalizer"] |= {"lowercase": False, "strip_accents": None, "handle_chinese_chars": False}


AS_WRITTEN = {"tokenizer_class": "PreTrainedTokenizerFast"}
FOLDERS = {
    "nothing beside it": dict(),
    "BertTokenizer": dict(config={"tokenizer_class": "BertTokenizer"}),
    "BertTokenizerFast": dict(config={"tokenizer_class": "BertTokenizerFast"}),
    "DistilBERT": dict(config={"tokenizer_class": "DistilBertTokenizer"}, model_type="distilbert"),
    "ELECTRA": dict(config={"tokenizer_class": "ElectraTokenizer"}, model_type="electra"),
    "BertProcessing": dict(change=bert_processing),
    "padding and truncation": dict(change=padded),
    "vocab.txt": dict(layout="lines"),
    "vocab.txt, cased": dict(layout="lines", config={"do_lower_case": False}),
    "vocab.txt, accents stay": dict(layout="lines", config={"strip_accents": False}),
    "vocab.txt, accents go": dict(layout="lines", config={"do_lower_case": False, "strip_accents": True}),
    "vocab.txt, Chinese in words": dict(layout="lines", config={"tokenize_chinese_chars": False}),
    "vocab.txt, another mask": dict(layout="lines", config={"mask_token": "<mask>"}),
    "vocab.txt, a map": dict(layout="lines", special_tokens_map={"mask_token": SPECIAL | {"content": "<mask>"}}),
    "vocab.txt, added_tokens.json": dict(layout="lines", added_tokens={USER: SIZE}),
    "vocab.txt, a token added in the middle": dict(
        layout="lines", config={"added_tokens_decoder": {str(SIZE): ADDED, "4": SPECIAL | {"content": "[MASK]"}}}
    ),
    "vocab.txt, lstrip": dict(
        layout="lines", config={"added_tokens_decoder": {"4": SPECIAL | {"content": "[MASK]", "lstrip": True}}}
    ),
    "an added token": dict(change=add()),
    "an added token, not normalized": dict(change=add(normalized=False)),
    "an added token, a single word": dict(change=add(single_word=True)),
    "an added special token": dict(change=add(special=True, normalized=False)),
    "an added Chinese token": dict(change=add(content="中X", rstrip=True)),
    "as written": dict(config=AS_WRITTEN),
    "as written, cased": dict(config=AS_WRITTEN, change=small_words),
    "as written, a setting that this class does not have": dict(config=AS_WRITTEN | {"do_lower_case": False}),
    "as written, no template": dict(config=AS_WRITTEN, change=no_template),
    "both files": dict(layout="both"),
}


@pytest.fixture
def make(tmp_path, uncased, whole):
    def make(layout="whole", change=None, config=None, model_type="bert", **files):
        fields = copy.deepcopy(whole)
        if change:
            change(fields)
        folder = write_folder(tmp_path, model_type, None if layout == "lines" else fields, config, **files)
        if layout != "whole":
            (folder / "vocab.txt").write_text(vocab_lines(uncased), encoding="utf-8")
        return folder

    return make


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_read_as_auto_tokenizer_does_and_saved_again(name, make, tmp_path):
    """Our ids are theirs, for the folder that they wrote and for the folder that we save after that."""
    texts = list(texts_with([*SPECIALS, USER, USER.lower(), f"{USER}s", "<mask>", "中x", "中X "], 2, 40))
    texts += ["Héllo the Café 中文 it's", ""]
    folder = make(**FOLDERS[name])
    ours = assert_as_hugging_face(folder, texts)
    assert isinstance(ours, WordPiece)
    for kept in ("tokenizer.json", "vocab.txt"):
        (tmp_path / "saved").mkdir(exist_ok=True)
        (tmp_path / "saved" / kept).write_text("an older one", encoding="utf-8")
    write_folder(tmp_path / "saved", "bert")
    ours.save(tmp_path / "saved")
    again = assert_as_hugging_face(tmp_path / "saved", texts[::2])
    assert vars(again) | {"_known_words": 0} == vars(ours) | {"_known_words": 0}
    (tmp_path / "saved" / "tokenizer.json").unlink()
    is_berts = "BertTokenizer" in (tmp_path / "saved" / "tokenizer_config.json").read_text(encoding="utf-8")
    if is_berts and (ours.prefix, ours.special_tokens[5:], ours.vocab_size) == ([2], [], SIZE):
        assert_as_hugging_face(tmp_path / "saved", texts[:15])  # vocab.txt says the same


def set_field(part, **fields):
    return lambda whole: whole.__setitem__(part, (whole[part] or {}) | fields)


@pytest.mark.parametrize(
    "change, config, words",
    [
        (set_field("normalizer", lowercase=False), {}, "lower_case is False, and tokenizer_config.json .* says True"),
        (None, {"do_lower_case": False}, "lower_case is True, and tokenizer_config.json .* says False"),
        (set_field("normalizer", strip_accents=False), {}, "strip_accents is False, and .* says True"),
        (None, {"strip_accents": False}, "strip_accents is True, and .* says False"),
        (set_field("normalizer", handle_chinese_chars=False), {}, "chinese_alone is False, and .* says True"),
        (set_field("model", max_input_chars_per_word=50), {}, "max_word is 50, and .* says 100"),
        (set_field("model", unk_token="[PAD]"), {}, r"unk_token is '\[PAD\]', and .* says '\[UNK\]'"),
        (no_template, {}, r"prefix is \[\], and .* says \[2\]"),
        (None, {"cls_token": "[PAD]"}, r"prefix is \[2\], and .* says \[0\]"),
        (None, {"sep_token": "[PAD]"}, r"suffix is \[3\], and .* says \[0\]"),
        (None, {"sep_token": None}, "sep_token is None, and BERT's tokenizer needs one"),
        (None, {"do_lower_case": "no"}, "do_lower_case must be true or false, got 'no'"),
        (None, {"do_lower_case": None}, "do_lower_case must be true or false, got None"),
        (None, {"split_special_tokens": True}, "split_special_tokens is True"),
        (None, {"clean_up_tokenization_spaces": 1}, "clean_up_tokenization_spaces must be true or false, got 1"),
        (
            None,
            {"tokenizer_class": "BertJapaneseTokenizer"},
            "tokenizer_class is 'BertJapaneseTokenizer', which is not",
        ),
        (None, {"tokenizer_class": "GPT2Tokenizer"}, "tokenizer_class is 'GPT2Tokenizer', and BERT or as written was"),
        (add(), {"added_tokens_decoder": {}}, f"adds the token '{USER}'.*lacks it"),
        (lambda whole: whole["added_tokens"].append(ADDED | {"id": 1600}), {}, f"'{USER}' has the id 1600"),
        (set_field("normalizer", type="Lowercase"), {}, "normalizer is 'Lowercase', and BERT's is 'BertNormalizer'"),
        (set_field("normalizer", clean_text=False), {}, "clean_text of normalizer is False"),
        (set_field("pre_tokenizer", type="Whitespace"), {}, "pre_tokenizer is 'Whitespace'"),
        (set_field("decoder", cleanup=False), {}, "decoder is .*, and BERT's is"),
        (set_field("model", continuing_subword_prefix="@@"), {}, "continuing_subword_prefix is '@@'"),
        (set_field("model", vocab=["a"]), {}, "vocab must map tokens to integer ids"),
        (set_field("post_processor", type="RobertaProcessing"), {}, "post_processor is RobertaProcessing"),
        (set_field("post_processor", type="BertProcessing"), {}, "post_processor lacks sep or cls"),
        (set_field("post_processor", pair=[]), {}, "the template for two texts is not BERT's"),
        (lambda whole: whole["added_tokens"].append({"content": "x"}), {}, "an added token lacks 'id'"),
    ],
)
def test_contradictions_and_what_cannot_be_obeyed_are_refused_by_name(make, change, config, words):
    for load in (WordPiece.load, read_any):
        with pytest.raises(ValueError, match=words) as caught:
            load(make(change=change, config=config))
        assert "tokenizer" in str(caught.value)


def test_what_is_not_by_hand_goes_to_the_library_where_the_file_says_everything(make):
    for change in (set_field("normalizer", clean_text=False), set_field("decoder", cleanup=False)):
        folder = make(change=change, config=AS_WRITTEN)
        ours = assert_as_hugging_face(folder, ["a\x00b  the [MASK] it's", *texts_with(SPECIALS, 3, 50)])
        assert isinstance(ours, LibraryTokenizer)
        with pytest.raises(ValueError):
            WordPiece.load(folder)


def test_two_vocabularies_in_one_folder_are_refused(make):
    folder = make("both")
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    lines[10], lines[11] = lines[11], lines[10]
    (folder / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match="tokenizer.json and vocab.txt are two different tokenizers"):
        WordPiece.load(folder)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na \n", "'a' is on line 5 and on line 6"),
        (b"[PAD]\n[CLS]\n[SEP]\na\n", r"unk_token must be a token of the vocabulary, got '\[UNK\]'"),
        (b"[UNK]\n\xff\n", "UTF-8"),
        (b"\xef\xbb\xbf[PAD]\n[UNK]\n[CLS]\n[SEP]\n", "begins with a byte-order mark"),
    ],
)
def test_broken_lines_are_refused(make, content, words):
    folder = make("lines")
    (folder / "vocab.txt").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        WordPiece.load(folder)


@pytest.mark.parametrize("end", ["\n", "\r\n", "", " \u3000\n"])
def test_the_ends_of_lines(make, uncased, end):
    folder = make("lines")
    (folder / "vocab.txt").write_bytes((vocab_lines(uncased).rstrip("\n").replace("\n", end or "\n") + end).encode())
    assert_as_hugging_face(folder, ["the film it's 中文", *texts_with(SPECIALS, 4, 40)])


def test_a_folder_without_a_tokenizer_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected tokenizer.json or vocab.txt"):
        WordPiece.load(tmp_path)
    with pytest.raises(
        FileNotFoundError, match="expected tokenizer.json, or vocab.json and merges.txt, .*or vocab.txt"
    ):
        read_any(tmp_path)


def test_a_save_takes_another_tokenizers_files_away(small, tmp_path):
    def names():
        return {file.name for file in tmp_path.iterdir()}

    (tmp_path / "spiece.model").write_bytes(b"another one")
    Tokenizer.train(["some text"], 270).save(tmp_path)
    assert names() == {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"}
    small.save(tmp_path)
    assert names() == {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}
    Tokenizer.train(["some text"], 270).save(tmp_path)
    assert names() == {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"}


def test_arguments_are_checked():
    good = {"[UNK]": 0, "a": 1}
    for arguments, words in [
        (dict(vocabulary={"[UNK]": 1}), "ids of a vocabulary of 1 tokens must be 0..0"),
        (dict(vocabulary={"a": 0}), r"names has 'unk_token': '\[UNK\]'"),
        (dict(names={}), "unk_token must be a token of the vocabulary, got None"),
        (dict(names={"unk_token": "[UNK]", "mask": "a"}), "names has 'mask': 'a', expected one of bos_token"),
        (dict(lower_case=1), "lower_case must be True or False, got 1"),
        (dict(max_word=0), "max_word must be an integer of at least 1, got 0"),
        (dict(prefix="x"), "prefix must be a list of integer token ids"),
    ]:
        with pytest.raises(ValueError, match=words):
            WordPiece(**{"vocabulary": good, "names": {"unk_token": "[UNK]"}} | arguments)
    grown = WordPiece(good, [SpecialToken("<x>"), SpecialToken("<y>")], {"unk_token": "[UNK]"})
    assert grown.vocab_size == 4 and grown.encode("a<y>") == [1, 3] and good == {"[UNK]": 0, "a": 1}
