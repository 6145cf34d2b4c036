"""tokenizer_config.json, and special_tokens_map.json and added_tokens.json of older folders. They say which class of
transformers reads a folder, which tokens are special, and what stands before and after each text. They are obeyed as in
Hugging Face's AutoTokenizer; what cannot be obeyed raises an error that names it."""

from pathlib import Path

from .._checks import integer
from .._files import read_json
from .folders import ADDED, CONFIG, MAP, WHOLE
from .specials import END_OF_TEXT, NAMED, SpecialToken

MORE = ("additional_special_tokens", "extra_special_tokens")  # the older name, and today's

# A folder's family is the class of transformers that reads it. AS_WRITTEN follows tokenizer.json in everything. GPT2
# and BERT take only the vocabulary from there, and cut words as tokenizer_config.json says.
GPT2, BERT, T5, LLAMA, AS_WRITTEN = "GPT-2", "BERT", "T5", "Llama", "as written"
CLASSES = {
    "GPT2Tokenizer": GPT2,
    "CodeGenTokenizer": GPT2,
    "BertTokenizer": BERT,
    "DistilBertTokenizer": BERT,
    "ElectraTokenizer": BERT,
    "T5Tokenizer": T5,
    "LlamaTokenizer": LLAMA,
    "PreTrainedTokenizer": AS_WRITTEN,
    "TokenizersBackend": AS_WRITTEN,
}
# What transformers takes where a folder names no class: config.json's model_type decides.
OF_MODEL = {"gpt2": GPT2, "bert": BERT, "distilbert": BERT, "electra": BERT, "t5": T5, "mt5": T5, "llama": AS_WRITTEN}
# The tokens with a task (`NAMED`) where the files name none.
USUAL = {
    GPT2: dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT),
    BERT: {f"{task}_token": f"[{task.upper()}]" for task in ("unk", "sep", "pad", "cls", "mask")},
    T5: {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    LLAMA: {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    AS_WRITTEN: {},
}


def read_tokenizer_config(directory: Path, families: tuple[str, ...]) -> tuple[dict, str]:
    """(the fields of tokenizer_config.json and of older files, {} where there is none; the folder's family). families
    are those that the caller reads; a folder that names none has the first of them.

    Raises ValueError for a family that is not among them, and for fields that cannot be obeyed.
    """
    file = directory / CONFIG
    config = read_json(file) if file.is_file() else {}
    if "added_tokens_decoder" not in config and (directory / MAP).is_file():
        file = directory / MAP
        named = read_json(file)
        strange = [name for name, value in named.items() if value and not (name.endswith("_token") or name in MORE)]
        if strange or any(isinstance(value, bool) for value in named.values()):
            raise ValueError(f"{file} must say which tokens are special, and nothing else, found {named!r:.200}")
        config |= named  # where both have a field, the older file counts
    family = _family(directory, config, families)
    for name in ("add_prefix_space", "add_bos_token", "add_eos_token", "clean_up_tokenization_spaces"):
        if not isinstance(config.get(name), bool | None):
            raise ValueError(f"{file}: {name} must be true or false, got {config[name]!r}")
    for name in ("split_special_tokens", "model_specific_special_tokens"):
        if config.get(name):
            raise ValueError(f"{file}: {name} is {config[name]!r}, which this tokenizer cannot obey")
    if all(config.get(name) for name in MORE):
        raise ValueError(f"{file}: {' and '.join(MORE)} are two names of one field; write one of them")
    return config, family


def _family(directory: Path, config: dict, families: tuple[str, ...]) -> str:
    file, name, family = directory / CONFIG, config.get("tokenizer_class"), families[0]
    if name is None and (directory / "config.json").is_file():
        file = directory / "config.json"
        fields = read_json(file)
        name = fields.get("tokenizer_class")
        family = OF_MODEL.get(str(fields.get("model_type")), family)
    what = f"tokenizer_class is {name!r}" if name is not None else f"the model is made for {family}'s tokenizer"
    if name is not None:
        family = CLASSES.get(str(name).removesuffix("Fast"))
    if family is None:
        raise ValueError(
            f"{file}: {what}, which is not known here; if {WHOLE} says everything, write "
            f'"tokenizer_class": "PreTrainedTokenizerFast"'
        )
    if family not in families:
        raise ValueError(
            f"{file}: {what}, and {' or '.join(families)} was expected for the files beside it; if this is the wrong "
            f"class for the folder, minigpt.load_tokenizer takes the right one"
        )
    return family


def special_token(entry: dict | str, file: Path) -> SpecialToken:
    """A token as these files write it: its name, or a dictionary. Raises ValueError for one that is no token."""
    if isinstance(entry, str):
        return SpecialToken(entry)
    known = ("content", "special", "lstrip", "rstrip", "single_word", "normalized")
    try:
        return SpecialToken(**{name: entry[name] for name in known if name in entry})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None


def added_tokens(directory: Path, config: dict) -> list[tuple[SpecialToken, int]]:
    """Tokens with their ids from tokenizer_config.json, or in older folders from added_tokens.json."""
    in_config = "added_tokens_decoder" in config
    file = directory / (CONFIG if in_config else ADDED)
    written = config["added_tokens_decoder"] if in_config else read_json(file) if file.is_file() else {}
    try:
        if in_config:  # here the ids are names of fields, so they are texts
            entries = sorted((int(id), entry) for id, entry in written.items())
        else:
            entries = sorted((integer("an id", id, 0), content) for content, id in written.items())
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file}: expected tokens and their ids ({error})") from None
    if in_config:
        return [(special_token(entry, file), id) for id, entry in entries]
    return [(SpecialToken(content, special=False, normalized=True), id) for id, content in entries]


def named_tokens(directory: Path, config: dict, family: str) -> dict[str, SpecialToken]:
    """The tokens with a task, such as {"eos_token": ...}: those of the files, else the family's `USUAL` ones. Other
    special tokens are "more 0", "more 1" ..."""
    file = directory / CONFIG
    config = USUAL[family] | config
    names = {name: special_token(config[name], file) for name in NAMED if config.get(name)}
    others = [value for name, value in config.items() if name.endswith("_token") and name not in NAMED]
    more = config.get(MORE[0]) or config.get(MORE[1]) or []
    if not isinstance(more, list | dict):
        raise ValueError(f"{file}: {MORE[1]} must be a list of tokens or a dictionary of named ones, got {more!r}")
    others = [value for value in others if value and isinstance(value, str)]
    others += more.values() if isinstance(more, dict) else more
    if family == T5 and not any(name in config for name in MORE):
        n_gaps = integer(f"{file}: extra_ids", config.get("extra_ids", 100), 0)
        others += [f"<extra_id_{n}>" for n in range(n_gaps)]
    return names | {f"more {n}": special_token(token, file) for n, token in enumerate(others)}
