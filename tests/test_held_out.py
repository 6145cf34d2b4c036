"""Losses and guesses of a BERT and a T5 on a held-out text equal those that the model gives place by place."""

import math

import numpy as np
import pytest
import torch
from oracle import pair

from minigpt.data.corruption import spans
from minigpt.train import MaskedTokens, Spans
from minigpt.train.held_out import cross_attention_cut, masked_guesses, span_losses

MASKED = MaskedTokens(vocab_size=60, mask_id=3, begin_id=1, end_id=2, special_ids=(0, 1, 2, 3))
SPANS = Spans(sentinels=(59, 58, 57, 56, 55, 54), end_id=1, start_id=0)


@pytest.fixture(scope="module")
def text():
    return np.random.default_rng(0).integers(4, 50, 100).astype(np.uint16)


def test_a_bert_is_asked_for_each_masked_token(text):
    model = pair(1, family="bert", vocab_size=60, max_position_embeddings=40)[0]
    context = 22  # rows of 20: five of them
    found = masked_guesses(model, text, context, MASKED, batch_size=2)
    assert len(found.places) == len(set(found.places)) == 5 * 3  # 15 % of 20
    nats = []
    for start in range(0, 100, 20):
        row = torch.from_numpy(text[start : start + 20].astype(np.int64))
        batch = start // 40  # two rows a batch: the step that draws what is masked
        rows = torch.from_numpy(text.astype(np.int64)).view(5, 20)[2 * batch : 2 * batch + 2]
        tokens = MASKED.examples(rows, batch, 0).inputs["tokens"][start // 20 % 2]
        p = model(tokens[None]).log_softmax(dim=-1)[0, 1:-1]
        here = [
            (place, right) for place, right in zip(found.places, found.right, strict=True) if 0 <= place - start < 20
        ]
        for place, right in here:
            answer = row[place - start]
            nats.append(-p[place - start, answer].item())
            assert right == (p[place - start].argmax() == answer)
    assert found.nats == pytest.approx(sum(nats) / len(nats), rel=1e-6)


def test_a_t5_is_asked_for_each_token_of_a_span(text):
    model = pair(2, family="t5", vocab_size=60)[0]
    found = span_losses(model, text, 20, SPANS, batch_size=2)
    rows = torch.from_numpy(text.astype(np.int64)).view(5, 20)
    all_losses, cut = [], []
    for step, part in enumerate(rows.split(2)):
        source, labels = spans(part, step, 0, sentinels=SPANS.sentinels, end_id=1)
        inputs = torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], dim=1)
        losses = -model(source, inputs).log_softmax(dim=-1).gather(2, labels[..., None])[..., 0]
        all_losses += losses.flatten().tolist()
        cut += losses[(labels != 1) & ~torch.isin(labels, torch.tensor(SPANS.sentinels))].tolist()
    assert found.nats == pytest.approx(sum(all_losses) / len(all_losses), rel=1e-6)
    assert found.nats_in_spans == pytest.approx(sum(cut) / len(cut), rel=1e-6)
    assert len(found.places) == len(set(found.places.tolist())) == len(cut) == 15
    first = spans(rows[:2], 0, 0, sentinels=SPANS.sentinels, end_id=1)[1]
    words = [token for token in first.flatten().tolist() if token not in (*SPANS.sentinels, 1)]
    assert text[found.places[: len(words)]].tolist() == words


def test_with_cross_attention_cut_the_source_says_nothing():
    model = pair(3, family="t5", vocab_size=60)[0]
    generator = torch.Generator().manual_seed(0)
    one, other, tokens = (torch.randint(4, 50, (2, n), generator=generator) for n in (9, 12, 5))
    whole = model(one, tokens)
    with cross_attention_cut(model):
        assert torch.equal(model(one, tokens), model(other, tokens))
        assert not torch.allclose(model(one, tokens), whole)
    assert torch.equal(model(one, tokens), whole)


def test_a_text_shorter_than_a_row_is_refused(text):
    model = pair(1, family="bert", vocab_size=60, max_position_embeddings=40)[0]
    with pytest.raises(ValueError, match="tokens"):
        masked_guesses(model, text[:19], 22, MASKED)
    assert math.isfinite(masked_guesses(model, text[:39], 22, MASKED).nats)  # the rest is left out
