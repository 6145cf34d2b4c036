"""tokenizer_config.json, and special_tokens_map.json and added_tokens.json of older folders: which tokens are special,
and what stands before and after each text. Obeyed as Hugging Face's AutoTokenizer does, or refused by name."""

from pathlib import Path

from .._files import read_json
from .specials import END_OF_TEXT, SpecialToken

CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MORE = ("additional_special_tokens", "extra_special_tokens")  # the older name, and today's
OF_GPT2 = (None, "GPT2Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer", "CodeGenTokenizerFast")
AS_WRITTEN = ("PreTrainedTokenizerFast", "TokenizersBackend")  # to these tokenizer.json alone says how words are cut


def read_tokenizer_config(directory: Path) -> dict:
    """What the files of a folder say, in the words of tokenizer_config.json; {} where there are none of them.

    Raises ValueError for another family's tokenizer, and for fields that cannot be obeyed.
    """
    file = directory / CONFIG
    config = read_json(file) if file.is_file() else {}
    if "added_tokens_decoder" not in config and (directory / MAP).is_file():
        file = directory / MAP
        named = read_json(file)
        strange = [name for name, value in named.items() if value and not (name.endswith("_token") or name in MORE)]
        if strange or any(isinstance(value, bool) for value in named.values()):
            raise ValueError(f"{file} must say which tokens are special, and nothing else, found {named!r:.200}")
        config |= named  # the older file has the last word
    if config.get("tokenizer_class") not in OF_GPT2 + AS_WRITTEN:
        raise ValueError(f"{file}: tokenizer_class is {config['tokenizer_class']!r}, another tokenizer than GPT-2's")
    for name in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if not isinstance(config.get(name), bool | None):
            raise ValueError(f"{file}: {name} must be true or false, got {config[name]!r}")
    for name in ("split_special_tokens", "model_specific_special_tokens"):
        if config.get(name):
            raise ValueError(f"{file}: {name} is {config[name]!r}, which this tokenizer cannot obey")
    if all(config.get(name) for name in MORE):
        raise ValueError(f"{file}: {' and '.join(MORE)} are two names of one field; write one of them")
    return config


def is_as_written(config: dict) -> bool:
    return config.get("tokenizer_class") in AS_WRITTEN


def special_token(entry: dict | str, file: Path) -> SpecialToken:
    """A token as these files write it: its name alone, or a dictionary."""
    if isinstance(entry, str):
        return SpecialToken(entry)
    known = ("content", "special", "lstrip", "rstrip", "single_word", "normalized")
    try:
        return SpecialToken(**{name: entry[name] for name in known if name in entry})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None


def added_tokens(directory: Path, config: dict) -> list[tuple[SpecialToken, int]]:
    """Tokens with their ids from tokenizer_config.json, or in older folders from added_tokens.json."""
    try:
        if "added_tokens_decoder" in config:
            file = directory / CONFIG
            entries = sorted((int(id), entry) for id, entry in config["added_tokens_decoder"].items())
            return [(special_token(entry, file), id) for id, entry in entries]
        file = directory / ADDED
        entries = sorted((int(id), content) for content, id in read_json(file).items()) if file.is_file() else []
        return [(SpecialToken(content, special=False, normalized=True), id) for id, content in entries]
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{file}: expected tokens and their ids ({error})") from None


def named_tokens(directory: Path, config: dict) -> dict[str, SpecialToken]:
    """{"eos_token": ...}: the tokens with a task. Of GPT-2's own tokenizer, what is not said is <|endoftext|>."""
    file = directory / CONFIG
    if not is_as_written(config):
        config = {name: END_OF_TEXT for name in ("bos_token", "eos_token", "unk_token")} | config
    names = {name: special_token(config[name], file) for name in NAMED if config.get(name)}
    others = [value for name, value in config.items() if name.endswith("_token") and name not in NAMED]
    more = config.get(MORE[0]) or config.get(MORE[1]) or []
    if not isinstance(more, list | dict):
        raise ValueError(f"{file}: {MORE[1]} must be a list of tokens or a dictionary of named ones, got {more!r}")
    others = [value for value in others if value and isinstance(value, str)]
    others += more.values() if isinstance(more, dict) else more
    return names | {f"more {n}": special_token(token, file) for n, token in enumerate(others)}
