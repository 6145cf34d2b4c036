"""The command line called in-process, for the tests of its commands."""

from minigpt.commands.main import main


def run(capsys, *arguments) -> tuple[int, str, str]:
    """(exit code, stdout, stderr); argparse leaves through SystemExit."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    return code, out, err
