"""The Tang poems: read, split by poet, told from irregular ones, and made again from the package they come from."""

import io
import json
import tarfile
from zlib import crc32

import pytest

from minigpt.data.tang_poems import keeps_form, main, poems_in_package, poems_of, tang_poems_corpus

REGULAR = ["床前明月光，疑是地上霜。", "举头望明月，低头思故乡。"]


def test_poems_are_parted_at_empty_lines():
    one, other = poems_of(
        "静夜思\n李白\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n\n题\n某\n一二三四五，六七八九十。\n"
    )
    assert (one.title, one.author, list(one.lines)) == ("静夜思", "李白", REGULAR)
    assert str(other) == "题\n某\n一二三四五，六七八九十。"
    with pytest.raises(ValueError, match="poem 2 must have a title, an author and lines"):
        poems_of("静夜思\n李白\n床前明月光，疑是地上霜。\n\n题\n某")


@pytest.mark.parametrize(
    ("lines", "regular"),
    [
        (REGULAR, True),
        (["白日依山尽，黄河入海流？", "欲穷千里目；更上一层楼！"], True),
        (["朝辞白帝彩云间，千里江陵一日还。", "两岸猿声啼不住，轻舟已过万重山。"], True),
        (["床前明月光，疑是地上霜。"], False),  # a single line
        (["床前明月光，疑是地上霜。", "举头望明月，低头思故。"], False),
        (["床前明月光，疑是地上霜。", "举头望山明月光，低头思念我故乡。"], False),  # five, then seven
        (["床前明月光疑是地上霜。", "举头望明月，低头思故乡。"], False),
        (["床前明月光，疑是地上霜", "举头望明月，低头思故乡。"], False),
        (["床前明月光，疑是地上霜，", "举头望明月，低头思故乡。"], False),
        (["床前明月光，疑是地上霜。", "举头望明月，低头思故乡。低头思故乡。"], False),
        (["床前明\ufffd光，疑是地上霜。", "举头望明月，低头思故乡。"], False),  # half a character
        (["床前明a光，疑是地上霜。", "举头望明月，低头思故乡。"], False),
    ],
)
def test_the_form_is_told(lines, regular):
    [poem] = poems_of("\n".join(["题", "某", *lines]))
    assert keeps_form(poem) == regular


def test_the_corpus_is_split_by_poet(data, monkeypatch):
    if not (data / "tangshi" / "tangshi.txt").exists():
        pytest.skip("$MINIGPT_DATA has no tangshi/tangshi.txt: python -m minigpt.data.tang_poems makes it")
    training, held_out = tang_poems_corpus()
    assert (len(training), len(held_out)) == (41_041, 1_835)
    poets = [{document.text.split("\n")[1] for document in part} for part in (training, held_out)]
    assert not poets[0] & poets[1] and all(crc32(poet.encode()) % 20 == 0 for poet in poets[1])
    poems = [poems_of(document.text)[0] for document in training + held_out]
    assert sum(map(keeps_form, poems)) / len(poems) == pytest.approx(0.991, abs=0.001)


def test_without_the_file_it_says_how_it_is_made(tmp_path, monkeypatch):
    for folder in (tmp_path, None):
        monkeypatch.setenv("MINIGPT_DATA", str(folder)) if folder else monkeypatch.delenv("MINIGPT_DATA")
        with pytest.raises(FileNotFoundError, match=r"tangshi/tangshi.txt; `python -m minigpt.data.tang_poems --help`"):
            tang_poems_corpus()


def package(file, parts):
    with tarfile.open(file, "w:gz") as archive:
        for name, content in parts.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


def entry(title, lines):
    return {"title": title, "author": "李白", "paragraphs": lines, "strains": []}


def test_a_package_gives_its_regular_poems_in_order(tmp_path):
    long = [f"{c * 5}，{c * 5}。" for c in "一二三四五六七八"]
    folder = "package/dist/quantangshi"
    file = package(
        tmp_path / "poems.tgz",
        {
            f"{folder}/poet.tang.1000.json": [entry("後", [line.replace("明", "清") for line in REGULAR])],
            f"{folder}/poet.tang.0.json": [
                entry("長  " + "題" * 30, REGULAR),
                entry("again", REGULAR),
                entry("one line", REGULAR[:1]),
                entry("sixteen half-lines", long),
                entry("eighteen", [*long, REGULAR[0]]),
                entry("a gap", ["床前□月光，疑是地上霜。", REGULAR[1]]),
                entry("a note", ["床前(月光，疑是地上霜。", REGULAR[1]]),
                entry("six", ["床前明明月光，疑是地上寒霜。", REGULAR[1]]),
                entry("nothing", []),
            ],
            f"{folder}/error/poet.tang.0.json": [entry("elsewhere", REGULAR)],
            f"{folder}/poet.song.0.json": [entry("of Song", REGULAR)],
        },
    )
    poems = list(poems_in_package(file, lambda text: text.replace("長", "长").replace("題", "题").replace("後", "后")))
    assert [poem.title for poem in poems] == ["长 " + "题" * 22, "sixteen half-lines", "后"]
    assert poems[0].lines == tuple(REGULAR) and poems[0].author == "李白"


def test_another_file_is_refused(tmp_path):
    (tmp_path / "text.tgz").write_text("no archive")
    broken = package(tmp_path / "broken.tgz", {"package/dist/quantangshi/poet.tang.0.json": b"{"})
    for file in (tmp_path / "text.tgz", tmp_path / "nowhere.tgz", package(tmp_path / "empty.tgz", {}), broken):
        with pytest.raises(ValueError, match=f"{file.name} is not the npm package chinese-poetry"):
            list(poems_in_package(file, str))


def test_the_command_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "opencc", None)
    assert main([str(tmp_path / "x.tgz"), "--out", str(tmp_path / "out")]) == 2
    assert "pip install opencc==1.1.9" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_writes_the_text(tmp_path, monkeypatch, capsys):
    class OpenCC:
        def __init__(self, conversion):
            assert conversion == "t2s"

        convert = staticmethod(str.upper)

    monkeypatch.setitem(__import__("sys").modules, "opencc", type("module", (), {"OpenCC": OpenCC}))
    file = package(tmp_path / "p.tgz", {"package/dist/quantangshi/poet.tang.0.json": [entry("title", REGULAR)]})
    assert main([str(file), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "tangshi" / "tangshi.txt").read_text(encoding="utf-8")
    assert text == "\n".join(["TITLE", "李白", *REGULAR, ""]) and "1 poems" in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere.tgz"), "--out", str(tmp_path / "out")]) == 2
    assert "nowhere.tgz" in capsys.readouterr().err
