"""All integers go through one check, all numbers through another: True is no 1, numpy's and torch's integers are."""

import numpy as np
import pytest
import torch

from minigpt import GPT2, T5, Bert, BertConfig, GPT2Config, KVCache, LlamaConfig, T5Config, Tokenizer, generate
from minigpt._checks import check_fields, choice, end_ids, flag, integer, list_of_texts, number, several, token_ids
from minigpt.attention import MultiHeadAttention, causal_mask
from minigpt.compare.cost import attention_costs
from minigpt.compare.timing import alternate
from minigpt.data import batch_at
from minigpt.fast import linear_cross_entropy
from minigpt.generation import fill_mask, generate_details, sentence_vectors
from minigpt.generation.beams import beam_search
from minigpt.generation.drafts import speculate
from minigpt.generation.processors import forbid_repeated_ngrams, keep_top_k, most_likely, penalize_repetition
from minigpt.loss import cross_entropy, decoder_inputs, masked_loss, next_token_loss, next_token_targets, sequence_loss
from minigpt.perplexity import Scores, score, sliding_windows
from minigpt.train import MaskedTokens, NextToken, Spans, TrainConfig, evaluate, induction_gap
from minigpt.train.baselines import kneser_ney_guesses, kneser_ney_nll
from minigpt.train.held_out import masked_guesses, span_losses
from minigpt.train.optimizer import learning_rate_at

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
COSTS = dict(d_model=8, n_head=4)
REPEAT = dict(vocab_size=9, length=3, n_rows=1)
# Every integer that a public function takes: what is called, with the integer as its only argument, and a good one.
LOGITS3, LABELS = torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.long)
FAMILY = dict(vocab_size=10, hidden_size=8, intermediate_size=6, num_hidden_layers=1, num_attention_heads=2,
              max_position_embeddings=8)  # fmt: skip
T5_SIZE = dict(vocab_size=10, d_model=8, d_kv=4, d_ff=6, num_layers=1, num_heads=2)
BERT, T5_MODEL = Bert(BertConfig(**FAMILY)).eval(), T5(T5Config(**T5_SIZE)).eval()
MASKED = dict(vocab_size=10, mask_id=2, begin_id=0, end_id=1, special_ids=(0, 1, 2))
SPANS, ROWS = dict(sentinels=(3, 2), end_id=1, start_id=0), torch.arange(4, 10)[None]
INTEGERS = {
    **{f"{config.__name__}.{name}": (lambda n, c=config, s=size, name=name: c(**s | {name: n}), fits)
       for config, size, fields in [
           (LlamaConfig, FAMILY, {**dict.fromkeys(FAMILY, 4), "num_key_value_heads": 2, "head_dim": 4,
                                  "bos_token_id": 1, "eos_token_id": 2}),
           (BertConfig, FAMILY, dict.fromkeys((*FAMILY, "type_vocab_size", "pad_token_id"), 4)),
           (T5Config, T5_SIZE, {**dict.fromkeys((*T5_SIZE, "num_decoder_layers", "relative_attention_num_buckets"), 4),
                                "relative_attention_max_distance": 99, "pad_token_id": 0, "eos_token_id": 1,
                                "decoder_start_token_id": 0}),
       ] for name, fits in fields.items()},
    **{f"MaskedTokens.{name}": (lambda n, name=name: MaskedTokens(**MASKED | {name: n}).examples(ROWS, 1, 1), fits)
       for name, fits in [("vocab_size", 9), ("mask_id", 3), ("begin_id", 0), ("end_id", 1)]},
    "MaskedTokens.special_ids, the second": (lambda n: MaskedTokens(**MASKED | {"special_ids": (0, n)}), 1),
    **{f"Spans.{name}": (lambda n, name=name: Spans(**SPANS | {name: n}).examples(ROWS, 1, 1), fits)
       for name, fits in [("end_id", 1), ("start_id", 0)]},
    "Spans.sentinels, the second": (lambda n: Spans(**SPANS | {"sentinels": (3, n)}).examples(ROWS, 1, 1), 2),
    "NextToken.end_of_text": (NextToken, 2),
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
    **{f"{loss.__name__}.{name}": (lambda n, loss=loss, name=name: loss(LOGITS3, LABELS, **{name: n}), 3)
       for loss, names in [(masked_loss, ["ignore_index", "num_items"]), (next_token_loss, ["ignore_index"]),
                           (sequence_loss, ["ignore_index", "num_items", "pad_token_id"])] for name in names},
    **{f"decoder_inputs.{name}": (lambda n, name=name: decoder_inputs(LABELS, **dict(start_token_id=0, pad_token_id=0)
                                                                      | {name: n}), 3)
       for name in ("start_token_id", "pad_token_id", "ignore_index")},
    "next_token_targets.ignore_index": (lambda n: next_token_targets(LABELS, LABELS, n), 3),
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
    "generate.suppress_tokens, the second": (lambda n: generate(MODEL, [[1]], 2, suppress_tokens=[3, n]), 2),
    "generate, a T5's prompt, its second token": (lambda n: generate(T5_MODEL, [[1, n]], 2), 2),
    "beam_search.max_new_tokens": (lambda n: next(beam_search(MODEL, [1], n, 2)), 2),
    "beam_search.num_beams": (lambda n: next(beam_search(MODEL, [1], 2, n)), 2),
    "beam_search.prompt, the second token": (lambda n: next(beam_search(MODEL, [1, n], 2, 2)), 2),
    "fill_mask.mask_id": (lambda n: fill_mask(BERT, [1, 2, 3], n), 2),
    "fill_mask.n": (lambda n: fill_mask(BERT, [1, 2, 3], 2, n), 2),
    "fill_mask.tokens, the second": (lambda n: fill_mask(BERT, [2, n], 2), 3),
    "fill_mask.token_types, the second": (lambda n: fill_mask(BERT, [2, 3], 2, token_types=[0, n]), 1),
    "sentence_vectors, the second's second token": (lambda n: sentence_vectors(BERT, [[1], [2, n]]), 3),
    "penalize_repetition, the second's second": (lambda n: penalize_repetition(LOGITS[:2], [[1], [2, n]], 2.0), 3),
    "speculate.max_ngram": (lambda n: list(speculate(MODEL, [1], 2, max_ngram=n)), 2),
    "speculate.draft_length": (lambda n: list(speculate(MODEL, [1], 2, draft_length=n)), 2),
    "keep_top_k": (lambda n: keep_top_k(LOGITS, n), 2),
    "forbid_repeated_ngrams": (lambda n: forbid_repeated_ngrams(LOGITS, [[1]] * 3, n), 2),
    "most_likely": (lambda n: most_likely(LOGITS, n), 2),
    "sliding_windows.n_tokens": (lambda n: sliding_windows(n, 3, 1), 9),
    "sliding_windows.window": (lambda n: sliding_windows(9, n, 1), 3),
    "sliding_windows.stride": (lambda n: sliding_windows(9, 3, n), 2),
    "score.tokens, the second": (lambda n: score(MODEL, [1, n, 3]), 2),
    "score.window": (lambda n: score(MODEL, TEXT[:20].tolist(), n), 3),
    "score.stride": (lambda n: score(MODEL, TEXT[:20].tolist(), 4, n), 2),
    "score.batch_size": (lambda n: score(MODEL, TEXT[:20].tolist(), batch_size=n), 2),
    "Scores.word_perplexity": (SCORES.word_perplexity, 3),
    "Scores.character_perplexity": (SCORES.character_perplexity, 3),
    "Scores.bits_per_byte": (SCORES.bits_per_byte, 3),
    "Tokenizer.train.vocab_size": (lambda n: Tokenizer.train(["some text"], n), 258),
    "Tokenizer.decode, the second id": (lambda n: TOKENIZER.decode([1, n]), 3),
    **{f"batch_at.{name}": (lambda n, name=name: batch_at(**BATCH | {name: n}), 2)
       for name in ("step", "batch_size", "context", "seed")},
    **{f"TrainConfig.{name}": (lambda n, name=name: TrainConfig(**{name: n}), 2) for name in
       ("steps", "batch_size", "micro_batch_size", "context", "warmup_steps", "end_of_text", "evaluate_every", "seed")},
    **{f"evaluate.{name}": (lambda n, name=name: evaluate(MODEL, TEXT, **dict(context=4) | {name: n}), 4)
       for name in ("context", "n_rows", "batch_size", "end_of_text")},
    **{f"masked_guesses.{name}": (lambda n, name=name: masked_guesses(BERT, TEXT, **dict(
        context=8, objective=MaskedTokens(**MASKED)) | {name: n}), 6) for name in ("context", "batch_size")},
    **{f"span_losses.{name}": (lambda n, name=name: span_losses(T5_MODEL, TEXT, **dict(
        context=8, objective=Spans(**SPANS)) | {name: n}), 6) for name in ("context", "batch_size")},
    **{f"induction_gap.{name}": (lambda n, name=name: induction_gap(MODEL, **REPEAT | {name: n}), 3)
       for name in ("vocab_size", "length", "n_rows", "seed")},
    "learning_rate_at.step": (lambda n: learning_rate_at(n, TrainConfig()), 3),
    "kneser_ney_nll.vocab_size": (lambda n: kneser_ney_nll(TEXT, TEXT, n), 10),
    "kneser_ney_guesses.vocab_size": (lambda n: kneser_ney_guesses(TEXT, TEXT, [3, 4], n), 10),
    "kneser_ney_guesses.places, the second": (lambda n: kneser_ney_guesses(TEXT, TEXT, [3, n], 10), 4),
    "KVCache.select, the second": (lambda n: KVCache(**CACHE | {"batch_size": 3}).select([0, n]), 2),
    "kneser_ney_nll.order": (lambda n: kneser_ney_nll(TEXT, TEXT, 10, n), 2),
    "alternate.rounds": (lambda n: alternate({"a": lambda: 1.0}, "a", n), 1),
    **{f"attention_costs.{name}": (lambda n, name=name: attention_costs(**COSTS | {name: n}), 4)
       for name in ("d_model", "n_head", "n_kv_head", "d_head", "rows", "tokens", "past")},
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGERS)
def test_every_integer_is_checked_by_the_one_check(name):
    call, fits = INTEGERS[name]
    for value in (fits, np.int64(fits), np.int32(fits), np.array(fits), torch.tensor(fits)):
        call(value)
    for bad in (True, False, np.True_, torch.tensor(True), float(fits), str(fits), None, [fits]):
        if bad is None and name.split(".")[-1] in MAY_BE_NONE:
            continue
        if bad == [fits] and (name == "generate.seed" or name.endswith("eos_token_id")):  # there may be several
            continue
        with pytest.raises(ValueError) as caught:
            call(bad)
        assert repr(bad)[:20] in str(caught.value) or "token ids" in str(caught.value), str(caught.value)


MAY_BE_NONE = {
    "n_inner", "bos_token_id", "eos_token_id", "n_kv_head", "d_head", "num_items", "chunk_size", "top_k", "seed",
    "window", "stride", "batch_size", "micro_batch_size", "end_of_text", "num_key_value_heads", "head_dim",
    "pad_token_id", "num_decoder_layers", "decoder_start_token_id",
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
    assert token_ids("t", (n for n in (1, np.int64(2), torch.tensor(3)))) == [1, 2, 3]
    assert all(type(id) is int for id in token_ids("t", np.array([1, 2], dtype=np.uint16)))
    not_ids = ([1, True], [1.0], "12", b"12", [[1]], None, 5, np.array(5), torch.tensor(5), np.array([[1]]), [1, None])
    for bad in (*not_ids, torch.tensor([True]), torch.tensor([[1, 2]]), np.array([1.5])):
        with pytest.raises(ValueError, match="t must be a list of integer token ids"):
            token_ids("t", bad)


def test_several_and_list_of_texts():
    assert several("s", (part := iter("ab")), "parts") is part and list_of_texts("s", ("a", "b")) == ["a", "b"]
    for bad in (None, 5, "ab", b"ab", np.array(5), torch.tensor(5)):
        with pytest.raises(ValueError, match="s must be a list of parts, got "):
            several("s", bad, "parts")
        with pytest.raises(ValueError, match="s must be a list of texts, got "):
            list_of_texts("s", bad)
    with pytest.raises(ValueError, match="s must be a list of texts, got 5 as text 1"):
        list_of_texts("s", ["a", 5])


def test_one_end_or_several():
    assert end_ids("e", 5) == end_ids("e", [5]) == end_ids("e", (np.int64(5),)) == 5
    assert end_ids("e", [5, np.int64(7)]) == end_ids("e", (5, 7)) == (5, 7)
    for bad in ("5", 1.5, True, [], (), [[5]], [5, "7"], [5, None], [5, True], {5}):
        with pytest.raises(ValueError, match="^e must be an integer, got"):
            end_ids("e", bad)


def test_check_fields_stores_what_the_check_returns():
    class Record:
        n = np.int64(3)
        nothing = None

    record = Record()
    check_fields(record, integer, "n nothing", or_none=True, least=1)
    assert type(record.n) is int and record.nothing is None
    with pytest.raises(ValueError, match="nothing must be an integer"):
        check_fields(record, integer, "n nothing", least=1)
