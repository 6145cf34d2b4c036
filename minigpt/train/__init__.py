"""A trainer that knows tokens and losses, whatever the model."""

from .loop import Record, TrainConfig, accumulate, decay_groups, learning_rate_at, train

__all__ = ["Record", "TrainConfig", "accumulate", "decay_groups", "learning_rate_at", "train"]
