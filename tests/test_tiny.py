"""The built-in model is what weights/README.md says it is."""

import math

import numpy as np
import pytest
from cards import Card

from minigpt.data import documentation_corpus, encode_documents
from minigpt.perplexity import score
from minigpt.train import induction_gap
from minigpt.train.baselines import kneser_ney_nll, primed_lzma_bytes

CARD = Card("tiny")


def test_the_files_are_those_of_the_card(tiny_folder):
    CARD.check_files(tiny_folder)


def test_it_copies_what_it_has_seen(tiny):
    gap = induction_gap(tiny, tiny.config.vocab_size, length=128)
    assert gap == pytest.approx(CARD.said(r"induction gap \| ([\d.]+) nats"), abs=1e-3) and gap >= 1.5


def test_it_predicts_held_out_text_better_than_counting_and_compressing(tiny, tiny_tokenizer, full):
    if not full:
        pytest.skip("reading the corpus and counting it take a minute: python -m pytest --full")
    training, held_out = ([document.text for document in part] for part in documentation_corpus())
    n_bytes = sum(len(text.encode()) for text in held_out)
    if n_bytes != CARD.said(r"([\d,]+) bytes in 78 held-out"):
        pytest.skip("other versions of Python or its libraries are installed, and document themselves differently")
    tokens, unseen = (encode_documents(texts, tiny_tokenizer) for texts in (training, held_out))
    assert (len(tokens), len(unseen)) == (
        CARD.said(r"tokens \| ([\d,]+) to"),
        CARD.said(r"train on, ([\d,]+) held out"),
    )
    bits = score(tiny, unseen.astype(np.int64), 256).bits_per_byte(n_bytes)
    counting = kneser_ney_nll(tokens, unseen, tiny_tokenizer.vocab_size).sum() / math.log(2) / n_bytes
    texts = [[tiny_tokenizer.decode(part.tolist())] for part in (tokens, unseen)]
    compressing = 8 * primed_lzma_bytes(*texts) / n_bytes
    assert bits == pytest.approx(CARD.said(r"bits per byte \| ([\d.]+)"), abs=1e-4)
    assert counting == pytest.approx(CARD.said(r"same tokens ([\d.]+) bits"), abs=1e-4)
    assert compressing == pytest.approx(CARD.said(r"training text ([\d.]+) "), abs=1e-4)
    assert bits < compressing < counting
