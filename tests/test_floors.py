"""The floors of the house: a file imports only from its own floor or a lower one, and never in a circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "minigpt"
FLOORS = [
    [
        "attention",
        "kv_cache",
        "loss",
        "tokenizer",
        "checkpoint",
        "distributed",
        "snapshots",
        "interrupts",
        "config",
        "stopwatch",
        "hub",
    ],
    ["gpt2"],
    [
        "model_loss",
        "pretrained",
        "processors",
        "one_token",
        "cuda_graph",
        "decoding",
        "beam_search",
        "speculation",
        "generation",
        "perplexity",
        "published",
        "trace",
        "data",
    ],
    [
        "evaluation",
        "baselines",
        "train",
        "verify",
        "plots",
        "perplexity_plots",
        "exercises",
        "bench",
        "footprint",
        "bench_plots",
    ],
    ["tour", "commands", "cli", "__main__"],
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
MAY_ASK_THE_ORACLE = {"verify"}


def imports(tree: ast.AST, folder: str = "minigpt") -> set[str]:
    """Full names of everything imported anywhere in a file; `from . import loss` is minigpt.loss."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folder.split(".")[: folder.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            found.update([f"minigpt.{alias.name}" for alias in node.names] if module == "minigpt" else [module])
    return found


def folder_of(file: Path) -> str:
    return ".".join(["minigpt", *file.relative_to(PACKAGE).parent.parts])


def files() -> list[Path]:
    return sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def room(file: Path) -> str:
    """A file stands on the floor of its name; the files of a folder stand together."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def neighbours(file: Path) -> set[str]:
    """The rooms that a file imports from, its own left out."""
    names = imports(ast.parse(file.read_text(encoding="utf-8")), folder_of(file))
    return {name.split(".")[1] for name in names if name.startswith("minigpt.")} - {room(file)}


def test_every_file_has_a_floor():
    assert {room(file) for file in files()} == set(FLOOR_OF)


@pytest.mark.parametrize("file", files(), ids=room)
def test_imports_point_down(file):
    up = {name for name in neighbours(file) if FLOOR_OF[name] > FLOOR_OF[room(file)]}
    assert not up, f"{file.name} imports from a higher floor: {sorted(up)}"


def test_no_circles():
    below = {name: set() for name in FLOOR_OF}
    for file in files():
        below[room(file)] |= neighbours(file)
    while below:
        leaves = [name for name, needs in below.items() if not needs & below.keys()]
        assert leaves, f"these import each other in a circle: {sorted(below)}"
        for name in leaves:
            del below[name]


@pytest.mark.parametrize("file", files(), ids=room)
def test_transformers_is_the_oracle_and_no_part(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {name for function in functions for name in imports(function)}
    everywhere = {name.split(".")[0] for name in imports(tree)}
    if "transformers" in everywhere:
        assert room(file) in MAY_ASK_THE_ORACLE
        top_level = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        assert "transformers" not in imports(top_level) and "transformers" in inside


def test_the_tokenizer_needs_no_torch():
    assert "torch" not in imports(ast.parse((PACKAGE / "tokenizer.py").read_text(encoding="utf-8")))
