"""Read the files of a WordPiece tokenizer as Hugging Face's AutoTokenizer does, or raise an error that says why."""

import codecs
import json
from pathlib import Path

import regex

from .._files import read_text
from .configs import AS_WRITTEN, BERT, USUAL, read_tokenizer_config
from .files import NotByHand, obey_config, read_added, read_parts_of_whole, steps, template
from .folders import CONFIG, LINES, WHOLE
from .specials import NAMED
from .writing import added_json, template_json

DECODER = {"type": "WordPiece", "prefix": "##", "cleanup": True}
MAX_WORD = 100  # of BertTokenizer


def read_wordpiece(directory: Path) -> dict:
    """The arguments of `WordPiece` that a folder describes.

    transformers' BertTokenizer takes the pieces from tokenizer.json, or from vocab.txt where there is none, and
    everything else from tokenizer_config.json. Where the two contradict each other, it is unknown which one is right.
    Raises FileNotFoundError when there is no tokenizer; ValueError for a file that is not what its name says, for what
    cannot be obeyed, and for two files that contradict each other.
    """
    whole, lines = directory / WHOLE, directory / LINES
    config, family = read_tokenizer_config(directory, (BERT, AS_WRITTEN) if whole.is_file() else (BERT,))
    if whole.is_file():
        found = _read_whole(whole, ValueError if family == BERT else NotByHand)
        if lines.is_file() and read_lines(lines) != {_trimmed(name): id for name, id in found["vocabulary"].items()}:
            raise ValueError(
                f"{directory}: {WHOLE} and {LINES} are two different tokenizers; take away the one that is not this "
                f"model's"
            )
    elif lines.is_file():
        found = {"vocabulary": read_lines(lines), "special_tokens": {}}
    else:
        raise FileNotFoundError(f"no WordPiece tokenizer in {directory}: expected {WHOLE} or {LINES}")
    vocabulary = dict(found["vocabulary"])
    for content in found["special_tokens"]:
        vocabulary.setdefault(content, len(vocabulary))
    names = obey_config(directory, config, family, vocabulary, found["special_tokens"])
    found["special_tokens"] = sorted(found["special_tokens"].values(), key=lambda token: vocabulary[token.content])
    found["names"] = {task: token.content for task, token in names.items() if task in NAMED}
    if family == BERT:
        asked = _asked(directory / CONFIG, config, found["names"], vocabulary)
        for name, value in asked.items():
            if found.setdefault(name, value) != value:
                raise ValueError(
                    f"{whole}: {name} is {found[name]!r}, and {CONFIG} (or BertTokenizer, where it names none) says "
                    f"{value!r}: transformers takes {value!r}; write the right one in both files"
                )
    unknown = found.pop("unk_token")
    return found | {
        "names": found["names"] | {"unk_token": unknown},
        "clean_up": bool(config.get("clean_up_tokenization_spaces")),
    }


def _asked(file: Path, config: dict, names: dict[str, str], vocabulary: dict[str, int]) -> dict:
    """The settings that BertTokenizer takes from tokenizer_config.json, by the names of `WordPiece`'s arguments."""
    usual = {"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None}
    lower_case, chinese_alone, strip_accents = said = [config.get(name, value) for name, value in usual.items()]
    for name, value in zip(usual, said, strict=True):
        if not isinstance(value, bool) and not (name == "strip_accents" and value is None):
            raise ValueError(f"{file}: {name} must be true or false, got {value!r}")
    for task in ("unk_token", "cls_token", "sep_token"):
        if task not in names:
            raise ValueError(f"{file}: {task} is {config[task]!r}, and BERT's tokenizer needs one")
    return {
        "lower_case": lower_case,
        "chinese_alone": chinese_alone,
        "strip_accents": lower_case if strip_accents is None else strip_accents,
        "unk_token": names["unk_token"],
        "max_word": MAX_WORD,
        "prefix": [vocabulary[names["cls_token"]]],
        "suffix": [vocabulary[names["sep_token"]]],
    }


def _read_whole(file: Path, refused: type[ValueError]) -> dict:
    """Read tokenizer.json, or raise an error that names what BERT's tokenizer does not have."""
    fields = read_parts_of_whole(file)
    model, normalizer = fields.get("model") or {}, fields.get("normalizer") or {}
    kind = model.get("type", "WordPiece" if "max_input_chars_per_word" in model else "BPE")
    if kind != "WordPiece":
        raise ValueError(
            f"{file}: model is {kind}, and this class reads WordPiece; minigpt.load_tokenizer takes the class that "
            f"reads a folder"
        )
    expected = {
        "normalizer": (normalizer.get("type"), "BertNormalizer"),
        "clean_text of normalizer": (normalizer.get("clean_text", True), True),
        "pre_tokenizer": ((fields.get("pre_tokenizer") or {}).get("type"), "BertPreTokenizer"),
        "decoder": (fields.get("decoder"), DECODER),
        "continuing_subword_prefix": (model.get("continuing_subword_prefix", "##"), "##"),
    }
    for part, (value, known) in expected.items():
        if value != known:
            raise refused(f"{file}: {part} is {value!r}, and BERT's is {known!r}")
    pieces = model.get("vocab")
    if not isinstance(pieces, dict) or not all(type(id) is int for id in pieces.values()):
        raise ValueError(f"{file}: vocab must map tokens to integer ids")
    vocabulary = dict(pieces)
    specials = read_added(fields, vocabulary, file)
    prefix, suffix = _around(fields.get("post_processor"), vocabulary, file, refused)
    lower_case, strip_accents = normalizer.get("lowercase", True), normalizer.get("strip_accents")
    return {
        "vocabulary": pieces,
        "special_tokens": specials,
        "unk_token": model.get("unk_token", "[UNK]"),
        "lower_case": lower_case,
        "strip_accents": lower_case if strip_accents is None else strip_accents,
        "chinese_alone": normalizer.get("handle_chinese_chars", True),
        "max_word": model.get("max_input_chars_per_word", MAX_WORD),
        "prefix": prefix,
        "suffix": suffix,
    }


def _around(
    post_processor: dict | None, vocabulary: dict[str, int], file: Path, refused: type[ValueError]
) -> tuple[list[int], list[int]]:
    """(ids before a text, ids after it and after a second text)."""
    kinds = [step.get("type") for step in steps(post_processor, "processors")]
    if kinds == ["BertProcessing"]:
        try:
            (_, end), (_, begin) = post_processor["sep"], post_processor["cls"]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{file}: post_processor lacks sep or cls, a token and its id") from None
        return [begin], [end]
    if kinds not in ([], ["TemplateProcessing"]):
        raise refused(f"{file}: post_processor is {' and '.join(map(str, kinds))}, and BERT's is a template")
    prefix, suffix = template(post_processor, vocabulary, file)
    if kinds and post_processor.get("pair") != _template_json(prefix, suffix, vocabulary)["pair"]:
        raise refused(f"{file}: the template for two texts is not BERT's [CLS] first [SEP] second [SEP]")
    return prefix, suffix


def read_lines(file: Path) -> dict[str, int]:
    """{token: id} of vocab.txt, a token a line, white space at its end left out. Raises ValueError for a token that is
    there twice, and for a byte-order mark, which transformers takes for a part of the first token."""
    if file.read_bytes().startswith(codecs.BOM_UTF8):
        raise ValueError(
            f"{file} begins with a byte-order mark, which would be a part of its first token: take it away"
        )
    lines = read_text(file).split("\n")
    vocabulary = {}
    for id, line in enumerate(lines[:-1] if lines[-1] == "" else lines):
        token = _trimmed(line)
        if vocabulary.setdefault(token, id) != id:
            raise ValueError(f"{file}: {token!r} is on line {vocabulary[token] + 1} and on line {id + 1}")
    return vocabulary


def file_contents(tokenizer) -> dict[str, bytes]:
    """{file name: content} of a tokenizer. tokenizer.json and tokenizer_config.json hold everything; vocab.txt holds
    the pieces, if each of them fits in a line."""
    pieces = tokenizer.parts_of_words
    files = {
        WHOLE: json.dumps(_whole(tokenizer), ensure_ascii=False).encode(),
        CONFIG: (json.dumps(_config(tokenizer), ensure_ascii=False, indent=2) + "\n").encode(),
    }
    if all("\n" not in piece and _trimmed(piece) == piece for piece in pieces):
        files[LINES] = "".join(f"{piece}\n" for piece in sorted(pieces, key=pieces.get)).encode()
    return files


def _trimmed(line: str) -> str:
    return regex.sub(r"\s+\Z", "", line)  # not rstrip(): to Python U+001C is a space


def _template_json(prefix: list[int], suffix: list[int], vocabulary: dict[str, int]) -> dict:
    fields = template_json(prefix, suffix, vocabulary)
    after = [{"SpecialToken": piece["SpecialToken"] | {"type_id": 1}} for piece in fields["single"][len(prefix) + 1 :]]
    return fields | {"pair": [*fields["single"], {"Sequence": {"id": "B", "type_id": 1}}, *after]}


def _whole(tokenizer) -> dict:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_json(tokenizer),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": tokenizer.chinese_alone,
            "strip_accents": tokenizer.strip_accents,
            "lowercase": tokenizer.lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _template_json(tokenizer.prefix, tokenizer.suffix, tokenizer.vocabulary),
        "decoder": DECODER,
        "model": {
            "type": "WordPiece",
            "unk_token": tokenizer.names["unk_token"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": tokenizer.max_word,
            "vocab": tokenizer.parts_of_words,
        },
    }


def _config(tokenizer) -> dict:
    """tokenizer_config.json: it names BertTokenizer where that gives the same ids, else a class that obeys the file."""
    own = (tokenizer.max_word, tokenizer.prefix, tokenizer.suffix)
    as_bert = own == (MAX_WORD, [tokenizer.cls_id], [tokenizer.sep_id]) and USUAL[BERT].keys() <= tokenizer.names.keys()
    return tokenizer.names | {
        "tokenizer_class": "BertTokenizer" if as_bert else "PreTrainedTokenizerFast",
        "do_lower_case": tokenizer.lower_case,
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.chinese_alone,
        "clean_up_tokenization_spaces": tokenizer.clean_up,
    }
