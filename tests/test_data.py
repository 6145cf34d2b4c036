import random

import numpy as np
import pytest
import torch

from minigpt import Tokenizer
from minigpt._files import read_text
from minigpt.data import (
    batch_at,
    documentation_corpus,
    encode_documents,
    hold_out_tail,
    is_held_out,
    module_documentation,
    read_token_file,
    segment_ids_of,
    write_token_file,
)
from minigpt.data.corpus import _document, _documentation
from minigpt.data.texts import longest_shared_run


@pytest.fixture(scope="module")
def corpus():
    return documentation_corpus()


def test_the_corpus_is_some_megabytes_of_documentation(corpus):
    training, held_out = corpus
    sizes = [sum(len(document.text.encode()) for document in part) for part in corpus]
    assert 6e6 < sizes[0] < 14e6 and 0.02 < sizes[1] / sizes[0] < 0.1
    names = {document.name for document in training + held_out}
    assert len(names) == len(training + held_out)
    for name in (
        "python.argparse",
        "python.json",
        "numpy.linalg._linalg",
        "matplotlib.axes._axes",
        "torch.nn.functional",
    ):
        assert name in names
    assert "torch._torch_docs" in names and not any(name.startswith("torch._dynamo") for name in names)
    assert not any("site-packages" in name or ".tests." in name for name in names)


def test_the_split_is_by_module_and_disjoint(corpus):
    training, held_out = corpus
    assert all(is_held_out(document) for document in held_out) and not any(map(is_held_out, training))
    assert "python.unittest.mock" in {document.name for document in held_out}


def test_no_docstring_occurs_twice(corpus, tmp_path):
    (tmp_path / "a.py").write_text('def f():\n    """The same words."""\n\ndef g(x):\n    """The same words."""\n')
    seen = {"Said before."}
    entries = [*_documentation(tmp_path / "a.py", "a"), ("b", "Said before."), ("c", "New.")]
    assert _document("a", entries, seen).text == "a.f()\n\nThe same words.\n\nc\n\nNew.\n"
    assert seen == {"Said before.", "The same words.", "New."}
    everything = "\n".join(document.text for part in corpus for document in part)
    for paragraph in sorted(module_documentation("python.unittest.mock").text.split("\n\n"), key=len)[-5:]:
        assert everything.count(paragraph) == 1


SOURCE = '''
"""Of the module."""
async def wait(): """Of an async function."""
class Box:
    """Of a class."""
    def open(self, n=1):
        """Of a method."""
        def inner(): """Of a function in a function."""
if True:
    def here(): """Under if."""
try:
    def there(): """Under try."""
except ImportError:
    def not_there(): """In place of another one: left out."""
with open(""):
    class Inside: """Under with."""
def silent(): pass
add_docstr(torch.abs, "DOCUMENTED")
add_newdoc("numpy", "ndarray", ("shape", "  DOCUMENTED"))
add_docstr(torch.few, "Too few words for a docstring.")
print(torch.abs, "DOCUMENTED")
add_docstr("DOCUMENTED")
'''


def test_what_of_a_file_is_documentation(tmp_path):
    """Functions written in C have their docstrings in calls."""
    long = " ".join(["Computes what a function written in C computes."] * 3)
    file = tmp_path / "a.py"
    file.write_text(SOURCE.replace("DOCUMENTED", long))
    assert list(_documentation(file, "a")) == [
        ("a", "Of the module."),
        ("a.wait()", "Of an async function."),
        ("a.Box", "Of a class."),
        ("a.Box.open(self, n=1)", "Of a method."),
        ("a.Box.open.inner()", "Of a function in a function."),
        ("a.here()", "Under if."),
        ("a.there()", "Under try."),
        ("a.Inside", "Under with."),
        ("torch.abs", long),
        ("numpy", long),
    ]


@pytest.mark.parametrize("content", [b"def f(:\n", b'"""Not UTF-8: \xff."""', b'"""Zero: \0."""', b"print 'Python 2'"])
def test_a_file_that_is_no_python_is_passed_over(tmp_path, content):
    (tmp_path / "a.py").write_bytes(content)
    assert list(_documentation(tmp_path / "a.py", "a")) == []


def test_functions_written_in_c_are_in_the_corpus(corpus):
    texts = {document.name: document.text for part in corpus for document in part}
    assert "torch.abs\n\nabs(input: Tensor" in texts["torch._torch_docs"] and len(texts["torch._torch_docs"]) > 250_000
    assert "Flat iterator object to iterate over arrays." in texts["numpy._core._add_newdocs"]
    assert len(texts["numpy._core._add_newdocs"]) > 100_000


def test_a_module_reads_as_title_and_docstring():
    text = module_documentation("python.bisect").text
    assert text.startswith("python.bisect\n\nBisection algorithms.\n")
    assert "python.bisect.insort_right(a, x, lo=0, hi=None, *, key=None)\n\nInsert item x in list a" in text
    with pytest.raises(ValueError, match="'python.nonsense'"):
        module_documentation("python.nonsense")


def test_token_file_round_trip(tmp_path):
    tokenizer = Tokenizer.train(["some text"], 260)
    write_token_file(encode_documents(["some text", "more"], tokenizer), tmp_path / "tokens.npy")
    tokens = read_token_file(tmp_path / "tokens.npy")
    end = tokenizer.eos_id
    assert tokens.tolist() == [*tokenizer.encode("some text"), end, *tokenizer.encode("more"), end]
    assert tokens.dtype == np.uint16 and isinstance(tokens, np.memmap)


@pytest.mark.parametrize("n_ids, dtype", [(2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_every_id_fits_into_the_file(n_ids, dtype, tmp_path):
    class Tokenizer:
        vocab_size, eos_id = n_ids, None  # None: no token ends a text

        def encode(self, text):
            return [0, n_ids - 1]

    tokens = encode_documents(["a", "b"], Tokenizer())
    assert tokens.dtype == dtype and tokens.tolist() == [0, n_ids - 1] * 2


def test_batches_are_rows_of_the_text_and_follow_from_seed_and_step():
    tokens = np.arange(100, dtype=np.uint16)
    first, second, other = (
        batch_at(*at) for at in [(0, tokens, 50, 7, 3), (1, tokens, 50, 7, 3), (0, tokens, 50, 7, 4)]
    )
    assert first.shape == (50, 7) and first.dtype == torch.int64
    assert not torch.equal(first, second) and not torch.equal(first, other)
    assert (first.diff(dim=1) == 1).all()
    assert first[:, 0].max() > 80 and first.max() <= 99
    assert torch.equal(first, batch_at(0, tokens, 50, 7, seed=3))
    whole = batch_at(5, tokens, 2, 100)  # the only place where 100 tokens fit
    assert torch.equal(whole, torch.arange(100).repeat(2, 1))
    with pytest.raises(ValueError, match="100 tokens.*context=101"):
        batch_at(0, tokens, 2, 101)


def test_a_share_of_the_rows_repeats_itself():
    tokens = np.arange(1000, dtype=np.uint16)
    plain, mixed = (batch_at(7, tokens, 400, 33, seed=1, repeat_share=share) for share in (0.0, 0.25))
    changed = [row for row in range(400) if not torch.equal(mixed[row], plain[row])]
    lengths = [int((mixed[row] == mixed[row, 0]).nonzero()[1]) for row in changed]
    assert 60 < len(changed) < 140 and min(lengths) == 33 // 8 and max(lengths) == 33 // 2 and len(set(lengths)) > 8
    for row, length in zip(changed, lengths, strict=True):  # the distances differ: only the tokens repeat
        expected = plain[row].clone()
        expected[length : 2 * length] = expected[:length]
        assert torch.equal(mixed[row], expected)


def test_documents_of_a_row_are_numbered_by_their_ends():
    rows = torch.tensor([[5, 6, 9, 7, 9, 9, 8], [9, 1, 2, 3, 4, 5, 9]])
    assert segment_ids_of(rows, 9).tolist() == [[0, 0, 0, 1, 1, 2, 3], [0, 1, 1, 1, 1, 1, 1]]


def test_text_is_read_as_it_is(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("zwei\r\nZeilen 你好".encode())
    assert read_text(file) == "zwei\r\nZeilen 你好"
    file.write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match="a.txt is not UTF-8 text: byte 0xff at offset 3"):
        read_text(file)


def test_the_tail_starts_with_a_line():
    text = "".join(f"line {i}\n" for i in range(100))
    training, held_out = hold_out_tail(text)
    assert training + held_out == text and held_out.startswith("line 9") and 0.03 < len(held_out) / len(text) < 0.06
    assert hold_out_tail("x" * 100) == ("x" * 95, "x" * 5)


def test_the_longest_shared_run_is_found():
    rng = random.Random(0)
    for _ in range(60):
        text, corpus = ("".join(rng.choices("abc", k=n)) for n in (12, 40))
        runs = [text[i:j] for i in range(12) for j in range(i, 13) if text[i:j] in corpus]
        found = longest_shared_run(text, corpus)
        assert found in corpus and found in text and len(found) == max(map(len, runs))
    assert longest_shared_run("床前明月光", "举头望明月，") == "明月"
    assert longest_shared_run("abc", "") == longest_shared_run("", "abc") == ""
