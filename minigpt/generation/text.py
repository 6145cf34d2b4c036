"""Text instead of ids: written piece by piece, and ended by a stop string.

A stop token is one id. A stop string is found in the text: the model may spell it with several tokens, and a token may
hold its end and the beginning of something else.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Protocol

from .._checks import list_of_texts
from ..language_model import LanguageModel
from .api import stream


class Writer(Protocol):
    """What is needed of a tokenizer: text -> ids, and ids, one by one, -> pieces of text."""

    def encode(self, text: str) -> list[int]: ...

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]: ...


def stream_text(
    model: LanguageModel, tokenizer: Writer, prompt: str, max_new_tokens: int, *, stop: Sequence[str] = (), **settings
) -> Iterator[str]:
    """The text that a model writes after a prompt, in pieces, each as soon as nothing can change it. It ends before the
    first of the stop strings, as `before_stop` says; no token is chosen after that one. A stop string in the prompt
    stops nothing. Settings as in `generate`.

    Raises ValueError, before any work, for a prompt that is no str, for stop strings as `check_stop` does, and as
    `stream` does.
    """
    stop = check_stop(stop)
    if not isinstance(prompt, str):
        raise ValueError(f"prompt must be a text (str), got {prompt!r:.80}; `stream` takes token ids")
    new = stream(model, tokenizer.encode(prompt), max_new_tokens, **settings)
    return before_stop(tokenizer.decode_stream(new), stop)


def before_stop(pieces: Iterable[str], stop: Sequence[str]) -> Generator[str, None, str | None]:
    """Pieces of a text -> the text before its first stop string, in pieces. The generator's own result (`yield from`)
    is that stop string, None if none came.

    First is the one that is complete first; of several that end together, the longest. So it makes no difference how
    the text is cut into pieces. What may be the beginning of a stop string waits until more of the text is there.
    """
    waiting = ""
    for piece in pieces:
        waiting += piece
        places = [(waiting.index(one) + len(one), -len(one), one) for one in stop if one in waiting]
        if places:
            end, _, found = min(places)
            if text := waiting[: end - len(found)]:
                yield text
            return found
        beginnings = (n for one in stop for n in range(1, len(one)) if waiting.endswith(one[:n]))
        sure = len(waiting) - max(beginnings, default=0)
        if sure:
            yield waiting[:sure]
            waiting = waiting[sure:]
    if waiting:
        yield waiting
    return None


def check_stop(stop: Sequence[str]) -> list[str]:
    """Raise ValueError unless these are stop strings: a list of texts, none of them empty."""
    texts = list_of_texts("stop", stop)
    if "" in texts:
        raise ValueError(f"stop must be a list of texts that are not empty, got '' as text {texts.index('')}")
    return texts
