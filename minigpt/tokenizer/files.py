"""The files of a byte-level BPE tokenizer: read as Hugging Face's AutoTokenizer reads them, or refused by name."""

import json
from pathlib import Path

from .._files import read_json, read_text
from .configs import (
    ADDED,
    CONFIG,
    MAP,
    added_tokens,
    is_as_written,
    named_tokens,
    read_tokenizer_config,
    special_token,
)
from .specials import SpecialToken

FILE_LAYOUTS = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]  # Hugging Face's names, OpenAI's names
WHOLE = "tokenizer.json"
# What a folder may hold beside the files that we write, and what would contradict them.
CONTRADICT = (ADDED, MAP, *FILE_LAYOUTS[1])


def read_tokenizer(directory: Path) -> dict:
    """The arguments of `Tokenizer` that a folder describes.

    A tokenizer.json holds everything; otherwise it is a vocabulary and merges. tokenizer_config.json, and in older
    folders added_tokens.json and special_tokens_map.json, say which tokens are special. Raises FileNotFoundError when
    there is no tokenizer, ValueError for a file that is not what its name says, or says what cannot be obeyed.
    """
    config = read_tokenizer_config(directory)
    is_whole = (directory / WHOLE).is_file()
    found = _read_whole(directory / WHOLE, config) if is_whole else _read_parts(directory)
    if is_whole:
        _check_same(directory, found)
    vocabulary, specials = found["vocabulary"], {token.content: token for token in found["special_tokens"]}

    for token, id in added_tokens(directory, config):
        _add(vocabulary, specials, token, id, directory)
        specials[token.content] = token  # as it says now
    names = named_tokens(directory, config)
    for token in names.values():
        _add(vocabulary, specials, token, None, directory)
    end, begin = names.get("eos_token"), names.get("bos_token")
    if not is_whole:  # a tokenizer.json has its own, and says itself whether a text begins with a space
        found["prefix"] = [vocabulary[begin.content]] if config.get("add_bos_token") and begin else []
        found["suffix"] = [vocabulary[end.content]] if config.get("add_eos_token") and end else []
        found["add_prefix_space"] = bool(config.get("add_prefix_space"))
    return found | {"special_tokens": list(specials.values()), "eos_token": end.content if end else None}


def _check_same(directory: Path, whole: dict) -> None:
    """Raise ValueError where vocab.json and merges.txt beside a tokenizer.json are another tokenizer's."""
    try:
        parts = _read_parts(directory)
    except FileNotFoundError:
        return
    different = [token for token, id in parts["vocabulary"].items() if whole["vocabulary"].get(token) != id]
    if different or parts["merges"] != whole["merges"]:
        raise ValueError(
            f"{directory}: {WHOLE} and the vocabulary beside it are two different tokenizers; "
            f"take away the one that is not this model's"
        )


def _read_parts(directory: Path) -> dict:
    for names in FILE_LAYOUTS:
        vocabulary, merges = (directory / name for name in names)
        if vocabulary.is_file() and merges.is_file():
            return {
                "vocabulary": read_vocabulary(vocabulary),
                "merges": read_merges(merges),
                "special_tokens": [],
            }
    wanted = " or ".join(f"{vocabulary} and {merges}" for vocabulary, merges in FILE_LAYOUTS)
    raise FileNotFoundError(f"no tokenizer in {directory}: expected {WHOLE}, or {wanted}")


def _read_whole(file: Path, config: dict) -> dict:
    """tokenizer.json. What GPT-2's tokenizer does not have (another way to cut, a normalizer) is refused by name."""
    fields = read_json(file)
    for part in ("model", "normalizer", "pre_tokenizer", "post_processor"):
        if not isinstance(fields.get(part), dict | None):
            raise ValueError(f"{file}: {part} must be an object, got {fields[part]!r:.80}")
    model = fields.get("model") or {}
    kinds = {
        "model": (model.get("type", "BPE"), ["BPE"]),
        "normalizer": (_type(fields.get("normalizer")), [None]),
        "pre_tokenizer": (_type(fields.get("pre_tokenizer")), ["ByteLevel"]),
        "post_processor": (_type(fields.get("post_processor")), [None, "ByteLevel", "TemplateProcessing"]),
    }
    for part, (kind, known) in kinds.items():
        if kind not in known:
            expected = " or ".join("none" if k is None else k for k in known)
            raise ValueError(f"{file}: {part} is {kind or 'none'}, and this byte-level BPE knows {expected} only")
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "ignore_merges", "byte_fallback"):
        if model.get(name):
            raise ValueError(f"{file}: {name} is {model[name]!r}, and GPT-2's BPE has none")
    if not fields["pre_tokenizer"].get("use_regex", True):
        raise ValueError(f"{file}: use_regex is false: the text would not be cut into words")
    add_prefix_space = bool(fields["pre_tokenizer"].get("add_prefix_space"))
    if not is_as_written(config):
        if add_prefix_space and "add_prefix_space" not in config:
            raise ValueError(
                f"{file} says add_prefix_space, and transformers asks {CONFIG} alone, which does not: write "
                f'"add_prefix_space": true (or false) there'
            )
        add_prefix_space = bool(config.get("add_prefix_space"))
    try:
        vocabulary, pairs = dict(model["vocab"]), model["merges"]
        merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in pairs]
        added = [(entry["id"], special_token(entry, file)) for entry in fields.get("added_tokens") or []]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file} is not the file of a BPE tokenizer: {type(error).__name__} {error}") from None
    if not all(type(id) is int for id in vocabulary.values()) or not all(len(pair) == 2 for pair in merges):
        raise ValueError(f"{file}: vocab must map tokens to integer ids, and merges must be pairs")
    specials = {}
    for id, token in added:
        _add(vocabulary, specials, token, id, file)
        specials[token.content] = token  # of two, the later one counts
    prefix, suffix = _template(fields.get("post_processor"), vocabulary, file)
    return {
        "vocabulary": vocabulary,
        "merges": merges,
        "special_tokens": list(specials.values()),
        "prefix": prefix,
        "suffix": suffix,
        "add_prefix_space": add_prefix_space,
    }


def _type(part: dict | None) -> str | None:
    return None if part is None else str(part.get("type"))


def _template(post_processor: dict | None, vocabulary: dict, file: Path) -> tuple[list[int], list[int]]:
    """(ids before a text, ids after it)."""
    if _type(post_processor) != "TemplateProcessing":
        return [], []
    before, after = [], []
    ids = before
    try:
        for piece in post_processor["single"]:
            if "Sequence" in piece:
                ids = after
            else:
                ids += post_processor["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
        fits = set(before + after) <= set(vocabulary.values())
        n_texts = sum("Sequence" in piece for piece in post_processor["single"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: the template of post_processor lacks {error}") from None
    if n_texts != 1:
        raise ValueError(f"{file}: the template of post_processor has the text {n_texts} times, expected once")
    if not fits:
        raise ValueError(f"{file}: the template of post_processor has ids {before + after} that are no tokens")
    return before, after


def _add(vocabulary: dict, specials: dict, token: SpecialToken, id: int | None, where: Path) -> None:
    """A special token that the vocabulary lacks gets the next id. One that is there already keeps its ways, unless it
    was a plain token until now."""
    expected = vocabulary.setdefault(token.content, len(vocabulary))
    if id is not None and id != expected:
        raise ValueError(
            f"{where}: token {token.content!r} has the id {id}, and {expected} is its place in the vocabulary; "
            f"ids must be without holes, as transformers counts them"
        )
    specials.setdefault(token.content, token)


def read_vocabulary(file: Path) -> dict[str, int]:
    """{token: id} of vocab.json. Raises ValueError for anything else."""
    vocabulary = read_json(file)
    if not all(type(id) is int for id in vocabulary.values()):
        raise ValueError(f"{file} must map tokens to integer ids")
    return vocabulary


def read_merges(file: Path) -> list[tuple[str, str]]:
    """The pairs of merges.txt, best first. Raises ValueError that names the line that is none."""
    merges = []
    for number, line in enumerate(read_text(file).replace("\r\n", "\n").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = tuple(line.split(" "))
        if len(pair) != 2:
            raise ValueError(f"{file}, line {number}: expected two tokens and a space between them, got {line!r}")
        merges.append(pair)
    return merges


def file_contents(tokenizer) -> dict[str, bytes]:
    """What is written for a tokenizer, by name: everything as tokenizer.json and tokenizer_config.json, which
    transformers reads, and the vocabulary and merges by themselves, which everybody reads."""
    vocabulary_name, merges_name = FILE_LAYOUTS[0]
    lines = "".join(f"{left} {right}\n" for left, right in tokenizer.merges)
    return {
        vocabulary_name: json.dumps(tokenizer.vocabulary, ensure_ascii=False).encode(),
        merges_name: ("#version: 0.2\n" + lines).encode(),
        WHOLE: json.dumps(_whole(tokenizer), ensure_ascii=False).encode(),
        CONFIG: (json.dumps(_config(tokenizer), ensure_ascii=False, indent=2) + "\n").encode(),
    }


def _whole(tokenizer) -> dict:
    specials = {token.content: token for token in tokenizer.special_tokens}
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": tokenizer.add_prefix_space,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": id} | vars(specials[content])
            for content, id in sorted(tokenizer.vocabulary.items(), key=lambda entry: entry[1])
            if content in specials
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": _template_json(tokenizer),
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": tokenizer.vocabulary,
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }


def _template_json(tokenizer) -> dict:
    name_of = {id: token for token, id in tokenizer.vocabulary.items()}
    text = [{"Sequence": {"id": "A", "type_id": 0}}]
    before, after = (
        [{"SpecialToken": {"id": name_of[id], "type_id": 0}} for id in ids]
        for ids in (tokenizer.prefix, tokenizer.suffix)
    )
    used = {name_of[id]: id for id in [*tokenizer.prefix, *tokenizer.suffix]}
    return {
        "type": "TemplateProcessing",
        "single": [*before, *text, *after],
        "pair": [*before, *text, *after, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in used.items()},
    }


def _config(tokenizer) -> dict:
    end = tokenizer.eos_token
    return {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": tokenizer.add_prefix_space,
        "bos_token": end,
        "eos_token": end,
        "unk_token": end,
    }
