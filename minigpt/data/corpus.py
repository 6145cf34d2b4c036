"""The built-in corpus: the documentation that every reader already has installed."""

import ast
import importlib.util
import inspect
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from tqdm import tqdm

# torch's private modules are compiler internals; numpy's and matplotlib's hold the functions users call.
SKIPPED_FOLDERS = {"site-packages", "test", "tests", "testing", "idlelib", "lib2to3", "turtledemo", "__pycache__"}
PRIVATE_BUT_DOCUMENTED = {"_torch_docs.py", "_tensor_docs.py", "_storage_docs.py"}


@dataclass(frozen=True)
class Document:
    name: str  # the module it comes from
    text: str


def documentation_corpus() -> tuple[list[Document], list[Document]]:
    """(training, held-out) documents, one a module: docstrings of Python's library, numpy, matplotlib and torch, and
    the topics of Python's own help().

    The sources are parsed, never imported, in a fixed order; a docstring that occurs twice is kept once. The text
    depends on the installed versions and on nothing else. Nothing is downloaded.
    """
    from pydoc_data.topics import topics

    documents = []
    seen = set()  # docstrings
    for name, file in tqdm(list(_documented_files()), desc="reading documentation", leave=False, disable=None):
        documents.append(_document(name, _documentation(file, name), seen))
    for name, text in sorted(topics.items()):
        documents.append(_document(f"topics.{name}", [(name, text.strip())], seen))
    documents = [document for document in documents if document.text]
    training = [document for document in documents if not is_held_out(document)]
    return training, [document for document in documents if is_held_out(document)]


def is_held_out(document: Document) -> bool:
    """Whether a document is held out: one in twenty, by a checksum of its name, so the same ones on every machine."""
    return crc32(document.name.encode()) % 20 == 0


def module_documentation(name: str) -> Document:
    """The docstrings of one module of the corpus; "python.unittest.mock", for one, is held out.

    Raises ValueError for a module that is not part of the corpus.
    """
    for candidate, file in _documented_files():
        if candidate == name:
            return _document(name, _documentation(file, name), seen=set())
    raise ValueError(f"no module {name!r} in the documentation corpus")


def _document(name: str, entries: Iterable[tuple[str, str]], seen: set[str]) -> Document:
    """Join (title, docstring) entries, leaving out docstrings seen before."""
    parts = []
    for title, docstring in entries:
        if docstring not in seen:
            seen.add(docstring)
            parts.append(f"{title}\n\n{docstring}\n")
    return Document(name, "\n".join(parts))


def _documented_files() -> Iterator[tuple[str, Path]]:
    """(module name, file) of everything the corpus is made of, in a fixed order."""
    for package, folder in _package_folders():
        for file in sorted(folder.rglob("*.py"), key=lambda file: file.relative_to(folder).parts):
            parts = file.relative_to(folder).parts
            if SKIPPED_FOLDERS.intersection(parts) or (package == "torch" and _is_private(parts)):
                continue
            yield ".".join([package, *parts]).removesuffix(".py").removesuffix(".__init__"), file


def _package_folders() -> Iterator[tuple[str, Path]]:
    yield "python", Path(sysconfig.get_paths()["stdlib"])
    for package in ("numpy", "matplotlib", "torch"):
        yield package, Path(importlib.util.find_spec(package).origin).parent


def _is_private(parts) -> bool:
    return parts[-1] not in PRIVATE_BUT_DOCUMENTED and any(
        part.startswith("_") and part != "__init__.py" for part in parts
    )


def _documentation(file: Path, module: str) -> Iterator[tuple[str, str]]:
    """(title, docstring) of the module and of every class and function in it, in the order of the file."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):  # templates and test data that only look like Python
        return
    if docstring := ast.get_docstring(tree):
        yield module, docstring
    yield from _definitions(tree, module)


def _definitions(node, prefix: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}.{child.name}"
            if docstring := ast.get_docstring(child):
                arguments = "" if isinstance(child, ast.ClassDef) else f"({ast.unparse(child.args)})"
                yield name + arguments, docstring
            yield from _definitions(child, name)
        elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Call):
            yield from _attached_docstring(child.value)
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from _definitions(child, prefix)


def _attached_docstring(call: ast.Call) -> Iterator[tuple[str, str]]:
    """Functions written in C get their docstring from a call such as add_docstr(torch.abs, "...")."""
    if not any(word in ast.unparse(call.func) for word in ("docstr", "newdoc")) or len(call.args) < 2:
        return
    strings = [n.value for n in ast.walk(call) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    longest = inspect.cleandoc(max(strings, key=len, default=""))
    if len(longest) > 100:
        yield ast.unparse(call.args[0]).strip("'\""), longest
