"""A recipe for a text of one's own, by its size: at most ten minutes on two cores.

A model that is too large for its text learns the text word for word, and one that is too small learns little of it. The
sizes below were compared on texts of each length by their loss on the part that is held out.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .._checks import choice, list_of_texts
from ..perplexity import TextSize
from .config import TrainConfig
from .recipes import BERT_NO_DROPOUT, NO_DROPOUT, Recipe

MOST_CHARACTERS = 8192  # tokens of a vocabulary that covers the characters of a text without spaces


class Size(NamedTuple):
    """What fits texts of up to most_bytes in UTF-8."""

    most_bytes: float
    vocab_size: int
    width: int
    n_layer: int
    n_head: int
    context: int
    batch_size: int
    steps: int
    learning_rate: float
    dropout: float


SIZES = [
    #    bytes       vocabulary  width  layers  heads  context  rows  steps  rate  dropout
    Size(20_000, 512, 64, 2, 4, 64, 8, 200, 3e-3, 0.2),
    Size(100_000, 1024, 64, 2, 4, 64, 16, 600, 3e-3, 0.1),
    Size(1_000_000, 1024, 96, 3, 4, 128, 16, 1_500, 2e-3, 0.1),
    Size(5_000_000, 2048, 128, 4, 4, 128, 16, 2_500, 2e-3, 0.0),
    Size(math.inf, 4096, 192, 5, 6, 256, 7, 1_800, 2e-3, 0.0),
]  # fmt: skip


def recipe_for_texts(texts: Sequence[str], model: str = "gpt2") -> Recipe:
    """The recipe for a model of this family on these texts, training and held-out parts together.

    In a script without spaces between words, each character is a token, up to 8192 of them. Raises ValueError for an
    unknown family, and for anything but a list of texts.
    """
    choice("model", model, FIELDS)
    whole = "".join(list_of_texts("texts", texts))
    length = TextSize.of(whole)
    size = next(size for size in SIZES if length.bytes <= size.most_bytes)
    # A twentieth is held out, and has to be longer than a row. A token has seldom more than four bytes.
    context = min(size.context, 2 ** int(math.log2(max(8, length.bytes / 20 / 4))))
    config = TrainConfig(
        steps=size.steps,
        batch_size=size.batch_size,
        context=context,
        learning_rate=size.learning_rate,
        warmup_steps=size.steps // 10,
        evaluate_every=size.steps // 20,
    )
    by_character = length.words == 0
    return Recipe(
        vocab_size=MOST_CHARACTERS if by_character else size.vocab_size,
        size=FIELDS[model](size),
        config=config,
        model=model,
        tokens_within="characters" if by_character else "words",
    )


def _gpt2(size: Size) -> dict:
    dropout = {name: size.dropout for name in NO_DROPOUT}
    return dict(n_positions=size.context, n_embd=size.width, n_layer=size.n_layer, n_head=size.n_head) | dropout


def _llama(size: Size) -> dict:
    return dict(
        hidden_size=size.width, intermediate_size=8 * size.width // 3, num_hidden_layers=size.n_layer,
        num_attention_heads=size.n_head, num_key_value_heads=size.n_head // 2, max_position_embeddings=size.context,
        attention_dropout=size.dropout, tie_word_embeddings=True,
    )  # fmt: skip


def _bert(size: Size) -> dict:
    dropout = {name: size.dropout for name in BERT_NO_DROPOUT}
    return dropout | dict(
        hidden_size=size.width, intermediate_size=4 * size.width, num_hidden_layers=size.n_layer,
        num_attention_heads=size.n_head, max_position_embeddings=size.context, has_pooler=False,
        has_sentence_head=False,
    )  # fmt: skip


def _t5(size: Size) -> dict:
    return dict(
        d_model=size.width, d_kv=size.width // size.n_head, d_ff=8 * size.width // 3, num_layers=size.n_layer,
        num_heads=size.n_head, feed_forward_proj="gated-gelu", dropout_rate=size.dropout, tie_word_embeddings=False,
    )  # fmt: skip


FIELDS: dict[str, Callable[[Size], dict]] = {"gpt2": _gpt2, "llama": _llama, "bert": _bert, "t5": _t5}
