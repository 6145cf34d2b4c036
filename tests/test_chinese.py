"""With MINIGPT_LANG=zh the tour, the exercises and --help are Chinese: every text has a sound translation."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from minigpt._language import columns, in_chinese, padded, said
from minigpt.chinese import commands, exercises, plots, tour
from minigpt.commands.chinese_help import wrapped
from minigpt.commands.main import build_parser, main
from minigpt.lecture.exercises import EXERCISES, check
from minigpt.lecture.tour import Guide, causal_attention, cross_entropy_by_hand

ROOT = Path(__file__).parent.parent
TABLES = {"tour": tour.TEXTS, "exercises": exercises.TEXTS, "commands": commands.TEXTS, "plots": plots.TEXTS}
PAIRS = [(name, english, chinese) for name, table in TABLES.items() for english, chinese in table.items()]
LETTERS = re.compile(r"[^\W\d_]")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
SAME = {"logits"}  # said, and the same in both languages


@pytest.fixture
def in_zh(monkeypatch):
    monkeypatch.setenv("MINIGPT_LANG", "zh")


def calls(path: str, *names: str):
    """The calls of functions, or methods, of these names in a file of the package."""
    for node in ast.walk(ast.parse((ROOT / "minigpt" / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) in names:
            yield node


def said_in(path: str) -> set[str]:
    """The templates that a file gives to said(TEXTS, ...)."""
    return {call.args[1].value for call in calls(path, "said") if isinstance(call.args[1], ast.Constant)}


def help_texts(parser) -> set[str]:
    """Everything that --help of a parser and its commands shows, but what argparse makes of the names."""
    found = {parser.description, parser.epilog}
    for group in parser._action_groups:
        found |= {group.title, group.description}
    for action in parser._actions:
        found.add(action.help)
        if isinstance(action, argparse._SubParsersAction):
            found |= {line.help for line in action._choices_actions}
            found |= set().union(*map(help_texts, action.choices.values()))
    return found - {None}


def what_the_tour_says() -> set[str]:
    found = set()
    for path in ("lecture/tour.py", "lecture/tour_families.py"):
        for call in calls(path, "say", "title", "claim"):
            assert isinstance(call.args[0], ast.Constant), f"{path}:{call.lineno} says no template"
            found.add(call.args[0].value)
    quantities = {call.args[0].value for call in calls("compare/difference.py", "note")}
    assert len(quantities) > 10
    return found | quantities - SAME


def what_the_exercises_say() -> set[str]:
    found = set()
    for exercise in EXERCISES.values():
        found |= {exercise.task, *exercise.cases, *(hint for _, hint in exercise.mistakes)}
    for file in (ROOT / "minigpt" / "lecture" / "exercises").glob("*.py"):
        found |= said_in(f"lecture/exercises/{file.name}")
    return found


def what_help_says() -> set[str]:
    """A text with names in it is filled in when the parser is built: it counts as its template."""
    files = (ROOT / "minigpt" / "commands").glob("*.py")
    templates = set().union(*(said_in(f"commands/{file.name}") for file in files)) | {"usage: "}
    shown = help_texts(build_parser())
    filled = [re.sub(r"\\{\w+\\}", "(.+)", re.escape(template)) for template in templates if "{" in template]
    shown = {text for text in shown if not any(re.fullmatch(pattern, text) for pattern in filled)}
    commands_described = {text for text in shown if text.endswith(".") and text[:-1] in shown}
    return shown - commands_described | templates


def what_pictures_say() -> set[str]:
    files = [f"plots/{file.name}" for file in (ROOT / "minigpt" / "plots").glob("*.py")]
    words = {call.args[0].value for file in [*files, "lecture/overview.py"] for call in calls(file, "words")}
    return words | said_in("plots/style.py")


SAYS = {"tour": what_the_tour_says, "exercises": what_the_exercises_say, "commands": what_help_says}


@pytest.mark.parametrize("name, says", [*SAYS.items(), ("plots", what_pictures_say)])
def test_every_text_has_its_translation_and_none_is_left_over(name, says):
    texts = {text for text in says() if text}
    assert texts - TABLES[name].keys() == set(), "without a translation"
    assert TABLES[name].keys() - texts == set(), "said nowhere"


def test_no_translation_is_lost_where_tables_are_joined():
    parts = [exercises.CHECKING]
    parts += [getattr(exercises, name).TEXTS for name in dir(exercises) if name.startswith("lesson")]
    assert sum(map(len, parts)) == len(exercises.TEXTS)


def placeholders(text: str) -> list[str]:
    """{name}, {name:8.4f}, {name!r}, %(name)s, with their formats; braces around words are braces."""
    return sorted(re.findall(r"\{[\w.]+(?:![rs])?(?::[^{}\s]*)?\}|%\(\w+\)s", text))


@pytest.mark.parametrize("name", TABLES)
def test_both_languages_have_the_same_placeholders(name):
    for english, chinese in TABLES[name].items():
        assert placeholders(english) == placeholders(chinese), english


def avoided_words() -> list[str]:
    rows = (ROOT / "notebooks" / "zh" / "glossary.md").read_text(encoding="utf-8").split("|---|---|---|---|\n")[1]
    words = [row.split("|")[3].strip() for row in rows.strip().split("\n")]
    return [word for cell in words if cell for word in cell.split("、")]


def test_the_chinese_is_chinese():
    for _, english, chinese in PAIRS:
        assert CHINESE.search(chinese) or not LETTERS.search(english), english
        assert "TODO" not in chinese and not re.search(r"[０-９Ａ-Ｚａ-ｚ]", chinese), chinese
        assert not re.search(r"[\u4e00-\u9fff][.,;:?!(]|[.,;:?!)][\u4e00-\u9fff]|\.$", chinese), (
            f"punctuation: {chinese}"
        )
        assert not re.search(r"[\u4e00-\u9fff][a-zA-Z0-9]|[a-zA-Z0-9][\u4e00-\u9fff]", chinese), f"no space: {chinese}"


def test_the_glossary_is_kept():
    words = avoided_words()
    assert len(words) > 80 and all(CHINESE.search(word) for word in words)
    for _, english, chinese in PAIRS:
        for word in words:
            assert word not in chinese, f"{word} in the Chinese of {english!r}"


def test_said_translates_by_the_variable_only(monkeypatch):
    table = {"{n} tokens": "{n} 个词元", "a {brace}": "括号 {brace}"}
    for name in ("LANG", "LC_ALL", "LANGUAGE"):
        monkeypatch.setenv(name, "zh_CN.UTF-8")
    assert not in_chinese() and said(table, "{n} tokens", n=3) == "3 tokens"
    monkeypatch.setenv("MINIGPT_LANG", "en")
    assert not in_chinese()
    monkeypatch.setenv("MINIGPT_LANG", "ZH")
    assert said(table, "{n} tokens", n=3) == "3 个词元" and said(table, "a {brace}") == "括号 {brace}"
    assert said(table, "{n} of {m}", n=1, m=2) == "1 of 2"


def wrong(logits, labels):
    return logits, labels


def test_the_machines_locale_changes_nothing(monkeypatch, capsys):
    help_text = build_parser().format_help()
    for name in ("LANG", "LC_ALL", "LANGUAGE"):
        monkeypatch.setenv(name, "zh_CN.UTF-8")
    check("shift", wrong)
    assert capsys.readouterr().out.startswith("✗ shift: nothing was shifted")
    assert build_parser().format_help() == help_text and not CHINESE.search(help_text)


def test_check_answers_in_chinese(in_zh, capsys):
    check("shift", wrong)
    check("shift", lambda logits, labels: None)
    check("shift", lambda logits, labels: "nonsense")
    check("causal_mask", lambda n_query, n_key: 1 / 0)
    check("token_by_token", lambda model, tokens: model(tokens))
    check("own_attention", lambda q, k, v, *rest: q)
    check("merge", lambda ids, pair, new_id: [new_id])
    out = capsys.readouterr().out
    assert out.startswith(
        "✗ shift: 没有移位：等于让模型预测它正在读的词元。\n✗ shift: 还没有返回值。返回 (logits, labels)"
    )
    assert "返回值的类型是 str，应为 tuple。\n输入是\nlogits = 形状为 (2, 5, 7) 的张量\nlabels = tensor(" in out
    assert "运行出错，ZeroDivisionError：division by zero\n输入是\nn_query = 4" in out
    assert "运行出错，ValueError：这一题的模型每次只读一个词元，这次却收到了 5 个\n输入是\nmodel = 一个小的 " in out
    assert "做对的：还没有；做错的：BERT（看所有的 key）、GPT（因果）、KV cache" in out and "数不对，最大相差" in out
    assert "应为\n[9, 3, 9]\n得到\n[9]\n输入是\nids = " in out
    check("shift", lambda logits, labels: (logits[:, :-1], labels[:, 1:]))
    assert capsys.readouterr().out == "✓ shift\n"


@pytest.mark.parametrize("arguments", [[], ["generate"], ["perplexity"], ["train"], ["download"]])
def test_help_is_chinese(in_zh, arguments, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "选项：\n" in out and "显示这段帮助，然后退出" in out
    lines = [
        line for line in out.split("\n") if line.startswith("   ") and CHINESE.search(line) and "python" not in line
    ]
    assert lines and all(columns(line) <= 80 for line in lines)
    head, *more = out.split("\n\n")[0].split("\n")
    assert head.startswith("用法： python -m minigpt") and all(columns(line.split("[")[0]) >= 7 for line in more)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_help_shows_nothing_of_the_other_language(language, monkeypatch):
    monkeypatch.setenv("MINIGPT_LANG", language)
    texts = help_texts(build_parser())
    assert len(texts) > 60
    assert all(bool(CHINESE.search(text)) == (language == "zh") for text in texts)


def section_in(language: str, section, monkeypatch, capsys):
    monkeypatch.setenv("MINIGPT_LANG", language)
    guide = Guide(quiet=False)
    section(guide)
    return guide.claims, capsys.readouterr().out


@pytest.mark.parametrize("section", [causal_attention, cross_entropy_by_hand])
def test_the_tour_claims_the_same_in_chinese(section, monkeypatch, capsys):
    english, english_out = section_in("en", section, monkeypatch, capsys)
    chinese, chinese_out = section_in("zh", section, monkeypatch, capsys)
    assert [claim.ok for claim in english] == [claim.ok for claim in chinese] == [True] * len(english)
    assert all(CHINESE.search(claim.section) and CHINESE.search(claim.claim) for claim in chinese)
    assert not CHINESE.search(english_out)
    numbers = [re.findall(r"\d+(?:[.×e-]+\d+)*", out) for out in (english_out, chinese_out)]
    assert sorted(numbers[0]) == sorted(numbers[1]) and len(numbers[0]) > 5


def test_chinese_characters_are_two_columns_wide():
    assert columns("词元 id") == 7 and padded("词元", 6) == "词元  " and padded("loss", 3) == "loss"
    assert wrapped("步长（默认 W / 2）", 10) == ["步长（默认", "W / 2）"]
    assert wrapped("甲乙，丙（丁）", 5) == ["甲", "乙，", "丙", "（丁）"]
    assert wrapped("a longer word", 4) == ["a", "longer", "word"]
