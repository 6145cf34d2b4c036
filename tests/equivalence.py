"""What the equivalence tests of all families share: a case, its checks, and how many cases there are.

A case is one configuration, one dtype and one attention function; its tests run one after another on the same pair of
models. Hugging Face always runs its eager attention, the formula as written.
"""

from itertools import pairwise, product

import pytest
import torch
from oracle import ATTENTION, DTYPES, check, gradients, padded_batch, pair, relative

# The number of configurations of each family with --full; without it, a fifth of them.
N_CONFIGS = {"gpt2": 160, "llama": 100, "bert": 100, "t5": 100}

EACH_ATTENTION = pytest.mark.parametrize("attention", ATTENTION)
# Tiles draw the weights that dropout keeps in an order of their own: test_tiled_attention.py compares these.
EACH_WITH_TORCHS_DROPOUT = pytest.mark.parametrize("attention", [name for name in ATTENTION if name != "tiled"])


def short(value):
    return str(value).removeprefix("torch.")


EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=short)


def each_case(metafunc, make, *families):
    """Parametrise the fixture `case` of a module with make(family, seed, dtype, attention), and `training`."""
    if "case" in metafunc.fixturenames:
        share = 1 if metafunc.config.getoption("--full") else 5
        cases = [
            (family, *case)
            for family in families
            for case in product(range(N_CONFIGS[family] // share), DTYPES, ATTENTION)
        ]
        ids = ["-".join(map(short, case)) for case in cases]
        metafunc.parametrize("case", [(make, case) for case in cases], indirect=True, ids=ids, scope="module")
    if "training" in metafunc.fixturenames:  # pairs (dtype, attention): all, or two
        both = list(product(DTYPES, ATTENTION))
        chosen = both if metafunc.config.getoption("--full") else list(zip(DTYPES, ATTENTION[:2], strict=True))
        metafunc.parametrize("training", chosen, ids=["-".join(map(short, pair)) for pair in chosen])


class Case:
    """Our model and Hugging Face's, a batch with pads and holes, and checks that compare the two models."""

    def __init__(self, family, seed, dtype, attention, **fixed):
        self.family, self.seed, self.dtype, self.attention = family, seed, dtype, attention
        self.ours, self.theirs = pair(seed, dtype, attention, family, **fixed)
        self.config = self.ours.config
        self.tokens, self.mask = padded_batch(self.config, seed)
        self.real = self.mask.bool()

    @property
    def generator(self):
        """A new one for each test: a test draws the same numbers, whichever tests run before it."""
        return torch.Generator().manual_seed(10_000 + self.seed)

    def check(self, quantity, difference, where=""):
        check(quantity, difference, self.dtype, self.attention, where, self.family)

    def check_logits(self, quantity, mine, expected, where=""):
        self.check(quantity, relative(mine[self.real], expected[self.real]), where)

    def check_gradients(self, quantity, loss, reference):
        self.ours.zero_grad()
        self.theirs.zero_grad()
        loss.backward()
        reference.backward()
        both = gradients(self.ours, self.theirs)
        largest = max(theirs.abs().max() for _, theirs in both.values())
        for name, (mine, theirs) in both.items():
            if name.endswith("key.bias") and self.family != "llama":  # Llama rotates it with the key
                # The bias adds one number to all scores of a query, and softmax ignores that: its gradient is rounding.
                self.check("gradient of the key biases", mine.abs().max() / largest, f" ({name})")
            else:
                self.check(quantity, (mine - theirs).abs().max() / largest, f" ({name})")


def in_pieces(read, cache, tokens, mask, cuts):
    """Call read(tokens, mask, cache) on pieces that end at the cuts and at the last token; join what it returns."""
    ends = sorted({cache.length, *cuts, tokens.size(1)})
    pieces = [read(tokens[:, a:b], mask[:, :b], cache) for a, b in pairwise(ends)]
    assert cache.length == tokens.size(1)
    return torch.cat(pieces, dim=1)


def every_chunking(n, generator):
    """Lists of cuts of n tokens: every cut into two parts, random chunks, and single tokens."""
    chunks = torch.randint(1, n, (2, 5), generator=generator).tolist()
    return [[cut] for cut in range(1, n)] + chunks + [list(range(1, n))]


def adamw_steps(case, n_steps, losses):
    """Train both models side by side: losses() gives our loss and the reference of one more batch."""
    models = case.ours, case.theirs
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-6) for model in models]
    for step in range(n_steps):
        both = losses()
        case.check("200 steps of AdamW: losses", (both[0] - both[1]).abs(), f" at step {step}")
        for optimizer, loss in zip(optimizers, both, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class Errors:
    """Errors in half precision, ours and Hugging Face's, against float64 with the same rounded weights.

    A single error depends on chance, so the root mean square over all numbers of several configurations is compared.
    """

    def __init__(self):
        self.squares = {}

    def add(self, quantity, ours, theirs, exact, unit=1.0):
        sums = self.squares.setdefault(quantity, [0.0, 0.0])
        for side, values in enumerate((ours, theirs)):
            sums[side] += (((values.double() - exact) / unit) ** 2).sum().item()

    def add_gradients(self, ours, theirs, exact):
        """Add the errors of the gradients of two models against the exact one; backward() has run on their losses."""
        expected = {name: gradient for name, (_, gradient) in gradients(ours, exact).items()}
        largest = max(gradient.abs().max() for gradient in expected.values())
        for name, (mine, other) in gradients(ours, theirs).items():
            self.add("gradients", mine, other, expected[name], unit=largest)

    def check(self, dtype, attention, family, prefix=""):
        for quantity, (ours, theirs) in self.squares.items():
            check(prefix + quantity, (ours / theirs) ** 0.5, dtype, attention, family=family)
