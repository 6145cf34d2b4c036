"""GPT-2's byte-level byte pair encoding (Sennrich et al. 2016; Radford et al. 2019, section 2.2). No torch.

    text -> words (letters with a space in front, a number, ...) -> UTF-8 bytes -> merge neighbours, best pair first

Every text is bytes and every byte is a token, so nothing is ever unknown.
"""

import codecs
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import regex
from tqdm import tqdm

from .._checks import integer
from .._files import write_whole
from .files import file_contents, find_files, read_merges, read_vocabulary
from .unicode16 import LETTER, NUMBER, OTHER

END_OF_TEXT = "<|endoftext|>"

# A word: an English contraction; letters, digits or other signs with one space in front; the rest of the white space,
# whose last space is left to the next word.
WORDS = regex.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?{LETTER}+| ?{NUMBER}+| ?{OTHER}+|\s+(?!\S)|\s+", regex.VERSION1)


# (left id, right id) -> (rank, id of the two as one token)
Merges = dict[tuple[int, int], tuple[int, int]]


def merge_word_simply(ids: list[int], merges: Merges) -> list[int]:
    """Byte pair encoding in ten lines: of all pairs of neighbours merge the one with the best rank, the leftmost of
    equals; again, until no pair has a rank. It looks at every pair for every merge: n² for n bytes."""
    ids = list(ids)
    while True:
        ranked = [(merges[pair], place) for place, pair in enumerate(pairwise(ids)) if pair in merges]
        if not ranked:
            return ids
        (_, merged), place = min(ranked)
        ids[place : place + 2] = [merged]


def merge_word(ids: list[int], merges: Merges) -> list[int]:
    """`merge_word_simply`, sooner, and with the same result.

    A heap of candidates and a linked list of what is left: n log n, so a run of 100 000 letters takes a moment
    and not an hour. A candidate is stale when its left token was merged away or its pair has changed.
    """
    end = len(ids)
    following = list(range(1, end + 1))
    previous = list(range(-1, end - 1))
    gone = -1
    candidates = []

    def consider(left):
        right = following[left]
        if right < end and (merge := merges.get((ids[left], ids[right]))):
            heapq.heappush(candidates, (merge[0], left, merge[1], ids[left], ids[right]))

    for left in range(end - 1):
        consider(left)
    while candidates:
        _, left, merged, left_id, right_id = heapq.heappop(candidates)
        right = following[left]
        if ids[left] != left_id or right == end or ids[right] != right_id:
            continue
        ids[left], ids[right] = merged, gone
        following[left] = following[right]
        if following[left] < end:
            previous[following[left]] = left
        consider(left)
        if previous[left] >= 0:
            consider(previous[left])
    return [id for id in ids if id != gone]


def byte_characters() -> list[str]:
    """The visible character that stands for each byte in the vocabulary files, in byte order.

    Visible Latin-1 bytes stand for themselves; the other 68 are moved, in order, to U+0100 and on, so that a file of
    tokens shows no blanks and no control characters: a space is Ġ, a line break Ċ.
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    moved = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(moved)) for byte in range(256)]


CHARACTER_OF_BYTE = byte_characters()
BYTE_OF_CHARACTER = {character: byte for byte, character in enumerate(CHARACTER_OF_BYTE)}


class Tokenizer:
    """text <-> token ids. Make one with `load`, `train` or `minigpt.load_tokenizer`.

    vocabulary maps each token, a string of byte characters, to its id; merges lists the pairs, best first. The
    end-of-text token is matched as a whole wherever it stands in a text, as Hugging Face does.

    The classic example: in "low low lower" the pair (l, o) is merged first, then (lo, w), then (Ġ, low).
    """

    def __init__(self, vocabulary: dict[str, int], merges: list[tuple[str, str]]):
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise ValueError(f"the ids of a vocabulary of {len(vocabulary)} tokens must be 0..{len(vocabulary) - 1}")
        missing = [character for character in CHARACTER_OF_BYTE if character not in vocabulary]
        if missing:
            raise ValueError(f"the vocabulary lacks {len(missing)} of the 256 byte tokens, {missing[0]!r} first")
        self.vocabulary, self.merges = vocabulary, merges
        self.eos_id = vocabulary.get(END_OF_TEXT)
        self._byte_ids = [vocabulary[character] for character in CHARACTER_OF_BYTE]
        self._merges_by_id: Merges = {}
        for rank, (left, right) in enumerate(merges):
            for token in (left, right, left + right):
                if token not in vocabulary:
                    raise ValueError(f"merge {rank + 1}, {left!r} + {right!r}, needs token {token!r} in the vocabulary")
            self._merges_by_id[vocabulary[left], vocabulary[right]] = (rank, vocabulary[left + right])
        self._bytes = [b""] * len(vocabulary)
        for token, id in vocabulary.items():
            self._bytes[id] = token.encode() if token == END_OF_TEXT else _to_bytes(token)
        self._known_words: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """The token ids of a text. Raises ValueError for a lone surrogate, which no file can contain."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"text has a lone surrogate {text[error.start]!r} at position {error.start}") from None
        if self.eos_id is None:
            return self._encode_plain(text)
        first, *rest = text.split(END_OF_TEXT)
        ids = self._encode_plain(first)
        for part in rest:
            ids += [self.eos_id, *self._encode_plain(part)]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids. Bytes that are not UTF-8 (a character cut in half) become U+FFFD.

        Raises ValueError for an id outside the vocabulary.
        """
        return b"".join(self._bytes_of(id) for id in ids).decode("utf-8", errors="replace")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Each token for itself, to be shown: its text, or its bytes, such as <E4><B8>, where it is a part of a
        character."""
        pieces = []
        for id in ids:
            data = self._bytes_of(id)
            try:
                pieces.append(data.decode("utf-8"))
            except UnicodeDecodeError:
                pieces.append("".join(f"<{byte:02X}>" for byte in data))
        return pieces

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text as ids arrive, whole characters only: the pieces joined are exactly `decode(ids)`."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for id in ids:
            if text := decoder.decode(self._bytes_of(id)):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def _bytes_of(self, id: int) -> bytes:
        return self._bytes[integer("token id", id, 0, len(self._bytes) - 1)]

    def _encode_plain(self, text: str) -> list[int]:
        ids = []
        for word in WORDS.findall(text):
            known = self._known_words.get(word)
            if known is None:
                known = merge_word([self._byte_ids[byte] for byte in word.encode()], self._merges_by_id)
                if len(self._known_words) < 100_000 and len(word) < 100:  # words repeat; long runs do not
                    self._known_words[word] = known
            ids += known
        return ids

    @staticmethod
    def train(texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn merges from texts: again and again, the most frequent pair of neighbours becomes a token.

        The vocabulary is the 256 bytes, the merges in the order learned, and the end-of-text token last. Of equally
        frequent pairs the one with the smallest ids wins, as in Hugging Face's trainer. Stops early when every word
        is a single token. Raises ValueError for a vocab_size below 257 (256 bytes and the end of text), and for a
        single string, whose texts would be its characters.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be several strings, such as [text], got one string")
        vocab_size = integer("vocab_size", vocab_size, 257)  # 256 bytes and the end of text
        word_counts = Counter()
        for text in tqdm(texts, desc="counting words", unit=" texts", leave=False, delay=2, disable=None):
            word_counts.update(WORDS.findall(text))
        tokens = sorted(CHARACTER_OF_BYTE)
        id_of_byte = {BYTE_OF_CHARACTER[character]: id for id, character in enumerate(tokens)}
        words = [[id_of_byte[byte] for byte in word.encode()] for word in word_counts]
        frequency = list(word_counts.values())

        pair_count = Counter()
        words_with = defaultdict(set)  # pair -> indices of the words it occurs in (or once did)
        for index, word in enumerate(words):
            for pair in pairwise(word):
                pair_count[pair] += frequency[index]
                words_with[pair].add(index)
        queue = [(-count, pair) for pair, count in pair_count.items()]
        heapq.heapify(queue)

        merges = []
        while len(tokens) < vocab_size - 1 and queue:
            count, pair = heapq.heappop(queue)
            if pair_count[pair] != -count:  # the count has changed since: put it back with the right one
                if pair_count[pair] > 0:
                    heapq.heappush(queue, (-pair_count[pair], pair))
                continue
            merged = len(tokens)
            tokens.append(tokens[pair[0]] + tokens[pair[1]])
            merges.append((tokens[pair[0]], tokens[pair[1]]))
            grown = set()
            for index in words_with.pop(pair):
                for neighbours, change in _merge_everywhere(words[index], pair, merged):
                    pair_count[neighbours] += change * frequency[index]
                    if change > 0:
                        words_with[neighbours].add(index)
                        grown.add(neighbours)
            del pair_count[pair]
            for neighbours in grown:
                heapq.heappush(queue, (-pair_count[neighbours], neighbours))
        return Tokenizer({token: id for id, token in enumerate([*tokens, END_OF_TEXT])}, merges)

    @staticmethod
    def load(directory: str | Path) -> "Tokenizer":
        """Read vocab.json and merges.txt (or OpenAI's encoder.json and vocab.bpe) from a folder.

        Raises FileNotFoundError when neither pair is there and ValueError when a file is not what its name says.
        """
        vocabulary_file, merges_file = find_files(Path(directory))
        vocabulary, merges = read_vocabulary(vocabulary_file), read_merges(merges_file)
        try:
            return Tokenizer(vocabulary, merges)
        except ValueError as error:
            raise ValueError(f"{vocabulary_file} and {merges_file.name}: {error}") from None

    def files(self) -> dict[str, bytes]:
        """What `save` writes: vocab.json and merges.txt by name."""
        return file_contents(self.vocabulary, self.merges)

    def save(self, directory: str | Path) -> None:
        """Write vocab.json and merges.txt, which Hugging Face's tokenizers and transformers load."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            write_whole(directory / name, content)


def _to_bytes(token: str) -> bytes:
    try:
        return bytes(BYTE_OF_CHARACTER[character] for character in token)
    except KeyError as error:
        raise ValueError(f"token {token!r} has {error.args[0]!r}, which stands for no byte") from None


def _merge_everywhere(word: list[int], pair: tuple[int, int], merged: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Replace each occurrence of pair in word, in place; yield (pair of neighbours, -1 or +1) for every change."""
    old = list(word)
    word.clear()
    position = 0
    while position < len(old):
        if tuple(old[position : position + 2]) == pair:
            word.append(merged)
            position += 2
        else:
            word.append(old[position])
            position += 1
    changes = Counter(pairwise(word))
    changes.subtract(Counter(pairwise(old)))
    del changes[pair]
    return ((neighbours, change) for neighbours, change in changes.items() if change)
