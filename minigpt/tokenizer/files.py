"""Read the files of a byte-level BPE tokenizer as Hugging Face's AutoTokenizer does, or raise an error saying why."""

from pathlib import Path

from .._files import read_json, read_text
from .configs import (
    AS_WRITTEN,
    BERT,
    GPT2,
    LLAMA,
    added_tokens,
    named_tokens,
    read_tokenizer_config,
    special_token,
)
from .folders import BPE_LAYOUTS, CONFIG, WHOLE
from .specials import NAMED, SpecialToken
from .words import word_pattern


class NotByHand(ValueError):
    """A complete tokenizer.json that needs more than what is written by hand here. `LibraryTokenizer` reads it."""


def read_tokenizer(directory: Path) -> dict:
    """The arguments of `Tokenizer` that a folder describes.

    A tokenizer.json holds everything; otherwise it is a vocabulary and merges. tokenizer_config.json, and in older
    folders added_tokens.json and special_tokens_map.json, say which tokens are special. Raises FileNotFoundError when
    there is no tokenizer, ValueError for a file that is not what its name says, or says what cannot be obeyed.
    """
    if not (directory / WHOLE).is_file():
        found = _read_parts(directory)
        config, family = read_tokenizer_config(directory, (GPT2, AS_WRITTEN))
    else:
        fields = read_parts_of_whole(directory / WHOLE)
        is_plain = len(cuts(fields)) < 2
        usual = (GPT2, AS_WRITTEN, LLAMA) if is_plain else (AS_WRITTEN, GPT2, LLAMA)
        config, family = read_tokenizer_config(directory, usual)
        family = AS_WRITTEN if family == LLAMA else family  # LlamaTokenizer reads sentencepiece's kind; this is another
        found = _read_whole(directory / WHOLE, fields, config, family)
        _check_same(directory, found)
    vocabulary, specials = found["vocabulary"], {token.content: token for token in found["special_tokens"]}
    names = obey_config(directory, config, family, vocabulary, specials)
    end, begin = names.get("eos_token"), names.get("bos_token")
    if not (directory / WHOLE).is_file():  # a tokenizer.json says itself what stands around a text
        found["prefix"] = [vocabulary[begin.content]] if config.get("add_bos_token") and begin else []
        found["suffix"] = [vocabulary[end.content]] if config.get("add_eos_token") and end else []
        found["add_prefix_space"] = bool(config.get("add_prefix_space"))
    named = {task: token.content for task, token in names.items() if task in NAMED}
    return found | {"special_tokens": list(specials.values()), "eos_token": named.get("eos_token"), "names": named}


def obey_config(
    directory: Path, config: dict, family: str, vocabulary: dict[str, int], specials: dict[str, SpecialToken]
) -> dict[str, SpecialToken]:
    """Add the tokens that the files beside a vocabulary name to the vocabulary and to the special tokens; return those
    with a task, such as {"eos_token": ...}.

    Raises ValueError for an id that transformers would not give, and for a token of tokenizer.json that transformers
    would ignore.
    """
    added, names = added_tokens(directory, config), named_tokens(directory, config, family)
    if "added_tokens_decoder" in config and family in (GPT2, BERT):
        said = {token.content for token, _ in added} | {token.content for token in names.values()}
        for content in specials.keys() - said:
            raise ValueError(
                f"{directory / WHOLE} adds the token {content!r}, and transformers asks the added_tokens_decoder of "
                f"{CONFIG} alone, which lacks it: write the token there, too, or take it away here"
            )
    for token, id in added:
        _add(vocabulary, specials, token, id, directory)
        specials[token.content] = token  # these files count, not tokenizer.json
    for token in names.values():
        _add(vocabulary, specials, token, None, directory)
    return names


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
    for names in BPE_LAYOUTS:
        vocabulary, merges = (directory / name for name in names)
        if vocabulary.is_file() and merges.is_file():
            return {
                "vocabulary": read_vocabulary(vocabulary),
                "merges": read_merges(merges),
                "special_tokens": [],
            }
    wanted = " or ".join(f"{vocabulary} and {merges}" for vocabulary, merges in BPE_LAYOUTS)
    raise FileNotFoundError(f"no tokenizer in {directory}: expected {WHOLE}, or {wanted}")


def read_parts_of_whole(file: Path) -> dict:
    """The fields of a tokenizer.json. Raises ValueError for a part that is neither an object nor null."""
    fields = read_json(file)
    for part in ("model", "normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if not isinstance(fields.get(part), dict | None):
            raise ValueError(f"{file}: {part} must be an object, got {fields[part]!r:.80}")
    return fields


def _read_whole(file: Path, fields: dict, config: dict, family: str) -> dict:
    """Read tokenizer.json, or raise an error that names what this byte-level BPE does not have (a normalizer ...)."""
    model = fields.get("model") or {}
    refused = ValueError if family == GPT2 else NotByHand
    ways = cuts(fields)
    kinds = {
        "model": ([model.get("type", "BPE")], ["BPE"]),
        "normalizer": (map(_type, steps(fields.get("normalizer"), "normalizers")), []),
        "pre_tokenizer": ([_type(ways[-1])] if ways else [None], ["ByteLevel"]),
        "post_processor": (
            map(_type, steps(fields.get("post_processor"), "processors")),
            ["ByteLevel", "TemplateProcessing"],
        ),
    }
    for part, (found, known) in kinds.items():
        for kind in found:
            if kind not in known:
                expected = " or ".join(known) or "none"
                raise refused(
                    f"{file}: {part} is {kind or 'none'}, and this byte-level BPE knows {expected} only; "
                    f"minigpt.load_tokenizer takes the class that reads a folder"
                )
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "byte_fallback"):
        if model.get(name):
            raise refused(f"{file}: {name} is {model[name]!r}, and GPT-2's BPE has none")
    if model.get("ignore_merges") and family == GPT2:
        raise ValueError(f"{file}: ignore_merges is {model['ignore_merges']!r}, and GPT-2's BPE has none")
    words = _words(ways, file, family, refused)
    add_prefix_space = bool(ways[-1].get("add_prefix_space"))
    if family == GPT2:
        if add_prefix_space and "add_prefix_space" not in config:
            raise ValueError(
                f"{file} says add_prefix_space, and transformers asks {CONFIG} alone, which does not: write "
                f'"add_prefix_space": true (or false) there'
            )
        add_prefix_space = bool(config.get("add_prefix_space"))
    if add_prefix_space and len(ways) > 1:
        raise refused(f"{file}: add_prefix_space after another cut would put a space in front of every part")
    try:
        vocabulary, pairs = dict(model["vocab"]), model["merges"]
        merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in pairs]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file} is not the file of a BPE tokenizer: {type(error).__name__} {error}") from None
    if not all(type(id) is int for id in vocabulary.values()) or not all(len(pair) == 2 for pair in merges):
        raise ValueError(f"{file}: vocab must map tokens to integer ids, and merges must be pairs")
    specials = read_added(fields, vocabulary, file)
    prefix, suffix = template(fields.get("post_processor"), vocabulary, file)
    return words | {
        "vocabulary": vocabulary,
        "merges": merges,
        "special_tokens": list(specials.values()),
        "prefix": prefix,
        "suffix": suffix,
        "add_prefix_space": add_prefix_space,
        "ignore_merges": bool(model.get("ignore_merges")),
    }


def _words(ways: list[dict], file: Path, family: str, refused: type[ValueError]) -> dict:
    """How words are cut: ByteLevel alone (GPT-2), Digits first (SmolLM2), or Split by a pattern in its place (Llama 3).

    SmolLM2's folder names GPT2Tokenizer, which in transformers 5 ignores Digits and cuts "  1" in another way. Here the
    file is followed, because the model was trained on words cut as it says.
    """
    *first, last = ways
    kind = _type(first[0]) if first else None
    has_own_words = last.get("use_regex", True)
    if len(first) > 1 or kind not in (None, "Digits", "Split") or (kind == "Split" and family == GPT2):
        names = " and ".join(map(str, map(_type, ways)))
        raise refused(f"{file}: pre_tokenizer is {names}, which this byte-level BPE cannot obey")
    if has_own_words != (kind != "Split"):
        raise refused(
            f"{file}: use_regex is {'true after another pattern' if has_own_words else 'false'}: "
            f"the text would {'be cut twice' if has_own_words else 'not be cut into words'}"
        )
    if kind == "Digits":
        if not first[0].get("individual_digits"):
            raise refused(f"{file}: individual_digits is false, and this byte-level BPE knows digits one by one only")
        return {"digits_alone": True}
    if kind is None:
        return {}
    pattern = first[0].get("pattern")
    source = pattern.get("Regex") if isinstance(pattern, dict) else None
    if first[0].get("behavior") != "Isolated" or first[0].get("invert"):
        raise refused(f"{file}: Split must be Isolated and not inverted, found {first[0]!r:.200}")
    try:
        word_pattern(source)
    except ValueError as error:
        raise refused(f"{file}: {error}") from None
    return {"pattern": source}


def _type(part: dict | None) -> str | None:
    return None if part is None else str(part.get("type"))


def steps(part: dict | None, name: str) -> list[dict]:
    """The steps of a normalizer, a pre_tokenizer or a post_processor: those of a Sequence, else the part itself."""
    inner = part.get(name) if _type(part) == "Sequence" else None
    if isinstance(inner, list) and all(isinstance(step, dict) for step in inner):
        return [deeper for step in inner for deeper in steps(step, name)]
    return [] if part is None else [part]


def cuts(fields: dict) -> list[dict]:
    """The ways in which a tokenizer.json has a text cut into words, one after another."""
    return steps(fields.get("pre_tokenizer"), "pretokenizers")


def read_added(fields: dict, vocabulary: dict[str, int], file: Path) -> dict[str, SpecialToken]:
    """The added_tokens of a tokenizer.json by name; the vocabulary gets those that it lacks."""
    specials = {}
    try:
        added = [(entry["id"], special_token(entry, file)) for entry in fields.get("added_tokens") or []]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: an added token lacks {error}") from None
    for id, token in added:
        _add(vocabulary, specials, token, id, file)
        specials[token.content] = token  # of two, the later one counts
    return specials


def template(post_processor: dict | None, vocabulary: dict, file: Path) -> tuple[list[int], list[int]]:
    """(ids before a text, ids after it). Raises ValueError for a damaged template, and for several."""
    templates = [step for step in steps(post_processor, "processors") if _type(step) == "TemplateProcessing"]
    if not templates:
        return [], []
    if len(templates) > 1:
        raise ValueError(f"{file}: post_processor has {len(templates)} templates, expected one")
    post_processor = templates[0]
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
    """Give a special token that the vocabulary lacks the next id. One that was special before keeps its settings.
    Raises ValueError for another id than its place."""
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
    """The pairs of merges.txt, best first. Raises ValueError that names the first line that is no pair."""
    merges = []
    for number, line in enumerate(read_text(file).replace("\r\n", "\n").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = tuple(line.split(" "))
        if len(pair) != 2:
            raise ValueError(f"{file}, line {number}: expected two tokens and a space between them, got {line!r}")
        merges.append(pair)
    return merges
