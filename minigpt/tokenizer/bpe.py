"""GPT-2's byte-level byte pair encoding (Sennrich et al. 2016; Radford et al. 2019, section 2.2). No torch.

    text -> words (letters with a space in front, a number, ...) -> UTF-8 bytes -> merge neighbours, best pair first

Every text is a row of bytes and every byte is a token, so no part of a text is unknown. Llama 3 and SmolLM2 cut words
in another way and merge as GPT-2 does.
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .._checks import flag, integer, several
from .characters import whole_characters
from .files import read_tokenizer
from .folders import write_files
from .learning import count_units, learn_merges
from .merging import Merges, merge_word
from .specials import END_OF_TEXT, NamedTokens, SpecialToken, check_vocabulary, known_ids, special_tokens_of, split_at
from .words import DIGIT, WORDS, cut, gpt2_words, word_pattern
from .writing import file_contents


def byte_characters() -> list[str]:
    """The visible character that stands for each byte in the vocabulary files, in byte order.

    As in `bytes_to_unicode` of OpenAI's encoder.py: visible Latin-1 bytes stand for themselves; the other 68 become
    U+0100 and following, in order. So token files show no spaces or control characters: a space is Ġ, a line break Ċ.
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    moved = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(moved)) for byte in range(256)]


CHARACTER_OF_BYTE = byte_characters()
BYTE_OF_CHARACTER = {character: byte for byte, character in enumerate(CHARACTER_OF_BYTE)}


class Tokenizer(NamedTokens):
    """text <-> token ids. Make one with `load`, `train` or `minigpt.load_tokenizer`.

    vocabulary maps each token, a string of byte characters or the name of a special token, to its id, 0 ... n - 1.
    merges lists the pairs, best first. special_tokens are names or `SpecialToken`s, found as a whole wherever they
    stand in a text, as in Hugging Face; None = the end of text, if the vocabulary has it. eos_token names the token
    that ends a text; names gives others their tasks, such as {"mask_token": "[MASK]"}. Some tokenizers put a space
    (add_prefix_space) or ids (prefix) before a text, or ids after it (suffix). pattern is the regular expression of a
    word; None = GPT-2's. digits_alone: each digit is a word (SmolLM2). ignore_merges: a word that is itself a token is
    not cut further (Llama 3). Raises ValueError for arguments that do not fit together.

    The classic example: in "low low lower" the pair (l, o) is merged first, then (lo, w), then (Ġ, low).
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: list[tuple[str, str]],
        special_tokens: Iterable[str | SpecialToken] | None = None,
        eos_token: str | None = END_OF_TEXT,
        add_prefix_space: bool = False,
        prefix: Iterable[int] = (),
        suffix: Iterable[int] = (),
        pattern: str | None = None,
        digits_alone: bool = False,
        ignore_merges: bool = False,
        names: dict[str, str] | None = None,
    ):
        check_vocabulary(vocabulary)
        missing = [character for character in CHARACTER_OF_BYTE if character not in vocabulary]
        if len(missing) > 256 - 64:  # English needs more than 64; `encode` raises where a text needs a missing one
            raise ValueError(f"the vocabulary lacks {len(missing)} of the 256 byte tokens, {missing[0]!r} first")
        if special_tokens is None:
            special_tokens = [END_OF_TEXT] if END_OF_TEXT in vocabulary else []
        tokens = special_tokens_of(special_tokens)
        for token in tokens:
            if token.content not in vocabulary:
                raise ValueError(f"special token {token.content!r} is not in the vocabulary")
        self.vocabulary, self.merges = vocabulary, list(several("merges", merges, "pairs of tokens"))
        self.special_tokens = sorted(tokens, key=lambda token: vocabulary[token.content])
        self.names = {"eos_token": eos_token} if eos_token in vocabulary else {}
        self._set_names(names)
        self.add_prefix_space = flag("add_prefix_space", add_prefix_space)
        self.prefix, self.suffix = known_ids("prefix", prefix, vocabulary), known_ids("suffix", suffix, vocabulary)
        self.pattern, self._words = pattern, WORDS if pattern is None else word_pattern(pattern)
        self.digits_alone = flag("digits_alone", digits_alone)
        self.ignore_merges = flag("ignore_merges", ignore_merges)
        self._byte_ids = {
            byte: vocabulary[character] for byte, character in enumerate(CHARACTER_OF_BYTE) if character in vocabulary
        }
        self._merges_by_id: Merges = {}
        for rank, pair in enumerate(self.merges):
            if not isinstance(pair, tuple | list) or [type(token) for token in pair] != [str, str]:
                raise ValueError(f"merges must be a list of pairs of tokens, got {pair!r:.80} as merge {rank + 1}")
            left, right = pair
            for token in (left, right, left + right):
                if token not in vocabulary:
                    raise ValueError(f"merge {rank + 1}, {left!r} + {right!r}, needs token {token!r} in the vocabulary")
            self._merges_by_id[vocabulary[left], vocabulary[right]] = (rank, vocabulary[left + right])
        self._bytes = [b""] * len(vocabulary)
        names = {token.content for token in tokens} | {END_OF_TEXT}
        for token, id in vocabulary.items():
            self._bytes[id] = token.encode() if token in names else _to_bytes(token)
        self._whole_words: dict[bytes, int] = {}
        if ignore_merges:
            self._whole_words = {self._bytes[id]: id for token, id in vocabulary.items() if token not in names}
        self._known_words: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    def encode(self, text: str, special_tokens: bool = True) -> list[int]:
        """The token ids of a text. With special_tokens=False the names of special tokens are plain text: so a text that
        somebody else wrote cannot end a document.

        A surrogate pair is read as the character that it stands for. Raises ValueError for half a pair, which no UTF-8
        file can contain, and for a byte that the vocabulary lacks.
        """
        text = whole_characters(text)
        matched = [token for token in self.special_tokens if special_tokens or not token.special]
        ids = list(self.prefix)
        for part in split_at(matched, text):
            if isinstance(part, SpecialToken):
                ids.append(self.vocabulary[part.content])
            else:
                ids += self._encode_plain(" " + part if self.add_prefix_space and not part.startswith(" ") else part)
        ids += self.suffix
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids. Bytes that are not UTF-8 (a character cut in half) become U+FFFD.

        An id beyond the vocabulary, which a model with a larger one may choose, is shown as <|no token 50300|>. Raises
        ValueError for a negative id, and for anything that is no integer.
        """
        return b"".join(self._bytes_of(id) for id in several("ids", ids, "token ids")).decode("utf-8", errors="replace")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text of each token alone, to be shown; the bytes of a token that is only a part of a character, such as
        <E4><B8>."""
        pieces = []
        for id in several("ids", ids, "token ids"):
            data = self._bytes_of(id)
            try:
                pieces.append(data.decode("utf-8"))
            except UnicodeDecodeError:
                pieces.append("".join(f"<{byte:02X}>" for byte in data))
        return pieces

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield text as ids arrive, whole characters only. The pieces joined are exactly `decode(ids)`."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for id in several("ids", ids, "token ids"):
            if text := decoder.decode(self._bytes_of(id)):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def _bytes_of(self, id: int) -> bytes:
        id = integer("token id", id, 0)
        return self._bytes[id] if id < len(self._bytes) else f"<|no token {id}|>".encode()

    def _encode_plain(self, text: str) -> list[int]:
        ids = []
        for part in cut(DIGIT, text) if self.digits_alone else [text]:
            for word in gpt2_words(part) if self.pattern is None else cut(self._words, part):
                known = self._known_words.get(word)
                if known is None:
                    known = self._encode_word(word)
                    if len(self._known_words) < 100_000 and len(word) < 100:  # words repeat; long runs do not
                        self._known_words[word] = known
                ids += known
        return ids

    def _encode_word(self, word: str) -> list[int]:
        data = word.encode()
        if data in self._whole_words:
            return [self._whole_words[data]]
        try:
            return merge_word([self._byte_ids[byte] for byte in data], self._merges_by_id)
        except KeyError as error:
            raise ValueError(
                f"text has {word!r:.80}, and the vocabulary has no token for its byte 0x{error.args[0]:02X}: take it "
                f"out, or train a tokenizer, which has all 256"
            ) from None

    @staticmethod
    def train(
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (END_OF_TEXT,),
        *,
        within: str = "words",
    ) -> "Tokenizer":
        """Learn merges from texts: again and again, the most frequent pair of neighbours becomes a token.

        With within="words" a token can grow to a whole word, with "characters" to a whole character. The second suits
        texts in which a character is a word, such as Chinese poems.

        The vocabulary has the 256 bytes, then the merged tokens in the order learned, then the special tokens; the
        first of these ends a text. Texts are cut at the names of special tokens, and nothing is learned from the names.
        Of equally frequent pairs the one with the smallest ids wins, as in Hugging Face's trainer. Stops early when
        every word (or character) is a single token. Raises ValueError for a vocab_size too small for bytes and special
        tokens, for half a surrogate pair in a text, and for one string, whose characters would be taken for texts.
        """
        several("texts", texts, "texts")
        names = list(several("special_tokens", special_tokens, "names"))
        specials = [SpecialToken(name) for name in names]
        if len(set(names)) < len(names):
            raise ValueError(f"special_tokens must be a list of different names, got {names!r}")
        vocab_size = integer("vocab_size", vocab_size, 256 + len(specials))
        unit_counts = count_units(texts, specials, within)
        bytes_in_order = sorted(CHARACTER_OF_BYTE)
        id_of_byte = {BYTE_OF_CHARACTER[character]: id for id, character in enumerate(bytes_in_order)}
        units = {tuple(id_of_byte[byte] for byte in unit.encode()): count for unit, count in unit_counts.items()}
        tokens, merges = list(bytes_in_order), []
        for left, right in learn_merges(units, 256, vocab_size - 256 - len(specials)):
            merges.append((tokens[left], tokens[right]))
            tokens.append(tokens[left] + tokens[right])
        vocabulary = {token: id for id, token in enumerate([*tokens, *names])}
        return Tokenizer(vocabulary, merges, specials, next(iter(names), None))

    @staticmethod
    def load(directory: str | Path) -> "Tokenizer":
        """Read the byte-level BPE tokenizer of a folder: tokenizer.json, or vocab.json and merges.txt (OpenAI's
        encoder.json and vocab.bpe), with the special tokens that the files beside them name.

        Raises FileNotFoundError when there is none and ValueError when a file is not what its name says, or is another
        kind of tokenizer (`minigpt.load_tokenizer` takes the right class).
        """
        settings = read_tokenizer(Path(directory))
        try:
            return Tokenizer(**settings)
        except ValueError as error:
            raise ValueError(f"the tokenizer in {directory}: {error}") from None

    def files(self) -> dict[str, bytes]:
        """What `save` writes, by name."""
        return file_contents(self)

    def save(self, directory: str | Path) -> None:
        """Write the files that Hugging Face's tokenizers and transformers load; delete another tokenizer's files."""
        write_files(directory, self.files())


def _to_bytes(token: str) -> bytes:
    try:
        return bytes(BYTE_OF_CHARACTER[character] for character in token)
    except KeyError as error:
        raise ValueError(f"token {token!r} has {error.args[0]!r}, which stands for no byte") from None
