"""The Chinese notebooks in `zh/` are twins of the English ones: the same code and numbers, other words.

    python notebooks/twins.py check                 # every difference of every pair
    python notebooks/twins.py export 05             # the English notebook as text, to be translated
    python notebooks/twins.py build 05 FILE         # the Chinese one from that text: checked, run, saved
    python notebooks/twins.py refresh 05            # after the English one changed: its code, the Chinese words, run

Compared are: the code without comments and without the words in strings (placeholders of f-strings stay), the numbers
that cells print, headings, formulas and links. So a Chinese notebook needs no test run for what it computes.
"""

import argparse
import ast
import io
import os
import re
import sys
import tokenize
from collections import Counter
from pathlib import Path

import nbformat

FOLDER = Path(__file__).parent
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")


def pairs() -> list[tuple[Path, Path]]:
    """(English file, Chinese file) of every notebook; the second may not exist."""
    return [(file, FOLDER / "zh" / file.name) for file in sorted(FOLDER.glob("[0-9]*.ipynb"))]


# --- what two cells have in common -----------------------------------------------------------------------------------


class _Wordless(ast.NodeTransformer):
    """Strings become empty. Of an f-string its placeholders stay, in any order; a width to pad words to does not."""

    def visit_Constant(self, node):
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node):
        placeholders = [self.visit(part) for part in node.values if isinstance(part, ast.FormattedValue)]
        return ast.Tuple(sorted(placeholders, key=ast.dump), ast.Load())

    def visit_FormattedValue(self, node):
        width = node.format_spec and re.fullmatch(r"'?[<>^]?\d+'?", ast.unparse(node.format_spec).strip("f"))
        spec = None if width else node.format_spec
        return ast.FormattedValue(self.visit(node.value), node.conversion, spec)


def code_without_words(source: str) -> str:
    """Two cells with the same result compute the same."""
    lines = source.split("\n")
    magics = [line for line in lines if line.startswith(("%", "!"))]
    python = "\n".join(line for line in lines if not line.startswith(("%", "!")))
    tree = _Wordless().visit(ast.parse(python))
    return "\n".join([*magics, ast.dump(tree), "quiet" if source.rstrip().endswith(";") else ""])


def frame_of(markdown: str) -> dict:
    """What the text of a twin has in common: levels and numbers of headings, formulas, links, blocks of code."""
    fences = re.findall(r"(?ms)^```(\w*)\n.*?^```", markdown)
    text = re.sub(r"(?ms)^```.*?^```", "", markdown)
    code = re.findall(r"`[^`\n]+`", text.replace("notebooks/zh/", "notebooks/"))
    plain = re.sub(r"`[^`\n]+`", "", text)
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$\n]+\$", plain, re.DOTALL)
    return {
        "headings": re.findall(r"(?m)^(#+)(?: (\d+)\b)?", text),
        "formulas": Counter(re.sub(r"\s|\\text\{[^}]*\}", "", formula) for formula in formulas),
        "links": Counter(re.findall(r"\]\(([^)\s]+)\)", plain)),
        "code": Counter(code),
        "blocks": fences,
        "details": text.count("<details>"),
    }


def numbers_printed(cell) -> Counter:
    """How often each number stands in what a cell printed, or in the value of its last line."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    return Counter(NUMBER.findall("\n".join(text for text in texts if not text.startswith("<Figure"))))


def differences(english, chinese) -> list[str]:
    """What two notebooks do not have in common, a sentence each."""
    if [cell.cell_type for cell in english.cells] != [cell.cell_type for cell in chinese.cells]:
        return [f"{len(english.cells)} and {len(chinese.cells)} cells, or cells of other types"]
    found = []
    for number, (a, b) in enumerate(zip(english.cells, chinese.cells, strict=True)):
        if a.metadata.get("tags") != b.metadata.get("tags") or a.metadata.get("jupyter") != b.metadata.get("jupyter"):
            found.append(f"cell {number}: other tags")
        if a.cell_type == "markdown":
            first, second = frame_of(a.source), frame_of(b.source)
            if number == 0:  # the first cell has the reading guide in both languages, the twin in one
                first, second = ({"headings": frame["headings"]} for frame in (first, second))
            found += [
                f"cell {number}: {what}: {first[what]} and {second[what]}"
                for what in first
                if first[what] != second[what]
            ]
            continue
        if code_without_words(a.source) != code_without_words(b.source):
            found.append(f"cell {number}: other code")
        elif "varies" not in a.metadata.get("tags", []) and numbers_printed(a) != numbers_printed(b):
            one, other = numbers_printed(a) - numbers_printed(b), numbers_printed(b) - numbers_printed(a)
            found.append(f"cell {number}: other numbers: {dict(one)} and {dict(other)}")
    return found


# --- making and refreshing -------------------------------------------------------------------------------------------


def exported(notebook) -> str:
    """A notebook as text: "# %% md" or "# %%" (with its tags) begins a cell."""
    parts = []
    for cell in notebook.cells:
        head = "# %% md" if cell.cell_type == "markdown" else " ".join(["# %%", *cell.metadata.get("tags", [])])
        parts.append(f"{head}\n{cell.source}\n")
    return "\n".join(parts)


def built(english, text: str):
    """The twin that a translated text describes; everything but the words is the English notebook's."""
    bodies = [part.partition("\n")[2].strip("\n") for part in re.split(r"(?m)^# %%", text)[1:]]
    if len(bodies) != len(english.cells):
        raise ValueError(f"the text has {len(bodies)} cells, the English notebook {len(english.cells)}")
    twin = nbformat.from_dict(english)
    for cell, body in zip(twin.cells, bodies, strict=True):
        cell.source = body
    return twin


def words_of(source: str) -> list[tuple[int, int, str]]:
    """(first character, last character + 1, text) of the comments and strings of a cell, in order."""
    starts = [0]
    for line in source.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    hidden = "\n".join("#" + line[1:] if line.startswith(("%", "!")) else line for line in source.split("\n"))
    found, depth, begin = [], 0, None
    for token in tokenize.generate_tokens(io.StringIO(hidden).readline):
        first, last = (starts[row - 1] + column for row, column in (token.start, token.end))
        name = tokenize.tok_name[token.type]
        if name == "FSTRING_START":  # from Python 3.12 on, an f-string is several tokens
            begin = first if depth == 0 else begin
            depth += 1
        elif name == "FSTRING_END":
            depth -= 1
            if depth == 0:
                found.append((begin, last, source[begin:last]))
        elif name in ("STRING", "COMMENT") and depth == 0 and source[first] == hidden[first]:
            found.append((first, last, source[first:last]))
    return found


def with_words(english: str, chinese: str) -> str:
    """The English code with the Chinese comments and strings, where both have as many; else the English code."""
    places, words = words_of(english), [word for _, _, word in words_of(chinese)]
    if len(places) != len(words):
        return english
    for (first, last, _), word in reversed(list(zip(places, words, strict=True))):
        english = english[:first] + word + english[last:]
    return english


def refreshed(english, chinese):
    """The twin after a change of the English notebook that kept its cells: its code, the Chinese words."""
    if len(english.cells) != len(chinese.cells):
        raise ValueError(f"{len(english.cells)} and {len(chinese.cells)} cells: build the twin from a text again")
    twin = nbformat.from_dict(english)
    for cell, original, old in zip(twin.cells, english.cells, chinese.cells, strict=True):
        cell.source = old.source if cell.cell_type == "markdown" else with_words(original.source, old.source)
    return twin


def run_and_save(twin, file: Path) -> None:
    """Run a twin in its folder, in Chinese, and save it with its outputs."""
    import nbclient

    os.environ.update(MINIGPT_LANG="zh", HF_HUB_OFFLINE="1")
    for cell in twin.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    file.parent.mkdir(exist_ok=True)
    folder = {"metadata": {"path": str(file.parent)}}
    nbclient.NotebookClient(twin, timeout=600, coalesce_streams=True, resources=folder).execute()
    for cell in twin.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(twin, file)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["check", "export", "build", "refresh"])
    parser.add_argument("number", nargs="?", default="", help="of a notebook, such as 05 (check: all)")
    parser.add_argument("file", nargs="?", type=Path, help="the translated text (build)")
    options = parser.parse_args(arguments)
    wrong = 0
    for english_file, file in pairs():
        if not english_file.name.startswith(options.number):
            continue
        english = nbformat.read(english_file, as_version=4)
        if options.what == "export":
            print(exported(english))
            continue
        if options.what != "check":
            twin = built(english, options.file.read_text(encoding="utf-8")) if options.what == "build" else None
            twin = twin or refreshed(english, nbformat.read(file, as_version=4))
            words = [line for line in differences(english, twin) if "numbers" not in line]
            if words:
                print(f"{file.name}: not run, since\n  " + "\n  ".join(words))
                wrong += len(words)
                continue
            run_and_save(twin, file)
        found = differences(english, nbformat.read(file, as_version=4)) if file.exists() else ["there is no twin"]
        print(f"{file.name}: {'a twin' if not found else ''}", *found, sep="\n  " if found else "")
        wrong += len(found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
