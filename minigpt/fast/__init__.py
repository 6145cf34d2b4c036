"""The same answers in less time or memory. Inside `switched_off()` the models' own modules compute everything."""

from .loss_without_logits import LanguageModelLoss, linear_cross_entropy, loss_of_hidden
from .one_row_products import laid_out
from .steps import fast_reader
from .switch import switched_off

__all__ = ["LanguageModelLoss", "fast_reader", "laid_out", "linear_cross_entropy", "loss_of_hidden", "switched_off"]
