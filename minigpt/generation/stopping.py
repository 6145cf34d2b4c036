"""When a text ends: decided here and nowhere else."""

from dataclasses import dataclass

import torch

from .processors import suppress_tokens


@dataclass(frozen=True)
class Stopping:
    """The tokens that end a text, the most new tokens, the most tokens in all (None: no limit), and how many new tokens
    have to be there before a stop token may come."""

    stop_tokens: frozenset[int]
    max_new_tokens: int
    max_tokens: int | None
    min_new_tokens: int = 0

    def most_new(self, n_prompt: int) -> int:
        """How many tokens can be written after a prompt of this length."""
        return self.max_new_tokens if self.max_tokens is None else min(self.max_new_tokens, self.max_tokens - n_prompt)

    def postpone(self, logits: torch.Tensor, n_new: int) -> torch.Tensor:
        """Logits (B, V) of the next token after n_new new ones -> the same without the stop tokens, while fewer than
        min_new_tokens are written."""
        return suppress_tokens(logits, self.stop_tokens) if n_new < self.min_new_tokens else logits

    def reason(self, n_prompt: int, n_new: int, newest: int | None = None) -> str | None:
        """Why a text of n_prompt and n_new tokens, the newest last, ends here; None where it goes on.

        "stop token", "length" (max_new_tokens are written) or "context" (max_tokens are full). A stop token counts
        first, also where it is the last token that was allowed.
        """
        if newest in self.stop_tokens:
            return "stop token"
        if n_new >= self.max_new_tokens:
            return "length"
        return "context" if n_new >= self.most_new(n_prompt) else None
