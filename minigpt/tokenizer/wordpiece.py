"""BERT's WordPiece (Schuster and Nakajima 2012; Wu et al. 2016, section 4.1; Devlin et al. 2018, section 3). No torch.

That the longest piece is taken first comes from the code published with BERT.

    text -> cleaned text -> words, punctuation -> of each word the longest piece in the vocabulary, then the next

A piece inside a word begins with ##: "embeddings" is em ##bed ##ding ##s. A word that cannot be cut into pieces is
[UNK] as a whole. BERT reads [CLS] text [SEP], or [CLS] text [SEP] second text [SEP].
"""

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import regex

from .._checks import flag, integer, several
from .characters import whole_characters
from .decoding import REACH, clean_up, stream_text
from .folders import write_files
from .specials import NamedTokens, SpecialToken, check_vocabulary, known_ids, special_tokens_of, split_at
from .unicode8 import ACCENT, CONTROL, PUNCTUATION
from .wordpiece_files import file_contents, read_wordpiece

CONTROLS, SPACES, ACCENTS = (regex.compile(signs, regex.VERSION1) for signs in (CONTROL, r"\s", ACCENT))
# Characters that are words by themselves: Chinese has no spaces between words. (0x2B920 is Hugging Face's: in Google's
# code it is 0x2B820.)
CHINESE = regex.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf"
    r"\U0002f800-\U0002fa1f]"
)
WORDS = regex.compile(rf"{PUNCTUATION}|[^\s{PUNCTUATION}]+", regex.VERSION1)  # a punctuation mark is a word


def longest_pieces(word: str, vocabulary: dict[str, int]) -> list[int] | None:
    """The ids of a word's pieces: at each place the longest one in the vocabulary. None where no piece fits.

    It takes up to about n² look-ups for a word of n characters.
    """
    ids, begin = [], 0
    while begin < len(word):
        mark = "##" if begin else ""
        end = next((end for end in range(len(word), begin, -1) if mark + word[begin:end] in vocabulary), None)
        if end is None:
            return None
        ids.append(vocabulary[mark + word[begin:end]])
        begin = end
    return ids


class WordPiece(NamedTokens):
    """text <-> BERT's token ids. Make one with `load` or `minigpt.load_tokenizer`.

    vocabulary maps each piece of a word to its id, 0 ... n - 1. special_tokens are found as a whole wherever they
    stand in a text, as in Hugging Face; those that the vocabulary lacks get the next ids. names says which token has
    which task: {"mask_token": "[MASK]", ...}. lower_case, strip_accents (None = as lower_case says) and chinese_alone
    (each Chinese character is a word) say how a text is cleaned. A word of more than max_word characters is [UNK].
    prefix and suffix are the ids before and after a text. clean_up: `decode` also joins ' and the ends of
    contractions ('s, n't ...) to the word before, as Hugging Face's cleaning does.
    Raises ValueError for arguments that do not fit together.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        special_tokens: Iterable[str | SpecialToken] = (),
        names: dict[str, str] | None = None,
        lower_case: bool = True,
        strip_accents: bool | None = None,
        chinese_alone: bool = True,
        max_word: int = 100,
        prefix: Iterable[int] = (),
        suffix: Iterable[int] = (),
        clean_up: bool = False,
    ):
        check_vocabulary(vocabulary)
        self.parts_of_words, self.vocabulary = vocabulary, dict(vocabulary)
        self.special_tokens = special_tokens_of(special_tokens)
        for token in self.special_tokens:
            self.vocabulary.setdefault(token.content, len(self.vocabulary))
        self.names = {}
        self._set_names(names)
        if self.names.get("unk_token") not in vocabulary:
            raise ValueError(f"unk_token must be a token of the vocabulary, got {self.names.get('unk_token')!r}")
        self.lower_case = flag("lower_case", lower_case)
        self.strip_accents = lower_case if strip_accents is None else flag("strip_accents", strip_accents)
        self.chinese_alone, self.clean_up = flag("chinese_alone", chinese_alone), flag("clean_up", clean_up)
        self.max_word = integer("max_word", max_word, 1)
        self.prefix, self.suffix = (
            known_ids("prefix", prefix, self.vocabulary),
            known_ids("suffix", suffix, self.vocabulary),
        )
        self._tokens = sorted(self.vocabulary, key=self.vocabulary.get)
        for token in self.special_tokens:
            if token.normalized:  # `decode` shows it as it is found: normalized
                self._tokens[self.vocabulary[token.content]] = self.normalize(token.content)
        self._known_words: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        return len(self._tokens)

    def normalize(self, text: str) -> str:
        """The text without control characters, with spaces for white space, and letters as the vocabulary has them.

        Which letters are capital and which have an accent follows this Python's version of Unicode. For some 60 letters
        that came with Unicode 13 and later, Hugging Face's version may differ. BERT's vocabularies have none of these
        letters, so a word with one is [UNK] in both.
        """
        text = SPACES.sub(" ", CONTROLS.sub("", text))
        if self.chinese_alone:
            text = CHINESE.sub(r" \g<0> ", text)
        if self.strip_accents:  # é is e and an accent in normal form D
            text = ACCENTS.sub("", unicodedata.normalize("NFD", text))
        if self.lower_case:  # lower() makes Σ at the end of a word ς, BERT's tokenizer makes it σ
            text = text.replace("Σ", "σ").lower()
        return text

    def encode(self, text: str, special_tokens: bool = True) -> list[int]:
        """The token ids of a text, [CLS] and [SEP] around it. With special_tokens=False the names of special
        tokens in the text are plain text.

        Raises ValueError for half a surrogate pair, which no file can contain.
        """
        return [*self.prefix, *self._encode_plain(text, special_tokens), *self.suffix]

    def encode_pair(self, first: str, second: str) -> tuple[list[int], list[int]]:
        """(the ids of [CLS] first [SEP] second [SEP], and which of the two texts each belongs to, 0 or 1).

        Devlin et al. 2018, figure 2. Raises ValueError as `encode`.
        """
        start = self.encode(first)
        end = [*self._encode_plain(second), *self.suffix]
        return start + end, [0] * len(start) + [1] * len(end)

    def _encode_plain(self, text: str, special_tokens: bool = True) -> list[int]:
        matched = [token for token in self.special_tokens if special_tokens or not token.special]
        ids = []
        for part in split_at(matched, whole_characters(text), self.normalize):
            if isinstance(part, SpecialToken):
                ids.append(self.vocabulary[part.content])
                continue
            for word in WORDS.findall(part):
                known = self._known_words.get(word)
                if known is None:
                    pieces = longest_pieces(word, self.parts_of_words) if len(word) <= self.max_word else None
                    known = pieces or [self.unk_id]
                    if len(self._known_words) < 100_000 and len(word) < 100:  # words repeat; long runs do not
                        self._known_words[word] = known
                ids += known
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens included: a space between words, none before ## and before . ? ! ,

        What `encode` has changed, such as capital letters, is not restored. An id beyond the vocabulary, which a model
        with a larger one may choose, is shown as <|no token 30522|>. Raises ValueError for a negative id, and for what
        is no integer.
        """
        words = []
        for place, token in enumerate(self.pieces(ids)):
            word = token if place == 0 else token.removeprefix("##") if token.startswith("##") else " " + token
            words.append(clean_up(word).replace(" do not", " don't"))
        text = "".join(words)
        return clean_up(text) if self.clean_up else text

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield text as ids arrive. The pieces joined are exactly `decode(ids)`."""
        return stream_text(self.decode, ids, REACH if self.clean_up else 0)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Each token alone, to be shown, as the vocabulary writes it: a part of a word begins with ##."""
        ids = [integer("token id", id, 0) for id in several("ids", ids, "token ids")]
        return [self._tokens[id] if id < len(self._tokens) else f"<|no token {id}|>" for id in ids]

    @staticmethod
    def load(directory: str | Path) -> "WordPiece":
        """Read the WordPiece tokenizer of a folder: vocab.txt or tokenizer.json, and tokenizer_config.json.

        Raises FileNotFoundError when there is none, and ValueError when a file is not what its name says, or says what
        cannot be obeyed.
        """
        settings = read_wordpiece(Path(directory))
        try:
            return WordPiece(**settings)
        except ValueError as error:
            raise ValueError(f"the tokenizer in {directory}: {error}") from None

    def files(self) -> dict[str, bytes]:
        """What `save` writes, by name."""
        return file_contents(self)

    def save(self, directory: str | Path) -> None:
        """Write the files that Hugging Face's tokenizers and transformers load; delete another tokenizer's files."""
        write_files(directory, self.files())
