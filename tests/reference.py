"""GPT-2, a third implementation: plain numpy, float64, one token after another, written from the papers alone.

There are no batches, masks, pads or reshapes here. A token reads the keys and values that earlier tokens have stored,
and stores its own. It cannot read later tokens: they are not computed yet. The weights are a dictionary by the names
of the published checkpoint, where a linear layer is x W + b with W of shape (in, out).

reference_bert.py, reference_llama.py and reference_t5.py do the same for the other models. What they share is here.
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


def rms_norm(x, gain, epsilon):
    """Zhang and Sennrich 2019, equation 4, with epsilon inside the root: no mean is subtracted, no bias is added."""
    return x / np.sqrt((x**2).mean() + epsilon) * gain


def attend(query, keys, values, n_head, temperature=1.0, biases=None):
    """Vaswani et al. 2017, equation 1, once for each head; the heads' results are then joined, one after another.

    There is one key and one value for each token that the query may look at. When a key is shorter than the query,
    several heads in a row read the same part of it (Ainslie et al. 2023, section 2.2). biases[head], if given, holds a
    number for each key, which is added to its score (Raffel et al. 2020, section 2.1).
    """
    width = len(query) // n_head
    group = len(query) // len(keys[0])  # the number of heads that share a key head
    heads = []
    for head in range(n_head):
        asks = slice(head * width, (head + 1) * width)
        reads = slice(head // group * width, (head // group + 1) * width)
        scores = np.array([query[asks] @ key[reads] for key in keys]) / temperature
        shares = softmax(scores if biases is None else scores + biases[head])
        heads.append(sum(share * value[reads] for share, value in zip(shares, values, strict=True)))
    return np.concatenate(heads)


def dense(x, weights, name):
    """W x + b with W of shape (out, in), as torch.nn.Linear stores it; W x where the checkpoint has no bias."""
    return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", 0)


def under(weights, prefix):
    """The weights whose names begin with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def gpt2_logits(weights, config, tokens):
    """The tokens of one row -> logits (T, V).

    Radford et al. 2018, section 3.1: token + position embedding, blocks, then the product with the embedding matrix;
    Radford et al. 2019, section 2.3: the norms come before attention and MLP, and one more at the end.
    """
    head = weights.get("lm_head.weight", weights["wte.weight"])
    blocks = [under(weights, f"h.{layer}.") for layer in range(config.n_layer)]
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
    query, key, value = np.split(linear(x, weights, "attn.c_attn"), 3)
    seen.append((key, value))
    temperature = math.sqrt(config.n_embd // config.n_head) if config.scale_attn_weights else 1.0
    if config.scale_attn_by_inverse_layer_idx:
        temperature *= layer + 1
    keys, values = zip(*seen, strict=True)
    return linear(attend(query, keys, values, config.n_head, temperature), weights, "attn.c_proj")
