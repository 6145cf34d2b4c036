"""The explorer's numbers are the model's own, for each family; what cannot be answered is refused in words."""

import copy
import json
import re
from functools import cache

import numpy as np
import pytest
import torch
from explorer_data import TEXT, TEXTS, data_of, ids_of, reading_of, seen_of, unpacked
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt import GPT2, GPT2Config, generate, load_model, load_tokenizer
from minigpt.explorer import Subject
from minigpt.explorer.heads import all_heads, attention_layers, attention_traces, logits_without
from minigpt.explorer.html import live_page
from minigpt.explorer.numbers import packed, shades
from minigpt.explorer.questions import QUESTIONS, answer
from minigpt.explorer.texts import MOST_TOKENS, Texts, texts_of
from minigpt.generation.processors import sampling_probabilities
from minigpt.loss import cross_entropy
from minigpt.perplexity import score


@pytest.fixture(scope="module")
def subjects():
    return {name: Subject(load_model(name), load_tokenizer(name), name) for name in TEXTS}


@pytest.fixture(params=TEXTS)
def subject(request, subjects):
    return subjects[request.param]


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_packed_numbers_come_back_as_they_were():
    for numbers in (torch.randn(2, 3, 5), torch.arange(7, dtype=torch.int32), torch.arange(256, dtype=torch.uint8)):
        np.testing.assert_array_equal(unpacked(packed(numbers)), numbers.numpy())
    assert unpacked(packed(torch.randn(4).double())).dtype == np.float32
    np.testing.assert_array_equal(unpacked(packed(torch.arange(6.0).view(2, 3).T)), [[0, 3], [1, 4], [2, 5]])
    assert shades(torch.tensor([0, 1 / 255**2, 0.25, 1])).tolist() == [0, 1, 128, 255]


def test_every_head_is_that_of_the_trace(subject):
    """queries, keys, values, output and weights, float32 for float32; the small maps are their shades."""
    reading = reading_of(subject)
    seen, _ = seen_of(subject, reading)
    for one in reading["attention"]:
        layers = attention_traces(seen)[one["kind"]]
        expected = torch.stack([layer.weights[0] for layer in layers])
        np.testing.assert_array_equal(unpacked(one["shades"]), shades(expected).numpy())
        means = unpacked(one["means"])
        np.testing.assert_allclose(means[:-1], expected.mean(dim=1), rtol=0, atol=5e-7)
        np.testing.assert_allclose(means[-1], expected.mean(dim=(0, 1)), rtol=0, atol=5e-7)
        module = attention_layers(subject.model)[one["kind"]][1]
        for head in range(module.n_head):
            place = {"kind": one["kind"], "layer": 1, "head_number": head}
            found = answer(subject, "head", {**ids_of(reading), **place})
            key_head = head // (module.n_head // module.n_kv_head)
            for name, array in [
                ("weights", layers[1].weights[0, head]),
                ("queries", layers[1].queries[0, head]),
                ("keys", layers[1].keys[0, key_head]),
                ("values", layers[1].values[0, key_head]),
                ("output", layers[1].heads[0, head]),
            ]:
                np.testing.assert_array_equal(unpacked(found[name]), array.numpy(), err_msg=name)


def test_the_page_can_follow_a_weight_from_q_and_k(subject):
    """softmax(q kᵀ · scale + bias), causal where the page says so, is the weight; with v it is the output."""
    reading, described = reading_of(subject), json.loads(data_of(live_page(subject)))["model"]
    for one in reading["attention"]:
        found = answer(subject, "head", {**ids_of(reading), "kind": one["kind"], "layer": 0, "head_number": 1})
        q, k, v = (unpacked(found[name]).astype(float) for name in ("queries", "keys", "values"))
        scores = q @ k.T * described["scale"][one["kind"]][0]
        if found["bias"] is not None:
            scores += unpacked(found["bias"])
        if one["causal"]:
            scores[np.triu_indices_from(scores, 1)] = -np.inf
        weights = torch.tensor(scores).softmax(dim=-1).numpy()
        np.testing.assert_allclose(weights, unpacked(found["weights"]), rtol=0, atol=1e-6)
        np.testing.assert_allclose(weights @ v, unpacked(found["output"]), rtol=0, atol=1e-5)
    assert [one["causal"] for one in reading["attention"]] == {
        "tiny": [True],
        "tiny-llama": [True],
        "tiny-bert": [False],
        "tiny-t5": [False, True, False],
    }[subject.name]


def test_losses_and_prediction(subject):
    reading = reading_of(subject)
    seen, _ = seen_of(subject, reading)
    at, ids = reading["prediction"]["position"], reading["tokens"]["ids"]
    np.testing.assert_array_equal(unpacked(reading["prediction"]["logits"]), seen.logits[0, at].numpy())
    assert reading["prediction"]["likely"]["ids"] == seen.logits[0, at].topk(20).indices.tolist()
    if subject.name == "tiny-bert":
        assert at == ids.index(subject.tokenizer.mask_id) and reading["perplexity"] is None
        assert set(reading["losses"]) == {None}
        return
    assert at == len(ids) - 1 and reading["losses"][0] is None
    losses = cross_entropy(seen.logits[0, :-1], torch.tensor(ids[1:]), reduction="none")
    np.testing.assert_allclose(reading["losses"][1:], losses, atol=1e-5)
    assert reading["perplexity"] == pytest.approx(float(losses.mean().exp()), rel=1e-5)
    if not subject.has_encoder:
        scores = score(subject.model, ids)
        np.testing.assert_allclose(reading["losses"][1:], scores.nll[1:], atol=1e-5)
        assert reading["perplexity"] == pytest.approx(scores.perplexity, rel=1e-5)


def test_what_a_t5_is_shown_with(subjects):
    """Its own greedy answer, without the end: that is what it would say next."""
    subject = subjects["tiny-t5"]
    reading = reading_of(subject)
    [written] = generate(subject.model, [reading["source"]["ids"]], 12)
    assert written[-1] in subject.model.end_tokens and reading["tokens"]["ids"] == written[:-1]
    assert reading["prediction"]["likely"]["ids"][0] == written[-1]


# --- heads switched off ----------------------------------------------------------------------------------------------


def without_columns(model, heads):
    """A copy of the model whose output projections do not read these heads."""
    changed = copy.deepcopy(model)
    layers = attention_layers(changed)
    for kind, layer, head in heads:
        module = layers[kind][layer]
        with torch.no_grad():
            module.output.weight[:, head * module.d_head : (head + 1) * module.d_head] = 0
    return changed


def test_a_head_that_is_off_is_a_head_that_nothing_reads(subject):
    reading = reading_of(subject)
    at = reading["prediction"]["position"]
    _, inputs = seen_of(subject, reading)
    kinds = list(attention_layers(subject.model))
    groups = [[[kind, 1, 2]] for kind in kinds] + [[[kinds[0], 0, 0], [kinds[-1], 2, 1]]]
    before = subject.model(*inputs)[0, at].softmax(dim=-1).detach()
    for heads in groups:
        found = answer(subject, "without", {**ids_of(reading), "heads": heads})
        after = without_columns(subject.model, heads)(*inputs)[0, at].softmax(dim=-1).detach()
        assert found["heads"] == heads and found["moved"] > 0.001
        np.testing.assert_allclose(found["before"], before[found["ids"]], atol=1e-6)
        np.testing.assert_allclose(found["after"], after[found["ids"]], atol=1e-6)
        assert found["moved"] == pytest.approx(float((after - before).abs().sum() / 2), abs=1e-5)
        changed = int((after - before).abs().argmax())
        assert {int(before.argmax()), int(after.argmax()), changed} <= set(found["ids"])
    torch.testing.assert_close(subject.model(*inputs)[0, at].softmax(dim=-1).detach(), before)  # and it is on again


def test_the_effects_are_those_of_each_head_alone(subject):
    reading = reading_of(subject)
    effects = answer(subject, "effects", ids_of(reading))["effects"]
    assert [tuple(effect["heads"][0]) for effect in effects] == all_heads(subject.model)
    for effect in effects[::7]:
        alone = answer(subject, "without", {**ids_of(reading), "heads": effect["heads"]})
        assert effect["moved"] == pytest.approx(alone["moved"], abs=1e-5)
        after = dict(zip(alone["ids"], alone["after"], strict=True))
        assert dict(zip(effect["ids"], effect["after"], strict=True)) == pytest.approx(after, abs=5e-6)


def test_the_token_that_changes_most_is_always_compared(subjects, monkeypatch):
    """Also where it is not among the likeliest: here only the likeliest one is compared besides."""
    monkeypatch.setattr("minigpt.explorer.effects.N_COMPARED", 1)
    subject = subjects["tiny"]
    tokens = subject.tokenizer.encode(TEXT)
    heads, n_others = all_heads(subject.model), 0
    p = logits_without(subject, Texts(tokens), [[], *([head] for head in heads)], -1).softmax(dim=-1)
    for row, effect in enumerate(answer(subject, "effects", {"tokens": tokens})["effects"], start=1):
        changed = int((p[row] - p[0]).abs().argmax())
        assert changed in effect["ids"]
        n_others += changed not in (int(p[0].argmax()), int(p[row].argmax()))
    assert n_others > 0


def test_what_the_heads_write_adds_up_to_the_attention(subjects):
    """One head at one token: its length is that of its columns' product; all heads and the bias make the output."""
    subject = subjects["tiny"]
    reading = reading_of(subject)
    seen, _ = seen_of(subject, reading)
    module, heads = subject.model.blocks[2].attention, seen.attention[2].heads[0]
    alone = torch.stack([heads[h] @ module.output.weight[:, 32 * h : 32 * h + 32].T for h in range(6)])
    whole = module.output(heads.transpose(0, 1).flatten(1))
    torch.testing.assert_close(alone.sum(dim=0) + module.output.bias, whole)
    norms = unpacked(reading["attention"][0]["norms"])[2]
    np.testing.assert_allclose(norms, alone.norm(dim=-1).detach(), rtol=1e-5)
    np.testing.assert_allclose(unpacked(reading["streams"][0]["attention"])[2], whole.norm(dim=-1).detach(), rtol=1e-5)


# --- layers, cache, windows, the next token --------------------------------------------------------------------------


def test_the_lens_ends_with_what_the_model_says(subject):
    reading = reading_of(subject)
    seen, _ = seen_of(subject, reading)
    lens, at = answer(subject, "lens", ids_of(reading)), reading["prediction"]["position"]
    probabilities = seen.logits[0].softmax(dim=-1)
    assert lens["columns"] == list(range(len(reading["tokens"]["ids"])))
    assert lens["ids"][-1] == probabilities.argmax(dim=-1).tolist()
    np.testing.assert_allclose(unpacked(lens["probabilities"])[-1], probabilities.amax(dim=-1), atol=1e-6)
    np.testing.assert_allclose(unpacked(lens["of_final"])[-1], probabilities.amax(dim=-1), atol=1e-6)
    assert lens["here"][-1]["ids"] == probabilities[at].topk(5).indices.tolist()
    norm = {"tiny": "final_norm", "tiny-llama": "final_norm", "tiny-t5": "decoder.final_norm"}.get(subject.name)
    state = seen.hidden_states[0][0]
    state = state if norm is None else subject.model.get_submodule(norm)(state)
    early = subject.model.logits(state).softmax(dim=-1)
    assert lens["ids"][1] == early.argmax(dim=-1).tolist()
    final = torch.tensor(lens["ids"][-1])
    np.testing.assert_allclose(unpacked(lens["of_final"])[1], early.gather(1, final[:, None])[:, 0].detach(), atol=1e-6)
    for stream in reading["streams"]:
        part = seen.encoder if stream["row"] == "source" else seen
        np.testing.assert_allclose(
            unpacked(stream["states"])[1:], torch.stack(part.hidden_states)[:, 0].norm(dim=-1), rtol=1e-5
        )


def test_of_a_large_vocabulary_the_lens_shows_the_last_positions(subjects, monkeypatch):
    monkeypatch.setattr("minigpt.explorer.layers.MOST_LOGITS", 5 * 6 * 4096)
    lens = answer(subjects["tiny"], "lens", ids_of(reading_of(subjects["tiny"])))
    assert lens["columns"] == [14, 15, 16, 17, 18]


def test_the_cache_has_the_size_of_a_cache(subject):
    reading = reading_of(subject)
    if subject.name == "tiny-bert":
        assert reading["caches"] == []
        return
    kept = reading["caches"][0]
    n = len(reading["tokens"]["ids"])
    cache = subject.model.new_cache(1, n)
    assert n * kept["bytes_per_token"] == cache.keys.nbytes + cache.values.nbytes
    if not subject.has_encoder:
        subject.model.hidden(torch.tensor([reading["tokens"]["ids"]]), cache=cache)
        expected = cache.keys[:, 0].detach().norm(dim=(1, 3))
        np.testing.assert_allclose(unpacked(kept["keys"]), expected, rtol=1e-4)


def test_a_t5_keeps_its_source_as_well(subjects):
    """The cache of the cross attention holds the keys and values that `read_source` makes once."""
    subject = subjects["tiny-t5"]
    reading = reading_of(subject)
    own, cross = reading["caches"]
    assert (own["row"], cross["row"]) == ("tokens", "source")
    made = subject.model.read_source(torch.tensor([reading["source"]["ids"]])).keys_values
    n_bytes = sum(part.nbytes for keys_values in made for part in keys_values)
    assert len(reading["source"]["ids"]) * cross["bytes_per_token"] == n_bytes
    for n, name in enumerate(("keys", "values")):
        expected = torch.stack([keys_values[n][0] for keys_values in made]).detach().norm(dim=(1, 3))
        np.testing.assert_allclose(unpacked(cross[name]), expected, rtol=1e-4)


def test_what_would_be_typed_to_get_these_tokens(subject):
    """Typed again, the text of a reading is the same reading; what the tokenizer adds by itself is no part of it."""
    reading = reading_of(subject)
    assert reading["text"] == TEXTS[subject.name]
    assert reading_of(subject, reading["text"]) == reading


def test_windows_are_those_of_score(subjects):
    subject = subjects["tiny"]
    found = answer(subject, "perplexity", {"text": TEXT * 3, "window": 20, "strides": [20, 5]})
    ids = subject.tokenizer.encode(TEXT * 3)
    assert len(found["pieces"]) == len(ids) and found["window"] == 20
    for one in found["strides"]:
        scores = score(subject.model, ids, window=20, stride=one["stride"])
        np.testing.assert_array_equal(unpacked(one["nll"]), scores.nll.astype(np.float32))
        assert one["windows"] == [[w.begin, w.first_target, w.end] for w in scores.windows]
        assert one["averages"]["perplexity"] == pytest.approx(scores.perplexity)
        assert one["averages"]["window_mean_perplexity"] == pytest.approx(scores.window_mean_perplexity)


def test_next_writes_what_generate_writes(subject):
    if subject.name == "tiny-bert":
        with pytest.raises(ValueError, match="it fills gaps"):
            answer(subject, "next", {"tokens": [5, 6]})
        return
    reading = reading_of(subject)
    prompt = reading["source"] or reading["tokens"]
    begun = len(reading["tokens"]["ids"])
    [written] = generate(subject.model, [prompt["ids"]], 12 if subject.has_encoder else 3)
    rows = ids_of(reading)
    for length in range(begun, len(written)):
        found = answer(subject, "next", rows)
        assert found["tokens"]["ids"] == written[: length + 1]
        assert found["ends"] == (written[length] in subject.model.end_tokens)
        rows = ids_of(found)


def test_next_draws_by_the_settings(subjects):
    subject = subjects["tiny"]
    chosen = {"temperature": 1.4, "top_k": 30, "top_p": 0.9, "min_p": None}
    rows = ids_of(reading_of(subject))
    logits = subject.model(torch.tensor([rows["tokens"]]))[:, -1].detach()
    p = sampling_probabilities(logits, 1.4, 30, 0.9)[0]
    drawn = []
    for seed in range(12):
        found = answer(subject, "next", {**rows, "sample": True, "seed": seed, "settings": chosen})
        generator = torch.Generator().manual_seed(seed + len(rows["tokens"]))
        assert found["tokens"]["ids"][-1] == int(torch.multinomial(p, 1, generator=generator))
        drawn.append(found["tokens"]["ids"][-1])
    assert len(set(drawn)) > 2


# --- texts -----------------------------------------------------------------------------------------------------------


def test_half_characters_are_shown_as_bytes(subjects):
    subject = subjects["tiny"]
    pieces = reading_of(subject, "a 中文 😀")["tokens"]["pieces"]
    assert any(re.fullmatch(r"(<[0-9A-F]{2}>)+", piece) for piece in pieces) and pieces[0] == "a"


@pytest.mark.parametrize(
    "question, fields, said",
    [
        ("read", {"text": ""}, "the text is empty: type at least one character"),
        ("read", {"text": 5}, "text must be a str, got 5"),
        ("read", {}, "give a text, or the ids of its tokens"),
        ("read", {"text": "a", "tokens": [1]}, "one of the two"),
        (
            "read",
            {"text": "word " * 300},
            "tokens are too many for the text: this page reads at most 256, which is the model's context",
        ),
        ("read", {"text": "x" * 200_000}, "200000 characters; the page takes at most 128000"),
        ("read", {"text": "\ud800"}, "lone surrogate"),
        ("read", {"tokens": []}, "the text has 0 tokens"),
        ("read", {"tokens": [4096]}, "token id 4096"),
        ("read", {"tokens": [-1]}, "token id -1"),
        ("read", {"tokens": ["a"]}, "integer token ids"),
        ("read", {"tokens": [1], "source": [1]}, "another model tokens only"),
        ("read", {"tokens": [1, 2], "position": 2}, "position must be an integer from 0 to 1"),
        ("read", {"text": "a", "file": "/etc/passwd"}, "read knows no field 'file'"),
        ("head", {"tokens": [1], "kind": "cross", "layer": 0, "head_number": 0}, "kind one of self"),
        ("head", {"tokens": [1], "kind": "self", "layer": 5, "head_number": 0}, "layer must be an integer from 0 to 4"),
        ("head", {"tokens": [1], "kind": "self", "layer": 0, "head_number": True}, "head must be an integer from 0"),
        ("without", {"tokens": [1], "heads": 3}, "heads must be a list"),
        ("without", {"tokens": [1], "heads": [["self", 0]]}, "heads must be a list of [kind, layer, head]"),
        ("next", {"tokens": [1] * 256}, "the page shows no more: take some away"),
        ("next", {"tokens": [1], "sample": 1}, "sample must be True or False"),
        ("next", {"tokens": [1], "sample": True, "settings": {"temperature": -1}}, "temperature must be at least"),
        ("next", {"tokens": [1], "sample": True, "settings": {"top_p": float("nan")}}, "top_p must be"),
        ("next", {"tokens": [1], "sample": True, "settings": {"num_beams": 4}}, "settings must be an object"),
        ("next", {"tokens": [1], "seed": -1}, "seed must be an integer"),
        ("perplexity", {"text": "a"}, "from 2 to 4000"),
        ("perplexity", {"text": "word " * 5000}, "tokens; from 2 to 4000"),
        ("perplexity", {"text": TEXT, "window": 300}, "window must be an integer from 2 to 256"),
        ("perplexity", {"text": TEXT, "window": 8, "strides": [9]}, "stride must be an integer from 1 to 8"),
        ("perplexity", {"text": "word " * 1500, "window": 256, "strides": [1]}, "take larger strides"),
        ("perplexity", {"text": TEXT, "strides": []}, "strides must be 1 to 4"),
        ("delete", {}, "there is no question 'delete'"),
        ("read", [], "must be a JSON object"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(subjects, question, fields, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        answer(subjects["tiny"], question, fields)


def test_a_bert_and_a_t5_say_why_they_have_no_perplexity(subjects):
    for name in ("tiny-bert", "tiny-t5"):
        with pytest.raises(ValueError, match="it looks at both sides|a text alone has no perplexity"):
            answer(subjects[name], "perplexity", {"text": TEXT})
    with pytest.raises(
        ValueError, match="513 tokens are too many for the text: this page reads at most 256, which is all that it can"
    ):
        texts_of(subjects["tiny-t5"], "word " * MOST_TOKENS)


def test_a_name_is_no_model(subjects):
    model, tokenizer = subjects["tiny"].model, subjects["tiny"].tokenizer
    for wrong, said in [
        (("tiny", tokenizer), "model must be a model"),
        ((model, "tiny"), "tokenizer must be a tokenizer"),
    ]:
        with pytest.raises(ValueError, match=said):
            Subject(*wrong)


def test_a_model_with_ones_own_attention_is_refused(subjects):
    model = load_model("tiny", attention=lambda q, k, v, **_: v)
    with pytest.raises(ValueError, match="load the model with attention='sdpa'"):
        answer(Subject(model, subjects["tiny"].tokenizer), "read", {"text": "a"})


@cache
def small() -> Subject:
    torch.manual_seed(0)
    return Subject(GPT2(GPT2Config(300, 64, 8, 2, 2)).eval(), load_tokenizer("tiny"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | st.text(max_size=8) | st.just("self"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.just("top_k"), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(QUESTIONS)), st.data())
def test_whatever_the_fields_hold_the_error_is_a_sentence(question, data):
    fields = {name: data.draw(ANYTHING) for name in data.draw(st.sets(st.sampled_from(QUESTIONS[question][1])))}
    fields = fields | data.draw(st.sampled_from([{}, {"tokens": [5, 6, 7]}]))
    try:
        answer(small(), question, fields)
    except ValueError as error:
        assert str(error)
