"""Score a text with a model: the loss of each token, window by window."""

from itertools import groupby

import numpy as np
import torch
from tqdm import tqdm

from .._checks import check_ids, integer, token_ids
from ..fast import loss_of_hidden, packed_products
from ..language_model import LanguageModel, check_language_model, eval_mode
from .scores import Scores
from .windows import Window, sliding_windows, windows_after_prefix


@torch.inference_mode()
def score(
    model: LanguageModel,
    tokens: list[int],
    window: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    prefix: list[int] | None = None,
) -> Scores:
    """Score a text, token by token. window None = the context length, stride None = half a window.

    prefix holds tokens that are read before the text, and not scored, such as [eos_id]. Then the text's first token is
    scored, too, and a window of N tokens scores N (`windows_after_prefix`): the convention of lm-evaluation-harness.

    batch_size windows go through the model at once (None = as many as make 1024 tokens on the CPU, whose caches then
    hold them, and 16384 elsewhere); the answer does not depend on it beyond rounding. Logits are computed only where
    they are scored, and never all at once. Losses of half-precision models are computed in float32; the result is
    float64.
    Raises ValueError, before any work, for a model that is no language model (Bert) or reads its texts with an encoder
    (T5), as `sliding_windows` and `windows_after_prefix` do, for an id out of range, a window beyond the context, or a
    batch_size below 1; FloatingPointError for a loss that is not finite: it is not left out of the average.
    """
    check_language_model(model, "score a text token by token")
    if model.has_encoder:
        raise ValueError(
            f"{type(model).__name__} predicts a text from another one, so a text alone has no perplexity; the loss of "
            "pairs is minigpt.loss.sequence_loss"
        )
    if window is None and model.max_tokens is None:
        raise ValueError("window must be given: this model has no context length to take it from")
    window = model.max_tokens if window is None else integer("window", window, 2)
    if model.max_tokens is not None and window > model.max_tokens:
        raise ValueError(f"window must be at most the context length, {model.max_tokens} tokens, got {window}")
    tokens = token_ids("tokens", tokens)
    stride = max(1, window // 2) if stride is None else stride
    if prefix is None:
        prefix, windows = [], sliding_windows(len(tokens), window, stride)
    else:
        prefix = token_ids("prefix", prefix)
        windows = windows_after_prefix(len(tokens), window, stride, len(prefix))
    at_once = 1024 if model.device.type == "cpu" else 16384
    batch_size = max(1, at_once // window) if batch_size is None else integer("batch_size", batch_size, 1)

    for what, ids in [("token id", tokens), ("token id of prefix", prefix)]:
        if ids:
            check_ids(what, torch.tensor([ids]), model.vocab_size, "vocab_size")
    text = torch.tensor([*prefix, *tokens], dtype=torch.long)
    nll = np.full(len(tokens), np.nan)
    with eval_mode(model), packed_products(sum(w.end - w.begin for w in windows)):
        for batch in tqdm(_same_shape(windows, batch_size), desc="scoring", leave=False, delay=2, disable=None):
            rows = torch.stack([text[len(prefix) + w.begin : len(prefix) + w.end] for w in batch])
            losses = _losses(model, rows, window, batch[0].end - batch[0].first_target)
            if not losses.isfinite().all():
                raise FloatingPointError(
                    f"the model's loss is not finite between tokens {batch[0].begin} and {batch[-1].end}"
                )
            for w, row in zip(batch, losses.cpu().double().numpy(), strict=True):  # (Apple's GPU has no float64)
                nll[w.first_target : w.end] = row
    return Scores(nll, windows, window, int(stride))


def _losses(model: LanguageModel, rows: torch.Tensor, window: int, n_targets: int) -> torch.Tensor:
    """(B, n_targets): the loss of the last tokens of rows (B, T), each predicted by the hidden state before it. At most
    `window` tokens are read: after a prefix, the last one is predicted only."""
    start = model.start(rows[:, :window].tolist(), max_new_tokens=0, use_cache=False)
    before = rows.size(1) - n_targets - 1
    hidden = model.read(start.unread, start.past)[:, before : before + n_targets]
    return loss_of_hidden(model, hidden, rows[:, -n_targets:].to(hidden.device), reduction="none")


def _same_shape(windows: list[Window], batch_size: int) -> list[list[Window]]:
    """Consecutive windows of one length with as many targets, up to batch_size together."""
    batches = []
    for _, group in groupby(windows, key=lambda w: (w.end - w.begin, w.end - w.first_target)):
        group = list(group)
        batches += [group[first : first + batch_size] for first in range(0, len(group), batch_size)]
    return batches
