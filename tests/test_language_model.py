"""Generating and scoring ask little of a model: one that is no transformer is decoded and scored by the same code."""

import itertools
import math

import pytest
import torch
from oracle import pair

from minigpt import generate, stream
from minigpt.generation import generate_details, steps
from minigpt.generation.drafts import speculate
from minigpt.kv_cache import KVCache
from minigpt.language_model import Past, Source, Start, eval_mode
from minigpt.perplexity import score


class Trigrams:
    """The next token depends on the last two: a table of logits. It keeps no keys, and prompts come one at a time."""

    def __init__(self, vocab_size=7, max_tokens=30, end_tokens=()):
        self.vocab_size, self.max_tokens, self.end_tokens = vocab_size, max_tokens, frozenset(end_tokens)
        self.device, self.has_encoder = torch.device("cpu"), False
        generator = torch.Generator().manual_seed(3)
        self.table = 3 * torch.randn(vocab_size + 1, vocab_size, vocab_size, generator=generator, dtype=torch.float64)

    def first_texts(self, prompts):
        return [list(prompt) for prompt in prompts]

    def start(self, prompts, max_new_tokens, use_cache=True):
        return Start(self.first_texts(prompts), torch.tensor(prompts), Past())

    def read(self, tokens, past):
        everything = past.tokens = past.tokens_with(tokens)
        before = torch.nn.functional.pad(everything, (1, 0), value=self.vocab_size)[:, :-1]
        return torch.stack([before, everything], dim=-1)[:, -tokens.size(1) :]  # (B, T, 2): its "hidden states"

    def logits(self, hidden):
        return self.table[hidden[..., 0], hidden[..., 1]]


MODEL = Trigrams()


def log_probabilities(text):
    """(len(text) - 1, V): what the table says of each next token, by indexing alone."""
    pairs = zip([7, *text], text[:-1], strict=False)
    return torch.stack([MODEL.table[before, token] for before, token in pairs]).log_softmax(-1)


def greedy(prompt, n, stop=()):
    text = list(prompt)
    for _ in range(min(n, 30 - len(prompt))):
        text.append(MODEL.table[text[-2] if len(text) > 1 else 7, text[-1]].argmax().item())
        if text[-1] in stop:
            break
    return text


@pytest.mark.parametrize("prompt", [[1], [2, 5], [0, 3, 3, 6]])
def test_greedily_by_steps_and_by_drafts(prompt):
    stop = [greedy(prompt, 6)[-1]]
    for settings, expected in [({}, greedy(prompt, 20)), ({"stop_tokens": stop}, greedy(prompt, 20, stop))]:
        assert generate(MODEL, [prompt], 20, **settings) == [expected]
        assert prompt + list(stream(MODEL, prompt, 20, **settings)) == expected
        assert prompt + list(speculate(MODEL, prompt, 20, **settings)) == expected
    assert Trigrams(end_tokens=stop).end_tokens and generate(Trigrams(end_tokens=stop), [prompt], 20) == [
        greedy(prompt, 20, stop)
    ]
    assert len(generate(MODEL, [prompt], 99)[0]) == 30  # max_tokens
    assert len(generate(Trigrams(max_tokens=None), [prompt], 99)[0]) == len(prompt) + 99  # as many as you like


def test_prompts_of_one_length_in_a_batch_leave_it_one_by_one():
    prompts = [[1, 2], [3, 4], [5, 6], [0, 0]]
    for stop in ([2], [3, 5]):
        expected = [greedy(prompt, 15, stop) for prompt in prompts]
        assert generate(MODEL, prompts, 15, stop_tokens=stop) == expected
        assert len({len(text) for text in expected}) > 1


def test_by_beams_the_search_finds_the_best_of_all_texts():
    best = max(
        itertools.product(range(7), repeat=3),
        key=lambda new: sum(row[t] for row, t in zip(log_probabilities([1, 2, *new])[1:], new, strict=True)),
    )
    [found] = generate_details(MODEL, [[1, 2]], 3, num_beams=49)
    assert found.new_tokens == list(best)
    expected = log_probabilities(found.tokens)[1:].gather(1, torch.tensor(found.new_tokens)[:, None])[:, 0]
    assert found.log_probabilities == pytest.approx(expected.tolist(), abs=1e-5)


def test_sampling_and_processors():
    [step] = steps(MODEL, [[1, 2]], 1, do_sample=True, temperature=2.0, top_k=3, seed=1)
    kept = MODEL.table[1, 2].float() / 2
    assert step.logits.isfinite().sum() == 3 and torch.allclose(step.logits.max(), kept.max())
    assert generate(MODEL, [[1]], 9, do_sample=True, seed=4) == generate(MODEL, [[1]], 9, do_sample=True, seed=4)


@pytest.mark.parametrize("window, stride, batch_size", [(30, None, None), (8, 4, 1), (8, 4, 5), (5, 5, 2)])
def test_it_is_scored(window, stride, batch_size):
    text = [(k * k + k // 3) % 7 for k in range(60)]
    scores = score(MODEL, text, window, stride, batch_size)
    for w in scores.windows:
        rows = log_probabilities(text[w.begin : w.end])
        for place in range(w.first_target, w.end):
            assert scores.nll[place] == pytest.approx(-rows[place - w.begin - 1, text[place]].item(), abs=1e-12)
    assert scores.perplexity == pytest.approx(math.exp(scores.total / scores.n_scored))
    with pytest.raises(ValueError, match="window must be given: this model has no context length"):
        score(Trigrams(max_tokens=None), text)


def test_bad_prompts_are_refused_in_its_own_terms():
    with pytest.raises(ValueError, match=r"token id 7 of prompt 1, position 1, is outside 0..6 \(vocab_size=7\)"):
        generate(MODEL, [[1, 2], [3, 7]], 3)
    with pytest.raises(ValueError, match="prompt 0 has 31 tokens"):
        generate(MODEL, [[1] * 31], 3)
    with pytest.raises(ValueError, match=r"stop_tokens must be ids in 0..6"):
        generate(MODEL, [[1]], 3, stop_tokens=[7])


# --- Past ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_a_model_without_a_cache(seed):
    """Reading in parts, rows that leave or are doubled, forgetting: the same hidden states with a cache and without."""
    ours, _ = pair(seed, n_positions=40)
    generator = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(ours.vocab_size, (n,), generator=generator).tolist() for n in (5, 2, 7)]
    pasts, hidden = [], []
    for use_cache in (True, False):
        texts, unread, past = ours.start(prompts, 9, use_cache)
        assert texts == prompts and past.length == 0 and (past.cache is None) == (not use_cache)
        states = [ours.read(unread, past)[:, -1]]
        more = torch.tensor([[1, 2], [3, 4], [5, 6]])
        states.append(ours.read(more, past))
        past.select([2, 0, 0])
        states.append(ours.read(more, past))
        past.truncate(past.length - 1)
        states.append(ours.read(more[:, :1], past))
        assert past.length == 7 + 2 + 1 + 1
        pasts.append(past)
        hidden.append(states)
    for mine, its in zip(*hidden, strict=True):
        assert (mine - its).abs().max() < 1e-12 * max(1, its.abs().max())
    assert torch.equal(pasts[0].real, pasts[1].real) and pasts[1].tokens.shape == (3, 11)


def test_only_a_batch_with_pads_remembers_which_tokens_are_real():
    ours, _ = pair(1, n_positions=20)
    assert ours.start([[1, 2], [3, 4]], 5).past.real is None
    start = ours.start([[1, 2], [3]], 5)
    assert start.unread.tolist() == [[1, 2], [0, 3]]
    assert start.past.real.tolist() == [[1] * 6, [0] + [1] * 5] and start.past.cache.capacity == 6
    assert ours.start([[1] * 18, [3]], 5).past.cache.capacity == 17 + 5  # the short row may write all five


def test_select_keeps_the_rows_of_everything():
    k, v = torch.arange(3.0).view(3, 1, 1, 1), 10 + torch.arange(3.0).view(3, 1, 1, 1)
    source = Source([(k, v), (v, k)], torch.tensor([1, 0, 1]).bool().view(3, 1, 1, 1))
    past = Past(KVCache(1, 3, 1, 2, 1), torch.eye(3, dtype=torch.int64), source)
    past.cache.layers[0].append(k, v)
    past.cache.advance(1)
    past.select([2, 0])
    assert past.cache.keys[0, :, 0, 0, 0].tolist() == [2, 0] and past.real.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert [pair[0].flatten().tolist() for pair in past.source.keys_values] == [[2, 0], [12, 10]]
    assert [pair[1].flatten().tolist() for pair in past.source.keys_values] == [[12, 10], [2, 0]]
    past.select([0, 1, 1])
    assert past.source.mask.flatten().tolist() == [True, True, True]
    Past(source=source).select([2])
    assert source.mask.flatten().tolist() == [True]
    assert past.length == 1 and list(map(len, past.parts_to_read(torch.zeros(2, 600)))) == [2, 2]


def test_a_read_that_fails_leaves_the_past_as_it_was():
    ours, _ = pair(2, n_positions=20)
    for use_cache in (True, False):
        _, unread, past = ours.start([[1, 2, 3]], 5, use_cache)
        ours.read(unread, past)
        with pytest.raises(ValueError, match="token id 9999"):
            ours.read(torch.tensor([[9999]]), past)
        assert past.length == 3

        def fail(*_):
            raise RuntimeError("half-way")

        hook = (
            ours.final_norm.register_forward_hook(fail)
            if not use_cache
            else ours.blocks[-1].register_forward_hook(fail)
        )
        with pytest.raises(RuntimeError, match="half-way"):
            ours.read(torch.tensor([[4]]), past)
        hook.remove()
        assert past.length == 3


def test_eval_mode_is_for_anything_that_is_asked():
    ours, _ = pair(1)
    ours.train()
    with pytest.raises(KeyError), eval_mode(ours):
        assert not ours.training
        raise KeyError
    assert ours.training
    with eval_mode(MODEL):
        pass
