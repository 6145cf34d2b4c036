"""A trainer for any model that turns tokens into a loss."""

from .config import TrainConfig
from .held_out import evaluate, induction_gap
from .history import Record, best_of
from .loop import check_lengths, train
from .objectives import Examples, MaskedTokens, NextToken, Objective, Spans, accumulate
from .optimizer import decay_groups, learning_rate_at
from .recipes import RECIPES
from .snapshots import load_snapshot, steps_on_disk

__all__ = [
    "RECIPES",
    "Examples",
    "MaskedTokens",
    "NextToken",
    "Objective",
    "Record",
    "Spans",
    "TrainConfig",
    "accumulate",
    "best_of",
    "check_lengths",
    "decay_groups",
    "evaluate",
    "induction_gap",
    "learning_rate_at",
    "load_snapshot",
    "steps_on_disk",
    "train",
]
