"""Prompt lookup writes what greedy decoding writes, in fewer passes where a text repeats."""

import random
from itertools import product

import pytest
import torch
from generation_oracle import random_prompts
from oracle import pair

import minigpt.generation.drafts
from minigpt import generate, stream
from minigpt.generation.drafts import find_draft, speculate


def passes_of(model) -> list[int]:
    """How many tokens each pass reads; filled as the passes come."""
    read = []
    model.blocks[0].register_forward_hook(lambda block, inputs, output: read.append(output.size(1)))
    return read


def repetitive_prompt(config, seed):
    rng = random.Random(seed)
    phrase = [rng.randrange(config.vocab_size) for _ in range(rng.randint(1, 4))]
    return (phrase * 5)[: rng.randint(1, 12)]


# --- equal to greedy decoding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_ngram, draft_length", list(product([1, 2, 3, 50], [1, 2, 8, 100])))
def test_equals_greedy_decoding(max_ngram, draft_length, full):
    """Random models soon repeat themselves: drafts are right, half right and wrong; every second run meets the end of
    the context or a stop token."""
    for seed in range(40 if full else 8):
        ours, _ = pair(seed, n_positions=40, attention=["explicit", "sdpa"][seed % 2])
        prompt = repetitive_prompt(ours.config, seed) if seed % 3 else random_prompts(ours.config, seed, 1)[0]
        n = 100 if seed % 2 else 20
        expected = list(stream(ours, prompt, n, stop_tokens=[]))
        assert (
            list(speculate(ours, prompt, n, max_ngram=max_ngram, draft_length=draft_length, stop_tokens=[])) == expected
        )
        stop = expected[seed % len(expected)]
        stopped = list(stream(ours, prompt, n, stop_tokens=[stop]))
        options = dict(max_ngram=max_ngram, draft_length=draft_length, stop_tokens=[stop])
        assert list(speculate(ours, prompt, n, **options)) == stopped and stopped[-1] == stop


def test_any_draft_will_do(monkeypatch):
    """Drafts that are right up to a random place, and wrong from there: accepted tokens are the right ones, no more."""
    for seed in range(30):
        ours, _ = pair(seed, n_positions=40)
        prompt = random_prompts(ours.config, seed, 1)[0]
        expected = list(stream(ours, prompt, 25, stop_tokens=[]))
        rng = random.Random(seed)

        def draft(text, max_ngram, draft_length, truth=prompt + expected, rng=rng, vocab_size=ours.config.vocab_size):
            n_right = rng.randint(0, 6)
            right = truth[len(text) : len(text) + n_right]
            return (right + [rng.randrange(vocab_size) for _ in range(4)])[:draft_length]

        monkeypatch.setattr(minigpt.generation.drafts, "find_draft", draft)
        read = passes_of(ours)
        assert list(speculate(ours, prompt, 25, stop_tokens=[])) == expected
        assert len(read) < len(expected)


def test_the_configs_end_of_text_stops_by_default():
    ours, _ = pair(6)
    [free] = generate(ours, [[1, 2]], 10, stop_tokens=[])
    object.__setattr__(ours.config, "eos_token_id", free[5])
    assert list(speculate(ours, [1, 2], 10)) == list(stream(ours, [1, 2], 10)) == free[2 : free.index(free[5], 2) + 1]


def test_nothing_to_write():
    ours, _ = pair(3)
    read = passes_of(ours)
    assert list(speculate(ours, [1, 2], 0)) == list(speculate(ours, [1] * ours.config.n_positions, 5)) == []
    assert not read


# --- fewer passes ----------------------------------------------------------------------------------------------------


def counting_model():
    """A model that writes 0 1 2 3 4 5 0 1 …: blocks add nothing, a token is one column, the head predicts the next."""
    ours, _ = pair(3, vocab_size=6, n_embd=6, n_head=1, n_positions=60, tie_word_embeddings=False, eos_token_id=None)
    with torch.no_grad():
        for block in ours.blocks:
            for layer in (block.attention.output, block.mlp.down):
                layer.weight.zero_()
                layer.bias.zero_()
        ours.position_embedding.weight.zero_()
        ours.token_embedding.weight.copy_(torch.eye(6))
        ours.lm_head.weight.copy_(torch.eye(6).roll(1, dims=0))
        ours.final_norm.weight.fill_(1)
        ours.final_norm.bias.zero_()
    return ours


def test_a_text_that_repeats_takes_fewer_passes_than_tokens():
    ours = counting_model()
    read = passes_of(ours)
    prompt = [0, 1, 2, 3, 4, 5, 0, 1]
    expected = [(2 + place) % 6 for place in range(31)]
    assert list(speculate(ours, prompt, 31, draft_length=4)) == expected
    assert read == [
        8,
        5,
        5,
        5,
        5,
        5,
        5,
    ]  # the prompt for one token, then the newest and four guesses, all of them right
    read.clear()
    assert list(speculate(ours, [3], 31)) == list(stream(ours, [3], 31)) and 31 < len(read) < 31 + 15


def test_the_trained_model_repeats_itself_in_fewer_passes(tiny, tiny_tokenizer):
    prompt = tiny_tokenizer.encode("The list of the list")
    read = []
    hook = tiny.blocks[0].register_forward_hook(lambda *_: read.append(1))
    try:
        expected = list(stream(tiny, prompt, 60, stop_tokens=[]))
        n_plain = len(read)
        assert list(speculate(tiny, prompt, 60, stop_tokens=[])) == expected
    finally:
        hook.remove()
    assert n_plain == 60 and len(read) - n_plain < 30


def test_never_more_passes_than_tokens_and_no_pass_beyond_the_end():
    for seed in range(10):
        ours, _ = pair(seed, n_positions=30)
        prompt = repetitive_prompt(ours.config, seed)
        read = passes_of(ours)
        new = list(speculate(ours, prompt, 50, stop_tokens=[]))
        assert len(prompt) + len(new) == 30 and len(read) <= len(new)


def test_tokens_come_as_soon_as_they_are_known():
    ours, _ = pair(3)
    read = passes_of(ours)
    tokens = speculate(ours, [1, 2], 9, stop_tokens=[])
    assert not read
    next(tokens)
    assert read == [2]


def test_a_model_in_training_is_left_in_training():
    ours, _ = pair(2, resid_pdrop=0.5)
    expected = list(stream(ours, [1, 2], 9, stop_tokens=[]))
    ours.train()
    assert list(speculate(ours, [1, 2], 9, stop_tokens=[])) == expected and ours.training


# --- drafts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, max_ngram, draft_length, draft",
    [
        ([1, 2, 3, 1, 2], 2, 8, [3, 1, 2, 3, 1, 2, 3, 1]),  # the draft copies itself
        ([1, 2, 3, 1, 2], 2, 1, [3]),
        ([1, 2, 3, 4, 2, 5, 1, 2], 2, 2, [3, 4]),  # the longer ending counts ...
        ([1, 2, 3, 4, 2, 5, 1, 2], 1, 2, [5, 1]),  # ... and of its places the latest
        ([1, 2, 3], 3, 8, []),
        ([1], 3, 8, []),
        ([1, 1], 3, 3, [1, 1, 1]),
        ([4, 1, 1, 1], 2, 3, [1, 1, 1]),  # they may overlap
        ([1, 2, 1], 1, 0, []),
    ],
)
def test_a_draft_is_what_followed_before(text, max_ngram, draft_length, draft):
    assert find_draft(text, max_ngram, draft_length) == draft


# --- what is refused -------------------------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    *[({name: bad}, f"{name}.*{bad}") for name in ("max_ngram", "draft_length") for bad in (0, -1, 1.5, None, "3")],
    *[({"max_new_tokens": bad}, f"max_new_tokens.*{bad}") for bad in (-1, 1.5, None)],
    *[({"stop_tokens": bad}, "stop_tokens.*ids in 0..") for bad in ([999], [-1])],
    *[({"prompt": bad}, "lists of token ids") for bad in (3, "text", [[1]], [1.5], None)],
    ({"prompt": []}, "prompt 0 is empty"),
    ({"prompt": [1, 999]}, "token id 999"),
    ({"prompt": [0] * 60}, "60 tokens, the context holds"),
]


def test_bad_arguments_are_refused_before_any_work():
    ours, _ = pair(1)
    read = passes_of(ours)
    for arguments, words in BAD_ARGUMENTS:
        arguments = {"prompt": [1], "max_new_tokens": 3} | arguments
        with pytest.raises(ValueError, match=words):
            speculate(ours, **arguments)
    assert not read


def test_broken_weights_are_noticed():
    ours, _ = pair(1)
    with torch.no_grad():
        ours.final_norm.bias[0] = torch.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        list(speculate(ours, [1], 3))
