"""What `train` prints at its end: figures of the held-out text, and with --baselines those of simple predictors."""

import math
from pathlib import Path

import numpy as np

from .._files import read_json
from ..checkpoints import load_model
from ..data import read_token_file
from ..perplexity import score
from ..tokenizer import Tokenizer
from ..train import MaskedTokens, NextToken, Objective, Record, Spans, TrainConfig, best_of, induction_gap
from ..train.baselines import kneser_ney_guesses, kneser_ney_nll, primed_lzma_bytes, unigram
from ..train.held_out import cross_attention_cut, masked_guesses, span_losses
from .train_settings import RUN_FILE

TOKEN_FILES = ("train.npy", "held_out.npy")


def overfitting(history: list[Record], n_evaluations: int) -> str | None:
    """A warning, once: a quarter of all evaluations, and at least two, have brought no lower held-out loss."""
    best = best_of(history)
    since = len(history) - 1 - history.index(best)
    if since != max(2, -(-n_evaluations // 4)):
        return None
    return (
        f"the held-out loss was lowest at step {best.step}, {since} evaluations ago ({best.held_out_loss:.4f}): since "
        "then the model learns its training text word for word. The weights of that step are kept. A longer text, a "
        f"smaller model, dropout, or --steps {best.step} helps; Ctrl-C ends the run"
    )


def kept(history: list[Record]) -> str:
    """Which step's weights are in the folder, and why."""
    best = best_of(history)
    text = f"kept: the weights of step {best.step}, held-out loss {best.held_out_loss:.4f}"
    if len(history) == 1:
        return text
    return f"{text}, the lowest of {len(history)} evaluations (chosen on this text: another text gives more)"


def next_commands(directory: Path, model_type: str) -> str:
    """Commands that use the trained model."""
    text = {"bert": 'fill "... [MASK] ..."', "t5": 'generate "... <extra_id_0> ..."'}.get(model_type, 'generate "..."')
    commands = [f"python -m minigpt {text} --source {directory}"]
    if model_type in ("gpt2", "llama"):
        commands.append(f"python -m minigpt perplexity --text FILE --source {directory}")
    commands.append(f"python -m minigpt verify --source {directory}")
    return "\n".join(["use it:", *(f"  {command}" for command in commands)])


def print_figures(model, tokenizer: Tokenizer, objective: Objective, held_out: np.ndarray, context: int, run: dict):
    """Print the model's own figures."""
    if isinstance(objective, MaskedTokens):
        found = masked_guesses(model, held_out, context, objective)
        print(f"held out: {found.nats:.4f} nats a masked token, {_share(found.right)} guessed")
    elif isinstance(objective, Spans):
        losses = span_losses(model, held_out, context, objective)
        print(f"held out: {_spans(losses)}")
    else:
        scores = score(model, held_out.astype(np.int64), min(context, model.max_tokens))
        print(f"held out: {scores.perplexity:.2f} perplexity, {_in_bits(scores.whole_total, run)}")
        if context >= 4:  # a shorter row has no two halves
            gap = induction_gap(model, tokenizer.vocab_size, length=context // 2)
            print(f"induction gap {gap:.3f} nats")


def print_baselines(directory: Path, objective: Objective, config: TrainConfig) -> None:
    """Print what the model should beat on the held-out text: counting, compressing, and itself without its encoder."""
    run, tokenizer = read_json(directory / RUN_FILE), Tokenizer.load(directory)
    tokens, held_out = (read_token_file(directory / file) for file in TOKEN_FILES)
    size = tokenizer.vocab_size
    nats = kneser_ney_nll(tokens, held_out, size)
    if isinstance(objective, NextToken):
        print(f"Kneser-Ney, five tokens: {_in_bits(nats.sum(), run)}")
        texts = [[tokenizer.decode(part.tolist())] for part in (tokens, held_out)]
        print(f"lzma after the training text: {_in_bits(8 * math.log(2) * primed_lzma_bytes(*texts), run)}")
        return
    model = load_model(directory, attention="sdpa")
    if isinstance(objective, MaskedTokens):
        found = masked_guesses(model, held_out, config.context, objective)
        truth, often = held_out[found.places], unigram(tokens, size)
        print(f"the commonest token: {-np.log(often[truth]).mean():.4f} nats, {_share(truth == often.argmax())}")
        guesses = kneser_ney_guesses(tokens, held_out, found.places, size)
        print(
            f"Kneser-Ney from the left, five tokens: {nats[found.places].mean():.4f} nats, {_share(truth == guesses)}"
        )
    else:
        with cross_attention_cut(model):
            losses = span_losses(model, held_out, config.context, objective)
        print(f"cross attention cut: {_spans(losses)}")
        print(f"Kneser-Ney from the left, five tokens: {nats[losses.places].mean():.4f} nats a token of a span")


def _share(right: np.ndarray) -> str:
    return f"{right.mean():.1%} of {len(right):,}"


def _spans(losses) -> str:
    return f"{losses.nats:.4f} nats a predicted token, {losses.nats_in_spans:.4f} nats a token of a span"


def _in_bits(nats: float, run: dict) -> str:
    """Nats of the whole held-out text, as bits per byte, and per character where the run knows how many there are."""
    bits, characters = nats / math.log(2), run.get("held_out_characters")
    text = f"{bits / run['held_out_bytes']:.4f} bits per byte"
    return f"{text}, {bits / characters:.4f} per character" if characters else text
