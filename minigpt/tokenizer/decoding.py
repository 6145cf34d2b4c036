"""From tokens back to text: the blanks that Hugging Face takes out again, and text as it arrives."""

from collections.abc import Callable, Iterable, Iterator

# BERT's tokenizer puts a blank in front of every word, signs and the ends of contractions included.
BLANKS = [" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"]
REACH = 8  # how far from its end the blanks of a text may still change when more text follows; a blank takes 4


def clean_up(text: str) -> str:
    """The text without the blanks in front of signs and of the ends of contractions, as Hugging Face cleans up."""
    for blank in BLANKS:
        text = text.replace(blank, blank.strip())
    return text


def stream_text(
    decode: Callable[[list[int]], str],
    ids: Iterable[int],
    reach: int = 0,
    is_open: Callable[[int], bool] = lambda id: False,
) -> Iterator[str]:
    """Text as ids arrive: what is certain of `decode` of all ids so far. The pieces joined are `decode(ids)`.

    Held back are an incomplete character at the end, which decodes to U+FFFD; the last `reach` characters; and the text
    of the last ids while they are open, which the next id may still change. n² for n ids, as all are decoded each time.
    """
    arrived, shown = [], ""
    for id in ids:
        arrived.append(id)
        if is_open(id):
            continue
        text = decode(arrived).rstrip("\ufffd")
        text = text[: max(0, len(text) - reach)]
        if len(text) > len(shown) and text.startswith(shown):
            yield text[len(shown) :]
            shown = text
    if rest := decode(arrived)[len(shown) :]:
        yield rest
