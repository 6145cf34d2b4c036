"""Recipes: a model, a vocabulary and settings of the training that were tried together."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..data import documentation_corpus
from ..data.tang_poems import tang_poems_corpus
from ..models import MODELS, GPT2Config
from ..tokenizer import END_OF_TEXT, Tokenizer
from .config import TrainConfig
from .objectives import MaskedTokens, NextToken, Objective, Spans

NO_DROPOUT = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
BERT_NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
SENTINELS = tuple(f"<extra_id_{n}>" for n in range(32))


@dataclass(frozen=True)
class Recipe:
    """A vocabulary, the size of the model (fields of its configuration) and how to train it."""

    vocab_size: int
    size: dict
    config: TrainConfig
    corpus: Callable = documentation_corpus  # its own text, as (training, held-out) documents
    one_document_in: int = 1  # of this corpus, every n-th document
    model: str = "gpt2"  # a model_type of `MODELS`
    tokens_within: str = "words"  # or "characters" (`Tokenizer.train`)


SMOKE = TrainConfig(steps=150, batch_size=16, context=64, warmup_steps=10, evaluate_every=50)

RECIPES = {
    # Half a minute on a laptop: to see that everything works.
    "smoke": Recipe(512, dict(n_positions=64, n_embd=64, n_layer=2, n_head=4, **NO_DROPOUT), SMOKE, one_document_in=20),
    "smoke-llama": Recipe(
        512,
        dict(
            hidden_size=64, intermediate_size=172, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, tie_word_embeddings=True,
        ),
        SMOKE,
        one_document_in=20,
        model="llama",
    ),
    "smoke-bert": Recipe(
        512,
        dict(
            hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=64, has_pooler=False, has_sentence_head=False, **BERT_NO_DROPOUT,
        ),
        SMOKE,
        one_document_in=20,
        model="bert",
    ),
    "smoke-t5": Recipe(
        512,
        dict(
            d_model=64, d_kv=16, d_ff=172, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
        ),
        SMOKE,
        one_document_in=20,
        model="t5",
    ),
    # The model in weights/tiny. A tenth of the rows hold a passage twice, so that it learns to look back for it.
    "tiny": Recipe(
        4096,
        dict(n_positions=256, n_embd=192, n_layer=5, n_head=6, **NO_DROPOUT),
        TrainConfig(repeat_share=0.1),
    ),
    # Those in weights/tiny-llama, tiny-bert and tiny-t5.
    "tiny-llama": Recipe(
        4096,
        dict(
            hidden_size=192, intermediate_size=512, num_hidden_layers=5, num_attention_heads=6, num_key_value_heads=2,
            max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True,
        ),
        TrainConfig(repeat_share=0.1),
        model="llama",
    ),
    # Train with context=18 first: in short rows a BERT learns sooner where a token's neighbours are.
    "tiny-bert": Recipe(
        4096,
        dict(
            hidden_size=192, intermediate_size=768, num_hidden_layers=3, num_attention_heads=6,
            max_position_embeddings=128, has_pooler=False, has_sentence_head=False, **BERT_NO_DROPOUT,
        ),
        TrainConfig(steps=22_000, batch_size=14, context=128),
        model="bert",
    ),
    # Train with context=12 first, then 32: in short rows the decoder soon finds where the source says what is missing.
    # And with shortest_context=8 at the end: rows of one length have one number of gaps.
    # The head is not tied, as in T5 v1.1: a tied one is scaled by 1/sqrt(d_model), and learns more slowly.
    "tiny-t5": Recipe(
        4096,
        dict(
            d_model=160, d_kv=32, d_ff=256, num_layers=3, num_heads=5, feed_forward_proj="gated-gelu",
            dropout_rate=0.0, tie_word_embeddings=False,
        ),
        TrainConfig(batch_size=28, context=64),
        model="t5",
    ),
    # The model in weights/tiny-zh: each character of the poems is a token.
    "tiny-zh": Recipe(
        8192,
        dict(n_positions=256, n_embd=160, n_layer=5, n_head=5, **NO_DROPOUT),
        TrainConfig(steps=9_000),
        corpus=tang_poems_corpus,
        tokens_within="characters",
    ),
    # GPT-2's own size on ten billion tokens (Brown et al. 2020, table 2.1, for the rates): days on one GPU.
    "gpt2-124m": Recipe(
        50257,
        dict(dataclasses.asdict(GPT2Config.preset("gpt2")), **NO_DROPOUT),
        TrainConfig(
            steps=19_073,
            batch_size=512,
            micro_batch_size=16,
            context=1024,
            learning_rate=6e-4,
            final_learning_rate=6e-5,
            warmup_steps=715,
            betas=(0.9, 0.95),
            evaluate_every=250,
        ),
    ),
}  # fmt: skip


def recipe_config(name: str) -> Any:
    """The whole configuration of a recipe's model. Raises KeyError for an unknown name."""
    recipe = RECIPES[name]
    _, config_class = MODELS[recipe.model]
    return config_class(**{"vocab_size": recipe.vocab_size} | recipe.size)


# The special tokens that each family's tokenizer is trained with, the one that ends a text first, and their tasks.
SPECIAL_TOKENS = {
    "gpt2": {END_OF_TEXT: None},
    "llama": {END_OF_TEXT: None},
    "bert": {"[SEP]": "sep_token", "[PAD]": "pad_token", "[CLS]": "cls_token", "[MASK]": "mask_token"},
    "t5": {"</s>": None, "<pad>": "pad_token"} | dict.fromkeys(SENTINELS),
}


def with_frame(tokenizer: Tokenizer, model: str) -> Tokenizer:
    """The tokenizer as the trained model needs it: it puts [CLS] and [SEP] around a text (BERT) or </s> after it (T5),
    and knows the tasks of its special tokens. [MASK] and the sentinels, which stand for a gap, include the space before
    them, because the tokens that fit there begin with one."""
    ids, special = tokenizer.vocabulary, SPECIAL_TOKENS[model]
    tokens = [
        dataclasses.replace(token, lstrip=token.content in ("[MASK]", *SENTINELS)) for token in tokenizer.special_tokens
    ]
    prefix, suffix = {"bert": (["[CLS]"], ["[SEP]"]), "t5": ([], ["</s>"])}.get(model, ([], []))
    return Tokenizer(
        ids,
        tokenizer.merges,
        tokens,
        tokenizer.eos_token,
        prefix=[ids[token] for token in prefix],
        suffix=[ids[token] for token in suffix],
        names={task: token for token, task in special.items() if task is not None},
    )


def ids_of(tokenizer: Tokenizer, model: str) -> dict:
    """The ids that a model's configuration names, as its tokenizer has them."""
    end = tokenizer.eos_id
    if model == "bert":
        return {"pad_token_id": tokenizer.vocabulary["[PAD]"]}
    if model == "t5":
        pad = tokenizer.vocabulary["<pad>"]
        return {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": end}
    return {"bos_token_id": end, "eos_token_id": end}


def objective_of(model: str, tokenizer: Tokenizer, config: TrainConfig | None = None) -> Objective:
    """What a model of this family learns, with a tokenizer that has its special tokens; config None = the defaults."""
    config = TrainConfig() if config is None else config
    ids = tokenizer.vocabulary
    special = tuple(sorted(ids[token.content] for token in tokenizer.special_tokens))
    if model == "bert":
        return MaskedTokens(
            tokenizer.vocab_size, ids["[MASK]"], ids["[CLS]"], ids["[SEP]"], special, config.missing_share
        )
    if model == "t5":
        return Spans(tuple(ids[token] for token in SENTINELS), ids["</s>"], ids["<pad>"], config.missing_share)
    return NextToken(config.end_of_text)
