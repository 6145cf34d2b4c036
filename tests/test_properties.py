"""Facts that hold for every input, tried on inputs that hypothesis makes: the same in each run, ten times as many with
--full."""

import math
import sys
import tempfile
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import booleans, composite, floats, integers, lists, sampled_from, text

from minigpt import KVCache, Tokenizer
from minigpt.attention import attention_weights, causal_mask, explicit_attention, padding_mask, sdpa_attention
from minigpt.generation.drafts import find_draft
from minigpt.generation.processors import (
    forbid_repeated_ngrams,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
    sampling_probabilities,
)
from minigpt.generation.settings import row_seeds
from minigpt.loss import cross_entropy, log_softmax, next_token_loss
from minigpt.perplexity import Scores, sliding_windows
from minigpt.tokenizer.bpe import END_OF_TEXT, WORDS

# Not random: a test that fails, fails again on every machine. The smallest failing input is printed; no file keeps it.
examples = settings(
    max_examples=1000 if "--full" in sys.argv else 100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


seeds = integers(0, 2**32 - 1)

# --- tokenizer -------------------------------------------------------------------------------------------------------

SOME_TEXTS = ["low low lower lowest newer wider", "It's 2026: naïve café, 你好，世界！ 🙂🙃\n\n\tdone", "0 1 2 " * 9]
TOKENIZER = Tokenizer.train(SOME_TEXTS, 330)
awkward = sampled_from(
    [END_OF_TEXT, "<|end", "'s", "'LL", "  ", "\r\n", "\x00", "\u2028", "\u200d", "e\u0301", "🙂", "low"]
)
texts = lists(text(max_size=8) | awkward, max_size=8).map("".join)


@examples
@given(texts)
@example(END_OF_TEXT)
def test_any_text_comes_back(text):
    ids = TOKENIZER.encode(text)
    assert all(0 <= id < TOKENIZER.vocab_size for id in ids)
    assert TOKENIZER.decode(ids) == text
    assert text.count(END_OF_TEXT) == ids.count(TOKENIZER.eos_id)


@examples
@given(texts, texts)
def test_end_of_text_cuts_a_text_in_two(left, right):
    assume("<" not in left + right)  # no end-of-text token across the cut
    assert TOKENIZER.encode(left + END_OF_TEXT + right) == [
        *TOKENIZER.encode(left),
        TOKENIZER.eos_id,
        *TOKENIZER.encode(right),
    ]


@examples
@given(lists(integers(0, TOKENIZER.vocab_size - 1), max_size=30))
def test_streamed_ids_add_up_to_the_decoded_text(ids):
    """Any ids, also parts of characters: text that has been streamed never changes."""
    arrived = []
    streamed = ""
    for piece in TOKENIZER.decode_stream(id for id in ids if arrived.append(id) is None):
        assert piece
        streamed += piece
        assert TOKENIZER.decode(arrived).startswith(streamed)
    assert streamed == TOKENIZER.decode(ids)


@examples
@given(lists(texts, max_size=6), texts, integers(0, 40))
def test_a_tokenizer_trained_on_any_texts_encodes_any_text(training, text, n_merges):
    tokenizer = Tokenizer.train(training, 257 + n_merges)
    assert tokenizer.vocab_size == 257 + len(tokenizer.merges) <= 257 + n_merges
    assert tokenizer.decode(tokenizer.encode(text)) == text
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    assert len(ranks) == len(tokenizer.merges)
    names = {id: token for token, id in tokenizer.vocabulary.items()}
    for piece in WORDS.findall(text.replace(END_OF_TEXT, "")):
        tokens = [names[id] for id in tokenizer.encode(piece)]
        assert not [pair for pair in pairwise(tokens) if pair in ranks], "a pair was left unmerged"


@examples
@given(lists(texts, max_size=6), integers(0, 30), integers(0, 30))
def test_a_larger_vocabulary_goes_on_where_a_smaller_one_ends(training, few, more):
    smaller, larger = (Tokenizer.train(training, 257 + n).merges for n in (few, few + more))
    assert larger[: len(smaller)] == smaller and len(smaller) == min(few, len(larger))


@examples
@given(lists(texts, max_size=4), texts)
def test_a_saved_tokenizer_is_the_same_tokenizer(training, text):
    tokenizer = Tokenizer.train(training, 280)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        again = Tokenizer.load(folder)
    assert (again.vocabulary, again.merges, again.eos_id) == (tokenizer.vocabulary, tokenizer.merges, tokenizer.eos_id)
    assert again.encode(text) == tokenizer.encode(text)


# --- windows and perplexity ------------------------------------------------------------------------------------------


@composite
def window_shapes(draw):
    """(n_tokens, window, stride)"""
    window = draw(integers(2, 60))
    return draw(integers(2, 400)), window, draw(integers(1, window))


@examples
@given(window_shapes())
@example((65, 64, 64))
def test_each_token_is_scored_once_with_as_much_context_as_the_stride_leaves(shape):
    n_tokens, window, stride = shape
    windows = sliding_windows(*shape)
    targets = [(t, w) for w in windows for t in range(w.first_target, w.end)]
    unscored = set(range(window, n_tokens, window)) if stride == window else set()
    assert [t for t, _ in targets] == [t for t in range(1, n_tokens) if t not in unscored]
    for number, w in enumerate(windows):
        assert w.begin == number * stride and w.end == min(w.begin + window, n_tokens)
    assert all(w.end < n_tokens for w in windows[:-1])
    assert all(t - w.begin >= window - stride for t, w in targets if w.begin > 0)
    assert sum(w.n_new for w in windows) == windows[-1].end


@examples
@given(window_shapes(), seeds, integers(1, 1000))
def test_every_average_of_the_losses_is_its_formula(shape, seed, n_units):
    windows = sliding_windows(*shape)
    losses = random(seed, shape[0]).abs().tolist()
    nll = np.full(shape[0], np.nan)
    for w in windows:
        nll[w.first_target : w.end] = losses[w.first_target : w.end]
    scores = Scores(nll, windows)
    scored = [losses[t] for w in windows for t in range(w.first_target, w.end)]
    means = [sum(losses[w.first_target : w.end]) / (w.end - w.first_target) for w in windows]
    weights = [w.n_new - 1 for w in windows]
    assert scores.n_scored == len(scored)
    assert math.isclose(scores.perplexity, math.exp(sum(scored) / len(scored)), rel_tol=1e-11)
    assert math.isclose(scores.window_mean_perplexity, math.exp(sum(means) / len(means)), rel_tol=1e-11)
    whole = sum(scored) / len(scored) * (len(scores.nll) - 1)  # unscored tokens count with the mean of the others
    assert math.isclose(scores.word_perplexity(n_units), math.exp(whole / n_units), rel_tol=1e-11)
    assert math.isclose(scores.bits_per_byte(n_units), whole / math.log(2) / n_units, rel_tol=1e-11)
    if any(weights):
        weighted = sum(n * mean for n, mean in zip(weights, means, strict=True)) / sum(weights)
        assert math.isclose(scores.docs_perplexity, math.exp(weighted), rel_tol=1e-11)
    else:
        assert math.isnan(scores.docs_perplexity)


# --- attention -------------------------------------------------------------------------------------------------------


@composite
def attention_calls(draw):
    """q, k, v and the other arguments of an attention function, every kind of mask among them."""
    b, h, n_key, d, seed = (
        draw(integers(1, 2)),
        draw(integers(1, 3)),
        draw(integers(1, 7)),
        draw(integers(1, 4)),
        draw(seeds),
    )
    n_query = draw(integers(1, n_key))
    q, k, v = random(seed, b, h, n_query, d), random(seed + 1, b, h, n_key, d), random(seed + 2, b, h, n_key, 3)
    full = (b, h, n_query, n_key)
    mask = draw(
        st.none() | sampled_from([full[4 - n :] for n in (1, 2, 3, 4)] + [(b, 1, 1, n_key), (b, 1, n_query, 1)])
    )
    if mask is not None:
        size = math.prod(mask)
        mask = torch.tensor(draw(lists(booleans(), min_size=size, max_size=size))).view(mask)
    bias = random(seed + 3, *draw(sampled_from([full, (1, h, n_query, n_key), (n_key,)]))) if draw(booleans()) else None
    scale = draw(st.none() | floats(0.1, 3))
    return q, k, v, dict(mask=mask, causal=draw(booleans()), bias=bias, scale=scale)


def may_look(q, k, arguments) -> torch.Tensor:
    """The definition: (B, H, Tq, Tk) bool."""
    allowed = torch.ones(*q.shape[:-1], k.size(-2), dtype=torch.bool)
    if arguments["mask"] is not None:
        allowed &= arguments["mask"]
    if arguments["causal"]:
        allowed &= torch.ones(k.size(-2), k.size(-2), dtype=torch.bool).tril()[-q.size(-2) :]
    return allowed


@examples
@given(attention_calls())
def test_weights_are_shares_of_what_may_be_looked_at(call):
    q, k, _, arguments = call
    weights, allowed = attention_weights(q, k, **arguments), may_look(q, k, arguments)
    assert weights.shape == allowed.shape
    assert ((weights > 0) == allowed).all()
    assert (weights.sum(dim=-1) - allowed.any(dim=-1).double()).abs().max() < 1e-14


@examples
@given(attention_calls())
def test_both_attention_functions_give_the_same_answers(call):
    q, k, v, arguments = call
    assert (explicit_attention(q, k, v, **arguments) - sdpa_attention(q, k, v, **arguments)).abs().max() < 1e-13


@composite
def padded_rows(draw):
    """An attention_mask (1, T) with at least one real token, pads anywhere."""
    mask = draw(lists(booleans(), min_size=1, max_size=9))
    assume(any(mask))
    return torch.tensor([mask])


@examples
@given(padded_rows(), seeds, sampled_from([explicit_attention, sdpa_attention]))
def test_pads_might_as_well_not_be_there(mask, seed, attend):
    q, k, v = (random(seed + i, 1, 2, mask.size(1), 4) for i in range(3))
    real = mask[0]
    padded = attend(q, k, v, mask=padding_mask(mask), causal=True)
    alone = attend(q[:, :, real], k[:, :, real], v[:, :, real], causal=True)
    assert (padded[:, :, real] - alone).abs().max() < 1e-13


@examples
@given(integers(1, 40), integers(0, 40))
def test_the_causal_mask_of_a_chunk_is_the_end_of_the_triangle(n_query, past):
    triangle = torch.ones(past + n_query, past + n_query, dtype=torch.bool).tril()
    assert torch.equal(causal_mask(n_query, past + n_query), triangle[past:])


# --- loss ------------------------------------------------------------------------------------------------------------


@composite
def classifications(draw):
    """logits (..., V), targets (...), ignore_index: any shape, any of the targets ignored."""
    shape, n_classes = draw(lists(integers(1, 4), min_size=1, max_size=3)), draw(integers(1, 6))
    ignore_index = draw(sampled_from([-100, -1, 0, 3]))
    size = math.prod(shape)
    targets = draw(lists(integers(0, n_classes - 1) | st.just(ignore_index), min_size=size, max_size=size))
    logits = draw(sampled_from([1.0, 30.0, 1e4])) * random(draw(seeds), *shape, n_classes)
    return logits, torch.tensor(targets).view(shape), ignore_index


@examples
@given(classifications(), sampled_from(["mean", "sum", "none"]), sampled_from([0.0, 0.1, 1.0]))
def test_cross_entropy_is_torchs_for_any_shape(case, reduction, smoothing):
    logits, targets, ignore_index = case
    ours = cross_entropy(logits, targets, ignore_index, reduction, smoothing)
    options = dict(ignore_index=ignore_index, reduction=reduction, label_smoothing=smoothing)
    theirs = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), **options)
    assert ours.shape == (targets.shape if reduction == "none" else ())
    assert torch.allclose(ours.flatten(), theirs.flatten(), rtol=1e-12, atol=1e-12, equal_nan=True)


@examples
@given(classifications(), floats(-1e3, 1e3))
def test_a_constant_added_to_a_row_changes_no_loss(case, constant):
    logits, targets, ignore_index = case
    shift = constant * random(1, *targets.shape, 1)  # another one for every row
    before, after = (cross_entropy(x, targets, ignore_index, "none") for x in (logits, logits + shift))
    assert torch.allclose(before, after, rtol=1e-11, atol=1e-11)
    assert torch.allclose(log_softmax(logits + shift).logsumexp(-1), torch.zeros((), dtype=torch.float64), atol=1e-11)


@examples
@given(classifications())
def test_what_one_logit_gains_the_others_lose(case):
    logits, targets, ignore_index = case
    logits.requires_grad_()
    cross_entropy(logits, targets, ignore_index, "sum").backward()
    assert logits.grad.sum(dim=-1).abs().max() < 1e-14
    assert (logits.grad[targets == ignore_index] == 0).all()
    counted = targets != ignore_index
    assert (logits.grad[counted].gather(-1, targets[counted][:, None]) <= 0).all()


@composite
def batches(draw):
    """logits (B, T, V), labels (B, T) with some ignored, an attention_mask or None."""
    b, t, v = draw(integers(1, 5)), draw(integers(2, 6)), draw(integers(2, 5))
    labels = draw(lists(integers(0, v - 1) | st.just(-100), min_size=b * t, max_size=b * t))
    mask = draw(st.none() | lists(integers(0, 1), min_size=b * t, max_size=b * t))
    mask = None if mask is None else torch.tensor(mask).view(b, t)
    return random(draw(seeds), b, t, v), torch.tensor(labels).view(b, t), mask


@examples
@given(batches())
def test_a_label_counts_when_it_and_its_predecessor_are_real(batch):
    logits, labels, mask = batch
    expected = torch.zeros(labels.size(0), labels.size(1) - 1, dtype=torch.float64)
    for row, t in np.ndindex(expected.shape):
        if labels[row, t + 1] != -100 and (mask is None or (mask[row, t] and mask[row, t + 1])):
            expected[row, t] = -logits[row, t].log_softmax(-1)[labels[row, t + 1]]
    assert (next_token_loss(logits, labels, mask, reduction="none") - expected).abs().max() < 1e-13


@examples
@given(batches(), lists(integers(1, 4), max_size=3))
def test_parts_of_a_batch_add_up(batch, cuts):
    logits, labels, mask = batch
    whole = next_token_loss(logits, labels, mask, reduction="sum")
    n_items = max(1, int((next_token_loss(logits, labels, mask, reduction="none") > 0).sum()))
    bounds = sorted({0, len(labels), *(cut for cut in cuts if cut < len(labels))})
    parts = [
        next_token_loss(logits[a:b], labels[a:b], None if mask is None else mask[a:b], num_items=n_items)
        for a, b in pairwise(bounds)
    ]
    assert abs(sum(parts) - whole / n_items) < 1e-13


# --- cache -----------------------------------------------------------------------------------------------------------

N_LAYER, CAPACITY = 2, 6
steps = st.one_of(
    st.tuples(st.just("append"), integers(1, 4)),
    st.tuples(st.just("first layer only"), integers(1, 4)),  # a forward pass that fails half-way
    st.tuples(st.just("truncate"), integers(0, CAPACITY)),
    st.tuples(st.just("select"), lists(integers(0, 3), min_size=1, max_size=4)),
)


@examples
@given(integers(1, 3), lists(steps, max_size=12))
def test_a_cache_holds_what_lists_would_hold(batch_size, steps):
    cache = KVCache(N_LAYER, batch_size, n_head=2, capacity=CAPACITY, d_head=3)
    rows = [[] for _ in range(batch_size)]  # of each row, the numbers of the tokens it has seen

    def content(layer, rows):
        """Keys that tell row, token, layer, head and column apart: (B, 2, T, 3)."""
        numbers = torch.tensor(rows).view(len(rows), 1, -1, 1) * 100 + layer * 10
        return (numbers + torch.arange(6).view(1, 2, 1, 3)).float()

    fresh = iter(range(1, 1000))
    for kind, argument in steps:
        length = len(rows[0])
        if kind == "truncate" and argument <= length:
            cache.truncate(argument)
            rows = [row[:argument] for row in rows]
        elif kind == "select" and max(argument) < len(rows):
            cache.select(argument)
            rows = [list(rows[i]) for i in argument]
        elif kind in ("append", "first layer only") and length + argument <= CAPACITY:
            new = [[next(fresh) for _ in range(argument)] for _ in rows]
            longer = [row + more for row, more in zip(rows, new, strict=True)]
            for layer in range(N_LAYER if kind == "append" else 1):
                keys, values = cache.layers[layer].append(content(layer, new), -content(layer, new))
                assert torch.equal(keys, content(layer, longer)) and torch.equal(values, -content(layer, longer))
            if kind == "append":
                cache.advance(argument)
                rows = longer
        assert cache.length == len(rows[0]) and cache.batch_size == len(rows)
    for layer in range(N_LAYER):
        nothing = torch.zeros(len(rows), 2, 0, 3)
        keys, values = cache.layers[layer].append(nothing, nothing)
        assert torch.equal(keys, content(layer, rows)) and torch.equal(values, -content(layer, rows))


# --- sampling --------------------------------------------------------------------------------------------------------


@composite
def rows_of_logits(draw):
    """Logits (B, V) in float32, with ties and with tokens at -inf; at least one is finite."""
    v = draw(integers(1, 8))
    value = integers(-80, 80).map(lambda quarters: quarters / 4) | sampled_from([0.0, 1.0, -math.inf])
    rows = draw(lists(lists(value, min_size=v, max_size=v), min_size=1, max_size=3))
    assume(all(max(row) > -math.inf for row in rows))
    return torch.tensor(rows, dtype=torch.float32)


likely_shares = floats(0.01, 1.0) | sampled_from([1e-9, 0.5, 1.0])  # 1 - 1e-9 is 1 in float32


@examples
@given(rows_of_logits(), integers(1, 10))
def test_top_k_keeps_the_k_largest(logits, k):
    filtered = keep_top_k(logits, k)
    kept = filtered > -torch.inf
    assert torch.equal(filtered[kept], logits[kept])
    assert not (kept & logits.isinf()).any()  # -inf stays -inf
    for row, keep in zip(logits.tolist(), kept.tolist(), strict=True):
        threshold = sorted(row, reverse=True)[min(k, len(row)) - 1]
        assert keep == [value >= threshold and value > -math.inf for value in row]
    assert torch.equal(keep_top_k(filtered, k), filtered)


@examples
@given(rows_of_logits(), likely_shares)
def test_top_p_keeps_the_smallest_likely_set(logits, p):
    filtered = keep_top_p(logits, p)
    kept = filtered > -torch.inf
    assert torch.equal(filtered[kept], logits[kept])
    assert not (kept & logits.isinf()).any()
    for row, keep in zip(logits.double().softmax(dim=-1), kept, strict=True):
        assert keep.any()
        assert row[keep].min() >= row[~keep].max() if not keep.all() else True
        assert row[keep].sum() >= p - 1e-5
        assert row[keep].sum() - row[keep].min() <= p + 1e-5  # without the least likely of them it would be too little


@examples
@given(rows_of_logits(), floats(0, 1) | sampled_from([0.0, 0.5, 1.0]))
def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest(logits, p):
    filtered = keep_min_p(logits, p)
    kept = filtered > -torch.inf
    assert torch.equal(filtered[kept], logits[kept])
    ratios = (logits.double() - logits.double().amax(dim=-1, keepdim=True)).exp()
    assert not (kept & (ratios < p - 1e-5)).any() and not (~kept & (ratios > p + 1e-5)).any()
    assert kept.any(dim=-1).all()


@composite
def logits_with_texts(draw):
    """Logits (B, V) and a text before each row, short words from a small vocabulary."""
    logits = draw(rows_of_logits())
    tokens = integers(0, logits.size(1) - 1)
    return logits, [draw(lists(tokens, min_size=1, max_size=12)) for _ in logits]


@examples
@given(logits_with_texts(), floats(0.1, 10))
def test_a_penalty_moves_what_was_said_in_one_direction_and_nothing_else(case, penalty):
    logits, texts = case
    penalized = penalize_repetition(logits, texts, penalty)
    for before, after, said in zip(logits.tolist(), penalized.tolist(), texts, strict=True):
        for token, (old, new) in enumerate(zip(before, after, strict=True)):
            if token not in said or old == 0:
                assert new == old
            else:
                assert (new < old) == (penalty > 1 and old > -math.inf) or math.isclose(new, old, rel_tol=1e-6)
                assert new == 0 or (new > 0) == (old > 0)


@examples
@given(logits_with_texts(), integers(1, 14))
def test_ngrams_are_forbidden_exactly_when_the_text_would_hold_them_twice(case, n):
    logits, texts = case
    forbidden = forbid_repeated_ngrams(logits, texts, n)
    for before, after, said in zip(logits.tolist(), forbidden.tolist(), texts, strict=True):
        held = {tuple(said[i : i + n]) for i in range(len(said) - n + 1)}
        repeats = [tuple([*said, token][-n:]) in held for token in range(len(before))]
        expected = [-math.inf if again else old for again, old in zip(repeats, before, strict=True)]
        assert after == (before if all(repeats) else expected)


@examples
@given(
    rows_of_logits(),
    floats(0.2, 20),
    st.none() | integers(1, 8),
    st.none() | likely_shares,
    st.none() | floats(0, 1),
)
def test_probabilities_add_up_and_follow_the_logits(logits, temperature, top_k, top_p, min_p):
    probabilities = sampling_probabilities(logits, temperature, top_k, top_p, min_p)
    assert (probabilities.sum(dim=-1) - 1).abs().max() < 1e-5
    assert (probabilities[logits.isinf()] == 0).all()
    for row, shares in zip(logits.tolist(), probabilities.tolist(), strict=True):
        assert max(shares) in [share for value, share in zip(row, shares, strict=True) if value == max(row)]
        drawn = [(value, share) for value, share in zip(row, shares, strict=True) if share > 1e-30]
        for value, share in drawn:  # what is left keeps its proportions
            assert math.isclose(
                math.log(max(shares) / share), (max(row) - value) / temperature, rel_tol=1e-3, abs_tol=1e-3
            )


# --- drafts and seeds ------------------------------------------------------------------------------------------------

small_texts = lists(integers(0, 3), min_size=1, max_size=16)


@examples
@given(small_texts, integers(1, 5), integers(0, 9))
def test_a_draft_continues_the_longest_ending_that_was_there_before_as_it_went_on_last(text, max_ngram, draft_length):
    draft = find_draft(text, max_ngram, draft_length)
    lengths = [n for n in range(1, max_ngram + 1) if any(text[i : i + n] == text[-n:] for i in range(len(text) - n))]
    if not lengths:
        assert draft == []
        return
    n = max(lengths)
    place = max(i for i in range(len(text) - n) if text[i : i + n] == text[-n:]) + n
    longer = [*text, *draft]
    assert len(draft) == draft_length
    assert draft == longer[place : place + draft_length]  # what followed, and beyond the end the draft itself


@examples
@given(lists(small_texts, min_size=1, max_size=6), integers(-100, 100), st.randoms(use_true_random=False))
def test_a_rows_seed_depends_on_nothing_but_equal_prompts(prompts, seed, rng):
    seeds = row_seeds(prompts, seed)
    rows = list(zip(map(tuple, prompts), seeds, strict=True))
    assert len(set(rows)) == len(rows)  # equal prompts draw differently
    assert all(seed <= s < seed + len(prompts) for s in seeds)
    shuffled = rng.sample(prompts, len(prompts))
    assert sorted(zip(map(tuple, shuffled), row_seeds(shuffled, seed), strict=True)) == sorted(rows)
    for prompt in prompts:
        assert row_seeds([prompt], seed) == [seed]
