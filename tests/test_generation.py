"""Greedy decoding and sampling: equal to transformers.generate, the same in any batch, nothing computed twice."""

import random

import pytest
import torch
from generation_oracle import (
    N_BEAMS,
    N_GREEDY,
    N_SETTINGS,
    PROCESSORS,
    by_hugging_face,
    each_case,
    random_prompts,
    random_settings,
)
from oracle import pair

import minigpt.language_model
from minigpt import GPT2, generate, load_tokenizer, stream
from minigpt.generation import generate_details, steps
from minigpt.generation.drafts import speculate
from minigpt.generation.loop import decode, next_logits
from minigpt.generation.processors import sampling_probabilities
from minigpt.generation.settings import row_seeds
from minigpt.generation.stopping import Stopping
from minigpt.kv_cache import LayerCache
from minigpt.language_model import Past

BOTH_WAYS = pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "uncached"])
EACH_SEARCH = pytest.mark.parametrize("settings", [{}, {"do_sample": True, "seed": 7}, {"num_beams": 3}], ids=str)


def pytest_generate_tests(metafunc):
    each_case(metafunc, "greedy_case", N_GREEDY)
    each_case(metafunc, "settings_case", N_SETTINGS)


def new_tokens(answers, prompts):
    return [answer[len(prompt) :] for answer, prompt in zip(answers, prompts, strict=True)]


# --- equal to transformers.generate ----------------------------------------------------------------------------------


def test_greedy_equals_transformers_for_prompts_of_unequal_length(greedy_case):
    ours, theirs = pair(greedy_case, attention=["explicit", "sdpa"][greedy_case % 2])
    prompts = random_prompts(ours.config, greedy_case, 4)
    stop = [] if greedy_case % 4 < 2 else random.Random(greedy_case).sample(range(ours.config.vocab_size), 5)
    expected = by_hugging_face(theirs, prompts, 12, stop)
    assert generate(ours, prompts, 12, stop_tokens=stop) == expected
    assert generate(ours, prompts, 12, stop_tokens=stop, use_cache=False) == expected


def test_any_settings_greedy_or_sampling_equal_transformers(settings_case):
    """One prompt at a time: transformers' processors take the pads of a batch for text."""
    ours, theirs = pair(settings_case, attention=["explicit", "sdpa"][settings_case % 2])
    [prompt] = random_prompts(ours.config, settings_case, 1)
    settings = random_settings(settings_case)
    torch.manual_seed(settings_case)
    expected = by_hugging_face(theirs, [prompt], 10, **settings)
    if settings.get("do_sample"):
        settings["seed"] = settings_case
    assert generate(ours, [prompt], 10, stop_tokens=[], **settings, use_cache=settings_case % 4 < 2) == expected


def test_the_cases_are_more_than_a_thousand_and_every_processor_is_among_them_alone():
    assert N_GREEDY + N_SETTINGS + N_BEAMS >= 1000
    few = [random_settings(case) for case in range(N_SETTINGS // 5)]
    assert all(any(set(settings) - {"do_sample"} == {name} for settings in few) for name in PROCESSORS)
    assert {settings.get("do_sample", False) for settings in few if set(settings) != {"do_sample"}} == {True, False}


def test_it_is_the_settings_that_make_these_texts():
    """The comparison above would say little if the settings changed nothing."""
    changed = 0
    for case in range(60):
        settings = random_settings(case)
        if settings.get("do_sample"):
            settings["seed"] = case
        ours, _ = pair(case)
        prompt = random_prompts(ours.config, case, 1)
        changed += generate(ours, prompt, 10, **settings) != generate(ours, prompt, 10)
    assert changed > 45


# --- the draws have the right distribution ---------------------------------------------------------------------------


def p_value(counts: torch.Tensor, probabilities: torch.Tensor) -> float:
    """Pearson's chi-square test; outcomes that are expected fewer than five times are counted together."""
    expected = probabilities.double() * counts.sum()
    rare = expected < 5
    observed = torch.cat([counts[~rare], counts[rare].sum()[None]]).double()
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    assert (observed[expected == 0] == 0).all(), "something was drawn that has no probability"
    observed, expected = observed[expected > 0], expected[expected > 0]
    chi_square = ((observed - expected) ** 2 / expected).sum()
    return torch.special.gammaincc(torch.tensor((len(observed) - 1) / 2).double(), chi_square / 2).item()


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "top_k": 6, "top_p": 0.95}, {"min_p": 0.05}], ids=str)
def test_equal_prompts_in_a_batch_draw_independently_from_the_right_distribution(settings):
    """Two tokens after each of 3 000 equal prompts: pairs in a row, and in neighbouring rows (seeds differ by one)."""
    ours, _ = pair(12, vocab_size=8, eos_token_id=None, bos_token_id=None)
    n, prompt = 3000, [1, 5, 2]
    answers = generate(ours, [prompt] * n, 2, do_sample=True, seed=20, **settings)
    drawn = torch.tensor(new_tokens(answers, [prompt] * n))
    with torch.no_grad():
        first = sampling_probabilities(ours(torch.tensor([prompt]))[:, -1], **settings)[0].double()
        texts = torch.tensor([[*prompt, token] for token in range(8)])
        second = sampling_probabilities(ours(texts)[:, -1], **settings).double()
    p = p_value((drawn[:, 0] * 8 + drawn[:, 1]).bincount(minlength=64), (first[:, None] * second).flatten())
    assert p > 1e-3, f"pairs of tokens: p = {p:.2g}"
    neighbours = drawn[0::2, 0] * 8 + drawn[1::2, 0]
    p = p_value(neighbours.bincount(minlength=64), torch.outer(first, first).flatten())
    assert p > 1e-3, f"neighbouring rows: p = {p:.2g}"


def test_the_distribution_test_can_fail():
    counts = torch.tensor([520, 280, 200])
    assert p_value(counts, torch.tensor([0.5, 0.3, 0.2])) > 0.2 > 1e-3 > p_value(counts, torch.tensor([0.6, 0.2, 0.2]))


# --- a row is its solo run -------------------------------------------------------------------------------------------


@BOTH_WAYS
@EACH_SEARCH
def test_a_row_in_a_batch_is_its_solo_run(settings, use_cache):
    ours, _ = pair(4, n_positions=48)
    prompts = random_prompts(ours.config, 9, 5)
    settings = settings | dict(use_cache=use_cache, stop_tokens=[1, 2, 3, 4, 5, 6])
    together = generate_details(ours, prompts, 20, **settings)
    for row, prompt in enumerate(prompts):
        [alone] = generate_details(ours, [prompt], 20, **settings)
        assert together[row].tokens == alone.tokens and together[row].stop_reason == alone.stop_reason
        assert together[row].log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-5)
    assert len({len(row.new_tokens) for row in together}) > 1  # rows stopped at different times and left the batch


@EACH_SEARCH
@pytest.mark.parametrize("processors", [{}, {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2}], ids=str)
def test_the_cache_changes_nothing(settings, processors):
    for seed in range(8):
        ours, _ = pair(seed, n_positions=24)
        prompts = [*random_prompts(ours.config, seed, 3), [0] * 20]  # the last reaches the context's end
        cached, uncached = (
            generate(ours, prompts, 15, stop_tokens=[3, 4], use_cache=use_cache, **settings | processors)
            for use_cache in (True, False)
        )
        assert cached == uncached


def test_seeds():
    prompts = [[1, 2], [3], [1, 2], [1, 2], [3]]
    assert row_seeds(prompts, 10) == [10, 10, 11, 12, 11]
    assert row_seeds(prompts[::-1], 10) == [10, 10, 11, 11, 12]
    assert row_seeds(prompts, [9, 8, 7, 6, 5]) == [9, 8, 7, 6, 5]
    assert len(set(row_seeds([[1]] * 100, None))) == 100
    ours, _ = pair(4)
    draw = dict(do_sample=True, stop_tokens=[])
    assert generate(ours, prompts, 9, seed=[4, 5, 6, 4, 5], **draw) == [
        generate(ours, [prompt], 9, seed=seed, **draw)[0] for prompt, seed in zip(prompts, [4, 5, 6, 4, 5], strict=True)
    ]
    assert len(set(map(tuple, generate(ours, [[1, 2]] * 6, 9, seed=3, **draw)))) == 6


def test_no_seed_follows_torchs():
    ours, _ = pair(3)
    torch.manual_seed(5)
    first = generate(ours, [[1]], 20, do_sample=True)
    other = generate(ours, [[1]], 20, do_sample=True)
    torch.manual_seed(5)
    assert generate(ours, [[1]], 20, do_sample=True) == first != other


# --- the cache -------------------------------------------------------------------------------------------------------


@pytest.fixture
def caches(monkeypatch):
    """All caches that are made from here on."""
    made = []
    new_cache = GPT2.new_cache
    monkeypatch.setattr(GPT2, "new_cache", lambda *args: made.append(new_cache(*args)) or made[-1])
    return made


@pytest.fixture
def appended(monkeypatch):
    """(rows, tokens) that the first layer appends to a cache, pass by pass. Unlike a hook it leaves the model alone."""
    sizes = []
    append = LayerCache.append

    def recorded(layer_cache, k, v):
        if layer_cache.layer == 0:
            sizes.append((k.size(0), k.size(2)))
        return append(layer_cache, k, v)

    monkeypatch.setattr(LayerCache, "append", recorded)
    return sizes


def forced(texts):
    """A function that chooses the tokens of these texts, whatever the logits are."""
    remaining = [iter(text) for text in texts]
    return lambda logits, rows: [next(remaining[row]) for row in rows]


def decode_forced(model, prompts, texts, use_cache=True):
    """Decoding along given texts; the same number of new tokens in each."""
    stopping = Stopping(frozenset(), len(texts[0]), model.max_tokens)
    start = model.start(prompts, len(texts[0]), use_cache)
    return list(decode(model, range(len(prompts)), start, stopping, lambda logits, _: logits, forced(texts)))


@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
@pytest.mark.parametrize("seed", range(6))
def test_cached_steps_equal_a_full_pass_over_each_row(seed, attention):
    ours, _ = pair(seed, attention=attention)
    prompts = random_prompts(ours.config, seed, 4)
    texts = random_prompts(ours.config, seed + 100, 4, longest=1)
    texts = [text * 6 + [row] * 4 for row, text in enumerate(texts)]
    hidden = []  # what comes out of the final norm, in float64: the logits of a Step are float32
    with torch.no_grad():
        full = [ours.hidden(torch.tensor([p + t]))[0, len(p) - 1 : -1] for p, t in zip(prompts, texts, strict=True)]
        ours.final_norm.register_forward_hook(lambda *args: hidden.append(args[-1][:, -1]))
        decode_forced(ours, prompts, texts)
    difference = torch.stack(hidden, dim=1) - torch.stack(full)
    assert difference.abs().max() <= 1e-12 * max(1, torch.stack(full).abs().max())


@BOTH_WAYS
def test_the_first_token_of_a_prompt_is_seen_to_the_end(use_cache):
    """The first token changes all later logits. Many greedy tests pass if a cache is never read; this one does not."""
    ours, _ = pair(5)
    a, b = (decode_forced(ours, [[first, 4, 6]], [[2, 7, 9, 9, 3]], use_cache=use_cache) for first in (1, 8))
    assert [step.tokens for step in a] == [step.tokens for step in b]
    for step, other in zip(a, b, strict=True):
        assert (step.logits - other.logits).abs().max() > 1e-3


@EACH_SEARCH
def test_the_cache_has_the_capacity_that_is_needed_and_no_more(settings, caches):
    ours, _ = pair(2, n_positions=30)
    settings = settings | dict(stop_tokens=[])
    for prompts, n in [([[1, 2, 3]], 8), ([[1], [1, 2, 3, 4, 5]], 8), ([[1]], 1), ([[1] * 25], 50), ([[1] * 29], 1)]:
        caches.clear()
        generate(ours, prompts, n, **settings)
        assert caches and all(cache.length == cache.capacity for cache in caches), (prompts, n)


def test_a_long_row_of_a_batch_that_is_full_at_once_needs_no_room(caches):
    ours, _ = pair(2, n_positions=30)
    answers = generate(ours, [[1] * 30, [1, 2]], 5, stop_tokens=[])
    assert [cache.capacity for cache in caches] == [6] and list(map(len, answers)) == [30, 7]


@BOTH_WAYS
def test_rows_that_have_stopped_cost_nothing(use_cache, caches, appended):
    ours, _ = pair(4, n_positions=48)
    prompts = random_prompts(ours.config, 9, 6)
    if not use_cache:
        ours.blocks[0].register_forward_hook(lambda block, inputs, output: appended.append(output.shape[:2]))
    answers = generate_details(ours, prompts, 25, stop_tokens=range(8), use_cache=use_cache)
    n_rows = [rows for rows, _ in appended]
    assert sum(n_rows) == sum(len(answer.new_tokens) for answer in answers)
    assert n_rows == sorted(n_rows, reverse=True) and len(set(n_rows)) > 2
    assert [cache.batch_size for cache in caches] == n_rows[-1:] * use_cache


@pytest.mark.parametrize("listen", [False, True])
def test_each_step_reads_one_token_with_the_cache(listen, appended):
    """With a hook and without; with one, single tokens go through the modules."""
    ours, _ = pair(3)
    read = []
    if listen:
        ours.blocks[0].register_forward_hook(lambda block, inputs, output: read.append(output.size(1)))
    generate(ours, [[1, 2, 3], [4]], 4, stop_tokens=[])
    assert appended == [(2, 3), (2, 1), (2, 1), (2, 1)] and read == [3, 1, 1, 1] * listen


@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
@pytest.mark.parametrize("seed", range(6))
def test_what_decoding_leaves_in_the_cache_is_what_a_full_pass_leaves(seed, attention, caches):
    """In float64, and without hooks."""
    ours, _ = pair(seed, attention=attention)
    prompts = random_prompts(ours.config, seed, 3)
    texts = [text * 8 + [row] for row, text in enumerate(random_prompts(ours.config, seed + 50, 3, longest=1))]
    found = decode_forced(ours, prompts, texts)
    [cache] = caches
    with torch.no_grad():
        for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
            whole = prompt + text[:-1]
            alone = ours.new_cache(1, len(whole))
            logits = ours(torch.tensor([whole]), cache=alone)[0, len(prompt) - 1 :]
            for mine, expected in [(cache.keys, alone.keys), (cache.values, alone.values)]:
                difference = mine[:, row, :, -len(whole) :] - expected[:, 0]
                assert difference.abs().max() < 1e-12 * max(1, expected.abs().max())
            mine = torch.stack([step.logits[row] for step in found])
            assert torch.allclose(mine, logits.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
def test_a_prompt_read_in_chunks_is_read_as_in_one_piece(chunk, attention, monkeypatch):
    ours, _ = pair(8, attention=attention, n_positions=40)
    prompts = random_prompts(ours.config, 3, 5, longest=13)
    whole = generate_details(ours, prompts, 12)
    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    for mask_or_none, tokens_to_read in [(mask, tokens), (None, tokens[:1])]:
        caches, logits = [], []
        for size in (512, chunk):
            monkeypatch.setattr(minigpt.language_model, "READ_AT_ONCE", size)
            caches.append(ours.new_cache(len(tokens_to_read), longest))
            with torch.no_grad():
                logits.append(next_logits(ours, tokens_to_read, Past(caches[-1], mask_or_none)))
        real = torch.ones(1, longest).bool() if mask_or_none is None else mask.bool()
        for a, b in [(caches[0].keys, caches[1].keys), (caches[0].values, caches[1].values)]:
            a, b = (tensor.permute(1, 3, 0, 2, 4)[real] for tensor in (a, b))
            assert (a - b).abs().max() < 1e-12 * max(1, a.abs().max())
        assert torch.allclose(*logits, rtol=1e-5, atol=1e-5)
    in_chunks = generate_details(ours, prompts, 12)
    assert [answer.tokens for answer in in_chunks] == [answer.tokens for answer in whole]


def test_a_chunk_holds_what_it_says(monkeypatch):
    ours, _ = pair(8)
    monkeypatch.setattr(minigpt.language_model, "READ_AT_ONCE", 4)
    read = []
    ours.blocks[0].register_forward_hook(lambda block, inputs, output: read.append(output.size(1)))
    generate(ours, [[1] * 10, [2]], 3, stop_tokens=[])
    assert read == [4, 4, 2, 1, 1]


@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "seed": 3, "top_p": 0.9}, {"num_beams": 3}], ids=str)
def test_chunks_change_no_text(settings, monkeypatch):
    for seed in range(6):
        ours, _ = pair(seed)
        prompts = random_prompts(ours.config, seed, 3, longest=15)
        answers = []
        for chunk in (512, 1 + seed):
            monkeypatch.setattr(minigpt.language_model, "READ_AT_ONCE", chunk)
            answers.append(generate(ours, prompts, 8, **settings))
        assert answers[0] == answers[1]


# --- stopping --------------------------------------------------------------------------------------------------------


def test_stop_tokens_end_a_row_and_are_kept():
    ours, _ = pair(6)
    prompts = random_prompts(ours.config, 6, 3)
    free = generate(ours, prompts, 10, stop_tokens=[])
    stop = free[0][len(prompts[0]) + 4]
    stopped = generate(ours, prompts, 10, stop_tokens=[stop])
    for prompt, new, short in zip(prompts, new_tokens(free, prompts), stopped, strict=True):
        assert short == prompt + (new[: new.index(stop) + 1] if stop in new else new)


def test_a_stop_token_in_the_prompt_stops_nothing():
    ours, _ = pair(6)
    [answer] = generate(ours, [[3, 3, 3]], 5, stop_tokens=[])
    if 3 not in answer[3:]:
        assert generate(ours, [[3, 3, 3]], 5, stop_tokens=[3]) == [answer]


def test_the_configs_end_of_text_stops_by_default():
    ours, _ = pair(6)
    [prompt] = random_prompts(ours.config, 6, 1)
    [free] = generate(ours, [prompt], 10, stop_tokens=[])
    end = free[len(prompt) + 2]
    object.__setattr__(ours.config, "eos_token_id", end)
    assert generate(ours, [prompt], 10) == [free[: free.index(end, len(prompt)) + 1]]
    assert generate(ours, [prompt], 10, stop_tokens=[]) == [free]
    object.__setattr__(ours.config, "eos_token_id", None)
    assert generate(ours, [prompt], 10) == [free]


@BOTH_WAYS
def test_the_context_limit_ends_a_row_and_loses_nothing(use_cache):
    ours, _ = pair(2, n_positions=24)
    prompts = [[1, 2, 3], list(range(20)), [0] * 24]
    answers = generate(ours, prompts, 100, stop_tokens=[], use_cache=use_cache)
    assert [len(answer) for answer in answers] == [24, 24, 24]
    assert [answer[: len(p)] for answer, p in zip(answers, prompts, strict=True)] == prompts
    assert answers[0] == generate(ours, prompts[:1], 21, stop_tokens=[])[0]


@EACH_SEARCH
def test_no_new_tokens_returns_the_prompts_without_a_pass(settings):
    ours, _ = pair(2)
    ours.blocks[0].register_forward_hook(lambda *_: pytest.fail("nothing had to be computed"))
    prompts = [[1], [2, 3], [0] * ours.config.n_positions]
    assert generate(ours, prompts, 0, **settings) == prompts
    full = generate_details(ours, prompts[2:], 9, **settings)[0]
    assert (full.tokens, full.new_tokens, full.log_probabilities, full.stop_reason) == (prompts[2], [], [], "context")
    assert list(steps(ours, prompts, 0)) == list(stream(ours, prompts[2], 5)) == []


# --- details ---------------------------------------------------------------------------------------------------------


@EACH_SEARCH
@BOTH_WAYS
@pytest.mark.parametrize("processors", [{}, {"repetition_penalty": 2.0, "no_repeat_ngram_size": 2}], ids=str)
def test_details_hold_the_models_own_log_probabilities(settings, use_cache, processors):
    for seed in range(4):
        ours, _ = pair(seed)
        prompts = random_prompts(ours.config, seed, 3)
        if settings.get("do_sample"):
            settings = settings | {"temperature": 1.7, "top_k": 9}
        everything = settings | processors | dict(use_cache=use_cache, stop_tokens=[1, 2, 3, 4])
        answers = generate_details(ours, prompts, 9, **everything)
        assert [answer.tokens for answer in answers] == generate(ours, prompts, 9, **everything)
        for prompt, answer in zip(prompts, answers, strict=True):
            assert prompt + answer.new_tokens == answer.tokens
            with torch.no_grad():
                rows = ours(torch.tensor([answer.tokens]))[0, len(prompt) - 1 : -1].log_softmax(dim=-1)
            expected = rows.gather(1, torch.tensor(answer.new_tokens)[:, None])[:, 0].tolist()
            assert answer.log_probabilities == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("num_beams", [1, 2])
@BOTH_WAYS
def test_the_reason_why_each_row_stopped(num_beams, use_cache):
    """Rows that stop for every reason in one batch. A stop token counts first, then the asked length, then the context.

    The model writes only token 0: its logit is the number of hidden units, every other logit is 0."""
    ours, _ = pair(3, n_positions=24, tie_word_embeddings=False)
    with torch.no_grad():
        ours.lm_head.weight.zero_()
        ours.final_norm.weight.zero_()
        ours.final_norm.bias.fill_(1)
        ours.lm_head.weight[0] = 1.0
    cases = [
        ([[1]], 5, [], ["length"]),
        ([[1] * 20], 5, [], ["context"]),
        ([[1] * 19], 5, [], ["length"]),  # both at once
        ([[1]], 5, [0], ["stop token"]),
        ([[1]], 1, [0], ["stop token"]),  # at the asked length
        ([[1] * 23], 5, [0], ["stop token"]),  # at the end of the context
        ([[1] * 24], 5, [0], ["context"]),
        ([[1] * 24], 0, [], ["length"]),
        ([[1]], 0, [0], ["length"]),
        ([[1], [1] * 20, [1] * 24, [2] * 19], 5, [], ["length", "context", "context", "length"]),
        ([[1], [1] * 24, [1] * 23], 5, [0], ["stop token", "context", "stop token"]),
    ]
    for prompts, n, stop, reasons in cases:
        answers = generate_details(ours, prompts, n, stop_tokens=stop, num_beams=num_beams, use_cache=use_cache)
        assert [answer.stop_reason for answer in answers] == reasons, (prompts, n, stop)
        for prompt, answer in zip(prompts, answers, strict=True):
            assert set(answer.new_tokens) <= {0}
            n_new = 1 if answer.stop_reason == "stop token" else min(n, 24 - len(prompt))
            assert len(answer.tokens) == len(prompt) + n_new and len(answer.log_probabilities) == n_new


# --- streaming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{}, {"do_sample": True, "seed": 5, "top_k": 9}, {"no_repeat_ngram_size": 1}], ids=str
)
def test_stream_and_steps_yield_what_generate_returns(settings):
    for seed in range(5):
        ours, _ = pair(seed)
        prompts = random_prompts(ours.config, seed, 3)
        answers = generate_details(ours, prompts, 9, stop_tokens=[1, 2, 3], **settings)
        written = [[] for _ in prompts]
        for step in steps(ours, prompts, 9, stop_tokens=[1, 2, 3], **settings):
            assert step.logits.shape == (len(step.rows), ours.config.vocab_size)
            assert step.logits.dtype == torch.float32
            for row, *new in zip(step.rows, step.tokens, step.log_probabilities, step.stop_reasons, strict=True):
                written[row].append(new)
        for prompt, answer, new in zip(prompts, answers, written, strict=True):
            assert [token for token, _, _ in new] == answer.new_tokens
            assert [log_probability for _, log_probability, _ in new] == answer.log_probabilities
            assert [reason for *_, reason in new] == [None] * (len(new) - 1) + [answer.stop_reason]
            alone = list(stream(ours, prompt, 9, stop_tokens=[1, 2, 3], **settings))
            assert alone == generate(ours, [prompt], 9, stop_tokens=[1, 2, 3], **settings)[0][len(prompt) :]


@pytest.mark.parametrize("through", [stream, lambda model, prompt, n, **rest: steps(model, [prompt], n, **rest)])
def test_tokens_come_as_soon_as_they_are_chosen(through):
    ours, _ = pair(3)
    passes = []
    ours.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    tokens = through(ours, [1, 2], 9, stop_tokens=[])
    assert not passes
    for n in range(1, 10):
        next(tokens)
        assert len(passes) == n
    assert next(tokens, None) is None and len(passes) == 9


def test_a_step_shows_what_the_processors_removed():
    ours, _ = pair(3)
    [step, *_] = steps(ours, [[1, 2], [3]], 3, do_sample=True, seed=1, top_k=4, stop_tokens=[])
    assert (step.logits > -torch.inf).sum(dim=-1).tolist() == [4, 4]
    for step in steps(ours, [[5, 6, 5, 6, 5]], 4, no_repeat_ngram_size=1, stop_tokens=[]):
        assert (step.logits[0, [5, 6]] == -torch.inf).all()
    with torch.no_grad():
        expected = ours(torch.tensor([[1, 2]]))[:, -1].float()
    [step] = steps(ours, [[1, 2]], 1)
    assert torch.allclose(step.logits, expected, rtol=1e-6, atol=1e-6)


def test_between_two_tokens_gradients_are_what_they_were():
    ours, _ = pair(3)
    for started in (stream(ours, [1, 2], 3), steps(ours, [[1], [2]], 3), speculate(ours, [1, 2], 3)):
        for _ in started:
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_a_stream_that_is_left_half_way_leaves_the_model_as_it_was():
    ours, _ = pair(3)
    ours.train()
    tokens = stream(ours, [1, 2], 9, stop_tokens=[])
    next(tokens)
    tokens.close()
    assert ours.training


def test_streamed_text_never_holds_half_a_character(tiny):
    """At a high temperature bytes come in any order. Each piece is whole characters; together they are the text."""
    tokenizer = load_tokenizer("tiny")
    prompt = tokenizer.encode("naïve café 你好 🙂")
    for seed in range(5):
        settings = dict(do_sample=True, temperature=30.0, seed=seed, stop_tokens=[])
        new = list(stream(tiny, prompt, 40, **settings))
        assert prompt + new == generate(tiny, [prompt], 40, **settings)[0]
        text = tokenizer.decode(new)
        pieces = list(tokenizer.decode_stream(stream(tiny, prompt, 40, **settings)))
        assert "".join(pieces) == text and all(pieces)
    # each token is a byte of a whole character: a piece is one character, and U+FFFD never appears
    raw = [tokenizer.encode("a")[0], *(token for token in tokenizer.encode("🙂你é🙂"))]
    pieces = list(tokenizer.decode_stream(iter(raw)))
    assert "".join(pieces) == "a🙂你é🙂" and "\ufffd" not in "".join(pieces)


# --- the model is left as it was -------------------------------------------------------------------------------------


@EACH_SEARCH
def test_a_model_in_training_decodes_without_dropout_and_is_left_in_training(settings):
    ours, _ = pair(2, resid_pdrop=0.5)
    expected = generate(ours, [[1, 2]], 10, stop_tokens=[], **settings)
    ours.train()
    assert generate(ours, [[1, 2]], 10, stop_tokens=[], **settings) == expected and ours.training


@EACH_SEARCH
def test_no_gradient_is_recorded_and_prompts_are_left_as_they_were(settings):
    ours, _ = pair(3)
    recorded = []
    ours.blocks[0].register_forward_hook(lambda block, inputs, output: recorded.append(output.requires_grad))
    prompts = [[1, 2], [3]]
    generate(ours, prompts, 3, **settings)
    assert prompts == [[1, 2], [3]] and recorded and not any(recorded)


def test_prompts_may_be_anything_that_holds_integers():
    ours, _ = pair(3)
    expected = generate(ours, [[1, 2, 3]], 4)
    for prompts in ([(1, 2, 3)], [range(1, 4)], torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 3]]).numpy()):
        assert generate(ours, prompts, 4) == expected


# --- what is refused -------------------------------------------------------------------------------------------------

NAN = float("nan")
BAD_SETTINGS = [
    ({"temperature": 0.5}, "temperature.*do_sample=True"),
    ({"top_k": 3}, "top_k.*do_sample=True"),
    ({"top_p": 0.5}, "top_p.*do_sample=True"),
    ({"min_p": 0.5}, "min_p.*do_sample=True"),
    ({"seed": 1}, "seed.*do_sample=True"),
    *[
        ({"do_sample": True, "temperature": bad}, f"temperature.*{bad}")
        for bad in (0.0, -1.0, NAN, float("inf"), 1e-40)
    ],
    *[({"do_sample": True, "top_k": bad}, f"top_k.*{bad}") for bad in (0, -1, 2.5)],
    *[({"do_sample": True, "top_p": bad}, f"top_p.*{bad}") for bad in (0.0, 1.5, -0.1, NAN)],
    *[({"do_sample": True, "min_p": bad}, f"min_p.*{bad}") for bad in (1.5, -0.1, NAN)],
    *[({"do_sample": True, "seed": bad}, "seed") for bad in (1.5, "a", 2**64, [1, 2], [], [1.5])],
    *[({"repetition_penalty": bad}, f"repetition_penalty.*{bad}") for bad in (0.0, -1.0, NAN, float("inf"))],
    *[({"no_repeat_ngram_size": bad}, f"no_repeat_ngram_size.*{bad}") for bad in (-1, 1.5, True, None)],
    *[({"num_beams": bad}, f"num_beams.*{bad}") for bad in (0, -2, 2.0, True, None)],
    ({"num_beams": 2, "do_sample": True}, "num_beams=2.*do_sample=True"),
    ({"length_penalty": 2.0}, "length_penalty.*num_beams"),
    ({"early_stopping": True}, "early_stopping.*num_beams"),
    *[({"num_beams": 2, "length_penalty": bad}, f"length_penalty.*{bad}") for bad in (NAN, 1e9, float("inf"))],
    *[({"num_beams": 2, "early_stopping": bad}, f"early_stopping.*{bad}") for bad in ("maybe", None, 3)],
    *[({"stop_tokens": bad}, "stop_tokens.*ids in 0..") for bad in ([999], [-1], [0, 999])],
    *[({"max_new_tokens": bad}, f"max_new_tokens.*{bad}") for bad in (-1, 1.5, NAN, "3", None)],
    *[({"prompt": bad}, "lists of token ids") for bad in (3, "text", [[1]], [1.5], [None], None)],
    ({"prompt": []}, "prompt 0 is empty"),
    ({"prompt": [2, 999]}, "token id 999 of prompt 0, position 1"),
    ({"prompt": [-1]}, "token id -1 of prompt 0"),
    ({"prompt": [0] * 60}, "prompt 0 has 60 tokens, the context holds"),
]


@pytest.mark.parametrize("through", [generate, generate_details, steps, stream])
def test_bad_settings_are_refused_before_any_work(through):
    """The error comes at the call, not at the first token: this test asks for no token."""
    ours, _ = pair(1)
    ours.blocks[0].register_forward_hook(lambda *_: pytest.fail("work was done"))
    for settings, words in BAD_SETTINGS:
        arguments = {"prompt": [1], "max_new_tokens": 3} | settings
        prompt = arguments.pop("prompt")
        with pytest.raises(ValueError, match=words):
            through(ours, prompt if through is stream else [prompt], **arguments)


def test_a_search_cannot_be_streamed():
    ours, _ = pair(1)
    for call in (lambda: steps(ours, [[1]], 3, num_beams=2), lambda: stream(ours, [1], 3, num_beams=2)):
        with pytest.raises(ValueError, match="num_beams=2 cannot be streamed"):
            call()


@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.parametrize("where", ["final_norm.bias", "token_embedding.weight"])
@EACH_SEARCH
@BOTH_WAYS
def test_broken_weights_are_noticed(settings, use_cache, where, value):
    ours, _ = pair(1)
    with torch.no_grad():
        ours.get_parameter(where).view(-1)[0] = value
    with pytest.raises(FloatingPointError, match="not finite"):
        generate(ours, [[0], [1, 2]], 3, use_cache=use_cache, **settings)


def test_streams_may_overlap_and_leave_a_model_in_training():
    """Dropout is off in every pass, and between two steps the model is in the caller's mode."""
    ours, _ = pair(2, resid_pdrop=0.5)
    hook = ours.blocks[0].register_forward_hook(lambda *_: None)  # tokens go through the modules, which have dropout
    expected = [list(stream(ours, prompt, 9, stop_tokens=[])) for prompt in ([4, 5], [1, 2, 3])]
    ours.train()
    first, second = (stream(ours, prompt, 9, stop_tokens=[]) for prompt in ([4, 5], [1, 2, 3]))
    begun = next(first), next(second)
    assert ours.training
    assert [begun[0], *first] == expected[0] and ours.training
    assert [begun[1], *second] == expected[1] and ours.training
    hook.remove()


def test_why_a_text_ends():
    """One function decides, for greedy texts, samples, beams, drafts and the command line."""
    stopping = Stopping(frozenset([7]), max_new_tokens=3, max_tokens=9)
    for arguments, reason in [
        ((2, 0, None), None),
        ((2, 2, 1), None),
        ((2, 1, 7), "stop token"),
        ((2, 3, 1), "length"),
        ((2, 3, 7), "stop token"),  # the last token that was allowed
        ((7, 2, 1), "context"),
        ((7, 2, 7), "stop token"),  # in the last place of the context
        ((6, 3, 1), "length"),  # both at once: what was asked for is there
        ((9, 0, None), "context"),
    ]:
        assert stopping.reason(*arguments) == reason, arguments
    assert Stopping(frozenset(), 0, 9).reason(9, 0) == "length"
    assert Stopping(frozenset(), 5, None).reason(10**6, 4, 1) is None and stopping.most_new(8) == 1


@EACH_SEARCH
def test_a_stop_token_in_the_last_allowed_place_is_the_reason(settings):
    n_tried = 0
    for seed in range(12):
        ours, _ = pair(seed)
        [prompt] = random_prompts(ours.config, seed, 1)
        [free] = generate(ours, [prompt], 5, stop_tokens=[], **settings)
        if free[-1] in free[len(prompt) : -1]:
            continue
        [answer] = generate_details(ours, [prompt], 5, stop_tokens=free[-1:], **settings)
        ended = answer.tokens[-1] == free[-1]  # a search may prefer another text once this one may end
        assert answer.stop_reason == ("stop token" if ended else "length")
        n_tried += ended and len(answer.new_tokens) == 5
    assert n_tried >= 1


# --- ids that the tokenizer cannot write -----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"do_sample": True}], ids=str)
def test_suppressed_tokens_are_never_chosen_as_in_transformers(settings):
    for seed in range(8):
        ours, theirs = pair(seed)
        [prompt] = random_prompts(ours.config, seed, 1)
        ids = list(range(0, ours.vocab_size, 3))
        torch.manual_seed(seed)
        expected = by_hugging_face(theirs, [prompt], 10, suppress_tokens=ids, **settings)
        own = settings | ({"seed": seed} if settings.get("do_sample") else {})
        found = generate(ours, [prompt], 10, stop_tokens=[], suppress_tokens=ids, **own)
        assert found == expected and not set(found[0][len(prompt) :]) & set(ids)
        if not settings:
            assert prompt + list(speculate(ours, prompt, 10, stop_tokens=[], suppress_tokens=ids)) == found[0]
        assert found != generate(ours, [prompt], 10, stop_tokens=[], **own) or seed  # without it, the text differs


def test_bad_suppressed_tokens_are_refused():
    ours, _ = pair(1)
    for bad in ([ours.vocab_size], [0, -1], [0, True], "12", 5, [1.5]):
        with pytest.raises(ValueError, match="suppress_tokens must be"):
            generate(ours, [[1]], 3, suppress_tokens=bad)
