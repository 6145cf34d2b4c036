"""Ours against Hugging Face's: random configurations, every parameter random, every quantity within rounding.

A case is one configuration, one dtype and one attention function; its tests run one after another on the same pair of
models. Hugging Face always runs its eager attention, the formula as written.
"""

from functools import cached_property
from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from oracle import (
    ATTENTION,
    DTYPES,
    HALF,
    check,
    gradients,
    hugging_face,
    padded_batch,
    pair,
    positions,
    random_config,
    relative,
    twin,
)
from reference import gpt2_logits

from minigpt.loss import next_token_loss
from minigpt.trace import trace


class Case:
    """Both models, a batch with pads and holes, and the two of them measured against each other."""

    def __init__(self, seed, dtype, attention, **fixed):
        self.seed, self.dtype, self.attention = seed, dtype, attention
        self.ours, self.theirs = pair(seed, dtype, attention, **fixed)
        self.config = self.ours.config
        self.tokens, self.mask = padded_batch(self.config, seed)
        self.real = self.mask.bool()

    @property
    def generator(self):
        """A fresh one for each test, which so draws the same alone and among others."""
        return torch.Generator().manual_seed(10_000 + self.seed)

    @cached_property
    @torch.no_grad()
    def expected(self):
        """Hugging Face's answer to the padded batch, with hidden states and attention weights."""
        return self.theirs(
            self.tokens,
            attention_mask=self.mask,
            position_ids=positions(self.mask),
            output_hidden_states=True,
            output_attentions=True,
        )

    def check(self, quantity, difference, where=""):
        check(quantity, difference, self.dtype, self.attention, where)

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
            if name.endswith("key.bias"):
                # Added to every score of a query, softmax ignores it: what is there is rounding, on both sides.
                self.check("gradient of the key biases", mine.abs().max() / largest, f" ({name})")
            else:
                self.check(quantity, (mine - theirs).abs().max() / largest, f" ({name})")

    def cached_logits(self, tokens, cuts, cache=None):
        """Fed to the model in pieces that end at the cuts and at the last token, the padded rows among them."""
        cache = self.ours.new_cache(*tokens.shape) if cache is None else cache
        ends = sorted({cache.length, *cuts, tokens.size(1)})
        pieces = [self.ours(tokens[:, a:b], attention_mask=self.mask[:, :b], cache=cache) for a, b in pairwise(ends)]
        assert cache.length == tokens.size(1)
        return torch.cat(pieces, dim=1)


@pytest.fixture(scope="module")
def case(request):
    return Case(*request.param)


def short(value):
    return str(value).removeprefix("torch.")


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        n_configs = 160 if metafunc.config.getoption("--full") else 32
        cases = list(product(range(n_configs), DTYPES, ATTENTION))
        ids = ["-".join(map(short, case)) for case in cases]
        metafunc.parametrize("case", cases, indirect=True, ids=ids, scope="module")


EACH_ATTENTION = pytest.mark.parametrize("attention", ATTENTION)
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=short)


def torchs_loss(logits, tokens):
    # The loss inside transformers is float32 whatever the model: torch's own function on the same logits instead.
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def test_logits_loss_and_gradients(case):
    mine, expected = case.ours(case.tokens), case.theirs(case.tokens).logits
    case.check("logits", relative(mine, expected))
    loss, reference = next_token_loss(mine, case.tokens), torchs_loss(expected, case.tokens)
    case.check("loss", (loss - reference).abs())
    case.check_gradients("gradients", loss, reference)


def loss_by_hand(logits, labels, mask):
    """Every label is scored whose own token and whose predecessor are real."""
    log_probabilities = logits.log_softmax(dim=-1)
    losses = []
    for row in range(labels.size(0)):
        for t in range(1, labels.size(1)):
            if mask[row, t - 1] and mask[row, t] and labels[row, t] != -100:
                losses.append(-log_probabilities[row, t - 1, labels[row, t]])
    return sum(losses) / len(losses)


def test_logits_loss_and_gradients_of_padded_rows(case):
    mine = case.ours(case.tokens, case.mask)
    expected = case.theirs(case.tokens, attention_mask=case.mask, position_ids=positions(case.mask)).logits
    case.check_logits("padded logits", mine, expected)
    labels = case.tokens.clone()
    labels[:, 2::4] = -100
    loss, reference = next_token_loss(mine, labels, case.mask), loss_by_hand(expected, labels, case.mask)
    case.check("padded loss", (loss - reference).abs())
    case.check_gradients("padded gradients", loss, reference)


@torch.no_grad()
def test_position_ids_of_ones_own(case):
    ids = torch.randint(case.config.n_positions, case.tokens.shape, generator=case.generator)
    mine = case.ours(case.tokens, case.mask, ids)
    expected = case.theirs(case.tokens, attention_mask=case.mask, position_ids=ids).logits
    case.check_logits("padded logits", mine, expected, " with random position ids")


@torch.no_grad()
def test_hidden_states_and_attention_weights_of_every_layer(case):
    seen = trace(case.ours, case.tokens, case.mask)
    case.check_logits("padded logits", seen.logits, case.expected.logits, " of a trace")
    assert torch.equal(seen.embeddings[case.real], case.expected.hidden_states[0][case.real])
    # Hugging Face's last entry is after the final norm.
    mine = [*seen.hidden_states[:-1], case.ours.final_norm(seen.hidden_states[-1])]
    for layer, (state, expected) in enumerate(zip(mine, case.expected.hidden_states[1:], strict=True)):
        case.check_logits("hidden states", state, expected, f" after block {layer}")
    blind = case.mask.cumsum(dim=-1) == 0  # pads with no real token before them
    for layer, (weights, expected) in enumerate(zip(seen.attention_weights, case.expected.attentions, strict=True)):
        weights, expected = weights.transpose(1, 2), expected.transpose(1, 2)  # (B, T, H, T): one entry a query
        difference = (weights[~blind] - expected[~blind]).abs().max()
        case.check("attention weights", difference, f" of block {layer}")
        assert (weights[blind] == 0).all()  # Hugging Face lets them look everywhere


@torch.no_grad()
def test_the_cache_at_every_split_and_in_random_chunks(case):
    n = case.tokens.size(1)
    splits = [[cut] for cut in range(1, n)]
    chunks = torch.randint(1, n, (2, 5), generator=case.generator).tolist()
    token_by_token = [list(range(1, n))]
    for cuts in splits + chunks + token_by_token:
        mine = case.cached_logits(case.tokens, cuts)
        case.check_logits("cached logits", mine, case.expected.logits, f" with cuts {cuts}")


@torch.no_grad()
def test_future_and_padded_tokens_leave_valid_logits_bit_equal(case):
    n = case.tokens.size(1)
    generator = case.generator
    t = torch.randint(1, n, (), generator=generator).item()
    shift = torch.randint(1, case.config.vocab_size, case.tokens.shape, generator=generator)
    others = (case.tokens + shift) % case.config.vocab_size
    past = torch.arange(n) < t

    changed = torch.where(past, case.tokens, others)
    before, after = case.ours(case.tokens), case.ours(changed)
    assert torch.equal(before[:, :t], after[:, :t]), "a future token changed earlier logits"
    assert not torch.equal(before[:, t], after[:, t])

    changed = torch.where(past & case.real, case.tokens, others)
    before, after = case.ours(case.tokens, case.mask), case.ours(changed, case.mask)
    valid = past & case.real
    assert torch.equal(before[valid], after[valid]), "a future or padded token changed valid logits"

    # Cached in two pieces; what changes in the second are its pads and its last token.
    changed = torch.where(case.real & (torch.arange(n) < n - 1), case.tokens, others)
    before, after = case.cached_logits(case.tokens, [t]), case.cached_logits(changed, [t])
    valid = case.real[:, :-1]
    assert torch.equal(before[:, :-1][valid], after[:, :-1][valid]), "a future or padded token changed cached logits"

    # What a cache has forgotten leaves no trace in it.
    cache = case.ours.new_cache(*case.tokens.shape)
    case.cached_logits(changed, [t], cache)
    cache.truncate(t)
    again = case.cached_logits(case.tokens, [], cache)
    valid = case.real[:, t:]
    assert torch.equal(before[:, t:][valid], again[valid]), "a truncated cache remembers"


@torch.no_grad()
def test_a_third_implementation_agrees_with_both(case):
    """A row with pads and holes is, for its real tokens, the row without them."""
    weights = {name.removeprefix("transformer."): tensor for name, tensor in case.theirs.state_dict().items()}
    weights = {name: tensor.double().numpy() for name, tensor in weights.items()}
    mine = case.ours(case.tokens, case.mask)
    for row, real in enumerate(case.real):
        reference = torch.from_numpy(gpt2_logits(weights, case.config, case.tokens[row, real].tolist())).to(case.dtype)
        case.check("numpy against ours: logits", relative(mine[row, real], reference), f" in row {row}")
        theirs = case.expected.logits[row, real]
        case.check("numpy against Hugging Face: logits", relative(theirs, reference), f" in row {row}")


@EACH_ATTENTION
@EACH_DTYPE
@pytest.mark.parametrize("seed", range(5))
def test_dropout_with_the_same_seed(seed, dtype, attention):
    # Draw for draw, in the order of Hugging Face: embeddings, attention weights, attention output, MLP output. On the
    # CPU torch's fused attention has no dropout of its own and falls back to one that draws as F.dropout does; on
    # CUDA its draws would be others.
    case = Case(seed, dtype, attention, resid_pdrop=0.1, embd_pdrop=0.2, attn_pdrop=0.3)
    answers = []
    for model in (case.ours, case.theirs):
        torch.manual_seed(seed)
        answers.append(model.train()(case.tokens))
    mine, expected = answers[0], answers[1].logits
    case.check("dropout with the same seed: logits", relative(mine, expected))
    losses = next_token_loss(mine, case.tokens), torchs_loss(expected, case.tokens)
    case.check_gradients("dropout with the same seed: gradients", *losses)


@EACH_ATTENTION
@EACH_DTYPE
def test_200_steps_of_adamw(dtype, attention, full):
    for seed in range(5 if full else 1):
        case = Case(seed, dtype, attention)
        models = case.ours, case.theirs
        optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-6) for model in models]
        generator = case.generator
        for step in range(200):
            tokens = torch.randint(case.config.vocab_size, (4, 12), generator=generator)
            losses = next_token_loss(case.ours(tokens), tokens), torchs_loss(case.theirs(tokens).logits, tokens)
            case.check("200 steps of AdamW: losses", (losses[0] - losses[1]).abs(), f" at step {step}")
            for optimizer, loss in zip(optimizers, losses, strict=True):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        expected = dict(twin(case.theirs, case.config).named_parameters())
        for name, parameter in case.ours.named_parameters():
            if not name.endswith("key.bias"):  # its gradient is rounding, which Adam makes large
                case.check("200 steps of AdamW: parameters", (parameter - expected[name]).abs().max(), f" ({name})")


@EACH_ATTENTION
@pytest.mark.parametrize("dtype", HALF, ids=short)
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_half_precision_is_as_exact_as_hugging_faces(dtype, attention, padded, full):
    """Explicit against eager and fused against fused; exact is float64 with the same rounded weights.

    Single errors are luck, so their root mean square is compared, over all numbers of several configurations.
    """
    errors = {"logits": [0.0, 0.0], "loss of each token": [0.0, 0.0], "gradients": [0.0, 0.0]}  # ours, theirs

    def add(quantity, ours, theirs, exact, unit):
        for side, values in enumerate((ours, theirs)):
            errors[quantity][side] += (((values.double() - exact) / unit) ** 2).sum().item()

    for seed in range(48 if full else 12):
        config = random_config(seed)
        theirs = hugging_face(config, seed, dtype, attention="eager" if attention == "explicit" else "sdpa")
        ours = twin(theirs, config, attention)
        exact = hugging_face(config, seed, dtype).double()

        tokens, mask = padded_batch(config, seed)
        real = mask.bool() if padded else torch.ones_like(mask, dtype=torch.bool)
        mask = mask if padded else None
        keywords = dict(attention_mask=mask, position_ids=positions(mask)) if padded else {}
        logits = [ours(tokens, mask), theirs(tokens, **keywords).logits, exact(tokens, **keywords).logits]
        add("logits", *(each[real] for each in logits), unit=logits[-1].abs().max())

        scored = real[:, 1:] & real[:, :-1]
        losses = [next_token_loss(logits[0], tokens, mask, reduction="none")[scored]]
        for each in (logits[1].float(), logits[2]):  # the loss of transformers makes half precision float32
            losses.append(F.cross_entropy(each[:, :-1][scored], tokens[:, 1:][scored], reduction="none"))
        add("loss of each token", *losses, unit=1.0)

        for loss in losses:
            loss.mean().backward()
        exact_gradients = {name: gradient for name, (_, gradient) in gradients(ours, exact).items()}
        largest = max(gradient.abs().max() for gradient in exact_gradients.values())
        for name, (mine, expected) in gradients(ours, theirs).items():
            add("gradients", mine, expected, exact_gradients[name], unit=largest)
    for quantity, (ours, theirs) in errors.items():
        check(("padded " if padded else "") + quantity, (ours / theirs) ** 0.5, dtype, attention)
