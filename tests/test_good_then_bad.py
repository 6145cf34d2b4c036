"""A list is checked whole. Each list that a public function takes, and each list in a file, is given a good element and
then a bad one; the bad one is found as if it stood alone, before any work."""

import inspect
import re

import numpy as np
import pytest
import tokenizers
import torch

import minigpt
from minigpt import GPT2, Bert, BertConfig, GPT2Config, Tokenizer, data, generation, perplexity, tokenizer, train
from minigpt.data.corruption import masked_tokens, spans
from minigpt.generation.beams import beam_search
from minigpt.generation.drafts import speculate
from minigpt.generation.loop import log_probabilities
from minigpt.generation.settings import Settings
from minigpt.tokenizer import LibraryTokenizer, SpecialToken, WordPiece
from minigpt.train import MaskedTokens, Spans, TrainConfig
from minigpt.train.baselines import kneser_ney_guesses, kneser_ney_nll, primed_lzma_bytes, unigram

torch.manual_seed(0)
GPT = GPT2(GPT2Config(vocab_size=10, n_positions=6, n_embd=8, n_layer=1, n_head=2, bos_token_id=9, eos_token_id=9))
BERT = Bert(BertConfig(10, 8, 1, 2, 8, max_position_embeddings=6))
for model in (GPT.eval(), BERT.eval()):
    for part in model.modules():
        part.register_forward_pre_hook(lambda *_: WORK.append(1))
WORK = []  # grows when a model runs

WORDS = Tokenizer.train(["some text"], 258)
OF_WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}
OF_LIBRARY = LibraryTokenizer(tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, "a")), {}, {})
ROW = torch.arange(40)[None]


class Letters:
    """A tokenizer of the small vocabulary."""

    def encode(self, text):
        return [1 for _ in text]

    def decode_stream(self, ids):
        return ("a" for _ in ids)


def in_words(**changes):
    return Tokenizer(**dict(vocabulary=WORDS.vocabulary, merges=[]) | changes)


def in_pieces(**changes):
    return WordPiece(**dict(vocabulary=OF_WORDS, names={"unk_token": "[UNK]"}) | changes)


def ids(*more):
    """What is no id of the small vocabulary."""
    return (10, -1, 1.0, True, None, "1", [1], *more)


NO_IDS = (-1, 1.5, True, None, "1", [1])
NO_TEXTS = (None, 5, ["b"], b"b")
# function and argument: (call with a list, a good element, bad elements)
LISTS = {
    "generate(prompts)": (lambda x: generation.generate(GPT, x, 2), [1], ([], [10], [1.0], None, 5, "12", [1] * 7)),
    "generate_details(prompts)": (lambda x: generation.generate_details(GPT, x, 2), [1], ([], [10], None)),
    "steps(prompts)": (lambda x: generation.steps(GPT, x, 2), [1], ([], [10], None)),
    "generate(prompts), one prompt": (lambda x: generation.generate(GPT, [[1], x], 2), 1, ids()),
    "stream(prompt)": (lambda x: generation.stream(GPT, x, 2), 1, ids()),
    "speculate(prompt)": (lambda x: speculate(GPT, x, 2), 1, ids()),
    "beam_search(prompt)": (lambda x: next(beam_search(GPT, x, 2, 2)), 1, ids()),
    "generate(suppress_tokens)": (lambda x: generation.generate(GPT, [[1]], 2, suppress_tokens=x), 1, ids()),
    "generate(stop_tokens)": (lambda x: generation.generate(GPT, [[1]], 2, stop_tokens=x), 1, ids()),
    "speculate(suppress_tokens)": (lambda x: speculate(GPT, [1], 2, suppress_tokens=x), 1, ids()),
    "speculate(stop_tokens)": (lambda x: speculate(GPT, [1], 2, stop_tokens=x), 1, ids()),
    "generate(processors)": (
        lambda x: generation.generate(GPT, [[1]], 2, processors=x), lambda logits, texts: logits, (None, "f", 5),
    ),
    "generate(seed)": (
        lambda x: generation.generate(GPT, [[1]] * len(x), 2, do_sample=True, seed=x), 1, (2**63, 1.0, True, None, "1"),
    ),
    "stream_text(stop)": (
        lambda x: generation.stream_text(GPT, Letters(), "a", 2, stop=x), "a", ("", *NO_TEXTS),
    ),
    "fill_mask(tokens)": (lambda x: generation.fill_mask(BERT, x, 1), 1, ids()),
    "fill_mask(token_types)": (lambda x: generation.fill_mask(BERT, [1] * len(x), 1, token_types=x), 1, (2, *NO_IDS)),
    "sentence_vectors(texts)": (lambda x: generation.sentence_vectors(BERT, x), [1], ([], [10], [1.0], None, [1] * 7)),
    "score(tokens)": (lambda x: perplexity.score(GPT, [1, *x]), 1, ids()),
    "score(prefix)": (lambda x: perplexity.score(GPT, [1, 2, 3], prefix=x), 1, ids()),
    "KVCache.select(rows)": (lambda x: GPT.new_cache(3, 4).select(x), 1, (3, *NO_IDS)),
    "Tokenizer(merges)": (
        lambda x: in_words(vocabulary=WORDS.vocabulary | {"so": 258}, merges=x), ("s", "o"),
        (("s",), ("s", "q"), ("s", "o", "o"), ("s", 5), "so", None, 5),
    ),
    "Tokenizer(special_tokens)": (lambda x: in_words(special_tokens=x), "<|endoftext|>", ("zz", "", None, 5, ["a"])),
    "Tokenizer(prefix)": (lambda x: in_words(prefix=x), 1, (258, *NO_IDS)),
    "Tokenizer(suffix)": (lambda x: in_words(suffix=x), 1, (258, *NO_IDS)),
    "Tokenizer.decode(ids)": (WORDS.decode, 1, NO_IDS),
    "Tokenizer.pieces(ids)": (WORDS.pieces, 1, NO_IDS),
    "Tokenizer.decode_stream(ids)": (lambda x: list(WORDS.decode_stream(x)), 1, NO_IDS),
    "Tokenizer.train(texts)": (lambda x: Tokenizer.train(x, 300), "a", ("\ud800", *NO_TEXTS)),
    "Tokenizer.train(special_tokens)": (lambda x: Tokenizer.train(["a"], 300, dict.fromkeys(x)), "<a>", ("", None, 5)),
    "WordPiece(special_tokens)": (lambda x: in_pieces(special_tokens=x), SpecialToken("[CLS]"), ("", None, 5, ["a"])),
    "WordPiece(prefix)": (lambda x: in_pieces(prefix=x), 1, (4, *NO_IDS)),
    "WordPiece(suffix)": (lambda x: in_pieces(suffix=x), 1, (4, *NO_IDS)),
    "WordPiece.decode(ids)": (in_pieces().decode, 1, NO_IDS),
    "WordPiece.pieces(ids)": (in_pieces().pieces, 1, NO_IDS),
    "WordPiece.decode_stream(ids)": (lambda x: list(in_pieces().decode_stream(x)), 1, NO_IDS),
    "LibraryTokenizer.decode(ids)": (OF_LIBRARY.decode, 1, NO_IDS),
    "LibraryTokenizer.pieces(ids)": (OF_LIBRARY.pieces, 1, NO_IDS),
    "LibraryTokenizer.decode_stream(ids)": (lambda x: list(OF_LIBRARY.decode_stream(x)), 1, NO_IDS),
    "encode_documents(documents)": (lambda x: data.encode_documents(x, WORDS), "a", ("\ud800", *NO_TEXTS)),
    "hold_out_tails(texts)": (data.hold_out_tails, "a", NO_TEXTS),
    "primed_lzma_bytes(training)": (lambda x: primed_lzma_bytes(x, ["a"]), "a", NO_TEXTS),
    "primed_lzma_bytes(held_out)": (lambda x: primed_lzma_bytes(["a"], x), "a", NO_TEXTS),
    "masked_tokens(replacements)": (lambda x: masked_tokens(ROW, 0, 0, mask_id=1, replacements=x), 1, NO_IDS[1:]),
    "spans(sentinels)": (lambda x: spans(ROW, 0, 0, sentinels=[*x, 1, 2], end_id=3), 1, NO_IDS[1:]),
    "MaskedTokens(special_ids)": (lambda x: MaskedTokens(10, 1, 2, 3, tuple(x)), 1, NO_IDS),
    "Spans(sentinels)": (lambda x: Spans(tuple(x), 1, 0), 1, NO_IDS),
    "TrainConfig(betas)": (lambda x: TrainConfig(betas=tuple([*x, 0.9][:2])), 0.9, (1.0, -0.1, None, "0.9", True)),
    "GPT2Config(eos_token_id)": (lambda x: GPT2Config(eos_token_id=x), 1, (1.5, True, None, "1", [1])),
    "unigram(tokens)": (lambda x: unigram(np.array(x), 10), 1, (10, -1, 1.5)),
    "kneser_ney_nll(tokens)": (lambda x: kneser_ney_nll(np.array([*range(9), *x]), np.arange(3), 10), 1, (10, -1, 1.5)),
    "kneser_ney_nll(held_out)": (lambda x: kneser_ney_nll(np.arange(9), np.array(x), 10), 1, (10, -1, 1.5)),
    "kneser_ney_guesses(places)": (lambda x: kneser_ney_guesses(np.arange(9), np.arange(9), x, 10), 1, (9, *NO_IDS)),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_the_second_element_is_checked_like_the_first(name):
    call, good, bad_ones = LISTS[name]
    call([good])
    for bad in bad_ones:
        for elements in ([good, bad], [bad, good]):
            WORK.clear()
            with pytest.raises(ValueError) as caught:
                call(elements)
            assert not WORK, f"work was done before {bad!r} was found"
            assert not str(caught.value).startswith(("not enough values", "too many values", "invalid literal"))


# Lists that the package has made itself (classes that hold results, histories), and those that are checked by the
# function that passes them on.
MADE_HERE = {"Generation", "Step", "Scores", "Beam", "Beams", "Gap", "best_of", "write_history"}
CHECKED_BEFORE = {"T5.first_texts(prompts)", "T5.start(prompts)", "train(on_record)"}


def listed_arguments() -> set[str]:
    """function(argument) of each argument of a public function that its annotation calls a list."""
    found = set()
    for package in (minigpt, generation, perplexity, data, tokenizer, train):
        for exported in package.__all__:
            thing = getattr(package, exported)
            methods = [name for name in vars(thing) if not name.startswith("_")] if inspect.isclass(thing) else []
            for name, function in [(exported, thing), *((f"{exported}.{m}", getattr(thing, m)) for m in methods)]:
                if callable(function):
                    parameters = inspect.signature(function).parameters.values()
                    of_lists = [p for p in parameters if re.search(r"\b(Sequence|Iterable|list)\b", str(p.annotation))]
                    found |= {f"{name}({parameter.name})" for parameter in of_lists}
    return found


def test_every_list_is_here():
    there = {name for name in listed_arguments() if name.partition("(")[0] not in MADE_HERE}
    assert sorted(there - LISTS.keys()) == sorted(CHECKED_BEFORE)


def test_the_second_row_of_a_batch_is_checked_like_the_first():
    good, forbidden, broken = [1.0, 2.0], [-torch.inf, -torch.inf], [1.0, torch.nan]
    for rows in ([good, forbidden], [forbidden, good]):
        for settings in (Settings(), Settings(do_sample=True, seed=1)):
            with pytest.raises(ValueError, match="no token can be chosen: the processors forbid all of them"):
                settings.chooser([[1], [2]])(torch.tensor(rows), [0, 1])
    for rows in ([good, broken], [broken, good]):
        with pytest.raises(FloatingPointError, match="the model's logits are not finite"):
            log_probabilities(torch.tensor(rows))
