"""The lecture's numbers that need OpenAI's weights. They run once the weights are on disk:

python -m minigpt download gpt2
"""

import pytest
import torch

from minigpt import generate, load_model, load_tokenizer
from minigpt.checkpoints import HUB_NAMES, on_disk
from minigpt.perplexity import score

pytestmark = pytest.mark.pretrained

# Positions 1, 2, 3, -4, -3, -2 of the sentence; the first three and last three vocabulary entries.
LECTURE_LOGITS = [
    [-62.3139, -61.5645, -66.4938, -68.1286, -68.3228, -63.5829],
    [-66.3240, -66.7452, -72.1618, -75.1955, -73.4650, -68.1786],
    [-88.2910, -88.7236, -93.4422, -98.6211, -90.6379, -90.9913],
    [-80.7563, -82.8596, -87.4034, -91.0716, -89.5648, -84.5701],
    [-94.8247, -94.5054, -97.7886, -97.1508, -98.4995, -96.5095],
    [-88.8787, -87.6110, -92.3262, -95.8310, -93.5163, -91.9581],
]


def weights(name):
    if not on_disk(name):
        pytest.skip(f"OpenAI's {name} is not on disk: python -m minigpt download {name}")
    assert name in HUB_NAMES
    return load_model(name), load_tokenizer(name)


@torch.no_grad()
def test_the_lectures_logits():
    model, tokenizer = weights("gpt2")
    tokens = torch.tensor([tokenizer.encode("The quick brown fox jumps over the lazy dog")])
    parallel = model(tokens)
    shown = parallel[0, [1, 2, 3, -4, -3, -2]][:, [0, 1, 2, -3, -2, -1]]
    assert (shown - torch.tensor(LECTURE_LOGITS)).abs().max() < 2e-3
    step_by_step = torch.stack([model(tokens[:, :n])[0, -1] for n in range(1, 9)])
    assert (parallel[0, :-1] - step_by_step).abs().max() < 5e-4


def test_i_love_you():
    model, tokenizer = weights("gpt2")
    prompts = [tokenizer.encode("I love you"), tokenizer.encode("The quick brown fox jumps over the lazy dog")]
    answer = generate(model, prompts, 5)[0]
    assert tokenizer.decode(answer) == "I love you, and I love you"


@pytest.mark.parametrize("name, published", [("gpt2", 25.1880), ("gpt2-medium", 18.4739), ("gpt2-large", 16.4541)])
def test_the_lectures_perplexity(name, published, wikitext, full):
    if not full:
        pytest.skip("561 windows of 1024 tokens take many minutes on a CPU: python -m pytest --full")
    model, tokenizer = weights(name)
    scores = score(model, tokenizer.encode(wikitext), 1024, 512)
    assert scores.window_mean_perplexity == pytest.approx(published, rel=1e-3)
