"""From GPT-2 to Llama in four steps: each replaces one part of the model before it; all learn from the same text.

    python -m minigpt.lecture.gpt2_to_llama --out runs/gpt2_to_llama.csv

| step | replaced                                 | before                      | after                           |
|------|------------------------------------------|-----------------------------|---------------------------------|
| 1    | the norm; all biases are left out        | LayerNorm                   | RMSNorm                         |
| 2    | where a token is                         | an embedding, added once    | queries and keys rotated (RoPE) |
| 3    | the MLP                                  | down(gelu(up x))            | down(silu(gate x) · up x)       |
| 4    | keys and values                          | a head for each query head  | a head for each group of them   |

The model before the first step is `models.gpt2.GPT2`, the one after the last step is `models.llama.Llama`. Those in
between are one of these two with parts of the other put in.
"""

import argparse
import csv
import io
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .._files import write_whole
from ..checkpoints import load_tokenizer
from ..data import documentation_corpus, encode_documents
from ..layers import MLP, RMSNorm, draw_normal, gelu_tanh
from ..models import GPT2, GPT2Config, Llama, LlamaConfig
from ..train import TrainConfig, train

WIDTH, LAYERS, HEADS, KEY_HEADS, CONTEXT = 96, 4, 6, 2, 128
STD = 0.02  # of fresh weights
TRAINING = TrainConfig(steps=800, batch_size=8, context=CONTEXT, warmup_steps=50, evaluate_every=400)
SEEDS = (0, 1, 2)


def gpt2(vocab_size: int) -> GPT2:
    """The model before the first step."""
    no_dropout = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    size = dict(n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS)
    return GPT2(GPT2Config(vocab_size, **size, **no_dropout), attention="sdpa")


def with_rms_norm(vocab_size: int) -> GPT2:
    """Step 1: RMSNorm replaces LayerNorm. RMSNorm has no bias, and the linear layers lose theirs, too."""
    model = gpt2(vocab_size)
    for block in model.blocks:
        block.attention_norm, block.mlp_norm = RMSNorm(WIDTH, 1e-5), RMSNorm(WIDTH, 1e-5)
    model.final_norm = RMSNorm(WIDTH, 1e-5)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.bias = None
    return model


def with_rotation(vocab_size: int) -> Llama:
    """Step 2: rotated queries and keys replace the position embedding. A Llama, with GPT-2's MLP and all key heads."""
    model = llama_with(vocab_size, HEADS)
    for block in model.blocks:
        block.mlp = MLP(WIDTH, 4 * WIDTH, gelu_tanh, linear_bias=False)
    draw_normal(model, STD)
    return model


def with_swiglu(vocab_size: int) -> Llama:
    """Step 3: SwiGLU replaces GELU: three matrices, not two. Each is a third narrower, so the size stays the same."""
    return llama_with(vocab_size, HEADS)


def with_grouped_keys(vocab_size: int) -> Llama:
    """Step 4: three query heads share a key head and a value head. This is Llama."""
    return llama_with(vocab_size, KEY_HEADS)


def llama_with(vocab_size: int, key_heads: int) -> Llama:
    config = LlamaConfig(
        vocab_size, WIDTH, 8 * WIDTH // 3, LAYERS, HEADS, key_heads,
        max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, initializer_range=STD, tie_word_embeddings=True,
    )  # fmt: skip
    return Llama(config, attention="sdpa")


STEPS: dict[str, Callable[[int], nn.Module]] = {
    "GPT-2": gpt2,
    "1 RMSNorm, no biases": with_rms_norm,
    "2 rotated positions": with_rotation,
    "3 SwiGLU": with_swiglu,
    "4 grouped keys = Llama": with_grouped_keys,
}


def made(step: str, vocab_size: int, seed: int = 0) -> nn.Module:
    """The model of a step, a key of STEPS, with weights drawn from a seed."""
    torch.manual_seed(seed)
    return STEPS[step](vocab_size)


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def held_out_losses(
    tokens: np.ndarray, held_out: np.ndarray, vocab_size: int, config: TrainConfig = TRAINING, seeds=SEEDS
) -> dict[str, list[float]]:
    """Train each step's model with each seed. Return the held-out losses at the end, in nats a token."""
    losses = {}
    for step in STEPS:
        losses[step] = []
        for seed in seeds:
            print(f"{step}, seed {seed}", file=sys.stderr)
            history = train(made(step, vocab_size, seed), tokens, held_out, config)
            losses[step].append(history[-1].held_out_loss)
    return losses


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt.lecture.gpt2_to_llama",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--out", metavar="FILE", help="the losses as CSV, too")
    options = parser.parse_args(arguments)
    tokenizer = load_tokenizer("tiny")
    texts = ([document.text for document in part] for part in documentation_corpus())
    tokens, held_out = (encode_documents(part, tokenizer) for part in texts)
    losses = held_out_losses(tokens, held_out, tokenizer.vocab_size)
    print(f"\n{'':24} parameters   held-out loss, nats a token: mean (lowest to highest of {len(SEEDS)} seeds)")
    for step, values in losses.items():
        n = n_parameters(made(step, tokenizer.vocab_size))
        spread = f"({min(values):.3f} to {max(values):.3f})"
        print(f"{step:24} {n:10,}   {statistics.mean(values):.3f} {spread}")
    if options.out:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(
            [["step", *(f"seed {seed}" for seed in SEEDS)], *([step, *values] for step, values in losses.items())]
        )
        Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(options.out), table.getvalue().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
