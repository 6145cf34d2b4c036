"""How to train."""

import math
from dataclasses import dataclass
from numbers import Real

from .._checks import check_fields, flag, integer, number


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are those of weights/tiny, except repeat_share. Raises ValueError for a bad value."""

    steps: int = 20_000
    batch_size: int = 7  # rows in a step, of all processes together
    micro_batch_size: int | None = None  # rows that go through the model at once; None = all rows of a process
    context: int = 256  # tokens in a row of the batch
    shortest_context: int | None = None  # rows of another length in each step, from this to context; None = of context
    learning_rate: float = 2e-3  # at the end of the warm-up
    final_learning_rate: float = 1e-4
    warmup_steps: int = 200
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0  # largest norm of the gradient
    repeat_share: float = 0.0  # share of the rows in which a passage comes twice
    missing_share: float = 0.15  # share of the tokens that a BERT or a T5 has to predict
    end_of_text: int | None = None  # its id: documents packed into a row do not see each other; None = they do
    evaluate_every: int = 500  # steps between evaluations, and between snapshots
    autocast: bool = True  # matrix products in bfloat16
    compile: bool = False  # torch.compile: faster steps after a minute or more of compiling
    seed: int = 0

    def __post_init__(self):
        check_fields(self, integer, "steps batch_size evaluate_every", least=1)
        check_fields(self, integer, "micro_batch_size", least=1, or_none=True)
        check_fields(self, integer, "context", least=2)
        check_fields(self, integer, "shortest_context", least=2, most=self.context, or_none=True)
        check_fields(self, integer, "warmup_steps", least=0)
        check_fields(self, integer, "end_of_text", least=0, or_none=True)
        check_fields(self, integer, "seed", least=0, most=2**62 - 1)
        check_fields(self, number, "learning_rate", above=0)
        check_fields(self, number, "clip", above=0, most=math.inf)
        check_fields(self, number, "final_learning_rate weight_decay", least=0)
        check_fields(self, number, "repeat_share", least=0, most=1)
        check_fields(self, number, "missing_share", above=0, below=1)
        check_fields(self, flag, "autocast compile")
        betas = self.betas if isinstance(self.betas, tuple) else ()
        fits = [isinstance(beta, Real) and type(beta) is not bool and 0 <= beta < 1 for beta in betas]
        if fits != [True, True]:
            raise ValueError(f"betas must be two numbers of at least 0 and below 1, got {self.betas}")
