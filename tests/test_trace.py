import pytest
import torch
from oracle import pair, relative

from minigpt.gpt2 import position_ids_for
from minigpt.trace import trace


@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
@pytest.mark.parametrize("seed", range(5))
@torch.no_grad()
def test_hidden_states_and_attention_equal_hugging_faces(seed, attention):
    ours, theirs = pair(seed, attention=attention)
    tokens = torch.randint(ours.config.vocab_size, (2, 11), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(tokens)
    mask[1, :4] = 0
    expected = theirs(
        tokens,
        attention_mask=mask,
        position_ids=position_ids_for(mask, 0, tokens),
        output_hidden_states=True,
        output_attentions=True,
    )
    seen = trace(ours, tokens, mask)
    real = mask.bool()
    assert torch.equal(seen.embeddings[real], expected.hidden_states[0][real])
    assert len(seen.hidden_states) == len(seen.attention_weights) == ours.config.n_layer
    for mine, reference in zip(seen.hidden_states[:-1], expected.hidden_states[1:-1], strict=True):
        assert relative(mine[real], reference[real]) < 2e-13
    # Hugging Face's last entry is after the final norm.
    assert relative(ours.final_norm(seen.hidden_states[-1])[real], expected.hidden_states[-1][real]) < 2e-13
    for mine, reference in zip(seen.attention_weights, expected.attentions, strict=True):
        assert (mine[0] - reference[0]).abs().max() < 1e-13
        assert (mine[1, :, 4:] - reference[1, :, 4:]).abs().max() < 1e-13
        assert (mine[1, :, :4] == 0).all()  # pads look at nothing; Hugging Face lets them look everywhere
    assert relative(seen.logits[real], ours(tokens, mask)[real]) < 2e-13


def test_the_model_is_left_as_it_was():
    ours, _ = pair(1, attention="sdpa", attn_pdrop=0.5)
    ours.train()
    before = [block.attention.attention for block in ours.blocks]
    seen = trace(ours, torch.tensor([[1, 2, 3]]))
    assert ours.training and [block.attention.attention for block in ours.blocks] == before
    assert torch.equal(seen.logits, trace(ours, torch.tensor([[1, 2, 3]])).logits)  # eval mode inside: no dropout
    with pytest.raises(ValueError):
        trace(ours, torch.tensor([[10_000]]))
    assert ours.training and [block.attention.attention for block in ours.blocks] == before
    assert not ours.blocks[0]._forward_hooks and not ours.blocks[0]._forward_pre_hooks
