"""BERT against Hugging Face's: random configurations, every parameter random, each quantity within rounding."""

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
    short,
)
from oracle import HALF, hugging_face, padded_batch, random_bert_config, relative, twin
from reference_bert import bert

from minigpt.loss import cross_entropy, masked_loss
from minigpt.trace import trace


class BertCase(Case):
    """Rows with pads on the right and holes, tokens of both types, and labels for some tokens."""

    def __init__(self, *arguments, **fixed):
        super().__init__("bert", *arguments[1:], **fixed)
        self.mask[[1, 3]] = self.mask[[1, 3]].flip(1)  # rows with pads on the left are turned round
        self.mask[:, 0] = 1  # [CLS]
        self.real = self.mask.bool()
        generator = self.generator
        self.types = torch.randint(self.config.type_vocab_size, self.tokens.shape, generator=generator)
        is_scored = self.real & (torch.rand(self.tokens.shape, generator=generator) < 0.4)
        is_scored[:, 0] = True
        self.labels = torch.where(is_scored, self.tokens, -100)
        self.sentence_labels = torch.randint(2, (len(self.tokens),), generator=generator)

    def hugging_face(self, model, mask=None):
        outputs = dict(output_hidden_states=True, output_attentions=True)
        return model(self.tokens, attention_mask=mask, token_type_ids=self.types, **outputs)

    @cached_property
    @torch.no_grad()
    def expected(self):
        return self.hugging_face(self.theirs, self.mask)


@pytest.fixture(scope="module")
def case(request):
    make, arguments = request.param
    return make(*arguments)


def pytest_generate_tests(metafunc):
    each_case(metafunc, BertCase, "bert")


def both_losses(case, mask=None, before_each=lambda: None):
    """Our loss of both heads, and torch's of Hugging Face's logits."""
    before_each()
    hidden = case.ours.hidden(case.tokens, mask, case.types)
    before_each()
    theirs = case.hugging_face(case.theirs, mask)
    mine = masked_loss(case.ours.logits(hidden), case.labels)
    mine = mine + cross_entropy(case.ours.sentence_logits(hidden), case.sentence_labels)
    reference = F.cross_entropy(theirs.prediction_logits.flatten(0, 1), case.labels.flatten())
    return mine, reference + F.cross_entropy(theirs.seq_relationship_logits, case.sentence_labels)


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_logits_loss_and_gradients(case, padded):
    name, mask = ("padded ", case.mask) if padded else ("", None)
    with torch.no_grad():
        hidden, theirs = case.ours.hidden(case.tokens, mask, case.types), case.hugging_face(case.theirs, mask)
        chosen = case.real if padded else torch.ones_like(case.real)
        logits = case.ours.logits(hidden)
        case.check(f"{name}logits", relative(logits[chosen], theirs.prediction_logits[chosen]))
        # Together, because the two sentence logits alone can both be near 0, and their rounding errors are not.
        mine = torch.cat([logits[chosen].flatten(), case.ours.sentence_logits(hidden).flatten()])
        expected = torch.cat([theirs.prediction_logits[chosen].flatten(), theirs.seq_relationship_logits.flatten()])
        case.check(f"{name}logits", relative(mine, expected), " of both heads")
        assert torch.equal(case.ours(case.tokens, mask, case.types), logits)
    loss, reference = both_losses(case, mask)
    case.check(f"{name}loss", (loss - reference).abs())
    case.check_gradients(f"{name}gradients", loss, reference)


@torch.no_grad()
def test_the_pooler_position_ids_and_types_that_are_not_given(case):
    pooled = case.theirs.bert(case.tokens, attention_mask=case.mask, token_type_ids=case.types).pooler_output
    hidden = case.ours.hidden(case.tokens, case.mask, case.types)
    case.check("hidden states", (case.ours.pooled(hidden) - pooled).abs().max(), " pooled")
    ids = torch.randint(case.config.max_position_embeddings, case.tokens.shape, generator=case.generator)
    expected = case.theirs(case.tokens, attention_mask=case.mask, position_ids=ids).prediction_logits
    case.check_logits("padded logits", case.ours(case.tokens, case.mask, position_ids=ids), expected)
    zeros = torch.zeros_like(case.tokens)
    assert torch.equal(case.ours(case.tokens), case.ours(case.tokens, token_types=zeros))


@torch.no_grad()
def test_hidden_states_and_attention_weights_of_every_layer(case):
    seen = trace(case.ours, case.tokens, case.mask, case.types)
    case.check_logits("padded logits", seen.logits, case.expected.prediction_logits, " of a trace")
    mine = [seen.embeddings, *seen.hidden_states]
    for layer, (state, expected) in enumerate(zip(mine, case.expected.hidden_states, strict=True)):
        case.check_logits("hidden states", state, expected, f" before block {layer}")
    for layer, (weights, expected) in enumerate(zip(seen.attention_weights, case.expected.attentions, strict=True)):
        case.check("attention weights", (weights - expected).abs().max(), f" of block {layer}")


@torch.no_grad()
def test_pads_leave_valid_logits_bit_equal_and_everything_else_counts(case):
    n = case.tokens.size(1)
    shift = torch.randint(1, case.config.vocab_size, case.tokens.shape, generator=case.generator)
    others = (case.tokens + shift) % case.config.vocab_size
    before = case.ours(case.tokens, case.mask, case.types)
    after = case.ours(torch.where(case.real, case.tokens, others), case.mask, case.types)
    assert torch.equal(before[case.real], after[case.real]), "a padded token changed valid logits"
    last = torch.arange(n) == n - 1
    changed = case.ours(torch.where(last, others, case.tokens), token_types=case.types)
    assert not torch.equal(case.ours(case.tokens, token_types=case.types)[:, 0], changed[:, 0])  # it looks forward


@torch.no_grad()
def test_a_third_implementation_agrees_with_both(case):
    """Pads on the right do not change the real tokens of a row. (A hole does: it changes positions.)"""
    weights = {name.removeprefix("bert."): tensor.double().numpy() for name, tensor in case.theirs.state_dict().items()}
    for row in (0, 1, 2):
        n = case.mask[row].sum().item()
        tokens, types = case.tokens[row, :n].tolist(), case.types[row, :n].tolist()
        states, _, logits, sentence = (
            torch.from_numpy(x).to(case.dtype) for x in bert(weights, case.config, tokens, types)
        )
        hidden = case.ours.hidden(case.tokens[[row]], case.mask[[row]], case.types[[row]])
        both = torch.cat([logits.flatten(), sentence])
        mine = torch.cat([case.ours.logits(hidden)[0, :n].flatten(), case.ours.sentence_logits(hidden)[0]])
        theirs = case.expected.prediction_logits[row, :n], case.expected.seq_relationship_logits[row]
        case.check("numpy against ours: logits", relative(mine, both), f" in row {row}")
        case.check("hidden states", relative(hidden[0, :n], states), f" of numpy in row {row}")
        theirs = torch.cat([part.flatten() for part in theirs])
        case.check("numpy against Hugging Face: logits", relative(theirs, both), f" in row {row}")


@EACH_WITH_TORCHS_DROPOUT
@EACH_DTYPE
@pytest.mark.parametrize("seed", range(5))
def test_dropout_with_the_same_seed(seed, dtype, attention):
    case = BertCase("bert", seed, dtype, attention, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.3)
    case.ours.train(), case.theirs.train()
    losses = both_losses(case, before_each=lambda: torch.manual_seed(seed))
    case.check("dropout with the same seed: losses", (losses[0] - losses[1]).abs())
    case.check_gradients("dropout with the same seed: gradients", *losses)


def test_200_steps_of_adamw(training, full):
    for seed in range(5 if full else 1):
        case = BertCase("bert", seed, *training)
        adamw_steps(case, 200, lambda case=case: both_losses(case, case.mask))
        expected = dict(twin(case.theirs, case.config).named_parameters())
        for name, parameter in case.ours.named_parameters():
            if not name.endswith("key.bias"):  # its gradient is rounding, which Adam makes large
                case.check("200 steps of AdamW: parameters", (parameter - expected[name]).abs().max(), f" ({name})")


@EACH_ATTENTION
@pytest.mark.parametrize("dtype", HALF, ids=short)
def test_half_precision_is_as_exact_as_hugging_faces(dtype, attention, full):
    """Explicit against eager and fused against fused; exact is float64 with the same rounded weights."""
    errors = Errors()
    for seed in range(48 if full else 12):
        config = random_bert_config(seed)
        theirs = hugging_face(config, seed, dtype, attention="eager" if attention == "explicit" else "sdpa")
        ours, exact = twin(theirs, config, attention), hugging_face(config, seed, torch.float64, rounded_to=dtype)
        tokens, mask = padded_batch(config, seed)
        mask[:, 0] = 1
        real = mask.bool()
        hidden = ours.hidden(tokens, mask)
        outputs = [theirs(tokens, attention_mask=mask), exact(tokens, attention_mask=mask)]
        logits = [ours.logits(hidden), *(output.prediction_logits for output in outputs)]
        sentence = [ours.sentence_logits(hidden), *(output.seq_relationship_logits for output in outputs)]
        errors.add("logits", *(each[real] for each in logits), unit=logits[-1].abs().max())
        losses = [masked_loss(logits[0], tokens, reduction="none")[real]]
        for each in (logits[1].float(), logits[2]):  # transformers' loss converts half precision to float32
            losses.append(F.cross_entropy(each[real], tokens[real], reduction="none"))
        errors.add("loss of each token", *losses)
        for loss, scores in zip(losses, sentence, strict=True):
            (loss.mean() + scores.double().square().mean()).backward()
        errors.add_gradients(ours, theirs, exact)
    errors.check(dtype, attention, "bert")
