"""The layers of the package: a file imports from its own layer or an earlier one, and never in a circle.

The test reads the syntax tree of every file, so an import inside a function counts, too.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "minigpt"

# One layer a line, the earliest first. A folder's files share its layer.
LAYERS = """
    _language chinese _checks _files
    kv_cache positions tiled_attention attention masks layers tokenizer loss
    language_model
    models
    trace fast data
    checkpoints generation perplexity
    train
    compare
    plots explorer
    lecture
    commands
    minigpt __main__
"""
LAYER_OF = {name: number for number, line in enumerate(LAYERS.strip().split("\n")) for name in line.split()}
MAY_IMPORT_TRANSFORMERS = "compare"


def read_package(folder: Path = PACKAGE) -> dict[str, str]:
    """{dotted name: source} of every file; a folder's __init__.py has the name of the folder."""
    sources = {}
    for file in sorted(folder.rglob("*.py")):
        parts = ["minigpt", *file.relative_to(folder).with_suffix("").parts]
        sources[".".join(parts).removesuffix(".__init__")] = file.read_text(encoding="utf-8")
    return sources


def is_folder(module: str, sources: dict[str, str]) -> bool:
    return any(name.startswith(module + ".") for name in sources)


def imports(module: str, sources: dict[str, str]) -> set[str]:
    """Full names of everything that a file imports; of minigpt, the files (`from .loss import x` is minigpt.loss)."""
    package = module.split(".") if is_folder(module, sources) else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                found.add(name if name in sources else origin)
    return found - {module}


def top(module: str) -> str:
    """The part of minigpt/ that a file is in: a folder directly under minigpt/, or the file itself."""
    return [*module.split("."), "minigpt"][1]


def layer(module: str) -> int:
    """The number of a file's layer. KeyError for a file that is in no layer."""
    return LAYER_OF[top(module)]


def faults(sources: dict[str, str]) -> list[str]:
    """What is wrong with the imports of a package, in words; nothing, if all is well."""
    needs = {module: {name for name in imports(module, sources) if name in sources} for module in sources}
    found = [
        f"{module} imports {name}, which is in a later layer"
        for module, names in needs.items()
        for name in sorted(names)
        if layer(name) > layer(module)
    ]
    while needs:
        leaves = [module for module, names in needs.items() if not names & needs.keys()]
        if not leaves:
            # Every file that is left is in a circle, or imports one. Files that no other file imports are in no circle.
            while last := [m for m in needs if not any(m in names for names in needs.values())]:
                for module in last:
                    del needs[module]
            return [*found, f"these import each other in a circle: {', '.join(sorted(needs))}"]
        for module in leaves:
            del needs[module]
    return found


def test_every_file_is_in_a_layer():
    assert set(map(top, read_package())) <= LAYER_OF.keys()


def test_no_file_imports_from_a_later_layer_or_in_a_circle():
    assert faults(read_package()) == []


@pytest.mark.parametrize(
    "module, line, fault",
    [
        (
            "loss",
            "from .models.gpt2 import GPT2",
            "minigpt.loss imports minigpt.models.gpt2, which is in a later layer",
        ),
        (
            "kv_cache",
            "def f():\n    from . import trace",
            "minigpt.kv_cache imports minigpt.trace, which is in a later",
        ),
        (
            "fast.one_token",
            "import minigpt.perplexity.scoring",
            "minigpt.fast.one_token imports minigpt.perplexity.sco",
        ),
        ("attention", "from .loss import log_softmax", "in a circle: minigpt.attention, minigpt.loss"),
        ("generation.stopping", "from . import beams", "in a circle: minigpt.generation.beams, minigpt.generation."),
        ("generation.settings", "from . import generate", "in a circle: minigpt.generation"),
    ],
)
def test_a_planted_import_is_seen(module, line, fault):
    sources = read_package()
    sources[f"minigpt.{module}"] += "\n" + line
    assert any(fault in text for text in faults(sources)), faults(sources)


def test_a_folder_exports_its_own_files_only():
    sources = read_package()
    for module in sources:
        if is_folder(module, sources) and module not in ("minigpt", "minigpt.commands"):
            others = {name for name in imports(module, sources) if name.startswith("minigpt")}
            assert all(name.startswith(module + ".") for name in others), module


def test_no_file_bears_the_name_of_something_that_its_folder_exports():
    """Otherwise `minigpt.perplexity` would be the folder for one reader and a function for another."""
    sources = read_package()
    for module in sources:
        if not is_folder(module, sources):
            continue
        files = {name[len(module) + 1 :].split(".")[0] for name in sources if name.startswith(module + ".")}
        exported = set()
        for node in ast.walk(ast.parse(sources[module])):
            if isinstance(node, ast.ImportFrom):
                origin = node.module or ""
                exported |= {alias.asname or alias.name for alias in node.names if origin or alias.name not in files}
        assert not exported & files, f"{module}: {sorted(exported & files)}"


def test_transformers_is_what_we_compare_with_and_no_part_of_ours():
    """Imported in one folder, inside functions only: the package works without it."""
    sources = read_package()
    for module, source in sources.items():
        everywhere = {name.split(".")[0] for name in imports(module, sources)}
        if "transformers" in everywhere:
            assert module.split(".")[1] == MAY_IMPORT_TRANSFORMERS, module
            top = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
            assert "transformers" not in {alias.name for node in top for alias in node.names}


def names(source: str) -> set[str]:
    """Every name that a file uses, imports or defines."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found.update(part for alias in node.names for part in alias.name.split("."))
            found.update((getattr(node, "module", None) or "").split("."))
    return found


FAMILIES = {"GPT2": "gpt2", "Bert": "bert", "T5": "t5", "Llama": "llama"}
MODEL_CLASSES = {*FAMILIES, *FAMILIES.values(), *(f"{name}Config" for name in FAMILIES)}


def test_no_model_imports_another():
    sources = read_package()
    for file in FAMILIES.values():
        others = {f"minigpt.models.{other}" for other in FAMILIES.values() if other != file}
        assert not imports(f"minigpt.models.{file}", sources) & others
        assert len(sources[f"minigpt.models.{file}"].splitlines()) < 300  # short enough to read at once


def test_generating_scoring_tracing_and_training_know_no_model_class():
    for module, source in read_package().items():
        if top(module) in ("generation", "perplexity", "trace", "train"):
            used = names(source) & {*MODEL_CLASSES, "models"}
            allowed = {"GPT2Config", "models"} if module == "minigpt.train.recipes" else set()
            assert used <= allowed, f"{module} names {sorted(used - allowed)}"


def test_the_tokenizer_needs_no_torch():
    sources = read_package()
    for module in sources:
        if module.startswith("minigpt.tokenizer") or module in ("minigpt._checks", "minigpt._files"):
            assert "torch" not in imports(module, sources), module
