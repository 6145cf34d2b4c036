"""GPT-2 and Llama against Hugging Face's: random configurations, every parameter random, each quantity within
rounding."""

from functools import cached_property

import pytest
import torch
import torch.nn.functional as F
from equivalence import (
    EACH_ATTENTION,
    EACH_DTYPE,
    EACH_WITH_TORCHS_DROPOUT,
    Case,
    Errors,
    adamw_steps,
    each_case,
    every_chunking,
    in_pieces,
    short,
)
from oracle import HALF, RANDOM_CONFIG, hugging_face, most_tokens, padded_batch, positions, relative, twin
from reference import gpt2_logits
from reference_llama import llama_logits

from minigpt.loss import next_token_loss
from minigpt.trace import trace

FAMILIES = ("gpt2", "llama")
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
REFERENCE = {"gpt2": (gpt2_logits, "transformer."), "llama": (llama_logits, "model.")}


class DecoderCase(Case):
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

    def cached_logits(self, tokens, cuts, cache=None):
        """Our logits, read in pieces that end at the cuts and at the last token; padded rows are among them."""
        cache = self.ours.new_cache(*tokens.shape) if cache is None else cache

        def read(tokens, mask, cache):
            return self.ours(tokens, attention_mask=mask, cache=cache)

        return in_pieces(read, cache, tokens, self.mask, cuts)


@pytest.fixture(scope="module")
def case(request):
    make, arguments = request.param
    return make(*arguments)


def pytest_generate_tests(metafunc):
    each_case(metafunc, DecoderCase, *FAMILIES)


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
    """A label counts if its own token and the token before it are real."""
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
    ids = torch.randint(most_tokens(case.config), case.tokens.shape, generator=case.generator)
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
    for cuts in every_chunking(case.tokens.size(1), case.generator):
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

    # After truncate, the removed tokens have no effect.
    cache = case.ours.new_cache(*case.tokens.shape)
    case.cached_logits(changed, [t], cache)
    cache.truncate(t)
    again = case.cached_logits(case.tokens, [], cache)
    valid = case.real[:, t:]
    assert torch.equal(before[:, t:][valid], again[valid]), "a truncated cache still uses the removed tokens"


@torch.no_grad()
def test_a_third_implementation_agrees_with_both(case):
    """Pads and holes do not change the real tokens of a row."""
    logits_of, prefix = REFERENCE[case.family]
    weights = {name.removeprefix(prefix): tensor.double().numpy() for name, tensor in case.theirs.state_dict().items()}
    mine = case.ours(case.tokens, case.mask)
    for row, real in enumerate(case.real):
        reference = torch.from_numpy(logits_of(weights, case.config, case.tokens[row, real].tolist())).to(case.dtype)
        case.check("numpy against ours: logits", relative(mine[row, real], reference), f" in row {row}")
        theirs = case.expected.logits[row, real]
        case.check("numpy against Hugging Face: logits", relative(theirs, reference), f" in row {row}")


DROPOUT = {"gpt2": dict(resid_pdrop=0.1, embd_pdrop=0.2, attn_pdrop=0.3), "llama": dict(attention_dropout=0.3)}


@EACH_WITH_TORCHS_DROPOUT
@EACH_DTYPE
@EACH_FAMILY
@pytest.mark.parametrize("seed", range(5))
def test_dropout_with_the_same_seed(seed, family, dtype, attention):
    # Dropout is drawn in Hugging Face's order: embeddings, attention weights, attention output, MLP output. On the
    # CPU, torch's fused attention has no dropout of its own and uses code that draws as F.dropout does; on CUDA it
    # would draw other numbers.
    case = DecoderCase(family, seed, dtype, attention, **DROPOUT[family])
    answers = []
    for model in (case.ours, case.theirs):
        torch.manual_seed(seed)
        answers.append(model.train()(case.tokens))
    mine, expected = answers[0], answers[1].logits
    case.check("dropout with the same seed: logits", relative(mine, expected))
    losses = next_token_loss(mine, case.tokens), torchs_loss(expected, case.tokens)
    case.check_gradients("dropout with the same seed: gradients", *losses)


@EACH_FAMILY
def test_200_steps_of_adamw(family, training, full):
    for seed in range(5 if full else 1):
        case = DecoderCase(family, seed, *training)
        generator = case.generator

        def losses(case=case, generator=generator):
            tokens = torch.randint(case.config.vocab_size, (4, 12), generator=generator)
            return next_token_loss(case.ours(tokens), tokens), torchs_loss(case.theirs(tokens).logits, tokens)

        adamw_steps(case, 200, losses)
        expected = dict(twin(case.theirs, case.config).named_parameters())
        for name, parameter in case.ours.named_parameters():
            if not name.endswith("key.bias") or family == "llama":  # its gradient is rounding, which Adam makes large
                case.check("200 steps of AdamW: parameters", (parameter - expected[name]).abs().max(), f" ({name})")


# At large positions, Llama's sines would be wrong if computed in half precision; GPT-2 has no sines.
WAYS = [(family, way) for family in FAMILIES for way in ("whole", "padded")] + [("llama", "from position 500 on")]


@EACH_ATTENTION
@pytest.mark.parametrize("dtype", HALF, ids=short)
@pytest.mark.parametrize("family, way", WAYS)
def test_half_precision_is_as_exact_as_hugging_faces(family, dtype, attention, way, full):
    """Explicit against eager and fused against fused; exact is float64 with the same rounded weights."""
    errors, padded, offset = Errors(), way == "padded", 500 if way == "from position 500 on" else 0
    for seed in range(48 if full else 12):
        config = RANDOM_CONFIG[family](seed, **(dict(max_position_embeddings=600) if offset else {}))
        theirs = hugging_face(config, seed, dtype, attention="eager" if attention == "explicit" else "sdpa")
        ours = twin(theirs, config, attention)
        exact = hugging_face(config, seed, torch.float64, rounded_to=dtype)

        short_rows = RANDOM_CONFIG[family](seed) if offset else config
        tokens, mask = padded_batch(short_rows, seed)
        real = mask.bool() if padded else torch.ones_like(mask, dtype=torch.bool)
        mask = mask if padded else None
        ids = positions(mask) if padded else torch.arange(offset, offset + tokens.size(1)).expand_as(tokens)
        keywords = dict(attention_mask=mask, position_ids=ids)
        logits = [ours(tokens, mask, ids), theirs(tokens, **keywords).logits, exact(tokens, **keywords).logits]
        errors.add("logits", *(each[real] for each in logits), unit=logits[-1].abs().max())

        scored = real[:, 1:] & real[:, :-1]
        losses = [next_token_loss(logits[0], tokens, mask, reduction="none")[scored]]
        for each in (logits[1].float(), logits[2]):  # transformers' loss converts half precision to float32
            losses.append(F.cross_entropy(each[:, :-1][scored], tokens[:, 1:][scored], reduction="none"))
        errors.add("loss of each token", *losses)
        for loss in losses:
            loss.mean().backward()
        errors.add_gradients(ours, theirs, exact)
    errors.check(dtype, attention, family, "" if way == "whole" else f"{way}: ")
