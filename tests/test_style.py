"""What a reader sees first: one style, and a README whose commands are the ones that are tested."""

import re
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
        name for name in names if name.startswith("weights/") and not re.match(r"weights/(tiny(-\w+)?/|README)", name)
    ]
    assert not [name for name in names if "wikitext" in name or "tangshi" in name]


def listed_files() -> list[str]:
    """The paths in the README's tree, in its order; a folder's stands before those of its files."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("```text\nminigpt/\n")[1].split("```")[0]
    paths, folders = [], []
    for line in text.splitlines():
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
        folders = [*folders[: depth - 1], name]
        paths.append("".join(folders))
    return paths


def test_the_readmes_list_of_files_is_the_tree():
    """Every file has its line, and every line its file; of some folders, a line stands for all files."""
    listed = listed_files()
    whole = [
        path for path in listed if path.endswith("/") and not any(p.startswith(path) and p != path for p in listed)
    ]
    package = ROOT / "minigpt"
    there = {
        str(file.relative_to(package).as_posix())
        for file in package.rglob("*.py")
        if file.name not in ("__init__.py", "__main__.py")
    }
    assert {path for path in listed if not path.endswith("/")} == {p for p in there if not p.startswith(tuple(whole))}
    assert len(listed) == len(set(listed)) and all((package / path).exists() for path in listed)
    assert all(
        len(line) <= 140 for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if ".py  " in line
    )
