"""The pages' code runs, and prints what stands after it."""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from printed import assert_lines_occur, assert_same_text

from minigpt.chinese import tour
from minigpt.commands.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"(?m)^\$ python -m minigpt (.*)\n((?:(?!\$ |```).*\n)*)")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(ROOT)


def blocks(text: str) -> list[tuple[str, str | None]]:
    """(code, the output that is shown directly after it or None) of each Python block."""
    return re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.DOTALL)


def run_blocks(text: str) -> int:
    """Run a page's Python from top to bottom; the number of outputs that were compared."""
    names, compared = {}, 0
    for code, shown in blocks(text):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, "page", "exec"), names)
        if shown:
            assert_same_text(shown.rstrip(), printed.getvalue().rstrip())
            compared += 1
    return compared


def test_the_page_on_an_attention_of_ones_own():
    pytest.importorskip("transformers")
    page = (ROOT / "notebooks" / "your_attention.md").read_text(encoding="utf-8")
    assert run_blocks(page) == 4


def test_the_readmes_python_runs():
    code = [f"```python\n{block}```" for block, _ in blocks(README) if "%pip" not in block]  # Colab's cell installs
    assert len(code) == 2
    run_blocks("\n".join(code))


@pytest.mark.parametrize("command, shown", COMMAND.findall(README))
def test_the_readmes_commands_print_what_it_shows(command, shown, capsys):
    assert main(shlex.split(command)) == 0
    assert_lines_occur(shown.rstrip(), capsys.readouterr().out)


def test_the_readme_shows_commands_with_their_outputs():
    assert len(COMMAND.findall(README)) >= 3


def code_of(page: str) -> list[str]:
    """The blocks of a page, without comments, without what a tree says of its files and without the tour's words."""
    found = re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL)
    kept = [block for kind, block in found if kind != "text"]
    trees = [re.findall(r"(?m)^ *[\w./]+", block) for kind, block in found if kind == "text" and "minigpt/" in block]
    return [*(re.sub(r"(?m)\s+# .*$", "", block) for block in kept), *trees]


def figures_of(page: str) -> list[str]:
    """The decimal numbers of the tables."""
    return [number for row in re.findall(r"(?m)^\|.*$", page) for number in re.findall(r"\d+\.\d[\de-]*", row)]


def test_the_chinese_readme_has_the_same_code_and_figures():
    chinese = (ROOT / "README.zh.md").read_text(encoding="utf-8")
    extra = "export MINIGPT_LANG=zh\n"
    assert [block for block in code_of(chinese) if block != extra] == code_of(README)
    assert sorted(figures_of(chinese)) == sorted(figures_of(README))
    assert "[README.md](README.md)" in chinese[:100] and "[README.zh.md](README.zh.md)" in README[:100]
    assert "notebooks/0" not in chinese and "notebooks/1" not in chinese  # each notebook is the Chinese one


def template_of(line: str, templates: list[str]) -> str | None:
    """The text of the tour's table that this line was made from."""
    said = line.strip(" ━✓")
    for template in templates:
        literal = [re.escape(part) for part in re.split(r"\{[^}]*\}", template.strip())]
        if re.fullmatch(".*?".join(literal), said):
            return template
    return None


def test_the_chinese_readme_shows_the_same_lines_of_the_tour_in_chinese():
    chinese = (ROOT / "README.zh.md").read_text(encoding="utf-8")
    shown = [re.search(r"```text\n(━━.*?)```", page, re.DOTALL)[1].splitlines() for page in (README, chinese)]
    english_of = {translation: text for text, translation in tour.TEXTS.items()}
    n_translated = 0
    for line, translated in zip(*shown, strict=True):
        assert re.findall(r"\d+\.\d+|\de-\d+|\d×\d", line) == re.findall(r"\d+\.\d+|\de-\d+|\d×\d", translated)
        if line != translated:
            template = template_of(translated, list(english_of))
            assert template is not None, f"the tour does not say {translated!r}"
            assert template_of(line, [english_of[template]]), (line, english_of[template])
            n_translated += 1
    assert n_translated >= 8


def test_the_chinese_cards_have_the_same_blocks_and_figures():
    english, chinese = ((ROOT / "weights" / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    assert re.findall(r"```.*?```", english, re.DOTALL) == re.findall(r"```.*?```", chinese, re.DOTALL)
    assert re.findall(r"(?m)^## (\S+)", english) == re.findall(r"(?m)^## (\S+)", chinese)


def test_a_line_that_is_not_printed_is_noticed():
    assert_lines_occur("a 1.0\n…\nc", "a 1.0001\nb\nc")
    for shown in ("a 1.1", "c\na 1.0", "d"):
        with pytest.raises(AssertionError):
            assert_lines_occur(shown, "a 1.0001\nb\nc")
