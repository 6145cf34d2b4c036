"""Key heads are averaged in groups (GQA): what stays, what changes, what is refused."""

import pytest
import torch

from minigpt import GPT2, GPT2Config, Llama, LlamaConfig
from minigpt.attention import MultiHeadAttention
from minigpt.lecture.fewer_key_heads import average_key_heads, with_fewer_key_heads

SIZE = dict(
    vocab_size=40, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=6,
    max_position_embeddings=16, initializer_range=0.3,
)  # fmt: skip


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return MultiHeadAttention(24, 6, 6).double()


@pytest.mark.parametrize("n_kv_head", [1, 2, 3, 6])
def test_a_new_key_head_is_the_mean_of_its_group(layer, n_kv_head):
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    before, after = layer.keys_values(x), average_key_heads(layer, n_kv_head).keys_values(x)
    for old, new in zip(before, after, strict=True):
        assert new.shape == (2, n_kv_head, 5, 4)
        expected = torch.stack([part.mean(dim=1) for part in old.chunk(n_kv_head, dim=1)], dim=1)
        assert (new - expected).abs().max() < 1e-14


def test_nothing_changes_where_the_heads_of_a_group_are_equal(layer):
    with torch.no_grad():
        for linear in (layer.key, layer.value):
            heads = linear.weight.view(2, 3, 4, 24)
            heads.copy_(heads[:, :1].expand_as(heads).clone())
            biases = linear.bias.view(2, 3, 4)
            biases.copy_(biases[:, :1].expand_as(biases).clone())
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    fewer = average_key_heads(layer, 2)
    assert (fewer(x, causal=True) - layer(x, causal=True)).abs().max() < 1e-14
    assert layer.n_kv_head == 6 and fewer.n_kv_head == 2


@pytest.mark.parametrize("bias", [False, True])
def test_a_llama_with_fewer_heads_has_a_smaller_cache(bias):
    torch.manual_seed(1)
    model = Llama(LlamaConfig(**SIZE, num_key_value_heads=6, attention_bias=bias), attention="sdpa").double().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fewer = with_fewer_key_heads(model, 2)
    assert fewer.config.num_key_value_heads == 2 and not fewer.training
    assert fewer.blocks[0].attention.attend is model.blocks[0].attention.attend
    assert fewer.new_cache(1, 8).keys.numel() * 3 == model.new_cache(1, 8).keys.numel()
    tokens = torch.randint(40, (2, 7))
    assert (fewer(tokens) - model(tokens)).abs().max() > 1e-3
    cache = fewer.new_cache(2, 7)
    parts = [fewer(tokens[:, :4], cache=cache), fewer(tokens[:, 4:], cache=cache)]
    assert (torch.cat(parts, dim=1) - fewer(tokens)).abs().max() < 1e-13
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    same = with_fewer_key_heads(model, 6)
    assert (same(tokens) - model(tokens)).abs().max() < 1e-13


def test_what_cannot_be_grouped_is_refused(layer):
    for bad in (4, 5, 12):
        with pytest.raises(ValueError, match=f"n_kv_head must divide the layer's 6 key heads, got {bad}"):
            average_key_heads(layer, bad)
    for bad in (0, 1.5, True):
        with pytest.raises(ValueError, match="n_kv_head must be an integer of at least 1"):
            average_key_heads(layer, bad)
    other = GPT2(GPT2Config(vocab_size=40, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    with pytest.raises(ValueError, match="model must be a Llama, whose config names its key heads, got a GPT2"):
        with_fewer_key_heads(other, 1)
