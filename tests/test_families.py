"""Llama, BERT and T5 by themselves: sizes, initialisation, dropout, positions, losses, gaps, traces.

test_equivalence_*.py compare their answers with Hugging Face's.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from oracle import pair
from transformers import LlamaConfig as TheirLlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.t5.modeling_t5 import T5Attention

from minigpt import T5, Bert, BertConfig, Llama, LlamaConfig, T5Config, generate, load_model, save_model
from minigpt.attention import explicit_attention
from minigpt.generation import fill_mask, sentence_vectors
from minigpt.layers import GatedMLP, RMSNorm
from minigpt.loss import cross_entropy, decoder_inputs, masked_loss, sequence_loss
from minigpt.positions import RopeScaling, relative_bias, relative_buckets, rotary_rates, rotation
from minigpt.trace import trace

FAMILIES = ["llama", "bert", "t5"]
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
LLAMA3 = dict(rope_type="llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)


def inputs_of(family, config, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(1, config.vocab_size, (2, 9), generator=generator) for _ in range(2)]
    return rows if family == "t5" else rows[:1]


# --- the published sizes ---------------------------------------------------------------------------------------------

V1_1 = dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False, d_ff=1024, num_layers=8, num_heads=6)
PUBLISHED = {
    "bert-base-uncased": (110_106_428, Bert, BertConfig()),
    "bert-base-uncased without its heads": (109_482_240, Bert, BertConfig(has_head=False, has_sentence_head=False)),
    "bert-large-uncased": (
        336_226_108,
        Bert,
        BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
    ),
    "t5-small": (60_506_624, T5, T5Config()),
    "google/flan-t5-small": (76_961_152, T5, T5Config(**V1_1)),
    "meta-llama/Llama-2-7b": (6_738_415_616, Llama, LlamaConfig()),
    "meta-llama/Llama-3.2-1B": (
        1_235_814_400,
        Llama,
        LlamaConfig(
            vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_key_value_heads=8,
            head_dim=64, rope_theta=500000.0, rope_scaling=LLAMA3 | {"factor": 32.0}, tie_word_embeddings=True,
        ),
    ),
    "HuggingFaceTB/SmolLM2-135M": (
        134_515_008,
        Llama,
        LlamaConfig(
            vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
            num_key_value_heads=3, tie_word_embeddings=True,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_sizes(name):
    n_parameters, model_class, config = PUBLISHED[name]
    with torch.device("meta"):
        model = model_class(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == n_parameters


# --- initialisation and dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model_class, config",
    [
        (Llama, LlamaConfig(500, 64, 96, 2, 4, 2, attention_bias=True, mlp_bias=True, initializer_range=0.03)),
        (Bert, BertConfig(500, 64, 2, 4, 96, initializer_range=0.03)),
    ],
    ids=["llama", "bert"],
)
@torch.no_grad()
def test_llama_and_bert_are_drawn_from_their_table(model_class, config):
    torch.manual_seed(0)
    model = model_class(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        elif parameter.numel() > 500:  # smaller ones have too few numbers to estimate it
            assert parameter.std().item() == pytest.approx(0.03, rel=0.15) and parameter.mean().abs() < 0.004, name
    tokens = torch.randint(500, (4, 30), generator=torch.Generator().manual_seed(0))
    loss = F.cross_entropy(model.eval()(tokens).flatten(0, 1), tokens.roll(1, 1).flatten())
    assert loss.item() == pytest.approx(math.log(500), abs=0.1)  # it guesses uniformly


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_t5_is_drawn_from_its_table(tied):
    config = T5Config(500, 64, 32, 200, 2, 3, 4, feed_forward_proj="gated-gelu", tie_word_embeddings=tied)
    torch.manual_seed(0)
    model = T5(config)
    stds = {
        "token_embedding": 1, "query": (64 * 32) ** -0.5, "key": 64**-0.5, "value": 64**-0.5, "output": 128**-0.5,
        "relative_bias": 64**-0.5, "gate": 64**-0.5, "up": 64**-0.5, "down": 200**-0.5, "lm_head": 64**-0.5,
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        part = name.split(".")[-2]
        if part.endswith("norm"):
            assert (parameter == 1).all()
        else:
            assert parameter.std().item() == pytest.approx(stds[part], rel=0.2), name
    source = torch.randint(500, (4, 30), generator=torch.Generator().manual_seed(0))
    logits = model.eval()(source, source)
    assert 0.5 < logits.std() < 2
    twice = T5(T5Config(**vars(config) | {"initializer_factor": 2.0}))
    assert twice.encoder.blocks[0].attention.query.weight.std().item() == pytest.approx(2 * stds["query"], rel=0.2)


@EACH_FAMILY
def test_dropout_only_in_training(family):
    rates = {
        "llama": dict(attention_dropout=0.5),
        "bert": dict(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5),
        "t5": dict(dropout_rate=0.5),
    }
    model, _ = pair(0, family=family, **rates[family])
    inputs = inputs_of(family, model.config)
    assert torch.equal(model(*inputs), model(*inputs))
    model.train()
    assert not torch.equal(model(*inputs), model(*inputs))


@EACH_FAMILY
def test_any_function_with_the_signature_of_explicit_attention(family):
    calls = []

    def mine(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
        assert k.shape[1] == q.shape[1]  # a function without groups gets as many key heads
        calls.append((mask is not None, causal, bias is not None, scale))
        return explicit_attention(q, k, v, mask, causal, bias, scale, dropout)

    ours, _ = pair(2, family=family)
    model = type(ours)(ours.config, attention=mine).double().eval()
    model.load_state_dict(ours.state_dict())
    inputs = inputs_of(family, ours.config)
    assert (model(*inputs) - ours(*inputs)).abs().max() < 1e-12
    if family == "t5":
        c = ours.config
        decoder = [(False, True, True, 1.0), (False, False, False, 1.0)] * c.num_decoder_layers
        assert calls == [(False, False, True, 1.0)] * c.num_layers + decoder
    else:
        assert calls == [(False, family == "llama", False, None)] * len(model.blocks)
    with pytest.raises(ValueError, match="attention must be one of explicit, sdpa, tiled; got 'flash'"):
        type(ours)(ours.config, attention="flash")


@EACH_FAMILY
@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
def test_it_can_be_exported(family, attention):
    ours, _ = pair(1, torch.float32, attention, family=family)
    inputs = inputs_of(family, ours.config)
    exported = torch.export.export(ours, tuple(inputs)).module()
    others = inputs_of(family, ours.config, seed=1)
    assert (exported(*others) - ours(*others)).abs().max() < 1e-4


# --- positions: rotation and relative bias ---------------------------------------------------------------------------

SCALINGS = [None, dict(rope_type="linear", factor=4.0), LLAMA3 | {"factor": 8.0}]


@pytest.mark.parametrize("scaling", SCALINGS, ids=["default", "linear", "llama3"])
@pytest.mark.parametrize("d_head, theta", [(64, 10000.0), (128, 500000.0)])
def test_cosines_and_sines_are_transformers_bit_for_bit_up_to_position_131071(d_head, theta, scaling):
    parameters = dict(scaling or {"rope_type": "default"}) | {"rope_theta": theta}
    theirs = LlamaRotaryEmbedding(
        TheirLlamaConfig(head_dim=d_head, rope_parameters=parameters, max_position_embeddings=131072)
    )
    positions = torch.cat([torch.arange(4096), torch.arange(131072 - 4096, 131072)])[None]
    cos, sin = theirs(torch.zeros(1), positions)
    rates = rotary_rates(d_head, theta, scaling and RopeScaling(**scaling), dtype=torch.float32)
    ones, half = torch.ones(1, 1, len(positions[0]), d_head), d_head // 2
    turned = rotation(positions, rates, torch.float32)(torch.cat([ones[..., :half], 0 * ones[..., half:]], -1))
    assert torch.equal(turned[0, 0, :, :half], cos[0, :, :half]) and torch.equal(
        turned[0, 0, :, half:], sin[0, :, half:]
    )


def test_a_score_depends_on_the_distance_alone_and_lengths_stay():
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, 16, generator=generator, dtype=torch.float64) for _ in "qk")
    rates = rotary_rates(16, 10000.0, dtype=torch.float64)

    def at(x, position):
        return rotation(torch.tensor([[position]]), rates, torch.float64)(x)

    score = (at(q, 13) * at(k, 6)).sum()
    assert (at(q, 1007) * at(k, 1000)).sum() == pytest.approx(score.item(), abs=1e-12)
    assert (at(q, 14) * at(k, 6)).sum() != pytest.approx(score.item(), abs=1e-3)
    assert torch.equal(at(q, 0), q) and at(q, 99).norm() == pytest.approx(q.norm().item())


def test_llama3_scaling_keeps_the_quick_pairs_and_slows_the_others():
    plain = rotary_rates(64, 500000.0, dtype=torch.float64)
    slower = plain / rotary_rates(64, 500000.0, RopeScaling(**LLAMA3, factor=8.0), dtype=torch.float64)
    turns = 8192 * plain / (2 * math.pi)  # how often a pair turns in the texts of the first training
    assert (slower[turns > 4] == 1).all() and slower[turns < 1] == pytest.approx(8)
    between = slower[(turns > 1) & (turns < 4)]
    assert len(between) and ((between > 1) & (between < 8)).all()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_are_transformers(bidirectional):
    distances = torch.arange(-300, 301)
    theirs = T5Attention._relative_position_bucket(distances, bidirectional, 32, 128)
    assert torch.equal(relative_buckets(distances, 32, 128, bidirectional), theirs)
    # Half of the buckets hold one distance each; the last holds the largest distance and all beyond it.
    assert relative_buckets(torch.tensor([0, -1, -2, -127, -128, -9999]), 32, 128, False).tolist() == [
        0,
        1,
        2,
        31,
        31,
        31,
    ]
    assert relative_buckets(torch.tensor([5, 0, -5]), 32, 128, bidirectional=True).tolist() == [21, 0, 5]


def test_a_bias_has_the_rows_of_its_queries():
    table, keys = torch.randn(32, 3), torch.arange(20)
    whole = relative_bias(table, keys, keys, 128, causal=True)
    assert whole.shape == (1, 3, 20, 20)
    assert torch.equal(relative_bias(table, keys[17:], keys, 128, causal=True), whole[:, :, 17:])
    assert torch.equal(whole[0, :, 4, 2], table[2]) and torch.equal(whole[0, :, 2, 4], table[0])


def test_norm_and_gated_mlp_are_their_formulas():
    x = torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm = RMSNorm(8, 1e-3).double()
    torch.nn.init.normal_(norm.weight)
    assert norm(x).allclose(F.rms_norm(x, (8,), norm.weight, 1e-3), atol=1e-14)
    assert norm(1e-3 * x).abs().max() < 0.2 * norm(x).abs().max()  # eps is inside the root
    large = torch.full((1, 8), 300.0, dtype=torch.float16)  # 300² is too large for float16
    assert RMSNorm(8, 1e-6).half()(large).allclose(torch.ones(1, 8, dtype=torch.float16))
    mlp = GatedMLP(8, 6, F.silu, linear_bias=False).double()
    expected = (F.silu(x @ mlp.gate.weight.T) * (x @ mlp.up.weight.T)) @ mlp.down.weight.T
    assert mlp(x).allclose(expected, atol=1e-14)


# --- losses ----------------------------------------------------------------------------------------------------------


def test_masked_loss_counts_the_masked_tokens_without_a_shift():
    logits = torch.randn(2, 4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[-100, 3, -100, 5], [-100, -100, 0, -100]])
    by_hand = -logits.log_softmax(-1)[[0, 0, 1], [1, 3, 2], [3, 5, 0]]
    assert masked_loss(logits, labels).allclose(by_hand.mean())
    assert masked_loss(logits, labels, num_items=6).allclose(by_hand.sum() / 6)
    one_each = masked_loss(logits, labels, reduction="none")
    assert one_each[labels != -100].allclose(by_hand) and (one_each[labels == -100] == 0).all()
    assert masked_loss(logits, torch.full((2, 4), -100)).isnan()


def test_t5s_labels_are_shifted_once_and_pads_are_refused():
    labels = torch.tensor([[5, 6, 1], [7, 1, -100]])
    assert decoder_inputs(labels, 0, 0).tolist() == [[0, 5, 6], [0, 7, 1]]
    assert decoder_inputs(labels, 2, 3).tolist() == [[2, 5, 6], [2, 7, 1]]
    assert decoder_inputs(torch.tensor([[7, -100, -100]]), 2, 3).tolist() == [[2, 7, 3]]
    assert labels.tolist() == [[5, 6, 1], [7, 1, -100]]  # they are not changed
    logits = torch.randn(2, 3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert sequence_loss(logits, labels, pad_token_id=0) == pytest.approx(expected.item())
    padded = labels.masked_fill(labels == -100, 0)
    assert sequence_loss(logits, padded) == cross_entropy(logits, padded) != expected  # pads count: no pad_token_id
    with pytest.raises(ValueError, match="labels hold the pad 0 at row 1, column 2, where it would count"):
        sequence_loss(logits, padded, pad_token_id=0)
    with pytest.raises(ValueError, match="write ignore_index=-100 in place of pads"):
        decoder_inputs(padded, 0, 0)
    with pytest.raises(ValueError, match=r"labels must have shape \(batch, tokens\), got \(3,\)"):
        decoder_inputs(labels[0], 0, 0)


# --- what BERT is asked for ------------------------------------------------------------------------------------------


@torch.no_grad()
def test_gaps_are_filled_with_hugging_faces_probabilities():
    ours, theirs = pair(3, family="bert")
    mask_id = 4
    tokens = [1, 7, mask_id, 8, 9, mask_id, 2]
    gaps = fill_mask(ours, tokens, mask_id, n=3)
    expected = theirs(torch.tensor([tokens])).prediction_logits[0].softmax(-1)
    assert [gap.position for gap in gaps] == [2, 5]
    for gap in gaps:
        top = expected[gap.position].topk(3)
        assert [token for token, _ in gap.likely] == top.indices.tolist()
        assert [p for _, p in gap.likely] == pytest.approx(top.values.tolist(), abs=1e-6)
    assert len(fill_mask(ours, tokens, mask_id, n=10_000)[0].likely) == ours.vocab_size
    ours.train()
    ours.blocks[0].eval()
    fill_mask(ours, tokens, mask_id)
    assert ours.training and not ours.blocks[0].training and not ours.blocks[0].mlp.training  # each as it was
    assert ours.head.training


@torch.no_grad()
def test_a_gap_in_the_second_of_two_texts():
    ours, theirs = pair(3, family="bert", type_vocab_size=2)
    tokens, types = [1, 7, 2, 4, 9, 2], [0, 0, 0, 1, 1, 1]
    [gap] = fill_mask(ours, tokens, 4, n=3, token_types=types)
    logits = theirs(torch.tensor([tokens]), token_type_ids=torch.tensor([types])).prediction_logits[0, 3]
    assert [token for token, _ in gap.likely] == logits.topk(3).indices.tolist()
    assert gap != fill_mask(ours, tokens, 4, n=3)[0]
    for wrong, words in [([0, 1], "token_types .* must have the shape of tokens"), ([0] * 5 + [2], "token type 2")]:
        with pytest.raises(ValueError, match=words):
            fill_mask(ours, tokens, 4, token_types=wrong)


@torch.no_grad()
def test_a_sentence_vector_is_the_mean_over_the_tokens_whatever_its_neighbours():
    ours, theirs = pair(3, family="bert")
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(ours.vocab_size, (n % 9 + 1,), generator=generator).tolist() for n in range(70)]
    vectors = sentence_vectors(ours, texts)
    assert vectors.shape == (70, ours.config.hidden_size)
    for text, vector in zip(texts[::7], vectors[::7], strict=True):
        expected = theirs.bert(torch.tensor([text])).last_hidden_state[0].mean(dim=0)
        assert vector.allclose(expected, atol=1e-12)


# --- traces ----------------------------------------------------------------------------------------------------------


def test_a_bare_bert_is_traced_and_gives_vectors_and_refuses_gaps_by_name(tmp_path):
    config = BertConfig(20, 8, 2, 2, 16, has_head=False, has_sentence_head=False, has_pooler=False)
    ours = Bert(config)
    save_model(ours, tmp_path)
    bare = load_model(tmp_path, dtype=torch.float64)
    assert bare.head is None and bare.pooler is None and bare.sentence_head is None
    tokens = torch.tensor([[1, 2, 3]])
    seen = trace(bare, tokens)
    assert seen.logits is None and seen.encoder is None and seen.cross_attention_weights is None
    assert torch.equal(seen.hidden_states[-1], bare.hidden(tokens))
    assert sentence_vectors(bare, [[1, 2, 3]]).allclose(bare.hidden(tokens).mean(dim=1))
    with pytest.raises(ValueError, match="this Bert has no masked-token head, so it cannot fill gaps"):
        fill_mask(bare, [1, 2], 2)
    with pytest.raises(ValueError, match="no masked-token head"):
        bare(tokens)


@torch.no_grad()
def test_a_trace_of_t5_shows_both_sides_and_where_they_meet():
    ours, _ = pair(4, family="t5", num_layers=3, num_decoder_layers=2)
    source, tokens = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[0, 9]])
    seen = trace(ours, source, tokens)
    assert torch.equal(seen.logits, ours(source, tokens))
    assert len(seen.encoder.hidden_states) == len(seen.encoder.attention_weights) == 3
    assert len(seen.hidden_states) == len(seen.attention_weights) == len(seen.cross_attention_weights) == 2
    assert seen.encoder.logits is None and seen.encoder.encoder is None
    heads = ours.config.num_heads
    assert {w.shape for w in seen.encoder.attention_weights} == {(1, heads, 4, 4)}
    assert {w.shape for w in seen.attention_weights} == {(1, heads, 2, 2)}
    assert {w.shape for w in seen.cross_attention_weights} == {(1, heads, 2, 4)}
    for weights in [*seen.encoder.attention_weights, *seen.attention_weights, *seen.cross_attention_weights]:
        assert weights.sum(-1).allclose(torch.ones(1, dtype=torch.float64))
    assert torch.equal(seen.embeddings, ours.token_embedding(tokens))
    assert torch.equal(ours.encoder.final_norm(seen.encoder.hidden_states[-1]), ours.encode(source))


# --- half precision --------------------------------------------------------------------------------------------------


def test_t5_in_float16_is_refused_by_name_wherever_it_comes_from(tmp_path):
    ours, _ = pair(1, torch.float16, family="t5")  # a file may be in float16
    save_model(ours, tmp_path)
    assert load_model(tmp_path).token_embedding.weight.dtype == torch.float32
    assert load_model(tmp_path, dtype=torch.bfloat16)(torch.tensor([[1]]), torch.tensor([[0]])).isfinite().all()
    with pytest.raises(ValueError, match="T5 cannot compute in float16: its states can exceed 65504; take bfloat16"):
        load_model(tmp_path, dtype=torch.float16)
    with pytest.raises(ValueError, match="T5 cannot compute in float16"):
        load_model(tmp_path).half()(torch.tensor([[1]]), torch.tensor([[0]]))
    with pytest.raises(ValueError, match="T5 cannot compute in float16"), torch.autocast("cpu", torch.float16):
        load_model(tmp_path)(torch.tensor([[1]]), torch.tensor([[0]]))


@EACH_FAMILY
@pytest.mark.parametrize("attention", ["explicit", "sdpa"])
def test_under_autocast_we_are_as_exact_as_hugging_face(family, attention):
    """Both are compared with float32, over several models; `generate` also runs under autocast."""
    errors = [0.0, 0.0]
    for seed in range(8):
        ours, theirs = pair(seed, torch.float32, attention, family=family)
        inputs = inputs_of(family, ours.config)
        with torch.autocast("cpu", torch.bfloat16):
            mine = ours(*inputs)
            if family == "t5":
                out = theirs(input_ids=inputs[0], decoder_input_ids=inputs[1])
                generate(ours, [[1, 2, 3], [4]], 3)
            else:
                out = theirs(*inputs)
        exact = ours(*inputs)
        logits = out.prediction_logits if family == "bert" else out.logits
        for side, values in enumerate((mine, logits)):
            errors[side] += ((values.float() - exact) / exact.abs().max()).square().sum().item()
        mine.float().square().mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in ours.parameters())
    assert 0 < errors[0] ** 0.5 < 1.5 * errors[1] ** 0.5


@torch.no_grad()
def test_documents_packed_into_a_row_of_llama_are_read_as_apart():
    ours, _ = pair(3, family="llama")
    [tokens] = inputs_of("llama", ours.config)
    packed = ours(tokens, segment_ids=torch.tensor([[0] * 4 + [1] * 5] * 2))
    assert packed.allclose(torch.cat([ours(tokens[:, :4]), ours(tokens[:, 4:])], dim=1), atol=1e-12)
