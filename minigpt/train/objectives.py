"""What a batch teaches: to predict the next token. The gradient of its mean loss, also where it comes in parts."""

from contextlib import nullcontext

import torch
from torch import nn

from ..data import segment_ids_of, targets_of
from .config import TrainConfig
from .processes import ALONE, Group


def accumulate(loss_of: nn.Module, batch: torch.Tensor, config: TrainConfig, group: Group = ALONE) -> torch.Tensor:
    """Put the gradient of the mean loss over the whole batch (B, T) into the parameters; return that loss.

    loss_of is a `LanguageModelLoss`, inside DistributedDataParallel where there are several processes.
    The rows are shared out over the processes and fed in micro-batches. Each part adds its *sum* of losses divided by
    the number of targets of the *whole* batch: a mean of the parts' means would give a token in a short part more
    weight than one in a long part.
    """
    labels = targets_of(batch, config.end_of_text)
    n_targets = max(1, int((labels[:, 1:] != -100).sum()))  # none, in a batch of nothing but ends: a loss of 0
    own = list(zip(batch[group.rank :: group.size], labels[group.rank :: group.size], strict=True))
    size = config.micro_batch_size or len(own)
    device, total = next(loss_of.parameters()).device, 0.0
    for first in range(0, len(own), size):
        rows, targets = (torch.stack(part).to(device) for part in zip(*own[first : first + size], strict=True))
        segments = {} if config.end_of_text is None else {"segment_ids": segment_ids_of(rows, config.end_of_text)}
        is_last = first + size >= len(own)
        # Gradients travel between processes once, after the last part.
        with loss_of.no_sync() if group.size > 1 and not is_last else nullcontext():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.autocast):
                loss = loss_of(rows, targets, num_items=n_targets, **segments)
            # The processes' gradients are averaged, and a sum is wanted.
            (loss * group.size if group.size > 1 else loss).backward()
        total = total + loss.detach()
    return group.sum(total)
