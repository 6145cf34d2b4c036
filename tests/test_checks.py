"""All integers go through one check, all numbers through another: True is no 1, numpy's and torch's integers are."""

import numpy as np
import pytest
import torch

from minigpt import GPT2, GPT2Config, KVCache, Tokenizer, generate
from minigpt._checks import check_fields, choice, flag, integer, number, token_ids
from minigpt.attention import MultiHeadAttention, causal_mask
from minigpt.compare.timing import alternate
from minigpt.data import batch_at
from minigpt.fast import linear_cross_entropy
from minigpt.generation import generate_details
from minigpt.generation.drafts import speculate
from minigpt.generation.processors import forbid_repeated_ngrams, keep_top_k, most_likely
from minigpt.loss import cross_entropy, next_token_loss
from minigpt.perplexity import Scores, score, sliding_windows
from minigpt.train import TrainConfig, evaluate, induction_gap
from minigpt.train.baselines import kneser_ney_nll

SHAPE = dict(vocab_size=10, n_positions=8, n_embd=4, n_layer=1, n_head=1, bos_token_id=None, eos_token_id=None)
MODEL = GPT2(GPT2Config(**SHAPE)).eval()
LOGITS, TARGETS, TEXT = torch.zeros(3, 5), torch.tensor([0, 1, 2]), np.arange(60) % 10
TOKENIZER = Tokenizer.train(["some text"], 258)
SCORES = Scores(np.array([np.nan, 1.0]), [])


def cache():
    cache = KVCache(1, 1, 1, 4, 2)
    cache.length = 3
    return cache


CACHE = dict(n_layer=1, batch_size=1, n_head=1, capacity=1, d_head=1)
LAYER, BATCH = dict(d_model=4, n_head=2), dict(step=0, tokens=TEXT, batch_size=1, context=4)
REPEAT = dict(vocab_size=9, length=3, n_rows=1)
# Every integer that a public function takes: what is called, with the integer as its only argument, and a good one.
INTEGERS = {
    **{f"GPT2Config.{name}": (lambda n, name=name: GPT2Config(**SHAPE | {name: n}), 4) for name in
       ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "bos_token_id", "eos_token_id")},
    **{f"KVCache.{name}": (lambda n, name=name: KVCache(**CACHE | {name: n}), 2)
       for name in ("n_layer", "batch_size", "n_head", "capacity", "d_head")},
    "KVCache.advance": (lambda n: cache().advance(n), 1),
    "KVCache.truncate": (lambda n: cache().truncate(n), 2),
    **{f"MultiHeadAttention.{name}": (lambda n, name=name: MultiHeadAttention(**LAYER | {name: n}), 2)
       for name in ("d_model", "n_head", "n_kv_head", "d_head")},
    "causal_mask.n_query": (lambda n: causal_mask(n, 3), 2),
    "causal_mask.n_key": (lambda n: causal_mask(1, n), 2),
    "cross_entropy.ignore_index": (lambda n: cross_entropy(LOGITS, TARGETS, ignore_index=n), 2),
    "next_token_loss.num_items": (lambda n: next_token_loss(LOGITS[None], TARGETS[None], num_items=n), 2),
    "linear_cross_entropy.chunk_size": (lambda n: linear_cross_entropy(LOGITS, LOGITS, TARGETS, chunk_size=n), 2),
    "generate.max_new_tokens": (lambda n: generate(MODEL, [[1]], n), 2),
    "generate.num_beams": (lambda n: generate(MODEL, [[1]], 2, num_beams=n), 2),
    "generate.top_k": (lambda n: generate(MODEL, [[1]], 2, do_sample=True, top_k=n), 2),
    "generate.no_repeat_ngram_size": (lambda n: generate(MODEL, [[1]], 2, no_repeat_ngram_size=n), 2),
    "generate.seed": (lambda n: generate(MODEL, [[1]], 2, do_sample=True, seed=n), 2),
    "generate.seed, the second of a list": (lambda n: generate(MODEL, [[1], [2]], 2, do_sample=True, seed=[5, n]), 2),
    "generate.stop_tokens, the second": (lambda n: generate(MODEL, [[1]], 2, stop_tokens=[3, n]), 2),
    "generate.prompts, the second's second token": (lambda n: generate(MODEL, [[1], [2, n]], 2), 3),
    "generate_details.max_new_tokens": (lambda n: generate_details(MODEL, [[1]], n), 2),
    "speculate.max_ngram": (lambda n: list(speculate(MODEL, [1], 2, max_ngram=n)), 2),
    "speculate.draft_length": (lambda n: list(speculate(MODEL, [1], 2, draft_length=n)), 2),
    "keep_top_k": (lambda n: keep_top_k(LOGITS, n), 2),
    "forbid_repeated_ngrams": (lambda n: forbid_repeated_ngrams(LOGITS, [[1]] * 3, n), 2),
    "most_likely": (lambda n: most_likely(LOGITS, n), 2),
    "sliding_windows.window": (lambda n: sliding_windows(9, n, 1), 3),
    "sliding_windows.stride": (lambda n: sliding_windows(9, 3, n), 2),
    "score.window": (lambda n: score(MODEL, TEXT[:20].tolist(), n), 3),
    "score.stride": (lambda n: score(MODEL, TEXT[:20].tolist(), 4, n), 2),
    "score.batch_size": (lambda n: score(MODEL, TEXT[:20].tolist(), batch_size=n), 2),
    "Scores.word_perplexity": (SCORES.word_perplexity, 3),
    "Scores.bits_per_byte": (SCORES.bits_per_byte, 3),
    "Tokenizer.train.vocab_size": (lambda n: Tokenizer.train(["some text"], n), 258),
    "Tokenizer.decode, the second id": (lambda n: TOKENIZER.decode([1, n]), 3),
    **{f"batch_at.{name}": (lambda n, name=name: batch_at(**BATCH | {name: n}), 2)
       for name in ("step", "batch_size", "context", "seed")},
    **{f"TrainConfig.{name}": (lambda n, name=name: TrainConfig(**{name: n}), 2) for name in
       ("steps", "batch_size", "micro_batch_size", "context", "warmup_steps", "end_of_text", "evaluate_every", "seed")},
    **{f"evaluate.{name}": (lambda n, name=name: evaluate(MODEL, TEXT, **dict(context=4) | {name: n}), 4)
       for name in ("context", "n_rows", "batch_size")},
    **{f"induction_gap.{name}": (lambda n, name=name: induction_gap(MODEL, **REPEAT | {name: n}), 3)
       for name in ("vocab_size", "length", "n_rows")},
    "kneser_ney_nll.order": (lambda n: kneser_ney_nll(TEXT, TEXT, 10, n), 2),
    "alternate.rounds": (lambda n: alternate({"a": lambda: None}, "a", n), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGERS)
def test_every_integer_is_checked_by_the_one_check(name):
    call, fits = INTEGERS[name]
    for value in (fits, np.int64(fits), np.int32(fits), torch.tensor(fits)):
        call(value)
    for bad in (True, False, np.True_, torch.tensor(True), float(fits), str(fits), None, [fits]):
        if (bad is None and name.split(".")[-1] in MAY_BE_NONE) or (bad == [fits] and name == "generate.seed"):
            continue
        with pytest.raises(ValueError) as caught:
            call(bad)
        assert repr(bad)[:20] in str(caught.value) or "token ids" in str(caught.value), str(caught.value)


MAY_BE_NONE = {
    "n_inner", "bos_token_id", "eos_token_id", "n_kv_head", "d_head", "num_items", "chunk_size", "top_k", "seed",
    "window", "stride", "batch_size", "micro_batch_size", "end_of_text",
}  # fmt: skip


def test_configs_hold_plain_integers():
    """They can then be written to config.json, and compared."""
    config = GPT2Config(**SHAPE | dict(n_layer=np.int64(1), n_embd=torch.tensor(4)))
    assert config == GPT2Config(**SHAPE) and type(config.n_layer) is type(config.n_embd) is int
    assert type(TrainConfig(steps=np.int64(3)).steps) is int


def test_integer():
    assert [integer("n", value) for value in (3, np.uint8(3), torch.tensor(3), np.array(3))] == [3] * 4
    for bad in (1.0, "1", None, [1], 1j, np.array([1, 2])):
        with pytest.raises(ValueError, match="n must be an integer, got"):
            integer("n", bad)
    with pytest.raises(ValueError, match="n must be an integer of at least 2, got 1"):
        integer("n", 1, 2)
    with pytest.raises(ValueError, match="n must be an integer from 2 to 4, got 5"):
        integer("n", 5, 2, 4)


def test_number():
    assert [number("x", value) for value in (3, 0.5, np.float32(2))] == [3, 0.5, 2]
    for bad in (True, "1", None, float("nan"), float("inf"), 1j):
        with pytest.raises(ValueError, match="x must be a finite number, got"):
            number("x", bad)
    for bad, limits, words in [
        (-1, dict(least=0, below=1), "at least 0 and below 1"),
        (1, dict(least=0, below=1), "at least 0 and below 1"),
        (0, dict(above=0, most=1), "above 0 and at most 1"),
        (2, dict(above=0, most=1), "above 0 and at most 1"),
        (float("inf"), dict(least=0), "at least 0"),
        (float("nan"), dict(least=0, most=1), "at least 0 and at most 1"),
    ]:
        with pytest.raises(ValueError, match=f"x must be {words}, got {bad}"):
            number("x", bad, **limits)
    assert number("x", float("inf"), above=0, most=float("inf")) == float("inf")


def test_flag_choice_and_token_ids():
    assert (
        flag("f", True) is True and choice("c", "b", ("a", "b")) == "b" and choice("c", False, (True, False)) is False
    )
    for bad in (1, 0, None, "True"):
        with pytest.raises(ValueError, match="f must be True or False"):
            flag("f", bad)
        with pytest.raises(ValueError, match="c must be one of True, False; got"):
            choice("c", bad, (True, False))
    assert (
        token_ids("t", np.array([1, 2]))
        == token_ids("t", range(1, 3))
        == token_ids("t", torch.tensor([1, 2]))
        == [1, 2]
    )
    for bad in ([1, True], [1.0], "12", b"12", [[1]], torch.tensor([True])):
        with pytest.raises(ValueError, match="t must be a list of integer token ids"):
            token_ids("t", bad)


def test_check_fields_stores_what_the_check_returns():
    class Record:
        n = np.int64(3)
        nothing = None

    record = Record()
    check_fields(record, integer, "n nothing", or_none=True, least=1)
    assert type(record.n) is int and record.nothing is None
    with pytest.raises(ValueError, match="nothing must be an integer"):
        check_fields(record, integer, "n nothing", least=1)
