"""Characters that were written as two."""

import regex


def whole_characters(text: str) -> str:
    """The text with every surrogate pair as the one character that it is. Raises ValueError for half a pair."""
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
