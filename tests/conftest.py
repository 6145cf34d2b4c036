"""Shared fixtures. Data sets are found through $MINIGPT_DATA, OpenAI's weights through load_model's own search."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test uses the network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("MINIGPT_LANG", None)  # the tests compare English texts; those of Chinese set it themselves
# The models here are so small that two threads mostly wait for each other. Notebooks and commands inherit the variable.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
# Some tests send Ctrl-C to themselves. Where these tests are a job in the background (of a script, nohup or CI), the
# shell has had it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the full number of random cases, not a fifth of it")


from_workers = {}  # the largest differences that other processes have measured


def pytest_sessionfinish(session):
    """A worker process sends its largest differences to the process that prints them."""
    oracle = sys.modules.get("oracle")
    if oracle and hasattr(session.config, "workeroutput"):
        session.config.workeroutput["worst"] = [
            (quantity, str(dtype), attention, figure) for (quantity, dtype, attention), figure in oracle.worst.items()
        ]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    for quantity, dtype, attention, figure in getattr(node, "workeroutput", {}).get("worst", []):
        key = (quantity, getattr(torch, dtype.removeprefix("torch.")), attention)
        from_workers[key] = max(from_workers.get(key, 0.0), figure)


def pytest_terminal_summary(terminalreporter):
    """Print the largest differences between our models and the oracles in this run."""
    if from_workers:
        import oracle

        oracle.worst.update(from_workers)
    oracle = sys.modules.get("oracle")
    if oracle and oracle.worst:
        terminalreporter.section("worst figures")
        terminalreporter.write_line("\n".join(oracle.worst_figures()))


@pytest.fixture
def full(request):
    return request.config.getoption("--full")


@pytest.fixture(scope="session")
def data():
    """The folder with gpt2/ (vocab.json, merges.txt) and wikitext2/ (test.txt)."""
    folder = os.environ.get("MINIGPT_DATA")
    if not folder:
        pytest.skip("MINIGPT_DATA is not set: GPT-2's tokenizer files and WikiText-2 are not part of the repository")
    return Path(folder)


@pytest.fixture(scope="session")
def gpt2_tokenizer(data):
    from minigpt import Tokenizer

    return Tokenizer.load(data / "gpt2")


@pytest.fixture(scope="session")
def wikitext(data):
    from minigpt._files import read_text

    return read_text(data / "wikitext2" / "test.txt")


@pytest.fixture(scope="session")
def tiny_folder():
    from minigpt.checkpoints import find_checkpoint

    return find_checkpoint("tiny")


@pytest.fixture(scope="session")
def tiny():
    from minigpt import load_model

    return load_model("tiny")


@pytest.fixture(scope="session")
def tiny_tokenizer():
    from minigpt import load_tokenizer

    return load_tokenizer("tiny")
