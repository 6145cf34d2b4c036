"""The README's picture: one sentence with a gap, read by BERT, GPT-2 and T5.

python -m minigpt.lecture.overview --out notebooks/pictures/overview.png
"""

import argparse
import sys
from collections.abc import Sequence

import torch
from torch import nn

from ..checkpoints import load_model, load_tokenizer
from ..plots.readers import Line, Reader, plot_readers
from ..plots.style import words
from ..trace import trace

LEFT, RIGHT = "Return", " if the array is empty, False otherwise."
N_LIKELY = 4


def readers() -> list[Reader]:
    """What each model reads of the sentence, and what it puts into the gap."""
    return [bert(), gpt2(), t5()]


def bert() -> Reader:
    model, tokenizer = load_model("tiny-bert"), load_tokenizer("tiny-bert")
    ids = tokenizer.encode(f"{LEFT} [MASK]{RIGHT}")
    gap = ids.index(tokenizer.mask_id)
    seen = trace(model, torch.tensor([ids]))
    line = Line(words("reads"), tokenizer.pieces(ids), looks(seen.attention_weights, gap), predicts=gap)
    return Reader(words("BERT reads both sides of the gap"), [line], likely(seen.logits[0, gap], tokenizer))


def gpt2() -> Reader:
    model, tokenizer = load_model("tiny"), load_tokenizer("tiny")
    left, right = tokenizer.encode(LEFT), tokenizer.encode(RIGHT)
    seen = trace(model, torch.tensor([left]))
    attention = [*looks(seen.attention_weights, -1), *[None] * (1 + len(right))]
    pieces = [*tokenizer.pieces(left), "?", *tokenizer.pieces(right)]
    line = Line(words("reads"), pieces, attention, predicts=len(left) - 1)
    return Reader(words("GPT-2 reads what stands on the left"), [line], likely(seen.logits[0, -1], tokenizer))


def t5() -> Reader:
    model, tokenizer = load_model("tiny-t5"), load_tokenizer("tiny-t5")
    source = tokenizer.encode(f"{LEFT} <extra_id_0>{RIGHT}")
    written = [model.config.decoder_start_token_id, tokenizer.vocabulary["<extra_id_0>"]]
    seen = trace(model, torch.tensor([source]), torch.tensor([written]))
    lines = [
        Line(words("source"), tokenizer.pieces(source), looks(seen.cross_attention_weights, -1)),
        Line(words("written"), tokenizer.pieces(written), looks(seen.attention_weights, -1), predicts=len(written) - 1),
    ]
    return Reader(words("T5 reads a source, and what it has written"), lines, likely(seen.logits[0, -1], tokenizer))


def looks(attention_weights: Sequence[torch.Tensor], query: int) -> list[float]:
    """What one query looks at: the mean over layers and heads of weights (1, H, Tq, Tk)."""
    return torch.stack(list(attention_weights))[:, 0, :, query].mean(dim=(0, 1)).tolist()


def likely(logits: torch.Tensor, tokenizer) -> list[tuple[str, float]]:
    """The likeliest tokens of logits (V,), as pairs of their text and their probability."""
    top = nn.functional.softmax(logits, dim=-1).topk(N_LIKELY)
    return list(zip(tokenizer.pieces(top.indices.tolist()), top.values.tolist(), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigpt.lecture.overview", description=__doc__.splitlines()[0])
    parser.add_argument("--out", metavar="FILE", required=True, help="where the picture goes (PNG, SVG or PDF)")
    plot_readers(readers()).savefig(parser.parse_args(arguments).out, dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
