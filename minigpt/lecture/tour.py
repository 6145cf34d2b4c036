"""The whole lecture on one screen: each section does what the lecture does, prints what it prints, and checks it."""

import copy
import time

import torch
import torch.nn.functional as F

from .. import attention, loss, perplexity
from .._language import padded, said
from ..checkpoints import find_checkpoint, load_model, load_tokenizer
from ..chinese.tour import TEXTS
from ..compare import verify
from ..compare.oracle import import_transformers
from ..data import module_documentation
from ..generation import stream
from .guide import Claim, Guide
from .tour_families import three_trained_models

SENTENCE = "The quick brown fox jumps over the lazy dog"  # the lecture's
UNSEEN_MODULE = "python.unittest.mock"  # held out when weights/tiny was trained


@torch.no_grad()
def run_tour(source: str = "tiny", quiet: bool = False) -> list[Claim]:
    """Walk through the lecture's sections in its order on a checkpoint; return every claim with its outcome.

    Raises CheckpointError when the checkpoint or its tokenizer cannot be loaded.
    """
    start = time.perf_counter()
    model, tokenizer = load_model(source), load_tokenizer(source)
    guide = Guide(quiet)
    config = model.config
    guide.say(
        "minigpt: the lecture on the model {source!r}, {parameters:,} parameters, {config.n_layer} layers, "
        "{config.n_head} heads, width {config.n_embd}, context {config.n_positions}",
        source=source,
        parameters=sum(p.numel() for p in model.parameters()),
        config=config,
    )
    review_gpt(guide, model, tokenizer)
    causal_attention(guide)
    three_trained_models(guide)
    cross_entropy_by_hand(guide)
    training_and_generating(guide, model, tokenizer)
    measuring_perplexity(guide, model, tokenizer)
    against_hugging_face(guide, source)
    guide.say(
        "\n{passed} of {all} claims hold, {seconds:.0f} seconds.",
        passed=sum(claim.ok for claim in guide.claims),
        all=len(guide.claims),
        seconds=time.perf_counter() - start,
    )
    return guide.claims


def review_gpt(guide, model, tokenizer):
    guide.title("Review GPT: ids → hidden states → logits → loss")
    tokens = torch.tensor([tokenizer.encode(SENTENCE)])
    hidden = model.hidden(tokens)
    logits = model.logits(hidden)
    pieces = " ".join(repr(tokenizer.decode([id])) for id in tokens[0].tolist())
    guide.say("   {text!r} is {n} tokens here: {pieces}", text=SENTENCE, n=tokens.size(1), pieces=pieces)
    guide.show(f"   input_ids {_shape(tokens)} → last_hidden_states {_shape(hidden)} → lm_logits {_shape(logits)}")
    guide.claim("the round trip text → ids → text is exact", tokenizer.decode(tokens[0].tolist()) == SENTENCE)
    if model.lm_head is None:
        by_embedding = hidden @ model.token_embedding.weight.T
        ok = _difference(logits, by_embedding) < 1e-5 * logits.abs().max()
        guide.claim("the head is the token embedding again: logits = hidden @ token_embedding.weight.T", ok)
    guide.say(
        "   logits are scores, here {lowest:.1f} to {highest:.1f}; softmax makes them probabilities",
        lowest=logits.min(),
        highest=logits.max(),
    )
    sums = logits.softmax(-1).sum(-1)
    ok = (sums - 1).abs().max() < 1e-5 and (logits.sum(-1) - 1).abs().min() > 1
    guide.claim("after softmax, and not before, each position sums to 1", ok)

    guide.say("   The shift: position t predicts token t + 1, so logits lose their last and labels their first.")
    numbers = [1, 2, 3, 4, 5]
    guide.show(f"   logits {numbers} → {numbers[:-1]}     labels {numbers} → {numbers[1:]}")
    ours = loss.next_token_loss(logits, tokens).item()
    torchs = F.cross_entropy(logits[0, :-1], tokens[0, 1:]).item()
    ok = abs(ours - torchs) < 1e-5
    guide.claim(
        "loss {ours:.4f} nats a token; torch's cross-entropy of the shifted two {torchs:.4f}",
        ok,
        ours=ours,
        torchs=torchs,
    )
    chosen = loss.log_softmax(logits)[0, :-1].gather(-1, tokens[0, 1:, None]).squeeze(-1)
    guide.say("   log-probability of each next token:")
    for id, value in zip(tokens[0, 1:].tolist(), chosen.tolist(), strict=True):
        guide.show(f"      {tokenizer.decode([id])!r:10} {value:8.4f}")


def causal_attention(guide):
    guide.title("Attention: bidirectional (BERT), causal (GPT), cross (T5)")
    n = 5
    mask = attention.causal_mask(n, n)
    guide.say("   The causal mask: query i may look at key j ≤ i. As M, added to the scores, it is 0 and -∞:")
    for i, row in enumerate(mask.tolist()):
        guide.show(f"      q{i}   " + "".join(f"{'0' if allowed else '-∞':>4}" for allowed in row))
    generator = torch.Generator().manual_seed(0)
    q, k, v, memory_k, memory_v = torch.randn(5, 1, 2, n, 8, generator=generator, dtype=torch.float64).unbind(0)
    scores = q @ k.transpose(-2, -1) / 8**0.5
    minus_infinity = scores.new_zeros(n, n).masked_fill(~mask, -torch.inf)
    lecture = (scores + minus_infinity.masked_fill(mask, 1.0)).softmax(-1)
    as_written = (scores + mask.double()).softmax(-1)
    weights = attention.attention_weights(q, k, causal=True)
    difference = _difference(weights, (scores + minus_infinity).softmax(-1))
    guide.claim("masking the scores is adding M with 0 and -∞", difference < 1e-15)
    guide.say("   The lecture's matrix has 1 where it should have 0. Softmax forgives a constant, not a missing -∞:")
    difference = _difference(weights, lecture)
    guide.claim(
        "with 1 and -∞ the weights are the same (to {difference:.0e})", difference < 1e-15, difference=difference
    )
    wrong = _difference(weights, as_written)
    guide.claim(
        "with 0 and 1, as the rule under the formula says, they are off by {wrong:.1f}", wrong > 0.1, wrong=wrong
    )

    guide.say("   Three formulas, three calls of one function:")
    calls = {
        "BERT   explicit_attention(q, k, v)": (q, k, v, False),
        "GPT    explicit_attention(q, k, v, causal=True)": (q, k, v, True),
        "T5     explicit_attention(q, memory_k, memory_v)": (q, memory_k, memory_v, False),
    }
    for call, (q_, k_, v_, causal) in calls.items():
        ours = attention.explicit_attention(q_, k_, v_, causal=causal)
        torchs = F.scaled_dot_product_attention(q_, k_, v_, is_causal=causal)
        fused = attention.sdpa_attention(q_, k_, v_, causal=causal)
        difference = max(_difference(ours, torchs), _difference(fused, torchs))
        guide.claim(
            "{call:50} → {shape}, equals torch's (to {difference:.0e})",
            difference < 1e-14,
            call=call,
            shape=_shape(ours),
            difference=difference,
        )
    changed = v.clone()
    changed[..., -1, :] += 1
    after = attention.explicit_attention(q, k, changed, causal=True)
    before = attention.explicit_attention(q, k, v, causal=True)
    ok = torch.equal(before[..., :-1, :], after[..., :-1, :]) and not torch.equal(before, after)
    guide.claim("a change of the last token changes no earlier output, to the last bit", ok)


def cross_entropy_by_hand(guide):
    guide.title("CrossEntropyLoss: labels select, -100 is ignored")
    generator = torch.Generator().manual_seed(42)
    logits = torch.randn(3, 5, generator=generator)
    target = torch.empty(3, dtype=torch.long).random_(5, generator=generator)
    rows = loss.log_softmax(logits)
    chosen = rows.gather(-1, target[:, None]).squeeze(-1)
    guide.say("   torch.manual_seed(42); logits torch.randn(3, 5); targets {targets}", targets=target.tolist())
    guide.say("   log-softmax at the targets: {values}", values=", ".join(f"{value:.4f}" for value in chosen))
    guide.claim("log_softmax by hand equals torch's", _difference(rows, F.log_softmax(logits, -1)) < 1e-6)
    value = loss.cross_entropy(logits, target).item()
    guide.claim("minus their mean: {value:.4f}, the lecture's 2.4607", f"{value:.4f}" == "2.4607", value=value)
    target[-1] = -100
    value = loss.cross_entropy(logits, target).item()
    guide.claim("with the last target -100: {value:.4f}, the lecture's 1.8357", f"{value:.4f}" == "1.8357", value=value)
    guide.claim("torch's cross-entropy agrees", abs(F.cross_entropy(logits, target).item() - value) < 1e-6)


def training_and_generating(guide, model, tokenizer):
    guide.title("Training and inference: all positions at once = token by token")
    tokens = torch.tensor([tokenizer.encode(SENTENCE)])
    n = tokens.size(1)
    for name, some_model, bar in [("float32", model, 1e-5), ("float64", copy.deepcopy(model).double(), 1e-13)]:
        parallel = some_model(tokens)
        step_by_step = torch.stack([some_model(tokens[:, :length])[:, -1] for length in range(1, n + 1)], dim=1)
        cache = some_model.new_cache(batch_size=1, capacity=n)
        cached = torch.cat([some_model(tokens[:, i : i + 1], cache=cache) for i in range(n)], dim=1)
        if some_model is model:
            guide.say("   logits[0, 1], the first three and last three vocabulary entries:")
            guide.say("      at once      {numbers}", numbers=_ends(parallel[0, 1]))
            guide.say("      step by step {numbers}", numbers=_ends(step_by_step[0, 1]))
        allowed = bar * parallel.abs().max()
        apart = _difference(parallel, step_by_step)
        guide.claim(
            "{dtype}, token by token : largest difference {apart:.0e}", apart < allowed, dtype=name, apart=apart
        )
        apart = _difference(parallel, cached)
        guide.claim(
            "{dtype}, with a KV cache: largest difference {apart:.0e}", apart < allowed, dtype=name, apart=apart
        )

    guide.say("   So training may read a text at once, and generating may write it one token at a time:\n")
    prompt, settings = "Return the", dict(do_sample=True, temperature=0.7, seed=1)
    ids = []

    def noted():
        for id in stream(model, tokenizer.encode(prompt), 60, **settings):
            ids.append(id)
            yield id

    guide.show(f"      {prompt}", end="")
    for text in tokenizer.decode_stream(noted()):
        guide.show(text.replace("\n", "\n      "), end="")
    guide.show("\n")
    again = list(stream(model, tokenizer.encode(prompt), 60, **settings, use_cache=False))
    guide.claim("the same seed without the cache draws the same text", ids == again)


def measuring_perplexity(guide, model, tokenizer):
    guide.title("PPL: sliding windows, three ways to average")
    tokens = tokenizer.encode(module_documentation(UNSEEN_MODULE).text)
    window = model.config.n_positions
    guide.say(
        "   The documentation of {module}: {n} tokens, windows of {window}",
        module=UNSEEN_MODULE,
        n=len(tokens),
        window=window,
    )
    guide.say("     stride  windows   scored      exact    lecture  documentation")
    by_stride = {}
    for stride in (window, window // 2, window // 4, window // 8):
        scores = by_stride[stride] = perplexity.score(model, tokens, window, stride)
        guide.show(
            f"   {stride:>8} {len(scores.windows):>8} {scores.n_scored:>8} {scores.perplexity:>10.4f} "
            f"{scores.window_mean_perplexity:>10.4f} {scores.docs_perplexity:>14.4f}"
        )
    full, half, eighth = by_stride[window], by_stride[window // 2], by_stride[window // 8]
    guide.claim("stride < window: every token but the first is scored once", half.n_scored == len(tokens) - 1)
    touching = len(full.windows) - 1
    guide.claim(
        "stride = window: {n} tokens, the first of each later window, are not",
        full.n_scored == len(tokens) - 1 - touching,
        n=touching,
    )
    ok = eighth.perplexity < half.perplexity < full.perplexity
    guide.claim("more context predicts better: the shorter the stride, the lower the perplexity", ok)
    loss_of = lambda input_ids, labels: loss.next_token_loss(model(input_ids), labels)  # noqa: E731
    by_loop = perplexity.lecture_perplexity(loss_of, torch.tensor([tokens]), window, window // 2).item()
    apart = abs(by_loop / half.window_mean_perplexity - 1)
    guide.claim(
        "the lecture's loop as written (stride {stride}) gives its number, to {apart:.0e}",
        apart < 1e-5,
        stride=window // 2,
        apart=apart,
    )
    first = torch.tensor([tokens[:window]])
    expected = loss.next_token_loss(model(first), first).exp().item()
    value = perplexity.score(model, tokens[:window]).perplexity
    guide.claim(
        "a text of one window: perplexity {value:.4f} = exp(loss)", abs(value / expected - 1) < 1e-5, value=value
    )


def against_hugging_face(guide, source):
    guide.title("Against Hugging Face: the same checkpoint, two implementations")
    directory = find_checkpoint(source)
    try:
        import_transformers()
    except ImportError as error:
        guide.say("   Left out: {error}.", error=error)
        return
    for attention_name in ("explicit", "sdpa"):
        for dtype in (torch.float64, torch.float32):
            for c in verify(load_model(directory, dtype=dtype, attention=attention_name), directory):
                guide.claim(
                    "{attention:9} {c.dtype:8} {quantity} differ by {c.difference:.1e}, bar {c.bar:.0e}",
                    c.ok,
                    attention=attention_name,
                    quantity=padded(said(TEXTS, c.quantity), 21),
                    c=c,
                )


def _shape(tensor) -> str:
    return "×".join(str(size) for size in tensor.shape)


def _ends(row) -> str:
    """The first three and the last three numbers of a row."""
    return "".join(f"{value:10.4f}" for value in [*row[:3].tolist(), *row[-3:].tolist()])


def _difference(a, b) -> float:
    return (a - b).abs().max().item()
