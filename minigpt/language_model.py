"""What generation and scoring need of a model, and what has been read of the texts so far (`Past`).

Generation, beam search, drafts and perplexity name no model class. They call the methods of a `LanguageModel`:

    texts, unread, past = model.start(prompts, max_new_tokens)      the texts to be continued, nothing read yet
    hidden = model.read(unread, past)                               read tokens; from now on past holds them
    logits = model.logits(hidden[:, -1])                            a score for each token that may come next
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from .kv_cache import KVCache

READ_AT_ONCE = 512


@dataclass
class Source:
    """A text that an encoder has read, as a decoder's cross attention needs it: for each layer its keys and values,
    (B, H, S, D) each, and a mask (B, 1, 1, S) that hides its pads, None where there are none."""

    keys_values: list[tuple[torch.Tensor, torch.Tensor]]
    mask: torch.Tensor | None = None

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order."""
        self.keys_values = [(k[rows], v[rows]) for k, v in self.keys_values]
        self.mask = None if self.mask is None else self.mask[rows]


class Past:
    """What has been read of the texts of a batch. It belongs to the caller; the model adds to it when it reads.

    cache holds the keys and values of what has been read. Without one, tokens (B, length) are kept and read again with
    the new ones: the answers are the same, but slow. real (B, capacity) is 1 for a token and 0 for a pad, None where
    there are no pads. source is another text that the model looks at while it writes (T5), None without one.
    """

    def __init__(self, cache: KVCache | None = None, real: torch.Tensor | None = None, source: Source | None = None):
        self.cache, self.real, self.source = cache, real, source
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

    def read(self, tokens: torch.Tensor, hidden: Callable) -> torch.Tensor:
        """Hidden states (B, T, C) of new tokens (B, T), which are in the past afterwards. hidden(tokens, mask,
        cache=...) computes them, mask says which tokens are real; when it raises, the past is as it was."""
        n_new = tokens.size(1)
        real = self.real_tokens(self.length + n_new)
        if self.cache is not None:
            return hidden(tokens, real, cache=self.cache)
        everything = self.tokens_with(tokens)
        states = hidden(everything, real)[:, -n_new:]
        self.tokens = everything
        return states

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order (a row may be taken twice: beams)."""
        if self.cache is not None:
            self.cache.select(rows)
        self.tokens = None if self.tokens is None else self.tokens[rows]
        self.real = None if self.real is None else self.real[rows]
        if self.source is not None:
            self.source.select(rows)

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
    """texts are what is continued: for most models the prompts. unread (B, T) are their tokens, padded on the left.
    past holds what has been read of them: nothing yet."""

    texts: list[list[int]]
    unread: torch.Tensor
    past: Past


class LanguageModel(Protocol):
    """A model that can be asked for the next token."""

    vocab_size: int
    # Whether an encoder reads the prompts (T5): then texts begin with a start token, not with their prompts.
    has_encoder: bool
    max_tokens: int | None  # the most tokens that one text may have; None: no limit
    end_tokens: frozenset[int]  # the ids that end a text
    device: torch.device

    def first_texts(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """What is continued for each prompt: the prompt itself, or where an encoder reads it, a start token."""

    def start(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, use_cache: bool = True) -> Start:
        """Prepare to continue prompts of any lengths by up to max_new_tokens each."""

    def read(self, tokens: torch.Tensor, past: Past) -> torch.Tensor:
        """Tokens (B, T) that follow those in past -> hidden states (B, T, C); past holds the tokens afterwards."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., C) -> scores (..., V) of the token after each."""


class TokenModel:
    """Properties of every model, which follow from its config and its token_embedding."""

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def end_tokens(self) -> frozenset[int]:
        end = getattr(self.config, "eos_token_id", None)
        return frozenset([] if end is None else end if isinstance(end, tuple) else [end])

    @property
    def device(self) -> torch.device:
        return self.token_embedding.weight.device

    @staticmethod
    def check_dtype(dtype: torch.dtype) -> None:
        """Raise ValueError for a dtype in which this kind of model cannot compute."""


class DecoderOnly(TokenModel):
    """`start` and `read` of a model that writes directly after its prompts (GPT-2, Llama). It needs the methods
    hidden(tokens, attention_mask, cache=...) and new_cache(batch_size, capacity)."""

    has_encoder = False

    def first_texts(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """As `LanguageModel.first_texts`: the prompts."""
        return [list(prompt) for prompt in prompts]

    def start(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, use_cache: bool = True) -> Start:
        """Pad the prompts on the left, so that the next token of every row comes in the same column:

        row 0   [pad pad the  cat]  sat  down
        row 1   [the old  grey cat] was  here      the mask hides the pads, the positions start after them
        """
        texts = self.first_texts(prompts)
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
        return past.read(tokens, self.hidden)


def check_language_model(model, task: str) -> None:
    """Raise ValueError for a model that cannot be asked for the next token, with what it can do instead."""
    if not hasattr(model, "start"):
        reason = getattr(model, "why_no_language_model", "it has no `start` and `read` (minigpt.language_model)")
        raise ValueError(f"{type(model).__name__} cannot {task}: {reason}")


def padded_on_the_right(texts: Sequence[Sequence[int]], device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Texts of any lengths -> tokens (B, T), and a mask (B, T) with 1 for a token and 0 for a pad; None without pads.

    Pads are token 0: nothing looks at them.
    """
    longest = max(map(len, texts))
    pads = [longest - len(text) for text in texts]
    tokens = torch.tensor([[*text, *[0] * pad] for text, pad in zip(texts, pads, strict=True)], device=device)
    real = [[1] * len(text) + [0] * pad for text, pad in zip(texts, pads, strict=True)]
    return tokens, torch.tensor(real, device=device) if any(pads) else None


@contextmanager
def eval_mode(model) -> Iterator[None]:
    """Inside, there is no dropout; afterwards every part is in its mode from before, also after an error. Do not put a
    `yield` inside: between two steps of a generator the caller would find the model in eval mode."""
    if not getattr(model, "training", False):
        yield
        return
    before = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training
