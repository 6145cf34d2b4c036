"""Text as people have it: with a byte-order mark, in another encoding; and writing that loses nothing."""

import json

import numpy as np
import pytest
from command_line import run

from minigpt import Tokenizer, _files, load_model, save_model
from minigpt._files import decode_text, read_json, read_text, write_whole

CHINESE = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
ENGLISH = "Return the number of items in the list.\n" * 30


def test_a_mark_at_the_start_is_no_text():
    for text in ("", "a", CHINESE, "{}"):
        assert decode_text(b"\xef\xbb\xbf" + text.encode(), "x") == decode_text(text.encode(), "x") == text
    inside = "a\ufeffb\ufeff"  # inside a text it is an ordinary character
    assert decode_text(inside.encode(), "x") == inside
    assert decode_text(b"\xef\xbb\xbf\xef\xbb\xbfa", "x") == "\ufeffa"


@pytest.mark.parametrize(
    "data, encoding",
    [
        (ENGLISH.encode("utf-16"), "UTF-16"),
        (ENGLISH.encode("utf-16-le"), "UTF-16LE"),
        (ENGLISH.encode("utf-16-be"), "UTF-16BE"),
        (b"\xfe\xff" + ENGLISH.encode("utf-16-be"), "UTF-16"),
        (CHINESE.encode("gbk"), "GB18030"),
        (("def f():\n    " + CHINESE).encode("gb18030"), "GB18030"),
        (CHINESE.encode("gbk")[:-3], "GB18030"),  # cut inside a character
        ("Größe und Länge, déjà vu".encode("latin-1"), "WINDOWS-1252"),
    ],
)
def test_another_encoding_is_named_with_what_to_do(tmp_path, data, encoding):
    with pytest.raises(
        ValueError, match=f"x is not UTF-8 text: .* It looks like {encoding}; .*iconv -f {encoding} -t UTF-8"
    ):
        decode_text(data, "x")
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(ValueError, match=r"a.txt is not UTF-8 text"):
        read_text(tmp_path / "a.txt")


def test_the_place_of_the_first_bad_byte_is_named():
    with pytest.raises(ValueError, match="byte 0xe9 at offset 3"):
        decode_text(b"caf\xe9", "x")
    with pytest.raises(ValueError, match="byte 0xe9 at offset 6"):  # counted in the file, its mark included
        decode_text(b"\xef\xbb\xbfcaf\xe9", "x")


def test_a_text_may_hold_a_zero_now_and_then():
    text = "a" * 50 + "\0" + "b" * 50
    assert decode_text(text.encode(), "x") == text


def test_a_marked_text_is_measured_written_on_and_learned_like_one_without(capsys, tmp_path, monkeypatch):
    plain, marked = tmp_path / "plain.txt", tmp_path / "marked.txt"
    plain.write_text(ENGLISH, encoding="utf-8")
    marked.write_text(ENGLISH, encoding="utf-8-sig")
    numbers = [json.loads(run(capsys, "perplexity", "--text", file, "--json")[1]) for file in (plain, marked)]
    assert numbers[0] == numbers[1] and numbers[0]["perplexity"] < 50
    prompts = [tmp_path / name for name in ("p.txt", "q.txt")]
    prompts[0].write_text("Return the\nIf", encoding="utf-8")
    prompts[1].write_text("Return the\nIf", encoding="utf-8-sig")
    texts = [run(capsys, "generate", "--file", file, "--max-new-tokens", 4, "--json")[1] for file in prompts]
    answers = [[json.loads(line)["tokens"] for line in text.splitlines()] for text in texts]
    assert answers[0] == answers[1] and len(answers[0]) == 2


def test_marked_files_of_a_checkpoint(tmp_path, tiny_folder, tiny_tokenizer):
    for file in tiny_folder.iterdir():
        content = file.read_bytes()
        mark = b"\xef\xbb\xbf" if file.suffix in (".json", ".txt") else b""
        (tmp_path / file.name).write_bytes(mark + content)
    assert load_model(tmp_path).config == load_model(tiny_folder).config
    assert Tokenizer.load(tmp_path).vocabulary == tiny_tokenizer.vocabulary
    assert Tokenizer.load(tmp_path).encode("Return the") == tiny_tokenizer.encode("Return the")


def test_json_that_is_none_is_named(tmp_path):
    file = tmp_path / "x.json"
    for content, words in [
        (b"[1]", "expected a JSON object, found list"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON in UTF-8"),
    ]:
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"x.json.*{words}"):
            read_json(file)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    write_whole(file, b"old")

    def full(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(_files, "force_to_disk", full)
        write_whole(file, b"new")
    assert file.read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    write_whole(file, b"new")
    assert file.read_bytes() == b"new" and [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_called_new_is_no_save_that_died(tmp_path, tiny, tiny_tokenizer):
    save_model(tiny, tmp_path, tiny_tokenizer)
    (tmp_path / "old.new").mkdir()
    (tmp_path / "notes.new").write_text("mine")
    assert np.array_equal(load_model(tmp_path).final_norm.weight.detach(), tiny.final_norm.weight.detach())
    assert (tmp_path / "notes.new").read_text() == "mine"
