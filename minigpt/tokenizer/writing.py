"""What is written for a byte-level BPE tokenizer: files that Hugging Face's tokenizers and transformers load."""

import json

from .folders import BPE_LAYOUTS, CONFIG, WHOLE


def file_contents(tokenizer) -> dict[str, bytes]:
    """{file name: content} of a tokenizer. tokenizer.json and tokenizer_config.json hold everything, for transformers;
    vocab.json and merges.txt hold the vocabulary and the merges, which other programs read, too."""
    vocabulary_name, merges_name = BPE_LAYOUTS[0]
    lines = "".join(f"{left} {right}\n" for left, right in tokenizer.merges)
    return {
        vocabulary_name: json.dumps(tokenizer.vocabulary, ensure_ascii=False).encode(),
        merges_name: ("#version: 0.2\n" + lines).encode(),
        WHOLE: json.dumps(_whole(tokenizer), ensure_ascii=False).encode(),
        CONFIG: (json.dumps(_config(tokenizer), ensure_ascii=False, indent=2) + "\n").encode(),
    }


def _whole(tokenizer) -> dict:
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": tokenizer.add_prefix_space,
        "trim_offsets": True,
        "use_regex": tokenizer.pattern is None,
    }
    first = []
    if tokenizer.digits_alone:
        first.append({"type": "Digits", "individual_digits": True})
    if tokenizer.pattern is not None:
        split = {"type": "Split", "pattern": {"Regex": tokenizer.pattern}, "behavior": "Isolated", "invert": False}
        first.append(split)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_json(tokenizer),
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*first, byte_level]} if first else byte_level,
        "post_processor": template_json(tokenizer.prefix, tokenizer.suffix, tokenizer.vocabulary),
        "decoder": byte_level | {"add_prefix_space": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": tokenizer.ignore_merges,
            "vocab": tokenizer.vocabulary,
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }


def added_json(tokenizer) -> list[dict]:
    """The added_tokens of a tokenizer.json, in the order of their ids."""
    tokens = sorted(tokenizer.special_tokens, key=lambda token: tokenizer.vocabulary[token.content])
    return [{"id": tokenizer.vocabulary[token.content]} | vars(token) for token in tokens]


def template_json(prefix: list[int], suffix: list[int], vocabulary: dict[str, int]) -> dict:
    """The post_processor of a tokenizer.json that puts ids before a text, and after it."""
    name_of = {id: token for token, id in vocabulary.items()}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    before, after = ([{"SpecialToken": {"id": name_of[id], "type_id": 0}} for id in ids] for ids in (prefix, suffix))
    return {
        "type": "TemplateProcessing",
        "single": [*before, text, *after],
        "pair": [*before, text, *after, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            name_of[id]: {"id": name_of[id], "ids": [id], "tokens": [name_of[id]]} for id in [*prefix, *suffix]
        },
    }


def _config(tokenizer) -> dict:
    end = tokenizer.eos_token
    of_gpt2 = {"bos_token": end, "eos_token": end, "unk_token": end}
    cuts_as_gpt2 = tokenizer.pattern is None and not tokenizer.digits_alone and not tokenizer.ignore_merges
    if cuts_as_gpt2 and not tokenizer.names.keys() - of_gpt2.keys():
        return {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": tokenizer.add_prefix_space} | of_gpt2
    names = {"tokenizer_class": "PreTrainedTokenizerFast"} | tokenizer.names
    if cuts_as_gpt2:  # it has tokens with more tasks than GPT-2's
        return names
    begin = next((token for token, id in tokenizer.vocabulary.items() if [id] == tokenizer.prefix), end)
    return {"bos_token": begin, "eos_token": end} | names
