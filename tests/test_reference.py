"""The numpy references of BERT, Llama and T5 against transformers: neither knows anything of the other.

GPT-2's reference is compared in test_equivalence_decoders.py. All parameters and configurations are random.
"""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from float64_oracle import MODULES, without_float32_casts
from reference_bert import bert
from reference_llama import llama_logits, rotary_rates
from reference_t5 import bucket, t5_logits
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.t5.modeling_t5 import T5Attention

BAR = 2e-13  # the largest difference that rounding explains, divided by the largest value: oracle.py's bar for logits
UNPATCHED_BAR = 1e-4  # where transformers computes some steps in float32
SEEDS = range(12)


@torch.no_grad()
def randomise(model, seed):
    """Matrices N(0, 0.25²), biases N(0, 0.2²), norm weights 1 + N(0, 0.2²); float64."""
    generator = torch.Generator().manual_seed(seed)
    model.double().eval()
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        is_norm = "norm" in name.lower() and name.endswith("weight")
        parameter.copy_(1 + 0.2 * noise if is_norm else (0.2 if name.endswith(".bias") else 0.25) * noise)
    return model


def numpy_weights(model, prefix=""):
    return {name.removeprefix(prefix): tensor.numpy() for name, tensor in model.state_dict().items()}


def random_tokens(config, seed, length):
    return np.random.default_rng(seed).integers(config.vocab_size, size=length).tolist()


def relative(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.float64
    return abs(ours - theirs).max() / abs(theirs).max()


# ------------------------------------------------------------------------------------------------------------- Llama


def random_llama_config(seed, **fixed):
    rng = random.Random(seed)
    n_head, n_key_head = rng.choice([(1, None), (3, None), (2, 1), (4, 2), (4, 2), (6, 2), (6, 3)])
    scalings = [
        None,
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": rng.choice([2.0, 4.0])},
        {
            "rope_type": "llama3",
            "factor": rng.choice([4.0, 8.0]),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": rng.choice([32, 64]),
        },
    ]
    drawn = dict(
        vocab_size=rng.randint(20, 120),
        hidden_size=n_head * rng.choice([4, 6, 8]),
        intermediate_size=rng.randint(8, 60),
        num_hidden_layers=rng.randint(1, 3),
        num_attention_heads=n_head,
        num_key_value_heads=n_key_head,
        head_dim=rng.choice([None, 6, 10, 16]),
        hidden_act=rng.choice(["silu", "silu", "gelu", "gelu_pytorch_tanh", "relu"]),
        max_position_embeddings=128,
        rms_norm_eps=rng.choice([1e-5, 1e-6, 1e-3]),
        rope_theta=rng.choice([100.0, 10000.0, 500000.0]),
        rope_scaling=rng.choice([*scalings[:3], scalings[3], scalings[3]]),
        attention_bias=rng.random() < 0.3,
        mlp_bias=rng.random() < 0.3,
        tie_word_embeddings=rng.random() < 0.5,
    )
    return SimpleNamespace(**drawn | fixed)


def random_llama(config, seed, attention="eager"):
    settings = vars(config) | {"rope_scaling": config.rope_scaling and dict(config.rope_scaling)}  # theirs is changed
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings, attn_implementation=attention))
    return randomise(theirs, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_llama(seed):
    config = random_llama_config(seed)
    tokens = random_tokens(config, seed, 24)
    with without_float32_casts():
        theirs = random_llama(config, seed, ["eager", "sdpa"][seed % 2])
        expected = theirs(torch.tensor([tokens])).logits[0]
    assert relative(llama_logits(numpy_weights(theirs, "model."), config, tokens), expected) <= BAR


def test_llama_unpatched():
    """The patch is no excuse: transformers as it is says the same, up to its float32 steps."""
    config = random_llama_config(0)
    tokens = random_tokens(config, 0, 24)
    theirs = random_llama(config, 0)
    expected = theirs(torch.tensor([tokens])).logits[0]
    assert relative(llama_logits(numpy_weights(theirs, "model."), config, tokens), expected) <= UNPATCHED_BAR


def test_a_padded_row_of_eager_llama():
    """Without the oracle, transformers gives nan here."""
    config = random_llama_config(1)
    tokens = random_tokens(config, 1, 9)
    mask = torch.tensor([[0] * 5 + [1] * 9])
    with without_float32_casts():
        theirs = random_llama(config, 1)
        ids = torch.tensor([[0] * 5 + tokens])
        expected = theirs(ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)).logits[0, 5:]
    assert relative(llama_logits(numpy_weights(theirs, "model."), config, tokens), expected) <= BAR


def test_the_drawn_llamas_differ_where_bugs_hide():
    configs = [random_llama_config(seed) for seed in SEEDS]
    assert any(1 < (config.num_key_value_heads or 1) < config.num_attention_heads for config in configs)
    assert any(config.head_dim not in (None, config.hidden_size // config.num_attention_heads) for config in configs)
    assert {(config.rope_scaling or {}).get("rope_type") for config in configs} == {None, "default", "linear", "llama3"}
    for name in ("attention_bias", "mlp_bias", "tie_word_embeddings"):
        assert {getattr(config, name) for config in configs} == {False, True}
    assert {config.hidden_act for config in configs} == {"silu", "gelu", "gelu_pytorch_tanh", "relu"}


def test_llama3_scaling_has_three_bands():
    """Fast pairs stay, slow ones are slowed down by the factor, those in between by less."""
    scaling = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    config = random_llama_config(
        0, head_dim=16, rope_theta=500000.0, rope_scaling=scaling | {"original_max_position_embeddings": 64}
    )
    plain = rotary_rates(random_llama_config(0, head_dim=16, rope_theta=500000.0, rope_scaling=None))
    slower = plain / rotary_rates(config)
    assert slower[0] == 1 and 1 < slower[1] < 8 and slower[2:] == pytest.approx(8)


# -------------------------------------------------------------------------------------------------------------- BERT


def random_bert_config(seed):
    rng = random.Random(seed)
    n_head = rng.choice([1, 2, 3, 4])
    return SimpleNamespace(
        vocab_size=rng.randint(20, 120),
        # Not 4 wide: with an epsilon of 1e-12, the norm of four nearly equal numbers magnifies their rounding.
        hidden_size=n_head * rng.choice([8, 12, 16]),
        num_hidden_layers=rng.randint(1, 3),
        num_attention_heads=n_head,
        intermediate_size=rng.randint(8, 60),
        hidden_act=rng.choice(["gelu", "gelu", "gelu_new", "relu", "silu"]),
        max_position_embeddings=rng.randint(24, 48),
        type_vocab_size=rng.choice([1, 2, 3]),
        layer_norm_eps=rng.choice([1e-12, 1e-5, 1e-3]),
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_bert(seed):
    """Hugging Face's BERT has no float32 steps, so it needs no patch."""
    config = random_bert_config(seed)
    settings = transformers.BertConfig(**vars(config), attn_implementation=["eager", "sdpa"][seed % 2])
    theirs = randomise(transformers.BertForPreTraining(settings), seed)
    tokens = random_tokens(config, seed, 24)
    types = None if seed % 3 == 0 else np.random.default_rng(seed).integers(config.type_vocab_size, size=24).tolist()
    inputs = {"input_ids": torch.tensor([tokens])} | (
        {} if types is None else {"token_type_ids": torch.tensor([types])}
    )
    expected, heads = theirs.bert(**inputs), theirs(**inputs)
    states, pooled, token_logits, sentence_logits = bert(numpy_weights(theirs, "bert."), config, tokens, types)
    assert relative(states, expected.last_hidden_state[0]) <= BAR
    assert relative(pooled, expected.pooler_output[0]) <= BAR
    assert token_logits.shape == (24, config.vocab_size) and sentence_logits.shape == (2,)
    # Together, because the two sentence logits alone can both be near 0, and their rounding errors are not.
    logits = torch.cat([heads.prediction_logits[0].flatten(), heads.seq_relationship_logits[0]])
    assert relative(np.append(token_logits, sentence_logits), logits) <= BAR


# ---------------------------------------------------------------------------------------------------------------- T5


def random_t5_config(seed):
    """Every third is like T5 1.0: ReLU, a tied head, mostly scaled; the others are like T5 1.1: gated, another head."""
    rng = random.Random(seed)
    first = seed % 3 == 0
    return SimpleNamespace(
        vocab_size=rng.randint(20, 120),
        d_model=rng.choice([8, 12, 20, 32]),
        d_kv=rng.choice([4, 6, 8]),
        d_ff=rng.randint(8, 60),
        num_layers=rng.randint(1, 3),
        num_decoder_layers=rng.choice([None, 1, 2, 3]),
        num_heads=rng.randint(1, 4),
        relative_attention_num_buckets=rng.choice([8, 12, 32]),
        relative_attention_max_distance=rng.choice([18, 20, 128]),
        feed_forward_proj=["relu", "gated-gelu", "gated-silu"][seed % 3],
        layer_norm_epsilon=rng.choice([1e-6, 1e-5, 1e-3]),
        tie_word_embeddings=first,
        scale_decoder_outputs=rng.choice([None, first, first, not first]),
    )


def random_t5(config, seed, attention="eager"):
    settings = {name: value for name, value in vars(config).items() if value is not None}
    theirs = transformers.T5ForConditionalGeneration(transformers.T5Config(**settings, attn_implementation=attention))
    if not config.tie_word_embeddings:  # transformers 5 ties always, until it loads a file with another lm_head
        theirs.lm_head.weight = torch.nn.Parameter(torch.empty_like(theirs.shared.weight))
    return randomise(theirs, seed)


def t5_in_both(seed, config):
    theirs = random_t5(config, seed, ["eager", "sdpa"][seed % 2])
    source, target = random_tokens(config, seed, 27), random_tokens(config, seed + 1, 19)
    expected = theirs(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target])).logits[0]
    return t5_logits(numpy_weights(theirs), config, source, target), expected


@pytest.mark.parametrize("seed", SEEDS)
def test_t5(seed):
    with without_float32_casts():
        ours, expected = t5_in_both(seed, random_t5_config(seed))
    assert relative(ours, expected) <= BAR


@pytest.mark.parametrize("seed", [0, 1])
def test_t5_unpatched(seed):
    assert relative(*t5_in_both(seed, random_t5_config(seed))) <= UNPATCHED_BAR


def test_the_drawn_t5s_have_all_kinds():
    configs = [random_t5_config(seed) for seed in SEEDS]
    assert {config.feed_forward_proj for config in configs} == {"relu", "gated-gelu", "gated-silu"}
    heads = {(config.tie_word_embeddings, config.scale_decoder_outputs) for config in configs}
    assert heads >= {(True, None), (True, True), (False, None), (False, False), (False, True)}
    assert len({config.num_decoder_layers for config in configs}) > 2


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("largest", [18, 20, 128])
@pytest.mark.parametrize("rows", [8, 12, 32])
def test_t5s_buckets(rows, largest, both_ways):
    """Here whole numbers are compared, there logarithms in float32. Every published T5 has 32 rows, up to 128."""
    config = SimpleNamespace(relative_attention_num_buckets=rows, relative_attention_max_distance=largest)
    distances = range(-2 * largest, 2 * largest if both_ways else 1)
    theirs = T5Attention._relative_position_bucket(torch.tensor(distances), both_ways, rows, largest).tolist()
    assert [bucket(distance, config, both_ways) for distance in distances] == theirs


# --------------------------------------------------------------------------------------------------- the float64 oracle


class Float32Steps(TorchDispatchMode):
    """Notes the names of all operations that give float32."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        outputs = result if isinstance(result, tuple) else (result,)
        if any(isinstance(output, torch.Tensor) and output.dtype == torch.float32 for output in outputs):
            self.names.add(function.overloadpacket.__name__)
        return result


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_only_whole_numbers_are_float32_in_the_oracle(attention):
    """Llama's positions become float32, and T5's buckets are computed in it; no other step."""
    ids = torch.arange(20)[None]
    with without_float32_casts():
        llama = random_llama(random_llama_config(0), 0, attention)
        t5 = random_t5(random_t5_config(0), 0, attention)
        with Float32Steps() as steps:
            llama(ids)
        assert steps.names == {"_to_copy"}
        with Float32Steps() as steps:
            t5(input_ids=ids, decoder_input_ids=ids)
        assert steps.names == {"_to_copy", "div", "log", "mul"}
    with Float32Steps() as steps:
        llama(ids)
    assert "rsqrt" in steps.names  # if not, transformers has changed, and this file no longer needs the oracle


def test_the_oracle_gives_every_module_its_torch_back():
    with without_float32_casts():
        assert all(module.torch is not torch and module.torch.float32 is torch.float64 for module in MODULES)
        with without_float32_casts():
            pass
        assert all(module.torch is not torch for module in MODULES)
        assert torch.float32 is not torch.float64 and torch.float is torch.float32  # torch itself is as it was
    assert all(module.torch is torch for module in MODULES)
    with pytest.raises(ZeroDivisionError), without_float32_casts():
        raise ZeroDivisionError
    assert all(module.torch is torch for module in MODULES)
