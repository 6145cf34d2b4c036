"""The quick check: about twenty random models and some small checks; each bug of the registry fails one of them.

Every check imports minigpt inside, so that it sees the package as it is at that moment, with or without a mutant. What
Hugging Face computes is computed once. Each check names the test of the suite that asserts the same at length.
"""

import importlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from oracle import hugging_face, random_config

N_CONFIGS = 20
BAR = 1e-11  # float64: far above rounding, far below any bug


@dataclass(frozen=True)
class Check:
    name: str
    files: tuple[str, ...]  # the files it is about, with dots for folders: bugs in these files are tried on it first
    test: str
    run: Callable[[], None]


CHECKS: list[Check] = []


def check(name: str, files: str, test: str):
    def register(function):
        CHECKS.append(Check(name, tuple(files.split()), test, function))
        return function

    return register


def find_killer(file: str) -> Check | None:
    """The first check that fails, or None. Checks about the file come first, and among them those that name it earlier:
    they find its bugs faster."""

    def distance(check: Check) -> int:
        return check.files.index(file) if file in check.files else 99

    for candidate in sorted(CHECKS, key=distance):
        try:
            candidate.run()
        except Exception:  # with a bug, any exception may come; each is a failure
            return candidate
    return None


# --- the oracle's side, computed once --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    config: dict
    tensors: dict
    tokens: torch.Tensor
    mask: torch.Tensor  # a whole row, one padded left, one padded right
    logits: torch.Tensor
    padded_logits: torch.Tensor
    loss: float
    gradients: dict


def build_cases() -> list[Case]:
    made = []
    for seed in range(N_CONFIGS):
        config = random_config(seed, n_positions=24)
        theirs = hugging_face(config, seed)
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(config.vocab_size, (3, 11), generator=generator)
        mask = torch.ones_like(tokens)
        mask[1, :4] = 0
        mask[2, -3:] = 0
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = theirs(tokens).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        with torch.no_grad():
            padded = theirs(tokens, attention_mask=mask, position_ids=positions).logits
        gradients = {name.removeprefix("transformer."): p.grad for name, p in theirs.named_parameters()}
        tensors = {name.removeprefix("transformer."): t.detach() for name, t in theirs.state_dict().items()}
        made.append(Case(asdict(config), tensors, tokens, mask, logits.detach(), padded, loss.item(), gradients))
    return made


CASES = build_cases()  # here, before any mutant is switched on


def ours(case: Case, attention: str):
    """Our model of a case, from the package as it is now."""
    gpt2 = importlib.import_module("minigpt.models.gpt2")
    model = gpt2.GPT2(gpt2.GPT2Config(**case.config), attention).double().eval()
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    model.load_state_dict(from_hugging_face(case.tensors, shapes, model.config))
    return model, shapes


def from_hugging_face(tensors: dict, shapes: dict, config) -> dict:
    """Parameters by our names, by the package as it is now."""
    names = importlib.import_module("minigpt.checkpoints.names").NAMES["gpt2"]
    return importlib.import_module("minigpt.checkpoints.translate").from_hugging_face(
        dict(tensors), names, shapes, config
    )


def models():
    """Every case once, explicit and fused attention in turn."""
    for case, attention in zip(CASES, itertools.cycle(["explicit", "sdpa"]), strict=False):
        yield case, *ours(case, attention)


def close(a, b, bar: float = BAR) -> None:
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    assert a.shape == b.shape and (a - b).abs().max() <= bar * max(1.0, b.abs().max().item())


# --- the model -------------------------------------------------------------------------------------------------------


@check(
    "logits",
    "attention layers models.gpt2 checkpoints.translate checkpoints.names.gpt2",
    "test_equivalence_decoders.py::test_logits_loss_and_gradients",
)
def _():
    with torch.no_grad():
        for case, model, _ in models():
            close(model(case.tokens), case.logits)


@check(
    "padding",
    "attention positions models.gpt2 models._inputs",
    "test_equivalence_decoders.py::test_logits_loss_and_gradients_of_padded_rows",
)
def _():
    with torch.no_grad():
        for case, model, _ in models():
            real = case.mask.bool()
            close(model(case.tokens, attention_mask=case.mask)[real], case.padded_logits[real])


@check(
    "cache",
    "kv_cache attention positions models.gpt2 models._inputs",
    "test_equivalence_decoders.py::test_the_cache_at_every_split_and_in_random_chunks",
)
def _():
    with torch.no_grad():
        for number, (case, model, _) in enumerate(models()):
            cut = 1 + number % 8
            cache = model.new_cache(batch_size=2, capacity=11)
            parts = [slice(0, cut), slice(cut, cut + 1), slice(cut + 1, 11)]
            tokens, mask = case.tokens[:2], case.mask[:2]
            rows = [
                model(tokens[:, p], attention_mask=mask[:, : p.stop], cache=cache) for p in parts if p.start < p.stop
            ]
            close(torch.cat(rows, dim=1)[mask.bool()], case.padded_logits[:2][mask.bool()])
            cache = model.new_cache(batch_size=1, capacity=11)
            rows = [model(case.tokens[:1, t : t + 1], cache=cache) for t in range(11)]
            close(torch.cat(rows, dim=1), case.logits[:1])


@check("gradients", "loss models.gpt2 attention", "test_equivalence_decoders.py::test_logits_loss_and_gradients")
def _():
    loss_of = importlib.import_module("minigpt.loss").next_token_loss
    for case, model, shapes in itertools.islice(models(), 6):
        loss = loss_of(model(case.tokens), case.tokens)
        close(loss.item(), case.loss)
        loss.backward()
        expected = from_hugging_face(case.gradients, shapes, model.config)
        for name, parameter in model.named_parameters():
            close(parameter.grad, expected[name])


@check("dropout", "models.gpt2 attention", "test_equivalence_decoders.py::test_dropout_with_the_same_seed")
def _():
    gpt2 = importlib.import_module("minigpt.models.gpt2")
    config = random_config(2, resid_pdrop=0.1, embd_pdrop=0.2, attn_pdrop=0.3)
    theirs = hugging_face(config, 2).train()
    case = Case(vars(config), {n.removeprefix("transformer."): t for n, t in theirs.state_dict().items()}, *[None] * 6)
    model = ours(case, "explicit")[0].train()
    assert isinstance(model, gpt2.GPT2)
    tokens = torch.arange(10).view(2, 5)
    torch.manual_seed(5)
    mine = model(tokens)
    torch.manual_seed(5)
    close(mine, theirs(tokens).logits)


@check("initialisation", "models.gpt2", "test_gpt2.py::test_initialisation_follows_its_table")
def _():
    gpt2 = importlib.import_module("minigpt.models.gpt2")
    torch.manual_seed(0)
    model = gpt2.GPT2(gpt2.GPT2Config(vocab_size=99, n_positions=9, n_embd=128, n_layer=8, n_head=4))
    std = torch.cat([block.mlp.down.weight.flatten() for block in model.blocks]).std().item()
    assert abs(std / (0.02 / 4) - 1) < 0.05


# --- attention and its masks -----------------------------------------------------------------------------------------


@check("attention", "attention", "test_attention.py::test_equals_torch_with_gradients")
def _():
    attention = importlib.import_module("minigpt.attention")
    generator = torch.Generator().manual_seed(0)
    for n_query, n_key in [(6, 6), (3, 6), (1, 6)]:
        q, k, v = (torch.randn(2, 3, n, 4, generator=generator, dtype=torch.float64) for n in (n_query, n_key, n_key))
        mask = torch.rand(2, 1, n_query, n_key, generator=generator) < 0.6
        mask[..., 0] = True
        bias = torch.randn(1, 3, n_query, n_key, generator=generator, dtype=torch.float64)
        triangle = torch.ones(n_key, n_key).tril().bool()[n_key - n_query :]
        for m, causal, b in itertools.product((None, mask), (False, True), (None, bias)):
            added = torch.zeros(2, 3, n_query, n_key, dtype=torch.float64)
            added = added if m is None else added.masked_fill(~m, -torch.inf)
            added = added.masked_fill(~triangle, -torch.inf) if causal else added
            expected = F.scaled_dot_product_attention(q, k, v, attn_mask=added if b is None else added + b)
            for attend in (attention.explicit_attention, attention.sdpa_attention):
                close(attend(q, k, v, mask=m, causal=causal, bias=b), expected)


@check(
    "empty rows", "attention", "test_attention.py::test_a_query_with_nothing_to_look_at_gets_zeros_and_clean_gradients"
)
def _():
    attention = importlib.import_module("minigpt.attention")
    q, k, v = (torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[0, 0, 1, 1]]).bool()[:, None, None, :]
    for attend in (attention.explicit_attention, attention.sdpa_attention):
        out = attend(q, k, v, mask=mask, causal=True)
        out.sum().backward()
        assert (out[:, :, :2] == 0).all() and q.grad.isfinite().all()


@check("tiles", "tiled_attention", "test_tiled_attention.py::test_outputs_and_gradients_are_those_of_the_formula")
def _():
    tiled = importlib.import_module("minigpt.tiled_attention")
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, n, t, 4, generator=generator, dtype=torch.float64) for n, t in ((4, 7), (2, 9), (2, 9)))
    mask = torch.rand(2, 1, 7, 9, generator=generator) < 0.7
    mask[..., 0] = True
    bias = torch.randn(4, 7, 9, generator=generator, dtype=torch.float64)
    triangle = torch.ones(9, 9).tril().bool()[2:]
    direction = torch.randn(2, 4, 7, 4, generator=generator, dtype=torch.float64)
    kept = torch.ones(2, 4, 7, 9, dtype=torch.float64)

    def formula(q, k, v, bias, allowed):
        k, v = (x.repeat_interleave(2, dim=1) for x in (k, v))
        scores = (q @ k.transpose(-2, -1) * 0.5 + bias).masked_fill(~allowed, -torch.inf)
        return (scores.softmax(dim=-1) * kept) @ v

    def gradients(attend, *leaves):
        leaves = [x.clone().requires_grad_() for x in leaves]
        output = attend(*leaves)
        return output.detach(), *torch.autograd.grad((output * direction).sum(), leaves)

    for factor, dropout in ((1, 0.0), (300, 0.0), (1, 0.4)):
        if dropout:  # the weights that it keeps, asked of itself
            torch.manual_seed(1)
            tiles = tiled.Tiles(q, k, None, True, 0.5, dropout, int(torch.randint(2**62, ())), 4)
            for queries in tiles.of_queries():
                for keys in tiles.of_keys(queries):
                    kept[..., queries, keys] = tiles.kept(kept[..., queries, keys], queries, keys)
        for m, allowed in ((None, triangle), (mask, triangle & mask)):

            def attend(q, k, v, bias, m=m, dropout=dropout):
                torch.manual_seed(1)
                arguments = dict(mask=m, causal=True, bias=bias, dropout=dropout, tile_size=4)
                return tiled.tiled_attention(q, k, v, **arguments)

            expected = gradients(lambda *leaves, a=allowed: formula(*leaves, a), factor * q, k, v, bias)
            for mine, right in zip(gradients(attend, factor * q, k, v, bias), expected, strict=True):
                close(mine, right)
    mask[0, :, 3] = False
    assert (tiled.tiled_attention(q, k, v, mask=mask, tile_size=2)[0, :, 3] == 0).all()


@check("other masks", "masks positions", "test_masks.py::test_a_window_is_its_definition")
def _():
    masks, positions = importlib.import_module("minigpt.masks"), importlib.import_module("minigpt.positions")
    rows = [[1, 0, 1, 1, 0, 0], [1, 0, 0, 1, 1, 0], [1, 0, 0, 0, 1, 1]]
    assert masks.sliding_window_mask(3, 6, window=2, n_sink=1).int().tolist() == rows
    assert masks.prefix_mask(2, 4, n_prefix=3).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert masks.prefix_mask(3, 4, n_prefix=0).int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert positions.alibi_slopes(3).tolist() == [2**-4, 2**-8, 2**-2]  # the authors' code
    bias = positions.alibi_bias(1, torch.tensor([2]), torch.arange(3))
    assert bias.flatten().tolist() == [-2 / 256, -1 / 256, 0]


@check(
    "fewer key heads",
    "lecture.fewer_key_heads",
    "test_fewer_key_heads.py::test_a_new_key_head_is_the_mean_of_its_group",
)
def _():
    fewer_key_heads = importlib.import_module("minigpt.lecture.fewer_key_heads")
    attention = importlib.import_module("minigpt.attention")
    torch.manual_seed(0)
    layer, x = attention.MultiHeadAttention(8, 4).double(), torch.randn(1, 3, 8).double()
    fewer = fewer_key_heads.average_key_heads(layer, 2)
    for old, new in zip(layer.keys_values(x), fewer.keys_values(x), strict=True):
        close(new, torch.stack([old[:, :2].mean(dim=1), old[:, 2:].mean(dim=1)], dim=1))


@check(
    "kernels", "compare.kernels attention", "test_kernels.py::test_on_the_cpu_the_kernel_that_runs_is_the_one_we_name"
)
def _():
    kernels = importlib.import_module("minigpt.compare.kernels")
    q = torch.zeros(2, 4, 6, 8)
    for arguments, takes in (({}, True), ({"mask": torch.ones(4, 6, 6).bool()}, True), ({"dropout": 0.1}, False)):
        math, flash, *_ = kernels.kernels_for(q, q, q, **arguments)
        assert (math.chosen, flash.takes, flash.chosen) == (not takes, takes, takes)


@check("cost", "compare.cost", "test_cost.py::test_operations_are_those_that_torch_counts")
def _():
    costs = importlib.import_module("minigpt.compare.cost").attention_costs(8, 4, 2, rows=3, tokens=2, past=5)
    x, keys, scores = (
        3 * 2 * 8,
        3 * 2 * (5 + 2) * 2,
        3 * 4 * 2 * (5 + 2),
    )  # how many numbers: (3, 2, 8), (3, 2, 7, 2) ...
    assert [cost.operations for cost in costs] == [4 * x * 8, 4 * scores, 5 * scores, 4 * scores, 2 * x * 8]
    of_a_product = x + keys + scores
    numbers = [x + 2 * 8 * 8 + 2 * x, of_a_product, 2 * scores, of_a_product, 2 * x + 8 * 8]
    assert [cost.bytes for cost in costs] == [4 * n for n in numbers]


@check("cross attention", "attention", "test_layers.py::test_outputs_and_gradients_equal")
def _():
    attention = importlib.import_module("minigpt.attention")
    torch.manual_seed(3)
    layer = attention.MultiHeadAttention(12, 3).double()
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
        theirs.in_proj_weight.copy_(torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([layer.query.bias, layer.key.bias, layer.value.bias]))
        theirs.out_proj.load_state_dict(layer.output.state_dict())
    x, memory = torch.randn(2, 5, 12).double(), torch.randn(2, 8, 12).double()
    close(layer(x, source=memory), theirs(x, memory, memory)[0])


@check("groups", "attention", "test_attention.py::test_grouped_key_heads_are_each_used_by_a_run_of_query_heads")
def _():
    attention = importlib.import_module("minigpt.attention")
    generator = torch.Generator().manual_seed(4)
    q = torch.randn(2, 6, 5, 4, generator=generator, dtype=torch.float64)
    k, v = (torch.randn(2, 2, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    head_of = [0, 0, 0, 1, 1, 1]
    expected = F.scaled_dot_product_attention(q, k[:, head_of], v[:, head_of], is_causal=True)
    for attend in (attention.explicit_attention, attention.sdpa_attention):
        close(attend(q, k, v, causal=True), expected)
        close(attend(q[:, :, -1:], k, v, causal=True), expected[:, :, -1:])

    def own(q, k, v, **settings):
        assert q.shape[1] == k.shape[1] == v.shape[1]
        return attention.explicit_attention(q, k, v, **settings)

    torch.manual_seed(0)
    layer = attention.MultiHeadAttention(12, 6, 2).double()
    x = torch.randn(2, 4, 12).double()
    expected, layer.attend = layer(x, causal=True), own
    close(layer(x, causal=True), expected)


@check("rotation", "attention", "test_attention.py::test_queries_and_keys_are_rotated_between_projection_and_cache")
def _():
    attention, kv_cache = importlib.import_module("minigpt.attention"), importlib.import_module("minigpt.kv_cache")
    torch.manual_seed(1)
    layer = attention.MultiHeadAttention(8, 2).double()
    x, places = torch.randn(1, 5, 8).double(), torch.arange(1, 6).double()[:, None]
    q, k, v = (part(x).view(1, 5, 2, 4).transpose(1, 2) for part in (layer.query, layer.key, layer.value))
    heads = F.scaled_dot_product_attention(q * places, k * places, v, is_causal=True)  # a stand-in for a rotation
    expected = layer.output(heads.transpose(1, 2).flatten(2))
    cache, parts = kv_cache.KVCache(1, 1, 2, 5, 4, dtype=torch.float64), []
    for start, end in [(0, 2), (2, 5)]:
        rotate = lambda t, p=places[start:end]: t * p  # noqa: E731
        parts.append(layer(x[:, start:end], causal=True, rotate=rotate, cache=cache.layers[0]))
        cache.advance(end - start)
    close(torch.cat(parts, dim=1), expected)


@check(
    "own attention", "trace attention", "test_trace.py::test_a_function_that_is_not_ours_is_called_and_shows_no_weights"
)
def _():
    attention, trace = importlib.import_module("minigpt.attention"), importlib.import_module("minigpt.trace")
    model = ours(CASES[0], "explicit")[0]
    tokens = torch.tensor([[1, 2, 3]])
    expected = trace.trace(model, tokens)
    for block in model.blocks:
        block.attention.attend = lambda *q, **settings: attention.explicit_attention(*q, **settings)
    seen = trace.trace(model, tokens)
    assert torch.equal(seen.logits, expected.logits) and set(seen.attention_weights) == {None}
    assert all(weights is not None for weights in expected.attention_weights)


# --- the loss --------------------------------------------------------------------------------------------------------


@check("cross-entropy", "loss", "test_loss.py::test_equals_torch_with_gradients")
def _():
    loss = importlib.import_module("minigpt.loss")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 9, generator=generator, dtype=torch.float64)
    targets = torch.randint(9, (3, 6), generator=generator)
    targets[0, 2] = targets[2, 5] = -100
    for offset in (0.0, 1000.0):
        expected = F.cross_entropy((logits + offset).transpose(1, 2), targets)
        close(loss.cross_entropy(logits + offset, targets), expected)
    broken = logits.clone()
    broken[0, 2] = torch.nan
    broken.requires_grad_()
    loss.cross_entropy(broken, targets).backward()
    assert broken.grad.isfinite().all()


@check("shift", "loss", "test_loss.py::test_next_token_loss_shifts_once")
def _():
    loss = importlib.import_module("minigpt.loss")
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(10).view(2, 5) % 7
    close(loss.next_token_loss(logits, labels), F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()))
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    parts = [
        loss.next_token_loss(logits[0:1, 2:], labels[0:1, 2:]) * 2,
        loss.next_token_loss(logits[1:], labels[1:]) * 4,
    ]
    close(loss.next_token_loss(logits, labels, mask), sum(parts) / 6)


@check("accumulation", "loss", "test_loss.py::test_parts_of_a_batch_add_up_to_the_whole")
def _():
    loss = importlib.import_module("minigpt.loss")
    logits = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(20).view(4, 5) % 7
    labels[0, 1:] = -100
    parts = [loss.next_token_loss(logits[i : i + 2], labels[i : i + 2], num_items=12) for i in (0, 2)]
    close(sum(parts), loss.next_token_loss(logits, labels))


@check("lean", "fast.loss_without_logits loss", "test_loss.py::test_the_lean_loss_is_the_loss")
def _():
    loss = importlib.import_module("minigpt.fast.loss_without_logits")
    hidden, weight = (
        torch.randn(n, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64, requires_grad=True)
        for n in (8, 5)
    )
    targets = torch.arange(8) % 5
    targets[2] = -100
    for options, divisor in [({}, 7), ({"num_items": 4}, 4), ({"reduction": "sum"}, 1), ({"reduction": "none"}, None)]:
        found = loss.linear_cross_entropy(hidden, weight, targets, chunk_size=3, **options)
        expected = F.cross_entropy(hidden @ weight.t(), targets, reduction="sum" if divisor else "none")
        expected = expected / divisor if divisor else expected
        close(found, expected)
        gradients = [torch.autograd.grad((value * 3).sum(), (hidden, weight)) for value in (found, expected)]
        for mine, its in zip(*gradients, strict=True):
            close(mine, its)


# --- weights ---------------------------------------------------------------------------------------------------------


@check(
    "saving",
    "checkpoints.save checkpoints.translate checkpoints.names.gpt2 checkpoints.configs",
    "test_pretrained.py::test_what_we_save_loads_in_both_bit_for_bit",
)
def _():
    import transformers

    minigpt = importlib.import_module("minigpt")
    case = CASES[0]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        minigpt.save_model(ours(case, "explicit")[0], folder)
        theirs = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float64).eval()
        close(theirs(case.tokens).logits, case.logits)


# --- decoding --------------------------------------------------------------------------------------------------------


def written_plainly(model, prompt, n, process=lambda logits, text: logits) -> list[int]:
    """Greedy decoding token by token, the whole text each time."""
    text = list(prompt)
    with torch.no_grad():
        for _ in range(n):
            text.append(process(model(torch.tensor([text]))[:, -1].float(), text)[0].argmax().item())
    return text


def prompts_of(case: Case) -> list[list[int]]:
    return [case.tokens[0, :7].tolist(), case.tokens[1, :2].tolist(), case.tokens[2, :4].tolist()]


@check(
    "greedy",
    "generation.loop generation.api generation.settings generation.stopping language_model fast.one_token kv_cache",
    "test_generation.py::test_greedy_equals_transformers_for_prompts_of_unequal_length",
)
def _():
    generate = importlib.import_module("minigpt").generate
    for number, (case, model, _) in enumerate(itertools.islice(models(), 8)):
        if number >= 4:  # with a hook, single tokens go through the modules as well
            model.blocks[0].register_forward_hook(lambda *_: None)
        prompts = prompts_of(case)
        answers = generate(model, prompts, 6, stop_tokens=[])
        assert answers == [written_plainly(model, prompt, 6) for prompt in prompts]
        assert generate(model, prompts[:1], 6, stop_tokens=[]) == answers[:1]
        for row, use_cache in itertools.product(range(3), (True, False)):
            stop = answers[row][len(prompts[row]) + 1]  # this row leaves the batch first
            stopped = generate(model, prompts, 6, stop_tokens=[stop], use_cache=use_cache)
            for prompt, answer, short in zip(prompts, answers, stopped, strict=True):
                new = answer[len(prompt) :]
                assert short == prompt + (new[: new.index(stop) + 1] if stop in new else new)
    object.__setattr__(model.config, "eos_token_id", stop)
    assert generate(model, prompts, 6) == stopped


@check(
    "capacity",
    "language_model generation.loop",
    "test_generation.py::test_the_cache_has_the_capacity_that_is_needed_and_no_more",
)
def _():
    generate = importlib.import_module("minigpt").generate
    model, made = ours(CASES[0], "explicit")[0], []
    new_cache = model.new_cache
    model.new_cache = lambda *sizes: made.append(new_cache(*sizes)) or made[-1]
    generate(model, prompts_of(CASES[0]), 5, stop_tokens=[])
    generate(model, [[1] * 20], 50, stop_tokens=[])
    assert [cache.capacity for cache in made] == [cache.length for cache in made] == [11, 23]


@check(
    "chunks",
    "generation.loop language_model",
    "test_generation.py::test_a_prompt_read_in_chunks_is_read_as_in_one_piece",
)
def _():
    language_model, minigpt = importlib.import_module("minigpt.language_model"), importlib.import_module("minigpt")
    for case, model, _ in itertools.islice(models(), 3):
        prompts = prompts_of(case)
        expected = [written_plainly(model, prompt, 4) for prompt in prompts]
        language_model.READ_AT_ONCE = 2
        try:
            assert minigpt.generate(model, prompts, 4, stop_tokens=[]) == expected
        finally:
            language_model.READ_AT_ONCE = 512


@check(
    "details",
    "generation.loop generation.api generation.beams generation.stopping language_model",
    "test_generation.py::test_details_hold_the_models_own_log_probabilities",
)
def _():
    generation = importlib.import_module("minigpt.generation")
    model = ours(CASES[0], "explicit")[0]
    prompts = [[1, 2], [3] * 22]
    for settings in ({"repetition_penalty": 3.0}, {"repetition_penalty": 0.3, "num_beams": 2}):
        answers = generation.generate_details(model, prompts, 5, stop_tokens=[], **settings)
        assert [answer.stop_reason for answer in answers] == ["length", "context"]
        for prompt, answer in zip(prompts, answers, strict=True):
            with torch.no_grad():
                rows = model(torch.tensor([answer.tokens]))[0, len(prompt) - 1 : -1].log_softmax(-1)
            own = rows.gather(1, torch.tensor(answer.tokens[len(prompt) :])[:, None])[:, 0]
            close(answer.log_probabilities, own, bar=1e-5)


@check("draws", "generation.settings generation.loop", "test_generation.py::test_a_row_in_a_batch_is_its_solo_run")
def _():
    generate = importlib.import_module("minigpt").generate
    model = ours(CASES[0], "explicit")[0]
    prompts = [[1, 2], [3], [4, 4, 4], [1, 2]]
    settings = dict(do_sample=True, stop_tokens=range(0, model.config.vocab_size, 4))
    for seed in (5, 6, 7, 8):
        answers = generate(model, prompts, 9, seed=seed, **settings)
        assert answers == [generate(model, [p], 9, seed=seed + i // 3, **settings)[0] for i, p in enumerate(prompts)]
        assert answers[0] != answers[3] and len({len(a) - len(p) for a, p in zip(answers, prompts, strict=True)}) > 1


@check(
    "processors",
    "generation.processors generation.settings",
    "test_processors.py::test_each_processor_equals_transformers",
)
def _():
    import transformers.generation.logits_process as theirs

    processors = importlib.import_module("minigpt.generation.processors")
    settings_class = importlib.import_module("minigpt.generation.settings").Settings
    logits = 4 * torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    logits[0, :5] = 9.0  # ties
    best = logits.argsort(dim=-1, descending=True)
    texts = torch.stack([best[0, [0, 1, 0, -1]], best[1, [0, 0, 0, 0]], best[2, [-1, 0, 1, 2]]])  # likely and unlikely
    for temperature, top_k, top_p, min_p in [
        (0.5, 3, 0.9, 0.0),
        (2.0, 30, 0.6, 0.3),
        (0.7, 50, 1e-9, 0.0),
        (3.0, 50, 1.0, 0.2),
        (1.3, 50, 1.0, 0.0),
    ]:
        for penalty, n in [(None, None), (1.7, 1), (1.7, 4), (0.6, 9), (30.0, 2)]:
            expected = logits
            if penalty is not None:
                expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(texts, logits)
                expected = theirs.NoRepeatNGramLogitsProcessor(n)(texts, expected)
            expected = theirs.TemperatureLogitsWarper(temperature)(None, expected)
            expected = theirs.TopKLogitsWarper(top_k)(None, expected)
            expected = theirs.TopPLogitsWarper(top_p)(None, expected)
            expected = theirs.MinPLogitsWarper(min_p)(None, expected).softmax(-1)
            shape = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
            if penalty is None:
                close(processors.sampling_probabilities(logits, **shape), expected, bar=1e-6)
            else:
                shape |= dict(do_sample=True, repetition_penalty=penalty, no_repeat_ngram_size=n)
                close(settings_class(**shape).process(logits, texts.tolist()).softmax(-1), expected, bar=1e-6)


@dataclass(frozen=True)
class Search:
    case: Case
    prompt: list[int]
    settings: dict
    answer: list[int]  # Hugging Face's


def build_searches() -> list[Search]:
    """Beam search on three models whose likeliest tokens are very likely: texts of different lengths compete."""
    made = []
    for seed in range(3):
        config = random_config(seed, n_positions=24, eos_token_id=None)
        theirs = hugging_face(config, seed)
        with torch.no_grad():
            theirs.transformer.ln_f.weight.mul_(2.5)
        tensors = {name.removeprefix("transformer."): tensor for name, tensor in theirs.state_dict().items()}
        case = Case(asdict(config), tensors, *[None] * 6)
        prompt = [seed, 5, 1]

        def answer(stop, theirs=theirs, prompt=prompt, **settings):
            theirs.generation_config.eos_token_id = stop or None
            mask = torch.ones(1, len(prompt))
            settings = dict(attention_mask=mask, max_new_tokens=10, do_sample=False, pad_token_id=0) | settings
            new = theirs.generate(torch.tensor([prompt]), **settings)[0, len(prompt) :].tolist()
            ends = [place for place, token in enumerate(new) if token in stop]
            return prompt + new[: ends[0] + 1 if ends else len(new)]

        second = answer([])[len(prompt) + 1]
        for num_beams, length_penalty, rule, processors in [
            *itertools.product([2, 4], [-1.0, 1.0, 2.0], [True, False, "never"], [{}]),
            (3, 1.0, False, {"repetition_penalty": 1.5}),
            (3, 0.0, False, {"no_repeat_ngram_size": 1}),
        ]:
            stop = [second, (second + 3) % config.vocab_size][: num_beams // 2]
            settings = dict(num_beams=num_beams, length_penalty=length_penalty, early_stopping=rule) | processors
            made.append(Search(case, prompt, settings | dict(stop_tokens=stop), answer(stop, **settings)))
    return made


SEARCHES = build_searches()


@check(
    "beams", "generation.beams kv_cache language_model", "test_beam_search.py::test_equals_transformers_token_for_token"
)
def _():
    generate = importlib.import_module("minigpt").generate
    for number, search in enumerate(SEARCHES):
        if number % (len(SEARCHES) // 3) == 0:
            model = ours(search.case, "explicit")[0]
        answer = generate(model, [search.prompt], 10, **search.settings, use_cache=number % 4 > 0)
        assert answer == [search.answer]


@check("speculation", "generation.drafts kv_cache", "test_speculation.py::test_equals_greedy_decoding")
def _():
    speculation = importlib.import_module("minigpt.generation.drafts")
    for case, model, _ in itertools.islice(models(), 6):
        for prompt in ([1, 2, 3, 1, 2], case.tokens[0, :3].tolist()):
            expected = written_plainly(model, prompt, 24 - len(prompt))[len(prompt) :]
            assert list(speculation.speculate(model, prompt, 99, stop_tokens=[])) == expected
            for stop in expected[3::6]:
                short = expected[: expected.index(stop) + 1]
                assert list(speculation.speculate(model, prompt, 99, stop_tokens=[stop])) == short


@check("drafts", "generation.drafts", "test_speculation.py::test_a_text_that_repeats_takes_fewer_passes_than_tokens")
def _():
    speculation = importlib.import_module("minigpt.generation.drafts")
    assert speculation.find_draft([1, 2, 3, 1, 2, 4, 1, 2], 2, 2) == [4, 1]
    model, passes = ours(CASES[0], "explicit")[0], []
    text = written_plainly(model, [1, 2], 20)
    model.blocks[0].register_forward_hook(lambda block, inputs, output: passes.append(output.size(1)))
    find_draft = speculation.find_draft
    speculation.find_draft = lambda so_far, max_ngram, draft_length: text[len(so_far) :][: min(3, draft_length)]
    try:
        assert list(speculation.speculate(model, [1, 2], 17, stop_tokens=[])) == text[2:19]
    finally:
        speculation.find_draft = find_draft
    assert passes == [2, 4, 4, 4, 4]


@check("without a cache", "language_model", "test_language_model.py::test_a_model_without_a_cache")
def _():
    language_model = importlib.import_module("minigpt.language_model")
    model = ours(CASES[0], "explicit")[0]
    tokens = CASES[0].tokens[:1]
    with torch.no_grad():
        past = language_model.Past()
        parts = [model.logits(model.read(part, past)) for part in tokens.split([3, 1, 7], dim=1)]
        close(torch.cat(parts, dim=1), CASES[0].logits[:1])
        past.truncate(3)
        close(model.logits(model.read(tokens[:, 3:], past)), CASES[0].logits[:1, 3:])


@check("ends", "generation.stopping", "test_generation.py::test_why_a_text_ends")
def _():
    stopping = importlib.import_module("minigpt.generation.stopping").Stopping(frozenset([7]), 3, 9)
    asked = [(2, 0, None), (2, 1, 7), (2, 3, 7), (2, 3, 1), (7, 2, 1), (9, 0, None), (8, 1, 7)]
    expected = [None, "stop token", "stop token", "length", "context", "context", "stop token"]
    assert [stopping.reason(*arguments) for arguments in asked] == expected


@check(
    "changes on the way",
    "fast.steps fast.unmodified fast.products",
    "test_one_token.py::test_what_changes_while_a_text_is_written_counts",
)
def _():
    minigpt = importlib.import_module("minigpt")
    model, heard = ours(CASES[0], "explicit")[0], []
    new = minigpt.stream(model, [1, 2], 8, stop_tokens=[])
    for _ in range(3):
        next(new)
    hook = model.blocks[0].mlp.register_forward_hook(lambda *_: heard.append(1))
    next(new)
    next(new)
    assert len(heard) == 2
    hook.remove()
    model = ours(next(case for case in CASES if case.config["tie_word_embeddings"]), "explicit")[0]
    fast = importlib.import_module("minigpt.fast.steps")
    read = fast.fast_reader(model, 100, lambda unread, past: None)
    past = importlib.import_module("minigpt.language_model").Past(model.new_cache(1, 9))
    with torch.no_grad():
        model.read(torch.tensor([[1, 2]]), past)
        read(torch.tensor([[3]]), past)
        model.token_embedding.weight.mul_(-1)  # the head was copied by the step
        model.position_embedding.weight.mul_(-1)
        logits = read(torch.tensor([[4]]), past)
        alone = importlib.import_module("minigpt.language_model").Past(past.cache)
        past.truncate(3)
        close(logits, model.logits(model.read(torch.tensor([[4]]), alone))[:, -1].float(), bar=1e-5)


@check("switch", "fast.switch", "test_one_token.py::test_switched_off_everything_is_computed_by_the_modules")
def _():
    fast = importlib.import_module("minigpt.fast")
    minigpt = importlib.import_module("minigpt")
    model, heard = ours(CASES[0], "explicit")[0], []
    forward = type(model.blocks[0]).forward
    with fast.switched_off():
        asked = fast.fast_reader(model, 9, lambda unread, past: heard.append(1))
        asked(torch.tensor([[1]]), importlib.import_module("minigpt.language_model").Past(model.new_cache(1, 4)))
    assert heard == [1] and type(model.blocks[0]).forward is forward and minigpt.GPT2 is type(model)


# --- perplexity ------------------------------------------------------------------------------------------------------


@check(
    "losses",
    "perplexity.windows perplexity.scores perplexity.scoring",
    "test_perplexity.py::test_three_columns_come_out_of_three_loops",
)
def _():
    perplexity = importlib.import_module("minigpt.perplexity")
    case = CASES[1]
    model = ours(case, "explicit")[0]
    tokens = (torch.arange(41) * 7 % model.config.vocab_size).tolist()
    scores = perplexity.score(model, tokens, 24, 12)
    nll, means, read = [], [], 0
    for begin in range(0, 41, 12):
        end = min(begin + 24, 41)
        first = max(begin + 1, read)
        with torch.no_grad():
            rows = model(torch.tensor([tokens[begin:end]])).log_softmax(-1)[0]
        window = [-rows[t - begin - 1, tokens[t]].item() for t in range(first, end)]
        nll += window
        means.append(np.mean(window))
        read = end
        if end == 41:
            break
    close(scores.nll[1:], nll)
    close(scores.perplexity, np.exp(np.mean(nll)))
    close(scores.window_mean_perplexity, np.exp(np.mean(means)))
    assert scores.context_length.tolist() == [0, *range(1, 24), *range(12, 24), *range(12, 17)]


@check(
    "aggregations", "perplexity.scores perplexity.windows", "test_perplexity.py::test_every_aggregation_has_its_formula"
)
def _():
    """A first window of 3 losses and a last one of 1; then windows that do not overlap."""
    perplexity = importlib.import_module("minigpt.perplexity")
    windows = [perplexity.Window(0, 4, 4), perplexity.Window(2, 5, 1)]
    scores = perplexity.Scores(np.array([np.nan, 1.0, 2.0, 3.0, 6.0]), windows)
    found = {a.name: a.value(scores, perplexity.TextSize(6, 12, 24)) for a in perplexity.AGGREGATIONS}
    exponents = {"perplexity": 3, "window_mean_perplexity": 4, "docs_perplexity": 2}
    exponents |= {"word_perplexity": 2, "character_perplexity": 1}
    expected = {name: np.exp(exponent) for name, exponent in exponents.items()}
    close(np.array(list(found.values())), np.array([*expected.values(), 0.5 / np.log(2)]))
    assert scores.window_index.tolist() == [-1, 0, 0, 0, 1] and scores.n_unscored == 0
    sizes = [tuple(perplexity.TextSize.of(text)) for text in ("a bc\n", "春眠不觉晓\n处处闻啼鸟\n")]
    assert sizes == [(2, 5, 5), (0, 12, 32)]
    touching = perplexity.sliding_windows(9, 4, 4)  # a last window of one token has nothing to predict
    assert [list(range(w.first_target, w.end)) for w in touching] == [[1, 2, 3], [5, 6, 7]]
    assert len(perplexity.sliding_windows(40, 16, 8)) == 4


@check("fixed", "fast.one_token fast.cuda_graph", "test_one_token.py::test_it_is_the_models_step")
def _():
    past_of = importlib.import_module("minigpt.language_model").Past
    cuda_graph = importlib.import_module("minigpt.fast.cuda_graph")
    model = ours(CASES[1], "explicit")[0]
    tokens = torch.arange(10).view(1, 10) % model.config.vocab_size
    with torch.no_grad():
        expected = model(tokens)[:, -1]
        past, step = past_of(model.new_cache(1, 24)), cuda_graph.recorded_step(model, 1)
        model.read(tokens[:, :-1], past)
        close(step(tokens[:, -1:], past), expected)
        model.read(tokens[:, :3], past)
        past.truncate(9)
        close(step(tokens[:, -1:], past), expected)


@check(
    "half",
    "perplexity.scoring loss fast.loss_without_logits",
    "test_perplexity.py::test_half_precision_is_summed_in_whole",
)
def _():
    perplexity = importlib.import_module("minigpt.perplexity")
    model = ours(CASES[1], "explicit")[0].to(torch.bfloat16)
    tokens = [1, 2, 3, 4] * 5
    with torch.no_grad():
        rows = model(torch.tensor([tokens]))[0, :-1].float().log_softmax(-1)
    close(perplexity.score(model, tokens).nll[1:], -rows[torch.arange(19), torch.tensor(tokens[1:])], bar=1e-5)


@check(
    "model state",
    "perplexity.scoring language_model",
    "test_perplexity.py::test_a_model_in_training_is_scored_without_dropout_and_left_in_training",
)
def _():
    perplexity = importlib.import_module("minigpt.perplexity")
    model = ours(CASES[1], "explicit")[0]
    for dropout in (module for module in model.modules() if isinstance(module, torch.nn.Dropout)):
        dropout.p = 0.5
    expected = perplexity.score(model, [1, 2, 3] * 9).nll[1:]
    model.train()
    close(perplexity.score(model, [1, 2, 3] * 9).nll[1:], expected)


# --- training --------------------------------------------------------------------------------------------------------


def counting_model(minigpt):
    torch.manual_seed(0)
    shape = dict(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    return minigpt.GPT2(minigpt.GPT2Config(**shape, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))


@check("schedule", "train.optimizer", "test_train.py::test_learning_rate_warms_up_and_falls")
def _():
    train = importlib.import_module("minigpt.train")
    config = train.TrainConfig(warmup_steps=4, steps=9, learning_rate=1.0, final_learning_rate=0.1)
    close([train.learning_rate_at(step, config) for step in (0, 3, 4, 8)], [0.25, 1.0, 1.0, 0.1])


@check("decay", "train.optimizer", "test_train.py::test_only_matrices_decay")
def _():
    train = importlib.import_module("minigpt.train")
    for group in train.decay_groups(counting_model(importlib.import_module("minigpt")), 0.1):
        assert {p.dim() >= 2 for p in group["params"]} == {group["weight_decay"] > 0}


@check("steps", "train.loop", "test_train.py::test_every_step_starts_clean_and_is_clipped")
def _():
    minigpt, train = importlib.import_module("minigpt"), importlib.import_module("minigpt.train")
    model, left_over, norms = counting_model(minigpt), [], []
    model.register_forward_pre_hook(
        lambda *_: left_over.extend(p.grad for p in model.parameters() if p.grad is not None)
    )
    optimizer_step = torch.optim.AdamW.step

    def measured_step(optimizer, *arguments, **settings):
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item())
        return optimizer_step(optimizer, *arguments, **settings)

    text = (np.arange(300) % 20).astype(np.uint16)
    torch.optim.AdamW.step = measured_step
    try:
        quick = dict(steps=3, batch_size=4, context=8, warmup_steps=0, evaluate_every=9, autocast=False, clip=0.01)
        train.train(model, text, text, train.TrainConfig(**quick))
    finally:
        torch.optim.AdamW.step = optimizer_step
    assert not left_over and len(norms) == 3 and max(norms) < 0.0101


def stop(history):
    raise InterruptedError


def small_run(minigpt, folder=None, on_record=None, resume=False, prepare=lambda model: None, **changes):
    """Six steps of a small model with dropout, in float64."""
    train = importlib.import_module("minigpt.train")
    torch.manual_seed(0)
    shape = dict(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=1, embd_pdrop=0.0, attn_pdrop=0.0)
    model = minigpt.GPT2(minigpt.GPT2Config(**shape, resid_pdrop=0.2)).double()
    prepare(model)
    text = (np.arange(300) * 7 % 20).astype(np.uint16)
    settings = dict(steps=6, batch_size=3, context=8, warmup_steps=2, evaluate_every=3, autocast=False) | changes
    history = train.train(model, text, text, train.TrainConfig(**settings), folder, on_record, resume=resume)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), history


@check(
    "resume", "train.loop train.snapshots data.batches", "test_resume.py::test_a_resumed_run_ends_with_the_same_bits"
)
def _():
    minigpt = importlib.import_module("minigpt")
    expected, history = small_run(minigpt)
    with tempfile.TemporaryDirectory() as folder:
        try:
            small_run(minigpt, folder, stop)
        except InterruptedError:
            torch.manual_seed(99)
        resumed, again = small_run(minigpt, folder, resume=True)
        assert torch.equal(resumed, expected) and [r.step for r in again] == [r.step for r in history] == [3, 6]


@check("order", "train.loop", "test_resume.py::test_a_run_that_began_with_a_loaded_model_is_resumed_in_its_order")
def _():
    """A model in (in, out) order, as one that was loaded; the one that resumes is built afresh."""
    minigpt = importlib.import_module("minigpt")

    def in_columns(model):
        for part in filter(lambda part: isinstance(part, torch.nn.Linear), model.modules()):
            part.weight.data = part.weight.data.t().contiguous().t()

    expected, _ = small_run(minigpt, prepare=in_columns)
    with tempfile.TemporaryDirectory() as folder:
        try:
            small_run(minigpt, folder, stop, prepare=in_columns)
        except InterruptedError:
            resumed, _ = small_run(minigpt, folder, resume=True)
        assert torch.equal(resumed, expected)


@check("snapshots", "train.snapshots", "test_resume.py::test_a_full_disk_is_reported_and_the_last_good_snapshot_kept")
def _():
    snapshots = importlib.import_module("minigpt.train.snapshots")
    with tempfile.TemporaryDirectory() as folder:
        folder, save = Path(folder), torch.save
        snapshots.save_snapshot(folder, 3, {"step": 3})

        def full(state, file):
            assert snapshots.steps_on_disk(folder) == [3], "half a snapshot where only whole ones may be"
            raise OSError("No space left on device")

        torch.save = full
        try:
            snapshots.save_snapshot(folder, 6, {"step": 6})
        except OSError:
            assert snapshots.load_snapshot(folder) == {"step": 3}
        finally:
            torch.save = save


@check(
    "accumulation",
    "train.objectives data.batches positions models.gpt2 fast.loss_without_logits",
    "test_train.py::test_packed_documents_are_scored_as_apart",
)
def _():
    """Parts, packed documents and shared work, against every document alone."""
    minigpt, train = importlib.import_module("minigpt"), importlib.import_module("minigpt.train")
    loss_of = importlib.import_module("minigpt.loss").next_token_loss
    group = importlib.import_module("minigpt.train.processes").Group
    lm_loss = importlib.import_module("minigpt.fast").LanguageModelLoss
    documents = [[3, 1, 4, 0], [1, 5, 9, 0], [2, 6, 0], [5, 3, 5, 8, 0]]
    rows = torch.tensor([documents[0] + documents[1], documents[2] + documents[3]])
    gradients = []
    for way in ("apart", "together", "in parts", "shared"):
        model = counting_model(minigpt).double()
        config = dict(batch_size=2, context=8, autocast=False, end_of_text=0)
        examples = train.NextToken(end_of_text=0).examples(rows, 0, 0)
        if way == "apart":
            sums = [loss_of(model(torch.tensor([d])), torch.tensor([d]), reduction="sum") for d in documents]
            (sum(sums) / sum(len(d) - 1 for d in documents)).backward()
        elif way == "shared":
            halves = []
            for rank in (0, 1):
                model.zero_grad()
                member = type("Member", (group,), {"sum": lambda self, value: value})(rank, 2)
                train.accumulate(lm_loss(model), examples, train.TrainConfig(**config), member)
                halves.append([p.grad.clone() for p in model.parameters()])
            for parameter, *parts in zip(model.parameters(), *halves, strict=True):
                parameter.grad = sum(parts) / 2  # what DDP does
        else:
            micro = 1 if way == "in parts" else None
            train.accumulate(lm_loss(model), examples, train.TrainConfig(**config, micro_batch_size=micro))
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    for found in gradients[1:]:
        close(found, gradients[0])


@check("batches", "data.batches", "test_data.py::test_batches_are_rows_of_the_text_and_follow_from_seed_and_step")
def _():
    batch_at = importlib.import_module("minigpt.data").batch_at
    text = np.arange(1000)
    batches = [batch_at(step, text, 4, 8, seed) for step, seed in [(0, 0), (1, 0), (0, 1), (0, 0)]]
    assert torch.equal(batches[0], batches[3]) and len({str(batch.tolist()) for batch in batches}) == 3


@check("rates", "train.loop", "test_train.py::test_200_steps_are_those_of_the_same_loop_on_hugging_face")
def _():
    minigpt, rates = importlib.import_module("minigpt"), []
    optimizer_step = torch.optim.AdamW.step

    def measured_step(optimizer, *arguments, **settings):
        rates.append(optimizer.param_groups[0]["lr"])
        return optimizer_step(optimizer, *arguments, **settings)

    torch.optim.AdamW.step = measured_step
    try:
        small_run(minigpt, learning_rate=1.0, final_learning_rate=0.5)
    finally:
        torch.optim.AdamW.step = optimizer_step
    close(rates, [0.5, 1.0, 1.0, 0.875, 0.625, 0.5])


# --- the tokenizer ---------------------------------------------------------------------------------------------------


@check("encoding", "tokenizer.bpe tokenizer.merging", "test_tokenizer.py::test_equal_to_hugging_face_on_fuzzed_text")
def _():
    import tokenizers

    tokenizer_class = importlib.import_module("minigpt.tokenizer.bpe").Tokenizer
    texts = ["low lower lowest newest widest, the theme of thermal theory", "ababab abba baab aaaaaaaa"] * 2
    ours_ = tokenizer_class.train(texts, 300)
    with tempfile.TemporaryDirectory() as folder:
        ours_.save(folder)
        theirs = tokenizers.ByteLevelBPETokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt")
    for text in [*texts, "thethethe lowestest abaabbab theorem wider", "aaa aaaaa baaab"]:
        assert ours_.encode(text) == theirs.encode(text).ids


@check(
    "special tokens",
    "tokenizer.specials tokenizer.bpe",
    "test_tokenizer_folders.py::test_the_ids_are_those_of_auto_tokenizer_and_a_saved_folder_keeps_them",
)
def _():
    tokenizer_class = importlib.import_module("minigpt.tokenizer.bpe").Tokenizer
    special = importlib.import_module("minigpt.tokenizer.specials").SpecialToken
    vocabulary = tokenizer_class.train(["a b"], 257).vocabulary | {"<m>": 257, "<m>>": 258, "by": 259}
    tokens = [special("<m>", lstrip=True), special("<m>>"), special("by", single_word=True)]
    tokenizer = tokenizer_class(vocabulary, [], tokens)
    text = "a <m> <m>> by bye"
    parts = ["<m>" if id == 257 else tokenizer.pieces([id])[0] for id in tokenizer.encode(text)]
    assert parts == ["a", "<m>", " ", "<m>>", " ", "by", " ", "b", "y", "e"]
    assert max(tokenizer.encode(text, special_tokens=False)) < 256


@check(
    "tokenizer folders",
    "tokenizer.files tokenizer.configs _files",
    "test_tokenizer_folders.py::test_two_tokenizers_in_one_folder_are_refused",
)
def _():
    import json

    tokenizer_class = importlib.import_module("minigpt.tokenizer").Tokenizer
    own, other = (tokenizer_class.train([text], 260) for text in ("low lower lowest", "new newer newest"))

    def folder_with(file, more, merge=True):
        folder = tempfile.mkdtemp()
        own.save(folder)
        before = json.loads(Path(folder, file).read_text(encoding="utf-8"))
        Path(folder, file).write_text(json.dumps(before | more if merge else more), encoding="utf-8")
        return folder

    refused = [
        folder_with("vocab.json", other.vocabulary, merge=False),
        folder_with("tokenizer_config.json", {"added_tokens_decoder": {"300": {"content": "<x>"}}}),
        folder_with("tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"}),
        folder_with("tokenizer_config.json", {"split_special_tokens": True}),
    ]
    twice = [{"id": 260, "content": "<x>"}, {"id": 260, "content": "<x>", "lstrip": True}]
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}, {"Sequence": {"id": "A"}}]}
    template |= {"special_tokens": {"<x>": {"ids": [7, 8]}}}
    obeyed = folder_with("tokenizer.json", {"added_tokens": twice, "post_processor": template})
    merges = Path(obeyed, "merges.txt")
    merges.write_bytes(b"\xef\xbb\xbf" + merges.read_bytes())
    try:
        tokenizer = tokenizer_class.load(obeyed)
        assert tokenizer.merges == own.merges and tokenizer.encode("  <x>") == [7, 8, 260]
        for folder in refused:
            try:
                tokenizer_class.load(folder)
            except ValueError:
                continue
            raise AssertionError("a folder that contradicts itself was accepted")
    finally:
        for folder in [obeyed, *refused]:
            shutil.rmtree(folder)


@check(
    "config.json",
    "checkpoints.configs checkpoints.names.gpt2 checkpoints.translate",
    "test_pretrained.py::test_the_other_names_of_a_field_are_obeyed",
)
def _():
    import json

    minigpt = importlib.import_module("minigpt")
    weights = importlib.import_module("safetensors.torch")
    refused = importlib.import_module("minigpt.checkpoints").CheckpointError
    torch.manual_seed(0)
    model = minigpt.GPT2(minigpt.GPT2Config(vocab_size=11, n_positions=8, n_embd=4, n_layer=2, n_head=2))
    head = model.token_embedding.weight.detach().clone()
    for more, head_saved, accepted in [
        ({"num_hidden_layers": 2, "n_layer": None}, None, True),
        ({"num_hidden_layers": 2}, head.bfloat16(), True),
        ({"n_layer": 1, "num_hidden_layers": 2}, None, False),
        ({"rope_theta": 10.0}, None, False),
        ({}, -head, False),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            minigpt.save_model(model, folder)
            file, tensors = Path(folder, "config.json"), Path(folder, "model.safetensors")
            fields = json.loads(file.read_text()) | more
            file.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
            if head_saved is not None:
                weights.save_file(weights.load_file(tensors) | {"lm_head.weight": head_saved}, tensors)
            try:
                assert minigpt.load_model(folder).config.n_layer == 2 and accepted
            except refused:
                assert not accepted


@check("held out", "data.texts", "test_cli_train.py::test_a_twentieth_is_held_out_whatever_the_text_ends_in")
def _():
    hold_out_tail = importlib.import_module("minigpt.data").hold_out_tail
    assert [len(hold_out_tail(text)[1]) for text in ("x" * 1000, "x" * 499 + "\n" + "x" * 500)] == [50, 50]
    assert len(hold_out_tail("x" * 939 + "\n" + "x" * 60)[1]) == 60


@check("afterwards", "train.optimizer train.snapshots", "test_train.py::test_the_learning_rate_at_the_end_and_beyond")
def _():
    train, snapshots = (importlib.import_module(f"minigpt.{name}") for name in ("train", "train.snapshots"))
    config = train.TrainConfig(warmup_steps=4, steps=9, learning_rate=1.0, final_learning_rate=0.1)
    close([train.learning_rate_at(step, config) for step in (9, 12)], [0.1, 0.1])
    with tempfile.TemporaryDirectory() as folder:
        for step in (4, 8, 12, 2):
            snapshots.save_snapshot(Path(folder), step, {"step": step})
        assert 2 in snapshots.steps_on_disk(Path(folder))


@check("counting", "train.baselines", "test_baselines.py::test_a_text_may_end_with_what_follows_nothing")
def _():
    baselines = importlib.import_module("minigpt.train.baselines")
    tokens = np.array([0, 1, 2, 0, 1, 3, 9])
    assert np.isfinite(baselines.kneser_ney_nll(tokens, np.array([0, 9, 9, 9]), 10, 2)).all()
    tokens = np.array([1, 2, 3] * 3 + [4] * 9 + [2, 5, 2, 6, 7, 2, 0, 5, 2, 1])  # after 7, 2 a 0; after others 3
    likeliest = [
        max(range(10), key=lambda word: -baselines.kneser_ney_nll(tokens, np.array([*history, word]), 10, 3)[-1])
        for history in ([1, 2], [7, 2], [8, 2], [8, 9])
    ]
    held_out = np.array([1, 2, 0, 7, 2, 0, 8, 2, 0, 8, 9, 0])
    assert baselines.kneser_ney_guesses(tokens, held_out, [2, 5, 8, 11], 10, 3).tolist() == likeliest


@check("held-out figures", "train.held_out", "test_held_out.py::test_a_t5_is_asked_for_each_token_of_a_span")
def _():
    minigpt, train = (importlib.import_module(name) for name in ("minigpt", "minigpt.train"))
    held_out = importlib.import_module("minigpt.train.held_out")
    torch.manual_seed(0)
    text = np.arange(4, 44)
    size = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    bert = minigpt.Bert(minigpt.BertConfig(vocab_size=60, max_position_embeddings=22, **size)).eval()
    asked = train.MaskedTokens(60, mask_id=3, begin_id=1, end_id=2, special_ids=(0, 1, 2, 3))
    labels = asked.examples(torch.from_numpy(text.reshape(2, 20)), 0, 0).labels
    assert text[held_out.masked_guesses(bert, text, 22, asked).places].tolist() == labels[labels != -100].tolist()

    size = dict(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    t5 = minigpt.T5(minigpt.T5Config(vocab_size=60, **size)).eval()
    asked = train.Spans(sentinels=(59, 58, 57, 56), end_id=1, start_id=0)
    losses = held_out.span_losses(t5, text, 20, asked)
    examples = asked.examples(torch.from_numpy(text.reshape(2, 20)), 0, 0)
    p = t5(**examples.inputs).log_softmax(dim=-1).gather(2, examples.labels[..., None])[..., 0]
    close(losses.nats, -p.mean(), 1e-5)
    close(losses.nats_in_spans, -p[(examples.labels > 3) & (examples.labels < 50)].mean(), 1e-5)
    with held_out.cross_attention_cut(t5):
        sources = torch.arange(4, 14)[None], torch.arange(20, 30)[None]
        assert torch.equal(*(t5(source, torch.arange(5)[None]) for source in sources))


@check("poems", "data.tang_poems tokenizer.learning", "test_tang_poems.py::test_the_form_is_told")
def _():
    poems = importlib.import_module("minigpt.data.tang_poems")
    five, seven = "床前明月光，疑是地上霜。", "朝辞白帝彩云间，千里江陵一日还。"
    forms = [poems.keeps_form(poems.Poem("题", "某", lines)) for lines in [(five, five), (seven, seven), (five, seven)]]
    assert forms == [True, True, False]
    assert all(poems.is_held_out(poems.Poem(title, "钱起", (five,))) for title in "一二三四五")
    learned = importlib.import_module("minigpt").Tokenizer.train([five * 9 + seven], 400, within="characters")
    assert len(learned.encode(five)) == len(five)


@check("file dtype", "checkpoints.save", "test_checkpoint.py::test_a_file_may_have_another_dtype_than_the_model")
def _():
    minigpt = importlib.import_module("minigpt")
    torch.manual_seed(0)
    model = minigpt.GPT2(minigpt.GPT2Config(vocab_size=11, n_positions=8, n_embd=4, n_layer=1, n_head=2))
    with tempfile.TemporaryDirectory() as folder:
        minigpt.save_model(model, folder, file_dtype=torch.float16)
        assert json.loads(Path(folder, "config.json").read_text())["dtype"] == "float32"


@check("a changed head", "fast.unmodified", "test_gpt2.py::test_a_changed_head_counts_everywhere")
def _():
    minigpt, fast = importlib.import_module("minigpt"), importlib.import_module("minigpt.fast")
    loss_of = importlib.import_module("minigpt.loss").next_token_loss
    torch.manual_seed(0)
    shape = dict(vocab_size=11, n_positions=8, n_embd=4, n_layer=1, n_head=2)
    model = minigpt.GPT2(minigpt.GPT2Config(**shape, tie_word_embeddings=False)).double().eval()
    model.lm_head = torch.nn.Linear(4, 11).double()
    tokens = torch.tensor([[1, 2, 3, 4]])
    close(fast.LanguageModelLoss(model)(tokens, tokens), loss_of(model(tokens), tokens))


@check(
    "suppressed",
    "generation.processors",
    "test_generation.py::test_suppressed_tokens_are_never_chosen_as_in_transformers",
)
def _():
    processors = importlib.import_module("minigpt.generation.processors")
    shaped = processors.process(torch.zeros(2, 4), [[0], [0]], suppress_tokens=[1, 3])
    assert shaped.isinf().tolist() == [[False, True, False, True]] * 2


@check(
    "own processors",
    "generation.processors generation.settings generation.stopping generation.beams generation.api",
    "test_own_processors.py::test_own_processors_equal_transformers",
)
def _():
    generation = importlib.import_module("minigpt.generation")
    settings_class = importlib.import_module("minigpt.generation.settings").Settings
    logits = 4 * torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    own = lambda logits, texts: logits + torch.arange(9.0) * len(texts[0])  # noqa: E731
    settings = dict(do_sample=True, temperature=0.5, processors=[own])
    close(settings_class(**settings).process(logits, [[1, 2], [3, 4]]), (logits + 2 * torch.arange(9.0)) / 0.5)

    def in_place(logits, texts):
        logits[:, ::2] = -torch.inf
        logits += 100
        return logits

    model = ours(CASES[0], "explicit")[0]
    for num_beams in (1, 3):
        settings = dict(stop_tokens=[], num_beams=num_beams)
        [answer] = generation.generate_details(model, [[1, 2]], 5, processors=[in_place], **settings)
        assert all(token % 2 for token in answer.new_tokens) and all(p < 0 for p in answer.log_probabilities)


@check(
    "min_new_tokens",
    "generation.stopping generation.beams",
    "test_own_processors.py::test_no_stop_token_comes_before_min_new_tokens_as_in_transformers",
)
def _():
    generate, beams = importlib.import_module("minigpt").generate, importlib.import_module("minigpt.generation.beams")
    model = ours(CASES[0], "explicit")[0]
    stop = [token for token in range(model.vocab_size) if token % 5]  # most tokens end a text
    for settings in ({}, {"num_beams": 3}):
        for n in range(4):
            [answer] = generate(model, [[1, 2]], 9, stop_tokens=stop, min_new_tokens=n, **settings)
            assert all(token % 5 == 0 for token in answer[2 : 2 + n])
    few = [token for token in range(model.vocab_size) if token != 5]
    for n, state in enumerate(beams.beam_search(model, [1], 4, 2, stop_tokens=set(few), min_new_tokens=2)):
        assert bool(state.finished) == (n >= 2)


@check(
    "several answers",
    "generation.api generation.beams generation.settings",
    "test_several_answers.py::test_n_draws_are_those_of_n_equal_prompts_and_of_the_next_n_seeds",
)
def _():
    generate = importlib.import_module("minigpt").generate
    model = ours(CASES[0], "explicit")[0]
    draw = dict(do_sample=True, seed=3, stop_tokens=[])
    answers = generate(model, [[1, 2], [3]], 6, num_return_sequences=2, **draw)
    assert answers == generate(model, [[1, 2], [1, 2], [3], [3]], 6, **draw)
    search = dict(num_beams=3, stop_tokens=[])
    answers = generate(model, [[1, 2], [3]], 6, num_return_sequences=2, **search)
    assert answers[::2] == generate(model, [[1, 2], [3]], 6, **search) and answers[0] != answers[1]


@check("stop strings", "generation.text", "test_stop_strings.py::test_any_text_cut_into_any_pieces")
def _():
    before_stop = importlib.import_module("minigpt.generation.text").before_stop
    for pieces in (["ab ST", "O", "P cd"], ["ab STOP"], list("ab STOP ST"), ["ab S", "TOP STOP"]):
        assert "".join(before_stop(pieces, ["cd", "STOP"])) == "ab "
        assert "".join(before_stop(pieces, ["STOP", "TOP", "b S"])) == "a"
    assert "".join(before_stop(["ab ST", "O"], ["STOP"])) == "ab STO"


# --- Llama, BERT and T5; the explorer; what stands around the models -------------------------------------------------

import quick_check_explorer  # noqa: E402, F401  (its checks stand in the same list)
import quick_check_families  # noqa: E402, F401
import quick_check_outside  # noqa: E402, F401
