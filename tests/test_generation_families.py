"""Llama and T5 use GPT-2's loop and write what transformers.generate writes, token for token. Bert cannot write."""

import random

import pytest
import torch
from generation_oracle import by_hugging_face, each_case, random_prompts, random_settings
from oracle import pair

from minigpt import generate, stream
from minigpt.generation import generate_details, steps
from minigpt.generation.drafts import speculate
from minigpt.perplexity import score

FAMILIES = ["llama", "t5"]
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
BEAMS = [
    dict(num_beams=n, length_penalty=penalty, early_stopping=early)
    for n in (2, 4)
    for penalty in (0.0, 1.0, 2.0)
    for early in (True, False, "never")
]


def pytest_generate_tests(metafunc):
    each_case(metafunc, "case", 100)


def sharp_pair(family, seed, **fixed):
    """Models whose likeliest tokens are very likely, so that texts differ and end at different places."""
    ours, theirs = pair(seed, attention=["explicit", "sdpa"][seed % 2], family=family, **fixed)
    with torch.no_grad():
        (ours.decoder if family == "t5" else ours).final_norm.weight.mul_(2.5)
        (theirs.decoder.final_layer_norm if family == "t5" else theirs.model.norm).weight.mul_(2.5)
    return ours, theirs


@EACH_FAMILY
def test_greedy_texts_of_unequal_prompts(case, family):
    ours, theirs = sharp_pair(family, case)
    prompts = random_prompts(ours.config, case, 4)
    stop = [] if case % 4 < 2 else random.Random(case).sample(range(1, ours.config.vocab_size), 5)
    expected = by_hugging_face(theirs, prompts, 12, stop)
    assert generate(ours, prompts, 12, stop_tokens=stop) == expected
    assert generate(ours, prompts, 12, stop_tokens=stop, use_cache=False) == expected
    for prompt, text in zip(prompts[:2], expected, strict=False):
        written = list(stream(ours, prompt, 12, stop_tokens=stop))
        assert ours.first_texts([prompt])[0] + written == text
        assert list(speculate(ours, prompt, 12, stop_tokens=stop)) == written


@EACH_FAMILY
def test_any_settings(case, family):
    ours, theirs = sharp_pair(family, case)
    [prompt] = random_prompts(ours.config, case, 1)
    settings = random_settings(case)
    torch.manual_seed(case)
    expected = by_hugging_face(theirs, [prompt], 10, **settings)
    if settings.get("do_sample"):
        settings["seed"] = case
    assert generate(ours, [prompt], 10, stop_tokens=[], **settings, use_cache=case % 4 < 2) == expected


@EACH_FAMILY
def test_beams(case, family):
    ours, theirs = sharp_pair(family, case)
    prompts, settings = random_prompts(ours.config, case, 2), BEAMS[case % len(BEAMS)]
    greedy = generate(ours, prompts[:1], 6, stop_tokens=[])[0]
    stop = [[], [greedy[-3]], [greedy[-3], greedy[-1]]][case % 3]
    expected = by_hugging_face(theirs, prompts, 10, stop, **settings)
    assert generate(ours, prompts, 10, stop_tokens=stop, use_cache=case % 2 == 0, **settings) == expected


@EACH_FAMILY
def test_a_prompts_text_does_not_depend_on_its_neighbours_and_every_token_of_it_counts(family):
    ours, _ = sharp_pair(family, 5)
    prompts = random_prompts(ours.config, 5, 5)
    together = generate_details(ours, prompts, 9, stop_tokens=[])
    for prompt, answer in zip(prompts, together, strict=True):
        [alone] = generate_details(ours, [prompt], 9, stop_tokens=[])
        assert alone.tokens == answer.tokens and alone.stop_reason == answer.stop_reason == "length"
        assert alone.log_probabilities == pytest.approx(answer.log_probabilities, abs=1e-12)
    first = next(iter(steps(ours, prompts[:1], 1, stop_tokens=[]))).logits
    other = [(prompts[0][0] + 1) % ours.vocab_size, *prompts[0][1:]]
    assert not torch.equal(first, next(iter(steps(ours, [other], 1, stop_tokens=[]))).logits)


def test_a_t5_text_begins_with_its_start_token():
    ours, _ = pair(1, family="t5", decoder_start_token_id=3)
    assert generate(ours, [[5, 6], [7]], 0) == [[3], [3]]
    [answer] = generate_details(ours, [[5, 6]], 4, stop_tokens=[])
    assert answer.tokens[0] == 3 and answer.new_tokens == answer.tokens[1:] and len(answer.new_tokens) == 4
    [answer] = generate_details(ours, [[5, 6]], 4, stop_tokens=[], num_beams=2)
    assert answer.tokens[0] == 3 and len(answer.new_tokens) == 4


def test_t5_reads_its_source_once():
    ours, _ = pair(1, family="t5")
    reads = []
    ours.encoder.blocks[0].register_forward_hook(lambda *_: reads.append(1))
    for settings in ({}, {"use_cache": False}, {"num_beams": 3}, {"do_sample": True, "seed": 1}):
        reads.clear()
        generate(ours, [[5, 6, 7]], 6, stop_tokens=[], **settings)
        assert len(reads) == 1, settings


def test_several_ids_end_a_llama_text():
    ours, _ = pair(3, family="llama")
    prompt = random_prompts(ours.config, 3, 1)[0]
    free = list(stream(ours, prompt, 10, stop_tokens=[]))
    ours, _ = pair(3, family="llama", eos_token_id=(free[4], free[2]))
    assert ours.end_tokens == {free[4], free[2]}
    assert list(stream(ours, prompt, 10)) == free[: 1 + min(free.index(free[2]), free.index(free[4]))]


def test_a_llama_text_ends_with_its_context_and_a_longer_prompt_is_refused():
    ours, _ = pair(3, family="llama", max_position_embeddings=12)
    [answer] = generate_details(ours, [[1, 2, 3]], 50, stop_tokens=[])
    assert len(answer.tokens) == 12 and answer.stop_reason == "context"
    with pytest.raises(ValueError, match="prompt 1 has 13 tokens, the context holds 12"):
        generate(ours, [[1], [1] * 13], 5)


@torch.no_grad()
def test_perplexity_of_llama_is_that_of_its_logits():
    for seed in range(4):
        ours, theirs = pair(seed, family="llama", max_position_embeddings=24)
        tokens = torch.randint(ours.vocab_size, (60,), generator=torch.Generator().manual_seed(seed))
        scores = score(ours, tokens, window=20, stride=7)
        for window in scores.windows:
            logits = theirs(tokens[None, window.begin : window.end]).logits[0, :-1]
            losses = torch.nn.functional.cross_entropy(logits, tokens[window.begin + 1 : window.end], reduction="none")
            expected = losses[window.first_target - window.begin - 1 :]
            assert torch.from_numpy(scores.nll[window.first_target : window.end]).allclose(expected, atol=1e-13)
        with pytest.raises(ValueError, match="window must be at most the context length, 24 tokens, got 25"):
            score(ours, tokens, window=25)


def test_what_a_family_cannot_do_is_said_by_name():
    bert, _ = pair(0, family="bert")
    t5, _ = pair(0, family="t5")
    for task in (
        lambda: generate(bert, [[1, 2]], 3),
        lambda: list(stream(bert, [1, 2], 3)),
        lambda: list(speculate(bert, [1, 2], 3)),
        lambda: generate(bert, [[1, 2]], 3, num_beams=2),
    ):
        with pytest.raises(ValueError, match="Bert cannot continue a text: it looks at both sides.*fill_mask"):
            task()
    with pytest.raises(ValueError, match="Bert cannot score a text token by token: it looks at both sides"):
        score(bert, [1, 2, 3])
    with pytest.raises(ValueError, match="T5 predicts a text from another one.*sequence_loss"):
        score(t5, [1, 2, 3], window=4)
