"""A trace leaves the model as it was, and shows no weights that it cannot know.

test_equivalence_decoders.py compares what it shows with Hugging Face's.
"""

import pytest
import torch
from oracle import pair
from torch import nn

from minigpt import load_model, save_model
from minigpt.attention import MultiHeadAttention, explicit_attention, sdpa_attention
from minigpt.compare import first_layer, verdict, verify
from minigpt.trace import trace

TOKENS = torch.tensor([[1, 2, 3]])


def test_the_model_is_left_as_it_was():
    ours, _ = pair(1, attention="sdpa", resid_pdrop=0.5)
    ours.train()
    before = [block.attention.attend for block in ours.blocks]
    seen = trace(ours, TOKENS)
    assert ours.training and [block.attention.attend for block in ours.blocks] == before
    assert torch.equal(seen.logits, trace(ours, TOKENS).logits)  # eval mode inside: no dropout
    with pytest.raises(ValueError):
        trace(ours, torch.tensor([[10_000]]))
    assert ours.training and [block.attention.attend for block in ours.blocks] == before
    assert not ours.blocks[0]._forward_hooks and not ours.blocks[0]._forward_pre_hooks


@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
def test_the_logits_are_the_models_own_to_the_last_bit(attention):
    ours, _ = pair(2, attention=attention)
    assert torch.equal(trace(ours, TOKENS).logits, ours(TOKENS))


def forgetful(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    """Looks at the newest two keys only."""
    near = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool, device=q.device).triu(k.size(-2) - q.size(-2) - 1)
    return explicit_attention(q, k, v, near if mask is None else mask & near, causal, bias, scale, dropout)


def unscaled_in_float64(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    return explicit_attention(q, k, v, mask, causal, bias, 1.0, dropout)


def test_a_function_that_is_not_ours_is_called_and_shows_no_weights():
    ours, _ = pair(3, n_layer=3)
    for block in ours.blocks[1:]:
        block.attention.attend = forgetful
    seen = trace(ours, torch.tensor([[1, 2, 3, 4, 5]]))
    assert torch.equal(seen.logits, ours(torch.tensor([[1, 2, 3, 4, 5]])))
    assert [weights is None for weights in seen.attention_weights] == [False, True, True]
    assert len(seen.hidden_states) == 3


class PostNorm(nn.Module):
    """A block that is not GPT-2's: bidirectional, norms after the parts, grouped keys."""

    def __init__(self):
        super().__init__()
        self.attention = MultiHeadAttention(8, 4, 2, attend=sdpa_attention)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(x + self.attention(x))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.layers, self.head = (
            nn.Embedding(10, 8),
            nn.ModuleList([PostNorm(), PostNorm()]),
            nn.Linear(8, 10),
        )

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def test_any_model_made_of_multi_head_attention():
    torch.manual_seed(0)
    model = Encoder().double()
    seen = trace(model, TOKENS)
    assert torch.equal(seen.embeddings, model.embedding(TOKENS)) and torch.equal(seen.logits, model(TOKENS))
    x = seen.embeddings
    for layer, state, weights in zip(model.layers, seen.hidden_states, seen.attention_weights, strict=True):
        q = layer.attention.query(x).view(1, 3, 4, 2).transpose(1, 2)
        k = layer.attention.key(x).view(1, 3, 2, 2).transpose(1, 2)[:, [0, 0, 1, 1]]
        assert (weights - (q @ k.transpose(-2, -1) / 2**0.5).softmax(-1)).abs().max() < 1e-15
        x = layer(x)
        assert torch.equal(state, x)
    with pytest.raises(ValueError, match="trace needs a model with MultiHeadAttention in it, got Linear"):
        trace(nn.Linear(2, 2), torch.zeros(1, 2))


# --- a reader's own attention in a loaded model, compared with transformers ------------------------------------------


def mine(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
    """The lecture's formula, as a student writes it."""
    scores = q @ k.transpose(-2, -1) * scale
    n_query, n_key = scores.shape[-2:]
    allowed = torch.ones(n_query, n_key, dtype=torch.bool, device=q.device).tril(n_key - n_query)
    allowed = allowed if mask is None else allowed & mask
    return scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1) @ v


def test_a_readers_attention_is_loaded_and_verified(tmp_path):
    ours, _ = pair(4, n_layer=3, scale_attn_by_inverse_layer_idx=False, eos_token_id=None)
    save_model(ours, tmp_path)
    found = verify(load_model(tmp_path, dtype=torch.float64, attention=mine), tmp_path)
    assert verdict(found) is None and all(difference.ok for difference in found)
    [weights] = [difference for difference in found if difference.quantity == "attention weights"]
    assert weights.difference is None and "an attention function that is not minigpt's shows no weights" in str(weights)
    assert all(difference.difference is not None for difference in found if difference is not weights)


def test_a_mistake_in_it_is_found_with_its_layer(tmp_path):
    """The function is called everywhere, in the whole pass, with pads and with the cache; the states show the layer."""
    ours, _ = pair(4, n_layer=3, scale_attn_by_inverse_layer_idx=False, eos_token_id=None)
    save_model(ours, tmp_path)
    wrong = lambda q, k, v, **settings: mine(q, k, v, **settings | {"scale": 1.0})  # noqa: E731
    found = verify(load_model(tmp_path, dtype=torch.float64, attention=wrong), tmp_path)
    assert verdict(found) == "bug" and first_layer(found) == 0
    assert {d.quantity for d in found if not d.ok} >= {
        "hidden states",
        "logits",
        "logits, left padding",
        "logits, cached",
    }
    model = load_model(tmp_path, dtype=torch.float64)
    model.blocks[2].attention.attend = wrong
    found = verify(model, tmp_path)
    assert verdict(found) == "bug" and first_layer(found) == 2
