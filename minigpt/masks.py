"""Other patterns of which keys a query may look at, each a bool tensor (n_query, n_key), True = may look.

As in `causal_mask`, the queries are the last n_query of n_key positions. (The mask of documents that are packed into a
row is `segment_mask` in positions.py.)
"""

import torch

from ._checks import integer
from .attention import causal_mask


def sliding_window_mask(n_query: int, n_key: int, window: int, n_sink: int = 0, device=None) -> torch.Tensor:
    """Causal, and no further back than a window: a query looks at its own key and the window - 1 keys before it.

    ("Longformer", Beltagy et al. 2020, section 3.1; Mistral 7B, Jiang et al. 2023.) After some layers a token still
    hears from further back, through the tokens in between. The first n_sink keys stay visible to all: models put weight
    there that they need nowhere else ("attention sinks", Xiao et al. 2023).

        sliding_window_mask(4, 6, window=2, n_sink=1)    k0 k1 k2 k3 k4 k5
                                                     q0   1  1  1  0  0  0
                                                     q1   1  0  1  1  0  0
                                                     q2   1  0  0  1  1  0
                                                     q3   1  0  0  0  1  1

    Raises ValueError unless 1 <= n_query <= n_key, for a window below 1, and for an n_sink below 0.
    """
    window, n_sink = integer("window", window, 1), integer("n_sink", n_sink, 0)
    causal = causal_mask(n_query, n_key, device)
    query_position = torch.arange(n_key - n_query, n_key, device=device)[:, None]
    key_position = torch.arange(n_key, device=device)[None, :]
    near = query_position - key_position < window
    return causal & (near | (key_position < n_sink))


def prefix_mask(n_query: int, n_key: int, n_prefix: int, device=None) -> torch.Tensor:
    """Causal, but the first n_prefix keys are visible to all: the prefix is read in both directions, what follows is
    written ("prefix LM", T5, Raffel et al. 2020, section 3.2.1; GLM, Du et al. 2022).

        prefix_mask(4, 4, n_prefix=2)    k0 k1 k2 k3
                                     q0   1  1  0  0
                                     q1   1  1  0  0
                                     q2   1  1  1  0
                                     q3   1  1  1  1

    Raises ValueError unless 1 <= n_query <= n_key and 0 <= n_prefix <= n_key.
    """
    causal = causal_mask(n_query, n_key, device)
    n_prefix = integer("n_prefix", n_prefix, 0, n_key)
    return causal | (torch.arange(n_key, device=device) < n_prefix)
