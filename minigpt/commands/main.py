"""The command line: python -m minigpt COMMAND [--source tiny] ...

Exit codes: 0 fine, 1 a claim or comparison failed, 2 bad input (one sentence on stderr), 130 interrupted.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence

from .._language import in_chinese, said
from ..chinese.commands import TEXTS
from . import COMMANDS
from .chinese_help import into_chinese

EPILOG = """\
to begin with:
  python -m minigpt tour                               the lecture, start to end, every number checked
  python -m minigpt explore                            attention, logits and choices of a model, in the browser
  python -m minigpt generate "Return the" --temperature 0.8 --seed 1
  python -m minigpt perplexity --text README.md        three perplexities of one text
  python -m minigpt fill "Return the [MASK]." --source bert-base-uncased
  python -m minigpt download gpt2                      OpenAI's weights, for --source gpt2
  python -m minigpt COMMAND --help                     what a command does and takes
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    open_missing_streams()
    for output in (sys.stdout, sys.stderr):  # a pipe on a machine set to ASCII must not end in a traceback
        if hasattr(output, "reconfigure"):
            output.reconfigure(encoding="utf-8", errors="replace")
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        if isinstance(error, BrokenPipeError):  # the program that reads our output (perhaps head) has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"minigpt: {in_flags(_sentence(error), options.flags)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nminigpt: interrupted", file=sys.stderr)
        return 130


def open_missing_streams() -> None:
    """Open an empty stream where there is none: a caller may have closed stdin, stdout or stderr (`<&-`, `2>&-`). Then
    print would write what is meant for stderr to stdout, between the data."""
    for name, mode in [("stdin", "r"), ("stdout", "w"), ("stderr", "w")]:
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def in_flags(sentence: str, flags: dict[str, str]) -> str:
    """What an error says of an argument, in the flags of the command: "top_p must be ..." -> "--top-p must be ...".

    Such a sentence begins with the argument's name. Names that are words of English as well (window, text) are flags
    only there, and only before "must be".
    """
    first = re.match(r"(\w+)( must be )?", sentence)
    if not first or first[1] not in flags or not (first[2] or "_" in first[1]):
        return sentence
    names = [first[1], *(name for name in flags if "_" in name)]
    return re.sub(rf"\b({'|'.join(names)})\b", lambda name: flags[name[0]], sentence)


class _Parser(argparse.ArgumentParser):
    """Each command refuses what it does not know (argparse lets the parser of all commands do that), and says where a
    text goes that begins with -: argparse takes it for a flag."""

    misread: Sequence[str] = ()  # what may have been meant as a text

    def parse_known_args(self, args=None, namespace=None):
        self.misread = [text for text in args or () if text.startswith("-") and text not in self._option_string_actions]
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.misread = unknown
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def error(self, message):
        text = next((action.metavar for action in self._actions if action.metavar in ("PROMPT", "TEXT")), None)
        hint = f"{text} comes last, and after -- it may begin with -; " if text and self.misread else ""
        self.exit(2, f"{self.prog}: {message} ({hint}see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m minigpt",
        description="GPT-2, BERT, T5 and Llama written by hand, to be read beside a lecture. Everything but `download` "
        "works offline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for command in COMMANDS:
        description = said(TEXTS, command.HELP) + said(TEXTS, ".")
        sub = commands.add_parser(command.NAME, help=command.HELP, description=description)
        command.add(sub)
        sub.set_defaults(
            run=command.run,
            flags={action.dest: action.option_strings[-1] for action in sub._actions if action.option_strings},
        )
    if in_chinese():
        into_chinese(parser)
    return parser
