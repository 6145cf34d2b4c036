"""The flat decoding step gives the model's own answers. It is used only for a GPT2 that nobody has changed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracle import check, pair, relative
from torch import nn

from minigpt import fast, generate, stream
from minigpt.fast import loss_without_logits, products, steps
from minigpt.fast.cuda_graph import can_be_recorded, recorded_step
from minigpt.fast.one_token import one_token_step
from minigpt.fast.products import joint_product, product
from minigpt.fast.unmodified import is_unmodified_throughout
from minigpt.generation import generate_details
from minigpt.language_model import Past
from minigpt.models import GPT2
from minigpt.models.gpt2 import Block
from minigpt.perplexity import score
from minigpt.train import TrainConfig, train


def in_columns(model):
    """The same numbers, stored in (in, out) order, as a transposed matrix is."""
    for part in model.modules():
        if isinstance(part, nn.Linear):
            part.weight.data = part.weight.data.t().contiguous().t()


def in_two_parts(make):
    """Every matrix counts as large, and there are two threads to share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "LARGE", 0)
        patch.setattr(torch, "get_num_threads", lambda: 2)
        return make()


def rows_of_tokens(model, seed):
    """Tokens of up to three rows, and for every second seed a mask with pads on the left, else None."""
    batch_size, n = 1 + seed % 3, 14
    tokens = torch.randint(model.config.vocab_size, (batch_size, n), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(tokens)
    for row in range(batch_size):
        mask[row, : 2 * row] = 0
    return tokens, mask if seed % 2 else None


def check_step(step, model, tokens, mask, expected, dtype, attention):
    """From the seventh token on, the step's logits are the expected ones; returns the last."""
    batch_size, n = tokens.shape
    past = Past(model.new_cache(batch_size, n), mask)
    model.read(tokens[:, :6], past)
    for t in range(6, n):
        logits = step(tokens[:, t : t + 1], past)
        check("cached logits", relative(logits, expected[:, t]), dtype, attention, f", token {t}")
    assert past.length == n
    return logits


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
@pytest.mark.parametrize("seed", range(12))
@torch.no_grad()
def test_it_is_the_models_step(seed, attention, dtype):
    ours, theirs = pair(seed, dtype, attention)
    tokens, mask = rows_of_tokens(ours, seed)
    expected = ours(tokens, mask)
    in_columns(ours)
    steps = {
        "plain": lambda: one_token_step(ours, 1),
        "copied head": lambda: one_token_step(ours, 1000),
        "split": lambda: in_two_parts(lambda: one_token_step(ours, 1000)),
        "fixed": lambda: recorded_step(ours, 1),  # on the CPU it is not recorded; the shapes are the same
    }
    for make in steps.values():
        logits = check_step(make(), ours, tokens, mask, expected, dtype, attention)
    if mask is None:
        check("logits", relative(logits, theirs(tokens).logits[:, -1]), dtype, attention)


def plain():
    return pair(3, n_layer=2, n_embd=16, n_head=2)[0]


def hooked(model):
    model.blocks[1].mlp.up.register_forward_hook(lambda module, inputs, output: output * 0)


def pre_hooked(model):
    model.blocks[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0, *inputs[1:]))


def adapted(model):
    class Adapter(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 0

    adapter = Adapter(16, 16).double()
    model.blocks[0].attention.output = adapter


def another_norm(model):
    model.blocks[0].mlp_norm = nn.RMSNorm(16).double()


def own_forward(model):
    model.blocks[1].forward = lambda x, mask=None, cache=None: x


def own_logits(model):
    model.logits = lambda hidden: -GPT2.logits(model, hidden)


@pytest.mark.parametrize("change", [hooked, pre_hooked, adapted, another_norm, own_forward, own_logits])
def test_a_changed_model_decodes_as_changed(change):
    model = plain()
    assert is_unmodified_throughout(model)
    before = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    change(model)
    assert not is_unmodified_throughout(model)
    after = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    assert after == generate(model, [[1, 2, 3]], 8, stop_tokens=[], use_cache=False) or change is own_forward
    assert after != before


def test_a_changed_class_or_a_hook_for_all_modules_is_noticed(monkeypatch):
    model = plain()
    before = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    with monkeypatch.context() as patch:
        patch.setattr(Block, "forward", lambda self, x, mask=None, cache=None: x)
        assert not is_unmodified_throughout(model) and generate(model, [[1, 2, 3]], 8, stop_tokens=[]) != before
    seen = []
    hook = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: seen.append(type(module)))
    try:
        generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    finally:
        hook.remove()
    assert seen.count(Block) == 2 * 8 and is_unmodified_throughout(model)


def test_an_exchanged_attention_function_is_used():
    model = plain()
    calls = []

    def attention(q, k, v, **settings):
        calls.append(q.shape[2])
        return torch.zeros_like(q)

    before = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    model.blocks[0].attention.attend = attention
    assert generate(model, [[1, 2, 3]], 8, stop_tokens=[]) != before and calls == [3] + [1] * 7


def test_a_large_matrix_is_shared_by_the_threads(monkeypatch):
    """For a single row, in at least as many parts as there are threads; a prime number of outputs is not divided."""
    asked = []
    for name, parts in [("bmm", 0), ("baddbmm", 1)]:
        real = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, real=real, k=parts: asked.append(tuple(a[k].shape)) or real(*a))
    monkeypatch.setattr(products, "LARGE", 60)
    for threads, n_out, n_parts in [(2, 10, 2), (4, 10, 5), (4, 9, 9), (3, 61, 1), (1, 10, 1)]:
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        rows, x, bias = torch.randn(n_out, 7).double(), torch.randn(3, 7).double(), torch.randn(n_out).double()
        for weight in (rows, rows.t().contiguous().t()):
            for with_bias in (bias, None):
                asked.clear()
                for n_rows in (1, 2, 3):
                    right = x[:n_rows] @ rows.t() + (0 if with_bias is None else bias)
                    found = product(weight, with_bias)(x[:n_rows])
                    assert (found - right).abs().max() < 1e-14 and found.is_contiguous()
                assert asked == [(n_parts, n_out // n_parts, 7)]  # several rows are multiplied on all threads anyway


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("n_calls", [31, 32])
@torch.no_grad()
def test_layers_that_read_the_same_are_one_product(with_bias, n_calls, monkeypatch):
    """Small ones, used often; and when one of them changes, so does the product."""
    layers = [nn.Linear(6, n, bias=with_bias).double() for n in (4, 2, 5)]
    x, asked = torch.randn(3, 6).double(), []
    monkeypatch.setattr(products, "product", lambda weight, *a: asked.append(len(weight)) or product(weight, *a))
    multiply = joint_product(layers, n_calls)
    for change in (
        lambda: None,
        lambda: layers[1].weight.mul_(2),
        lambda: setattr(layers[2].weight, "data", x.repeat(2, 1)[:5]),
    ):
        change()
        for found, layer in zip(multiply(x), layers, strict=True):
            assert (found - layer(x)).abs().max() < 1e-14
    assert asked == ([4, 2, 5] if n_calls == 31 else [11] * 3)
    if with_bias:
        layers[0].bias.add_(1)
        assert (multiply(x)[0] - layers[0](x)).abs().max() < 1e-14


@pytest.mark.parametrize(
    "settings", [{}, {"do_sample": True, "temperature": 1.5, "seed": 3}, {"num_beams": 3}], ids=str
)
def test_decoding_with_a_cache_of_fixed_shape(settings, monkeypatch):
    """Rows that leave, beams that change places, prompts of several lengths: the same texts."""
    model = pair(5, n_layer=2, n_positions=48)[0]
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [2]]
    options = settings | {"stop_tokens": list(range(model.config.vocab_size // 8))}
    expected = generate_details(model, prompts, 40, **options)
    monkeypatch.setitem(steps.STEPS, GPT2, recorded_step)
    found = generate_details(model, prompts, 40, **options)
    assert [text.tokens for text in found] == [text.tokens for text in expected]
    assert len({len(text.tokens) for text in expected}) > 1


def test_what_may_become_a_graph(monkeypatch):
    """A plain model on CUDA may; under autocast, or with a reader's own attention function, it may not."""
    model = plain()
    assert not can_be_recorded(model)
    monkeypatch.setattr(GPT2, "device", SimpleNamespace(type="cuda"))
    assert can_be_recorded(model)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
        assert not can_be_recorded(model)
    model.blocks[0].attention.attend = lambda q, k, v, **settings: q
    assert not can_be_recorded(model)


# --- asked again before every step; switched off ---------------------------------------------------------------------


@pytest.mark.parametrize("change", [hooked, pre_hooked, adapted, another_norm, own_logits])
def test_what_changes_while_a_text_is_written_counts(change):
    """After five tokens the model is changed: from there on the text is the changed model's."""
    model = plain()
    before = generate(model, [[1, 2, 3]], 12, stop_tokens=[])[0][3:]
    new = stream(model, [1, 2, 3], 12, stop_tokens=[])
    written = [next(new) for _ in range(5)]
    change(model)
    written += list(new)
    assert written[:5] == before[:5] and written[5:] != before[5:]
    text = [1, 2, 3, *written[:5]]
    past = Past(model.new_cache(1, 20))
    as_it_was = plain()
    with torch.no_grad():
        as_it_was.read(torch.tensor([text[:-1]]), past)
        for token in written[5:]:
            assert model.logits(model.read(torch.tensor([text[-1:]]), past))[0, -1].argmax() == token
            text.append(token)


def test_a_hook_is_heard_from_the_next_step_on_and_no_longer_when_it_is_removed():
    model, heard = plain(), []
    new = stream(model, [1, 2, 3], 12, stop_tokens=[])
    for _ in range(4):
        next(new)
    hook = model.blocks[1].mlp.up.register_forward_hook(lambda *_: heard.append(1))
    for _ in range(3):
        next(new)
    hook.remove()
    list(new)
    assert len(heard) == 3


def test_a_class_that_is_patched_on_the_way_counts(monkeypatch):
    model = plain()
    new = stream(model, [1, 2, 3], 12, stop_tokens=[])
    next(new), next(new)
    called = []
    original = Block.forward
    monkeypatch.setattr(Block, "forward", lambda *a, **k: called.append(1) or original(*a, **k))
    next(new)
    assert len(called) == 2


@pytest.mark.parametrize("exchange", ["in place", "data", "parameter", "load_state_dict"])
@torch.no_grad()
def test_weights_that_change_on_the_way_count(exchange):
    """Forty steps: the first of them copies the head. When the weights change, the copy is out of date."""
    model, as_it_was = (pair(3, n_layer=1, n_embd=16, n_head=2, tie_word_embeddings=True)[0] for _ in range(2))
    new = stream(model, [1, 2], 40, stop_tokens=[])
    text = [1, 2, next(new), next(new), next(new)]
    weight = model.token_embedding.weight
    if exchange == "in place":
        weight.mul_(-0.5)
    elif exchange == "data":
        weight.data = -0.5 * weight.data
    elif exchange == "parameter":
        model.token_embedding.weight = nn.Parameter(-0.5 * weight)
    else:
        model.load_state_dict(model.state_dict() | {"token_embedding.weight": -0.5 * weight})
    past = Past(model.new_cache(1, 50))
    as_it_was.read(torch.tensor([text[:-1]]), past)
    expected = model.logits(model.read(torch.tensor([text[-1:]]), past))[0, -1]
    assert next(new) == expected.argmax()


def test_switched_off_everything_is_computed_by_the_modules(monkeypatch):
    """Without the fast ways, generation, scoring and training use the modules and give the same answers."""
    model = plain()
    prompts = [[1, 2, 3], [4], [5, 6]]
    settings = [{}, {"do_sample": True, "seed": 3}, {"num_beams": 3}, {"use_cache": False}]
    text = [(k * 7) % 11 for k in range(60)]

    def answers():
        torch.manual_seed(0)
        learner = plain()
        config = TrainConfig(steps=3, batch_size=2, context=8, warmup_steps=1, evaluate_every=3, autocast=False)
        history = train(learner, np.array(text), np.array(text), config)
        texts = [generate(model, prompts, 9, stop_tokens=[], **options) for options in settings]
        learned = torch.cat([p.detach().flatten() for p in learner.parameters()])
        return texts, score(model, text).nll[1:], learned, history[0].train_loss

    quick = answers()
    with monkeypatch.context() as patch, fast.switched_off():
        patch.setitem(steps.STEPS, GPT2, lambda *_: pytest.fail("the fast way was taken"))
        patch.setattr(
            loss_without_logits, "linear_cross_entropy", lambda *_, **__: pytest.fail("the fast way was taken")
        )
        slow = answers()
    assert quick[0] == slow[0] and np.abs(quick[1] - slow[1]).max() < 1e-12
    assert (quick[2] - slow[2]).abs().max() < 1e-9 and abs(quick[3] - slow[3]) < 1e-12
