"""The cards of the built-in models, weights/README.md, as the tests read them."""

import hashlib
import re
from pathlib import Path

WEIGHTS = Path(__file__).parent.parent / "weights"


class Card:
    """The part of weights/README.md that describes one model."""

    def __init__(self, name: str):
        sections = re.split(r"(?m)^## ", (WEIGHTS / "README.md").read_text(encoding="utf-8"))
        [self.text] = [section for section in sections if section.startswith(name + "\n")]

    def said(self, pattern: str) -> float:
        """The number that the pattern's first group matches in the card."""
        found = re.search(pattern, self.text)
        assert found, f"the card does not say {pattern}"
        return float(found[1].replace(",", "").replace("−", "-"))

    def check_files(self, folder: Path) -> None:
        """Assert that the folder's files have the card's SHA-256 sums, and that the model needs no other file."""
        sums = dict(re.findall(r"([0-9a-f]{64})  (\S+)", self.text))
        assert {"model.safetensors", "config.json"} <= set(sums.values())
        for digest, file in sums.items():
            assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest, file
        others = {file.name for file in folder.iterdir()} - set(sums.values())
        assert others <= {"metrics.csv", "metrics_second.csv", "loss.png"}, others
