"""MultiHeadAttention against the attention layers of others: each is a change of arguments, none a change of code."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from oracle import ATTENTION, check, randomise, relative
from torch import nn
from transformers import BertConfig, GPT2Config, T5Config
from transformers.models.bert.modeling_bert import BertAttention
from transformers.models.gpt2.modeling_gpt2 import GPT2Attention
from transformers.models.t5.modeling_t5 import T5Attention

from minigpt.attention import ATTENTION_FUNCTIONS, MultiHeadAttention, padding_mask

N, S, WIDTH, HEADS = 7, 9, 24, 3  # tokens, tokens of another source, d_model, n_head
REAL = torch.tensor([[1] * N, [0, 0] + [1] * (N - 2), [1] * (N - 3) + [0, 1, 0]])
SOURCE_REAL = torch.tensor([[1] * S, [0, 0, 0] + [1] * (S - 3), [1, 1, 0, 1, 0, 1, 1, 0, 0]])


def to_add(mask):
    """A mask (True = may look) as the matrix that Hugging Face adds to the scores."""
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, torch.finfo(torch.float64).min)


ADDED, SOURCE_ADDED = (to_add(real.bool()[:, None, None, :]) for real in (REAL, SOURCE_REAL))
CAUSAL = torch.ones(N, N).tril().bool()
PADDING, SOURCE_PADDING = padding_mask(REAL), padding_mask(SOURCE_REAL)  # for ours


@dataclass
class Layer:
    theirs: nn.Module
    run: Callable  # (x, source) -> their output
    names: Callable  # {their name: a parameter or its gradient} -> the same by our names
    shape: dict = field(default_factory=dict)  # what MultiHeadAttention is built with, beside d_model and n_head
    arguments: Callable = lambda source: {}  # what it is called with, beside x
    shared: tuple = ()  # their parameters that ours gets as an argument


def by_our_names(query, key, value, output):
    """Four projections by our names: each is a weight in nn.Linear's layout and perhaps a bias."""
    found = {}
    for part, tensors in {"query": query, "key": key, "value": value, "output": output}.items():
        found |= {f"{part}.{kind}": tensor for kind, tensor in zip(("weight", "bias"), tensors, strict=False)}
    return found


def pytorch(run, **arguments):
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def names(p):
        inside = zip(p["in_proj_weight"].chunk(3), p["in_proj_bias"].chunk(3), strict=True)
        return by_our_names(*inside, (p["out_proj.weight"], p["out_proj.bias"]))

    return Layer(theirs, lambda x, source: run(theirs, x, source)[0], names, **arguments)


def pytorch_bidirectional():  # in PyTorch's masks True = may not look
    return pytorch(lambda m, x, _: m(x, x, x, key_padding_mask=REAL == 0), arguments=lambda _: {"mask": PADDING})


def pytorch_causal():
    return pytorch(lambda m, x, _: m(x, x, x, attn_mask=~CAUSAL), arguments=lambda _: {"causal": True})


def pytorch_cross():
    return pytorch(
        lambda m, x, source: m(x, source, source, key_padding_mask=SOURCE_REAL == 0),
        arguments=lambda source: {"source": source, "mask": SOURCE_PADDING},
    )


def bert():
    config = BertConfig(hidden_size=WIDTH, num_attention_heads=HEADS, attn_implementation="eager")
    theirs = BertAttention(config)

    def run(x, source):  # BertAttention goes on to add x and to normalise
        return theirs.output.dense(theirs.self(x, attention_mask=ADDED)[0])

    def names(p):
        parts = ("self.query", "self.key", "self.value", "output.dense")
        return by_our_names(*((p[f"{part}.weight"], p[f"{part}.bias"]) for part in parts))

    return Layer(theirs, run, names, arguments=lambda _: {"mask": PADDING})


def gpt2_cross():
    config = GPT2Config(n_embd=WIDTH, n_head=HEADS, attn_implementation="eager")
    theirs = GPT2Attention(config, is_cross_attention=True, layer_idx=0)

    def run(x, source):
        return theirs(x, encoder_hidden_states=source, encoder_attention_mask=SOURCE_ADDED)[0]

    def names(p):
        keys_and_values = zip(p["c_attn.weight"].t().chunk(2), p["c_attn.bias"].chunk(2), strict=True)
        query, output = ((p[f"{part}.weight"].t(), p[f"{part}.bias"]) for part in ("q_attn", "c_proj"))
        return by_our_names(query, *keys_and_values, output)

    return Layer(theirs, run, names, arguments=lambda source: {"source": source, "mask": SOURCE_PADDING})


def t5(is_decoder, has_bias, run, arguments):
    """No 1/sqrt(D), no biases in the linear layers, heads of any width, and relative positions added to the scores."""
    config = T5Config(
        d_model=WIDTH,
        num_heads=HEADS,
        d_kv=5,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=6,
        is_decoder=is_decoder,
        attn_implementation="eager",
    )
    theirs = T5Attention(config, has_relative_attention_bias=has_bias, layer_idx=0)
    return Layer(
        theirs,
        lambda x, source: run(theirs, x, source)[0],
        lambda p: by_our_names(*((p[f"{part}.weight"],) for part in "qkvo")),
        shape={"d_head": 5, "linear_bias": False, "scale": 1.0},
        arguments=lambda source: arguments(theirs, source),
        shared=(theirs.relative_attention_bias.weight,) if has_bias else (),
    )


def t5_encoder():
    return t5(
        is_decoder=False,
        has_bias=True,
        run=lambda m, x, _: m(x, mask=ADDED),
        arguments=lambda m, _: {"mask": PADDING, "bias": m.compute_bias(N, N)},
    )


def t5_decoder():
    return t5(
        is_decoder=True,
        has_bias=True,
        run=lambda m, x, _: m(x, mask=ADDED.minimum(to_add(CAUSAL))),
        arguments=lambda m, _: {"mask": PADDING, "causal": True, "bias": m.compute_bias(N, N)},
    )


def t5_cross():
    return t5(
        is_decoder=True,
        has_bias=False,
        run=lambda m, x, source: m(x, mask=SOURCE_ADDED, key_value_states=source),
        arguments=lambda m, source: {"mask": SOURCE_PADDING, "source": source},
    )


LAYERS = [pytorch_bidirectional, pytorch_causal, pytorch_cross, bert, gpt2_cross, t5_encoder, t5_decoder, t5_cross]


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("build", LAYERS, ids=lambda build: build.__name__)
def test_outputs_and_gradients_equal(build, attention):
    layer = build()
    layer.theirs.double().eval()
    randomise(layer.theirs, seed=1)
    ours = MultiHeadAttention(WIDTH, HEADS, attend=ATTENTION_FUNCTIONS[attention], **layer.shape).double()
    parameters = dict(layer.theirs.named_parameters())
    ours.load_state_dict(layer.names(parameters))

    generator = torch.Generator().manual_seed(2)
    drawn = [torch.randn(3, n, WIDTH, generator=generator, dtype=torch.float64) for n in (N, S, N)]
    x, source, weighting = drawn[0].requires_grad_(), drawn[1].requires_grad_(), drawn[2]
    mine, expected = ours(x, **layer.arguments(source)), layer.run(x, source)
    # Pads as queries are not compared: for a query that may look at nothing, each library gives another answer.
    asked = REAL.bool()
    where = f" ({build.__name__})"
    check("one layer: outputs", relative(mine[asked], expected[asked]), torch.float64, attention, where)

    inputs = {"x": x, "source": source} | {f"shared {i}": tensor for i, tensor in enumerate(layer.shared)}
    mine = gradients_by_name((mine * weighting)[asked].sum(), inputs | dict(ours.named_parameters()))
    expected = gradients_by_name((expected * weighting)[asked].sum(), inputs | parameters)
    expected = {name: expected[name] for name in inputs} | layer.names(expected)
    assert mine.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in mine.items():
        difference = (gradient - expected[name]).abs().max() / largest
        check("one layer: gradients", difference, torch.float64, attention, f"{where}, {name}")


def gradients_by_name(loss, tensors):
    found = torch.autograd.grad(loss, list(tensors.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(tensors, found, strict=True))
