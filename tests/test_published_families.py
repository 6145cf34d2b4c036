"""Published checkpoints of BERT, T5 and Llama. They run once the weights are on disk:

python -m minigpt download bert-base-uncased
"""

import pytest
import torch

from minigpt import generate, load_model, load_tokenizer
from minigpt.checkpoints import on_disk
from minigpt.compare import verify
from minigpt.generation import fill_mask

pytestmark = pytest.mark.pretrained

NAMES = ["bert-base-uncased", "t5-small", "google/flan-t5-small", "HuggingFaceTB/SmolLM2-135M"]


def folder_of(name):
    folder = on_disk(name)
    if folder is None:
        pytest.skip(f"{name} is not on disk: python -m minigpt download {name}")
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_numbers_are_transformers(name, dtype):
    folder = folder_of(name)
    for attention in ("explicit", "sdpa"):
        found = verify(load_model(folder, dtype=dtype, attention=attention), folder)
        assert all(difference.ok for difference in found), "\n".join(f"{d.quantity}: {d}" for d in found)


@pytest.mark.parametrize("name", NAMES)
def test_the_ids_are_transformers(name):
    folder = folder_of(name)
    from transformers import AutoTokenizer

    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    for text in ("Return the number of items in the list.", "Ein Übermut, 中文, 😀", "x = np.zeros((3, 4))\n\n"):
        assert ours.encode(text) == theirs(text)["input_ids"]


def test_bert_knows_the_capital_of_france():
    folder = folder_of("bert-base-uncased")
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    [gap] = fill_mask(model, tokenizer.encode("The capital of France is [MASK]."), tokenizer.mask_id)
    assert tokenizer.pieces([gap.likely[0][0]]) == ["paris"]


def test_t5_translates():
    folder = folder_of("t5-small")
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    [answer] = generate(model, [tokenizer.encode("translate English to German: The house is wonderful.")], 20)
    assert "Das Haus ist wunderbar" in tokenizer.decode(answer)
