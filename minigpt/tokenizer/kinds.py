"""Which class reads a folder's tokenizer."""

from pathlib import Path

from .bpe import Tokenizer
from .files import NotByHand, cuts, read_parts_of_whole
from .folders import BPE_LAYOUTS, LINES, SENTENCEPIECE, WHOLE
from .library import LibraryTokenizer
from .wordpiece import WordPiece


def read_any(directory: str | Path) -> Tokenizer | WordPiece | LibraryTokenizer:
    """The tokenizer of a folder: byte-level BPE (GPT-2, Llama 3) as a `Tokenizer`, WordPiece (BERT) as a `WordPiece`,
    any other tokenizer.json (T5, Llama 2) as a `LibraryTokenizer`.

    Its ids are those of transformers' AutoTokenizer. In three cases transformers 5 ignores a part of tokenizer.json
    that the model was trained with, and here the file is followed: the normalizer of a LlamaTokenizer, how a
    T5Tokenizer cuts words, and the Digits of SmolLM2's GPT2Tokenizer.

    Raises FileNotFoundError when there is no tokenizer; ValueError when a file is not what its name says, or says what
    cannot be obeyed; ImportError when the package tokenizers is needed and missing.
    """
    directory = Path(directory)
    by_hand = _class_by_hand(directory)
    try:
        return (by_hand or LibraryTokenizer).load(directory)
    except NotByHand:  # the file says everything, and the library reads it
        return LibraryTokenizer.load(directory)


def _class_by_hand(directory: Path) -> type[Tokenizer] | type[WordPiece] | None:
    if (directory / WHOLE).is_file():
        fields = read_parts_of_whole(directory / WHOLE)
        model = fields.get("model") or {}
        is_byte_level = any(step.get("type") == "ByteLevel" for step in cuts(fields))
        if model.get("type", "BPE") == "BPE" and "merges" in model and is_byte_level:
            return Tokenizer
        is_wordpiece = model.get("type", "WordPiece") == "WordPiece" and "max_input_chars_per_word" in model
        return WordPiece if is_wordpiece else None
    if any(all((directory / name).is_file() for name in names) for names in BPE_LAYOUTS):
        return Tokenizer
    if (directory / LINES).is_file():
        return WordPiece
    for name in SENTENCEPIECE:
        if (directory / name).is_file():
            raise ValueError(
                f"{directory / name} is not read here: make {WHOLE} of it once, with transformers' "
                f"AutoTokenizer.from_pretrained({str(directory)!r}).save_pretrained({str(directory)!r})"
            )
    layouts = [" and ".join(names) for names in BPE_LAYOUTS]
    raise FileNotFoundError(f"no tokenizer in {directory}: expected {', or '.join([WHOLE, *layouts, LINES])}")
