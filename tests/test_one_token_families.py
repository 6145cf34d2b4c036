"""The decoding step without modules gives Llama's and T5's own answers, and is not used for a model that somebody has
changed. (GPT-2's: test_one_token.py.)"""

import pytest
import torch
from oracle import check, pair, relative
from test_one_token import check_step, in_columns, in_two_parts, rows_of_tokens
from torch import nn

from minigpt import fast, generate
from minigpt.fast import steps
from minigpt.fast.one_token import one_token_step
from minigpt.language_model import Past
from minigpt.models import Llama

SMALL = dict(family="llama", num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=24)
SMALL_T5 = dict(family="t5", num_layers=2, num_decoder_layers=2, d_model=24)
WAYS = {
    "rarely": lambda model: one_token_step(model, 1),
    "often": lambda model: one_token_step(model, 1000),
    "large matrices": lambda model: in_two_parts(lambda: one_token_step(model, 1)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("attention", ["explicit", "sdpa", "tiled"])
@pytest.mark.parametrize("seed", range(8))
@torch.no_grad()
def test_it_is_llamas_step(seed, attention, dtype):
    """Random configurations: groups, biases, scaled rotations, tied heads or not; every second time with pads."""
    ours, _ = pair(seed, dtype, attention, "llama", max_position_embeddings=16)
    tokens, mask = rows_of_tokens(ours, seed)
    expected = ours(tokens, mask)
    in_columns(ours)
    for make in WAYS.values():
        check_step(make(ours), ours, tokens, mask, expected, dtype, attention)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("attention", ["explicit", "sdpa", "tiled"])
@pytest.mark.parametrize("seed", range(8))
@torch.no_grad()
def test_it_is_t5s_step(seed, attention, dtype):
    """Random configurations: gated or not, tied heads (scaled or not) or heads of their own; sources with pads; every
    second time pads in the decoder, too."""
    ours, _ = pair(seed, dtype, attention, "t5")
    tokens, mask = rows_of_tokens(ours, seed)
    source = torch.randint(ours.config.vocab_size, (len(tokens), 9), generator=torch.Generator().manual_seed(seed))
    real = torch.ones_like(source)
    real[:, 9 - seed % 4 :] = 0
    read = ours.read_source(source, real)
    expected = ours.logits(ours.hidden(tokens, mask, source=read))
    for make in WAYS.values():
        past, step = Past(ours.new_cache(*tokens.shape), mask, read), make(ours)
        for t in range(tokens.size(1)):
            logits = step(tokens[:, t : t + 1], past)
            if mask is None or mask[:, t].all():
                check("cached logits", relative(logits, expected[:, t]), dtype, attention, f", token {t}")
        assert past.length == tokens.size(1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@torch.no_grad()
def test_half_precision_is_as_exact_as_the_models_own(dtype):
    wide, _ = pair(4, torch.float64, **SMALL)
    half, exact = Llama(wide.config), Llama(wide.config).double()
    half.load_state_dict(wide.state_dict())
    half = half.to(dtype).eval()
    exact.load_state_dict(half.state_dict())
    tokens = torch.randint(wide.config.vocab_size, (2, 10), generator=torch.Generator().manual_seed(0))
    right = exact.eval()(tokens)
    errors = []
    for one_token in (one_token_step(half, 1), lambda tokens, past: half.logits(half.read(tokens, past)[:, -1])):
        past = Past(half.new_cache(2, 10), None)
        half.read(tokens[:, :3], past)
        logits = torch.stack([one_token(tokens[:, t : t + 1], past) for t in range(3, 10)], dim=1)
        errors.append((logits - right[:, 3:]).square().mean().sqrt().item())
    assert errors[0] < 1.2 * errors[1]


def blocks_of(model):
    return (model.decoder if model.has_encoder else model).blocks


def hooked(model):
    blocks_of(model)[1].mlp.up.register_forward_hook(lambda module, inputs, output: output * 0)


def another_norm(model):
    blocks_of(model)[0].mlp_norm = nn.RMSNorm(24).double()


def own_method(model):
    if model.has_encoder:
        model.decoder.blocks[0].add_mlp = lambda x: -x
    else:
        model.blocks[1].mlp.forward = lambda x: x


def own_logits(model):
    model.logits = lambda hidden: -type(model).logits(model, hidden)


@pytest.mark.parametrize("size", [SMALL, SMALL_T5], ids=["llama", "t5"])
@pytest.mark.parametrize("change", [hooked, another_norm, own_method, own_logits])
def test_a_changed_model_decodes_as_changed(change, size, monkeypatch):
    model, _ = pair(3, **size)
    made = []
    monkeypatch.setitem(steps.STEPS, type(model), lambda model, n: made.append(n) or one_token_step(model, n))
    before = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    assert made == [8]
    change(model)
    after = generate(model, [[1, 2, 3]], 8, stop_tokens=[])
    assert after == generate(model, [[1, 2, 3]], 8, stop_tokens=[], use_cache=False) != before and made == [8]


@pytest.mark.parametrize("size", [SMALL, SMALL_T5], ids=["llama", "t5"])
def test_switched_off_the_modules_run(size, monkeypatch):
    model, _ = pair(3, **size)
    fast_text = generate(model, [[1, 2, 3], [4]], 8, stop_tokens=[])
    monkeypatch.setitem(steps.STEPS, type(model), None)
    with fast.switched_off():
        assert generate(model, [[1, 2, 3], [4]], 8, stop_tokens=[]) == fast_text


def test_an_attention_function_of_ones_own_gets_a_key_head_for_each_query_head():
    model, _ = pair(3, **SMALL)
    before, shapes = generate(model, [[1, 2, 3]], 8, stop_tokens=[]), []

    def own(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
        shapes.append((q.shape[1], k.shape[1], q.shape[2]))
        weights = q @ k.transpose(-2, -1) * (q.size(-1) ** -0.5 if scale is None else scale)
        n_query, n_key = weights.shape[-2:]
        allowed = torch.ones(n_query, n_key).tril(n_key - n_query).bool()
        return weights.masked_fill(~allowed, -torch.inf).softmax(-1) @ v

    for block in model.blocks:
        block.attention.attend = own
    assert generate(model, [[1, 2, 3]], 8, stop_tokens=[]) == before
    assert set(shapes) == {(4, 4, 3), (4, 4, 1)}
