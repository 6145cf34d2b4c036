"""The command line called in-process, for the tests of its commands."""

from minigpt.commands.main import main


def run(capsys, *arguments) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command; when argparse raises SystemExit, its code is the exit code."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    return code, out, err
