"""Chinese in pictures: with a font that has the characters if there is one, else numbers and one warning."""

import io
import warnings
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib.figure import Figure

from minigpt.plots import style, token_label


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "font.family", ["DejaVu Sans"])
    style._fonts.cache_clear()
    style._say_what_to_install.cache_clear()


def with_characters(characters):
    """A font that has these characters."""
    return SimpleNamespace(get_char_index=lambda number: int(chr(number) in characters))


@pytest.mark.filterwarnings("ignore:matplotlib finds no font")
def test_labels_show_what_a_font_has(monkeypatch):
    monkeypatch.setattr(style, "_fonts", lambda family: [with_characters("abc"), with_characters("床前明月光🙂")])
    assert [token_label(text) for text in ("床前", " 月\n", "霜", "🙂", "é", "\u200b")] == [
        "床前", "␣月⏎", "\\u971c", "🙂", "é", "\\u200b",
    ]  # fmt: skip


def test_wide_characters_count_twice(monkeypatch):
    monkeypatch.setattr(style, "_fonts", lambda family: [with_characters("床")])
    assert token_label("床" * 6) == "床" * 6 and token_label("床" * 7) == "床" * 5 + "…"
    assert token_label("x" * 12) == "x" * 12 and token_label("x" * 13) == "x" * 11 + "…"


def test_without_a_font_it_says_once_what_to_install(monkeypatch):
    monkeypatch.setattr(style, "_fonts", lambda family: [with_characters("")])
    with pytest.warns(UserWarning, match="no font with Chinese characters.*fonts-noto-cjk"):
        assert token_label("床前") == "\\u5e8a\\u524d"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert token_label("床") == "\\u5e8a"
        style._say_what_to_install.cache_clear()
        assert token_label("\u200b") == "\\u200b"  # that is not Chinese


def test_a_reader_of_chinese_is_told_at_once_and_no_glyph_is_named(monkeypatch):
    """Words in the notebook's own code become boxes: one sentence says why, and matplotlib names no character."""
    monkeypatch.setattr(style, "fontManager", SimpleNamespace(ttflist=[SimpleNamespace(name="DejaVu Sans")]))
    monkeypatch.setenv("MINIGPT_LANG", "zh")
    style._say_what_to_install.cache_clear()
    figure = Figure()
    figure.text(0, 0, "困惑度")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        style.use_chinese_font()
        style.use_chinese_font()
        figure.savefig(io.BytesIO())
    assert [str(one.message)[:23] for one in said] == ["matplotlib 没有找到中文字体，所以图"]


@pytest.mark.parametrize(
    "installed, found",
    [(["DejaVu Sans", "SimHei", "WenQuanYi Micro Hei"], "WenQuanYi Micro Hei"), (["DejaVu Sans"], None)],
)
def test_the_first_font_of_the_list_is_added_once(installed, found, monkeypatch):
    fonts = SimpleNamespace(ttflist=[SimpleNamespace(name=name) for name in installed])
    monkeypatch.setattr(style, "fontManager", fonts)
    assert style.use_chinese_font() == found and style.use_chinese_font() == found
    assert matplotlib.rcParams["font.family"] == ["DejaVu Sans"] + ([found] if found else [])
