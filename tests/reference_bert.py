"""BERT, a third implementation: plain numpy, float64, one token after another, written from the papers alone.

Every token reads the keys and values of all tokens, so the layers are computed one after another, and in a layer one
token after another. The weights are a dictionary by the names of the published checkpoint without the prefix `bert.`:
embeddings.word_embeddings.weight, encoder.layer.0.output.dense.weight, pooler.dense.weight, cls.predictions.bias,
cls.seq_relationship.weight. A linear layer is W x + b with W of shape (out, in).
"""

import math

import numpy as np
from reference import ACTIVATIONS, attend, dense, layer_norm, under


def bert(weights, config, tokens, token_types=None):
    """The tokens of one row -> hidden states (T, C), pooled (C,), masked-token logits (T, V), sentence logits (2,).

    Devlin et al. 2019, section 3: the sum of three embeddings (figure 2), then the encoder of Vaswani et al. 2017.
    """
    states = []
    for position, token in enumerate(tokens):
        token_type = 0 if token_types is None else token_types[position]
        total = (
            weights["embeddings.word_embeddings.weight"][token]
            + weights["embeddings.position_embeddings.weight"][position]
            + weights["embeddings.token_type_embeddings.weight"][token_type]
        )
        states.append(norm(total, weights, "embeddings.LayerNorm", config))
    for layer in range(config.num_hidden_layers):
        states = encoder_layer(states, under(weights, f"encoder.layer.{layer}."), config)
    pooled = np.tanh(dense(states[0], weights, "pooler.dense"))
    token_logits = [masked_token_logits(h, weights, config) for h in states]
    return np.array(states), pooled, np.array(token_logits), dense(pooled, weights, "cls.seq_relationship")


def encoder_layer(states, weights, config):
    """Vaswani et al. 2017, section 3.1: the norm comes after the sum, not before attention and MLP as in GPT-2."""
    keys = [dense(h, weights, "attention.self.key") for h in states]
    values = [dense(h, weights, "attention.self.value") for h in states]
    temperature = math.sqrt(config.hidden_size // config.num_attention_heads)
    after = []
    for h in states:
        query = dense(h, weights, "attention.self.query")
        mixed = attend(query, keys, values, config.num_attention_heads, temperature)
        h = norm(h + dense(mixed, weights, "attention.output.dense"), weights, "attention.output.LayerNorm", config)
        wide = ACTIVATIONS[config.hidden_act](dense(h, weights, "intermediate.dense"))
        after.append(norm(h + dense(wide, weights, "output.dense"), weights, "output.LayerNorm", config))
    return after


def masked_token_logits(h, weights, config):
    """Section 3.1, task 1. The layer before the embedding matrix is only in the authors' code (run_pretraining.py)."""
    h = ACTIVATIONS[config.hidden_act](dense(h, weights, "cls.predictions.transform.dense"))
    h = norm(h, weights, "cls.predictions.transform.LayerNorm", config)
    return weights["embeddings.word_embeddings.weight"] @ h + weights["cls.predictions.bias"]


def norm(x, weights, name, config):
    return layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], config.layer_norm_eps)
