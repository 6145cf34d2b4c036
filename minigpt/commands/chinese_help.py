"""`--help` in Chinese: the texts of a finished parser are replaced by those of a table."""

import argparse
import re

from .._language import columns, padded, said
from ..chinese.commands import TEXTS

CHARACTER = "[\u2e80-\uffef]"  # Chinese characters and punctuation, two columns each
# What stays on one line: a character, or a word of others; with the opening and closing punctuation beside it.
UNIT = re.compile(rf"[（]*(?:{CHARACTER}|[^\s\u2e80-\uffef]+)[，。；：、）]*\s*")


class ChineseHelp(argparse.RawDescriptionHelpFormatter):
    """argparse counts characters, not columns, and breaks lines at spaces only."""

    def format_help(self):
        text = super().format_help().replace("usage: ", padded(TEXTS["usage: "], len("usage: ")), 1)
        return re.sub(rf"(?m)^({CHARACTER}+):$", r"\1：", text)  # argparse adds a colon to the title of a group

    def _split_lines(self, text, width):
        return wrapped(text, width)


def wrapped(text: str, width: int) -> list[str]:
    """A text as lines of at most `width` columns; a longer word has a line of its own."""
    lines = [""]
    for unit in UNIT.findall(text):
        if lines[-1] and columns(lines[-1] + unit.rstrip()) > width:
            lines.append("")
        lines[-1] += unit
    return [line.rstrip() for line in lines]


def into_chinese(parser: argparse.ArgumentParser) -> None:
    """Replace what `--help` says of a parser and its commands. A text that the table lacks stays."""
    parser.formatter_class = ChineseHelp
    _replace(parser, "description", "epilog")
    for group in parser._action_groups:
        _replace(group, "title", "description")
    for action in parser._actions:
        _replace(action, "help")
        if isinstance(action, argparse._SubParsersAction):
            for line in action._choices_actions:  # the list of commands
                _replace(line, "help")
            for command in action.choices.values():
                into_chinese(command)


def _replace(part, *names: str) -> None:
    for name in names:
        if text := getattr(part, name):
            setattr(part, name, said(TEXTS, text))
