"""From tokens back to text: take out spaces as Hugging Face does, and yield text while ids arrive."""

from collections.abc import Callable, Iterable, Iterator

from .._checks import several

# BERT's words are joined with a space before each, also before punctuation marks and the ends of contractions.
BLANKS = [" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"]
REACH = 8  # the last 8 characters may still change when more text follows; an entry of BLANKS has at most 4


def clean_up(text: str) -> str:
    """The text without spaces before punctuation marks and ends of contractions (as Hugging Face cleans up)."""
    for blank in BLANKS:
        text = text.replace(blank, blank.strip())
    return text


def stream_text(
    decode: Callable[[list[int]], str],
    ids: Iterable[int],
    reach: int = 0,
    is_open: Callable[[int], bool] = lambda id: False,
) -> Iterator[str]:
    """Yield text as ids arrive: each time what later ids cannot change. The pieces joined are `decode(ids)`.

    Three things wait: an incomplete character at the end, which decodes to U+FFFD; the last `reach` characters; and the
    text of the last ids while is_open(id) says that the next id may change it. All ids are decoded each time, so n ids
    take about n² steps.
    """
    arrived, shown = [], ""
    for id in several("ids", ids, "token ids"):
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
