"""What a reader sees first: one style, and a README whose commands are the ones that are tested."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff(arguments):
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "minigpt", "tests", "notebooks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_runs_the_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -r requirements.txt && python -m minigpt tour" in readme
    assert "pip install -r requirements.txt && python -m pytest" in readme
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "-r requirements.txt && python -m pytest" in script


def test_data_of_others_are_not_in_the_repository():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    names = tracked.stdout.split("\n")
    assert not [
        name
        for name in names
        if name.startswith("weights/") and not name.startswith(("weights/tiny/", "weights/README"))
    ]
    assert not [name for name in names if "wikitext" in name]
