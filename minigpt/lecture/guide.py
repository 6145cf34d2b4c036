"""What the tour says, and what it claims."""

from dataclasses import dataclass

from .._language import columns, said
from ..chinese.tour import TEXTS


@dataclass(frozen=True)
class Claim:
    section: str
    claim: str
    ok: bool


class Guide:
    """Prints the tour and remembers what was claimed. Texts are English templates with named values; they are printed
    and kept in the reader's language."""

    def __init__(self, quiet: bool):
        self.quiet, self.section, self.claims = quiet, "", []

    def title(self, english: str) -> None:
        self.section = said(TEXTS, english)
        self.show(f"\n━━ {self.section} " + "━" * max(0, 96 - columns(self.section)))

    def say(self, english: str, **values) -> None:
        self.show(said(TEXTS, english, **values))

    def show(self, text: str, end: str = "\n") -> None:
        """Print what is the same in every language."""
        if not self.quiet:
            print(text, end=end, flush=True)

    def claim(self, english: str, ok: bool, **values) -> None:
        text = said(TEXTS, english, **values)
        self.claims.append(Claim(self.section, text, bool(ok)))
        self.show(f"   {'✓' if ok else '✗'} {text}")
