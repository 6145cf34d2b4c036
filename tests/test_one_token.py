"""The flat decoding step: the model's own answers, and only for a model that is what gpt2.py says."""

import pytest
import torch
from oracle import check, pair, relative
from torch import nn

from minigpt import generate
from minigpt.gpt2 import GPT2, Block
from minigpt.one_token import is_plain, one_token_step


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
    for n_steps in (1, 1000):  # without and with a copy of the head
        step = one_token_step(ours, n_steps)
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
