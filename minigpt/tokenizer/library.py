"""Tokenizers that the package tokenizers runs, not written by hand here: sentencepiece's kinds (T5, Llama 2).

Kudo and Richardson 2018 describe them: the spaces of a text become ▁. Then the text is cut into the pieces that are
most likely together (T5), or its characters are merged pair by pair (Llama 2).
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .._checks import integer, several
from .characters import whole_characters
from .configs import AS_WRITTEN, LLAMA, T5, read_tokenizer_config
from .decoding import REACH, clean_up, stream_text
from .files import cuts, obey_config, read_added, read_parts_of_whole
from .folders import TOKENIZER_FILES, WHOLE, write_files
from .specials import NAMED, NamedTokens


class LibraryTokenizer(NamedTokens):
    """text <-> token ids as a tokenizer.json describes them. Make one with `load` or `minigpt.load_tokenizer`.

    The file is read as it is written. transformers 5 differs in two cases: its LlamaTokenizer ignores the file's
    normalizer, and its T5Tokenizer ignores any pre-tokenizer but T5's own. We follow the file, because the models were
    trained with it.
    vocabulary maps each token to its id. names says which token has which task: {"eos_token": "</s>", ...}.
    """

    def __init__(self, tokenizer, names: dict[str, str], files: dict[str, bytes], clean_up: bool = False):
        self._tokenizer, self._files = tokenizer, files
        self.vocabulary, self.names, self.clean_up = tokenizer.get_vocab(with_added_tokens=True), names, clean_up
        self.vocab_size = max(self.vocabulary.values(), default=-1) + 1

    def encode(self, text: str, special_tokens: bool = True) -> list[int]:
        """The token ids of a text, with what the file puts around it: T5's </s> after it, Llama's <s> before it.
        With special_tokens=False the names of special tokens in the text are plain text.

        Raises ValueError for half a surrogate pair, which no file can contain.
        """
        self._tokenizer.encode_special_tokens = not special_tokens
        return self._tokenizer.encode(whole_characters(text)).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens included. An id beyond the vocabulary is shown as <|no token 32100|>.

        Raises ValueError for a negative id, and for what is no integer.
        """
        pieces, decoder = self.pieces(ids), self._tokenizer.decoder
        text = " ".join(pieces) if decoder is None else decoder.decode(pieces)
        return clean_up(text) if self.clean_up else text

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield text as ids arrive, whole characters only. The pieces joined are `decode(ids)`.

        Llama 2 writes rare characters as bytes, a token each. They wait until a token arrives that is no byte, because
        one wrong byte turns all bytes beside it into U+FFFD.
        """
        return stream_text(self.decode, ids, REACH if self.clean_up else 0, self._is_byte)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Each token alone, to be shown, as the vocabulary writes it: ▁ is a space."""
        ids = [integer("token id", id, 0) for id in several("ids", ids, "token ids")]
        names = [self._tokenizer.id_to_token(id) if id < self.vocab_size else None for id in ids]
        return [f"<|no token {id}|>" if name is None else name for id, name in zip(ids, names, strict=True)]

    def _is_byte(self, id: int) -> bool:
        return re.fullmatch("<0x[0-9A-F]{2}>", self.pieces([id])[0]) is not None

    @staticmethod
    def load(directory: str | Path) -> "LibraryTokenizer":
        """Read the tokenizer.json of a folder, and the special tokens that the files beside it name.

        Raises FileNotFoundError when there is no tokenizer.json, ImportError without the package tokenizers, and
        ValueError when a file is not what its name says, or says what cannot be obeyed.
        """
        directory = Path(directory)
        file = directory / WHOLE
        if not file.is_file():
            raise FileNotFoundError(f"no tokenizer in {directory}: expected {WHOLE}")
        try:
            import tokenizers
        except ImportError:
            raise ImportError(f"{file} is read with the package tokenizers: pip install tokenizers") from None
        fields = read_parts_of_whole(file)
        config, family = read_tokenizer_config(directory, (AS_WRITTEN, T5, LLAMA))
        if family == LLAMA and any(step.get("type") == "ByteLevel" for step in cuts(fields)):
            family = AS_WRITTEN  # LlamaTokenizer reads sentencepiece's kind; this is another
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the package raises no narrower class
            raise ValueError(f"{file} is no file of the package tokenizers: {error}") from None
        kind = type(tokenizer.model).__name__
        if (family, kind) not in [(AS_WRITTEN, kind), (T5, "Unigram"), (LLAMA, "BPE")]:
            raise ValueError(f"{file}: model is {kind}, and {family}'s tokenizer is another one")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        before = read_added(fields, dict(vocabulary), file)
        specials = dict(before)
        names = obey_config(directory, config, family, vocabulary, specials)
        for name in sorted(specials, key=vocabulary.get):
            if specials[name] != before.get(name):
                tokenizer.add_tokens([tokenizers.AddedToken(**vars(specials[name]))])
        return LibraryTokenizer(
            tokenizer,
            {task: token.content for task, token in names.items() if task in NAMED},
            {name: (directory / name).read_bytes() for name in TOKENIZER_FILES if (directory / name).is_file()},
            bool(config.get("clean_up_tokenization_spaces")) and kind != "BPE",
        )

    def files(self) -> dict[str, bytes]:
        """What `save` writes, by name: the files of the folder that it was read from, byte for byte."""
        return dict(self._files)

    def save(self, directory: str | Path) -> None:
        """Write the files that this tokenizer was read from; delete another tokenizer's files."""
        write_files(directory, self.files())
