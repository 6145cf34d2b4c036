"""num_return_sequences: several answers to each prompt; those of a search equal transformers', draws are what the seeds
say."""

import random
from collections import Counter
from itertools import product

import pytest
import torch
from generation_oracle import by_hugging_face, random_prompts
from oracle import pair

from minigpt import generate, stream
from minigpt.generation import generate_details, steps
from minigpt.generation.processors import sampling_probabilities

FAMILIES = ["gpt2", "llama", "t5"]
SETTINGS = list(product([2, 4, 5], [0.0, 1.0, -1.0], [True, False, "never"]))
random.Random(1).shuffle(SETTINGS)


def sharp(ours, theirs):
    """Likeliest tokens become very likely, so that texts of different lengths compete."""
    family = type(ours).__name__.lower()
    norms = {"gpt2": "transformer.ln_f", "llama": "model.norm", "t5": "decoder.final_layer_norm"}
    with torch.no_grad():
        (ours.decoder if family == "t5" else ours).final_norm.weight.mul_(2.5)
        theirs.get_submodule(norms[family]).weight.mul_(2.5)


# --- searches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family, case", [*product(["gpt2"], range(30)), *product(["llama", "t5"], range(12))])
def test_the_n_best_of_a_search_equal_transformers(family, case):
    num_beams, length_penalty, early_stopping = SETTINGS[case % len(SETTINGS)]
    settings = dict(num_beams=num_beams, length_penalty=length_penalty, early_stopping=early_stopping)
    ours, theirs = pair(case, family=family)
    sharp(ours, theirs)
    prompts = random_prompts(ours.config, case, 1 + case % 3)
    greedy = generate(ours, prompts[:1], 6, stop_tokens=[])[0]
    stop = [[], sorted({greedy[-4], greedy[-1]} - {0})][case % 2]  # 0 is their pad
    n = 2 + case % (num_beams - 1)
    settings |= dict(num_return_sequences=n, min_new_tokens=case % 3)
    expected = by_hugging_face(theirs, prompts, 10, stop, **settings)
    found = generate(ours, prompts, 10, stop_tokens=stop, use_cache=case % 4 > 0, **settings)
    assert found == expected and len(found) == n * len(prompts)


def test_the_best_comes_first_and_details_say_why_each_ended():
    ours, theirs = pair(4)
    sharp(ours, theirs)
    prompts = random_prompts(ours.config, 4, 3)
    stop = generate(ours, prompts[:1], 6, stop_tokens=[])[0][-3:]
    settings = dict(num_beams=5, stop_tokens=stop, early_stopping="never", length_penalty=0.0)
    five = generate_details(ours, prompts, 8, num_return_sequences=5, **settings)
    assert generate_details(ours, prompts, 8, num_return_sequences=2, **settings) == [
        five[place] for place in (0, 1, 5, 6, 10, 11)
    ]
    assert generate_details(ours, prompts, 8, **settings) == five[::5]
    assert len({answer.stop_reason for answer in five}) == 2 and len({tuple(answer.tokens) for answer in five}) == 15
    for first in (0, 5, 10):
        sums = [sum(answer.log_probabilities) for answer in five[first : first + 5]]
        assert sums == sorted(sums, reverse=True)


def test_a_search_that_finds_fewer_texts_says_so():
    """With three tokens there are three texts of one token, and two without a forbidden one."""
    ours, _ = pair(2, vocab_size=3, bos_token_id=0, eos_token_id=None)
    settings = dict(num_beams=5, stop_tokens=[])
    assert sorted(generate(ours, [[1]], 1, num_return_sequences=3, **settings)) == [[1, 0], [1, 1], [1, 2]]
    for n, more in ((4, {}), (3, {"no_repeat_ngram_size": 1}), (3, {"suppress_tokens": [0]})):
        with pytest.raises(ValueError, match=f"num_return_sequences={n}, but the search found only {n - 1} texts"):
            generate(ours, [[1]], 1, num_return_sequences=n, **settings, **more)


# --- draws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_n_draws_are_those_of_n_equal_prompts_and_of_the_next_n_seeds(family):
    ours, _ = pair(5, family=family)
    prompts = [[3, 4], [5], [3, 4]]
    draw = dict(do_sample=True, temperature=1.3, top_k=20, stop_tokens=range(1, ours.vocab_size, 7))
    answers = generate(ours, prompts, 9, num_return_sequences=3, seed=7, **draw)
    assert answers == generate(ours, [prompt for prompt in prompts for _ in range(3)], 9, seed=7, **draw)
    seeds = [7, 8, 9, 7, 8, 9, 10, 11, 12]  # the third prompt equals the first, which has used 7, 8 and 9
    alone = [generate(ours, [prompts[row // 3]], 9, seed=seed, **draw)[0] for row, seed in enumerate(seeds)]
    assert answers == alone and len(set(map(tuple, answers))) > 6
    assert generate(ours, prompts, 9, num_return_sequences=3, seed=seeds, **draw) == answers
    assert generate(ours, prompts[1:2], 9, num_return_sequences=3, seed=7, **draw) == answers[3:6]  # no neighbours
    torch.manual_seed(1)
    first = generate(ours, prompts, 9, num_return_sequences=3, **draw)
    assert generate(ours, prompts, 9, num_return_sequences=3, **draw) != first
    torch.manual_seed(1)
    assert generate(ours, prompts, 9, num_return_sequences=3, **draw) == first


def test_the_draws_of_one_prompt_have_the_models_distribution():
    ours, _ = pair(12, vocab_size=8, eos_token_id=None, bos_token_id=None)
    n = 4000
    drawn = Counter(
        answer[-1] for answer in generate(ours, [[1, 5]], 1, do_sample=True, seed=0, num_return_sequences=n)
    )
    with torch.no_grad():
        p = sampling_probabilities(ours(torch.tensor([[1, 5]]))[:, -1])[0].double()
    counts = torch.tensor([drawn[token] for token in range(8)])
    assert ((counts - n * p) ** 2 / (n * p)).sum() < 26  # chi-square with 7 degrees of freedom: 1 in 2 000 is above


def test_steps_number_the_answers():
    ours, _ = pair(4)
    settings = dict(do_sample=True, seed=2, num_return_sequences=2, stop_tokens=range(0, ours.vocab_size, 5))
    answers = generate_details(ours, [[1, 2], [3]], 9, **settings)
    written = [[1, 2], [1, 2], [3], [3]]
    for step in steps(ours, [[1, 2], [3]], 9, **settings):
        for row, token in zip(step.rows, step.tokens, strict=True):
            written[row].append(token)
    assert written == [answer.tokens for answer in answers] and len(set(map(len, written))) > 1


@pytest.mark.parametrize("settings", [{"do_sample": True}, {"num_beams": 3}], ids=str)
def test_what_needs_no_pass_is_given_n_times(settings):
    ours, _ = pair(2)
    ours.blocks[0].register_forward_hook(lambda *_: pytest.fail("nothing had to be computed"))
    full = [0] * ours.config.n_positions
    assert generate(ours, [[1], full], 0, num_return_sequences=3, **settings) == [[1]] * 3 + [full] * 3
    answers = generate_details(ours, [full], 5, num_return_sequences=2, **settings)
    assert [answer.stop_reason for answer in answers] == ["context"] * 2
    answers[0].tokens.append(1)
    assert answers[1].tokens == full


# --- what is refused -------------------------------------------------------------------------------------------------


def test_what_cannot_have_several_answers_is_refused_by_name():
    ours, _ = pair(1)
    ours.blocks[0].register_forward_hook(lambda *_: pytest.fail("work was done"))
    for bad in (0, -1, 1.5, "3", None, True):
        with pytest.raises(ValueError, match=f"num_return_sequences must be an integer of at least 1, got {bad!r}"):
            generate(ours, [[1]], 3, num_return_sequences=bad)
    with pytest.raises(ValueError, match="num_return_sequences=2 needs .*: greedy decoding has one answer"):
        generate(ours, [[1]], 3, num_return_sequences=2)
    with pytest.raises(
        ValueError, match="num_return_sequences=4 needs do_sample=True or 4 beams: num_beams=3 is fewer"
    ):
        generate(ours, [[1]], 3, num_return_sequences=4, num_beams=3)
    with pytest.raises(ValueError, match="num_return_sequences=2 cannot be streamed"):
        stream(ours, [1], 3, num_return_sequences=2, do_sample=True)
    for seeds in ([1, 2], [1, 2, 3], [1] * 5):
        with pytest.raises(ValueError, match="seed must be .* one for each answer, got"):
            generate(ours, [[1], [2]], 3, num_return_sequences=2, do_sample=True, seed=seeds)
