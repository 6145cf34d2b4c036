"""Surrogate pairs: characters above U+FFFF that are written as two codes, as in UTF-16."""

import regex


def whole_characters(text: str) -> str:
    """The text with each surrogate pair replaced by the character it stands for. Raises ValueError for half a pair, and
    for what is no text, such as a list of texts."""
    if not isinstance(text, str):
        raise ValueError(f"text must be a str, got {text!r:.80}")
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        pass
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        lone = regex.search(r"[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]", text)
        raise ValueError(f"text has a lone surrogate {lone[0]!r} at position {lone.start()}") from None
