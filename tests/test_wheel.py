"""An installed package, far from the repository, brings the built-in model and can do what the README says."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from minigpt.checkpoints import CheckpointError, find, find_checkpoint
from minigpt.checkpoints.find import download_folder, weight_folders

ROOT = Path(__file__).parent.parent
BUILT_IN = {folder.name for folder in (ROOT / "weights").glob("tiny*")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with minigpt in it, built as a wheel and installed from it, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "minigpt", source / "minigpt", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "weights", source / "weights")
    (source / "weights" / "downloaded").mkdir()
    (source / "weights" / "downloaded" / "config.json").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    [wheel] = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True)
    shutil.rmtree(source)
    return folder / "site"


def run_installed(installed, code, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "MINIGPT_WEIGHTS"}
    environment |= {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hub")}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


GENERATE_AND_TOUR = """
import sys
sys.modules["transformers"] = None  # as if it were not installed
import minigpt
from minigpt.commands.main import main
from minigpt.lecture import tour
tour.measuring_perplexity = lambda guide, model, tokenizer: None  # the longest section; test_tour.py runs it
print(minigpt.__file__)
assert main(["generate", "Return the", "--max-new-tokens", "8"]) == 0
print("---")
assert main(["tour"]) == 0
print("---")
assert main(["verify"]) == 2
assert main(["generate", "a", "--source", "gpt3"]) == 2
"""


def test_it_writes_and_gives_the_tour_from_another_folder(installed, tmp_path):
    code, out, err = run_installed(installed, GENERATE_AND_TOUR, tmp_path)
    assert code == 0, err
    text, tour, _ = out.split("---")
    where, *written = text.strip().split("\n")
    assert Path(where).is_relative_to(installed) and "\n".join(written).startswith("Return the ")
    assert "claims hold" in tour and "✗" not in tour
    assert "Left out: transformers, which is compared with, is not installed: pip install minigpt[compare]" in tour
    assert err.count("pip install minigpt[compare]") == 1
    assert "or one of tiny, " in err  # it names the models that it has
    assert not list(tmp_path.glob("*/weights"))


def test_it_brings_the_models_that_are_trained_here_and_no_other(installed):
    brought = {folder.name for folder in (installed / "minigpt" / "weights").iterdir()}
    assert brought == BUILT_IN


def test_it_brings_the_page_of_the_explorer(installed):
    pages = [{file.name for file in (root / "minigpt/explorer/page").iterdir()} for root in (ROOT, installed)]
    assert pages[0] == pages[1] and "page.html" in pages[0]


def test_the_list_of_packages_is_the_list_of_folders():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {".".join(file.relative_to(ROOT).parent.parts) for file in (ROOT / "minigpt").rglob("*.py")}
    assert set(packages) == folders | {"minigpt.weights"} and len(packages) == len(set(packages))


# --- where weights are looked for ------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A package in an empty folder, and what $MINIGPT_WEIGHTS names."""
    package, variable = tmp_path / "clone" / "minigpt", tmp_path / "variable"
    package.mkdir(parents=True)
    monkeypatch.setattr(find, "PACKAGE", package)
    monkeypatch.delenv("MINIGPT_WEIGHTS", raising=False)
    return {"variable": variable, "clone": package.parent / "weights", "wheel": package / "weights"}


def put_model(folder):
    (folder / "tiny").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / "tiny" / name).touch()


def test_the_order_of_the_search(places, monkeypatch):
    assert weight_folders() == [] and download_folder() is None
    with pytest.raises(CheckpointError, match="no model 'tiny'.* not in any weights folder, for there is none"):
        find_checkpoint("tiny")
    put_model(places["wheel"])
    assert find_checkpoint("tiny") == places["wheel"] / "tiny" and download_folder() is None  # the hub's own cache
    put_model(places["clone"])
    assert find_checkpoint("tiny") == places["clone"] / "tiny" and download_folder() == places["clone"]
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(places["variable"]))
    assert find_checkpoint("tiny") == places["clone"] / "tiny" and download_folder() == places["variable"]
    put_model(places["variable"])
    assert find_checkpoint("tiny") == places["variable"] / "tiny"


def test_no_error_offers_the_name_that_it_has_just_refused(places):
    for offered in (False, True):
        with pytest.raises(CheckpointError) as caught:
            find_checkpoint("tiny" if not offered else "tinny")
        assert ("or one of tiny," in str(caught.value)) == offered
        put_model(places["wheel"]) if not offered else None


def test_from_a_wheel_downloads_go_to_the_hubs_own_cache(places, monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def snapshot_download(repository, local_dir=None, allow_patterns=None):
        asked.append((repository, local_dir))
        folder = local_dir or tmp_path / "cache"
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "model.safetensors").touch()
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    put_model(places["wheel"])
    assert find_checkpoint("gpt2") == tmp_path / "cache"
    put_model(places["clone"])
    assert find_checkpoint("gpt2") == places["clone"] / "gpt2"
    assert asked == [("openai-community/gpt2", None), ("openai-community/gpt2", places["clone"] / "gpt2")]
