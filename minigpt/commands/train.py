"""python -m minigpt train"""

import dataclasses
import os
from pathlib import Path

import torch

from .. import plots
from ..data import documentation_corpus, encode_documents, hold_out_tail, read_text, read_token_file, write_token_file
from ..gpt2 import GPT2, GPT2Config
from ..perplexity import score
from ..pretrained import WEIGHTS_FILE, save_model
from ..tokenizer import Tokenizer
from ..train import TrainConfig, check_lengths, induction_gap, train
from .options import not_empty, seed

NAME, HELP = "train", "Train a tokenizer and a model from nothing"

# name -> vocabulary, shape of the model, training. "tiny" remakes weights/tiny.
NO_DROPOUT = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
PRESETS = {
    "tiny": (4096, dict(n_positions=256, n_embd=192, n_layer=5, n_head=6, **NO_DROPOUT), TrainConfig()),
    "smoke": (
        512,
        dict(n_positions=64, n_embd=64, n_layer=2, n_head=4, **NO_DROPOUT),
        TrainConfig(steps=60, batch_size=16, context=64, warmup_steps=10, evaluate_every=30),
    ),
}


def add(parser) -> None:
    parser.add_argument(
        "--out", required=True, type=not_empty, metavar="FOLDER", help="where the checkpoint, metrics.csv, loss.png go"
    )
    parser.add_argument(
        "--text",
        nargs="+",
        type=not_empty,
        metavar="FILE",
        help="text in UTF-8 (default: the documentation installed here)",
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny", help="size and length (default tiny)")
    parser.add_argument("--steps", type=int, metavar="N", help="train for N steps instead of the preset's")
    parser.add_argument("--seed", type=seed, default=0, metavar="SEED", help="of weights and batches (default 0)")


def run(options) -> int:
    vocab_size, shape, config = PRESETS[options.preset]
    config = dataclasses.replace(
        config, seed=options.seed, steps=config.steps if options.steps is None else options.steps
    )
    directory = Path(options.out)
    if (directory / WEIGHTS_FILE).exists():
        raise ValueError(f"{directory} already holds a model; give --out another folder")
    existing = next(folder for folder in [directory, *directory.resolve().parents] if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise ValueError(f"--out {directory} cannot be written: {existing} is not a folder that can be written to")
    if options.text:
        training, held_out = zip(*(hold_out_tail(read_text(file)) for file in options.text), strict=True)
    else:
        training, held_out = ([document.text for document in part] for part in documentation_corpus())
    tokenizer = Tokenizer.train(training, vocab_size)
    parts = [encode_documents(texts, tokenizer) for texts in (training, held_out)]
    check_lengths(*parts, config.context)

    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / "train.npy", directory / "held_out.npy"]
    for part, file in zip(parts, files, strict=True):
        write_token_file(part, file)
    tokens, held_out_tokens = map(read_token_file, files)
    print(f"{len(tokens):,} tokens to train on, {len(held_out_tokens):,} held out, vocabulary {tokenizer.vocab_size}")

    torch.manual_seed(config.seed)
    end = tokenizer.eos_id
    model = GPT2(GPT2Config(vocab_size=tokenizer.vocab_size, bos_token_id=end, eos_token_id=end, **shape))
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters; Ctrl-C ends early and saves")

    def keep(history):
        save_model(model, directory, tokenizer)
        plots.plot_losses(history).savefig(directory / "loss.png", dpi=120)

    history = train(model, tokens, held_out_tokens, config, directory, keep)
    if not history:  # Ctrl-C before the first step: there is nothing to keep
        for file in files:
            file.unlink()
        raise KeyboardInterrupt
    scores = score(model, held_out_tokens.astype("int64"))
    n_bytes = sum(len(text.encode()) for text in held_out)
    gap = induction_gap(model, tokenizer.vocab_size, length=shape["n_positions"] // 2)
    print(f"held out: {scores.perplexity:.2f} perplexity, {scores.bits_per_byte(n_bytes):.4f} bits per byte")
    print(f"induction gap: {gap:.3f} nats; checkpoint, metrics.csv and loss.png are in {directory}")
    return 0
