"""The flat decoding step: the model's own answers, and only for a model that is what gpt2.py says."""

from types import SimpleNamespace

import pytest
import torch
from oracle import check, pair, relative
from torch import nn

from minigpt import generate
from minigpt.fast import one_token
from minigpt.fast.cuda_graph import can_be_recorded, recorded_step
from minigpt.fast.one_token import is_plain, one_token_step
from minigpt.generation import generate_details
from minigpt.generation import loop as decoding
from minigpt.models import GPT2
from minigpt.models.gpt2 import Block


def in_columns(model):
    """As `load_model` leaves large matrices: the same numbers, stored in (in, out) order."""
    for part in model.modules():
        if isinstance(part, nn.Linear):
            part.weight.data = part.weight.data.t().contiguous().t()


def in_two_parts(make):
    """Every matrix counts as large, and there are two threads to share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_token, "LARGE", 0)
        patch.setattr(torch, "get_num_threads", lambda: 2)
        return make()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
@pytest.mark.parametrize("seed", range(12))
@torch.no_grad()
def test_it_is_the_models_step(seed, attention, dtype):
    ours, theirs = pair(seed, dtype, attention)
    batch_size, n = 1 + seed % 3, 14
    tokens = torch.randint(ours.config.vocab_size, (batch_size, n), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(tokens)
    for row in range(batch_size):
        mask[row, : 2 * row] = 0  # pads on the left
    mask = mask if seed % 2 else None
    expected = ours(tokens, mask)
    in_columns(ours)
    steps = {
        "plain": lambda: one_token_step(ours, 1),
        "copied head": lambda: one_token_step(ours, 1000),
        "split": lambda: in_two_parts(lambda: one_token_step(ours, 1000)),
        "fixed": lambda: recorded_step(ours, 1),  # unrecorded on the CPU: the same step on the same fixed shapes
    }
    for make in steps.values():
        step = make()
        cache = ours.new_cache(batch_size, n)
        ours.hidden(tokens[:, :6], None if mask is None else mask[:, :6], cache=cache)
        for t in range(6, n):
            logits = step(tokens[:, t : t + 1], None if mask is None else mask[:, : t + 1], cache)
            check("cached logits", relative(logits, expected[:, t]), dtype, attention, f", seed {seed}, token {t}")
        assert cache.length == n
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
    assert is_plain(model)
    before = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    change(model)
    assert not is_plain(model)
    after = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    assert after == generate(model, [[1, 2, 3]], 8, stop_tokens=[], use_cache=False) or change is own_forward
    assert after != before


def test_a_changed_class_or_a_hook_for_all_modules_is_noticed(monkeypatch):
    model = plain()
    before = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    with monkeypatch.context() as patch:
        patch.setattr(Block, "forward", lambda self, x, mask=None, cache=None: x)
        assert not is_plain(model) and generate(model, [[1, 2, 3]], 8, stop_tokens=[]) != before
    seen = []
    hook = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: seen.append(type(module)))
    try:
        generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    finally:
        hook.remove()
    assert seen.count(Block) == 2 * 8 and is_plain(model)


def test_an_exchanged_attention_function_is_used():
    model = plain()
    calls = []

    def attention(q, k, v, **settings):
        calls.append(q.shape[2])
        return torch.zeros_like(q)

    before = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    model.blocks[0].attention.attention = attention
    assert generate(model, [[1, 2, 3]], 8, stop_tokens=[]) != before and calls == [3] + [1] * 7


def test_a_large_matrix_is_shared_by_the_threads(monkeypatch):
    """In as many parts as there are threads, or fewer where the inputs cannot be divided; only if it lies that way."""
    asked = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: asked.append(tuple(b.shape)) or bmm(a, b))
    monkeypatch.setattr(one_token, "LARGE", 60)
    for threads, shape, is_shared in [
        (2, (10, 6), (2, 3, 10)),
        (4, (10, 6), (3, 2, 10)),
        (4, (9, 6), None),
        (1, (10, 6), None),
    ]:
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        rows, x, bias = torch.randn(shape).double(), torch.randn(3, 6).double(), torch.randn(shape[0]).double()
        for weight in (rows.t().contiguous().t(), rows):
            asked.clear()
            found = one_token._product(weight, bias)(x)
            assert (found - (x @ rows.t() + bias)).abs().max() < 1e-14
            assert asked == ([is_shared] if is_shared and weight is not rows else [])
            many = torch.randn(one_token.MOST_ROWS_TO_SPLIT + 1, 6).double()
            assert (one_token._product(weight, bias)(many) - (many @ rows.t() + bias)).abs().max() < 1e-14
            assert len(asked) <= 1  # so many rows are multiplied on all threads anyway


@pytest.mark.parametrize(
    "settings", [{}, {"do_sample": True, "temperature": 1.5, "seed": 3}, {"num_beams": 3}], ids=str
)
def test_decoding_behind_a_cache_of_fixed_shape(settings, monkeypatch):
    """Rows that leave, beams that change places, prompts of several lengths: the same texts."""
    model = pair(5, n_layer=2, n_positions=48)[0]
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [2]]
    options = settings | {"stop_tokens": list(range(model.config.vocab_size // 8))}
    expected = generate_details(model, prompts, 40, **options)
    monkeypatch.setattr(decoding, "one_token_step", recorded_step)
    found = generate_details(model, prompts, 40, **options)
    assert [text.tokens for text in found] == [text.tokens for text in expected]
    assert len({len(text.tokens) for text in expected}) > 1


def test_what_may_become_a_graph(monkeypatch):
    """A plain model on CUDA; not one whose attention may do anything at all."""
    model = plain()
    assert not can_be_recorded(model)
    on_cuda = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    monkeypatch.setattr(GPT2, "head_weight", on_cuda)
    assert can_be_recorded(model)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
        assert not can_be_recorded(model)
    model.blocks[0].attention.attention = lambda q, k, v, **settings: q
    assert not can_be_recorded(model)
