"""AdamW, and the learning rate of every step."""

import math

import torch
from torch import nn

from .._checks import integer
from .config import TrainConfig


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to the final rate (Loshchilov & Hutter 2017, equation 5).

    Steps count from 0. The last one, steps - 1, has the final rate, and so has every step after it. In a run that is
    all warm-up the rate never falls. Raises ValueError unless step is an integer of at least 0.
    """
    step = integer("step", step, 0)
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    way_down = config.steps - 1 - config.warmup_steps  # steps from the peak to the end
    done = min(1.0, (step - config.warmup_steps) / way_down) if way_down > 0 else 1.0
    cosine = (1 + math.cos(math.pi * done)) / 2
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """AdamW's two groups of parameters: weight decay pulls matrices and embeddings towards 0, but not biases and norms,
    which only shift and scale."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) for a model's parameters. On CPUs and CUDA GPUs one kernel does a whole step.

    Each group has a `rate_factor`: its learning rate is this factor times that of the step. It is 1, but for parameters
    that the model names in `rate_factors`, {end of the name: factor} (models/t5.py). The pull of weight decay is the
    same for all matrices.
    """
    given = getattr(model, "rate_factors", {})
    factors = {
        parameter: next((factor for ending, factor in given.items() if name.endswith(ending)), 1.0)
        for name, parameter in model.named_parameters()
    }
    groups = [
        {"params": parameters, "weight_decay": group["weight_decay"] / factor, "rate_factor": factor}
        for group in decay_groups(model, config.weight_decay)
        for factor in sorted(set(factors.values()))
        if (parameters := [parameter for parameter in group["params"] if factors[parameter] == factor])
    ]
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)
