"""T5 against Hugging Face's: random configurations, every parameter random, each quantity within rounding."""

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
)
from oracle import hugging_face, padded_batch, random_t5_config, relative, twin
from reference_t5 import t5_logits

from minigpt.checkpoints.names import NAMES
from minigpt.checkpoints.translate import to_hugging_face
from minigpt.loss import decoder_inputs, sequence_loss
from minigpt.models.t5 import initialize
from minigpt.trace import trace

START = PAD = 0


class T5Case(Case):
    """Sources with pads on either side and holes; what the decoder reads, with the same; labels, some ignored."""

    def __init__(self, *arguments, **fixed):
        super().__init__("t5", *arguments[1:], **fixed)
        self.source, self.source_mask = padded_batch(self.config, self.seed + 1000)
        self.draw_texts(self.generator)

    def draw_texts(self, generator):
        self.source = torch.randint(self.config.vocab_size, self.source.shape, generator=generator)
        labels = torch.randint(1, self.config.vocab_size, (6, 11), generator=generator)
        self.labels = torch.where(torch.rand(6, 11, generator=generator) < 0.2, -100, labels)
        self.labels[:, 0] = labels[:, 0]
        self.inputs = decoder_inputs(self.labels, START, PAD)

    def hugging_face(self, model, padded):
        masks = dict(attention_mask=self.source_mask, decoder_attention_mask=self.mask) if padded else {}
        outputs = dict(output_hidden_states=True, output_attentions=True)
        return model(input_ids=self.source, decoder_input_ids=self.tokens, **masks, **outputs)

    def mine(self, padded):
        masks = (self.source_mask, self.mask) if padded else ()
        return self.ours(self.source, self.tokens, *masks)

    @cached_property
    @torch.no_grad()
    def expected(self):
        return self.hugging_face(self.theirs, padded=True)


@pytest.fixture(scope="module")
def case(request):
    make, arguments = request.param
    return make(*arguments)


def pytest_generate_tests(metafunc):
    each_case(metafunc, T5Case, "t5")


def both_losses(case):
    """Our loss of the labels, and torch's of Hugging Face's logits, which shifts the labels itself."""
    mine = sequence_loss(case.ours(case.source, case.inputs, case.source_mask), case.labels, pad_token_id=PAD)
    theirs = case.theirs(input_ids=case.source, attention_mask=case.source_mask, labels=case.labels).logits
    return mine, F.cross_entropy(theirs.flatten(0, 1), case.labels.flatten())


@torch.no_grad()
def test_logits(case):
    case.check("logits", relative(case.mine(padded=False), case.hugging_face(case.theirs, padded=False).logits))
    case.check_logits("padded logits", case.mine(padded=True), case.expected.logits)


def test_loss_and_gradients(case):
    loss, reference = both_losses(case)
    case.check("loss", (loss - reference).abs())
    case.check_gradients("gradients", loss, reference)


@torch.no_grad()
def test_hidden_states_and_attention_weights_of_every_layer(case):
    seen, expected = trace(case.ours, case.source, case.tokens, case.source_mask, case.mask), case.expected
    case.check_logits("padded logits", seen.logits, expected.logits, " of a trace")
    sides = [
        (seen.encoder, case.ours.encoder, expected.encoder_hidden_states, case.source_mask.bool()),
        (seen, case.ours.decoder, expected.decoder_hidden_states, case.real),
    ]
    for side, stack, states, real in sides:
        mine = [side.embeddings, *side.hidden_states[:-1], stack.final_norm(side.hidden_states[-1])]
        for layer, (state, theirs) in enumerate(zip(mine, states, strict=True)):
            case.check("hidden states", relative(state[real], theirs[real]), f" before block {layer}")
    blind = case.mask.cumsum(dim=-1) == 0  # pads with no real token before them: Hugging Face lets them look everywhere
    weights = [
        ("encoder", seen.encoder.attention_weights, expected.encoder_attentions, torch.ones_like(case.source).bool()),
        ("decoder", seen.attention_weights, expected.decoder_attentions, ~blind),
        ("cross attention", seen.cross_attention_weights, expected.cross_attentions, ~blind),
    ]
    for name, mine, theirs, rows in weights:
        for layer, (ours, reference) in enumerate(zip(mine, theirs, strict=True)):
            difference = (ours - reference).abs().transpose(1, 2)[rows]  # (B, T, H, T): one entry a query
            case.check("attention weights", difference.max(), f" of {name}, block {layer}")
    assert (seen.attention_weights[0].transpose(1, 2)[blind] == 0).all()


@torch.no_grad()
def test_the_cache_at_every_split_and_in_random_chunks(case):
    source = case.ours.read_source(case.source, case.source_mask)

    def read(tokens, mask, cache):
        return case.ours.logits(case.ours.hidden(tokens, mask, cache, source=source))

    for cuts in every_chunking(case.tokens.size(1), case.generator):
        cache = case.ours.new_cache(*case.tokens.shape)
        mine = in_pieces(read, cache, case.tokens, case.mask, cuts)
        case.check_logits("cached logits", mine, case.expected.logits, f" with cuts {cuts}")


@torch.no_grad()
def test_future_and_padded_tokens_leave_valid_logits_bit_equal(case):
    generator, n = case.generator, case.tokens.size(1)
    t = torch.randint(1, n, (), generator=generator).item()
    past = torch.arange(n) < t

    def others(tokens):
        shift = torch.randint(1, case.config.vocab_size, tokens.shape, generator=generator)
        return (tokens + shift) % case.config.vocab_size

    changed = torch.where(past & case.real, case.tokens, others(case.tokens))
    source = torch.where(case.source_mask.bool(), case.source, others(case.source))
    before = case.mine(padded=True)
    after = case.ours(source, changed, case.source_mask, case.mask)
    valid = past & case.real
    assert torch.equal(before[valid], after[valid]), "a future or padded token changed valid logits"
    source = case.source.clone()
    source[:, -1] = others(source)[:, -1]
    assert not torch.equal(case.mine(padded=False)[:, 0], case.ours(source, case.tokens)[:, 0])  # it reads the source


@torch.no_grad()
def test_a_third_implementation_agrees_with_both(case):
    """Pads on one side do not change distances; holes do, so only the first four rows are compared."""
    weights = {name: tensor.double().numpy() for name, tensor in case.theirs.state_dict().items()}
    mine = case.mine(padded=True)
    for row in range(4):
        source = case.source[row, case.source_mask[row].bool()].tolist()
        real = case.real[row]
        reference = t5_logits(weights, case.config, source, case.tokens[row, real].tolist())
        reference = torch.from_numpy(reference).to(case.dtype)
        case.check("numpy against ours: logits", relative(mine[row, real], reference), f" in row {row}")
        theirs = case.expected.logits[row, real]
        case.check("numpy against Hugging Face: logits", relative(theirs, reference), f" in row {row}")


@EACH_WITH_TORCHS_DROPOUT
@EACH_DTYPE
@pytest.mark.parametrize("seed", range(5))
def test_dropout_with_the_same_seed(seed, dtype, attention):
    case = T5Case("t5", seed, dtype, attention, dropout_rate=0.2)
    torch.manual_seed(seed)
    mine = case.ours.train()(case.source, case.inputs)
    torch.manual_seed(seed)
    expected = case.theirs.train()(input_ids=case.source, decoder_input_ids=case.inputs).logits
    case.check("dropout with the same seed: logits", relative(mine, expected))
    losses = sequence_loss(mine, case.labels), F.cross_entropy(expected.flatten(0, 1), case.labels.flatten())
    case.check_gradients("dropout with the same seed: gradients", *losses)


def test_200_steps_of_adamw(training, full):
    for seed in range(5 if full else 1):
        case = T5Case("t5", seed, *training)
        # The matrices have T5's own initialisation. With random ones the scores, which nothing scales, are so large
        # that training magnifies every rounding error. The norms stay random.
        torch.manual_seed(seed)
        initialize(case.ours)
        theirs = to_hugging_face(case.ours.state_dict(), NAMES["t5"], case.config)
        assert not case.theirs.load_state_dict(theirs, strict=False).unexpected_keys
        generator = case.generator

        def losses(case=case, generator=generator):  # new texts each time: none can be remembered
            case.draw_texts(generator)
            return both_losses(case)

        adamw_steps(case, 200, losses)
        expected = dict(twin(case.theirs, case.config).named_parameters())
        for name, parameter in case.ours.named_parameters():
            case.check("200 steps of AdamW: parameters", (parameter - expected[name]).abs().max(), f" ({name})")


@EACH_ATTENTION
def test_half_precision_is_as_exact_as_hugging_faces(attention, full):
    """bfloat16 alone: T5 cannot compute in float16. Exact is float64 with the same rounded weights."""
    errors, dtype = Errors(), torch.bfloat16
    for seed in range(48 if full else 12):
        config = random_t5_config(seed)
        theirs = hugging_face(config, seed, dtype, attention="eager" if attention == "explicit" else "sdpa")
        ours, exact = twin(theirs, config, attention), hugging_face(config, seed, torch.float64, rounded_to=dtype)
        source, mask = padded_batch(config, seed)
        tokens = torch.randint(config.vocab_size, (6, 9), generator=torch.Generator().manual_seed(seed))
        keywords = dict(input_ids=source, attention_mask=mask, decoder_input_ids=tokens)
        logits = [ours(source, tokens, mask), theirs(**keywords).logits, exact(**keywords).logits]
        errors.add("logits", *logits, unit=logits[-1].abs().max())
        losses = [sequence_loss(logits[0], tokens, reduction="none")]
        for each in (logits[1].float(), logits[2]):
            losses.append(F.cross_entropy(each.transpose(1, 2), tokens, reduction="none"))
        errors.add("loss of each token", *losses)
        for loss in losses:
            loss.mean().backward()
        errors.add_gradients(ours, theirs, exact)
    errors.check(dtype, attention, "t5")


def test_float16_is_refused():
    config = random_t5_config(0)
    theirs = hugging_face(config, 0, torch.float32)
    ours = twin(theirs, config).half()
    with pytest.raises(ValueError, match="T5 cannot compute in float16.*bfloat16"):
        ours(torch.tensor([[1, 2]]), torch.tensor([[0]]))
