"""Perplexities that were published, with everything that has to be the same for a measurement to be comparable."""

import re
from dataclasses import dataclass

from ..data import dataset_text
from .scores import AGGREGATIONS, Scores, TextSize


@dataclass(frozen=True)
class Published:
    """One published number on WikiText-2's test set: model, aggregation, source; stride and window in tokens."""

    name: str
    model: str
    value: float
    stride: int
    aggregation: str
    source: str
    detokenized: bool = False
    window: int = 1024

    def text(self) -> str:
        """The text to score; ImportError where it cannot be had (`dataset_text`)."""
        text = dataset_text("wikitext2")
        return detokenize(text) if self.detokenized else text

    def measured(self, scores: Scores, text: str) -> float:
        """The number that corresponds to the published one."""
        [aggregation] = [a for a in AGGREGATIONS if a.name == self.aggregation]
        return aggregation.value(scores, TextSize.of(text)._replace(words=wikitext_words()))


LECTURE, DOCUMENTATION, PER_WORD = "window_mean_perplexity", "docs_perplexity", "word_perplexity"
PAPER = "Radford et al. 2019, table 3 (stride and detokenizer were not published)"

# name                     model          published  stride  aggregation
PUBLISHED = [
    Published("lecture-gpt2",         "gpt2",        25.1880,  512, LECTURE, "the lecture"),
    Published("lecture-gpt2-medium",  "gpt2-medium", 18.4739,  512, LECTURE, "the lecture series"),
    Published("lecture-gpt2-large",   "gpt2-large",  16.4541,  512, LECTURE, "the lecture series"),
    Published("docs-gpt2-large",      "gpt2-large",  16.4443,  512, DOCUMENTATION, "documentation since #34387"),
    Published("docs-gpt2-large-1024", "gpt2-large",  19.44,   1024, LECTURE, "documentation, windows that only touch"),
    Published("touching-gpt2",        "gpt2",        29.94,   1024, LECTURE, "transformers #13761, llm.c #276"),
    Published("paper-gpt2",           "gpt2",        29.41,     32, PER_WORD, PAPER, detokenized=True),
    Published("paper-gpt2-medium",    "gpt2-medium", 22.76,     32, PER_WORD, PAPER, detokenized=True),
    Published("paper-gpt2-large",     "gpt2-large",  19.93,     32, PER_WORD, PAPER, detokenized=True),
    Published("paper-gpt2-xl",        "gpt2-xl",     18.34,     32, PER_WORD, PAPER, detokenized=True),
]  # fmt: skip


def wikitext_words() -> int:
    """The words of WikiText-2's test set as the data set counts them, 245 569: before detokenizing, and with one word
    for the end of each of its lines."""
    rows = dataset_text("wikitext2").split("\n\n")
    return sum(len(row.split()) + 1 for row in rows)


def detokenize(text: str) -> str:
    """WikiText's spaced-out text as people write it: "a , b" -> "a, b", "well @-@ known" -> "well-known".

    GPT-2 never saw blanks before commas; the paper measures on detokenized text, with rules that were not published.
    """
    text = text.replace("\n\n", "")  # between the rows; each has its own line end
    for pattern, replacement in DETOKENIZER:
        text = re.sub(pattern, replacement, text)
    return text


DETOKENIZER = [
    (r" @([-,.])@ ", r"\1"),  # 1 @,@ 000 and guest @-@ starring
    (r" ([,.;:!?%)\]}])", r"\1"),
    (r"([(\[{$£]) ", r"\1"),
    (r'" ([^"\n]*?) "', r'"\1"'),
    (r" ('(?:s|t|re|ve|ll|d|m)\b)", r"\1"),
    (r" n't\b", "n't"),
    (r"(s) ' ", r"\1' "),
    (r"(?m)^ | $", ""),
]
