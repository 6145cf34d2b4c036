"""Special tokens: matched in a text as a whole, before it is cut into words."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import regex

from .._checks import check_fields, flag, is_integer, several, token_ids
from .unicode16 import IN_WORD

END_OF_TEXT = "<|endoftext|>"  # GPT-2's only special token
# The tasks that a token may have, by their names in Hugging Face's files.
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_IN_WORD = regex.compile(IN_WORD, regex.VERSION1)


@dataclass(frozen=True)
class SpecialToken:
    """A token with a name, such as <|endoftext|>, and how its name is found in a text.

    lstrip and rstrip: the white space to its left or right is a part of it. single_word: it counts only where no letter
    or digit touches it. normalized: it is searched for after the others, in the normalized text (in small letters, for
    example). special=False: an ordinary word that was added to a vocabulary; it is found also where the names of
    special tokens are plain text. Raises ValueError for an empty name.
    """

    content: str
    special: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False

    def __post_init__(self):
        if not isinstance(self.content, str) or not self.content:
            raise ValueError(f"the name of a special token must be a text, and not empty, got {self.content!r}")
        check_fields(self, flag, "special lstrip rstrip single_word normalized")


def special_tokens_of(tokens: Iterable[str | SpecialToken]) -> list[SpecialToken]:
    """The special tokens of a list that holds them, or their names."""
    found = list(several("special_tokens", tokens, "tokens"))
    for place, token in enumerate(found):
        if not isinstance(token, str | SpecialToken):
            raise ValueError(f"special_tokens must be a list of names or SpecialTokens, got {token!r:.80} at {place}")
    return [SpecialToken(token) if isinstance(token, str) else token for token in found]


def check_vocabulary(vocabulary: Mapping[str, int]) -> None:
    """Raise ValueError unless a vocabulary maps texts to the ids 0 ... n - 1."""
    if not isinstance(vocabulary, Mapping):
        raise ValueError(f"vocabulary must map tokens to ids, got {vocabulary!r:.80}")
    for token, id in vocabulary.items():
        if not isinstance(token, str) or not (type(id) is int or is_integer(id)):
            raise ValueError(f"vocabulary must map tokens to ids, got {token!r:.80}: {id!r:.80}")
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError(f"the ids of a vocabulary of {len(vocabulary)} tokens must be 0..{len(vocabulary) - 1}")


def known_ids(name: str, ids: Iterable[int], vocabulary: Mapping[str, int]) -> list[int]:
    """A list of ids. Raises ValueError, with the argument's name, for one that no token has."""
    ids = token_ids(name, ids)
    for id in ids:
        if not 0 <= id < len(vocabulary):
            raise ValueError(f"{name} has the id {id}, and the vocabulary has 0..{len(vocabulary) - 1}")
    return ids


class NamedTokens:
    """The ids of a tokenizer's tokens with a task, such as mask_id; None for a task that no token has.

    names maps a task, such as "mask_token", to a token's name, and vocabulary maps that to the id.
    """

    names: dict[str, str]
    vocabulary: dict[str, int]

    def _set_names(self, names: Mapping[str, str] | None) -> None:
        """Add names to self.names. Raises ValueError for an unknown task or token."""
        if names is not None and not isinstance(names, Mapping):
            raise ValueError(f"names must map tasks to tokens, got {names!r:.80}")
        for task, name in (names or {}).items():
            if task not in NAMED or not isinstance(name, str) or name not in self.vocabulary:
                raise ValueError(f"names has {task!r}: {name!r}, expected one of {', '.join(NAMED)} and a known token")
            self.names[task] = name

    def _id(self, task: str) -> int | None:
        return self.vocabulary.get(self.names.get(task))

    bos_id = property(lambda self: self._id("bos_token"))
    eos_id = property(lambda self: self._id("eos_token"))
    unk_id = property(lambda self: self._id("unk_token"))
    sep_id = property(lambda self: self._id("sep_token"))
    pad_id = property(lambda self: self._id("pad_token"))
    cls_id = property(lambda self: self._id("cls_token"))
    mask_id = property(lambda self: self._id("mask_token"))
    eos_token = property(lambda self: self.names.get("eos_token"))
    mask_token = property(lambda self: self.names.get("mask_token"))


def split_at(
    tokens: Iterable[SpecialToken], text: str, normalize: Callable[[str], str] = str
) -> Iterator[str | SpecialToken]:
    """Yield the parts of a text in order: its special tokens, and the texts between them, normalized and never empty.

    Of several tokens that begin at one place the longest counts, as in Hugging Face's tokenizers.
    """
    first, later = ([t for t in tokens if t.normalized == flagged] for flagged in (False, True))
    for part in _split({token.content: token for token in first}, text):
        if isinstance(part, SpecialToken):
            yield part
        else:
            yield from _split({normalize(token.content): token for token in later}, normalize(part))


def _split(by_name: dict[str, SpecialToken], text: str) -> Iterator[str | SpecialToken]:
    begin = 0  # of the text that has not been yielded yet
    if by_name:
        longest_first = sorted(by_name, key=len, reverse=True)
        for match in regex.finditer("|".join(map(regex.escape, longest_first)), text):
            token, start, end = by_name[match[0]], match.start(), match.end()
            if token.single_word and (_IN_WORD.match(text[start - 1 : start]) or _IN_WORD.match(text, end)):
                continue
            if token.lstrip:
                start = max(begin, regex.search(r"\s*\Z", text[:start]).start())
            if token.rstrip:
                end = regex.compile(r"\s*").match(text, end).end()  # not strip(): to Python U+001C is a space
            if begin < start:
                yield text[begin:start]
            yield token
            begin = end
    if begin < len(text):
        yield text[begin:]
