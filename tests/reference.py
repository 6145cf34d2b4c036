"""GPT-2 a third time: plain numpy, float64, one token after another, written from the papers alone.

There are no batches, masks, pads or reshapes here. A token reads the keys and values that earlier tokens left behind
and leaves its own: the future cannot be looked at because it has not happened yet. The weights are a dictionary by the
names of the published checkpoint, where a linear layer is x W + b with W of shape (in, out).
"""

import math

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normal_distribution(x):
    return np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu": lambda x: x * normal_distribution(x),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * sigmoid(x),
    "tanh": np.tanh,
}


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def layer_norm(x, gain, bias, epsilon):
    """Ba et al. 2016, section 3, with epsilon inside the root."""
    return (x - x.mean()) / np.sqrt(x.var() + epsilon) * gain + bias


def gpt2_logits(weights, config, tokens):
    """The tokens of one row -> logits (T, V).

    Radford et al. 2018, section 3.1: token + position embedding, blocks, then the product with the embedding matrix;
    Radford et al. 2019, section 2.3: the norms come before attention and MLP, and one more at the end.
    """
    head = weights.get("lm_head.weight", weights["wte.weight"])
    blocks = [
        {name.removeprefix(f"h.{layer}."): value for name, value in weights.items()} for layer in range(config.n_layer)
    ]
    memory = [[] for _ in blocks]  # for each layer, the (key, value) of every token so far
    rows = []
    for position, token in enumerate(tokens):
        h = weights["wte.weight"][token] + weights["wpe.weight"][position]
        for layer, block in enumerate(blocks):
            h = h + attention(norm(h, block, "ln_1", config), block, config, layer, memory[layer])
            h = h + mlp(norm(h, block, "ln_2", config), block, config)
        rows.append(head @ norm(h, weights, "ln_f", config))
    return np.array(rows)


def norm(x, weights, name, config):
    return layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], config.layer_norm_epsilon)


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]


def mlp(x, weights, config):
    return linear(ACTIVATIONS[config.activation_function](linear(x, weights, "mlp.c_fc")), weights, "mlp.c_proj")


def attention(x, weights, config, layer, seen):
    """Vaswani et al. 2017, equation 1, once for each head; the heads are then laid side by side and projected."""
    query, key, value = np.split(linear(x, weights, "attn.c_attn"), 3)
    seen.append((key, value))
    width = config.n_embd // config.n_head
    temperature = math.sqrt(width) if config.scale_attn_weights else 1.0
    if config.scale_attn_by_inverse_layer_idx:
        temperature *= layer + 1
    heads = []
    for head in range(config.n_head):
        columns = slice(head * width, (head + 1) * width)
        scores = np.array([query[columns] @ k[columns] for k, _ in seen]) / temperature
        shares = softmax(scores)
        heads.append(sum(share * v[columns] for share, (_, v) in zip(shares, seen, strict=True)))
    return linear(np.concatenate(heads), weights, "attn.c_proj")
