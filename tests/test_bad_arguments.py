"""Bad arguments, function by function: each is refused before any work, in words that name the argument and its value.

What a function's own test file already refuses is not repeated here.
"""

import importlib
import inspect
import math
import re
from pathlib import Path

import bad_arguments_of_families
import numpy as np
import pytest
import torch

from minigpt import GPT2, GPT2Config, KVCache, Tokenizer, generate, load_model, load_tokenizer, save_model, stream
from minigpt._checks import check_ids
from minigpt._files import decode_text, read_text
from minigpt.attention import (
    MultiHeadAttention,
    attention_weights,
    causal_mask,
    explicit_attention,
    padding_mask,
    sdpa_arguments,
    sdpa_attention,
)
from minigpt.checkpoints import CheckpointError, find_checkpoint
from minigpt.checkpoints.configs import read_config
from minigpt.checkpoints.names import NAMES
from minigpt.checkpoints.translate import from_hugging_face, plain_names, to_hugging_face
from minigpt.compare import verify
from minigpt.data import (
    batch_at,
    check_tokens,
    dataset_text,
    encode_documents,
    hold_out_tails,
    module_documentation,
    read_token_file,
    write_token_file,
)
from minigpt.fast import linear_cross_entropy
from minigpt.generation import generate_details, steps, stream_text
from minigpt.generation.beams import beam_search
from minigpt.generation.drafts import speculate
from minigpt.generation.loop import log_probabilities
from minigpt.generation.processors import (
    apply_own,
    apply_temperature,
    forbid_repeated_ngrams,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    most_likely,
    penalize_repetition,
    sampling_probabilities,
    suppress_tokens,
)
from minigpt.generation.settings import Settings, check_prompts, row_seeds
from minigpt.generation.text import check_stop
from minigpt.kv_cache import LayerCache
from minigpt.loss import cross_entropy, log_softmax, next_token_loss, next_token_targets
from minigpt.masks import prefix_mask, sliding_window_mask
from minigpt.perplexity import Scores, score, sliding_windows, windows_after_prefix
from minigpt.positions import alibi_bias, alibi_slopes, segment_mask
from minigpt.tiled_attention import tiled_attention
from minigpt.trace import trace, trace_with_gradients
from minigpt.train import TrainConfig, check_lengths, evaluate, induction_gap, train

META = torch.device("meta")  # stands for a second device: tensors on it have a shape and no data
NAN, INF = math.nan, math.inf
SHAPE = dict(vocab_size=10, n_positions=6, n_embd=8, n_layer=2, n_head=2, bos_token_id=9, eos_token_id=9)
TEXT = np.arange(60) % 10


def small_model(**changes) -> GPT2:
    return GPT2(GPT2Config(**SHAPE | changes)).eval()


class World:
    """The objects that the calls below use. None of them may change, and no block of the model may run."""

    def __init__(self):
        self.model = small_model()
        self.cache = self.model.new_cache(batch_size=1, capacity=4)
        self.model(ids([1, 2]), cache=self.cache)
        for block in self.model.blocks:
            block.register_forward_pre_hook(lambda *_: pytest.fail("work was done"))
        self.tokenizer = Tokenizer.train(["some text"], 258)
        self.scores = Scores(np.array([NAN, 1.0]), [])

    def state(self) -> list:
        """Everything a refused call must leave as it was, the files in the current folder included."""
        tensors = [*self.model.parameters(), self.cache.keys, self.cache.values]
        files = {file: file.is_file() and file.read_bytes() for file in Path().rglob("*")}
        return [*(tensor.tolist() for tensor in tensors), self.cache.length, self.model.training, files]


def ids(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.long)


def make_files() -> None:
    """Write into the current folder: a checkpoint, and files named like token files, most of them broken."""
    save_model(small_model(), "model")
    (Path() / "empty.npy").touch()
    Path("junk.npy").write_bytes(b"junk" * 9)
    np.save("floats.npy", np.arange(3.0))
    np.save("square.npy", np.ones((2, 2), dtype=int))
    np.save("objects.npy", np.array([None]), allow_pickle=True)
    np.savez("several.npz", a=TEXT)
    np.save("whole.npy", TEXT)
    Path("half.npy").write_bytes(Path("whole.npy").read_bytes()[:-100])


# --- the table: function -> (call, words of the error[, its type]) ---------------------------------------------------
# A call gets the function and a World.


def with_usual(*fixed, **usual):
    """Calls of one function that differ in a few arguments: with_usual(a=1)(b=2) calls f(a=1, b=2)."""
    return lambda **changes: of(*fixed, **usual | changes)


def of(*arguments, **named):
    """One call. Functions like a_model stand for an object of the World."""
    return lambda f, w: f(*(part(w) if inspect.isfunction(part) else part for part in arguments), **named)


def attending(**changes):
    arguments = dict(q=torch.zeros(1, 2, 3, 4), k=torch.zeros(1, 2, 5, 4), v=torch.zeros(1, 2, 5, 6)) | changes

    def call(f, w):
        return f(**{name: value for name, value in arguments.items() if name != "v" or f is not attention_weights})

    return call


def a_model(w):
    return w.model


def a_layer(w):
    return w.model.blocks[0].attention


def a_cache(w):
    return w.cache


def a_layers_cache(w):
    return w.cache.layers[1]


def bools(*shape, device=None):
    return torch.ones(shape, dtype=torch.bool, device=device)


OF_WEIGHTS = [
    (attending(k=torch.zeros(1, 2, 5, 3), v=torch.zeros(1, 2, 5, 6)), r"q \(1, 2, 3, 4\), k \(1, 2, 5, 3\)"),
    (attending(k=torch.zeros(1, 3, 5, 4), v=torch.zeros(1, 3, 5, 6)), r"k \(1, 3, 5, 4\)"),
    (attending(q=torch.zeros(1, 4, 3, 4), k=torch.zeros(1, 3, 5, 4)), r"q \(1, 4, 3, 4\), k \(1, 3, 5, 4\)"),
    (attending(k=torch.zeros(1, 0, 5, 4), v=torch.zeros(1, 0, 5, 6)), r"k \(1, 0, 5, 4\)"),
    (attending(k=torch.zeros(2, 5, 4), v=torch.zeros(2, 5, 6)), r"k \(2, 5, 4\)"),
    (attending(q=torch.zeros(2, 2, 3, 4)), r"q \(2, 2, 3, 4\), k \(1, 2, 5, 4\)"),
    (attending(q=torch.zeros(2, 3, 4)), r"q \(2, 3, 4\)"),
    (attending(k=torch.zeros(1, 2, 5, 4, device=META)), "k is on meta, q on cpu"),
    (attending(q=torch.zeros(1, 2, 6, 4), causal=True), "n_query=6, n_key=5"),
    (attending(mask=bools(3, 4)), r"mask \(3, 4\) does not broadcast to the scores, \(1, 2, 3, 5\)"),
    (attending(mask=bools(2, 1, 1, 5)), r"mask \(2, 1, 1, 5\)"),
    (attending(mask=bools(1, 1, 1, 3, 5)), r"mask \(1, 1, 1, 3, 5\)"),
    (attending(mask=bools(3, 5, device=META)), "mask is on meta, q on cpu"),
    (attending(mask=torch.ones(3, 5, dtype=torch.long)), "mask must be a bool tensor.*int64"),
    (attending(bias=torch.zeros(3, 4)), r"bias \(3, 4\) does not broadcast to the scores, \(1, 2, 3, 5\)"),
    (attending(bias=torch.zeros(2, 2, 3, 5)), r"bias \(2, 2, 3, 5\)"),
    (attending(bias=torch.zeros(3, 5, device=META)), "bias is on meta, q on cpu"),
    (attending(bias=bools(3, 5)), "bias.*floating point, got torch.bool"),  # torch's kernel would treat it as a mask
    (attending(bias=torch.zeros(3, 5, dtype=torch.long)), "bias.*floating point, got torch.int64"),
    # torch's causal kernel masks before it scales: at 0 and below, -inf becomes nan.
    *[(attending(scale=bad), f"scale must be positive, got {bad}") for bad in (0.0, -1.0, NAN, INF)],
]
OF_ATTENTION = [
    *OF_WEIGHTS,
    (attending(v=torch.zeros(1, 2, 4, 6)), r"k \(1, 2, 5, 4\), v \(1, 2, 4, 6\)"),
    (attending(v=torch.zeros(2, 2, 5, 6)), r"v \(2, 2, 5, 6\)"),
    (attending(v=torch.zeros(1, 1, 5, 6)), r"v \(1, 1, 5, 6\)"),
    (attending(v=torch.zeros(1, 2, 5, 6, device=META)), "v is on meta, q on cpu"),
]

multi_head = with_usual(d_model=8, n_head=2)
asking = with_usual(a_layer, x=torch.zeros(1, 3, 8))
classify = with_usual(logits=torch.zeros(2, 5), targets=torch.tensor([0, 4]))
headed = with_usual(hidden=torch.zeros(2, 3), weight=torch.zeros(5, 3), targets=torch.tensor([0, 4]))
predict = with_usual(logits=torch.zeros(2, 4, 5), labels=torch.zeros(2, 4, dtype=torch.long))
config = with_usual(**SHAPE)
read = with_usual(a_model, tokens=ids([1, 2]))
new_cache = with_usual(n_layer=2, batch_size=2, n_head=2, capacity=4, d_head=3)
KEYS = torch.zeros(1, 2, 2, 4)  # fits the world's cache
append = with_usual(a_layers_cache, k=KEYS, v=KEYS)
sample = with_usual(logits=torch.zeros(2, 10))
continue_ = with_usual(a_model, prompts=[[1]], max_new_tokens=3)
draw = with_usual(a_model, prompts=[[1]], max_new_tokens=3, do_sample=True)
ahead = with_usual(a_model, prompt=[1], max_new_tokens=3)
windows = with_usual(n_tokens=10, window=4, stride=2)
after_prefix = with_usual(n_tokens=10, window=4, stride=2, n_prefix=1)
measure = with_usual(a_model, tokens=[1, 2, 3] * 6)
batches = with_usual(step=0, tokens=TEXT, batch_size=2, context=5)
settings = with_usual(steps=2, batch_size=2, context=4, warmup_steps=1, evaluate_every=1)
judge = with_usual(a_model, tokens=TEXT, context=4)
repeat = with_usual(a_model, vocab_size=10, length=3)


def reading_on(**changes):
    return lambda f, w: f(w.model, **dict(tokens=ids([3]), cache=w.cache) | changes)


def cache_of(**changes):
    """Reading with a cache that was made for another model."""
    return lambda f, w: f(w.model, ids([1, 2]), cache=small_model(**changes).new_cache(1, 4))


def training(**changes):
    def call(f, w):
        few = TrainConfig(steps=1, batch_size=2, context=4, warmup_steps=0, autocast=False)
        return f(w.model, **dict(tokens=TEXT, held_out=TEXT, config=few) | changes)

    return call


def from_checkpoint(n_layer=2, without=()):
    def call(f, w):
        shapes = {name: tuple(parameter.shape) for name, parameter in w.model.named_parameters()}
        tensors = to_hugging_face(w.model.state_dict(), NAMES["gpt2"], w.model.config)
        tensors = {name: tensor for name, tensor in tensors.items() if name not in without}
        return f(tensors, NAMES["gpt2"], shapes, GPT2Config(**SHAPE | {"n_layer": n_layer}))

    return call


def broken_model(value):
    model = small_model()
    with torch.no_grad():
        model.final_norm.bias[3] = value
    return model


OF_IDS = "ids must be a list of token ids"
NO_SIZE = [0, -1, 2.5, "3", None, NAN]
NO_LIST = [None, "ab", 5, np.array(5), torch.tensor(5)]
NO_TEXT = [None, 5, ["b"], b"b"]


def shown(value) -> str:
    return re.escape(repr(value))


def not_lists(call, what: str):
    """Rows for each thing that is no list: call(bad) is the call, what says how the error begins."""
    return [(call(bad), f"{what}, got {shown(bad)}") for bad in NO_LIST]


CASES = {
    # attention.py
    causal_mask: [(of(n_query=-2, n_key=-2), "n_query=-2, n_key=-2")],
    sliding_window_mask: [
        (of(3, 2, 1), "n_query=3, n_key=2"),
        *[(of(2, 3, bad), f"window must be an integer of at least 1, got {bad}") for bad in (0, 1.5, None)],
        *[(of(2, 3, 1, bad), f"n_sink must be an integer of at least 0, got {bad}") for bad in (-1, True)],
    ],
    prefix_mask: [
        (of(3, 2, 1), "n_query=3, n_key=2"),
        *[(of(2, 3, bad), f"n_prefix must be an integer from 0 to 3, got {bad}") for bad in (-1, 4, 0.5)],
    ],
    alibi_slopes: [(of(bad), f"n_head must be an integer of at least 1, got {bad}") for bad in (0, 2.0)],
    alibi_bias: [(of(0, torch.arange(2), torch.arange(2)), "n_head must be an integer of at least 1, got 0")],
    tiled_attention: OF_ATTENTION,
    segment_mask: [
        (of(torch.zeros(2)), r"segment_ids must be integers of shape \(batch, tokens\), got torch.float32 \(2,\)"),
        (of(torch.zeros(2, 3)), "segment_ids must be integers .* torch.float32"),
    ],
    padding_mask: [
        (of(torch.tensor([[NAN, 1.0]])), "attention_mask.*0 and 1.*nan"),
        (of(torch.tensor([[-INF, 0.0]])), "attention_mask.*0 and 1.*-inf"),  # a mask that is added to scores
        (of(torch.ones(1, 1, 2, 2)), r"attention_mask.*\(1, 1, 2, 2\)"),
    ],
    attention_weights: OF_WEIGHTS,
    explicit_attention: OF_ATTENTION,
    sdpa_attention: OF_ATTENTION,
    sdpa_arguments: OF_ATTENTION,
    MultiHeadAttention: [
        *[
            (multi_head(**{name: bad}), f"{name} must be an integer of at least 1, got {bad!r}")
            for name in ("d_model", "n_head", "d_head", "n_kv_head")
            for bad in (0, -1, 2.5, "3", True)
        ],
        *[(multi_head(dropout=bad), f"dropout must be.*below 1, got {bad}") for bad in (-0.1, 1.0, NAN)],
        (multi_head(attend="sdpa"), "attend must be a function.*'sdpa'"),
    ],
    MultiHeadAttention.forward: [
        (asking(x=torch.zeros(1, 3, 7)), r"x must have shape \(B, tokens, 8\), got \(1, 3, 7\)"),
        (asking(x=torch.zeros(3, 8)), r"x must have shape .*, got \(3, 8\)"),
        (asking(x=torch.zeros(1, 1, 3, 8)), r"x must have shape .*, got \(1, 1, 3, 8\)"),
        (asking(source=torch.zeros(1, 4, 9)), r"source must have shape \(B, tokens, 8\), got \(1, 4, 9\)"),
        (asking(source=torch.zeros(2, 4, 8)), r"q \(1, 2, 3, 4\), k \(2, 2, 4, 4\)"),
        (asking(mask=bools(3, 4)), r"mask \(3, 4\)"),
        (lambda f, w: f(a_layer(w), torch.zeros(2, 1, 8), cache=w.cache.layers[0]), r"k must be .*got \(2, 2, 1, 4\)"),
    ],
    # loss.py
    log_softmax: [
        (of(torch.zeros(2, 5, dtype=torch.long)), r"logits must be floating point.*int64 \(2, 5\)"),
        (of(bools(2, 5)), "logits must be floating point.*bool"),
        (of(torch.zeros(2, 0)), r"logits.*\(2, 0\)"),
        (of(torch.tensor(1.0)), r"logits.*\(\)"),
    ],
    cross_entropy: [
        (classify(logits=torch.zeros(2, 5, dtype=torch.long)), "logits must be floating point.*int64"),
        (
            classify(logits=torch.zeros(2, 0), targets=torch.tensor([-100, -100])),
            "logits must be floating point scores",
        ),
        (classify(logits=torch.zeros(2, 5, device=META)), "targets are on cpu, logits on meta"),
        (classify(targets=torch.tensor([0, 4], device=META)), "targets are on meta, logits on cpu"),
        (classify(targets=torch.tensor([0, 4], dtype=torch.int32)), "targets must be int64.*int32"),
        (classify(targets=torch.zeros(2, 5)), r"need targets \(2,\), got \(2, 5\)"),  # one-hot, or probabilities
        *[(classify(ignore_index=bad), f"ignore_index must be an integer, got {bad}") for bad in (None, 0.5, NAN)],
        (classify(reduction=None), "reduction must be.*None"),
        *[
            (classify(label_smoothing=bad), f"label_smoothing must be .* at most 1, got {bad}")
            for bad in (-0.1, NAN, INF)
        ],
    ],
    linear_cross_entropy: [
        (headed(hidden=torch.zeros(2, 4)), r"got \(2, 4\)"),
        (headed(weight=torch.zeros(5)), r"weight \(V, C\).*got .*\(5,\)"),
        (headed(weight=torch.zeros(5, 3).double()), "float64"),
        (headed(weight=torch.zeros(5, 3, device=META)), "on meta"),
        (headed(hidden=torch.zeros(2, 3).long(), weight=torch.zeros(5, 3).long()), "int64"),
        (headed(targets=torch.tensor([0])), r"\(1,\)"),
        (headed(targets=torch.tensor([0, 5])), r"target 5 at position \(1,\) is outside 0..4"),
        (headed(targets=torch.tensor([0, 4], dtype=torch.int32)), "targets must be int64.*int32"),
        (headed(ignore_index=None), "ignore_index must be an integer, got None"),
        (headed(reduction="avg"), "reduction must be.*'avg'"),
        (headed(num_items=0), "num_items must be an integer of at least 1, got 0"),
        (headed(num_items=2, reduction="sum"), "num_items=2 needs reduction"),
        *[(headed(chunk_size=bad), f"chunk_size must be an integer of at least 1, got {bad}") for bad in (0, -1, 1.5)],
    ],
    next_token_targets: [
        (of(torch.zeros(2, 4).long(), torch.ones(4, 2)), r"attention_mask \(4, 2\).*\(2, 4\)"),
        (of(torch.zeros(2, 4).long(), torch.full((2, 4), 2)), "attention_mask may hold only 0 and 1"),
    ],
    next_token_loss: [
        (predict(labels=torch.zeros(2, 4)), "int64.*float32"),
        (predict(labels=torch.zeros(2, 4, dtype=torch.long, device=META)), "on meta, logits on cpu"),
        (predict(attention_mask=torch.ones(4, 2)), r"attention_mask \(4, 2\).*\(2, 4\)"),
        (predict(attention_mask=torch.ones(2, 4, device=META)), "attention_mask .* on meta .* on cpu"),
        *[
            (predict(attention_mask=torch.full((2, 4), bad)), f"attention_mask may hold only 0 and 1, got .{bad}")
            for bad in (2, 0.5, -1, NAN, -INF)
        ],
        (predict(reduction="avg"), "reduction must be.*'avg'"),
        *[(predict(num_items=bad), f"num_items must be an integer of at least 1, got {bad}") for bad in (0.5, -2, NAN)],
    ],
    # models/gpt2.py
    GPT2Config: [
        *[(config(n_layer=bad), f"n_layer must be an integer of at least 1, got {bad!r}") for bad in (*NO_SIZE, True)],
        (config(n_inner=0), "n_inner must be an integer of at least 1, got 0"),
        *[(config(resid_pdrop=bad), f"resid_pdrop .* below 1, got {bad!r}") for bad in (-0.1, NAN, "0.1", None)],
        *[(config(layer_norm_epsilon=bad), f"layer_norm_epsilon .*{bad!r}") for bad in (NAN, INF, "1e-5", None)],
        *[(config(initializer_range=bad), f"initializer_range .* above 0, got {bad}") for bad in (0, -1.0, INF)],
        (config(activation_function=None), "activation_function must be one of gelu_new.*None"),
        *[(config(tie_word_embeddings=bad), f"tie_word_embeddings .*got {bad!r}") for bad in ("false", 0, None)],
        (config(scale_attn_weights="no"), "scale_attn_weights must be True or False, got 'no'"),
        (config(scale_attn_by_inverse_layer_idx=1), "scale_attn_by_inverse_layer_idx .* got 1"),
        *[(config(eos_token_id=bad), "eos_token_id must be an integer, got") for bad in ("x", 1.5, [], [9, "x"])],
        (config(bos_token_id="x"), "bos_token_id must be an integer, got 'x'"),
        (config(n_heads=2), "n_heads", TypeError),
    ],
    GPT2Config.preset: [
        (of(None), "unknown preset None; there are .*gpt2-xl"),
        (of("gpt2", n_head=5), "n_embd=768, n_head=5"),
        (of("gpt2", n_heads=5), "n_heads", TypeError),
    ],
    GPT2: [(of(GPT2Config(**SHAPE), attention=bad), f"explicit, sdpa, tiled; got {bad}") for bad in (None, 3)],
    GPT2.hidden: [
        (read(tokens=[[1, 2]]), "tokens must be a tensor on cpu.*got list"),
        (read(tokens=np.array([[1, 2]])), "tokens must be a tensor on cpu.*got"),
        (read(tokens=None), "tokens must be a tensor on cpu.*got NoneType"),
        (read(tokens=ids([1, 2]).to(META)), "tokens must be a tensor on cpu.*got meta"),
        *[
            (read(tokens=ids([1, 0]).to(bad)), f"tokens must be int64 ids, got {bad}")
            for bad in (torch.int32, torch.bool)
        ],
        (read(tokens=torch.tensor([[NAN]])), "tokens must be int64 ids, got torch.float32"),
        (read(tokens=torch.tensor(1)), r"tokens must have shape.*got \(\)"),
        (read(tokens=ids([1, 2])[None]), r"tokens must have shape.*got \(1, 1, 2\)"),
        (read(attention_mask=[[1, 1]]), "attention_mask must be a tensor on cpu.*got list"),
        (read(attention_mask=torch.ones(1, 2, device=META)), "attention_mask must be a tensor on cpu.*got meta"),
        (read(attention_mask=torch.ones(2)), r"attention_mask .*\(1, 2\), got \(2,\)"),
        *[(read(attention_mask=torch.tensor([[bad, 1]])), f"0 and 1, got .*{bad}") for bad in (3, 0.5, NAN, INF)],
        (read(position_ids=[[0, 1]]), "position_ids must be a tensor on cpu.*got list"),
        (read(position_ids=ids([0, 1]).to(META)), "position_ids must be a tensor on cpu.*got meta"),
        *[
            (read(position_ids=ids([0, 1]).to(bad)), f"position_ids must be int64 ids, got {bad}")
            for bad in (torch.float32, torch.int32, torch.bool)
        ],
        (read(position_ids=ids([-1, 0])), r"position id -1 at row 0, column 0 is outside 0..5"),
        (read(position_ids=torch.tensor([0, 1])), r"position_ids \(2,\) must have the shape of tokens, \(1, 2\)"),
        (
            reading_on(attention_mask=torch.ones(1, 1)),
            r"attention_mask must cover all keys, shape \(1, 3\), got \(1, 1\)",
        ),
        (reading_on(attention_mask=ids([1, 5, 1])), "0 and 1, got .*5"),
        (reading_on(position_ids=ids([6])), "position id 6"),
        (reading_on(tokens=ids([3, 4, 5])), r"1 rows of 4 tokens, 2 filled, cannot take tokens \(1, 3\)"),
        (cache_of(n_layer=1), r"cache was made for .*\(1, 2, 4, .*the model has \(2, 2, 4,"),
        (cache_of(n_layer=3), r"cache was made for .*\(3, 2, 4,"),
        (cache_of(n_head=1), r"cache was made for .*\(2, 1, 8,"),
        (cache_of(n_embd=16), r"cache was made for .*\(2, 2, 8,"),
        (lambda f, w: f(w.model, ids([1]), cache=KVCache(2, 1, 2, 4, 4, dtype=torch.float64)), "cache .*float64"),
        (lambda f, w: f(w.model, ids([1]), cache=KVCache(2, 1, 2, 4, 4, device=META)), "cache .*type='meta'"),
        (lambda f, w: f(w.model, ids([0] * 7), cache=w.model.new_cache(1, 9)), "position id 6 .*n_positions=6"),
    ],
    GPT2.forward: [(read(tokens=[[1, 2]]), "tokens must be a tensor")],
    GPT2.new_cache: [
        *[(of(a_model, 1, bad), f"capacity .* at least 1, got {bad!r}") for bad in NO_SIZE],
        (of(a_model, 0, 4), "batch_size .* at least 1, got 0"),
    ],
    check_ids: [
        (of("pet", ids([1, 2], [3, 9]), 9, "n_pets"), r"pet 9 at row 1, column 1 is outside 0..8 \(n_pets=9\)")
    ],
    # kv_cache.py
    KVCache: [
        (new_cache(**{name: bad}), f"{name} of a cache must be an integer of at least 1, got {bad!r}")
        for name in ("n_layer", "batch_size", "n_head", "capacity", "d_head")
        for bad in NO_SIZE
    ],
    LayerCache.append: [
        (append(k=KEYS[:, :1]), r"k must be \(1, 2, 2, 4\) .*got \(1, 1, 2, 4\)"),  # these would broadcast
        (append(k=KEYS[..., :1]), r"k must be .*got \(1, 2, 2, 1\)"),
        (append(v=KEYS[:, :, :1]), r"v must be \(1, 2, 2, 4\) .*got \(1, 2, 1, 4\)"),
        (append(v=torch.zeros(2, 2, 2, 4)), r"v must be .*got \(2, 2, 2, 4\)"),
        (append(v=torch.zeros(1, 3, 2, 4)), r"v must be .*got \(1, 3, 2, 4\)"),
        (append(k=KEYS[0], v=KEYS[0]), r"k must be .*got \(2, 2, 4\)"),
        (append(k=KEYS[0, 0]), r"k must be .*got \(2, 4\)"),
        (append(k=KEYS.to(META)), "k must be .* on cpu .* on meta"),
        (append(v=KEYS.to(META)), "v must be .* on cpu .* on meta"),
        (append(k=torch.zeros(1, 2, 3, 4), v=torch.zeros(1, 2, 3, 4)), r"2 \+ 3 tokens exceed its capacity 4"),
    ],
    KVCache.select: [
        (of(a_cache, bad), "rows must be a list of indices in 0..0, got")
        for bad in ([1], [-1], [], [0.0], [NAN], [True], [0, False], 0, [[0]], None, "0", torch.zeros(0).long())
    ],
    KVCache.advance: [
        *[
            (of(a_cache, bad), f"n must be an integer of at least 0, got {bad!r}")
            for bad in (-1, 1.5, NAN, "1", None, True)
        ],
        (of(a_cache, 3), r"cache is full: 2 \+ 3 tokens exceed its capacity 4"),
    ],
    KVCache.truncate: [(of(a_cache, bad), f"length 2 to {bad!r}") for bad in (-1, 3, 1.5, NAN, "1", None, True)],
    # generation/processors.py
    penalize_repetition: [
        (
            sample(texts=[[1], [2]], penalty=bad),
            f"repetition_penalty must be .* at most 1000, got {bad}",
        )
        for bad in (0, -1.5, NAN, INF)
    ]
    + not_lists(lambda bad: sample(texts=bad, penalty=2.0), "texts must be a list of lists of token ids")
    + not_lists(lambda bad: sample(texts=[[1], bad], penalty=2.0), "text must be a list of integer token ids"),
    forbid_repeated_ngrams: [
        (sample(texts=[[1], [2]], n=bad), f"no_repeat_ngram_size must be an integer of at least 1, got {bad!r}")
        for bad in NO_SIZE
    ]
    + not_lists(lambda bad: sample(texts=bad, n=2), "texts must be a list of lists of token ids")
    + not_lists(lambda bad: sample(texts=[[1], bad], n=2), "text must be a list of integer token ids"),
    apply_own: [
        (
            lambda f, w, bad=bad: f(torch.zeros(1, 3), [[0]], [lambda logits, texts: logits, lambda *_: bad]),
            r"processors\[1\] must return logits, torch.float32 \(1, 3\) on cpu; it returned",
        )
        for bad in (None, [[0.0] * 3], torch.zeros(3), torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, 4))
    ],
    apply_temperature: [(sample(temperature=bad), f"temperature .* got {bad}") for bad in (0, -1.0, NAN, INF, 1e-40)],
    suppress_tokens: [
        (lambda f, w, bad=bad: f(torch.zeros(1, 9), bad), "suppress_tokens must be a list of integer token ids")
        for bad in ([0, NAN], [0, True], [0, 1.0], "12", 5, None)
    ],
    keep_top_k: [(sample(k=bad), f"top_k must be an integer of at least 1, got {bad!r}") for bad in (*NO_SIZE, 2.0)],
    keep_top_p: [(sample(p=bad), f"top_p .* at most 1, got {bad}") for bad in (0, -0.1, 1.5, NAN)],
    keep_min_p: [(sample(p=bad), f"min_p must be at least 0 and at most 1, got {bad}") for bad in (-0.1, 1.5, NAN)],
    sampling_probabilities: [
        *[(sample(temperature=bad), f"temperature .* got {bad}") for bad in (0, -1.0, NAN, 1e-40)],
        (sample(top_k=0), "top_k .* got 0"),
        (sample(top_p=0.0), "top_p .* got 0.0"),
        (sample(min_p=1.5), "min_p .* got 1.5"),
    ],
    most_likely: [(sample(n=bad), f"n must be an integer of at least 1, got {bad!r}") for bad in NO_SIZE],
    # generation/
    log_probabilities: [(of(torch.tensor([[1.0, bad, 2.0]])), "not finite", FloatingPointError) for bad in (NAN, INF)],
    beam_search: [
        (lambda f, w: next(f(w.model, [99], 3, 2)), "token id 99"),
        (lambda f, w: next(f(w.model, [1, True], 3, 2)), "prompt must be a list of integer token ids"),
        (lambda f, w: next(f(w.model, [1], True, 2)), "max_new_tokens must be an integer of at least 0, got True"),
        (lambda f, w: next(f(w.model, [1], 3, 2.0)), "num_beams must be an integer of at least 1, got 2.0"),
        (
            lambda f, w: next(f(w.model, [1], 3, 2, min_new_tokens=True)),
            "min_new_tokens must be .* at least 0, got True",
        ),
        *not_lists(lambda bad: lambda f, w: next(f(w.model, bad, 3, 2)), "prompt must be a list of integer token ids"),
    ],
    speculate: [
        *[(ahead(max_ngram=bad), f"max_ngram must be an integer of at least 1, got {bad!r}") for bad in NO_SIZE],
        *[(ahead(draft_length=bad), f"draft_length must be an integer of at least 1, got {bad!r}") for bad in NO_SIZE],
        (ahead(prompt=[[1]]), "lists of token ids"),
        *[(ahead(prompt=bad), f"lists of token ids, got {shown(bad)} as prompt 0") for bad in NO_LIST],
        (ahead(prompt=[]), "prompt 0 is empty"),
        (ahead(prompt=[1, 10]), "token id 10 of prompt 0, position 1"),
        (ahead(max_new_tokens=1.5), "max_new_tokens .*1.5"),
        (ahead(stop_tokens=[10]), "stop_tokens .*10"),
    ],
    Settings: [
        (of(min_p=0.1), "need do_sample=True"),
        *[(of(num_beams=bad), f"num_beams must be an integer of at least 1, got {bad!r}") for bad in (*NO_SIZE, True)],
        *[(of(no_repeat_ngram_size=bad), f"no_repeat_ngram_size .*got {bad!r}") for bad in (-1, 1.5, None, NAN, True)],
        *[(of(repetition_penalty=bad), f"repetition_penalty .*got {bad}") for bad in (0, -1, NAN, INF)],
        *[(of(num_beams=2, early_stopping=bad), f"early_stopping .*got {bad!r}") for bad in ("maybe", None, 2, 1)],
        *[(of(num_beams=2, length_penalty=bad), f"length_penalty .*got {bad}") for bad in (NAN, INF, -1e3)],
        (of(length_penalty=2.0), "length_penalty and early_stopping need num_beams above 1"),
        (of(early_stopping="never"), "length_penalty and early_stopping need num_beams above 1"),
        (of(num_beams=2, do_sample=True), "num_beams=2 .*do_sample=True"),
        (of(do_sample=True, top_k=True), "top_k .*True"),
        (of(beams=3), "beams", TypeError),
        *[(of(min_new_tokens=bad), f"min_new_tokens .* at least 0, got {bad!r}") for bad in (-1, 1.5, None, True)],
        *[
            (of(do_sample=True, num_return_sequences=bad), f"num_return_sequences .* at least 1, got {bad!r}")
            for bad in (*NO_SIZE, True)
        ],
        (of(num_return_sequences=2), "num_return_sequences=2 needs .*: greedy decoding has one answer"),
        (of(num_return_sequences=3, num_beams=2), "num_return_sequences=3 needs .* 3 beams: num_beams=2 is fewer"),
        *not_lists(lambda bad: of(processors=bad), r"processors must be a list of functions .*logits"),
        *[(of(processors=[abs, bad]), "processors must be .* as function 1") for bad in (None, "abs", 3)],
    ],
    Settings.stopping: [
        *[
            (lambda f, w, bad=bad: f(Settings(stop_tokens=bad), w.model, 3), "stop_tokens must be ids in 0..9")
            for bad in ([10], [-1], [3, 99], [3, True], "3", 3, [3, None])
        ],
        *[
            (lambda f, w, bad=bad: f(Settings(), w.model, bad), f"max_new_tokens .* at least 0, got {bad!r}")
            for bad in (-1, 1.5, NAN, "3", None, True)
        ],
        (
            lambda f, w: f(Settings(min_new_tokens=4), w.model, 3),
            "min_new_tokens=4 is above max_new_tokens=3",
        ),
        (lambda f, w: f(Settings(suppress_tokens=range(10)), w.model, 3), "suppress_tokens are all 10 of the vocab"),
        (
            lambda f, w: f(Settings(suppress_tokens=range(9), min_new_tokens=1), w.model, 3),  # 9 ends a text
            "no token can be chosen: suppress_tokens and the stop tokens are all 10",
        ),
    ],
    row_seeds: [
        *[(of([[1], [2]], bad), "seed must be .* one for each answer, got") for bad in ([1], [1, 2, 3], [])],
        *[(of([[1], [2]], bad), "seed must be") for bad in (1.5, NAN, 2**63, [1, 2**63], [1, 1.5], [1, None])],
    ],
    check_prompts: [
        (lambda f, w: f([], w.model), "prompts is empty"),
        *not_lists(lambda bad: lambda f, w: f(bad, w.model), "prompts must be a list of lists of token ids"),
        (lambda f, w: f([[1], []], w.model), "prompt 1 is empty"),
        (lambda f, w: f([[1] * 7], w.model), "prompt 0 has 7 tokens, the context holds 6"),
    ],
    generate_details: [
        (continue_(num_beams=0), "num_beams .*0"),
        *not_lists(lambda bad: continue_(prompts=bad), "prompts must be a list of lists of token ids"),
        (continue_(prompts=[[10]]), "token id 10 of prompt 0"),
        (continue_(temperature=2.0), "do_sample=True"),
        (continue_(beams=2), "beams", TypeError),
    ],
    steps: [  # the error comes at the call, not at the first step
        (continue_(num_beams=2), "num_beams=2 cannot be streamed"),
        *not_lists(lambda bad: continue_(prompts=bad), "prompts must be a list of lists of token ids"),
        (continue_(prompts=[]), "prompts is empty"),
        (draw(seed=[1, 2]), r"seed must be .* one for each answer, got \[1, 2\]"),
        (draw(seed=[1, 2], num_return_sequences=3), r"seed must be .* one for each answer, got \[1, 2\]"),
        (continue_(max_new_tokens=-1), "max_new_tokens .*-1"),
    ],
    generate: [
        (continue_(prompts=torch.tensor([1, 2])), r"lists of token ids, got tensor\(1\) as prompt 0"),
        (continue_(prompts=[[1], [1.0]]), r"lists of token ids, got \[1.0\] as prompt 1"),
        (continue_(prompts=[[[1]]]), r"lists of token ids, got \[\[1\]\] as prompt 0"),
        (continue_(prompts=[[1, None]]), r"lists of token ids, got \[1, None\] as prompt 0"),
        (continue_(prompts=[np.array([1.5])]), "lists of token ids"),
        (continue_(prompts=torch.zeros(1, 0, dtype=torch.long)), "prompt 0 is empty"),
        (continue_(prompts=[[-1]]), "token id -1 of prompt 0, position 0, is outside 0..9"),
        *not_lists(lambda bad: continue_(prompts=bad), "prompts must be a list of lists of token ids"),
        *[(continue_(prompts=[[1], bad]), f"lists of token ids, got {shown(bad)} as prompt 1") for bad in NO_LIST],
        *[
            (continue_(max_new_tokens=bad), f"max_new_tokens must be an integer of at least 0, got {bad!r}")
            for bad in (1.5, NAN, INF, "3", None)
        ],
        (continue_(stop_tokens=[3, 10]), r"stop_tokens must be ids in 0..9, got \[3, 10\]"),
        (continue_(stop_tokens=[-1]), "stop_tokens .*-1"),
        (continue_(stop_tokens=["."]), r"stop_tokens must be ids .* got \['.'\]"),
        (continue_(stop_tokens=5), "stop_tokens must be ids .* got 5"),
        (continue_(do_sample="no"), "do_sample must be True or False, got 'no'"),
        (continue_(use_cache=1), "use_cache must be True or False, got 1"),
        (draw(top_p="0.5"), "top_p must be a finite number, got '0.5'"),
        (draw(temperature=None), "temperature must be a finite number, got None"),
        (continue_(temperature=0), "temperature.*do_sample=True"),
        (draw(temperature=1e-40), "temperature must be at least 1e-30, got 1e-40"),
        *[(draw(top_k=bad), f"top_k must be an integer of at least 1, got {bad!r}") for bad in (1.5, "3", -1)],
        (draw(top_p=NAN), "top_p .* got nan"),
        *[(draw(seed=bad), f"seed must be .*got {bad!r}") for bad in (1.5, "a", NAN, 2**64)],
        (continue_(num_beams=2, early_stopping="maybe"), "early_stopping .*'maybe'"),
        (continue_(no_repeat_ngram_size=-1), "no_repeat_ngram_size .*-1"),
        (draw(min_p=1.5), "min_p .*1.5"),
    ],
    stream: [  # the error comes at the call, not at the first token
        (of(a_model, [[1]], 3), r"lists of token ids, got \[\[1\]\] as prompt 0"),
        *[(of(a_model, bad, 3), f"lists of token ids, got {shown(bad)} as prompt 0") for bad in NO_LIST],
        (of(a_model, [1], 3, stop_tokens=[10]), "stop_tokens .*10"),
        (of(a_model, [1], 3, do_sample=True, seed=1.5), "seed .*1.5"),
        (of(a_model, [1], 2.5), "max_new_tokens .*2.5"),
        (of(a_model, [1], 3, do_sample=True, num_return_sequences=2), "num_return_sequences=2 cannot be streamed"),
    ],
    stream_text: [  # the same
        *[
            (lambda f, w, bad=bad: f(w.model, w.tokenizer, bad, 3), f"prompt must be a text .str., got {shown(bad)}")
            for bad in (None, 5, ["a"], b"a", [1])
        ],
        (lambda f, w: f(w.model, w.tokenizer, "", 3), "prompt 0 is empty"),
        (lambda f, w: f(w.model, w.tokenizer, "zz", 3), "token id .* of prompt 0"),
        (lambda f, w: f(w.model, w.tokenizer, "a", 3, stop=["a", ""]), "stop must be .* not empty, got '' as text 1"),
        (lambda f, w: f(w.model, w.tokenizer, "a", 3, num_beams=2), "num_beams=2 cannot be streamed"),
    ],
    check_stop: [
        *not_lists(of, "stop must be a list of texts"),
        *[(of(["a", bad]), f"stop must be a list of texts, got {shown(bad)} as text 1") for bad in NO_TEXT],
        *[(of([*more, ""]), f"not empty, got '' as text {len(more)}") for more in ([], ["a"])],
    ],
    # perplexity/
    sliding_windows: [
        (windows(n_tokens=-5), "-5 tokens"),
        *[(windows(n_tokens=bad), f"n_tokens must be an integer, got {bad!r}") for bad in (None, "9", 9.5, True)],
        *[
            (windows(window=bad), f"window must be an integer of at least 2, got {bad!r}")
            for bad in (4.0, NAN, INF, "4")
        ],
        *[(windows(stride=bad), f"stride must be an integer from 1 to 4, got {bad}") for bad in (-1, NAN)],
    ],
    windows_after_prefix: [
        *[(after_prefix(n_tokens=bad), f"n_tokens must be an integer .*got {bad!r}") for bad in (0, None, "9", 9.5)],
        *[(after_prefix(window=bad), f"window must be an integer of at least 2, got {bad!r}") for bad in (1, 4.0, "4")],
        *[(after_prefix(stride=bad), f"stride must be an integer from 1 to 4, got {bad}") for bad in (0, 5, NAN)],
        *[(after_prefix(n_prefix=bad), f"prefix must be an integer from 1 to 4, got {bad}") for bad in (0, 5, NAN)],
    ],
    score: [
        *[
            (measure(tokens=bad), f"tokens must be a list of integer token ids, got {shown(bad)}")
            for bad in (*NO_LIST, [1.5, 2.5], [1, NAN, 2], [1, True], [1, None], [1, "2"], [1, [2]], ids([1, 2, 3]))
        ],
        (measure(tokens=[]), "0 tokens"),
        (measure(tokens=[1] * 30 + [99]), "token id 99 .*column 30 is outside 0..9"),  # far after the first window
        (measure(tokens=[1, -1]), "token id -1 .*column 1"),
        (measure(window=0), "window .* at least 2, got 0"),
        *[(measure(window=bad), f"window must be an integer .* got {bad}") for bad in (2.5, NAN)],
        (measure(stride=NAN), "stride must be an integer from 1 to 6, got nan"),
        *[(measure(batch_size=bad), f"batch_size must be an integer .* got {bad!r}") for bad in (-1, 1.5, NAN, "2")],
    ],
    Scores.word_perplexity: [
        (lambda f, w, bad=bad: f(w.scores, bad), f"n_words .* at least 1, got {bad!r}") for bad in (-1, 1.5, NAN, None)
    ],
    Scores.character_perplexity: [
        (lambda f, w, bad=bad: f(w.scores, bad), f"n_characters .* at least 1, got {bad!r}")
        for bad in (-1, 1.5, NAN, None)
    ],
    Scores.bits_per_byte: [
        (lambda f, w, bad=bad: f(w.scores, bad), f"n_bytes .* at least 1, got {bad!r}") for bad in (-1, 1.5, NAN, None)
    ],
    # trace.py
    trace: [
        (read(tokens=[[1, 2]]), "tokens must be a tensor"),
        (read(attention_mask=torch.ones(1, 3)), r"attention_mask .*got \(1, 3\)"),
        (read(position_ids=ids([5, 6])), "position id 6"),
    ],
    trace_with_gradients: [
        *[(read(loss=bad), f"loss must be a function .* got {shown(bad)}") for bad in (None, 5, "mean")],
        (read(loss=torch.sum, tokens=[[1, 2]]), "tokens must be a tensor"),
        (read(loss=torch.sum, position_ids=ids([5, 6])), "position id 6"),
    ],
    # tokenizer/
    Tokenizer: [
        (of({}, []), "lacks 256 of the 256"),
        (lambda f, w: f(w.tokenizer.vocabulary | {"zz": 999}, []), "ids of a vocabulary of 259 tokens must be 0..258"),
        (lambda f, w: f(w.tokenizer.vocabulary | {"zz": 0}, []), "ids of a vocabulary of 259 tokens must be 0..258"),
        (lambda f, w: f(w.tokenizer.vocabulary, [("s", "q")]), "merge 1, 's' [+] 'q', needs token 'sq'"),
        *[
            (lambda f, w, bad=bad: f(w.tokenizer.vocabulary, [], bad), "special_tokens must be a list of tokens, got")
            for bad in NO_LIST[1:]
        ],
    ],
    Tokenizer.encode: [
        (lambda f, w, bad=bad: f(w.tokenizer, bad), f"text must be a str, got {shown(bad)}") for bad in NO_TEXT
    ],
    Tokenizer.pieces: not_lists(lambda bad: lambda f, w: f(w.tokenizer, bad), OF_IDS),
    Tokenizer.decode_stream: not_lists(lambda bad: lambda f, w: next(f(w.tokenizer, bad)), OF_IDS),
    Tokenizer.decode: [
        (lambda f, w: f(w.tokenizer, [NAN]), "token id must be an integer of at least 0, got nan"),
        (lambda f, w: f(w.tokenizer, [3, -1]), "token id must be an integer of at least 0, got -1"),
        *not_lists(lambda bad: lambda f, w: f(w.tokenizer, bad), OF_IDS),
    ],
    Tokenizer.train: [
        (of(["a"], -1), "vocab_size must be an integer of at least 257, got -1"),
        *not_lists(lambda bad: of(bad, 300), "texts must be a list of texts"),
        *[(of(["a", bad], 300), f"text must be a str, got {shown(bad)}") for bad in NO_TEXT],
        *not_lists(lambda bad: of(["a"], 300, bad), "special_tokens must be a list of names"),
    ],
    Tokenizer.load: [
        (
            of("whole.npy"),
            "no tokenizer in whole.npy: expected tokenizer.json, or vocab.json and merges.txt",
            FileNotFoundError,
        )
    ],
    Tokenizer.save: [(lambda f, w: f(w.tokenizer, "whole.npy"), "whole.npy", FileExistsError)],
    # checkpoints/
    find_checkpoint: [
        *[(of(bad), f"no model {str(bad)!r}: not a folder", CheckpointError) for bad in (None, 5)],
        (of("whole.npy"), "whole.npy is a file: give the folder that has config.json", CheckpointError),
        *[(of(bad), f"there is no folder {bad}", CheckpointError) for bad in ("./none", "model/none", Path("none"))],
    ],
    load_model: [
        (of("model", attention="flash"), "attention must be one of explicit, sdpa, tiled; got 'flash'"),
        (of("model", dtype=torch.int64), "dtype must be a floating point dtype.*torch.int64"),
    ],
    load_tokenizer: [
        (of("whole.npy"), "whole.npy is a file: give the folder that has config.json", CheckpointError),
        (of("model/none"), "there is no folder model/none", CheckpointError),
    ],
    read_config: [(of(Path("model/nothing.json")), "nothing.json cannot be read", CheckpointError)],
    plain_names: [
        (
            of({"ln_f.bias": None, "transformer.ln_f.bias": None}, NAMES["gpt2"], GPT2Config(**SHAPE), "a file"),
            "a file: .*ln_f.bias is there twice",
        )
    ],
    from_hugging_face: [
        (from_checkpoint(without=["transformer.h.1.ln_1.bias"]), "tensor h.1.ln_1.bias is missing", CheckpointError),
        (from_checkpoint(n_layer=1), "unexpected tensor h.1.", CheckpointError),
    ],
    save_model: [
        (of(broken_model(INF), "new/folder"), "final_norm.bias holds nan or inf"),
        (of(a_model, "whole.npy"), "whole.npy", FileExistsError),
        (lambda f, w: f(w.model, "new/folder", w.tokenizer), "tokenizer has 258 ids.*only vocab_size=10"),
    ],
    # data/
    read_text: [
        (of("nothing.txt"), "nothing.txt", FileNotFoundError),
        (of("model"), "model", IsADirectoryError),
    ],
    decode_text: [(of(b"caf\xe9", "stdin"), "stdin is not UTF-8 text: byte 0xe9 at offset 3")],
    dataset_text: [(of("wikitext103"), "no data set 'wikitext103'")],
    module_documentation: [(of(None), "no module None")],
    encode_documents: [
        *not_lists(lambda bad: lambda f, w: f(bad, w.tokenizer), "documents must be a list of texts"),
        *[(lambda f, w, bad=bad: f(["a", bad], w.tokenizer), "text must be a str, got") for bad in NO_TEXT],
        (lambda f, w: f([], w.tokenizer), "documents is empty"),
        (lambda f, w: f(["fine", "\ud800"], w.tokenizer), "lone surrogate"),
    ],
    hold_out_tails: [
        *not_lists(lambda bad: of(bad), "texts must be a list of texts"),
        *[(of(["a", bad]), rf"texts must be a list of texts, got {shown(bad)} as text 1") for bad in NO_TEXT],
    ],
    write_token_file: [
        *[
            (of(np.array(bad), "new.npy"), "tokens must be a row of integer ids, got")
            for bad in ([1.5], [[1, 2]], [None], "abc", 3, [NAN])
        ],
        (of(None, "new.npy"), "tokens must be a row of integer ids, got object"),
        (of(TEXT, "no/such/folder.npy"), "no/such/folder.npy", FileNotFoundError),
    ],
    read_token_file: [
        (of("nothing.npy"), "nothing.npy", FileNotFoundError),
        *[
            (of(name), f"{name} is not a token file")
            for name in ("empty.npy", "junk.npy", "objects.npy", "half.npy", "several.npz")
        ],
        (of("floats.npy"), "floats.npy must be a row of integer ids, got float64"),
        (of("square.npy"), r"square.npy must be a row of integer ids, got int64 \(2, 2\)"),
    ],
    check_tokens: [
        *[(of("text", bad, 1), "text must be a row of integer ids, got") for bad in (*NO_LIST, [1, None], [1, "2"])],
        (of("text", TEXT, 61), "text has 60 tokens, one row needs context=61"),
    ],
    batch_at: [
        *[
            (batches(**{name: bad}), f"{name} must be an integer of at least 1, got {bad!r}")
            for name in ("batch_size", "context")
            for bad in NO_SIZE
        ],
        *[(batches(seed=bad), f"seed must be an integer of at least 0, got {bad!r}") for bad in (-1, 1.5, "a")],
        (batches(tokens=TEXT + 0.5), "tokens must be a row of integer ids, got float64"),
        (batches(tokens=TEXT.reshape(30, 2)), r"tokens must be a row of integer ids, got int64 \(30, 2\)"),
    ],
    # train/
    TrainConfig: [
        *[
            (settings(**{name: bad}), f"{name} must be an integer of at least 1, got {bad!r}")
            for name in ("steps", "batch_size", "evaluate_every")
            for bad in NO_SIZE
        ],
        *[(settings(context=bad), f"context must be an integer of at least 2, got {bad!r}") for bad in (1.5, NAN)],
        *[(settings(warmup_steps=bad), f"warmup_steps .* at least 0, got {bad}") for bad in (-1, 1.5, NAN)],
        *[(settings(seed=bad), f"seed must be .*, got {bad!r}") for bad in (-1, 1.5, "a", None, 2**62, True)],
        *[(settings(learning_rate=bad), f"learning_rate .*got {bad}") for bad in (0, NAN, INF)],
        *[(settings(final_learning_rate=bad), f"final_learning_rate .*got {bad}") for bad in (-1, NAN, INF)],
        *[(settings(weight_decay=bad), f"weight_decay .*got {bad}") for bad in (NAN, INF)],
        (settings(clip=NAN), "clip must be above 0, got nan"),
        *[
            (settings(betas=bad), "betas must be two numbers of at least 0 and below 1, got")
            for bad in ((0.9,), (0.9, 1.0), (-0.1, 0.9), (NAN, 0.9), (0.9, 0.9, 0.9), ("a", 0.9), (False, 0.9), None, 1)
        ],
    ],
    train: [
        (training(tokens=TEXT + 0.5), "tokens must be a row of integer ids, got float64"),
        (training(held_out=TEXT.reshape(30, 2)), r"held_out must be a row of integer ids, got int64 \(30, 2\)"),
        (training(tokens=TEXT[:3]), "tokens has 3 tokens, one row needs context=4"),
        (training(directory="whole.npy"), "whole.npy", NotADirectoryError),
    ],
    check_lengths: [(of(TEXT, TEXT[:0], 4), "held_out has 0 tokens, one row needs context=4")],
    evaluate: [
        *[(judge(context=bad), f"context must be an integer of at least 2, got {bad!r}") for bad in (1, 2.5, NAN)],
        *[(judge(n_rows=bad), f"n_rows must be an integer of at least 1, got {bad!r}") for bad in (0, -1, 1.5)],
        *[(judge(batch_size=bad), f"batch_size must be an integer of at least 1, got {bad!r}") for bad in (0, -1, 1.5)],
        (judge(context=61), "tokens has 60 tokens, one row needs context=61"),
        *[(judge(end_of_text=bad), f"end_of_text must be an integer .* got {bad!r}") for bad in (-1, "9", True)],
        *[(judge(tokens=bad), "tokens must be a row of integer ids, got") for bad in NO_LIST],
        (judge(tokens=TEXT + 0.5), "tokens must be a row of integer ids, got float64"),
    ],
    induction_gap: [
        *[(repeat(length=bad), f"length must be an integer of at least 2, got {bad!r}") for bad in (1, 0, -1, 1.5)],
        *[(repeat(vocab_size=bad), f"vocab_size must be an integer .*got {bad!r}") for bad in (0, 1.5)],
        (repeat(n_rows=0), "n_rows must be an integer of at least 1, got 0"),
        *[(repeat(seed=bad), f"seed must be an integer, got {bad!r}") for bad in (None, "0", 0.5, True)],
        (repeat(vocab_size=1000), "token id .* is outside 0..9"),
        (repeat(length=4), "position id 7 .*n_positions=6"),
    ],
    # compare/
    verify: [
        (of(small_model().half(), "model"), "float64 or float32 model, got torch.float16"),
        (of(a_model, "model", seed=True), "seed must be an integer, got True"),
    ],
}


CASES |= bad_arguments_of_families.CASES

LISTED = [
    pytest.param(function, call, words, *(error or [ValueError]), id=f"{function.__qualname__}-{number}")
    for function, rows in CASES.items()
    for number, (call, words, *error) in enumerate(rows)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_files()
    return folder


@pytest.mark.parametrize("function, call, words, error", LISTED)
def test_a_bad_argument_is_named_and_nothing_has_changed(function, call, words, error, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(folder))
    world = World()
    before = world.state()
    with pytest.raises(error, match=words):
        call(function, world)
    assert world.state() == before


def test_the_usual_arguments_are_fine():
    """Without their bad argument the calls of the table are accepted: the bad argument is what is refused."""
    world = World()
    for function, call in [
        (attention_weights, attending()),
        (explicit_attention, attending()),
        (sdpa_attention, attending()),
        (sdpa_arguments, attending()),
        (MultiHeadAttention, multi_head()),
        (MultiHeadAttention.forward, asking()),
        (cross_entropy, classify()),
        (linear_cross_entropy, headed()),
        (next_token_loss, predict()),
        (GPT2Config, config()),
        (KVCache, new_cache()),
        (LayerCache.append, append()),
        (sampling_probabilities, sample()),
        (penalize_repetition, sample(texts=[[1], [2]], penalty=2.0)),
        (forbid_repeated_ngrams, sample(texts=[[1], [2]], n=2)),
        (Settings, of()),
        (sliding_windows, windows()),
        (windows_after_prefix, after_prefix()),
        (batch_at, batches()),
        (TrainConfig, settings()),
    ]:
        call(function, world)
    for block in world.model.blocks:
        block._forward_pre_hooks.clear()
    for function, call in [
        (GPT2.hidden, read()),
        (GPT2.hidden, reading_on()),
        (generate, continue_()),
        (generate, draw()),
        (generate_details, continue_(num_beams=2, early_stopping="never", length_penalty=-1)),
        (steps, draw(seed=[1])),
        (speculate, ahead()),
        (score, measure()),
        (train, training()),
        (evaluate, judge()),
        (induction_gap, repeat()),
    ]:
        call(function, world)


# Public functions that are not in the table: their own tests show what they refuse, their caller has checked the
# arguments, or the errors of torch and Python already name what is wrong.
LEFT_OUT = {
    "batch_shape_at",
    "AttentionTrace",
    "Writer",
    "Writer.decode_stream",
    "Writer.encode",
    "before_stop",
    "obey_generation_config",
    "Aggregation",
    "Beam",
    "Beams",
    "Block",
    "Block.forward",
    "Difference",
    "Document",
    "GPT2.logits",
    "Generation",
    "Generation.add",
    "LanguageModelLoss",
    "LanguageModelLoss.forward",
    "LayerCache",
    "MultiHeadAttention.keys_values",
    "Processor",
    "Run",
    "Run.record",
    "Scores",
    "Settings.chooser",
    "Settings.process",
    "Step",
    "TextSize",
    "TextSize.of",
    "Trace",
    "Window",
    "add_step",
    "all_finite",
    "at_least_float32",
    "attention_function",
    "begin",
    "candidates",
    "check_layers",
    "check_reduction",
    "config_json",
    "counted_targets",
    "decode",
    "download",
    "find_draft",
    "first_layer",
    "formula",
    "has_plain_head",
    "head_weight",
    "hold_out_tail",
    "initialize",
    "gpt2_words",
    "is_held_out",
    "is_ours",
    "kind_of_classes",
    "loss_of_hidden",
    "model_type",
    "next_logits",
    "on_disk",
    "position_ids_for",
    "positions_in_segments",
    "process",
    "reader",
    "repeat_key_heads",
    "segment_ids_of",
    "settings",
    "targets_of",
    "Tiles",
    "Tiles.kept",
    "Tiles.of_keys",
    "Tiles.scores",
    "to_hugging_face",
    "verdict",
} | bad_arguments_of_families.LEFT_OUT


def public(module) -> set[str]:
    """Names of a module's own functions, classes and methods that take an argument."""
    found = set()
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        methods = vars(thing).items() if inspect.isclass(thing) else []
        functions = [(name, thing), *((f"{name}.{method}", getattr(thing, method)) for method, _ in methods)]
        for full_name, function in functions:
            if full_name.rpartition(".")[2].startswith("_") or not callable(function):
                continue
            if set(inspect.signature(function).parameters) - {"self"}:
                found.add(full_name)
    return found


# The checks themselves are tested in test_checks.py.
MODULES = sorted({function.__module__ for function in CASES} - {"minigpt._checks", "minigpt._files"})


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_is_in_the_table(module):
    missing = public(importlib.import_module(module)) - {function.__qualname__ for function in CASES}
    assert not missing - LEFT_OUT, "add bad arguments of these to CASES, or name them in LEFT_OUT"


def test_nothing_is_left_out_that_is_not_there():
    there = {name for module in MODULES for name in public(importlib.import_module(module))}
    assert there >= LEFT_OUT, f"no longer there: {sorted(LEFT_OUT - there)}"
