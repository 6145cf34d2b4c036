"""A trace leaves the model as it was; that it shows what Hugging Face shows is in test_equivalence.py."""

import pytest
import torch
from oracle import pair

from minigpt.trace import trace


def test_the_model_is_left_as_it_was():
    ours, _ = pair(1, attention="sdpa", resid_pdrop=0.5)
    ours.train()
    before = [block.attention.attention for block in ours.blocks]
    seen = trace(ours, torch.tensor([[1, 2, 3]]))
    assert ours.training and [block.attention.attention for block in ours.blocks] == before
    assert torch.equal(seen.logits, trace(ours, torch.tensor([[1, 2, 3]])).logits)  # eval mode inside: no dropout
    with pytest.raises(ValueError):
        trace(ours, torch.tensor([[10_000]]))
    assert ours.training and [block.attention.attention for block in ours.blocks] == before
    assert not ours.blocks[0]._forward_hooks and not ours.blocks[0]._forward_pre_hooks
