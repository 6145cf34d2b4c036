"""Llama, a third implementation: plain numpy, float64, one token after another, written from the papers alone.

As in reference.py, a token reads the keys and values that earlier tokens stored, and stores its own. The weights
are a dictionary by the names of the published checkpoint without the prefix `model.`: embed_tokens.weight,
layers.0.self_attn.q_proj.weight, norm.weight, lm_head.weight. A linear layer is W x + b with W of shape (out, in).
"""

import math

import numpy as np
from reference import ACTIVATIONS, attend, dense, rms_norm, under


def llama_logits(weights, config, tokens):
    """The tokens of one row -> logits (T, V).

    Touvron et al. 2023 ("LLaMA"), section 2.2: GPT-2's blocks with RMSNorm, RoPE in place of position embeddings, and a
    gated MLP.
    """
    head = weights["embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"]
    blocks = [under(weights, f"layers.{layer}.") for layer in range(config.num_hidden_layers)]
    memory = [[] for _ in blocks]  # for each layer, the (key, value) of every token so far
    rates = rotary_rates(config)
    rows = []
    for position, token in enumerate(tokens):
        h = weights["embed_tokens.weight"][token]
        for block, seen in zip(blocks, memory, strict=True):
            h = h + attention(norm(h, block, "input_layernorm", config), block, config, position * rates, seen)
            h = h + mlp(norm(h, block, "post_attention_layernorm", config), block, config)
        rows.append(head @ norm(h, weights, "norm", config))
    return np.array(rows)


def norm(x, weights, name, config):
    return rms_norm(x, weights[f"{name}.weight"], config.rms_norm_eps)


def mlp(x, weights, config):
    """Shazeer 2020, equation 6."""
    gate = ACTIVATIONS[config.hidden_act](dense(x, weights, "mlp.gate_proj"))
    return dense(gate * dense(x, weights, "mlp.up_proj"), weights, "mlp.down_proj")


def attention(x, weights, config, angles, seen):
    query, key, value = (dense(x, weights, f"self_attn.{name}_proj") for name in "qkv")
    seen.append((rotate(key, angles), value))
    keys, values = zip(*seen, strict=True)
    temperature = math.sqrt(2 * len(angles))  # the width of a head
    mixed = attend(rotate(query, angles), keys, values, config.num_attention_heads, temperature)
    return dense(mixed, weights, "self_attn.o_proj")


def rotate(x, angles):
    """Su et al. 2021, section 3.2.1: two numbers of a head are a complex number, which is multiplied by e^(i angle).

    The paper pairs neighbours, (0, 1), (2, 3), …; these checkpoints pair the two halves of a head, (0, D/2),
    (1, D/2 + 1), …: the rows of their q_proj and k_proj are in that order.
    """
    heads = []
    for head in np.split(x, len(x) // (2 * len(angles))):
        real, imaginary = np.split(head, 2)
        turned = (real + 1j * imaginary) * np.exp(1j * angles)
        heads += [turned.real, turned.imag]
    return np.concatenate(heads)


def rotary_rates(config):
    """The angle by which each pair of a head turns from one token to the next, (D/2,): Su et al. 2021, equation 15."""
    width = config.head_dim or config.hidden_size // config.num_attention_heads
    rates = config.rope_theta ** (-np.arange(0, width, 2) / width)
    scaling = config.rope_scaling or {"rope_type": "default"}
    scaling = scaling if isinstance(scaling, dict) else vars(scaling)  # config.json's dictionary, or our dataclass
    match scaling["rope_type"]:
        case "default":
            return rates
        case "linear":  # Chen et al. 2023 ("Positional Interpolation"), equation 4
            return rates / scaling["factor"]
        case "llama3":
            # No paper has this; it is Meta's code for Llama 3.1 (llama-models, apply_scaling). Pairs that turn often
            # within the first training's context stay as they are; those that turn seldom are slowed by the factor. In
            # between, the share of the unchanged rate grows linearly with the number of turns.
            turns = scaling["original_max_position_embeddings"] * rates / (2 * math.pi)
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            unchanged = np.clip((turns - low) / (high - low), 0, 1)
            return unchanged * rates + (1 - unchanged) * rates / scaling["factor"]
    raise ValueError(f"rope_type is {scaling['rope_type']!r}: only default, linear and llama3 are written here")
