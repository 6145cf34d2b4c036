"""What generating and scoring ask of a model, and what a text that is being written remembers.

Generation, beam search, drafts and perplexity know no model class. They know a `LanguageModel`:

    texts, unread, past = model.start(prompts, max_new_tokens)      the texts to be continued, nothing read yet
    hidden = model.read(unread, past)                               read tokens; from now on past holds them
    logits = model.logits(hidden[:, -1])                            a score for each token that may come next
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch

from .kv_cache import KVCache

READ_AT_ONCE = 512


class Past:
    """What has been read of the texts of a batch. It belongs to the caller; the model adds to it when it reads.

    cache holds the keys and values of what has been read. Without one, tokens (B, length) are kept and read again with
    the new ones: slow, and the same answers. real (B, capacity) is 1 for a token and 0 for a pad, None where there are
    no pads. sources are the keys and values of another text for each layer's cross attention, None without one.
    """

    def __init__(self, cache: KVCache | None = None, real: torch.Tensor | None = None, sources: list | None = None):
        self.cache, self.real, self.sources = cache, real, sources
        self.tokens: torch.Tensor | None = None

    @property
    def length(self) -> int:
        """How many tokens have been read, pads included."""
        if self.cache is not None:
            return self.cache.length
        return 0 if self.tokens is None else self.tokens.size(1)

    def real_tokens(self, n: int) -> torch.Tensor | None:
        """(B, n): which of the first n tokens are no pads; None when all are."""
        return None if self.real is None else self.real[:, :n]

    def tokens_with(self, new: torch.Tensor) -> torch.Tensor:
        """(B, length + T): what has been read without a cache, and the new tokens (B, T)."""
        return new if self.tokens is None else torch.cat([self.tokens, new], dim=1)

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order (a row may be taken twice: beams)."""
        if self.cache is not None:
            self.cache.select(rows)
        self.tokens = None if self.tokens is None else self.tokens[rows]
        self.real = None if self.real is None else self.real[rows]
        if self.sources is not None:
            self.sources = [(k[rows], v[rows]) for k, v in self.sources]

    def truncate(self, n: int) -> None:
        """Forget all but the first n tokens."""
        if self.cache is not None:
            self.cache.truncate(n)
        elif self.tokens is not None:
            self.tokens = self.tokens[:, :n]

    def parts_to_read(self, unread: torch.Tensor) -> Iterator[torch.Tensor]:
        """A long text (B, T) in parts of 512 tokens, so that attention holds (512, T) scores and never (T, T). Without
        a cache it is one part, since each part would read all of those before it again."""
        return iter([unread]) if self.cache is None else iter(unread.split(READ_AT_ONCE, dim=1))


class Start(NamedTuple):
    """texts are what is continued: for most models the prompts. unread (B, T) are their tokens, padded on the left."""

    texts: list[list[int]]
    unread: torch.Tensor
    past: Past


class LanguageModel(Protocol):
    """A model that can be asked for the next token."""

    vocab_size: int
    max_tokens: int | None  # the most tokens that one text may have; None: as many as you like
    end_tokens: frozenset[int]  # the ids that end a text
    device: torch.device

    def start(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, use_cache: bool = True) -> Start:
        """Prepare to continue prompts of any lengths by up to max_new_tokens each."""

    def read(self, tokens: torch.Tensor, past: Past) -> torch.Tensor:
        """Tokens (B, T) that follow those in past -> hidden states (B, T, C); past holds the tokens afterwards."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., C) -> scores (..., V) of the token after each."""


class DecoderOnly:
    """`start` and `read` of a model whose texts are their own prompts and that has hidden(tokens, attention_mask,
    cache=...) and new_cache(batch_size, capacity)."""

    def start(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, use_cache: bool = True) -> Start:
        """Pad the prompts on the left, so that the next token of every row comes in the same column:

        row 0   [pad pad the  cat]  sat  down
        row 1   [the old  grey cat] was  here      the mask hides the pads, the positions start after them
        """
        texts = [list(prompt) for prompt in prompts]
        longest = max(map(len, texts))
        pads = [longest - len(text) for text in texts]
        ends = [min(len(text) + max_new_tokens, self.max_tokens) - 1 for text in texts]  # the last token is never read
        capacity = max(longest, *(pad + end for pad, end in zip(pads, ends, strict=True)))
        unread = torch.tensor([[0] * pad + text for pad, text in zip(pads, texts, strict=True)], device=self.device)
        real = None
        if any(pads):
            real = torch.tensor([[0] * pad + [1] * (capacity - pad) for pad in pads], device=self.device)
        cache = self.new_cache(len(texts), capacity) if use_cache else None
        return Start(texts, unread, Past(cache, real))

    def read(self, tokens: torch.Tensor, past: Past) -> torch.Tensor:
        """As `LanguageModel.read`. Raises ValueError as `hidden` does, with past as it was."""
        n_new = tokens.size(1)
        real = past.real_tokens(past.length + n_new)
        if past.cache is not None:
            return self.hidden(tokens, real, cache=past.cache)
        everything = past.tokens_with(tokens)
        hidden = self.hidden(everything, real)[:, -n_new:]
        past.tokens = everything
        return hidden


@contextmanager
def eval_mode(model) -> Iterator[None]:
    """Inside, no dropout; afterwards the mode from before, whatever happens. Never around a `yield`: what runs between
    two steps of a generator is somebody else's."""
    if not getattr(model, "training", False):
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train()
