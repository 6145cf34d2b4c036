"""The oracle: random GPT-2s, the same weights once in Hugging Face's implementation and once in ours.

Every parameter is drawn at random. Fresh Hugging Face weights prove little: biases are 0, norms 1 and 0, and the
standard deviation of 0.02 hides the difference between two kinds of GELU.
"""

import random
from dataclasses import asdict

import torch
import transformers

from minigpt import GPT2, GPT2Config
from minigpt.pretrained import from_hugging_face

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

# Differences that rounding explains: logits relative to the largest, loss absolute, gradients relative to the
# largest gradient anywhere in the model.
LOGIT_BAR = {torch.float64: 2e-13, torch.float32: 2e-5}
LOSS_BAR = {torch.float64: 5e-14, torch.float32: 1e-5}
GRADIENT_BAR = {torch.float64: 1e-12, torch.float32: 1e-4}


def random_config(seed: int, **fixed) -> GPT2Config:
    rng = random.Random(seed)
    n_head = rng.choice([1, 2, 3, 4])
    vocab_size = rng.randint(20, 120)
    drawn = dict(
        vocab_size=vocab_size,
        n_positions=rng.randint(24, 48),
        n_head=n_head,
        n_embd=n_head * rng.choice([4, 6, 8, 16]),
        n_layer=rng.randint(1, 3),
        n_inner=rng.choice([None, None, 20, 50]),
        activation_function=rng.choice(["gelu_new", "gelu_new", "gelu_pytorch_tanh", "gelu", "relu", "silu", "tanh"]),
        layer_norm_epsilon=rng.choice([1e-5, 1e-6, 1e-3]),
        scale_attn_weights=rng.random() < 0.8,
        scale_attn_by_inverse_layer_idx=rng.random() < 0.3,
        tie_word_embeddings=rng.random() < 0.75,
        bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return GPT2Config(**drawn | fixed)


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int) -> None:
    """Matrices N(0, 0.25²), biases N(0, 0.2²), norm weights 1 + N(0, 0.2²)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        is_norm = ".ln_" in name or "norm" in name
        if name.endswith("bias"):
            parameter.copy_(0.2 * noise)
        else:
            parameter.copy_(1 + 0.2 * noise if is_norm else 0.25 * noise)


def hugging_face(config: GPT2Config, seed: int, dtype=torch.float64, attention="eager") -> transformers.GPT2LMHeadModel:
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**asdict(config), attn_implementation=attention))
    randomise(model, seed)
    return model.to(dtype).eval()


def twin(theirs: transformers.GPT2LMHeadModel, config: GPT2Config, attention: str = "explicit") -> GPT2:
    """Our model with the weights of a Hugging Face model."""
    ours = GPT2(config, attention).to(next(theirs.parameters()).dtype).eval()
    shapes = {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(from_hugging_face(tensors, shapes, config.n_layer))
    return ours


def pair(seed: int, dtype=torch.float64, attention: str = "explicit", **fixed) -> tuple[GPT2, torch.nn.Module]:
    """(ours, theirs) of a random configuration, every parameter random and equal."""
    config = random_config(seed, **fixed)
    theirs = hugging_face(config, seed, dtype)
    return twin(theirs, config, attention), theirs


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
