"""The caller's own processors and min_new_tokens: equal to transformers.generate, token for token, in every way of
choosing; and what a processor may not return."""

import random

import pytest
import torch
import transformers
from generation_oracle import by_hugging_face, random_prompts
from oracle import pair

from minigpt import generate, stream
from minigpt.generation import generate_details, steps
from minigpt.generation.beams import beam_search
from minigpt.generation.drafts import speculate

WAYS = {
    "greedy": {},
    "penalties": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "draws": {"do_sample": True, "temperature": 1.4, "top_k": 7, "top_p": 0.9},
    "draws by min_p": {"do_sample": True, "temperature": 0.7, "min_p": 0.2, "repetition_penalty": 0.8},
    "beams": {"num_beams": 4},
    "beams, early": {"num_beams": 3, "early_stopping": True, "length_penalty": 2.0, "repetition_penalty": 1.2},
    "beams, never": {"num_beams": 2, "early_stopping": "never", "length_penalty": 0.0},
}
EACH_WAY = pytest.mark.parametrize("settings", WAYS.values(), ids=WAYS)
EACH_FAMILY = pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])


def sharp_pair(family, seed):
    """Models whose likeliest tokens are very likely, so that texts end at different places."""
    ours, theirs = pair(seed, attention=["explicit", "sdpa"][seed % 2], family=family)
    norms = {"gpt2": "transformer.ln_f", "llama": "model.norm", "t5": "decoder.final_layer_norm"}
    with torch.no_grad():
        (ours.decoder if family == "t5" else ours).final_norm.weight.mul_(2.5)
        theirs.get_submodule(norms[family]).weight.mul_(2.5)
    return ours, theirs


def both(seed, settings):
    """The settings for transformers and for us: our draws have a seed of their own, theirs follow torch's."""
    torch.manual_seed(seed)
    return settings | ({"seed": seed} if settings.get("do_sample") else {})


def new(model, prompt, answer) -> list[int]:
    return answer[len(model.first_texts([prompt])[0]) :]


# --- own processors --------------------------------------------------------------------------------------------------


def prefers_neighbours(logits, texts):
    """Tokens near the newest one become likelier, and its double, the sum of the last two, is forbidden."""
    n = logits.size(-1)
    for row, text in zip(logits, texts, strict=True):  # in place: what a processor gets is its own
        row += 1.5 * torch.tensor([3.0 - min(3, abs(token - text[-1])) for token in range(n)])
        row[sum(text[-2:]) % n] = -torch.inf
    return logits


def by_length(logits, texts):
    """Other tokens are forbidden after every length; not by the text's first tokens, which are pads there."""
    logits[:, (3 * len(texts[0])) % 5 :: 5] = -torch.inf
    return logits


class Theirs(transformers.LogitsProcessor):
    """One of ours as transformers asks for it."""

    def __init__(self, own):
        self.own = own

    def __call__(self, input_ids, scores):
        return self.own(scores.clone(), input_ids.tolist())


@EACH_FAMILY
@EACH_WAY
def test_own_processors_equal_transformers(settings, family):
    changed = 0
    for seed in range(6):
        ours, theirs = sharp_pair(family, seed)
        prompts = random_prompts(ours.config, seed, 1)
        own = [prefers_neighbours, by_length][: 1 + seed % 2]
        stop = random.Random(seed).sample(range(1, ours.vocab_size), 3)
        list_of_theirs = transformers.LogitsProcessorList(map(Theirs, own))
        named = both(seed, settings)
        expected = by_hugging_face(theirs, prompts, 10, stop, logits_processor=list_of_theirs, **settings)
        found = generate(ours, prompts, 10, processors=own, stop_tokens=stop, use_cache=seed % 3 > 0, **named)
        assert found == expected
        changed += found != generate(ours, prompts, 10, stop_tokens=stop, **named)
    assert changed >= 4


def test_they_come_after_the_penalties_and_before_the_temperature():
    """A processor that writes down what it gets."""
    ours, _ = pair(3)
    got = []

    def note(logits, texts):
        got.append((logits.clone(), texts))
        return logits

    settings = dict(suppress_tokens=[7], stop_tokens=[4], min_new_tokens=1, no_repeat_ngram_size=1)
    [step] = steps(
        ours, [[1, 2], [3]], 1, processors=[note], do_sample=True, seed=1, temperature=0.5, top_k=2, **settings
    )
    [(logits, texts)] = got
    assert texts == [[1, 2], [3]] and logits.dtype == torch.float32
    for row, forbidden in zip(logits, [{1, 2, 4, 7}, {3, 4, 7}], strict=True):
        assert set(row.isneginf().nonzero().flatten().tolist()) == forbidden
    best = logits.topk(2)  # what is drawn from: the same divided by 0.5, the best two
    assert torch.equal(step.logits.topk(2).values, best.values / 0.5)
    assert torch.equal(step.logits.isfinite().sum(dim=-1), torch.tensor([2, 2]))


@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "seed": 5}], ids=str)
def test_every_way_of_continuing_uses_them(settings):
    ours, _ = pair(4)
    prompts = random_prompts(ours.config, 4, 3)
    settings = settings | dict(processors=[prefers_neighbours, by_length], stop_tokens=[], min_new_tokens=3)
    answers = generate(ours, prompts, 8, **settings)
    assert [answer.tokens for answer in generate_details(ours, prompts, 8, **settings)] == answers
    assert [[*prompts[0], *stream(ours, prompts[0], 8, **settings)]] == answers[:1]
    written = [list(prompt) for prompt in prompts]
    for step in steps(ours, prompts, 8, **settings):
        assert step.logits.isneginf().any(dim=-1).all()
        for row, token in zip(step.rows, step.tokens, strict=True):
            written[row].append(token)
    assert written == answers


def test_a_processor_gets_copies_and_texts_without_pads():
    """What it does to them changes no later step, and no log-probability of the model."""
    ours, _ = pair(5)
    prompts = [[1, 2, 3], [4]]
    expected = {n: generate_details(ours, prompts, 6, stop_tokens=[], num_beams=n) for n in (1, 3)}
    seen = []

    def destroys(logits, texts):
        seen.append([list(text) for text in texts])
        answer = logits.clone()
        logits.fill_(7.0)
        for text in texts:
            text.clear()
        return answer

    for n, answers in expected.items():
        assert generate_details(ours, prompts, 6, stop_tokens=[], num_beams=n, processors=[destroys]) == answers
    assert seen[0] == prompts
    assert seen[1] == [a.tokens[: len(p) + 1] for a, p in zip(expected[1], prompts, strict=True)]


def test_a_processor_can_prescribe_a_text():
    """All tokens but one forbidden: in a search only one beam is left, and no forbidden text is an answer."""
    ours, _ = pair(6)
    wanted = [5, 9, 5, 3, 2]

    def prescribed(logits, texts):
        only = torch.full_like(logits, -torch.inf)
        only[:, wanted[len(texts[0]) - 2]] = 0.0
        return only

    for settings in ({}, {"do_sample": True, "seed": 1}, *({"num_beams": n, "early_stopping": True} for n in (2, 5))):
        for stop in ([], [2], [0, 1, 2]):
            named = dict(processors=[prescribed], stop_tokens=stop, **settings)
            assert generate(ours, [[1, 1]], 5, **named) == [[1, 1, *wanted]]


RETURNS = {
    "nothing": (lambda logits, texts: None, r"processors\[1\] must return logits, torch.float32 \(2, .*returned None"),
    "a list": (lambda logits, texts: logits.tolist(), r"processors\[1\] must return .* it returned \[\["),
    "one row": (lambda logits, texts: logits[0], r"processors\[1\] must return .* it returned torch.float32 \("),
    "one row of two": (lambda logits, texts: logits[:1], r"it returned torch.float32 \(1, "),
    "one logit less": (lambda logits, texts: logits[:, 1:], r"it returned torch.float32 \(2, "),
    "float64": (lambda logits, texts: logits.double(), "it returned torch.float64"),
    "bools": (lambda logits, texts: logits > 0, "it returned torch.bool"),
    "another device": (lambda logits, texts: logits.to("meta"), "it returned .* on meta"),
    "nan": (lambda logits, texts: logits.fill_(torch.nan), r"processors\[1\] returned nan or inf"),
    "nan in the second row": (
        lambda logits, texts: logits.index_fill(0, torch.tensor(1), torch.nan),
        r"processors\[1\] returned nan or inf",
    ),
    "inf": (lambda logits, texts: logits.index_fill(1, torch.tensor(3), torch.inf), "returned nan or inf"),
}


@pytest.mark.parametrize("settings", [{}, {"do_sample": True}, {"num_beams": 2}], ids=str)
@pytest.mark.parametrize("name", RETURNS)
def test_what_is_no_logits_is_refused_by_name(name, settings):
    """Each is the second of two processors. With beams it is called with one row first."""
    function, words = RETURNS[name]
    ours, _ = pair(1)
    if "num_beams" in settings:
        function = lambda logits, texts: RETURNS[name][0](logits, texts) if len(texts) == 2 else logits  # noqa: E731
    with pytest.raises(ValueError, match=words):
        generate(ours, [[1], [2]], 3, stop_tokens=[], processors=[lambda logits, texts: logits, function], **settings)


def test_what_is_no_list_of_functions_is_refused():
    ours, _ = pair(1)
    for bad in (prefers_neighbours, "f", None, 5, [None], [by_length, 3]):
        with pytest.raises(ValueError, match="processors must be a list of functions"):
            generate(ours, [[1]], 3, processors=bad)


@pytest.mark.parametrize("settings", [{}, {"do_sample": True}, {"num_beams": 2}], ids=str)
def test_where_every_token_is_forbidden_nothing_is_chosen(settings):
    ours, _ = pair(1)
    calls = []

    def forbids_everything_in_the_second_step(logits, texts):
        calls.append(1)
        return logits if len(calls) == 1 else torch.full_like(logits, -torch.inf)

    with pytest.raises(ValueError, match="no token can be chosen: the processors forbid all"):
        generate(ours, [[1], [2]], 3, stop_tokens=[], processors=[forbids_everything_in_the_second_step], **settings)
    assert len(calls) == 2
    with pytest.raises(ValueError, match="no token can be chosen"):  # token 3 is allowed once, and no other ever
        others = [token for token in range(ours.vocab_size) if token != 3]
        generate(ours, [[1]], 3, stop_tokens=[], suppress_tokens=others, no_repeat_ngram_size=1, **settings)
    with pytest.raises(ValueError, match=f"suppress_tokens are all {ours.vocab_size} of the vocabulary"):
        generate(ours, [[1]], 3, suppress_tokens=range(ours.vocab_size), **settings)
    with pytest.raises(ValueError, match="suppress_tokens are all"):
        speculate(ours, [1], 3, suppress_tokens=range(ours.vocab_size))


@pytest.mark.parametrize("through", [generate, stream])
def test_what_can_be_read_only_once_is_kept(through):
    """Lists and iterators are the same: a setting is read once when it is checked, and again later."""
    ours, _ = pair(4)
    prompt = [1, 2] if through is stream else [[1, 2]]
    free = list(stream(ours, [1, 2], 8, stop_tokens=[]))
    for name, value, settings in [
        ("stop_tokens", free[2:3], {}),
        ("suppress_tokens", free[:3], {}),
        ("processors", [by_length], {}),
        ("seed", [5], {"do_sample": True}),
    ]:
        expected = list(through(ours, prompt, 8, **settings | {name: value}))
        assert list(through(ours, prompt, 8, **settings | {name: iter(value)})) == expected, name


# --- min_new_tokens --------------------------------------------------------------------------------------------------


@EACH_FAMILY
@EACH_WAY
def test_no_stop_token_comes_before_min_new_tokens_as_in_transformers(settings, family):
    ended_early, ended = 0, 0
    for seed in range(8):
        ours, theirs = sharp_pair(family, seed)
        n_prompts = 1 if {"repetition_penalty", "do_sample"} & set(settings) else 2  # their batches count pads as text
        prompts = random_prompts(ours.config, seed, n_prompts)
        named = both(seed, settings)
        free = generate(ours, prompts, 10, stop_tokens=[], **named)
        rest = new(ours, prompts[0], free[0])
        stop = sorted({rest[1], rest[-3]} - {0})  # 0 is their pad
        n = 1 + seed % 7
        torch.manual_seed(seed)
        expected = by_hugging_face(theirs, prompts, 10, stop, min_new_tokens=n, **settings)
        found = generate(ours, prompts, 10, stop_tokens=stop, min_new_tokens=n, use_cache=seed % 3 > 0, **named)
        assert found == expected
        for prompt, answer in zip(prompts, found, strict=True):
            assert not set(new(ours, prompt, answer)[:n]) & set(stop)
            ended += bool(set(new(ours, prompt, answer)[n:]) & set(stop))
        ended_early += found != generate(ours, prompts, 10, stop_tokens=stop, **named)
    assert ended_early >= 3 and ended >= 1


def test_min_new_tokens_says_when_a_stop_token_may_come():
    """A model that would write its stop token at once, in a batch with rows of other lengths."""
    ours, _ = pair(3, tie_word_embeddings=False)
    with torch.no_grad():  # token 7 is the likeliest everywhere, then 5
        ours.lm_head.weight.zero_()
        ours.final_norm.weight.zero_()
        ours.final_norm.bias.fill_(1)
        ours.lm_head.weight[7], ours.lm_head.weight[5] = 2.0, 1.0
    prompts = [[1], [2, 3, 4], [7, 7]]
    for settings in ({}, {"num_beams": 3, "length_penalty": -1.0}, {"do_sample": True, "seed": 3, "top_k": 1}):
        for n in (0, 1, 4):
            answers = generate_details(ours, prompts, 6, stop_tokens=[7], min_new_tokens=n, **settings)
            assert [answer.new_tokens for answer in answers] == [[5] * n + [7]] * 3
            assert {answer.stop_reason for answer in answers} == {"stop token"}
        [answer] = generate_details(ours, [[1]], 6, stop_tokens=[7], min_new_tokens=6, **settings)
        assert answer.new_tokens == [5] * 6 and answer.stop_reason == "length"
    for own in (dict(stop_tokens=[]), dict(stop_tokens=None)):  # the config's end of text is another token
        object.__setattr__(ours.config, "eos_token_id", None if own["stop_tokens"] == [] else 7)
        [answer] = generate(ours, [[1]], 3, min_new_tokens=2, **own)
        assert answer == ([1, 7, 7, 7] if own["stop_tokens"] == [] else [1, 5, 5, 7])


def test_a_full_context_ends_a_text_before_min_new_tokens():
    ours, _ = pair(2, n_positions=24)
    [answer] = generate_details(ours, [[1] * 20], 9, min_new_tokens=8)
    assert answer.stop_reason == "context" and len(answer.tokens) == 24


def test_log_probabilities_stay_the_models_own():
    ours, _ = pair(4)
    [prompt] = random_prompts(ours.config, 4, 1)
    stop = generate(ours, [prompt], 9, stop_tokens=[])[0][-9:]
    for num_beams in (1, 3):
        [answer] = generate_details(ours, [prompt], 9, stop_tokens=stop, min_new_tokens=9, num_beams=num_beams)
        with torch.no_grad():
            rows = ours(torch.tensor([answer.tokens]))[0, len(prompt) - 1 : -1].log_softmax(dim=-1)
        expected = rows.gather(1, torch.tensor(answer.new_tokens)[:, None])[:, 0].tolist()
        assert answer.log_probabilities == pytest.approx(expected, abs=1e-5)


def test_a_search_that_may_not_end_yet_has_no_ended_text():
    """Two of three tokens end a text: with two beams, a forbidden end is among the best candidates of the first steps,
    with a score of -inf."""
    ours, _ = pair(2, vocab_size=3, bos_token_id=0, eos_token_id=None)
    for n in (1, 2, 3):
        seen = list(beam_search(ours, [1], 4, 2, stop_tokens={0, 2}, min_new_tokens=n, early_stopping=True))
        assert all(not beams.finished for beams in seen[:n]) and seen[n].finished
        assert all(beam.score > -torch.inf for beams in seen for beam in (*beams.running, *beams.finished))
        assert seen[-1].finished[0].tokens[: n + 1] == [1] * (n + 1)


def test_bad_min_new_tokens_are_refused():
    ours, _ = pair(1)
    ours.blocks[0].register_forward_hook(lambda *_: pytest.fail("work was done"))
    for bad in (-1, 1.5, "3", None, True, float("nan")):
        with pytest.raises(ValueError, match=f"min_new_tokens must be an integer of at least 0, got {bad!r}"):
            generate(ours, [[1]], 3, min_new_tokens=bad)
    with pytest.raises(ValueError, match="min_new_tokens=4 is above max_new_tokens=3"):
        steps(ours, [[1]], 3, min_new_tokens=4)
    everything = range(ours.vocab_size)
    with pytest.raises(ValueError, match="suppress_tokens and the stop tokens are all"):
        generate(ours, [[1]], 3, stop_tokens=everything[1:], suppress_tokens=[0], min_new_tokens=1)
