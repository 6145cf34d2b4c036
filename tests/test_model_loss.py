"""A model and its loss in one: equal to the loss of the logits, whatever the model does with them."""

import pytest
import torch
from oracle import pair
from torch import nn

from minigpt import fast
from minigpt.fast import LanguageModelLoss, loss_without_logits
from minigpt.loss import next_token_loss
from minigpt.models import GPT2

tokens = torch.tensor([[1, 2, 3, 1, 2], [3, 4, 5, 6, 7]])


class Cooler(GPT2):
    """A GPT-2 whose head divides by a temperature."""

    def logits(self, hidden):
        return super().logits(hidden) / 2


class Backwards(GPT2):
    def forward(self, tokens, **inputs):
        return super().forward(tokens, **inputs).flip(-1)


class Bigrams(nn.Module):
    """Its logits depend on one token; it has neither hidden states nor a head."""

    def __init__(self, vocab_size):
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size).double()

    def forward(self, tokens):
        return self.table(tokens)


def plain(model):
    return model


def subclass(kind):
    def make(model):
        other = kind(model.config).double()
        other.load_state_dict(model.state_dict())
        return other.eval()

    return make


def hooked(model):
    model.register_forward_hook(lambda module, inputs, output: output * 3)
    return model


def patched(model):
    original = model.logits
    model.logits = lambda hidden: original(hidden) + hidden[..., :1]
    return model


def bigrams(model):
    return Bigrams(model.config.vocab_size)


MODELS = [plain, subclass(Cooler), subclass(Backwards), hooked, patched, bigrams]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("options", [{}, {"num_items": 7}, {"reduction": "sum"}, {"reduction": "none"}], ids=str)
@pytest.mark.parametrize("make", MODELS, ids=["plain", "cooler", "backwards", "hooked", "patched", "bigrams"])
def test_it_is_the_loss_of_the_logits(make, options, tied):
    model = make(pair(4, tie_word_embeddings=tied)[0])
    tokens = torch.arange(24).view(3, 8) % model.get_parameter(next(iter(dict(model.named_parameters())))).size(0)
    labels = tokens.clone()
    labels[1, :4] = -100
    results = []
    for lean in (True, False):
        model.zero_grad()
        loss = LanguageModelLoss(model)(tokens, labels, **options) if lean else 0
        loss = loss if lean else next_token_loss(model(tokens), labels, **options)
        loss.sum().backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters())])
    for found, expected in zip(*results, strict=True):
        assert found.shape == expected.shape and (found - expected).abs().max() < 1e-12 * max(1, expected.abs().max())


def test_only_a_plain_gpt2_goes_without_logits(monkeypatch):
    """A plain GPT2 does; changed models need their logits."""
    without = []
    original = loss_without_logits.linear_cross_entropy
    monkeypatch.setattr(
        loss_without_logits, "linear_cross_entropy", lambda *a, **k: without.append(True) or original(*a, **k)
    )
    ours = pair(4)[0]
    for make, expected in [(plain, [True]), (subclass(Cooler), []), (hooked, []), (bigrams, [])]:
        without.clear()
        LanguageModelLoss(make(ours))(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 3]]))
        assert without == expected, make
        with fast.switched_off():
            LanguageModelLoss(make(ours))(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 3]]))
        assert without == expected, make


def test_a_hook_that_comes_later_and_one_for_all_modules():
    model = pair(4)[0]
    loss_of, seen = LanguageModelLoss(model), []
    loss_of(tokens, tokens)

    def hook(module, *rest):
        seen.append(type(module)) if isinstance(module, GPT2) else None

    for register in (
        model.register_forward_hook,
        model.register_forward_pre_hook,
        model.register_full_backward_hook,
        nn.modules.module.register_module_forward_hook,
        nn.modules.module.register_module_forward_pre_hook,
    ):
        handle = register(hook)
        loss_of(tokens, tokens).backward()
        handle.remove()
    assert seen == [GPT2] * 5


def test_pads_are_not_scored():
    model, mask = pair(4)[0], torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    rows = torch.tensor([[1, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
    for make in (plain, subclass(Backwards)):
        changed = make(model)
        expected = next_token_loss(changed(rows, attention_mask=mask), rows, mask)
        assert (LanguageModelLoss(changed)(rows, rows, attention_mask=mask) - expected).abs() < 1e-13


def test_it_has_the_models_parameters_once():
    for model in (pair(4)[0], Bigrams(9)):
        assert list(LanguageModelLoss(model).state_dict()) == [f"model.{name}" for name in model.state_dict()]
