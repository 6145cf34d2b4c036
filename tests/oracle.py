"""The oracle, which gives the right answers: random models of four families, with the same weights in Hugging Face's
implementation and in ours.

Every parameter is drawn at random. Fresh Hugging Face weights prove little: biases are 0, norms 1 and 0, and the
standard deviation of 0.02 hides the difference between two kinds of GELU.
"""

import json
import random
import re
from contextlib import nullcontext

import torch
import transformers

from minigpt import BertConfig, GPT2Config, LlamaConfig, T5Config
from minigpt.checkpoints.configs import model_type
from minigpt.checkpoints.names import NAMES
from minigpt.checkpoints.translate import from_hugging_face
from minigpt.compare.oracle import in_its_dtype, without_float32_steps
from minigpt.models import MODELS

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

DTYPES = [torch.float64, torch.float32]
HALF = [torch.bfloat16, torch.float16]
ATTENTION = ["explicit", "sdpa", "tiled"]

# Bars: the largest difference that a test accepts as rounding, (float64, float32): several times the worst ever seen.
# Logits, hidden states and outputs are measured relative to the largest, gradients relative to the largest gradient
# anywhere in the model; attention weights, losses and parameters as they are.
BARS = {
    "logits": (2e-13, 2e-5),
    "loss": (5e-14, 1e-5),
    "gradients": (1e-12, 1e-4),
    "gradient of the key biases": (1e-14, 1e-5),
    "hidden states": (2e-13, 2e-5),
    "attention weights": (2e-13, 4e-5),
    "padded logits": (2e-13, 2e-5),
    "padded loss": (5e-14, 1e-5),
    "padded gradients": (1e-12, 1e-4),
    "cached logits": (2e-13, 2e-5),
    "numpy against ours: logits": (2e-13, 2e-5),
    "numpy against Hugging Face: logits": (2e-13, 2e-5),
    "dropout with the same seed: logits": (2e-13, 2e-5),
    "dropout with the same seed: gradients": (1e-12, 1e-4),
    "200 steps of AdamW: losses": (5e-14, 1e-5),
    "200 steps of AdamW: parameters": (1e-12, 3e-4),
    "dropout with the same seed: losses": (5e-14, 1e-5),
    # Nothing scales T5's scores: attention is peaked, and a small difference in a score becomes a large one.
    "t5: logits": (2e-13, 1e-4),
    "t5: padded logits": (2e-13, 1e-4),
    "t5: cached logits": (2e-13, 1e-4),
    "t5: hidden states": (2e-13, 1e-4),
    "t5: attention weights": (2e-13, 1e-4),
    "t5: numpy against ours: logits": (2e-13, 1e-4),
    "t5: numpy against Hugging Face: logits": (2e-13, 1e-4),
    "t5: loss": (5e-14, 5e-5),
    "t5: gradients": (1e-12, 2e-4),
    "one layer: outputs": (2e-13, None),
    "one layer: gradients": (2e-13, None),
}
# In half precision: our error divided by Hugging Face's, both against float64.
HALF_BAR = 1.5

# (quantity, dtype, attention) -> worst difference so far; printed at the end of the run.
worst: dict[tuple[str, torch.dtype, str], float] = {}


def check(quantity: str, difference, dtype: torch.dtype, attention: str, where: str = "", family: str = "gpt2") -> None:
    """Remember the difference. AssertionError if it is larger than its bar, or nan."""
    difference = difference.item() if isinstance(difference, torch.Tensor) else difference
    bars = None if dtype in HALF else BARS.get(f"{family}: {quantity}", BARS.get(quantity))
    bar = HALF_BAR if bars is None else bars[DTYPES.index(dtype)]
    quantity = quantity if family == "gpt2" else f"{family}: {quantity}"
    key = (quantity, dtype, attention)
    worst[key] = max(worst.get(key, 0.0), difference)
    assert difference <= bar, f"{quantity}{where}: {difference:.1e} is above {bar:.2g} ({dtype}, {attention})"


def worst_figures() -> list[str]:
    """The worst differences of the run as Markdown: one table for float64 and float32, one for half precision."""
    lines = []
    for dtypes, title in [(DTYPES, "largest difference"), (HALF, "our error / Hugging Face's")]:
        columns = [(dtype, attention) for dtype in dtypes for attention in ATTENTION]
        quantities = dict.fromkeys(quantity for quantity, dtype, _ in worst if dtype in dtypes)
        if not quantities:
            continue
        names = [f"{str(dtype).removeprefix('torch.')} {attention}" for dtype, attention in columns]
        lines += ["", "| " + " | ".join([title, *names, "bars"]) + " |", "|---" * (len(columns) + 2) + "|"]
        for quantity in quantities:
            figures = [worst.get((quantity, *column)) for column in columns]
            bars = BARS.get(quantity) or BARS.get(quantity.partition(": ")[2])
            bars = bars if dtypes == DTYPES else (HALF_BAR,)
            cells = ["" if figure is None else f"{figure:.2g}" for figure in figures]
            limits = ", ".join(f"{bar:g}" if bar > 1 else f"{bar:.0e}" for bar in bars if bar is not None)
            lines.append("| " + " | ".join([quantity, *cells, limits]) + " |")
    return lines


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


def random_llama_config(seed: int, **fixed) -> LlamaConfig:
    """In two of three, several key heads serve several query heads each: there `repeat` is not `repeat_interleave`."""
    rng = random.Random(seed)
    n_head, n_key_head = rng.choice([(1, None), (3, None), (2, 1), (4, 2), (4, 2), (6, 2), (6, 3), (4, 2), (6, 3)])
    llama3 = dict(rope_type="llama3", factor=rng.choice([4.0, 8.0]), low_freq_factor=1.0, high_freq_factor=4.0)
    llama3["original_max_position_embeddings"] = rng.choice([32, 64])
    scalings = [None, None, dict(rope_type="linear", factor=rng.choice([2.0, 4.0])), llama3, llama3]
    drawn = dict(
        vocab_size=rng.randint(20, 120),
        hidden_size=n_head * rng.choice([4, 6, 8]),
        intermediate_size=rng.randint(8, 60),
        num_hidden_layers=rng.randint(1, 3),
        num_attention_heads=n_head,
        num_key_value_heads=n_key_head,
        head_dim=rng.choice([None, 6, 10, 16]),
        hidden_act=rng.choice(["silu", "silu", "gelu", "gelu_pytorch_tanh", "relu"]),
        max_position_embeddings=rng.randint(24, 48),
        rms_norm_eps=rng.choice([1e-5, 1e-6, 1e-3]),
        rope_theta=rng.choice([100.0, 10000.0, 500000.0]),
        rope_scaling=rng.choice(scalings),
        attention_bias=rng.random() < 0.3,
        mlp_bias=rng.random() < 0.3,
        tie_word_embeddings=rng.random() < 0.5,
        bos_token_id=0,
        eos_token_id=1,
    )
    return LlamaConfig(**drawn | fixed)


def random_bert_config(seed: int, **fixed) -> BertConfig:
    rng = random.Random(seed)
    n_head = rng.choice([1, 2, 3, 4])
    drawn = dict(
        vocab_size=rng.randint(20, 120),
        # The width is never 4: with an epsilon of 1e-12, the norm of four nearly equal numbers magnifies rounding.
        hidden_size=n_head * rng.choice([8, 12, 16]),
        num_hidden_layers=rng.randint(1, 3),
        num_attention_heads=n_head,
        intermediate_size=rng.randint(8, 60),
        hidden_act=rng.choice(["gelu", "gelu", "gelu_new", "relu", "silu"]),
        max_position_embeddings=rng.randint(24, 48),
        type_vocab_size=rng.choice([1, 2, 3]),
        layer_norm_eps=rng.choice([1e-12, 1e-5, 1e-3]),
        pad_token_id=None,  # else Hugging Face gives that row of the embedding no gradient
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertConfig(**drawn | fixed)


def random_t5_config(seed: int, **fixed) -> T5Config:
    """Every third is like T5 1.0 (ReLU, tied head, mostly scaled), the others like T5 1.1 (gated MLP, untied head)."""
    rng = random.Random(seed)
    first = seed % 3 == 0
    n_layer = rng.randint(1, 3)
    drawn = dict(
        vocab_size=rng.randint(20, 120),
        d_model=rng.choice([8, 12, 20, 32]),
        d_kv=rng.choice([4, 6, 8]),
        d_ff=rng.randint(8, 60),
        num_layers=n_layer,
        num_decoder_layers=rng.choice([None, 1, n_layer]),  # transformers cannot generate with a deeper decoder
        num_heads=rng.randint(1, 4),
        relative_attention_num_buckets=rng.choice([8, 12, 32]),
        relative_attention_max_distance=rng.choice([18, 20, 128]),
        feed_forward_proj=["relu", "gated-gelu", "gated-silu"][seed % 3],
        layer_norm_epsilon=rng.choice([1e-6, 1e-5, 1e-3]),
        tie_word_embeddings=first,
        scale_decoder_outputs=rng.choice([None, first, first, not first]),
        dropout_rate=0.0,
    )
    return T5Config(**drawn | fixed)


RANDOM_CONFIG = {
    "gpt2": random_config,
    "llama": random_llama_config,
    "bert": random_bert_config,
    "t5": random_t5_config,
}


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int) -> None:
    """Matrices N(0, 0.25²), biases N(0, 0.2²), norm weights 1 + N(0, 0.2²)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        is_norm = ".ln_" in name or "norm" in name.lower()
        if name.endswith("bias"):
            parameter.copy_(0.2 * noise)
        else:
            parameter.copy_(1 + 0.2 * noise if is_norm else 0.25 * noise)


def hugging_face(config, seed: int, dtype=torch.float64, attention="eager", rounded_to=None) -> torch.nn.Module:
    """transformers' model of one of our configurations, every parameter random. In float64 no step is in float32.

    rounded_to: the parameters are first rounded to this dtype, so that another model has exactly the same.
    """
    family = NAMES[model_type(config)]
    architecture, _ = family.layout(config)
    model_class = getattr(transformers, architecture)
    fields = json.loads(json.dumps(family.to_fields(config)))  # as config.json has them
    with without_float32_steps() if dtype == torch.float64 else nullcontext():
        model = model_class(model_class.config_class(**fields, attn_implementation=attention))
        if isinstance(config, T5Config) and not config.tie_word_embeddings:
            # transformers 5 ties every head, until it loads a file with another lm_head.
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
        model = model.to(dtype)
        if dtype == torch.float64 and isinstance(config, LlamaConfig):  # its rates are a float32 buffer
            model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    randomise(model, seed)
    if rounded_to is not None:
        for parameter in model.parameters():
            parameter.data = parameter.data.to(rounded_to).to(dtype)
    return in_its_dtype(model.to(dtype).eval())


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors by the names of the name table, which have no prefix."""
    return {re.sub(r"^(transformer|model|bert)\.", "", name): tensor for name, tensor in tensors.items()}


def twin(theirs: torch.nn.Module, config, attention: str = "explicit"):
    """Our model with the weights of a Hugging Face model."""
    kind = model_type(config)
    ours = MODELS[kind][0](config, attention).to(next(theirs.parameters()).dtype).eval()
    shapes = {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}
    tensors = plain({name: parameter.data for name, parameter in theirs.named_parameters()})
    ours.load_state_dict(from_hugging_face(tensors, NAMES[kind], shapes, config))
    return ours


def pair(seed: int, dtype=torch.float64, attention: str = "explicit", family: str = "gpt2", **fixed):
    """(ours, theirs) of a random configuration, every parameter random and equal."""
    config = RANDOM_CONFIG[family](seed, **fixed)
    theirs = hugging_face(config, seed, dtype)
    return twin(theirs, config, attention), theirs


def gradients(ours, theirs: torch.nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(our gradient, Hugging Face's) of every parameter by our names, through the same table as the weights."""
    shapes = {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}
    grads = plain({name: parameter.grad for name, parameter in theirs.named_parameters()})
    expected = from_hugging_face(grads, NAMES[model_type(ours.config)], shapes, ours.config)
    missing = [name for name, parameter in ours.named_parameters() if parameter.grad is None]
    assert not missing, f"no gradient: {missing}"
    return {name: (parameter.grad, expected[name]) for name, parameter in ours.named_parameters()}


def most_tokens(config) -> int:
    """How long the rows of a test may be."""
    if isinstance(config, GPT2Config):
        return config.n_positions
    return getattr(config, "max_position_embeddings", 40)  # T5 has no limit


def padded_batch(config, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask (6, T): a whole row; pads on the left, on the right, on both sides; two rows with holes."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return torch.randint(low, high + 1, (), generator=generator).item()

    n = draw(5, most_tokens(config))
    tokens = torch.randint(config.vocab_size, (6, n), generator=generator)
    mask = torch.ones_like(tokens)
    mask[1, : draw(1, n - 2)] = 0
    mask[2, -draw(1, n - 2) :] = 0
    mask[3, : draw(1, n // 2)] = 0
    mask[3, -draw(1, (n - 1) // 2) :] = 0
    mask[4:] = torch.rand(2, n, generator=generator) < 0.6
    mask[4:, draw(0, n - 1)] = 1
    return tokens, mask


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids for Hugging Face, which counts the pads when it is given the mask alone."""
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
