import itertools
import json
import random
import shutil
import time
from pathlib import Path

import pytest
import tokenizers

from minigpt import Tokenizer
from minigpt.tokenizer import words
from minigpt.tokenizer.bpe import CHARACTER_OF_BYTE, END_OF_TEXT, WORDS
from minigpt.tokenizer.merging import merge_word, merge_word_simply

TEXTS = [
    "low low lower lowest newer wider",
    "It's 2026, and we'll see what they've done: naïve café, 你好，世界！ 🙂🙃",
    "def f(x):\n    return x ** 2\n\n\nclass A:\n\tpass\n",
] * 3


@pytest.fixture(scope="module")
def small():
    return Tokenizer.train(TEXTS, 400)


def oracle(folder) -> tokenizers.Tokenizer:
    theirs = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    theirs.add_special_tokens([END_OF_TEXT])
    return theirs


def fuzzed_texts(n, seed):
    """Every Unicode plane, control characters, long runs, mixed scripts, contractions and white space."""
    rng = random.Random(seed)
    pieces = [
        "'s",
        "'LL",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u00a0",
        "\u3000",
        "\u200d",
        "1",
        "½",
        "é",
        "e\u0301",
        "ß",
        "ﬁ",
    ]
    pieces += [
        "你好",
        "Привет",
        "مرحبا",
        "नमस्ते",
        "ไทย",
        "한국어",
        "👩‍👩‍👧",
        "🏳️‍🌈",
        "_",
        "--",
        "<|endoftext|>",
        "<|end",
        "\x1c",
        "\x85",
    ]

    def character():
        while True:
            limit = rng.choice([0x80, 0x800, 0x3000, 0x10000, 0x20000, 0x110000])
            code = rng.randrange(limit)
            if not 0xD800 <= code < 0xE000:
                return chr(code)

    for _ in range(n):
        parts = []
        for _ in range(rng.randint(0, 12)):
            kind = rng.random()
            if kind < 0.35:
                parts.append(rng.choice(pieces))
            elif kind < 0.65:
                parts.append(character())
            elif kind < 0.7:
                parts.append(character() * rng.randint(2, 60))
            elif kind < 0.75:
                parts.append(rng.choice(" \n\t") * rng.randint(2, 30))
            else:
                parts.append("".join(rng.choices("abcdefghijklmnopqrstuvwxyzABC 0123456789.,", k=rng.randint(1, 12))))
        yield "".join(parts)


def test_the_lectures_sentence(gpt2_tokenizer):
    ids = gpt2_tokenizer.encode("The quick brown fox jumps over the lazy dog")
    assert ids == [464, 2068, 7586, 21831, 18045, 625, 262, 16931, 3290]


def test_wikitext_has_the_lectures_count_in_under_three_seconds(gpt2_tokenizer, wikitext, data):
    assert len(wikitext.encode()) == 1_296_370
    fresh = Tokenizer.load(data / "gpt2")
    start = time.process_time()
    ids = fresh.encode(wikitext)
    assert time.process_time() - start < 3
    assert len(ids) == 287_644
    assert fresh.decode(ids) == wikitext
    assert ids == oracle(data / "gpt2").encode(wikitext).ids


def test_equal_to_hugging_face_on_fuzzed_text(gpt2_tokenizer, data, full):
    theirs = oracle(data / "gpt2")
    texts = list(fuzzed_texts(20_000 if full else 5_000, seed=1))
    for text, expected in zip(texts, theirs.encode_batch(texts), strict=True):
        ids = gpt2_tokenizer.encode(text)
        assert ids == expected.ids, repr(text)
        assert gpt2_tokenizer.decode(ids) == text


def test_end_of_text_is_one_token(gpt2_tokenizer):
    assert gpt2_tokenizer.eos_id == 50256 and gpt2_tokenizer.vocab_size == 50257
    assert gpt2_tokenizer.encode("a<|endoftext|><|endoftext|> b") == [64, 50256, 50256, 275]
    assert gpt2_tokenizer.decode([64, 50256]) == "a<|endoftext|>"


@pytest.mark.parametrize("letter", ["a", " ", "\n", "é", "🙂", "ab", "."])
def test_long_runs_do_not_hang(small, letter):
    text = letter * (100_000 // len(letter))
    start = time.process_time()
    assert small.decode(small.encode(text)) == text
    assert time.process_time() - start < 10


def test_training_follows_hand_counted_pairs():
    # low x3, lower x1: (l, o) and (o, w) both occur 4 times, the smaller ids (l < o) win; then (lo, w).
    learned = Tokenizer.train(["low low low lower"], 256 + 1 + 3)
    assert learned.merges == [("l", "o"), ("lo", "w"), ("Ġ", "low")]
    assert [learned.decode([id]) for id in learned.encode("low lower")] == ["low", " low", "e", "r"]


@pytest.mark.parametrize("vocab_size", [300, 500, 2000])
def test_training_equals_hugging_faces_trainer(vocab_size, tmp_path):
    texts = [*TEXTS, *fuzzed_texts(300, seed=2), Path(__file__).read_text(encoding="utf-8")]
    texts = [text.replace(END_OF_TEXT, "") for text in texts]
    ours = Tokenizer.train(texts, vocab_size)
    theirs = tokenizers.ByteLevelBPETokenizer()
    theirs.train_from_iterator(texts, vocab_size=vocab_size - 1, min_frequency=0, show_progress=False)
    theirs.save_model(str(tmp_path))
    expected = Tokenizer.load(tmp_path)
    assert ours.merges == expected.merges
    assert ours.vocabulary == expected.vocabulary  # the end of text, which the files lack, gets the next id


def test_within_characters_each_character_becomes_a_token_and_nothing_longer(tmp_path):
    from transformers import AutoTokenizer

    text = "床前明月光，疑是地上霜。举头望明月，低头思故乡。\ncafé 𪎊𪎊\n"
    learned = Tokenizer.train([text], 5000, within="characters")
    assert learned.pieces(learned.encode(text)) == list(text)
    longest = max(learned.pieces(range(256, learned.vocab_size - 1)), key=len)
    assert len(longest) == 1 or longest.startswith("<")  # a character, or its first bytes
    learned.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for other in (text, "霜床 new 字\n", "明月" * 30):
        assert theirs(other)["input_ids"] == learned.encode(other) and learned.decode(learned.encode(other)) == other


def test_within_characters_the_commonest_come_first_where_there_is_not_room_for_all():
    learned = Tokenizer.train(["月月月月霜霜霜光光乡"], 256 + 4 + 1, within="characters")
    lengths = [len(learned.encode(character)) for character in "月霜光乡"]
    assert lengths[0] == 1 and lengths == sorted(lengths) and lengths[-1] > 1


def test_training_within_something_else_is_refused():
    with pytest.raises(ValueError, match="within must be one of words, characters; got 'sentences'"):
        Tokenizer.train(["a"], 300, within="sentences")


def test_training_stops_when_nothing_is_left_to_merge():
    learned = Tokenizer.train(["abab"], 1000)
    assert learned.merges == [("a", "b"), ("ab", "ab")] and learned.vocab_size == 259
    assert Tokenizer.train([""], 300).vocab_size == 257


def test_training_refuses_too_small_a_vocabulary():
    with pytest.raises(ValueError, match="at least 257.*256"):
        Tokenizer.train(["a"], 256)


def test_saved_files_load_here_and_in_hugging_face(small, tmp_path):
    import transformers

    small.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.vocabulary == small.vocabulary and again.merges == small.merges and again.eos_id == small.eos_id
    raw = oracle(tmp_path)
    hub = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, *fuzzed_texts(200, seed=3)]:
        assert raw.encode(text).ids == small.encode(text) == hub(text)["input_ids"]
        assert hub.decode(small.encode(text), clean_up_tokenization_spaces=False) == small.decode(small.encode(text))


def test_openais_file_names_load_too(small, tmp_path):
    small.save(tmp_path)
    shutil.move(tmp_path / "vocab.json", tmp_path / "encoder.json")
    shutil.move(tmp_path / "merges.txt", tmp_path / "vocab.bpe")
    assert Tokenizer.load(tmp_path).encode(TEXTS[1]) == small.encode(TEXTS[1])


def test_every_byte_is_a_token(small):
    assert len(set(CHARACTER_OF_BYTE)) == 256 and CHARACTER_OF_BYTE[ord(" ")] == "Ġ" and CHARACTER_OF_BYTE[10] == "Ċ"
    assert not any(character.isspace() or not character.isprintable() for character in CHARACTER_OF_BYTE)
    assert small.decode(range(256)) == b"".join(small._bytes[:256]).decode("utf-8", errors="replace")


def test_the_simple_algorithm_and_the_fast_one_merge_alike(small):
    """Ten lines that look at every pair for every merge, and the lists of places: the same ids, ties and long runs
    included."""
    merges = {(0, 0): (1, 5), (5, 5): (2, 6), (0, 1): (0, 7), (7, 0): (3, 8), (1, 1): (4, 9)}
    for n in range(1, 9):
        for word in itertools.product((0, 1), repeat=n):
            assert merge_word(list(word), merges) == merge_word_simply(list(word), merges), word
    draw = random.Random(0)  # tables in which a merge can make a better pair than its own
    for _ in range(400):
        table, symbols = {}, [0, 1, 2]
        for rank in draw.sample(range(12), 12):
            pair = (draw.choice(symbols), draw.choice(symbols))
            if pair not in table:
                symbols.append(len(symbols))
                table[pair] = (rank, symbols[-1])
        word = [draw.randrange(3) for _ in range(draw.randrange(25))]
        assert merge_word(list(word), table) == merge_word_simply(list(word), table), (word, table)
    n_merged = 0
    for text in [*TEXTS, *fuzzed_texts(300, seed=6), "a" * 60, "ab" * 40]:
        for word in WORDS.findall(text):
            ids = [small._byte_ids[byte] for byte in word.encode()]
            simple = merge_word_simply(ids, small._merges_by_id)
            assert merge_word(ids, small._merges_by_id) == simple
            n_merged += len(ids) - len(simple)
    assert n_merged > 1000
    untouched = [1, 2, 3]
    assert merge_word_simply(untouched, {}) == merge_word(untouched, {}) == untouched == [1, 2, 3]


@pytest.mark.parametrize("at_once", [1, 2, 7, 60])
def test_words_found_in_parts_are_the_words(at_once, monkeypatch):
    monkeypatch.setattr(words, "READ_AT_ONCE", at_once)
    for text in ["", " ", "   ", "a  b", "a \n b", "don't  stop", "\n\n a", *TEXTS, *fuzzed_texts(300, seed=8)]:
        assert list(words.gpt2_words(text)) == WORDS.findall(text)


def test_words_lose_nothing():
    for text in fuzzed_texts(500, seed=4):
        assert "".join(WORDS.findall(text)) == text


def test_streamed_text_is_whole_characters_and_adds_up(small):
    for text in [*TEXTS, *fuzzed_texts(300, seed=5)]:
        ids = small.encode(text)
        pieces = list(small.decode_stream(ids))
        assert "".join(pieces) == text and all(pieces)
        assert "\ufffd" not in "".join(pieces) or "\ufffd" in text
    ids = small.encode("🙂")
    assert len(ids) > 1
    assert list(small.decode_stream(ids)) == ["🙂"]
    assert "".join(small.decode_stream(ids[:-1])) == small.decode(ids[:-1]) == "\ufffd"


def test_ids_are_streamed_as_they_come(small):
    taken = []

    def ids():
        for id in small.encode("ab"):
            taken.append(id)
            yield id

    pieces = small.decode_stream(ids())
    assert next(pieces) and len(taken) == 1


@pytest.mark.parametrize("id", [-1, 1.0, True, "1", None])
def test_decoding_refuses_what_is_no_id(small, id):
    for decode in (small.decode, lambda ids: list(small.decode_stream(ids)), small.pieces):
        with pytest.raises(ValueError, match=f"token id must be an integer of at least 0, got {id!r}"):
            decode([5, id])


def test_an_id_beyond_the_vocabulary_is_shown(small):
    """A model with a padded vocabulary may choose it; a text that is half written must not be lost for that."""
    a, half = small.encode("a"), [small._byte_ids["é".encode()[0]]]
    assert small.decode([*a, 400, 10**9, *a]) == "a<|no token 400|><|no token 1000000000|>a"
    assert "".join(small.decode_stream([*half, 400, *a])) == "\ufffd<|no token 400|>a"
    assert small.pieces([400]) == ["<|no token 400|>"]


def test_a_lone_surrogate_is_refused(small):
    with pytest.raises(ValueError, match="surrogate.*position 1"):
        small.encode("a\ud800")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("vocab.json", b"{", "not JSON"),
        ("vocab.json", b"\xff\xfe", "vocab.json"),
        ("vocab.json", b"[]", "expected a JSON object"),
        ("vocab.json", b'{"a": "b"}', "integer ids"),
        ("vocab.json", b'{"a": 1}', "must be 0..1"),
        ("vocab.json", b'{"a": 0}', "lacks 255 of the 256"),
        ("merges.txt", b"#version: 0.2\na b c\n", "line 2"),
        ("merges.txt", b"#version: 0.2\nzz q\n", "merge 1, 'zz'"),
        ("merges.txt", b"\xff", "UTF-8"),
    ],
)
def test_broken_files_are_refused_by_name(small, tmp_path, name, content, words):
    small.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        Tokenizer.load(tmp_path)


def test_a_token_with_a_character_that_is_no_byte_is_refused(small, tmp_path):
    small.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    vocabulary = dict(small.vocabulary)
    vocabulary["你"] = len(vocabulary)
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    with pytest.raises(ValueError, match="'你', which stands for no byte"):
        Tokenizer.load(tmp_path)


def test_a_folder_without_a_tokenizer_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocab.json and merges.txt or encoder.json and vocab.bpe"):
        Tokenizer.load(tmp_path)
