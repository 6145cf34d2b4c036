"""Recipes: a vocabulary, a size of model and a way of training it that were tried together."""

import dataclasses
from dataclasses import dataclass

from ..models import GPT2Config
from .config import TrainConfig

NO_DROPOUT = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)


@dataclass(frozen=True)
class Recipe:
    """A vocabulary, the size of the model (fields of GPT2Config) and how to train it."""

    vocab_size: int
    size: dict
    config: TrainConfig
    one_document_in: int = 1  # of the built-in corpus, every n-th document


RECIPES = {
    # Half a minute on a laptop: to see that everything works.
    "smoke": Recipe(
        512,
        dict(n_positions=64, n_embd=64, n_layer=2, n_head=4, **NO_DROPOUT),
        TrainConfig(steps=150, batch_size=16, context=64, warmup_steps=10, evaluate_every=50),
        one_document_in=20,
    ),
    # The model in weights/tiny. A tenth of the rows hold a passage twice, so that it learns to look back for it.
    "tiny": Recipe(
        4096,
        dict(n_positions=256, n_embd=192, n_layer=5, n_head=6, **NO_DROPOUT),
        TrainConfig(repeat_share=0.1),
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
}


def recipe_config(name: str) -> GPT2Config:
    """The whole configuration of a recipe's model. KeyError for an unknown name."""
    recipe = RECIPES[name]
    return GPT2Config(**{"vocab_size": recipe.vocab_size} | recipe.size)
