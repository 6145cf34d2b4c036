"""The Chinese notebooks are twins of the English ones, and read like Chinese."""

import copy
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
spec = importlib.util.spec_from_file_location("twins", FOLDER / "twins.py")
twins = importlib.util.module_from_spec(spec)
spec.loader.exec_module(twins)
PAIRS = twins.pairs()
PAGES = [
    *sorted((FOLDER / "zh").glob("*.md")),
    *[file for file in [FOLDER.parent / "README.zh.md", FOLDER.parent / "weights" / "README.zh.md"] if file.exists()],
]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def read(file):
    return nbformat.read(file, as_version=4)


@pytest.fixture(scope="module")
def pair():
    return tuple(map(read, PAIRS[2]))


def prose(text: str) -> str:
    """Markdown without code, formulas, links, tags and quoted outputs."""
    text = re.sub(r"(?ms)^```.*?^```|\$\$.+?\$\$", "", text)
    text = re.sub(r"`[^`\n]+`|\$[^$\n]+\$|\]\([^)]*\)|<[^>]+>|https?://\S+", "", text)
    return text


@pytest.mark.parametrize("english, chinese", PAIRS, ids=lambda file: file.parent.name + file.stem[:3])
def test_the_twin_has_the_same_code_numbers_headings_formulas_and_links(english, chinese):
    assert not twins.differences(read(english), read(chinese))


def printed(cells) -> str:
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.mark.parametrize("english, chinese", PAIRS, ids=lambda file: file.parent.name + file.stem[:3])
def test_a_chinese_notebook_is_chinese_and_was_run(english, chinese):
    cells = read(chinese).cells
    text = prose("\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))
    assert len(CHINESE.findall(text)) >= 4 * len(re.findall(r"[A-Za-z][A-Za-z-]+", text))
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    escapes = re.compile(r"\\u[0-9a-f]{4}")
    assert set(escapes.findall(printed(code))) <= set(escapes.findall(printed(read(english).cells)))
    assert not re.search(r"/(?:home|root|tmp|Users|work)/", chinese.read_text(encoding="utf-8"))
    assert chinese.stat().st_size < 1e6 and "Traceback" not in printed(code)


def test_a_change_of_code_number_or_heading_is_noticed(pair):
    english, chinese = pair

    def with_change(kind, old, new):
        changed = copy.deepcopy(chinese)
        cell = next(cell for cell in changed.cells if cell.cell_type == kind and re.search(old, cell.source))
        cell.source = re.sub(old, new, cell.source, count=1)
        return twins.differences(english, changed)

    assert not twins.differences(english, chinese)
    assert "other code" in with_change("code", r"manual_seed\(42\)", "manual_seed(43)")[0]
    assert "headings" in with_change("markdown", r"(?m)^## 2 ", "## 3 ")[0]
    assert "formulas" in with_change("markdown", r"(?m)^## 2 .*", r"\g<0> $x$")[0]
    assert "links" in with_change("markdown", r"\]\(0\d_\w+", "](../missing")[0]
    changed = copy.deepcopy(chinese)
    [output] = next(cell for cell in changed.cells if "2.4607" in str(cell.get("outputs"))).outputs
    output.data["text/plain"] = output.data["text/plain"].replace("2.4607", "2.4608")
    assert "other numbers" in twins.differences(english, changed)[0]
    changed.cells.pop()
    assert "cells" in twins.differences(english, changed)[0]


def test_the_solutions_are_the_same_code():
    for english in (FOLDER / "solutions").glob("*.py"):
        codes = [
            twins.code_without_words(file.read_text(encoding="utf-8"))
            for file in (english, FOLDER / "zh" / "solutions" / english.name)
        ]
        assert codes[0] == codes[1], english.name


def test_words_may_differ_and_nothing_else():
    same = twins.code_without_words
    assert same('print(f"{a} of {b:3}")  # one') == same('print(f"共 {b:5} 个，其中 {a}")  # 另一个')
    for other in ('print(f"{a} of {a:3}")', 'print(f"{a!r} of {b:3}")', 'print(f"{a} of {b:.3f}")', "print(a)"):
        assert same('print(f"{a} of {b:3}")') != same(other)
    assert same("%matplotlib inline\nx = 1") != same("x = 1") and same("f(x);") != same("f(x)")


def test_after_a_change_of_the_english_code_the_chinese_words_stay():
    chinese = 'x = f(1)  # 注释\nprint(f"共 {x} 个")'
    assert twins.with_words('y = g(2, 3)  # a comment\nprint(f"{y} of them")', chinese) == chinese.replace(
        "x = f(1)", "y = g(2, 3)"
    )
    assert twins.with_words('print("one", "two")', 'print("一")') == 'print("one", "two")'


def avoided() -> dict[str, str]:
    """{a way that a term is not written: how it is written} of the glossary."""
    rows = re.findall(r"(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]*) \|", (FOLDER / "zh" / "glossary.md").read_text("utf-8"))
    return {word: term for _, term, words in rows[1:] for word in words.strip().split("、") if CHINESE.search(word)}


def test_a_term_is_written_one_way():
    assert len(avoided()) >= 60
    texts = {str(page): page.read_text(encoding="utf-8") for page in PAGES if page.name != "glossary.md"}
    for _, chinese in PAIRS:
        texts[chinese.name] = "\n".join(cell.source for cell in read(chinese).cells)
    found = [
        f"{name}: {word} → {term}" for name, text in texts.items() for word, term in avoided().items() if word in text
    ]
    assert not found
