"""The numpy references of BERT, Llama and T5 against transformers: neither knows anything of the other.

GPT-2's reference is compared in test_equivalence_decoders.py. All parameters and configurations are random.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracle import hugging_face, random_bert_config, random_llama_config, random_t5_config
from reference_bert import bert
from reference_llama import llama_logits, rotary_rates
from reference_t5 import bucket, t5_logits
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.t5.modeling_t5 import T5Attention

from minigpt.compare.oracle import modules_with_float32_steps, without_float32_steps

BAR = 2e-13  # the largest difference that rounding explains, divided by the largest value: oracle.py's bar for logits
UNPATCHED_BAR = 1e-4  # where transformers computes some steps in float32
SEEDS = range(12)


def eager_or_sdpa(config, seed):
    return hugging_face(config, seed, attention=["eager", "sdpa"][seed % 2])


def as_it_is(theirs):
    """The model without the oracle: it computes some steps in float32."""
    del theirs.forward
    return theirs


def numpy_weights(model, prefix=""):
    return {name.removeprefix(prefix): tensor.numpy() for name, tensor in model.state_dict().items()}


def random_tokens(config, seed, length):
    return np.random.default_rng(seed).integers(config.vocab_size, size=length).tolist()


def relative(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.float64
    return abs(ours - theirs).max() / abs(theirs).max()


# ------------------------------------------------------------------------------------------------------------- Llama


def llama_in_both(seed, change=lambda theirs: theirs):
    config = random_llama_config(seed)
    tokens = random_tokens(config, seed, 24)
    theirs = eager_or_sdpa(config, seed)
    weights = numpy_weights(theirs, "model.")
    return llama_logits(weights, config, tokens), change(theirs)(torch.tensor([tokens])).logits[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_llama(seed):
    assert relative(*llama_in_both(seed)) <= BAR


def test_llama_unpatched():
    """Without the oracle's changes, transformers gives the same numbers up to its float32 steps."""
    difference = relative(*llama_in_both(0, as_it_is))
    assert 1e-9 < difference <= UNPATCHED_BAR


def test_a_padded_row_of_eager_llama():
    """Without the oracle, transformers gives nan here."""
    config = random_llama_config(2)
    tokens = random_tokens(config, 2, 9)
    mask = torch.tensor([[0] * 5 + [1] * 9])
    theirs = hugging_face(config, 2)
    inputs = dict(attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0))
    ids = torch.tensor([[0] * 5 + tokens])
    expected = theirs(ids, **inputs).logits[0, 5:]
    assert relative(llama_logits(numpy_weights(theirs, "model."), config, tokens), expected) <= BAR
    assert as_it_is(theirs)(ids, **inputs).logits[0, 5:].isnan().any()


def test_the_drawn_llamas_differ_where_bugs_hide():
    configs = [random_llama_config(seed) for seed in range(20)]
    assert sum(1 < (config.num_key_value_heads or 1) < config.num_attention_heads for config in configs) >= 5
    assert any(config.head_dim not in (None, config.hidden_size // config.num_attention_heads) for config in configs)
    kinds = {config.rope_scaling and config.rope_scaling.rope_type for config in configs}
    assert kinds == {None, "linear", "llama3"}
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


@pytest.mark.parametrize("seed", SEEDS)
def test_bert(seed):
    """Hugging Face's BERT has no float32 steps, so it needs no patch."""
    config = random_bert_config(seed)
    theirs = eager_or_sdpa(config, seed)
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


def t5_in_both(seed, change=lambda theirs: theirs):
    config = random_t5_config(seed)
    theirs = eager_or_sdpa(config, seed)
    source, target = random_tokens(config, seed, 27), random_tokens(config, seed + 1, 19)
    weights = numpy_weights(theirs)
    expected = change(theirs)(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target])).logits[0]
    return t5_logits(weights, config, source, target), expected


@pytest.mark.parametrize("seed", SEEDS)
def test_t5(seed):
    assert relative(*t5_in_both(seed)) <= BAR


@pytest.mark.parametrize("seed", [0, 1])
def test_t5_unpatched(seed):
    assert 1e-9 < relative(*t5_in_both(seed, as_it_is)) <= UNPATCHED_BAR


def test_the_drawn_t5s_have_all_kinds():
    configs = [random_t5_config(seed) for seed in range(20)]
    assert {config.feed_forward_proj for config in configs} == {"relu", "gated-gelu", "gated-silu"}
    heads = {(config.tie_word_embeddings, config.scale_decoder_outputs) for config in configs}
    assert heads == {(True, True), (True, False), (False, False), (False, True)}
    assert any(config.num_layers != config.num_decoder_layers for config in configs)


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("largest", [18, 20, 128])
@pytest.mark.parametrize("rows", [8, 12, 32])
def test_t5s_buckets(rows, largest, both_ways):
    """We compare whole numbers, transformers float32 logarithms. Every published T5 has 32 rows, up to distance 128."""
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
    llama = hugging_face(random_llama_config(0), 0, attention=attention)
    t5 = hugging_face(random_t5_config(0), 0, attention=attention)
    with Float32Steps() as steps:
        llama(ids)
    assert steps.names == {"_to_copy"}
    with Float32Steps() as steps:
        t5(input_ids=ids, decoder_input_ids=ids)
    assert steps.names == {"_to_copy", "div", "log", "mul"}
    with Float32Steps() as steps:
        as_it_is(llama)(ids)
    assert "rsqrt" in steps.names  # if not, transformers has changed, and the oracle is no longer needed


def test_the_oracle_gives_every_module_its_torch_back():
    modules = modules_with_float32_steps()
    with without_float32_steps():
        assert all(module.torch is not torch and module.torch.float32 is torch.float64 for module in modules)
        with without_float32_steps():
            pass
        assert all(module.torch is not torch for module in modules)
        assert torch.float32 is not torch.float64 and torch.float is torch.float32  # torch itself is as it was
    assert all(module.torch is torch for module in modules)
    with pytest.raises(ZeroDivisionError), without_float32_steps():
        raise ZeroDivisionError
    assert all(module.torch is torch for module in modules)
