"""The quick check of Llama, BERT and T5: nine small models, each built so that certain mistakes change its answers.

The models are transformers' own files, and what transformers computes with them is computed once, in float64
throughout. Every check loads such a file with `load_model`, so that the name tables and config.json are checked, too.
`quick_check` imports this file: its checks stand in the same list.
"""

import importlib
import itertools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from generation_oracle import by_hugging_face
from oracle import hugging_face
from quick_check import check, close
from safetensors.torch import load_file, save_file

from minigpt import BertConfig, LlamaConfig, T5Config

# --- the oracle's side, computed once --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A folder of transformers, a batch, and what transformers makes of it."""

    folder: Path
    tokens: torch.Tensor
    mask: torch.Tensor
    expected: dict


FOLDERS = tempfile.TemporaryDirectory(prefix="minigpt-quick-check-")  # deleted at the end of the run
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
)
N = 11  # tokens in a row


def draw(config, *shape, seed=0) -> torch.Tensor:
    return torch.randint(1, config.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def pads(n: int, *first_and_last: tuple[int, int]) -> torch.Tensor:
    """A mask with a row for each pair: so many pads in front, and so many at the end."""
    return torch.tensor([[0] * first + [1] * (n - first - last) + [0] * last for first, last in first_and_last])


def saved(config, seed: int, sharper: float = 1.0):
    """transformers' model of a config, every parameter random, and its folder. sharper: logits so many times larger."""
    theirs = hugging_face(config, seed)
    if isinstance(config, T5Config):
        theirs.decoder.final_layer_norm.weight.data.mul_(sharper)
    folder = Path(FOLDERS.name, f"{type(config).__name__}-{seed}")
    theirs.save_pretrained(folder)
    return theirs, folder


def trained(theirs, **inputs) -> torch.Tensor:
    """What a model with dropout computes after torch.manual_seed(5)."""
    torch.manual_seed(5)
    answer = theirs.train()(**inputs)
    theirs.eval()
    return answer[0].detach()


PROMPTS = [[7, 3, 9, 4, 8, 2], [5, 6], [11, 12, 13, 14]]


def texts_of(theirs) -> dict:
    """What a model writes, greedily and with beams. With a stop token the first row leaves the batch first."""
    greedy = by_hugging_face(theirs, PROMPTS, 7)
    first, *others = [text[len(text) - 7 :] for text in greedy]
    stop = next(token for token in first[1:5] if token != first[0] and token not in itertools.chain(*others))
    beams = by_hugging_face(theirs, PROMPTS[:2], 7, num_beams=3)
    return dict(greedy=greedy, stop=stop, stopped=by_hugging_face(theirs, PROMPTS, 7, [stop]), beams=beams)


@torch.no_grad()
def build_llamas() -> list[Case]:
    """Key heads > 1 that serve several query heads each; a head width of its own; each kind of scaling; tied and not;
    with biases and without; an eps that counts."""
    shape = dict(vocab_size=50, num_hidden_layers=2, bos_token_id=None, eos_token_id=1, attention_dropout=0.3)
    configs = [
        LlamaConfig(
            hidden_size=24, intermediate_size=20, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
            max_position_embeddings=600, rms_norm_eps=1e-3, rope_theta=100.0, rope_scaling=LLAMA3,
            attention_bias=True, mlp_bias=True, tie_word_embeddings=True, **shape,
        ),
        LlamaConfig(
            hidden_size=36, intermediate_size=15, num_attention_heads=6, num_key_value_heads=2, hidden_act="gelu",
            max_position_embeddings=24, rms_norm_eps=1e-5, rope_theta=500000.0,
            rope_scaling=dict(rope_type="linear", factor=4.0), **shape,
        ),
        LlamaConfig(
            hidden_size=24, intermediate_size=17, num_attention_heads=3, max_position_embeddings=24, **shape,
        ),
    ]  # fmt: skip
    made = []
    for seed, config in enumerate(configs):
        theirs, folder = saved(config, seed)
        tokens, mask = draw(config, 3, N, seed=seed), pads(N, (0, 0), (4, 0), (0, 3))
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        expected = dict(
            logits=theirs(tokens).logits,
            padded=theirs(tokens, attention_mask=mask, position_ids=positions).logits,
            spread=theirs(tokens, position_ids=2 * torch.arange(N).expand_as(tokens)).logits,
            trained=trained(theirs, input_ids=tokens),
        )
        made.append(Case(folder, tokens, mask, expected | texts_of(theirs)))
    return made


@torch.no_grad()
def build_far_llama() -> Case:
    """From position 500 on, in bfloat16: the error of transformers, against float64 with the same rounded weights."""
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=600, rope_theta=100.0, eos_token_id=1,
    )  # fmt: skip
    tokens = draw(config, 4, 24)
    exact, rounded = hugging_face(config, 9, rounded_to=torch.bfloat16), hugging_face(config, 9, torch.bfloat16)
    folder = Path(FOLDERS.name, "far")
    exact.save_pretrained(folder)
    positions = torch.arange(500, 524).expand_as(tokens)
    logits = exact(tokens, position_ids=positions).logits
    error = (rounded(tokens, position_ids=positions).logits.double() - logits).pow(2).mean().sqrt()
    return Case(folder, tokens, positions, dict(logits=logits, error=error.item()))


@torch.no_grad()
def build_berts() -> list[Case]:
    """The exact GELU and BERT's own eps; three token types; dropout of two kinds."""
    shape = dict(
        vocab_size=40, max_position_embeddings=16, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.3,
        pad_token_id=None, num_hidden_layers=2,
    )  # fmt: skip
    configs = [
        BertConfig(hidden_size=24, num_attention_heads=3, intermediate_size=20, **shape),
        BertConfig(
            hidden_size=16, num_attention_heads=2, intermediate_size=30, hidden_act="silu", type_vocab_size=3,
            layer_norm_eps=1e-3, **shape,
        ),
    ]  # fmt: skip
    made = []
    for seed, config in enumerate(configs):
        theirs, folder = saved(config, seed)
        tokens, mask = draw(config, 3, N, seed=seed), pads(N, (0, 0), (0, 4), (0, 2))
        mask[2, 3] = 0
        types = (torch.arange(N) * config.type_vocab_size // N).expand_as(tokens)
        padded = theirs(tokens, attention_mask=mask, token_type_ids=types)
        alone = [theirs.bert(tokens[:1, :n]).last_hidden_state[0].mean(dim=0) for n in (11, 3, 6)]
        expected = dict(
            types=types,
            logits=theirs(tokens).prediction_logits,
            padded=padded.prediction_logits,
            pooled=theirs.bert(tokens, attention_mask=mask, token_type_ids=types).pooler_output,
            sentences=padded.seq_relationship_logits,
            trained=trained(theirs, input_ids=tokens),
            vectors=torch.stack(alone),
        )
        made.append(Case(folder, tokens, mask, expected))
    return made


@torch.no_grad()
def build_t5s() -> list[Case]:
    """Tied and scaled (version 1.0), neither (1.1), and one of the two; stacks of different depth; distances beyond
    the last bucket; a start token that is no pad."""
    shape = dict(vocab_size=40, dropout_rate=0.2)
    configs = [
        T5Config(
            d_model=20, d_kv=6, d_ff=15, num_layers=2, num_decoder_layers=1, num_heads=3,
            relative_attention_num_buckets=8, relative_attention_max_distance=18, layer_norm_epsilon=1e-3, **shape,
        ),
        T5Config(
            d_model=12, d_kv=8, d_ff=20, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
            relative_attention_num_buckets=12, tie_word_embeddings=False, decoder_start_token_id=3, **shape,
        ),
        T5Config(
            d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, feed_forward_proj="gated-silu",
            relative_attention_num_buckets=8, relative_attention_max_distance=5, scale_decoder_outputs=False, **shape,
        ),
        T5Config(
            d_model=8, d_kv=6, d_ff=12, num_layers=1, num_decoder_layers=2, num_heads=2, tie_word_embeddings=False,
            scale_decoder_outputs=True, **shape,
        ),
    ]  # fmt: skip
    made = []
    for seed, config in zip([7, 5, 2, 3], configs, strict=True):  # with these seeds the first two write varied texts
        theirs, folder = saved(config, seed, sharper=2.5)
        source, source_mask = draw(config, 3, 24, seed=seed), pads(24, (0, 0), (9, 0), (0, 7))
        tokens, mask = draw(config, 3, N, seed=seed + 50), pads(N, (0, 0), (0, 4), (3, 0))
        labels = draw(config, 3, N, seed=seed + 100).masked_fill(mask.flip(1) == 0, -100)
        labels[:, 0] = 7
        both = dict(input_ids=source, attention_mask=source_mask)
        seen = theirs(**both, decoder_input_ids=tokens, output_attentions=True)
        logits_of_labels = theirs(**both, labels=labels).logits
        expected = dict(
            source=source,
            source_mask=source_mask,
            labels=labels,
            logits=theirs(input_ids=source, decoder_input_ids=tokens).logits,
            padded=theirs(**both, decoder_input_ids=tokens, decoder_attention_mask=mask).logits,
            trained=trained(theirs, input_ids=source, decoder_input_ids=tokens),
            cross=seen.cross_attentions,
            encoder=seen.encoder_attentions,
            loss=F.cross_entropy(logits_of_labels.flatten(0, 1), labels.flatten()),
        )
        if config in configs[:2]:
            expected |= texts_of(theirs)
        made.append(Case(folder, tokens, mask, expected))
    return made


LLAMAS, FAR, BERTS, T5S = build_llamas(), build_far_llama(), build_berts(), build_t5s()


def ours(case: Case, attention: str = "explicit", dtype=torch.float64):
    """Our model of a folder, by the package as it is now."""
    return importlib.import_module("minigpt").load_model(case.folder, dtype=dtype, attention=attention)


def each(cases: list[Case]):
    """Every case with our model, explicit and fused attention in turn."""
    for case, attention in zip(cases, itertools.cycle(["explicit", "sdpa"]), strict=False):
        yield case, ours(case, attention)


def refuses(action, words: str) -> None:
    """Assert that an action raises a ValueError that says so."""
    try:
        action()
    except ValueError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"nothing was refused; expected: {words}")


# --- the models ------------------------------------------------------------------------------------------------------


@check(
    "Llama",
    "models.llama positions layers attention checkpoints.names.llama models._inputs",
    "test_equivalence_decoders.py::test_logits_loss_and_gradients_of_padded_rows",
)
def _():
    with torch.no_grad():
        for case, model in each(LLAMAS):
            close(model(case.tokens), case.expected["logits"])
            real = case.mask.bool()
            close(model(case.tokens, attention_mask=case.mask)[real], case.expected["padded"][real])
            spread = 2 * torch.arange(N).expand_as(case.tokens)  # distances count: an offset alone would change nothing
            close(model(case.tokens, position_ids=spread), case.expected["spread"])


@check(
    "Llama, cached",
    "models.llama attention kv_cache",
    "test_equivalence_decoders.py::test_the_cache_at_every_split_and_in_random_chunks",
)
def _():
    with torch.no_grad():
        for case, model in each(LLAMAS):
            for mask, expected in [(None, case.expected["logits"]), (case.mask, case.expected["padded"])]:
                cache = model.new_cache(3, N)
                parts = [slice(0, 4), slice(4, 5), slice(5, N)]
                masks = [None if mask is None else mask[:, : part.stop] for part in parts]
                rows = [model(case.tokens[:, part], m, cache=cache) for part, m in zip(parts, masks, strict=True)]
                real = torch.ones_like(case.tokens).bool() if mask is None else mask.bool()
                close(torch.cat(rows, dim=1)[real], expected[real])


@check(
    "Llama, far",
    "models.llama positions",
    "test_equivalence_decoders.py::test_half_precision_is_as_exact_as_hugging_faces",
)
def _():
    with torch.no_grad():
        logits = ours(FAR, dtype=torch.bfloat16)(FAR.tokens, position_ids=FAR.mask).double()
    assert (logits - FAR.expected["logits"]).pow(2).mean().sqrt() < 3 * FAR.expected["error"]


@check("RMSNorm", "layers", "test_families.py::test_norm_and_gated_mlp_are_their_formulas")
def _():
    layers = importlib.import_module("minigpt.layers")
    large = torch.full((1, 8), 300.0, dtype=torch.float16)  # 300² is too large for float16
    close(layers.RMSNorm(8, 1e-6).half()(large), torch.ones(1, 8), bar=1e-3)


@check(
    "BERT",
    "models.bert layers checkpoints.names.bert",
    "test_equivalence_bert.py::test_logits_loss_and_gradients",
)
def _():
    with torch.no_grad():
        for case, model in each(BERTS):
            hidden = model.hidden(case.tokens, case.mask, case.expected["types"])
            real = case.mask.bool()
            close(model(case.tokens), case.expected["logits"])
            close(model.logits(hidden)[real], case.expected["padded"][real])
            close(model.pooled(hidden), case.expected["pooled"])
            close(model.sentence_logits(hidden), case.expected["sentences"])


@check("T5", "models.t5 positions layers checkpoints.names.t5", "test_equivalence_t5.py::test_logits")
def _():
    with torch.no_grad():
        for case, model in each(T5S):
            source, source_mask, real = case.expected["source"], case.expected["source_mask"], case.mask.bool()
            close(model(source, case.tokens), case.expected["logits"])
            close(model(source, case.tokens, source_mask, case.mask)[real], case.expected["padded"][real])


@check(
    "T5, cached",
    "models.t5 positions kv_cache",
    "test_equivalence_t5.py::test_the_cache_at_every_split_and_in_random_chunks",
)
def _():
    with torch.no_grad():
        for case, model in each(T5S):
            source, cache = model.read_source(case.expected["source"]), model.new_cache(3, N)
            parts = case.tokens.split([4, 1, N - 5], dim=1)
            rows = [model.logits(model.hidden(part, cache=cache, source=source)) for part in parts]
            close(torch.cat(rows, dim=1), case.expected["logits"])


@check(
    "dropout of the families",
    "models.llama models.bert models.t5",
    "test_equivalence_t5.py::test_dropout_with_the_same_seed",
)
def _():
    with torch.no_grad():
        for case in [LLAMAS[0], BERTS[0], T5S[0], T5S[1]]:
            model = ours(case).train()
            inputs = [case.expected["source"], case.tokens] if "source" in case.expected else [case.tokens]
            torch.manual_seed(5)
            close(model(*inputs), case.expected["trained"])


@check("initialisation of T5", "models.t5", "test_families.py::test_t5_is_drawn_from_its_table")
def _():
    minigpt = importlib.import_module("minigpt")
    torch.manual_seed(0)
    model = minigpt.T5(minigpt.T5Config(500, 64, 32, 200, 2, 2, 4))
    stds = {"token_embedding": 1, "query": (64 * 32) ** -0.5, "key": 64**-0.5, "output": 128**-0.5, "down": 200**-0.5}
    for name, parameter in model.named_parameters():
        expected = stds.get(name.split(".")[-2])
        assert expected is None or abs(parameter.std().item() / expected - 1) < 0.1, name


@check(
    "default settings",
    "models.llama models.bert models.t5",
    "test_families.py::test_the_published_sizes",
)
def _():
    """Fields that both have are those of transformers."""
    minigpt = importlib.import_module("minigpt")
    for name in ("BertConfig", "LlamaConfig", "T5Config"):
        config, theirs = getattr(minigpt, name)(), getattr(transformers, name)().to_dict()
        others = {field for field, value in vars(config).items() if value is not None and theirs.get(field) != value}
        assert others <= {"has_head", "has_pooler", "has_sentence_head", "rope_theta", "decoder_start_token_id"}, others
    config = minigpt.T5Config()
    assert config.scale_decoder_outputs and config.decoder_start_token_id == config.pad_token_id
    assert not minigpt.T5Config(tie_word_embeddings=False).scale_decoder_outputs


@check(
    "losses of the families",
    "loss models.t5",
    "test_equivalence_t5.py::test_loss_and_gradients",
)
def _():
    loss = importlib.import_module("minigpt.loss")
    with torch.no_grad():
        for case, model in each(T5S[:2]):
            labels, start = case.expected["labels"], model.config.decoder_start_token_id
            inputs = loss.decoder_inputs(labels, start, 0)
            logits = model(case.expected["source"], inputs, case.expected["source_mask"])
            close(loss.sequence_loss(logits, labels, pad_token_id=0), case.expected["loss"])
            refuses(lambda: loss.sequence_loss(logits, labels.clamp(min=0), pad_token_id=0), "hold the pad 0 at row 1")  # noqa: B023
            refuses(lambda: loss.decoder_inputs(labels.clamp(min=0), 3, 0), "hold the pad 0 at row 1")  # noqa: B023
        logits, labels = BERTS[0].expected["padded"], BERTS[0].tokens.masked_fill(BERTS[0].mask == 0, -100)
        close(loss.masked_loss(logits, labels), F.cross_entropy(logits.flatten(0, 1), labels.flatten()))


# --- what is asked of the models -------------------------------------------------------------------------------------


@check(
    "what a family cannot do",
    "perplexity.scoring language_model compare.difference models.bert models.llama models.t5",
    "test_generation_families.py::test_what_a_family_cannot_do_is_said_by_name",
)
def _():
    minigpt, score = importlib.import_module("minigpt"), importlib.import_module("minigpt.perplexity").score
    verify = importlib.import_module("minigpt.compare").verify
    llama, bert, t5 = ours(LLAMAS[1]), ours(BERTS[0]), ours(T5S[0])
    tokens = torch.tensor([[1, 2, 3]])
    refuses(lambda: score(t5, [1, 2, 3], window=3), "sequence_loss")
    refuses(lambda: score(bert, [1, 2, 3]), "it looks at both sides")
    refuses(lambda: minigpt.generate(bert, [[1, 2]], 3), "it looks at both sides")
    refuses(lambda: bert.hidden(tokens, torch.tensor([[0, 1, 1]])), "pad BERT's rows on the right")
    refuses(lambda: llama(tokens, position_ids=tokens + 21), "position id 24")
    refuses(lambda: verify(bert.half(), BERTS[0].folder), "float64 or float32")
    with torch.autocast("cpu", dtype=torch.float16):
        refuses(lambda: t5(tokens, tokens), "cannot compute in float16")
    refuses(lambda: t5.half()(tokens, tokens), "cannot compute in float16")


@check(
    "texts of the families",
    "generation.beams language_model generation.loop kv_cache models.t5 models.llama",
    "test_generation_families.py::test_greedy_texts_of_unequal_prompts",
)
def _():
    generate = importlib.import_module("minigpt").generate
    for case, model in [*each(LLAMAS[:2]), *each(T5S[:2])]:
        expected = case.expected
        assert generate(model, PROMPTS, 7, stop_tokens=[]) == expected["greedy"]
        assert generate(model, PROMPTS[:2], 7, stop_tokens=[], num_beams=3) == expected["beams"]
        stop = [expected["stop"]]
        for use_cache in (True, False):
            assert generate(model, PROMPTS, 7, stop_tokens=stop, use_cache=use_cache) == expected["stopped"]
    model, ends = ours(LLAMAS[0]), (48, LLAMAS[0].expected["stop"])
    object.__setattr__(model.config, "eos_token_id", ends)
    assert generate(model, PROMPTS, 7) == generate(model, PROMPTS, 7, stop_tokens=ends)
    assert model.end_tokens == set(ends)


@check(
    "gaps", "generation.gaps language_model", "test_families.py::test_gaps_are_filled_with_hugging_faces_probabilities"
)
def _():
    generation = importlib.import_module("minigpt.generation")
    for case, model in each(BERTS):
        model.train()  # there is dropout, and none while a gap is filled
        tokens = case.tokens[0].tolist()
        mask_id = tokens[4]
        gaps = generation.fill_mask(model, tokens, mask_id, n=3)
        assert [gap.position for gap in gaps] == [place for place, token in enumerate(tokens) if token == mask_id]
        for gap in gaps:
            expected = case.expected["logits"][0, gap.position].softmax(-1).topk(3)
            assert [token for token, _ in gap.likely] == expected.indices.tolist()
            close([p for _, p in gap.likely], expected.values, bar=1e-6)
        vectors = generation.sentence_vectors(model, [tokens[:n] for n in (11, 3, 6)])
        close(vectors, case.expected["vectors"])


@check("trace of T5", "trace", "test_equivalence_t5.py::test_hidden_states_and_attention_weights_of_every_layer")
def _():
    trace = importlib.import_module("minigpt.trace").trace
    for case, model in each(T5S):
        seen = trace(model, case.expected["source"], case.tokens, case.expected["source_mask"])
        sides = [
            (seen.cross_attention_weights, case.expected["cross"]),
            (seen.encoder.attention_weights, case.expected["encoder"]),
        ]
        for mine, theirs in sides:
            for weights, expected in zip(mine, theirs, strict=True):
                close(weights, expected)


@check("trace of each layer", "trace", "test_trace_gradients.py::test_a_gradient_says_how_the_loss_changes")
def _():
    trace = importlib.import_module("minigpt.trace").trace_with_gradients
    for case, model in (*each(LLAMAS), *each(BERTS)):
        seen, gradients = trace(model, case.tokens, loss=lambda logits: (logits**2).mean())
        post_norm = hasattr(model, "pooler")
        last, attention, upstream = model.blocks[-1], seen.attention[-1], gradients.attention[-1]
        x = seen.after_attention[-1]
        close(seen.mlp_outputs[-1], last.mlp(x if post_norm else last.mlp_norm(x)))
        x = x + seen.mlp_outputs[-1]
        close(seen.hidden_states[-1], last.mlp_norm(x) if post_norm else x)
        n_kv_head = getattr(model.config, "num_key_value_heads", None) or model.config.num_attention_heads
        assert attention.keys.size(1) == upstream.keys.size(1) == n_kv_head
        values = attention.values.repeat_interleave(attention.heads.size(1) // n_kv_head, dim=1)
        close(attention.heads, attention.weights @ values)
        close(upstream.weights, upstream.heads @ values.transpose(-2, -1))


@check(
    "verify",
    "compare.difference compare.oracle trace",
    "test_verify.py::test_a_wrong_weight_is_found_in_its_layer",
)
def _():
    compare = importlib.import_module("minigpt.compare")
    for case in (LLAMAS[0], BERTS[0], T5S[1]):
        model = ours(case)
        assert all(difference.ok for difference in compare.verify(model, case.folder))
    for weight, wrong, quantity in [
        (model.encoder.blocks[1].mlp.down.weight, 1.001, "encoder hidden states"),
        (model.decoder.blocks[1].mlp.down.weight, torch.nan, "decoder hidden states"),
    ]:
        before = weight.detach().clone()
        with torch.no_grad():
            weight.mul_(wrong)
            found = compare.verify(model, case.folder)
            weight.copy_(before)
        place = compare.first_place(found)
        assert (place.quantity, place.first_layer, place.ok, compare.verdict(found)) == (quantity, 1, False, "bug")


# --- their files -----------------------------------------------------------------------------------------------------


def changed(case: Case, fields: dict | None = None, change=lambda tensors: None):
    """Load a folder after some fields of config.json (None: without it) and some tensors were changed."""
    config = json.loads((case.folder / "config.json").read_text()) | (fields or {})
    tensors = load_file(case.folder / "model.safetensors")
    change(tensors)
    with tempfile.TemporaryDirectory() as folder:
        config = {name: value for name, value in config.items() if value != "absent"}
        Path(folder, "config.json").write_text(json.dumps(config))
        save_file(tensors, Path(folder, "model.safetensors"))
        return importlib.import_module("minigpt").load_model(folder, dtype=torch.float64)


@check(
    "files of Llama",
    "checkpoints.names.llama checkpoints.translate checkpoints.configs",
    "test_checkpoint_families.py::test_what_real_folders_hold_loads_with_their_numbers",
)
def _():
    case, old = LLAMAS[0], {"rope_parameters": "absent", "rope_theta": 100.0}
    kind_first = {"type": "llama3"} | {name: value for name, value in LLAMA3.items() if name != "rope_type"}
    tied = load_file(case.folder / "model.safetensors")["model.embed_tokens.weight"]
    for fields, change in [
        (old | {"rope_scaling": LLAMA3}, lambda tensors: None),
        (old | {"rope_scaling": kind_first}, lambda tensors: tensors.update({"lm_head.weight": tied.clone()})),
        (old | {"rope_scaling": kind_first | LLAMA3}, lambda tensors: None),
        ({"head_dim": 10, "eos_token_id": [1]}, lambda tensors: None),
    ]:
        model = changed(case, fields, change)
        assert (model.config.rope_theta, model.config.eos_token_id) == (100.0, 1)
        with torch.no_grad():
            close(model(case.tokens), case.expected["logits"])
    assert changed(case, {"eos_token_id": [1, 5]}).end_tokens == {1, 5}
    without = {name: value for name, value in LLAMA3.items() if name != "original_max_position_embeddings"}
    parameters = LLAMA3 | {"rope_theta": 100.0}
    for fields, words in [
        (old | {"rope_scaling": without}, "lacks original_max_position_embeddings"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "contradict each other"),
        ({"rope_parameters": parameters | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        ({"rope_theta": 200.0}, "rope_theta"),
        ({"rope_parameters": parameters | {"rope_type": "yarn"}}, "rope_type 'yarn'"),
        ({"tie_word_embeddings": False}, "lm_head.weight is missing"),
    ]:
        refuses(lambda: changed(case, fields), words)  # noqa: B023
    refuses(lambda: changed(case, {}, lambda tensors: tensors.update({"lm_head.weight": -tied})), "differs from")
    reload(case)
    reload(LLAMAS[1])


@check(
    "files of BERT",
    "checkpoints.names.bert checkpoints.translate checkpoints.configs",
    "test_checkpoint_families.py::test_what_real_folders_hold_loads_with_their_numbers",
)
def _():
    case = BERTS[0]

    def of_tensorflow(tensors):
        for name in [name for name in tensors if "LayerNorm" in name]:
            tensors[name.replace(".weight", ".gamma").replace(".bias", ".beta")] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = torch.arange(16)[None]
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()

    def bare(tensors):
        for name in list(tensors):
            tensor = tensors.pop(name)
            if name.startswith("bert."):
                tensors[name.removeprefix("bert.")] = tensor

    def of_lightning(tensors):
        """The model is called net, and its encoder is compiled."""
        for name in list(tensors):
            tensors["net." + name.replace("bert.encoder.", "bert.encoder._orig_mod.")] = tensors.pop(name)

    def beside_a_criterion(tensors):
        of_lightning(tensors)
        tensors["criterion.weight"] = torch.ones(2)

    def another_decoder(tensors):
        tensors["cls.predictions.decoder.weight"] = -tensors["bert.embeddings.word_embeddings.weight"]

    with torch.no_grad():
        close(changed(case, {"tie_word_embeddings": "absent"}, of_tensorflow)(case.tokens), case.expected["logits"])
        model = changed(case, {"model_type": "absent"}, of_lightning)
        close(model(case.tokens), case.expected["logits"])
        model = changed(case, {}, bare)
        hidden = model.hidden(case.tokens, case.mask, case.expected["types"])
        assert model.head is None and model.sentence_head is None
        close(model.pooled(hidden), case.expected["pooled"])
    refuses(lambda: changed(case, {}, beside_a_criterion), "names begin with 'net.'")
    refuses(lambda: changed(case, {"model_type": "absent", "architectures": ["BertModel", "T5Model"]}), "architectures")
    refuses(lambda: changed(case, {"position_embedding_type": "relative_key"}), "position_embedding_type")
    refuses(lambda: changed(case, {"is_decoder": True}), "is_decoder")
    refuses(lambda: changed(case, {}, another_decoder), "differs from")
    reload(case)


@check(
    "files of T5",
    "checkpoints.names.t5 checkpoints.translate checkpoints.configs",
    "test_checkpoint_families.py::test_the_head_of_a_t5_is_what_its_file_says",
)
def _():
    """In files of before transformers 5, tie_word_embeddings alone says whether the head is scaled."""
    older = {"scale_decoder_outputs": "absent", "is_gated_act": "absent", "dense_act_fn": "absent"}
    for case, fields, tied, scaled in [
        (T5S[0], older, True, True),
        (T5S[1], older | {"tie_word_embeddings": False}, False, False),
        (T5S[1], {"feed_forward_proj": "gelu", "dense_act_fn": "gelu_new", "is_gated_act": True}, False, False),
        (T5S[3], older, False, True),
    ]:
        model = changed(case, fields, as_t5s_were)
        assert (model.config.tie_word_embeddings, model.config.scale_decoder_outputs) == (tied, scaled)
        with torch.no_grad():
            close(model(case.expected["source"], case.tokens), case.expected["logits"])
    reload(T5S[1])


def as_t5s_were(tensors):
    """The embedding under another of its names, a bias that nothing reads, and where there is no head, a copy."""
    name = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    tensors[name] = torch.ones(2, 2, dtype=torch.float64)
    embedding = tensors.pop("shared.weight")
    tensors["encoder.embed_tokens.weight"] = embedding
    tensors.setdefault("lm_head.weight", embedding.clone())


def reload(case: Case) -> None:
    """What we save is what we load, and has the names of what transformers saved."""
    minigpt, model = importlib.import_module("minigpt"), ours(case)
    with tempfile.TemporaryDirectory() as folder:
        minigpt.save_model(model, folder)
        assert (
            load_file(Path(folder, "model.safetensors")).keys() == load_file(case.folder / "model.safetensors").keys()
        )
        again = minigpt.load_model(folder, dtype=torch.float64)
        assert again.config == model.config
        for name, parameter in again.named_parameters():
            assert torch.equal(parameter, model.get_parameter(name)), name


@check(
    "what BERT and T5 are trained on",
    "data.corruption train.objectives",
    "test_corruption.py::test_source_and_spans_together_are_the_row",
)
def _():
    corruption = importlib.import_module("minigpt.data.corruption")
    objectives = importlib.import_module("minigpt.train.objectives")
    rows = torch.randint(4, 60, (40, 50), generator=torch.Generator().manual_seed(0))
    bert = objectives.MaskedTokens(60, mask_id=3, begin_id=1, end_id=2, special_ids=(0, 1, 2, 3))
    examples = bert.examples(rows, 3, 7)
    read, labels = examples.inputs["tokens"], examples.labels
    chosen = labels != -100
    assert (read[:, 0] == 1).all() and (read[:, -1] == 2).all() and not chosen[:, [0, -1]].any()
    assert torch.equal(labels[:, 1:-1][chosen[:, 1:-1]], rows[chosen[:, 1:-1]])
    assert torch.equal(read[:, 1:-1][~chosen[:, 1:-1]], rows[~chosen[:, 1:-1]])
    assert (chosen.sum(1) == 8).all() and examples.n_targets == chosen.sum()
    assert 0.7 < (read[chosen] == 3).float().mean() < 0.9
    assert (read[chosen] == labels[chosen]).float().mean() > 0.04  # one in ten stays as it is
    assert not torch.equal(labels, bert.examples(rows, 4, 7).labels)

    t5 = objectives.Spans(sentinels=(99, 98, 97, 96), end_id=1, start_id=0)
    examples = t5.examples(rows, 3, 7)
    source, inputs = examples.inputs["source"], examples.inputs["tokens"]
    assert (inputs[:, 0] == 0).all() and torch.equal(inputs[:, 1:], examples.labels[:, :-1])
    for row, kept, cut in zip(rows.tolist(), source.tolist(), examples.labels.tolist(), strict=True):
        assert kept[-1] == cut[-1] == 1 and cut[0] == 99
        spans, newest = {}, None
        for token in cut[:-1]:
            newest = token if token > 90 else newest
            spans.setdefault(newest, []).extend([] if token > 90 else [token])
        assert [part for token in kept[:-1] for part in (spans[token] if token > 90 else [token])] == row
    assert corruption.IGNORED == -100


@check(
    "the rates of T5's parameters",
    "train.optimizer models.t5 train.loop",
    "test_train_families.py::test_each_parameter_of_t5_has_its_own_rate",
)
def _():
    optimizer = importlib.import_module("minigpt.train.optimizer")
    train = importlib.import_module("minigpt.train")
    objectives = importlib.import_module("minigpt.train.objectives")
    t5 = importlib.import_module("minigpt.models.t5")
    model = t5.T5(t5.T5Config(vocab_size=12, d_model=16, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizer.make_optimizer(model, train.TrainConfig()).param_groups
    found = {names[id(p)]: (g["rate_factor"], g["weight_decay"]) for g in groups for p in g["params"]}
    factors = {"query": 0.5, "token_embedding": 4.0, "relative_bias": 40.0}
    for name, parameter in model.named_parameters():
        factor = factors.get(name.split(".")[-2], 1.0)
        assert found[name] == (factor, 0.1 / factor if parameter.dim() == 2 else 0.0), name
    rates, step = set(), torch.optim.AdamW.step

    def noted(self, *arguments, **settings):
        rates.update(group["lr"] for group in self.param_groups)
        return step(self, *arguments, **settings)

    torch.optim.AdamW.step = noted
    try:
        config = train.TrainConfig(steps=1, batch_size=1, context=8, warmup_steps=0, final_learning_rate=1e-3)
        text = np.arange(40) % 8 + 1
        train.train(model, text, text, config, objective=objectives.Spans((9, 10, 11), end_id=1, start_id=0))
    finally:
        torch.optim.AdamW.step = step
    assert {round(rate / 1e-3, 6) for rate in rates} == {1.0, *factors.values()}


# --- Llama's fast step -----------------------------------------------------------------------------------------------


@check("Llama's fast step", "fast.one_token", "test_one_token_families.py::test_it_is_llamas_step")
def _():
    one_token_step = importlib.import_module("minigpt.fast.one_token").one_token_step
    language_model, models = (
        importlib.import_module("minigpt.language_model"),
        importlib.import_module("minigpt.models"),
    )
    attention = importlib.import_module("minigpt.attention")
    size = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    config = models.LlamaConfig(vocab_size=20, max_position_embeddings=12, initializer_range=0.4, **size)
    torch.manual_seed(0)
    model, tokens = models.Llama(config).double().eval(), torch.randint(20, (2, 8))

    def own(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
        assert q.size(1) == k.size(1)
        return attention.explicit_attention(q, k, v, mask, causal, bias, scale)

    mask = torch.ones_like(tokens)
    mask[1, :2] = 0
    with torch.no_grad():
        for real, attend in ((None, attention.explicit_attention), (mask, own)):
            for block in model.blocks:
                block.attention.attend = attend
            expected, step = model(tokens, real), one_token_step(model, 1)
            past = language_model.Past(model.new_cache(2, 8), real)
            model.read(tokens[:, :4], past)
            for t in range(4, 8):
                close(step(tokens[:, t : t + 1], past), expected[:, t])


@check("T5's fast step", "fast.one_token", "test_one_token_families.py::test_it_is_t5s_step")
def _():
    one_token_step = importlib.import_module("minigpt.fast.one_token").one_token_step
    Past = importlib.import_module("minigpt.language_model").Past
    models = importlib.import_module("minigpt.models")
    size = dict(d_model=16, d_kv=4, d_ff=24, num_layers=1, num_heads=4, scale_decoder_outputs=True)
    torch.manual_seed(0)
    model = models.T5(models.T5Config(vocab_size=20, relative_attention_num_buckets=8, **size)).double().eval()
    torch.nn.init.normal_(model.decoder.relative_bias.weight)
    tokens, sources = torch.randint(20, (2, 8)), torch.randint(20, (2, 5))
    real = torch.ones_like(sources)
    real[0, 3:] = 0
    with torch.no_grad():
        source = model.read_source(sources, real)
        expected, step = model.logits(model.hidden(tokens, source=source)), one_token_step(model, 1)
        past = Past(model.new_cache(2, 8), None, source)
        for t in range(8):
            close(step(tokens[:, t : t + 1], past), expected[:, t])


@check("packed products", "fast.products", "test_packed_products.py::test_the_copy_is_as_new_as_the_matrix")
def _():
    products = importlib.import_module("minigpt.fast.products")
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(400, 300, generator=generator), torch.randn(3, 300, generator=generator)
    bias = weight[:, 0].clone()
    layer = torch.nn.Linear(300, 400)
    with products.packed_products():
        layer(x).sum().backward()
    assert layer.weight.grad is not None
    if not products.can_be_packed(torch.float32):
        return
    multiply = products.product(weight, bias, 1000)
    close(multiply(x), F.linear(x, weight, bias), bar=1e-3)
    weight.mul_(2)
    close(multiply(x), F.linear(x, weight, bias), bar=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert multiply(x).dtype == torch.bfloat16


@check("products of one row", "fast.products", "test_one_token.py::test_a_large_matrix_is_shared_by_the_threads")
def _():
    products = importlib.import_module("minigpt.fast.products")
    weight, bias, x = torch.randn(400, 300).double(), torch.randn(400).double(), torch.randn(2, 300).double()
    threads, torch.get_num_threads = torch.get_num_threads, lambda: 2
    try:
        for n in (1, 2):
            close(products.product(weight, bias)(x[:n]), F.linear(x[:n], weight, bias))
    finally:
        torch.get_num_threads = threads
    layers = [torch.nn.Linear(6, n).double() for n in (4, 2)]
    multiply = products.joint_product(layers, 100)
    with torch.no_grad():
        for _ in range(2):
            for found, layer in zip(multiply(x[:, :6]), layers, strict=True):
                close(found, layer(x[:, :6]))
            layers[1].weight.mul_(2)
