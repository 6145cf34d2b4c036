"""T5, a third implementation: plain numpy, float64, one token after another, written from the papers alone.

Every token of the source reads all of the source, so the layers are computed one after another, and in a layer one
token after another. A token of the target is given only the keys and values up to its own. The weights are a dictionary
by the names of the published checkpoint: shared.weight, encoder.block.0.layer.0.SelfAttention.q.weight, lm_head.weight.
A linear layer is W x with W of shape (out, in): T5's only biases are those of the distances.
"""

import numpy as np
from reference import ACTIVATIONS, attend, dense, rms_norm, under


def t5_logits(weights, config, source, target_inputs):
    """The tokens of one source and the inputs of the decoder (its start token first) -> logits (T, V).

    Raffel et al. 2020, section 2.1: the encoder and decoder of Vaswani et al. 2017, but the norms come before each part
    and subtract no mean, nothing has a bias, and attention scores are not divided: they get a bias for the distance.
    """
    read = stack_states(under(weights, "encoder."), config, config.num_layers, weights["shared.weight"][source])
    n_layer = config.num_layers if config.num_decoder_layers is None else config.num_decoder_layers
    states = stack_states(under(weights, "decoder."), config, n_layer, weights["shared.weight"][target_inputs], read)
    head = weights["shared.weight" if config.tie_word_embeddings else "lm_head.weight"]
    # No paper has this: Mesh TensorFlow scales the states if the head is the embedding matrix. The config.json of
    # transformers 5 says so in scale_decoder_outputs; an older one has only tie_word_embeddings.
    scaled = config.tie_word_embeddings if config.scale_decoder_outputs is None else config.scale_decoder_outputs
    return np.array([head @ h * (config.d_model**-0.5 if scaled else 1.0) for h in states])


def stack_states(weights, config, n_layer, embeddings, source=None):
    """Embeddings -> states after all layers: of the decoder if there is a source to read, else of the encoder."""
    decoder = source is not None
    table = weights["block.0.layer.0.SelfAttention.relative_attention_bias.weight"]  # one for all layers
    states = list(embeddings)
    for layer in range(n_layer):
        block = under(weights, f"block.{layer}.")
        normed = [norm(h, block, "layer.0.layer_norm", config) for h in states]
        keys, values = keys_and_values(normed, block, "layer.0.SelfAttention")
        for i, x in enumerate(normed):
            seen = i + 1 if decoder else len(states)  # the number of tokens that token i may look at
            biases = np.array([table[bucket(j - i, config, not decoder)] for j in range(seen)]).T
            h = states[i] + attention(x, keys[:seen], values[:seen], block, "layer.0.SelfAttention", config, biases)
            if decoder:
                x, name = norm(h, block, "layer.1.layer_norm", config), "layer.1.EncDecAttention"
                h = h + attention(x, *keys_and_values(source, block, name), block, name, config)
            last = "layer.2" if decoder else "layer.1"
            x = norm(h, block, f"{last}.layer_norm", config)
            states[i] = h + mlp(x, under(block, f"{last}.DenseReluDense."), config)
    return [norm(h, weights, "final_layer_norm", config) for h in states]


def bucket(distance, config, both_ways):
    """The row of the table of biases for a distance, position of the key - position of the query.

    Section 2.1: the ranges of the rows grow logarithmically up to the largest distance. The details are only in Mesh
    TensorFlow's code. If keys may stand after the query, they have the second half of the table. The first half of the
    rows for one direction hold one small distance each; row k after them begins at the distance
    exact * (largest / exact) ** (k / growing). The code compares whole numbers, without roots: a rounded logarithm can
    choose the wrong row at a border.
    """
    rows, largest = config.relative_attention_num_buckets, config.relative_attention_max_distance
    rows = rows // 2 if both_ways else rows
    first, distance = rows if distance > 0 else 0, abs(distance)
    exact = rows // 2
    growing = rows - exact
    if distance < exact:
        return first + distance
    begun = [distance**growing * exact**k >= largest**k * exact**growing for k in range(1, growing)]
    return first + exact + sum(begun)


def norm(x, weights, name, config):
    return rms_norm(x, weights[f"{name}.weight"], config.layer_norm_epsilon)


def keys_and_values(states, weights, name):
    return [dense(h, weights, f"{name}.k") for h in states], [dense(h, weights, f"{name}.v") for h in states]


def attention(x, keys, values, weights, name, config, biases=None):
    mixed = attend(dense(x, weights, f"{name}.q"), keys, values, config.num_heads, biases=biases)
    return dense(mixed, weights, f"{name}.o")


def mlp(x, weights, config):
    """Vaswani et al. 2017, equation 2; since T5 1.1 Shazeer 2020, equation 6, with the tanh form of GELU."""
    name = config.feed_forward_proj
    if not name.startswith("gated-"):
        return dense(ACTIVATIONS[name](dense(x, weights, "wi")), weights, "wo")
    gate = ACTIVATIONS["gelu_new" if name == "gated-gelu" else name.removeprefix("gated-")](dense(x, weights, "wi_0"))
    return dense(gate * dense(x, weights, "wi_1"), weights, "wo")
