"""Text -> token file -> batches, and the built-in corpus: the documentation that every reader already has installed."""

import ast
import importlib.util
import inspect
import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from tqdm import tqdm

from ..tokenizer import Tokenizer

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
    """One document in twenty, by a checksum of its name: the same ones everywhere and whatever else is installed."""
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


def read_text(file: str | Path) -> str:
    """A text file in UTF-8, line ends left as they are. Raises ValueError that names the first byte that is not."""
    return decode_text(Path(file).read_bytes(), str(file))


def decode_text(data: bytes, name: str) -> str:
    """Bytes in UTF-8 -> text. Raises ValueError that says where `name` has a byte that is not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}") from None


def dataset_text(name: str) -> str:
    """The text of a known data set: "wikitext2", the test rows of WikiText-2 (raw), joined as the lecture joins them.

    Looked for in $MINIGPT_DATA/wikitext2/test.txt, then asked of the `datasets` library. Raises ValueError for another
    name, ImportError, saying what to do, where there is neither.
    """
    if name != "wikitext2":
        raise ValueError(f'no data set {name!r}; there is "wikitext2"')
    file = Path(os.environ.get("MINIGPT_DATA", "")) / name / "test.txt"
    if "MINIGPT_DATA" in os.environ and file.exists():
        return read_text(file)
    try:
        from datasets import load_dataset
    except ImportError:
        raise ImportError(
            "WikiText-2 is looked for in $MINIGPT_DATA/wikitext2/test.txt, then asked of the datasets library: "
            "pip install datasets"
        ) from None
    return "\n\n".join(load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1", split="test")["text"])


def hold_out_tail(text: str) -> tuple[str, str]:
    """(training, held-out): the last twentieth of a text, from the start of a line where there is one."""
    cut = len(text) - len(text) // 20
    line = text.find("\n", cut) + 1
    cut = line if 0 < line < len(text) else cut
    return text[:cut], text[cut:]


def encode_documents(documents: Iterable[str], tokenizer: Tokenizer) -> np.ndarray:
    """(N,) token ids of all documents, an end-of-text token behind each; two bytes an id where the vocabulary fits.

    Raises ValueError for no documents at all, and for a text in place of a list of texts.
    """
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    if isinstance(documents, str):
        raise ValueError("documents must be a list of texts; a single text would be taken letter by letter")
    progress = tqdm(documents, desc="encoding", unit=" documents", leave=False, delay=2, disable=None)
    parts = [np.array(tokenizer.encode(document) + end, dtype=dtype) for document in progress]
    if not parts:
        raise ValueError("documents is empty: give at least one text")
    return np.concatenate(parts)


def write_token_file(tokens: np.ndarray, file: str | Path) -> None:
    """Keep token ids on disk as .npy. Raises ValueError for anything but a row of integers."""
    check_tokens("tokens", tokens, least=0)
    np.save(file, tokens)


def read_token_file(file: str | Path) -> np.ndarray:
    """(N,) ids, mapped from disk: nothing is read before it is used. Raises ValueError for a file that is none."""
    try:
        tokens = np.lib.format.open_memmap(file, mode="r")
    except ValueError as error:
        raise ValueError(f"{file} is not a token file: {error}") from None
    check_tokens(str(file), tokens, least=0)
    return tokens


def check_integer(name: str, value: int, least: int) -> None:
    """Raise ValueError unless value is an integer and large enough."""
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_tokens(name: str, tokens: np.ndarray, least: int) -> None:
    """Raise ValueError unless tokens is a row of at least so many integers."""
    kind, shape = np.asarray(tokens).dtype, np.shape(tokens)
    if kind.kind not in "iu" or len(shape) != 1:
        raise ValueError(f"{name} must be a row of integer ids, got {kind} {shape}")
    if len(tokens) < least:
        raise ValueError(f"{name} has {len(tokens)} tokens, one row needs context={least}")


def batch_at(
    step: int, tokens: np.ndarray, batch_size: int, context: int, seed: int = 0, repeat_share: float = 0.0
) -> torch.Tensor:
    """The batch (batch_size, context) int64 of a training step: rows from random places of a token file.

    A function of (seed, step) and nothing else: whoever resumes at a step, or trains on several machines, gets the same
    rows. In a share of the rows a passage, as long as an eighth to a half of the row, comes twice: what can be foreseen
    by looking back teaches to look back.
    Raises ValueError when the file is shorter than one row, and for a setting out of range.
    """
    for name, value, least in [("step", step, 0), ("batch_size", batch_size, 1), ("context", context, 1)]:
        check_integer(name, value, least)
    check_integer("seed", seed, 0)
    if not 0 <= repeat_share <= 1:
        raise ValueError(f"repeat_share must be between 0 and 1, got {repeat_share!r}")
    check_tokens("tokens", tokens, context)
    rng = np.random.default_rng([seed, step])
    starts = rng.integers(0, len(tokens) - context + 1, size=batch_size)
    rows = np.stack([tokens[start : start + context] for start in starts]).astype(np.int64)
    lengths = rng.integers(max(1, context // 8), max(1, context // 2) + 1, size=batch_size)
    for row, length, repeats in zip(rows, lengths, rng.random(batch_size) < repeat_share, strict=True):
        if repeats:
            row[length : 2 * length] = row[:length]
    return torch.from_numpy(rows)


def segment_ids_of(rows: torch.Tensor, end_of_text: int) -> torch.Tensor:
    """Which document each token of rows (B, T) belongs to, counted from 0 in each row; an end-of-text token closes
    the document before it."""
    ends = rows == end_of_text
    return ends.cumsum(dim=1) - ends.long()


def targets_of(batch: torch.Tensor, end_of_text: int | None) -> torch.Tensor:
    """The labels (B, T) of a batch: its tokens, but -100 for the first token of a document that follows another, which
    nothing it may see foretells."""
    if end_of_text is None:
        return batch
    labels = batch.clone()
    labels[:, 1:][batch[:, :-1] == end_of_text] = -100
    return labels
