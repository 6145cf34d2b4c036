"""Sliding windows: a text is longer than the context, so it is read in pieces that overlap.

With stride < window a window's first tokens are only context, and its last `stride` are scored (the lecture sets the
labels of the others to -100).
"""

from typing import NamedTuple

from .._checks import integer


class Window(NamedTuple):
    """Tokens begin..end-1 are read; of these, first_target..end-1 are scored. `n_new` is the lecture's trg_len.

    A window that begins before the text (begin < 0) reads the last -begin tokens of a prefix first.
    """

    begin: int
    end: int
    n_new: int  # tokens that no earlier window has read

    @property
    def first_target(self) -> int:
        return max(self.begin + 1, self.end - self.n_new)  # the first token of a window has no predecessor in it


def sliding_windows(n_tokens: int, window: int, stride: int) -> list[Window]:
    """The lecture's loop over begin_loc, end_loc and trg_len. It ends with the first window that reaches the end.

    With stride < window every token but the first is a target in exactly one window. With stride = window they
    do not overlap, and the first token of each later window is never scored; published numbers are made that way, too.
    Raises ValueError for fewer than two tokens, window < 2, stride < 1, or stride > window, which would skip tokens.
    """
    if integer("n_tokens", n_tokens) < 2:
        raise ValueError(f"the text has {n_tokens} tokens; at least 2 are needed to score one")
    window = integer("window", window, 2)
    stride = integer("stride", stride, 1, window)
    windows = []
    read = 0
    for begin in range(0, n_tokens, stride):
        end = min(begin + window, n_tokens)
        windows.append(Window(begin, end, end - read))
        read = end
        if end == n_tokens:
            break
    # A last window of a single token, possible at stride = window, has nothing to predict.
    return [window for window in windows if window.first_target < window.end]


def windows_after_prefix(n_tokens: int, window: int, stride: int, n_prefix: int) -> list[Window]:
    """Windows over a text that has n_prefix tokens before it, so that its first token is scored, too.

    Each window reads `window` tokens, and scores the token after each of the last `stride` that it reads: its last
    token is scored and not read. The first window scores as many tokens as it can. The last one reads as many as the
    others, so it may score fewer. With one token of prefix, these are the rolling windows of EleutherAI's
    lm-evaluation-harness, whose context_len is window - stride + 1. Raises ValueError for an empty text or prefix, a
    prefix beyond the window, window < 2, stride < 1 or stride > window.
    """
    n_tokens, window = integer("n_tokens", n_tokens, 1), integer("window", window, 2)
    stride = integer("stride", stride, 1, window)
    n_prefix = integer("the number of tokens in prefix", n_prefix, 1, window)
    end = min(window + 1 - n_prefix, n_tokens)
    windows = [Window(-n_prefix, end, end)]
    while end < n_tokens:
        n_new = min(stride, n_tokens - end)
        end += n_new
        windows.append(Window(max(-n_prefix, end - window - 1), end, n_new))
    return windows
