import random

import pytest
import torch
from oracle import pair

from minigpt import generate, stream
from minigpt.generation import keep_top_k, keep_top_p, sampling_probabilities


def random_prompts(config, seed, n):
    rng = random.Random(seed)
    return [[rng.randrange(config.vocab_size) for _ in range(rng.randint(1, 10))] for _ in range(n)]


def by_hugging_face(theirs, prompts, max_new_tokens, eos=None, **settings):
    """transformers.generate on a left-padded batch; answers without their pads."""
    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = dict(do_sample=False, top_k=0) | settings  # transformers' default is top_k=50
    if not settings["do_sample"]:
        settings.pop("top_k")
    out = theirs.generate(
        tokens, attention_mask=mask, max_new_tokens=max_new_tokens, pad_token_id=0, eos_token_id=eos, **settings
    )
    return [row[longest - len(prompt) :] for row, prompt in zip(out.tolist(), prompts, strict=True)]


@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
@pytest.mark.parametrize("seed", range(8))
def test_greedy_equals_transformers_for_prompts_of_unequal_length(seed, attention):
    ours, theirs = pair(seed, attention=attention)
    prompts = random_prompts(ours.config, seed, 4)
    expected = by_hugging_face(theirs, prompts, 12)
    assert generate(ours, prompts, 12, stop_tokens=[]) == expected
    assert generate(ours, prompts, 12, stop_tokens=[], use_cache=False) == expected


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.6}, {"top_k": 5}, {"top_p": 0.7}, {"temperature": 1.4, "top_k": 20, "top_p": 0.9}],
    ids=str,
)
@pytest.mark.parametrize("seed", range(4))
def test_sampling_draws_as_transformers_does(seed, settings):
    ours, theirs = pair(seed)
    [prompt] = random_prompts(ours.config, seed, 1)
    torch.manual_seed(seed)
    expected = by_hugging_face(theirs, [prompt], 12, do_sample=True, **settings)
    assert generate(ours, [prompt], 12, do_sample=True, seed=seed, stop_tokens=[], **settings) == expected


@pytest.mark.parametrize("do_sample", [False, True])
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_row_in_a_batch_is_its_solo_run(do_sample, use_cache):
    ours, _ = pair(4, n_positions=48)
    prompts = random_prompts(ours.config, 9, 5)
    settings = dict(do_sample=do_sample, use_cache=use_cache)
    stops = [1, 2, 3, 4, 5, 6]  # rows stop at different times and leave the batch
    together = generate(ours, prompts, 20, stop_tokens=stops, **settings, seed=100 if do_sample else None)
    for row, prompt in enumerate(prompts):
        seed = 100 + row if do_sample else None
        assert [together[row]] == generate(ours, [prompt], 20, stop_tokens=stops, **settings, seed=seed)
    assert len({len(answer) - len(prompt) for answer, prompt in zip(together, prompts, strict=True)}) > 1


def test_stop_tokens_end_a_row_and_are_kept():
    ours, theirs = pair(6)
    prompts = random_prompts(ours.config, 6, 3)
    free = generate(ours, prompts, 10, stop_tokens=[])
    stop = free[0][len(prompts[0]) + 4]
    stopped = generate(ours, prompts, 10, stop_tokens=[stop])
    for row, prompt in enumerate(prompts):
        new = free[row][len(prompt) :]
        cut = new.index(stop) + 1 if stop in new else len(new)
        assert stopped[row] == free[row][: len(prompt) + cut]
    trimmed = [
        answer[: len(s)] for answer, s in zip(by_hugging_face(theirs, prompts, 10, eos=stop), stopped, strict=True)
    ]
    assert stopped == trimmed


def test_the_configs_end_of_text_stops_by_default():
    ours, _ = pair(6)
    prompt = random_prompts(ours.config, 6, 1)
    free = generate(ours, prompt, 10, stop_tokens=[])[0]
    object.__setattr__(ours.config, "eos_token_id", free[len(prompt[0]) + 2])
    assert len(generate(ours, prompt, 10)[0]) <= len(prompt[0]) + 3


@pytest.mark.parametrize("use_cache", [True, False])
def test_the_context_limit_ends_a_row_and_loses_nothing(use_cache):
    ours, _ = pair(2, n_positions=24)
    prompts = [[1, 2, 3], list(range(20)), [0] * 24]
    answers = generate(ours, prompts, 100, stop_tokens=[], use_cache=use_cache)
    assert [len(answer) for answer in answers] == [24, 24, 24]
    assert [answer[: len(p)] for answer, p in zip(answers, prompts, strict=True)] == prompts
    assert answers[0] == generate(ours, prompts[:1], 21, stop_tokens=[])[0]


def test_a_model_in_training_decodes_without_dropout_and_is_left_in_training():
    ours, _ = pair(2, resid_pdrop=0.5)
    expected = generate(ours, [[1, 2]], 10, stop_tokens=[])
    ours.train()
    assert generate(ours, [[1, 2]], 10, stop_tokens=[]) == expected and ours.training


def test_no_new_tokens_returns_the_prompts():
    ours, _ = pair(2)
    assert generate(ours, [[1], [2, 3]], 0) == [[1], [2, 3]]


def test_stream_yields_what_generate_returns_as_it_goes():
    ours, _ = pair(3)
    answer = generate(ours, [[1, 2]], 9, do_sample=True, top_k=9, seed=5)[0]
    assert [1, 2, *stream(ours, [1, 2], 9, do_sample=True, top_k=9, seed=5)] == answer
    calls = []
    ours.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    steps = stream(ours, [1, 2], 9, stop_tokens=[])
    next(steps)
    assert len(calls) == 1


def test_each_step_reads_one_token_with_the_cache():
    ours, _ = pair(3)
    read = []
    ours.blocks[0].register_forward_hook(lambda block, inputs, output: read.append(output.size(1)))
    generate(ours, [[1, 2, 3], [4]], 4, stop_tokens=[])
    assert read == [3, 1, 1, 1]


def test_prompts_are_left_as_they_were():
    ours, _ = pair(3)
    prompts = [[1, 2], [3]]
    generate(ours, prompts, 3)
    assert prompts == [[1, 2], [3]]


def test_no_seed_follows_torchs():
    ours, _ = pair(3)
    torch.manual_seed(5)
    first = generate(ours, [[1]], 20, do_sample=True)
    other = generate(ours, [[1]], 20, do_sample=True)
    torch.manual_seed(5)
    assert generate(ours, [[1]], 20, do_sample=True) == first != other


def test_top_k_keeps_ties():
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]])
    assert keep_top_k(logits, 2).isfinite().tolist() == [[False, True, True, True, False]]
    assert torch.equal(keep_top_k(logits, 99), logits)


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    for p, kept in [(0.4, [1]), (0.51, [1, 3]), (0.74, [1, 3]), (0.76, [1, 2, 3]), (1.0, [0, 1, 2, 3]), (1e-9, [1])]:
        assert keep_top_p(logits, p)[0].isfinite().nonzero().flatten().tolist() == kept, p


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "settings", [{"top_k": 7}, {"top_p": 0.8}, {"temperature": 0.5, "top_k": 30, "top_p": 0.95}], ids=str
)
def test_processors_equal_transformers(seed, settings):
    import transformers.generation.logits_process as theirs

    logits = 4 * torch.randn(3, 50, generator=torch.Generator().manual_seed(seed))
    expected = theirs.TemperatureLogitsWarper(settings.get("temperature", 1.0))(None, logits)
    if "top_k" in settings:
        expected = theirs.TopKLogitsWarper(settings["top_k"])(None, expected)
    if "top_p" in settings:
        expected = theirs.TopPLogitsWarper(settings["top_p"])(None, expected)
    assert torch.equal(sampling_probabilities(logits, **settings), expected.softmax(-1))


@pytest.mark.parametrize(
    "prompts, settings, words",
    [
        ([[1]], {"temperature": 0.5}, "do_sample=True"),
        ([[1]], {"seed": 1}, "do_sample=True"),
        ([[1]], {"do_sample": True, "temperature": 0.0}, "temperature.*0.0"),
        ([[1]], {"do_sample": True, "temperature": -1.0}, "temperature.*-1.0"),
        ([[1]], {"do_sample": True, "temperature": float("nan")}, "temperature"),
        ([[1]], {"do_sample": True, "top_k": 0}, "top_k.*0"),
        ([[1]], {"do_sample": True, "top_p": 0.0}, "top_p.*0.0"),
        ([[1]], {"do_sample": True, "top_p": 1.5}, "top_p.*1.5"),
        ([[1]], {"max_new_tokens": -1}, "max_new_tokens.*-1"),
        ([], {}, "prompts is empty"),
        ([[1], []], {}, "prompt 1 is empty"),
        ([1, 2], {}, "lists of token ids"),
        (["text"], {}, "lists of token ids"),
        ([[1], [2, 999]], {}, "token id 999 of prompt 1, position 1"),
        ([[0] * 60], {}, "prompt 0 has 60 tokens.*n_positions"),
    ],
)
def test_bad_settings_are_refused_before_any_work(prompts, settings, words):
    ours, _ = pair(1)
    ours.blocks[0].register_forward_hook(lambda *_: pytest.fail("work was done"))
    settings = {"max_new_tokens": 3} | settings
    with pytest.raises(ValueError, match=words):
        generate(ours, prompts, **settings)
    if len(prompts) == 1:
        with pytest.raises(ValueError, match=words):
            stream(ours, prompts[0], **settings)


def test_broken_weights_are_noticed():
    ours, _ = pair(1)
    with torch.no_grad():
        ours.final_norm.bias[0] = torch.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        generate(ours, [[1]], 3)
