"""GPT-2 by itself: its parts against their formulas, initialisation, dropout, and what it refuses.

test_equivalence_decoders.py compares its answers with Hugging Face's.
"""

import math
import pickle

import pytest
import torch
import torch.nn.functional as F

from minigpt import GPT2, GPT2Config, generate
from minigpt.fast import LanguageModelLoss
from minigpt.layers import ACTIVATIONS, gelu_tanh
from minigpt.loss import next_token_loss
from minigpt.models.gpt2 import SIZES
from minigpt.perplexity import score
from minigpt.positions import position_ids_for


def test_positions_follow_the_mask():
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]])
    tokens = torch.zeros(3, 4, dtype=torch.long)
    assert position_ids_for(mask, 0, tokens).tolist() == [[0, 1, 2, 3], [0, 0, 0, 1], [0, 1, 1, 1]]
    assert position_ids_for(mask, 3, tokens[:, :1]).tolist() == [[3], [1], [1]]
    assert position_ids_for(None, 5, tokens[:, :2]).tolist() == [[5, 6]] * 3


def test_gelu_is_the_tanh_formula():
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    formula = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    assert (gelu_tanh(x) - formula).abs().max() < 1e-14
    assert 1e-4 < (F.gelu(x) - formula).abs().max() < 5e-4  # the other GELU is another function


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_equal_hugging_faces(name):
    from transformers.activations import ACT2FN

    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    assert (ACTIVATIONS[name](x) - ACT2FN[name](x)).abs().max() < 1e-14


def test_no_activation_of_hugging_faces_that_equals_one_of_ours_is_missing():
    from transformers.activations import ACT2CLS, ACT2FN

    x = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    for name in ACT2CLS.keys() - ACTIVATIONS.keys():
        theirs = ACT2FN[name].double()
        assert all((theirs(x) - ours(x)).abs().max() > 1e-3 for ours in ACTIVATIONS.values()), name


def test_the_fast_gelu_is_another_function_than_the_tanh_one_but_equal_in_float32():
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    assert 1e-13 < (ACTIVATIONS["gelu_fast"](x) - gelu_tanh(x)).abs().max() < 1e-11
    assert (ACTIVATIONS["gelu_fast"](x.float()) - gelu_tanh(x.float())).abs().max() < 1e-6


# Parameters of the published models, as transformers counts them.
N_PARAMETERS = {
    "distilgpt2": 81_912_576,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


@pytest.mark.parametrize("name", SIZES)
def test_presets_have_the_published_sizes(name):
    with torch.device("meta"):
        model = GPT2(GPT2Config.preset(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == N_PARAMETERS[name]


def test_initialisation_follows_its_table():
    torch.manual_seed(0)
    model = GPT2(GPT2Config(vocab_size=500, n_positions=400, n_embd=256, n_layer=8, n_head=4, initializer_range=0.05))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            into_stream = name.endswith(("attention.output.weight", "mlp.down.weight"))
            expected = 0.05 / math.sqrt(16) if into_stream else 0.05
            assert abs(parameter.std() / expected - 1) < 0.02 and abs(parameter.mean()) < 0.05 * expected, name


def test_fresh_model_guesses_uniformly():
    torch.manual_seed(0)
    model = GPT2(GPT2Config(vocab_size=1000, n_positions=32, n_embd=64, n_layer=2, n_head=2)).eval()
    tokens = torch.randint(1000, (4, 32))
    assert abs(next_token_loss(model(tokens), tokens).item() - math.log(1000)) < 0.1


def test_dropout_only_in_training():
    torch.manual_seed(0)
    model = GPT2(GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=2))
    tokens = torch.randint(50, (2, 16))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_tied_head_is_one_weight_and_untied_head_another():
    shape = dict(vocab_size=30, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    tied = GPT2(GPT2Config(**shape))
    untied = GPT2(GPT2Config(**shape, tie_word_embeddings=False))
    assert tied.lm_head is None and "lm_head.weight" not in tied.state_dict()
    hidden = torch.randn(2, 8)
    assert torch.equal(tied.logits(hidden), hidden @ tied.token_embedding.weight.T)
    assert torch.equal(untied.logits(hidden), hidden @ untied.lm_head.weight.T)


def tiny_gpt2(**changes):
    return GPT2(GPT2Config(**dict(vocab_size=10, n_positions=6, n_embd=8, n_layer=1, n_head=2) | changes)).eval()


def long(*rows):
    return torch.tensor(rows, dtype=torch.long)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: m(long([1, 2], [3, 10])), r"token id 10 at row 1, column 1 is outside 0..9 \(vocab_size=10\)"),
        (lambda m: m(long([-1, 2])), "token id -1 at row 0, column 0"),
        (lambda m: m(long([0] * 7)), r"position id 6 at row 0, column 6 is outside 0..5 \(n_positions=6\)"),
        (lambda m: m(long([1, 2]), position_ids=long([0, 6])), "position id 6"),
        (lambda m: m(long([1, 2]), position_ids=long([0])), r"position_ids \(1, 1\)"),
        (lambda m: m(torch.zeros(1, 0, dtype=torch.long)), r"\(1, 0\)"),
        (lambda m: m(torch.zeros(0, 3, dtype=torch.long)), r"\(0, 3\)"),
        (lambda m: m(torch.zeros(3, dtype=torch.long)), r"\(3,\)"),
        (lambda m: m(torch.zeros(1, 3)), "int64"),
        (lambda m: m(long([1, 2]), attention_mask=torch.ones(1, 3)), r"\(1, 2\), got \(1, 3\)"),
        (lambda m: m(long([1, 2]), attention_mask=long([1, 2])), "0 and 1"),
        (lambda m: m(long([1, 2, 3]), cache=m.new_cache(1, 2)), "1 rows of 2 tokens, 0 filled"),
        (lambda m: m(long([1], [2]), cache=m.new_cache(1, 4)), "1 rows of 4 tokens"),
    ],
)
def test_bad_input_is_named_before_any_work(call, words):
    with pytest.raises(ValueError, match=words):
        call(tiny_gpt2())


def test_a_refused_input_leaves_the_cache_as_it_was():
    model = tiny_gpt2()
    cache = model.new_cache(1, 4)
    model(long([1, 2]), cache=cache)
    for bad in (long([11]), long([1, 2, 3])):
        with pytest.raises(ValueError):
            model(bad, cache=cache)
    assert cache.length == 2
    full = model(long([1, 2, 3]))
    assert (model(long([3]), cache=cache)[0, -1] - full[0, -1]).abs().max() < 1e-6


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"n_head": 3}, "n_embd=8, n_head=3"),
        ({"n_layer": 0}, "n_layer must be an integer of at least 1, got 0"),
        ({"vocab_size": 10.0}, "vocab_size"),
        ({"n_inner": -1}, "n_inner"),
        ({"attn_pdrop": 1.0}, "attn_pdrop"),
        ({"layer_norm_epsilon": 0.0}, "layer_norm_epsilon"),
        ({"activation_function": "gelo"}, "gelu_new.*'gelo'"),
    ],
)
def test_config_refuses(changes, words):
    with pytest.raises(ValueError, match=words):
        tiny_gpt2(**changes)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="gpt2-medium"):
        GPT2Config.preset("gpt5")
    with pytest.raises(ValueError, match="explicit, sdpa, tiled; got 'flash'"):
        GPT2(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=5), attention="flash")


# --- an untied head is a module that is called -----------------------------------------------------------------------


def untied():
    torch.manual_seed(0)
    shape = dict(vocab_size=30, n_positions=24, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3)
    return GPT2(GPT2Config(**shape, tie_word_embeddings=False, eos_token_id=None)).double().eval()


class Adapter(torch.nn.Module):
    """A low-rank addition beside a frozen head (LoRA)."""

    def __init__(self, head):
        super().__init__()
        self.head, self.extra = head, torch.nn.Linear(16, 30, bias=False).double()

    def forward(self, x):
        return self.head(x) + self.extra(x)


def with_bias(model):
    head = torch.nn.Linear(16, 30).double()
    head.weight = model.lm_head.weight
    model.lm_head = head


def with_adapter(model):
    model.lm_head = Adapter(model.lm_head)


def with_hook(model):
    model.lm_head.register_forward_hook(lambda module, inputs, output: -output)


@pytest.mark.parametrize("change", [with_bias, with_adapter, with_hook])
def test_a_changed_head_counts_everywhere(change):
    """In logits, in generating, in scoring, and in the loss that training differentiates."""
    model, plain = untied(), untied()
    change(model)
    tokens = torch.arange(20).view(2, 10)
    head = model.lm_head(model.hidden(tokens))
    assert torch.equal(model(tokens), head) and (head - plain(tokens)).abs().max() > 0.1
    [text] = generate(model, [[1, 2]], 12)
    alone = [1, 2]
    for _ in range(12):
        alone.append(model(torch.tensor([alone]))[0, -1].argmax().item())
    assert text == alone != generate(plain, [[1, 2]], 12)[0]
    row = tokens[0].tolist()
    expected = F.cross_entropy(model(tokens)[0, :-1], tokens[0, 1:], reduction="none")
    assert torch.allclose(torch.tensor(score(model, row, 10).nll[1:]), expected.detach(), atol=1e-12)
    found = LanguageModelLoss(model)(tokens, tokens)
    assert (found - next_token_loss(model(tokens), tokens)).abs() < 1e-13


def test_a_hook_on_the_head_is_heard():
    model, heard = untied(), []
    model.lm_head.register_forward_hook(lambda *_: heard.append(1))
    model(torch.tensor([[1, 2]]))
    assert len(heard) == 1
    generate(model, [[1, 2]], 5)
    assert len(heard) == 1 + 5


# --- compiled, exported, pickled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
@torch.no_grad()
def test_a_forward_pass_is_one_graph(attention, tied, full):
    """torch.compile makes one graph of whole, padded, packed rows, and of parts with a cache. --full uses inductor."""
    torch.manual_seed(0)
    shape = dict(vocab_size=30, n_positions=24, n_embd=16, n_layer=2, n_head=2, tie_word_embeddings=tied)
    model = GPT2(GPT2Config(**shape), attention).double().eval()
    tokens = torch.randint(30, (2, 9))
    real = torch.ones_like(tokens)
    real[1, :3] = 0
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="inductor" if full else "eager")
    bar = 1e-12 if full else 0
    for inputs in ({}, {"attention_mask": real}, {"segment_ids": real}, {"position_ids": tokens % 9}):
        assert (compiled(tokens, **inputs) - model(tokens, **inputs)).abs().max() <= bar
    cache = model.new_cache(2, 9)
    parts = [compiled(part, cache=cache) for part in tokens.split([4, 1, 1, 1, 1, 1], dim=1)]
    assert (torch.cat(parts, dim=1) - model(tokens)).abs().max() < 1e-12 and cache.length == 9
    torch._dynamo.reset()


@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
@torch.no_grad()
def test_it_can_be_exported(attention):
    torch.manual_seed(0)
    model = GPT2(GPT2Config(vocab_size=30, n_positions=24, n_embd=16, n_layer=2, n_head=2), attention).eval()
    tokens = torch.randint(30, (2, 9))
    real = torch.ones_like(tokens)
    real[1, :3] = 0
    for inputs in ({}, {"attention_mask": real}):
        exported = torch.export.export(model, (tokens,), inputs).module()
        assert torch.equal(exported(tokens, **inputs), model(tokens, **inputs))
    with pytest.raises(ValueError, match="token id"):  # without a compiler, values are checked as usual
        model(tokens + 29)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_model_with_any_activation_can_be_pickled(name):
    model = GPT2(
        GPT2Config(vocab_size=9, n_positions=4, n_embd=4, n_layer=1, n_head=1, activation_function=name)
    ).eval()
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(torch.tensor([[1, 2]])), model(torch.tensor([[1, 2]])))
