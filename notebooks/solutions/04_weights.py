"""Solutions to the exercises of notebook 04_weights."""


def split_qkv(weight):
    """c_attn.weight (C, 3C), stored as (in, out) -> the weights of query, key, value, each (C, C) as (out, in)."""
    query, key, value = weight.chunk(3, dim=1)  # side by side: cut the columns into three blocks
    return query.T, key.T, value.T  # nn.Linear wants (out, in)


def count_parameters(config):
    """All parameters of a GPT-2 with a tied head: the token embedding serves as the head and is counted once."""
    c = config.n_embd

    def linear(n_in, n_out):
        return n_in * n_out + n_out  # weight and bias

    norm = 2 * c  # weight and bias
    attention = 4 * linear(c, c)  # query, key, value, output
    mlp = linear(c, 4 * c) + linear(4 * c, c)
    block = norm + attention + norm + mlp
    embeddings = config.vocab_size * c + config.n_positions * c
    return embeddings + config.n_layer * block + norm  # the last norm comes after the blocks
