"""GPT-2's byte-level byte pair encoding (Sennrich et al. 2016; Radford et al. 2019, section 2.2). No torch.

    text -> pieces (a word with its leading space, a number, ...) -> UTF-8 bytes -> merge neighbours, best pair first

Every text is bytes and every byte is a token, so nothing is ever unknown.
"""

import codecs
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import regex
from tqdm import tqdm

END_OF_TEXT = "<|endoftext|>"
FILE_LAYOUTS = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]  # Hugging Face's names, OpenAI's names

# Which signs are letters depends on the version of Unicode. Hugging Face's tokenizers knows version 16; these became
# letters or digits in versions 17 and 18, which newer releases of regex know. They count as other signs here, too.
SINCE_UNICODE_16 = (
    r"\u0558\u058b-\u058c\u088f\u0c5c\u0cdc\u208f\u209d-\u209f\ua7ce-\ua7cf\ua7d2\ua7d4\ua7dd-\ua7f1\uab6c-\uab6d"
    r"\U000107bb-\U000107bf\U00010940-\U00010959\U00010ec5-\U00010eee\U00011b0a\U00011db0-\U00011df1"
    r"\U0001246f-\U0001247f\U00012550-\U00012686\U00016ea0-\U00016ed3\U00016ff2-\U00016ff6\U000187f8-\U000187ff"
    r"\U00018cd6-\U00018cda\U00018d09-\U000191d2\U0001b123-\U0001b128\U0001b168\U0001d6a6\U0001df1f-\U0001df24"
    r"\U0001df2b-\U0001dfff\U0001e6c0-\U0001e6ff\U0002b73a-\U0002b73f\U0002b81e\U0002cea2-\U0002cead"
    r"\U000323b0-\U00033479\U0003d000-\U0003fc3f"
)
LETTER, NUMBER = rf"[\p{{L}}--[{SINCE_UNICODE_16}]]", rf"[\p{{N}}--[{SINCE_UNICODE_16}]]"
OTHER = rf"[[^\s\p{{L}}\p{{N}}]||[{SINCE_UNICODE_16}]]"

# English contractions; letters, digits or other signs with one space in front; the rest of the white space, whose
# last space is left to the next word.
PIECES = regex.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?{LETTER}+| ?{NUMBER}+| ?{OTHER}+|\s+(?!\S)|\s+", regex.VERSION1)


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
        self._merge = {}  # (left id, right id) -> (rank, merged id)
        for rank, (left, right) in enumerate(merges):
            for token in (left, right, left + right):
                if token not in vocabulary:
                    raise ValueError(f"merge {rank + 1}, {left!r} + {right!r}, needs token {token!r} in the vocabulary")
            self._merge[vocabulary[left], vocabulary[right]] = (rank, vocabulary[left + right])
        self._bytes = [b""] * len(vocabulary)
        for token, id in vocabulary.items():
            self._bytes[id] = token.encode() if token == END_OF_TEXT else _to_bytes(token)
        self._known_pieces: dict[str, list[int]] = {}

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

    def labels(self, ids: Iterable[int]) -> list[str]:
        """Each token for itself, to be shown: its text, or its bytes, such as <E4><B8>, where it is a part of a
        character."""
        labels = []
        for id in ids:
            data = self._bytes_of(id)
            try:
                labels.append(data.decode("utf-8"))
            except UnicodeDecodeError:
                labels.append("".join(f"<{byte:02X}>" for byte in data))
        return labels

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text as ids arrive, whole characters only: the pieces joined are exactly `decode(ids)`."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for id in ids:
            if text := decoder.decode(self._bytes_of(id)):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def _bytes_of(self, id: int) -> bytes:
        if not 0 <= id < len(self._bytes):
            raise ValueError(f"token id {id} is outside 0..{len(self._bytes) - 1}")
        return self._bytes[id]

    def _encode_plain(self, text: str) -> list[int]:
        ids = []
        for piece in PIECES.findall(text):
            known = self._known_pieces.get(piece)
            if known is None:
                known = self._merge_piece([self._byte_ids[byte] for byte in piece.encode()])
                if len(self._known_pieces) < 100_000 and len(piece) < 100:  # words repeat; long runs do not
                    self._known_pieces[piece] = known
            ids += known
        return ids

    def _merge_piece(self, ids: list[int]) -> list[int]:
        """Merge the best-ranked pair of neighbours, the leftmost of equals, until no pair has a rank.

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
            if right < end and (merge := self._merge.get((ids[left], ids[right]))):
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

    @staticmethod
    def train(texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn merges from texts: again and again, the most frequent pair of neighbours becomes a token.

        The vocabulary is the 256 bytes, the merges in the order learned, and the end-of-text token last. Of equally
        frequent pairs the one with the smallest ids wins, as in Hugging Face's trainer. Stops early when every piece
        is a single token. Raises ValueError for a vocab_size below 257, and for a single string, whose texts would be
        its characters.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be several strings, such as [text], got one string")
        if vocab_size < 257:
            raise ValueError(f"vocab_size must be at least 257 (256 bytes and {END_OF_TEXT}), got {vocab_size}")
        piece_counts = Counter()
        for text in tqdm(texts, desc="counting pieces", unit=" texts", leave=False, delay=2, disable=None):
            piece_counts.update(PIECES.findall(text))
        tokens = sorted(CHARACTER_OF_BYTE)
        id_of_byte = {BYTE_OF_CHARACTER[character]: id for id, character in enumerate(tokens)}
        words = [[id_of_byte[byte] for byte in piece.encode()] for piece in piece_counts]
        frequency = list(piece_counts.values())

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
        directory = Path(directory)
        for vocabulary_name, merges_name in FILE_LAYOUTS:
            vocabulary_file, merges_file = directory / vocabulary_name, directory / merges_name
            if vocabulary_file.is_file() and merges_file.is_file():
                vocabulary, merges = _read_vocabulary(vocabulary_file), _read_merges(merges_file)
                try:
                    return Tokenizer(vocabulary, merges)
                except ValueError as error:
                    raise ValueError(f"{vocabulary_file} and {merges_name}: {error}") from None
        wanted = " or ".join(f"{vocabulary} and {merges}" for vocabulary, merges in FILE_LAYOUTS)
        raise FileNotFoundError(f"no tokenizer in {directory}: expected {wanted}")

    def files(self) -> dict[str, bytes]:
        """What `save` writes: vocab.json and merges.txt by name."""
        vocabulary_name, merges_name = FILE_LAYOUTS[0]
        merges = "".join(f"{left} {right}\n" for left, right in self.merges)
        return {
            vocabulary_name: json.dumps(self.vocabulary, ensure_ascii=False).encode(),
            merges_name: ("#version: 0.2\n" + merges).encode(),
        }

    def save(self, directory: str | Path) -> None:
        """Write vocab.json and merges.txt, which Hugging Face's tokenizers and transformers load."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            (directory / name).write_bytes(content)


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


def _read_vocabulary(file: Path) -> dict[str, int]:
    try:
        vocabulary = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON in UTF-8: {error}") from None
    if not isinstance(vocabulary, dict) or not all(type(id) is int for id in vocabulary.values()):
        raise ValueError(f"{file} must map tokens to integer ids")
    return vocabulary


def _read_merges(file: Path) -> list[tuple[str, str]]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        raise ValueError(f"{file} is not text in UTF-8: {error}") from None
    merges = []
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = tuple(line.split(" "))
        if len(pair) != 2:
            raise ValueError(f"{file}, line {number}: expected two tokens and a space between them, got {line!r}")
        merges.append(pair)
    return merges
