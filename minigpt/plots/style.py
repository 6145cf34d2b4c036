"""Colours, labels and fonts that all pictures share. A picture is dark on white, also on a dark page."""

import warnings
from functools import cache

import matplotlib
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

from .._language import columns, in_chinese, said
from ..chinese.plots import TEXTS

BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e07b39", "#4c9a5f", "#c0504d", "#8a8f98"

# Fonts with Chinese characters, of Linux, macOS and Windows; the first that matplotlib finds is used.
CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "Microsoft YaHei", "SimHei",
    "Noto Sans CJK JP", "Arial Unicode MS",
)  # fmt: skip
WIDEST_LABEL = 12  # columns; a Chinese character takes two


def use_chinese_font() -> str | None:
    """Let matplotlib take Chinese characters from a font that has them, and all others as before. Return its name.

    Where there is no such font, None is returned; a reader of Chinese is told at once what to install.
    """
    installed = {font.name for font in fontManager.ttflist}
    found = next((name for name in CHINESE_FONTS if name in installed), None)
    family = matplotlib.rcParams["font.family"]
    if found and found not in family:
        matplotlib.rcParams["font.family"] = [*family, found]
    if not found and in_chinese():
        _say_what_to_install()
    return found


def words(english: str, **values) -> str:
    """Words of a picture in the reader's language. Without a font that has Chinese characters they stay English."""
    installed = any(name in matplotlib.rcParams["font.family"] for name in CHINESE_FONTS)
    return said(TEXTS, english, **values) if installed else english.format(**values)


def token_label(text: str) -> str:
    """A token as a short axis label: spaces are made visible; characters that no font here has are escaped."""
    shown = text.replace(" ", "␣").replace("\n", "⏎")
    shown = "".join(character if _can_be_drawn(character) else f"\\u{ord(character):04x}" for character in shown)
    if columns(shown) <= WIDEST_LABEL:
        return shown
    while columns(shown) > WIDEST_LABEL - 1:
        shown = shown[:-1]
    return shown + "…"


def _can_be_drawn(character: str) -> bool:
    if character in "␣⏎" or (character.isprintable() and ord(character) < 0x250):
        return True
    found = character.isprintable() and any(
        font.get_char_index(ord(character)) for font in _fonts(tuple(matplotlib.rcParams["font.family"]))
    )
    if not found and "\u4e00" <= character <= "\u9fff":
        _say_what_to_install()
    return found


@cache
def _fonts(family: tuple[str, ...]) -> list:
    return [get_font(findfont(FontProperties(family=[name]))) for name in family]


@cache
def _say_what_to_install() -> None:
    text = said(
        TEXTS,
        "matplotlib finds no font with Chinese characters, so pictures show numbers or empty boxes instead: install "
        "one, such as Noto Sans CJK (Debian, Ubuntu, Colab: apt install fonts-noto-cjk), and start Python again",
    )
    warnings.warn(text, stacklevel=5)
    warnings.filterwarnings("ignore", message=r"Glyph \d+ \(.*\) missing from font")  # this is said once, not for each


def from_white_to(colour: str):
    return LinearSegmentedColormap.from_list("", ["white", colour])
