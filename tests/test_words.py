"""Plain words: the text does without metaphors, and without words that mean one thing here and another elsewhere."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What to write instead, for whoever adds a sentence.
AVOIDED = {
    r"behind": "after, at the end of, to the right of",
    r"fore(see|sees|seen|saw|tell|tells|told)": "predict",
    r"\w*ledgers?\w*": "table, losses",
    r"seams?": "border, the first token of a later window",
    r"houses?": "package, project",
    r"rooms?": "place, space, memory",
    r"floors?": "layer, limit",
    r"races?": "comparison",
    r"by heart": "remember, word for word",
    r"belongs? into": "holds, contains",
    r"in the wild": "in public projects, on people's disks",
    r"stumbles?": "fail, raise",
    r"anew": "again",
    r"a mean of nothing": "no target counts",
    r"the two part": "they differ from there",
    r"(settle|shop|quiet_steps)": "a name that says what it is",
}
QUOTED = [  # sentences of others, and examples
    "The house is wonderful",
    "behind a firewall",
    '"floor"',
    "torch.floor",
    "lfloor",
    "rfloor",
    ".floor(",
    "math.floor",
]


def texts():
    """(file, text) of everything that a reader reads; of notebooks the cells, not the outputs."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if not file.exists() or file.name == "test_words.py":
            continue
        if file.suffix == ".ipynb":
            cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
            yield name, "\n".join("".join(cell["source"]) for cell in cells)
        elif file.suffix in (".py", ".md") and not name.startswith("tests/run_of_before"):
            yield name, file.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", AVOIDED)
def test_the_text_does_without(words):
    found = []
    for name, text in texts():
        for quoted in QUOTED:
            text = text.replace(quoted, "")
        for match in re.finditer(rf"(?i)\b{words}\b", text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{name}:{line}: {text[max(0, match.start() - 40) : match.end() + 20]!r}")
    assert not found, f"write {AVOIDED[words]} instead:\n" + "\n".join(found)
