"""Every notebook runs from a clean kernel with no network, and prints the numbers it was saved with."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest
from printed import assert_same_text

from minigpt.lecture.exercises import EXERCISES, LESSONS, own_attention

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))


def printed(cell) -> str:
    return "".join(output.get("text", "") for output in cell.get("outputs", []) if output.output_type == "stream")


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_runs_and_prints_what_was_saved(file, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("MINIGPT_SOURCE", raising=False)
    notebook = nbformat.read(file, as_version=4)
    saved = [printed(cell) for cell in notebook.cells]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = nbclient.NotebookClient(
        notebook, timeout=240, coalesce_streams=True, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    for cell, text in zip(notebook.cells, saved, strict=True):
        if "varies" not in cell.metadata.get("tags", []):  # timings, samples, what depends on data that may be absent
            assert_same_text(text, printed(cell))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_is_small_and_saved_with_its_outputs(file):
    assert file.stat().st_size < 1e6
    cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells), "run all cells before saving"
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert "assert " in "\n".join(cell.source for cell in cells)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_opens_with_a_map_and_ends_with_exercises_and_a_recap(file):
    cells = nbformat.read(file, as_version=4).cells
    assert cells[0].source.startswith("# ") and "中文" in cells[0].source and "English" in cells[0].source
    headings = [
        line for cell in cells if cell.cell_type == "markdown" for line in cell.source.split("\n") if line[:3] == "## "
    ]
    assert any("Exercises" in heading for heading in headings) and "Recap" in headings[-1]
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    asked = re.findall(r'check\("(\w+)"', code)
    assert len(asked) >= 2 and set(asked) <= set(EXERCISES)


def test_every_exercise_is_asked_somewhere():
    code = "\n".join(file.read_text(encoding="utf-8") for file in NOTEBOOKS)
    asked = set(re.findall(r'check\(\\"(\w+)\\"', code))
    numbers = {file.name[:2] for file in NOTEBOOKS}
    with_notebook = [lesson for lesson in LESSONS if lesson.__name__[-2:] in numbers or lesson is own_attention]
    assert asked == {name for lesson in with_notebook for name in lesson.EXERCISES} and asked <= set(EXERCISES)


def test_saved_outputs_name_no_folder_of_the_machine_they_were_made_on():
    for file in NOTEBOOKS:
        found = re.findall(r"/(?:home|root|tmp|Users|work)/\S*", file.read_text(encoding="utf-8"))
        assert not found, f"{file.name}: {found[:3]}"


def test_links_lead_somewhere():
    folders = (FOLDER.parent, FOLDER, FOLDER / "zh", FOLDER.parent / "weights", FOLDER.parent / "tests")
    pages = [page for folder in folders for page in (*folder.glob("*.ipynb"), *folder.glob("*.md"))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if link.startswith(("http", "attachment", "data:", "#")) or not re.search(r"\.\w+$|/$|^\w+$", link):
                continue
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_test_that_the_map_names_exists():
    for page in (FOLDER / "README.md", FOLDER.parent / "tests" / "README.md"):
        for file, name in re.findall(r"(test_\w+\.py)(?:::(test_\w+))?", page.read_text(encoding="utf-8")):
            source = (FOLDER.parent / "tests" / file).read_text(encoding="utf-8")
            assert not name or f"def {name}(" in source, f"{page}: {file}::{name}"
