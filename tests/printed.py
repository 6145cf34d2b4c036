"""Comparing what was printed once with what is printed now."""

import re

NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def assert_same_text(saved: str, now: str) -> None:
    """The same words, and numbers that agree up to rounding (differences of the order of 1e-3 and less are noise)."""
    assert NUMBER.sub("#", saved) == NUMBER.sub("#", now)
    for a, b in zip(NUMBER.findall(saved), NUMBER.findall(now), strict=True):
        a, b = float(a.replace("−", "-")), float(b.replace("−", "-"))
        assert abs(a - b) <= 2e-3 * max(1.0, abs(a)), f"saved {a}, now {b}"


def assert_lines_occur(shown: str, printed: str) -> None:
    """Every shown line, but for "…", is a printed one, in order."""
    lines = iter(printed.splitlines())
    for wanted in shown.splitlines():
        if wanted.strip() == "…":
            continue
        text = NUMBER.sub("#", wanted).rstrip()
        found = next((line for line in lines if NUMBER.sub("#", line).rstrip() == text), None)
        assert found is not None, f"not printed, or not in this order: {wanted!r}"
        assert_same_text(wanted.rstrip(), found.rstrip())
