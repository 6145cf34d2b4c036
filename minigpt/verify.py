"""Our model against Hugging Face's on the same checkpoint: the same numbers, or the checkpoint is not what it seems."""

from dataclasses import dataclass
from pathlib import Path

import torch

from .gpt2 import GPT2, position_ids_for
from .loss import next_token_loss

# Largest difference that rounding explains: logits relative to the largest logit, loss in nats.
BARS = {
    torch.float64: {"logits": 2e-13, "loss": 5e-14},
    torch.float32: {"logits": 2e-5, "loss": 1e-5},
}


@dataclass(frozen=True)
class Comparison:
    quantity: str
    dtype: str
    difference: float
    bar: float

    @property
    def ok(self) -> bool:
        return self.difference <= self.bar


@torch.no_grad()
def compare(model: GPT2, directory: str | Path, seed: int = 0) -> list[Comparison]:
    """Compare a loaded model with transformers' GPT2LMHeadModel of the same folder, in the model's own dtype.

    Random tokens: two rows as long as the context allows (at most 64), then the second with pads on its left. The
    reference loss is torch's, in the model's dtype: the one inside transformers is float32 whatever the model.
    Raises ValueError for a model that is neither float64 nor float32.
    """
    import transformers

    weight = model.token_embedding.weight
    if weight.dtype not in BARS:
        raise ValueError(f"compare needs a float64 or float32 model, got {weight.dtype}")
    bars = BARS[weight.dtype]
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    oracle = transformers.GPT2LMHeadModel.from_pretrained(directory, dtype=weight.dtype, attn_implementation="eager")
    oracle = oracle.to(weight.device).eval()

    length = min(64, model.config.n_positions)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(model.config.vocab_size, (2, length), generator=generator).to(weight.device)
    mask = torch.ones_like(tokens)
    mask[1, : length // 3] = 0
    dtype = str(weight.dtype).removeprefix("torch.")
    comparisons = []

    ours, theirs = model(tokens), oracle(tokens).logits
    comparisons.append(Comparison("logits", dtype, _relative(ours, theirs), bars["logits"]))
    loss = torch.nn.functional.cross_entropy(theirs[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    difference = (next_token_loss(ours, tokens) - loss).abs().item()
    comparisons.append(Comparison("loss", dtype, difference, bars["loss"]))

    ours = model(tokens, attention_mask=mask)
    theirs = oracle(tokens, attention_mask=mask, position_ids=position_ids_for(mask, 0, tokens)).logits
    real = mask.bool()
    comparisons.append(Comparison("logits, left padding", dtype, _relative(ours[real], theirs[real]), bars["logits"]))
    return comparisons


def _relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
