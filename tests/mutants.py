"""Bugs from public projects, and typical ones. Each can be switched on; this prints which check catches it:

    python tests/mutants.py

A mutant is a change of a few words in a file of minigpt. Under `switched_on` the package is imported again with that
change; the files themselves are never touched. The words to replace must occur exactly once, so that the registry
always fits the code.
"""

import importlib
import importlib.machinery
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "minigpt"


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str  # the file of minigpt, with dots for folders: "generation.loop"
    before: str
    after: str
    seen: str  # where this mistake was made, or how it is usually made

    def apply(self, source: str) -> str:
        if source.count(self.before) != 1:
            raise LookupError(f"{self.name}: {self.before!r} occurs {source.count(self.before)} times in {self.path}")
        return source.replace(self.before, self.after)

    @property
    def path(self) -> Path:
        return PACKAGE / (self.file.replace(".", "/") + ".py")


class _MutatingLoader(importlib.machinery.SourceFileLoader):
    mutant: Mutant

    def get_code(self, fullname):
        source = self.mutant.apply(self.get_data(self.path).decode())
        return compile(source, self.path, "exec")


class _MutatingFinder:
    def __init__(self, mutant: Mutant):
        self.mutant = mutant

    def find_spec(self, fullname, path=None, target=None):
        if fullname != f"minigpt.{self.mutant.file}":
            return None
        loader = _MutatingLoader(fullname, str(self.mutant.path))
        loader.mutant = self.mutant
        return importlib.machinery.ModuleSpec(fullname, loader, origin=loader.path)


@contextmanager
def switched_on(mutant: Mutant):
    """Inside, `import minigpt` gives the package with this bug; afterwards the one from before."""
    aside = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "minigpt"}
    finder = _MutatingFinder(mutant)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] == "minigpt"]:
            del sys.modules[name]
        sys.modules.update(aside)


def exchanged(one: str, other: str) -> str:
    """Code for a name table in which two of Hugging Face's names have changed places."""
    places = f'theirs.replace({one!r}, "?").replace({other!r}, {one!r}).replace("?", {other!r})'
    return f"[({places}, ours, transpose) for theirs, ours, transpose in NAME_TABLE]"


MUTANTS = [
    # --- attention.py
    Mutant(
        "no scaling of the scores",
        "attention",
        "_product_of_heads(q * scale, k.transpose(-2, -1))",
        "_product_of_heads(q, k.transpose(-2, -1))",
        "the factor is forgotten, or folded into an initialisation that a loaded checkpoint does not have",
    ),
    Mutant(
        "a query sees its successor",
        "attention",
        "return key_position <= query_position",
        "return key_position <= query_position + 1",
        "tril(diagonal=1)",
    ),
    Mutant(
        "a query does not see itself",
        "attention",
        "return key_position <= query_position",
        "return key_position < query_position",
        "tril(diagonal=-1)",
    ),
    Mutant(
        "mask in the top left corner",
        "attention",
        "torch.arange(n_key - n_query, n_key, device=device)[:, None]",
        "torch.arange(n_query, device=device)[:, None]",
        "tril of a rectangle, as torch's is_causal does: right without a cache only",
    ),
    Mutant(
        "is_causal with a cache",
        "attention",
        "bias is None and 1 < n_query == n_key",
        "bias is None",
        "is_causal=True while decoding one token: it sees the first key only (nanoGPT issues, many forks)",
    ),
    Mutant(
        "a row of -inf",
        "attention",
        "weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(dim=-1)\n    if mask is None:",
        "return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)\n    if mask is None:",
        "a fully padded row becomes nan, and nan spreads through 0 * nan",
    ),
    Mutant(
        "an empty row looks everywhere",
        "attention",
        "return weights.masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0)",
        "return weights",
        "Hugging Face's eager attention: uniform over all keys, the future included",
    ),
    Mutant(
        "padding or causal instead of both",
        "attention",
        "mask & triangle",
        "mask | triangle",
        "masks combined with the wrong word",
    ),
    Mutant(
        "the mask is added twice",
        "attention",
        "scores = scores + bias\n    allowed",
        "scores = scores + 2 * bias\n    allowed",
        "a bias or mask goes in once by hand and once more inside the attention call",
    ),
    Mutant(
        "the fused kernel forgets the bias under a mask",
        "attention",
        "allowed = bias.masked_fill(~allowed, -torch.inf)",
        "pass",
        "one attn_mask argument for two purposes",
    ),
    Mutant(
        "softmax over the queries",
        "attention",
        "torch.finfo(scores.dtype).min).softmax(dim=-1)",
        "torch.finfo(scores.dtype).min).softmax(dim=-2)",
        "dim=1 left over from a version without heads",
    ),
    Mutant(
        "heads put together unsorted",
        "attention",
        "heads.transpose(1, 2).flatten(2)",
        "heads.reshape(heads.size(0), heads.size(2), -1)",
        "view instead of transpose: every shape fits",
    ),
    Mutant(
        "a dropped bias",
        "attention",
        "return self.output(heads.transpose(1, 2).flatten(2))",
        "return heads.transpose(1, 2).flatten(2) @ self.output.weight.T",
        "bias=False copied from another architecture; fresh weights have zero biases and do not show it",
    ),
    Mutant(
        "values from the wrong source",
        "attention",
        "self.keys_values(x if source is None else source) if keys_values is None",
        "(self.keys_values(x if source is None else source)[0], self.keys_values(x)[1]) if keys_values is None",
        "in self attention both sources are the same",
    ),
    Mutant(
        "keys used as values",
        "attention",
        "v = self._split_heads(self.value(source), self.n_kv_head)",
        "v = self._split_heads(self.key(source), self.n_kv_head)",
        "'K and V take the same value', taken literally",
    ),
    # --- tiled_attention.py
    Mutant(
        "what was summed is not rescaled",
        "tiled_attention",
        "summed = summed * rescale + weights @ v_tile",
        "summed = summed + weights @ v_tile",
        "the usual first mistake with an online softmax: the largest score has changed since",
    ),
    Mutant(
        "the sum of the weights is not rescaled",
        "tiled_attention",
        "total = total * rescale + weights.sum",
        "total = total + weights.sum",
        "the output is rescaled, its divisor is not",
    ),
    Mutant(
        "no maximum",
        "tiled_attention",
        "new_largest = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))",
        "new_largest = torch.zeros_like(largest)",
        "equal for small scores; exp of a large one is inf",
    ),
    Mutant(
        "the maximum of this tile only",
        "tiled_attention",
        "new_largest = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))",
        "new_largest = scores.amax(dim=-1, keepdim=True)",
        "right as long as the largest score comes last; then exp(old - new) is huge",
    ),
    Mutant(
        "a tile of queries begins at position 0",
        "tiled_attention",
        "[:, None] + self.offset",
        "[:, None]",
        "the rectangle of a later chunk of queries, taken for a square",
    ),
    Mutant(
        "a tile on the diagonal has no mask",
        "tiled_attention",
        "if self.causal and keys.stop - 1 > self.offset + queries.start:",
        "if self.causal and keys.start > self.offset + queries.start:",
        "tiles after the diagonal are skipped, those that it crosses forgotten",
    ),
    Mutant(
        "one tile of keys too few",
        "tiled_attention",
        "min(self.n_key, self.offset + queries.stop)",
        "min(self.n_key, queries.stop)",
        "the last tile is counted without the cache",
    ),
    Mutant(
        "softmax's derivative without its second term",
        "tiled_attention",
        "d_scores = weights * (d_weights - row_sums)",
        "d_scores = weights * d_weights",
        "the weights of a row sum to 1: raising one lowers the others",
    ),
    Mutant(
        "the gradient of the keys without the scale",
        "tiled_attention",
        "_add_tile(dk, keys, d_scores.transpose(-2, -1) @ q_tile * tiles.scale)",
        "_add_tile(dk, keys, d_scores.transpose(-2, -1) @ q_tile)",
        "the scale was put on q in the forward pass",
    ),
    Mutant(
        "dropout in the forward pass only",
        "tiled_attention",
        "d_weights = d_tile @ v_tile.transpose(-2, -1) * kept",
        "d_weights = d_tile @ v_tile.transpose(-2, -1)",
        "a weight that was dropped has no gradient",
    ),
    Mutant(
        "dropout changes the divisor",
        "tiled_attention",
        "weights.sum(dim=-1, keepdim=True)\n                weights = weights * tiles.kept(weights, queries, keys)",
        "(weights := weights * tiles.kept(weights, queries, keys)).sum(dim=-1, keepdim=True)",
        "dropout after softmax leaves the divisor alone",
    ),
    Mutant(
        "the gradient of one head of a group",
        "tiled_attention",
        ".unflatten(-3, (total.size(-3), -1)).sum(dim=-3)",
        ".unflatten(-3, (total.size(-3), -1))[..., 0, :, :]",
        "a key head gets a gradient from each query head that it serves",
    ),
    # --- masks.py, positions.py: other patterns; lecture/fewer_key_heads.py
    Mutant(
        "a window one key too wide",
        "masks",
        "query_position - key_position < window",
        "query_position - key_position <= window",
        "window keys before the query, and the query itself",
    ),
    Mutant(
        "one sink too many",
        "masks",
        "key_position < n_sink",
        "key_position <= n_sink",
        "positions count from 0",
    ),
    Mutant(
        "sinks without a window",
        "masks",
        "causal & (near | (key_position < n_sink))",
        "causal & near",
        "a window that forgets where models put the weight that they need nowhere",
    ),
    Mutant(
        "a prefix one token too long",
        "masks",
        "torch.arange(n_key, device=device) < n_prefix",
        "torch.arange(n_key, device=device) <= n_prefix",
        "the first token to be written is read before",
    ),
    Mutant(
        "ALiBi rewards distance",
        "positions",
        "return -(slopes[:, None, None] * distance)[None]",
        "return (slopes[:, None, None] * distance)[None]",
        "the paper's matrix holds negative numbers, the slopes are positive",
    ),
    Mutant(
        "ALiBi's other slopes begin at the second",
        "positions",
        "for head in range(0, 2 * lower, 2)]",
        "for head in range(1, 2 * lower, 2)]",
        "the wrong half: these slopes are there already",
    ),
    Mutant(
        "every second head is averaged",
        "lecture.fewer_key_heads",
        "linear.weight.unflatten(0, (n_group, -1, d_head)).mean(dim=1)",
        "linear.weight.unflatten(0, (-1, n_group, d_head)).mean(dim=0)",
        "a group of query heads is a run of neighbours",
    ),
    Mutant(
        "the biases of the heads are left as new",
        "lecture.fewer_key_heads",
        "    if linear.bias is not None:\n        fewer.bias.copy_",
        "    if False:\n        fewer.bias.copy_",
        "fresh biases are near 0 and hide it",
    ),
    # --- compare/: kernels, cost
    Mutant(
        "a mask of three dimensions reaches torch as it is",
        "attention",
        "allowed.dim() in (1, q.dim() - 1)",
        "allowed.dim() == 1",
        "right numbers, from the formula with all scores in memory: the fused kernels refuse such a mask",
    ),
    Mutant(
        "a kernel is asked while the others are allowed",
        "compare.kernels",
        "with sdpa_kernel(backend):",
        "with sdpa_kernel(list(KERNELS.values())):",
        "another kernel computes the call, and it looks as if this one took it",
    ),
    Mutant(
        "a multiplication and its addition are one operation",
        "compare.cost",
        "product = 2 * scores * d_head",
        "product = scores * d_head",
        "MACs, given as FLOPs: half of the operations",
    ),
    Mutant(
        "the cache is not read",
        "compare.cost",
        "rows * tokens, rows * (past + tokens)",
        "rows * tokens, rows * tokens",
        "the cost of decoding, from the formula of a prefill of one token",
    ),
    Mutant(
        "each query head reads keys of its own",
        "compare.cost",
        "n_head * d_head, n_kv_head * d_head",
        "n_head * d_head, n_head * d_head",
        "grouped keys are repeated in the explicit formula; the cache holds the few",
    ),
    # --- kv_cache.py
    Mutant(
        "every layer advances the cache",
        "kv_cache",
        "        cache._check_space(n_new)\n",
        "        cache._check_space(n_new)\n        cache.length += n_new * (self.layer > 0)\n",
        "one length for all layers, moved on by each of them",
    ),
    Mutant(
        "a stale cache",
        "kv_cache",
        "return keys.narrow(2, 0, cache.length + n_new), values.narrow(2, 0, cache.length + n_new)",
        "return k, v",
        "the cache is written and never read: random weights still generate something",
    ),
    Mutant(
        "values cached as keys",
        "kv_cache",
        "values.narrow(2, cache.length, n_new).copy_(v)",
        "values.narrow(2, cache.length, n_new).copy_(k)",
        "a copied line in which one name was not changed",
    ),
    Mutant(
        "rows selected for the keys only",
        "kv_cache",
        "self.values[..., : self.length, :] = filled",
        "self.values[..., : self.length, :] = filled[0], self.values[:, : len(rows), :, : self.length]",
        "beams or finished rows reordered in one of two tensors",
    ),
    Mutant(
        "truncation forgets nothing",
        "kv_cache",
        'self.length = integer("n", n, 0, self.length)',
        'integer("n", n, 0, self.length)',
        "a rejected draft stays in the cache",
    ),
    # --- what other models ask of attention
    Mutant(
        "key heads repeated as a whole",
        "attention",
        "x.repeat_interleave(n_head // x.size(-3), dim=-3)",
        "x.repeat(*[1] * (x.dim() - 3), n_head // x.size(-3), 1, 1)",
        "repeat instead of repeat_interleave (onnx #7274, keras-hub #1203): wrong where there are several key heads",
    ),
    Mutant(
        "one query's heads in the order of the other grouping",
        "attention",
        "groups = a.squeeze(-2).unflatten(-2, (b.size(-3), -1))",
        "groups = a.squeeze(-2).unflatten(-2, (-1, b.size(-3))).transpose(-3, -2)",
        "the reshape that takes every n-th head for a group",
    ),
    Mutant(
        "queries rotated, keys not",
        "attention",
        "q, k = rotate(q), rotate(k)",
        "q = rotate(q)",
        "scores then depend on the place of the query, not on the distance",
    ),
    Mutant(
        "keys rotated again with every step",
        "attention",
        "        if cache is not None:\n            k, v = cache.append(k, v)  # (B, H_kv, past + T, D)\n",
        "        if cache is not None:\n"
        "            k, v = cache.append(k, v)\n"
        "            k = k if rotate is None else torch.cat([k[..., : -x.size(1), :], rotate(k[..., "
        "-x.size(1) :, :])], dim=-2)\n",
        "rotating what comes out of the cache, where it is rotated already",
    ),
    Mutant(
        "a function that is not ours gets grouped keys",
        "attention",
        "if self.n_kv_head < self.n_head and not is_ours(self.attend):",
        "if False:",
        "a reader's attention does not know that key heads may be fewer",
    ),
    Mutant(
        "a function that is not ours shows the standard weights",
        "trace",
        "if is_ours(attend):",
        "if True:",
        "a picture of weights that the model does not use",
    ),
    Mutant(
        "the model forgets to advance its cache",
        "models.gpt2",
        "cache.advance(tokens.size(1))",
        "pass",
        "the keys are there and nobody counts them",
    ),
    Mutant(
        "without a cache only the new tokens are read",
        "language_model",
        "else torch.cat([self.tokens, new], dim=1)",
        "else new",
        "forgetting everything that was read before",
    ),
    Mutant(
        "truncating without a cache forgets nothing",
        "language_model",
        "self.tokens = self.tokens[:, :n]",
        "pass",
        "drafts of a model without a cache then see what was rejected",
    ),
    Mutant(
        "an end at the last allowed token called length",
        "generation.stopping",
        "        if newest in self.stop_tokens:\n"
        '            return "stop token"\n'
        "        if n_new >= self.max_new_tokens:\n"
        '            return "length"\n',
        "        if n_new >= self.max_new_tokens:\n"
        '            return "length"\n'
        "        if newest in self.stop_tokens:\n"
        '            return "stop token"\n',
        "the wrong reason when the last allowed token is a stop token",
    ),
    Mutant(
        "hooks are looked for once",
        "fast.steps",
        "if step is None or not unchanged():",
        "if step is None:",
        "a hook that is added while a text is being written is passed over",
    ),
    Mutant(
        "a step goes on with the weights of before",
        "fast.one_row_products",
        "if state() != copied:",
        "if False:",
        "weights that are trained on while a text is being written: the head was copied before",
    ),
    Mutant(
        "the switch switches nothing",
        "fast.switch",
        "return _ON.get()",
        "return True",
        "the code without fast ways is then never tested",
    ),
    # --- loss.py
    Mutant(
        "no shift",
        "loss",
        "logits, targets = logits[:, :-1], next",
        "logits, targets = logits[:, 1:], next",
        "labels passed as if they were shifted already",
    ),
    Mutant(
        "shifted twice",
        "loss",
        "targets = labels[:, 1:]\n",
        "targets = labels[:, 1:].roll(-1, dims=1)\n",
        "labels shifted by the data loader and again by the model",
    ),
    Mutant(
        "ignored labels in the mean",
        "loss",
        "losses.sum() / len(losses)",
        "losses.sum() / targets.numel()",
        "mean over the rectangle, pads included",
    ),
    Mutant(
        "mean of means under accumulation",
        "loss",
        'return cross_entropy(logits, targets, ignore_index, "sum") / num_items',
        "return cross_entropy(logits, targets, ignore_index)",
        "transformers until October 2024 (gradient accumulation of uneven batches)",
    ),
    Mutant(
        "the last pad predicts the first token",
        "loss",
        "real[:, 1:] & real[:, :-1]",
        "real[:, 1:]",
        "labels of pads set to -100, left padding: Hugging Face's models",
    ),
    Mutant(
        "exp without subtracting the largest",
        "loss",
        "return logits - logits.detach().amax(dim=-1, keepdim=True)",
        "return logits",
        "right for small logits, inf for large ones",
    ),
    Mutant(
        "no gradient for ignored rows, but nan",
        "loss",
        "(logits.flatten(0, -2), targets.flatten()) if counts.all() else (logits[counts], targets[counts])",
        "(logits.flatten(0, -2) * counts.flatten()[:, None], targets.flatten().clamp(min=0))",
        "masking by multiplication: 0 * nan is nan",
    ),
    Mutant(
        "the target missing in the gradient",
        "fast.loss_without_logits",
        "    gradient.scatter_add_(1, target, gradient.new_full(target.shape, -1.0))\n",
        "",
        "softmax for its gradient: every logit is pushed down",
    ),
    Mutant(
        "the weight's gradient of the last chunk only",
        "fast.loss_without_logits",
        "grad_weight.addmm_(gradient.t(), x)",
        "grad_weight = gradient.t() @ x",
        "an assignment where a sum belongs",
    ),
    Mutant(
        "every chunk its own mean",
        "fast.loss_without_logits",
        'divisor = 1 if reduction == "sum" else num_items or len(rows)',
        'divisor = 1 if reduction == "sum" else len(rows)',
        "num_items passed over: a mean of means under accumulation",
    ),
    Mutant(
        "what comes from above forgotten",
        "fast.loss_without_logits",
        "g if g is None or is_one else g * grad_output",
        "g",
        "right for loss.backward(), wrong for a loss that is scaled or summed",
    ),
    Mutant(
        "the loss without logits, without its shift",
        "fast.loss_without_logits",
        '["hidden"](tokens, **inputs)[:, :-1], next',
        '["hidden"](tokens, **inputs)[:, 1:], next',
        "hidden states of the wrong end",
    ),
    # --- models/gpt2.py
    Mutant(
        "erf-GELU",
        "layers",
        'return F.gelu(x, approximate="tanh")',
        "return F.gelu(x)",
        "nn.GELU() for GPT-2's gelu_new: nanoGPT to this day",
    ),
    Mutant(
        "swapped norms",
        "models.gpt2",
        "self.attention(self.attention_norm(x), mask=mask",
        "self.attention(self.mlp_norm(x), mask=mask",
        "ln_1 and ln_2 exchanged in a name table; fresh norms are all 1 and 0",
    ),
    Mutant(
        "norm after the block",
        "models.gpt2",
        "return x + self.dropout(self.mlp(self.mlp_norm(x)))",
        "return self.mlp_norm(x + self.dropout(self.mlp(x)))",
        "post-norm, as in GPT-1 and BERT",
    ),
    Mutant(
        "no residual around the MLP",
        "models.gpt2",
        "return x + self.dropout(self.mlp(self.mlp_norm(x)))",
        "return self.dropout(self.mlp(self.mlp_norm(x)))",
        "a lost `x +`",
    ),
    Mutant(
        "no final norm",
        "models.gpt2",
        "return self.final_norm(x)",
        "return x",
        "ln_f forgotten: GPT-1 has none",
    ),
    Mutant(
        "wrong epsilon",
        "models.gpt2",
        "self.final_norm = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)",
        "self.final_norm = nn.LayerNorm(config.n_embd, eps=1e-6)",
        "1e-6 from T5 and Llama, 1e-12 from BERT",
    ),
    Mutant(
        "scaled by the width of the model",
        "models.gpt2",
        "1 / math.sqrt(c.n_embd // c.n_head)",
        "1 / math.sqrt(c.n_embd)",
        "sqrt(d_model) for sqrt(d_k)",
    ),
    Mutant(
        "layers counted from 0 in the inverse scaling",
        "models.gpt2",
        "scale /= layer + 1",
        "scale /= max(1, layer)",
        "scale_attn_by_inverse_layer_idx is layer + 1",
    ),
    Mutant(
        "pads are attended to",
        "models._inputs",
        "mask = None if attention_mask is None else padding_mask(attention_mask)",
        "mask = None",
        "generate without attention_mask: 'I love you.\\n\\nI love'",
    ),
    Mutant(
        "positions count the pads",
        "positions",
        "if attention_mask is None:\n        return torch.arange",
        "if True:\n        return torch.arange",
        "left padding without position_ids: Hugging Face's forward",
    ),
    Mutant(
        "positions start again at 0 with a cache",
        "positions",
        "torch.arange(past, past + tokens.size(1)",
        "torch.arange(0, tokens.size(1)",
        "each decoded token believes it is the first",
    ),
    Mutant(
        "cached positions off by one",
        "positions",
        "torch.arange(past, past + tokens.size(1)",
        "torch.arange(max(0, past - 1), max(0, past - 1) + tokens.size(1)",
        "length counted before or after the append",
    ),
    Mutant(
        "an untied head ignored",
        "models.gpt2",
        "if self.lm_head is None else self.lm_head(hidden)",
        "if True else self.lm_head(hidden)",
        "tie_word_embeddings taken for granted",
    ),
    Mutant(
        "no dropout on the embeddings",
        "models.gpt2",
        "x = self.dropout(x)\n        for block,",
        "for block,",
        "embd_pdrop forgotten",
    ),
    Mutant(
        "residual projections not scaled down",
        "models.gpt2",
        "std=std / math.sqrt(2 * len(model.blocks))",
        "std=std",
        "Radford et al. 2019, section 2.3, overlooked",
    ),
    # --- checkpoints/: translation of names
    Mutant(
        "missing transpose of the square c_proj",
        "checkpoints.names.gpt2",
        '"blocks.{i}.attention.output.weight", True)',
        '"blocks.{i}.attention.output.weight", False)',
        "a list of names to transpose with one left out: no shape complains",
    ),
    Mutant(
        "query and key exchanged",
        "checkpoints.names.gpt2",
        'for name in ("query", "key", "value"))',
        'for name in ("key", "query", "value"))',
        "the order in c_attn, guessed",
    ),
    Mutant(
        "saved without the transpose",
        "checkpoints.translate",
        "tensors[in_front + theirs] = (tensor.t() if transpose else tensor)",
        "tensors[in_front + theirs] = (tensor.t() if transpose and 'c_proj' not in theirs else tensor)",
        "the way back forgotten",
    ),
    # --- generation/processors.py
    Mutant(
        "a penalty that favours negative logits",
        "generation.processors",
        "torch.where(row[seen] < 0, row[seen] * penalty, row[seen] / penalty)",
        "row[seen] / penalty",
        "the formula of the CTRL paper as printed: logits below zero become likelier",
    ),
    Mutant(
        "the penalty multiplies",
        "generation.processors",
        "torch.where(row[seen] < 0, row[seen] * penalty, row[seen] / penalty)",
        "torch.where(row[seen] < 0, row[seen] / penalty, row[seen] * penalty)",
        "above 1 it then invites repetition",
    ),
    Mutant(
        "the newest n-gram is overlooked",
        "generation.processors",
        "starts = range(len(text) - n + 1)",
        "starts = range(len(text) - n)",
        "off by one at the end of the text: 5 5 5 may go on",
    ),
    Mutant(
        "n-grams of n + 1",
        "generation.processors",
        "ending = text[len(text) - n + 1 :]",
        "n += 1; ending = text[len(text) - n + 1 :]",
        "n tokens compared instead of n - 1",
    ),
    Mutant(
        "temperature multiplies",
        "generation.processors",
        'return logits / number("temperature", temperature, least=1e-30)',
        'return logits * number("temperature", temperature, least=1e-30)',
        "a factor where the formula divides: the inverse temperature of physics",
    ),
    Mutant(
        "top-p may keep nothing",
        "generation.processors",
        "unlikely[..., -1] = False",
        "pass",
        "with a small p no token is left, and sampling fails or draws token 0",
    ),
    Mutant(
        "top-p counted from the wrong end",
        "generation.processors",
        "cumsum(dim=-1) <= 1 - p",
        "cumsum(dim=-1) <= p",
        "the share that is removed taken for the share that stays",
    ),
    Mutant(
        "top-p leaves the crossing token out",
        "generation.processors",
        "ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p",
        "ascending.softmax(dim=-1).cumsum(dim=-1) - ascending.softmax(dim=-1) <= 1 - p",
        "the nucleus has to reach p, not stay below it",
    ),
    Mutant(
        "top-k drops ties",
        "generation.processors",
        "logits.masked_fill(logits < threshold, -torch.inf)",
        "logits.masked_fill(logits <= threshold, -torch.inf)",
        "< and <= confused: one token too few",
    ),
    Mutant(
        "min-p as a share of 1",
        "generation.processors",
        "probabilities < p * probabilities.amax(dim=-1, keepdim=True)",
        "probabilities < p",
        "an absolute threshold, which may leave nothing",
    ),
    Mutant(
        "top-p before top-k",
        "generation.processors",
        '    Processor("top_k", None, lambda logits, texts, k: keep_top_k(logits, k)),\n'
        '    Processor("top_p", None, lambda logits, texts, p: keep_top_p(logits, p)),\n',
        '    Processor("top_p", None, lambda logits, texts, p: keep_top_p(logits, p)),\n'
        '    Processor("top_k", None, lambda logits, texts, k: keep_top_k(logits, k)),\n',
        "the nucleus counts probability that top-k takes away",
    ),
    # --- generation/processors.py, generation/settings.py
    Mutant(
        "temperature after top-p",
        "generation.processors",
        '    Processor("temperature", 1.0, lambda logits, texts, temperature: apply_temperature(logits, '
        "temperature)),\n"
        '    Processor("top_k", None, lambda logits, texts, k: keep_top_k(logits, k)),\n'
        '    Processor("top_p", None, lambda logits, texts, p: keep_top_p(logits, p)),\n',
        '    Processor("top_k", None, lambda logits, texts, k: keep_top_k(logits, k)),\n'
        '    Processor("top_p", None, lambda logits, texts, p: keep_top_p(logits, p)),\n'
        '    Processor("temperature", 1.0, lambda logits, texts, temperature: apply_temperature(logits, '
        "temperature)),\n",
        "processors in the wrong order: the nucleus is another one",
    ),
    Mutant(
        "repetition penalty after the temperature",
        "generation.processors",
        '    Processor("repetition_penalty", 1.0, penalize_repetition),\n'
        '    Processor("no_repeat_ngram_size", 0, forbid_repeated_ngrams),\n'
        '    Processor("suppress_tokens", None, lambda logits, texts, ids: suppress_tokens(logits, ids)),\n'
        '    Processor("processors", (), apply_own),\n'
        '    Processor("temperature", 1.0, lambda logits, texts, temperature: apply_temperature(logits, '
        "temperature)),\n"
        '    Processor("top_k", None, lambda logits, texts, k: keep_top_k(logits, k)),\n',
        '    Processor("no_repeat_ngram_size", 0, forbid_repeated_ngrams),\n'
        '    Processor("suppress_tokens", None, lambda logits, texts, ids: suppress_tokens(logits, ids)),\n'
        '    Processor("processors", (), apply_own),\n'
        '    Processor("temperature", 1.0, lambda logits, texts, temperature: apply_temperature(logits, '
        "temperature)),\n"
        '    Processor("top_k", None, lambda logits, texts, k: keep_top_k(logits, k)),\n'
        '    Processor("repetition_penalty", 1.0, penalize_repetition),\n',
        "it then only shuffles what top-k has left",
    ),
    Mutant(
        "seeds by the place in the batch",
        "generation.settings",
        "index(seed) + rows[:row].count(prompt)",
        "index(seed) + row",
        "a prompt's text depends on how many stand before it",
    ),
    Mutant(
        "equal prompts get equal texts",
        "generation.settings",
        "index(seed) + rows[:row].count(prompt)",
        "index(seed)",
        "five samples of one prompt, all the same",
    ),
    Mutant(
        "one generator for all rows",
        "generation.settings",
        "torch.multinomial(p, 1, generator=generators[row])",
        "torch.multinomial(p, 1, generator=generators[0])",
        "Hugging Face's batches: what a row draws depends on the others",
    ),
    Mutant(
        "generators by the place in what is left of the batch",
        "generation.settings",
        "for p, row in rows_of_probabilities]",
        "for row, (p, _) in enumerate(rows_of_probabilities)]",
        "right until the first row stops",
    ),
    Mutant(
        "the config's end of text ignored",
        "generation.settings",
        "stop_tokens = model.end_tokens if self.stop_tokens is None else",
        "stop_tokens = frozenset() if self.stop_tokens is None else",
        "the model writes on after the end",
    ),
    # --- generation/, language_model.py
    Mutant(
        "padded on the right",
        "language_model",
        "[0] * pad + text for pad, text in zip(pads, texts, strict=True)]",
        "text + [0] * pad for pad, text in zip(pads, texts, strict=True)]",
        "the tokenizer's default: the model continues the pads",
    ),
    Mutant(
        "pads are text",
        "language_model",
        "if any(pads):",
        "if False:",
        "generate without an attention mask: pads are attended to and counted as positions",
    ),
    Mutant(
        "new tokens are pads",
        "language_model",
        "[0] * pad + [1] * (capacity - pad) for pad in pads]",
        "[0] * pad + [1] * (longest - pad) + [0] * (capacity - longest) for pad in pads]",
        "a mask that grows with the wrong value: positions stand still, and no token sees another new one",
    ),
    Mutant(
        "stop tokens overlooked",
        "generation.stopping",
        "if newest in self.stop_tokens:",
        "if False:",
        "the model writes end of text and goes on after it",
    ),
    Mutant(
        "the cache of a row that has stopped",
        "language_model",
        "self.cache.select(rows)",
        "self.cache.select(list(range(len(rows))))",
        "rows leave the batch and the cache keeps the first ones",
    ),
    Mutant(
        "the mask of a row that has stopped",
        "language_model",
        "else self.real[rows]",
        "else self.real[: len(rows)]",
        "rows leave the batch and the mask keeps the first ones",
    ),
    Mutant(
        "what is in the cache is not used",
        "language_model",
        "return hidden(tokens, real, cache=self.cache)",
        "states = hidden(tokens, None if real is None else real[:, -n_new:])\n"
        "            self.cache.advance(n_new)\n"
        "            return states",
        "each new token is read as if it were the first: random weights still write something",
    ),
    Mutant(
        "the mask's end for a chunk",
        "language_model",
        "else self.real[:, :n]",
        "else self.real[:, -n:]",
        "right for the last chunk only",
    ),
    Mutant(
        "a chunk sees the pads",
        "language_model",
        "real = self.real_tokens(self.length + n_new)",
        "real = self.real_tokens(self.length + n_new) if self.length == 0 else None",
        "the mask is passed on in the usual case and forgotten in the chunked one",
    ),
    Mutant(
        "logits of the first position",
        "generation.loop",
        "model.logits(hidden[:, -1])",
        "model.logits(hidden[:, 0])",
        "right for single tokens, wrong after a prompt",
    ),
    Mutant(
        "the cache is too small for the pads",
        "language_model",
        "*(pad + end for pad, end in zip(pads, ends, strict=True))",
        "*ends",
        "the capacity is computed from the shortest row",
    ),
    Mutant(
        "one place too many in the cache",
        "language_model",
        "min(len(text) + max_new_tokens, self.max_tokens) - 1 for",
        "min(len(text) + max_new_tokens, self.max_tokens) for",
        "the last token is written and never read",
    ),
    Mutant(
        "log-probabilities of what the processors left",
        "generation.loop",
        "by_the_model.gather(1, unread)",
        "processed.log_softmax(dim=-1).gather(1, unread)",
        "Hugging Face's scores taken for its logits: with top-k of 1 every probability is 1",
    ),
    Mutant(
        "the context's end called the asked length",
        "generation.stopping",
        'return "context" if',
        'return "length" if',
        "a text cut short by the context looks complete",
    ),
    # --- fast/one_token.py
    Mutant(
        "the newest token's position is the one before",
        "fast.one_token",
        "positions = cache.length if real is None",
        "positions = cache.length - 1 if real is None",
        "length counted before or after the append",
    ),
    Mutant(
        "a new token's position counts the pads",
        "fast.one_token",
        "position_ids_for(real, 0, tokens)[:, 0]",
        "torch.full((len(tokens),), cache.length)",
        "the length of the batch for the length of the row",
    ),
    Mutant(
        "a new token sees the pads",
        "fast.one_token",
        "mask = None if real is None else padding_mask(real)",
        "mask = None",
        "the mask is used for the prompt and forgotten for what follows",
    ),
    Mutant(
        "a new token's scores are not scaled by the layer",
        "fast.one_token",
        "v, mask=mask, scale=attention.scale)",
        "v, mask=mask)",
        "the default scale is right for most models",
    ),
    # --- fast/: one row on several threads, cuda_graph.py
    Mutant(
        "the first thread's part only",
        "fast.one_row_products",
        ".transpose(0, 1), parts).sum(dim=0)",
        ".transpose(0, 1), parts)[0]",
        "partial sums not added up",
    ),
    Mutant(
        "the unfilled part of the cache in sight",
        "fast.cuda_graph",
        "may_look[:, n:] = False",
        "may_look[:, n:] = True",
        "keys of 0 get a part of every softmax",
    ),
    Mutant(
        "the newest token out of its own sight",
        "fast.cuda_graph",
        "may_look[:, :n] = True if real is None else real.bool()",
        "may_look[:, : n - 1] = True if real is None else real.bool()[:, : n - 1]",
        "the mask is that of the cache before the step",
    ),
    # --- generation/beams.py
    Mutant(
        "a length that counts the prompt",
        "generation.beams",
        "n_new = len(running[0].log_probabilities) + 1",
        "n_new = len(running[0].tokens) + 1",
        "transformers until 2023: long prompts make every penalty mild",
    ),
    Mutant(
        "the length penalty multiplies",
        "generation.beams",
        "score / n_new**length_penalty",
        "score * n_new**length_penalty",
        "sums are negative: the sign of the penalty is turned round",
    ),
    Mutant(
        "no length penalty",
        "generation.beams",
        "score / n_new**length_penalty",
        "score",
        "the highest sum wins: short texts",
    ),
    Mutant(
        "an end from below the best counts",
        "generation.beams",
        "reason is not None and rank < num_beams:",
        "reason is not None:",
        "candidates after the first num_beams may go on, and may not end a text",
    ),
    Mutant(
        "too few candidates",
        "generation.beams",
        "n_candidates = max(2, 1 + len(stop_tokens)) * num_beams",
        "n_candidates = num_beams",
        "when beams end, fewer go on",
    ),
    Mutant(
        "the beams' cache is not reordered",
        "generation.beams",
        "past.select([parent for parent, _ in going_on])",
        "past.select(sorted(parent for parent, _ in going_on))",
        "each beam goes on with the keys and values of another one",
    ),
    Mutant(
        "the beams' texts are not reordered",
        "language_model",
        "else self.tokens[rows]",
        "else self.tokens[sorted(rows)]",
        "the same without a cache",
    ),
    Mutant(
        "a beam forgets what it cost so far",
        "generation.beams",
        "going_on.append((parent, Beam(tokens_so_far, history, score)))",
        "going_on.append((parent, Beam(tokens_so_far, history, log_probability)))",
        "only the last token's probability counts",
    ),
    Mutant(
        '"never" is true',
        "generation.beams",
        "if early_stopping is True or",
        "if early_stopping or",
        "a string that is not empty counts as True",
    ),
    Mutant(
        "stop when something ended",
        "generation.beams",
        "if len(finished) == num_beams and running:",
        "if finished and running:",
        "the search needs num_beams finished texts, not one",
    ),
    Mutant(
        "hopes are ranked by the longest text that is possible, whatever early_stopping says",
        "generation.beams",
        'if early_stopping == "never" and length_penalty > 0',
        "if length_penalty > 0",
        'the rule of "never" used as the default',
    ),
    Mutant(
        "hopes are never ranked by the longest text that is possible",
        "generation.beams",
        'if early_stopping == "never" and length_penalty > 0',
        "if False",
        '"never" taken for the default',
    ),
    Mutant(
        "measured against the best that has ended",
        "generation.beams",
        "length_penalty <= finished[-1].score",
        "length_penalty <= finished[0].score",
        "the search stops while it could still improve the list",
    ),
    Mutant(
        "processors on logits instead of log-probabilities",
        "generation.beams",
        "process(stopping.postpone(by_the_model, n_new - 1), [beam.tokens for beam in running])",
        "process(stopping.postpone(logits, n_new - 1), [beam.tokens for beam in running]).log_softmax(dim=-1)",
        "as in greedy decoding; Hugging Face's beams do it the other way round",
    ),
    Mutant(
        "beams' log-probabilities of what the processors left",
        "generation.beams",
        "by_the_model[parents, tokens]",
        "processed[parents, tokens]",
        "the score is taken for the probability",
    ),
    # --- generation/drafts.py
    Mutant(
        "a wrong guess is kept",
        "generation.drafts",
        "for token in greedy[: n_right + 1]:",
        "for token in draft[: n_right + 1] or greedy[:1]:",
        "accepted one too far",
    ),
    Mutant(
        "the pass's own token is thrown away",
        "generation.drafts",
        "for token in greedy[: n_right + 1]:",
        "for token in greedy[: max(n_right, 1)]:",
        "texts are right and slower: a pass also gives the token after an accepted draft",
    ),
    Mutant(
        "rejected guesses stay in the cache",
        "generation.drafts",
        "past.truncate(len(text) - 1)",
        "past.truncate(past.length)",
        "the model goes on after what was never written",
    ),
    Mutant(
        "one token too many forgotten",
        "generation.drafts",
        "past.truncate(len(text) - 1)",
        "past.truncate(len(text) - 2)",
        "positions off by one from then on",
    ),
    Mutant(
        "a stop token inside a draft overlooked",
        "generation.drafts",
        "len(text) - n_prompt, token) is not None",
        "len(text) - n_prompt, greedy[n_right]) is not None",
        "only the last token of a pass is looked at",
    ),
    Mutant(
        "a draft beyond the end",
        "generation.drafts",
        "min(draft_length, n_to_write - 1)",
        "draft_length",
        "positions that do not exist",
    ),
    Mutant(
        "the draft starts one token early",
        "generation.drafts",
        "for place in range(start + n, start + n + draft_length):",
        "for place in range(start + n - 1, start + n - 1 + draft_length):",
        "no guess is ever right, and no text is wrong",
    ),
    Mutant(
        "the earliest place",
        "generation.drafts",
        "for start in range(len(text) - n - 1, -1, -1):",
        "for start in range(len(text) - n):",
        "the draft copies the first place where the ending occurred, not the last",
    ),
    # --- perplexity/
    Mutant(
        "the overlap is scored twice",
        "perplexity.windows",
        "return max(self.begin + 1, self.end - self.n_new)",
        "return self.begin + 1",
        "labels of the overlap not set to -100",
    ),
    Mutant(
        "scores of the wrong positions",
        "perplexity.scoring",
        "[:, before : before + n_targets]",
        "[:, before + 1 : before + 1 + n_targets]",
        "position t taken for the prediction of token t",
    ),
    Mutant(
        "a mean of means for the exact number",
        "perplexity.scores",
        "return _exp(self.total / self.n_scored)",
        "return _exp(np.mean(self._window_means()))",
        "the lecture, and the documentation until 2024",
    ),
    Mutant(
        "one token lost in every window",
        "perplexity.windows",
        "return max(self.begin + 1, self.end - self.n_new)",
        "return max(self.begin + 1, self.end - self.n_new + 1)",
        "the documentation since 2024: trg_len - 1 for windows that lose nothing",
    ),
    Mutant(
        "the documentation counts every token",
        "perplexity.scores",
        "weights = np.array([window.n_new - 1 for window in self.windows])",
        "weights = np.array([window.n_new for window in self.windows])",
        "with its loop corrected, the documentation's number is not the published one",
    ),
    Mutant(
        "the lecture's windows weighted by their tokens",
        "perplexity.scores",
        "return _exp(np.mean(self._window_means()))",
        "return _exp(self.total / self.n_scored)",
        "the exact number where the lecture's 25.1880 is asked for",
    ),
    Mutant(
        "bytes for characters",
        "perplexity.scores",
        "scores.character_perplexity(size.characters)",
        "scores.character_perplexity(size.bytes)",
        "len(text.encode()) for len(text): in English the same, in Chinese three times as many",
    ),
    Mutant(
        "lines for words",
        "perplexity.scores",
        "without = len(words) < 2 or 2 * unspaced > letters",
        "without = len(words) < 2",
        "text.split() on a Chinese poem: its lines are counted as words",
    ),
    Mutant(
        "a mean of perplexities",
        "perplexity.scores",
        "return _exp(np.mean(self._window_means()))",
        "return float(np.mean(np.exp(self._window_means())))",
        "exp and mean exchanged",
    ),
    Mutant(
        "words that are tokens",
        "perplexity.scores",
        'return _exp(self.whole_total / integer("n_words", n_words, 1))',
        'return _exp(self.total / (self.n_scored + 0 * integer("n_words", n_words, 1)))',
        "a number per token that is called per word",
    ),
    Mutant(
        "nats called bits",
        "perplexity.scores",
        'return self.whole_total / math.log(2) / integer("n_bytes", n_bytes, 1)',
        'return self.whole_total / integer("n_bytes", n_bytes, 1)',
        "the logarithm's base forgotten",
    ),
    Mutant(
        "context counts the token itself",
        "perplexity.scores",
        "np.arange(len(self.nll)) - begins)",
        "np.arange(len(self.nll)) - begins + 1)",
        "off by one",
    ),
    Mutant(
        "trg_len from the window's begin",
        "perplexity.windows",
        "windows.append(Window(begin, end, end - read))",
        "windows.append(Window(begin, end, min(stride, end - begin)))",
        "the last window scores stride tokens, some of them twice",
    ),
    Mutant(
        "losses in half precision",
        "fast.loss_without_logits",
        "logits = at_least_float32(F.linear(rows, weight))",
        "logits = F.linear(rows, weight)",
        "log-softmax in bfloat16 has three digits",
    ),
    Mutant(
        "scored with dropout",
        "perplexity.scoring",
        "    with eval_mode(model):\n        for batch in",
        "    if True:\n        for batch in",
        "model.eval() forgotten",
    ),
    # --- train/
    Mutant(
        "resumed in another order of memory",
        "train.loop",
        'parameter.data = state["model"][name].to(parameter)',
        "pass",
        "fused AdamW pairs numbers by their place in memory",
    ),
    Mutant(
        "weight decay on norms and biases",
        "train.optimizer",
        '{"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}',
        '{"params": [p for p in parameters if p.dim() < 2], "weight_decay": weight_decay}',
        "AdamW(model.parameters()) decays all of them",
    ),
    Mutant(
        "warm-up starts at zero",
        "train.optimizer",
        "config.learning_rate * (step + 1) / config.warmup_steps",
        "config.learning_rate * step / config.warmup_steps",
        "the first step is wasted",
    ),
    Mutant(
        "gradients are never cleared",
        "train.loop",
        "        self.optimizer.zero_grad()\n",
        "",
        "every step repeats all earlier ones",
    ),
    Mutant(
        "clipping after the step",
        "train.loop",
        "        nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)\n        self.optimizer.step()\n",
        "        self.optimizer.step()\n        nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)\n",
        "clips what is about to be cleared",
    ),
    Mutant(
        "a mean of the parts' means",
        "train.objectives",
        "loss_of(**rows, labels=targets, num_items=n_targets)",
        "loss_of(**rows, labels=targets) / -(-len(labels) // size)",
        "loss / accumulation_steps: transformers' Trainer until version 4.46",
    ),
    Mutant(
        "parts not divided at all",
        "train.objectives",
        "loss_of(**rows, labels=targets, num_items=n_targets)",
        'loss_of(**rows, labels=targets, reduction="sum")',
        "a learning rate that depends on the batch size",
    ),
    Mutant(
        "a document's first token predicted from the one before",
        "data.batches",
        "        return batch\n    labels = batch.clone()\n",
        "        return batch\n    return batch\n",
        "packing without looking at the ends of documents",
    ),
    Mutant(
        "processes' gradients averaged",
        "train.objectives",
        "(loss * group.size if group.size > 1 else loss).backward()",
        "loss.backward()",
        "DDP divides by the number of processes once more",
    ),
    Mutant(
        "resumed without the optimizer",
        "train.loop",
        '        self.optimizer.load_state_dict(state["optimizer"])\n',
        "",
        "Adam's averages start again at zero",
    ),
    Mutant(
        "resumed without the random state",
        "train.loop",
        "    torch.set_rng_state(cpu)\n",
        "",
        "dropout draws other numbers than it would have",
    ),
    Mutant(
        "resumed at the wrong step",
        "train.loop",
        "self.done, self.started = self.history[-1].step, ",
        "self.done, self.started = self.history[-1].step + 1, ",
        "one batch skipped",
    ),
    Mutant(
        "a fused rate: the schedule ignored",
        "train.loop",
        'parameters["lr"] = factor * learning_rate_at(self.done, c)',
        'parameters["lr"] = c.learning_rate',
        "a schedule that is computed, logged and not used",
    ),
    Mutant(
        "one rate for all parameters",
        "train.loop",
        'parameters.get("rate_factor", 1.0)',
        "1.0",
        "T5 learns nothing of its source: its queries grow too fast, its relative bias too slowly",
    ),
    Mutant(
        "a faster rate pulls faster to 0, too",
        "train.optimizer",
        'group["weight_decay"] / factor',
        'group["weight_decay"]',
        "weight decay holds the relative bias down",
    ),
    # --- data/, positions.py, train/: packed documents, batches that follow from the step
    Mutant(
        "the end of text opens the next document",
        "data.batches",
        "return ends.cumsum(dim=1) - ends.long()",
        "return ends.cumsum(dim=1)",
        "the model never learns to end a document",
    ),
    Mutant(
        "batches of the seed alone",
        "data.batches",
        "np.random.default_rng([seed, step])",
        "np.random.default_rng([seed])",
        "the same rows at every step",
    ),
    Mutant(
        "packed documents see each other",
        "positions",
        "(segment_ids[:, :, None] == segment_ids[:, None, :])[:, None]",
        "(segment_ids[:, :, None] >= segment_ids[:, None, :])[:, None]",
        "the past of a row taken for the past of a document",
    ),
    Mutant(
        "positions run on through packed documents",
        "positions",
        "return places - (places * starts).cummax(dim=1).values",
        "return places",
        "a mask for the documents, and positions of the row",
    ),
    Mutant(
        "a snapshot in place",
        "train.snapshots",
        'temporary = folder / f"step-{step}.tmp"',
        'temporary = folder / f"step-{step}"',
        "torch.save into the file that counts",
    ),
    # --- tokenizer/bpe.py
    Mutant(
        "merges from right to left",
        "tokenizer.merging",
        "waiting = sorted(places.pop(rank), reverse=True)",
        "waiting = sorted(places.pop(rank))",
        "of equal pairs the rightmost is merged first: aaa becomes a aa",
    ),
    Mutant(
        "a neighbour forgotten after a merge",
        "tokenizer.merging",
        "            if previous[left] >= 0:\n                consider(previous[left])\n",
        "",
        "the new token is offered to its right neighbour only",
    ),
    # --- checkpoints/
    Mutant(
        "of two names the later one counts",
        "checkpoints.configs",
        "if own in obeyed and obeyed[own][1] != value:",
        "if False:",
        "n_layer 2 and num_hidden_layers 4 in one file: transformers itself takes one of them in silence",
    ),
    Mutant(
        "a field that is not known is passed over",
        "checkpoints.configs",
        'elif not (name in HARMLESS | family.harmless or name.startswith("_") or _says_nothing(value)):',
        "elif False:",
        "a config that asks for what the model does not do is loaded, and the numbers are wrong",
    ),
    Mutant(
        "a prefix of one name is taken for that of all",
        "checkpoints.translate",
        "lambda parts: len(set(parts)) == 1 and parts[0] not in own",
        "lambda parts: parts[0] not in own",
        "net.bert... stands beside criterion.weight: which of them is the model's is a guess",
    ),
    Mutant(
        "a wrapper is looked for in front of names only",
        "checkpoints.translate",
        'WRAPPERS = re.compile(r"(?<![^.])(',
        'WRAPPERS = re.compile(r"^(',
        "torch.compile of one layer puts _orig_mod into the middle of its names",
    ),
    Mutant(
        "of two classes one is the model's",
        "checkpoints.configs",
        "return kinds.pop() if len(kinds) == 1 else None",
        "return next((kind for kind in kinds if kind), None)",
        "architectures says BertModel and T5Model: a set has no order, and one of them is taken",
    ),
    Mutant(
        "a field's other name is not known",
        "checkpoints.names.gpt2",
        '"num_hidden_layers": "n_layer",',
        "",
        "for a config.json with the common names the default of 12 layers is used",
    ),
    Mutant(
        "a head rounded more coarsely is another head",
        "checkpoints.translate",
        "return torch.equal(one.to(other.dtype), other) or torch.equal(one, other.to(one.dtype))",
        "return torch.equal(one.float(), other.float())",
        "a tied checkpoint whose head was saved in bfloat16 is refused",
    ),
    Mutant(
        "a head of its own in a tied model",
        "checkpoints.translate",
        "    if not same(tensor, other):\n",
        "    if False:\n",
        "the trained head is dropped without an error",
    ),
    # --- tokenizer/
    Mutant(
        "two tokenizers in one folder",
        "tokenizer.files",
        'if different or parts["merges"] != whole["merges"]:',
        "if False:",
        "a new vocab.json is written beside an old tokenizer.json, and others go on reading the old one",
    ),
    Mutant(
        "ids with holes",
        "tokenizer.files",
        "if id is not None and id != expected:",
        "if False:",
        "an added token gets another id than in transformers",
    ),
    Mutant(
        "a special token leaves the space to its left",
        "tokenizer.specials",
        "if token.lstrip:",
        "if False:",
        "lstrip of <mask> is passed over",
    ),
    Mutant(
        "a word contains a special token",
        "tokenizer.specials",
        "if token.single_word and (",
        "if False and (",
        "single_word is passed over",
    ),
    Mutant(
        "the first of two special tokens, not the longer",
        "tokenizer.specials",
        "longest_first = sorted(by_name, key=len, reverse=True)",
        "longest_first = sorted(by_name, key=len)",
        "<|end|> is found in <|end|>|",
    ),
    Mutant(
        "plain text ends a document",
        "tokenizer.bpe",
        "if special_tokens or not token.special]",
        "if True]",
        "a user writes <|endoftext|> into a prompt, and it is obeyed",
    ),
    Mutant(
        "the mark before a text is a part of it",
        "_files",
        'return data.decode("utf-8-sig")',
        'return data.decode("utf-8")',
        "a file that was saved by Notepad begins with U+FEFF",
    ),
    Mutant(
        "of a token twice the first counts",
        "tokenizer.files",
        "specials[token.content] = token  # of two, the later one counts",
        "pass",
        "added_tokens says <x> and then <x> with lstrip: tokenizers takes the second",
    ),
    Mutant(
        "the template's ids are looked up by name",
        "tokenizer.files",
        'ids += post_processor["special_tokens"][piece["SpecialToken"]["id"]]["ids"]',
        'ids += [vocabulary[piece["SpecialToken"]["id"]]]',
        "right only as long as a template says the vocabulary's ids",
    ),
    Mutant(
        "another family's tokenizer",
        "tokenizer.configs",
        'family = CLASSES.get(str(name).removesuffix("Fast"))',
        'family = CLASSES.get(str(name).removesuffix("Fast"), families[0])',
        "RoBERTa's files are a byte-level BPE too, and its ids are others",
    ),
    Mutant(
        "a setting that is not known is passed over",
        "tokenizer.configs",
        '        if config.get(name):\n            raise ValueError(f"{file}: {name} is',
        '        if False:\n            raise ValueError(f"{file}: {name} is',
        "split_special_tokens: the names are plain text there",
    ),
    # --- data/, train/
    Mutant(
        "a text without line ends holds out nothing",
        "data.texts",
        "key=lambda start: abs(start - wanted), default=wanted)",
        "key=lambda start: abs(start - wanted), default=len(text))",
        "the report divides by no bytes",
    ),
    Mutant(
        "the last line is held out, however long",
        "data.texts",
        "starts = [place + 1 for place in range(first - 1, last)",
        "starts = [place + 1 for place in range(-1, last)",
        "the cut is put at the last line end before the tail: most of the text is held out",
    ),
    Mutant(
        "the rate rises again after the last step",
        "train.optimizer",
        "done = min(1.0, (step - config.warmup_steps) / way_down)",
        "done = ((step - config.warmup_steps) / way_down)",
        "a cosine is not clamped, and a run that goes on climbs back up",
    ),
    Mutant(
        "an older snapshot takes the newer ones' place",
        "train.snapshots",
        "if old < step]",
        "]",
        "a run that goes on from an older step deletes what it has just written",
    ),
    Mutant(
        "counts of the last tokens are missing",
        "train.baselines",
        "np.bincount(self.history[n], counts, minlength=n_histories)",
        "np.bincount(self.history[n], counts)",
        "bincount ends at the largest history that has a follower",
    ),
    Mutant(
        "a guess from the shortest history alone",
        "train.baselines",
        "p *= discount * followers[h] / total[h]",
        "p[:] = discount * followers[h] / total[h] / vocab_size",
        "interpolation forgotten: the counts of shorter histories are not used",
    ),
    Mutant(
        "[CLS] counts as a place of the text",
        "train.held_out",
        "row_places[chosen[:, 1:-1]]",
        "row_places[chosen[:, :-2]]",
        "a baseline is asked about the neighbours of the masked tokens",
    ),
    Mutant(
        "sentinels count as tokens of spans",
        "train.held_out",
        "cut.append(numbers.flatten() >= beyond)",
        "cut.append(numbers.flatten() >= 0)",
        "sentinels are easy to predict, and make the loss look small",
    ),
    Mutant(
        "cross attention halved, not cut",
        "train.held_out",
        "torch.zeros_like(output)",
        "output / 2",
        "an ablation that leaves a part of the signal",
    ),
    Mutant(
        "tokens longer than a character",
        "tokenizer.learning",
        '"characters": list}',
        '"characters": WORDS.findall}',
        "common pairs of Chinese characters become one token",
    ),
    Mutant(
        "a line of verse may have half-lines of five and of seven",
        "data.tang_poems",
        "return {len(half) for couplet in couplets for half in couplet.groups()} in ({5}, {7})",
        "return {len(half) for couplet in couplets for half in couplet.groups()} <= {5, 7}",
        "the form is checked half-line by half-line",
    ),
    Mutant(
        "a poet on both sides of the split",
        "data.tang_poems",
        "crc32(poem.author.encode())",
        "crc32(poem.title.encode())",
        "held out by poem: a poet's other poems are in the training text",
    ),
    Mutant(
        "config.json names the file's dtype",
        "checkpoints.save",
        "config_json(config, next(model.parameters()).dtype)",
        "config_json(config, file_dtype or next(model.parameters()).dtype)",
        "transformers loads float16 and computes in it",
    ),
    # --- fast/, generation/
    Mutant(
        "a head's bias is forgotten",
        "fast.unmodified",
        "return False  # a head with a bias is not the one that the model makes",
        "pass",
        "a reader puts a head with a bias in, and the loss is computed from its weight alone",
    ),
    Mutant(
        "only the first row is suppressed",
        "generation.processors",
        "logits[:, forbidden] = -torch.inf",
        "logits[:1, forbidden] = -torch.inf",
        "tried with one prompt only",
    ),
    Mutant(
        "own processors after the temperature",
        "generation.processors",
        '    Processor("processors", (), apply_own),\n'
        '    Processor("temperature", 1.0, lambda logits, texts, temperature: apply_temperature(logits, '
        "temperature)),\n",
        '    Processor("temperature", 1.0, lambda logits, texts, temperature: apply_temperature(logits, '
        "temperature)),\n"
        '    Processor("processors", (), apply_own),\n',
        "what is added to a logit is no longer divided by the temperature; Hugging Face divides it",
    ),
    Mutant(
        "a processor gets the logits themselves",
        "generation.processors",
        "found = function(logits.clone(), [list(text) for text in texts])",
        "found = function(logits, [list(text) for text in texts])",
        "logits[:, 3] = -inf in place changes the model's own log-probabilities",
    ),
    Mutant(
        "a stop token that comes one step late",
        "generation.stopping",
        "if n_new < self.min_new_tokens else logits",
        "if n_new <= self.min_new_tokens else logits",
        "the number of tokens before this one or with it: off by one",
    ),
    Mutant(
        "a forbidden text ends a search",
        "generation.beams",
        "if score == -math.inf:",
        "if False:",
        "where few tokens are allowed, forbidden ones are among the best candidates, and an end is an end",
    ),
    Mutant(
        "the answers of all prompts in turn",
        "generation.api",
        "prompts = [prompt for prompt in prompts for _ in range(settings.num_return_sequences)]",
        "prompts = prompts * settings.num_return_sequences",
        "a repeated list for repeated members: answer 1 belongs to prompt 1",
    ),
    Mutant(
        "a stop string inside one piece only",
        "generation.text",
        "sure = len(waiting) - max(beginnings, default=0)",
        "sure = len(waiting)",
        "each token's text is looked at alone: most stop strings lie across two",
    ),
    Mutant(
        "a second stop string is found first",
        "generation.text",
        "end, _, found = min(places)",
        "end, _, found = places[0]",
        "the order of the list decides, not the order of the text",
    ),
    # --- trace.py
    Mutant(
        "between attention and MLP of a post-norm block",
        "trace",
        "return read[norms[1]] if pre_norm else wrote[norms[0]]",
        "return read[norms[1]]",
        "a hook before the second norm, which is right for GPT-2: in BERT the MLP is added there already",
    ),
    Mutant(
        "the key heads are shown repeated",
        "trace",
        "copies = k.size(1) // layer.n_kv_head",
        "copies = 1",
        "a gradient for each copy of a key head instead of one for the head",
    ),
    Mutant(
        "no gradient for the weights",
        "trace",
        "heads = weights @ repeat_key_heads(v, layer.n_head)",
        "heads = attend(q, k, v, dropout=dropout, **masks_and_scale)",
        "weights computed beside the pass are no part of the loss",
    ),
    # --- Llama: rotation, norm, gated MLP
    Mutant(
        "neighbouring columns are a pair",
        "positions",
        "        a, b = x.chunk(2, dim=-1)\n        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)\n",
        "        a, b = x[..., ::2], x[..., 1::2]\n"
        "        return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)\n",
        "Meta's order of columns with Hugging Face's weights (LLMs-from-scratch #747, transformers #25199)",
    ),
    Mutant(
        "turned the wrong way round",
        "positions",
        "a * cos - b * sin, b * cos + a * sin",
        "a * cos + b * sin, b * cos - a * sin",
        "the minus of rotate_half on the other half",
    ),
    Mutant(
        "angles in half precision",
        "models.llama",
        "c, dtype = self.config, torch.promote_types(x.dtype, torch.float32)",
        "c, dtype = self.config, x.dtype",
        "model.to(bfloat16) takes the rates along (transformers #29285): short texts look fine",
    ),
    Mutant(
        "positions rounded to half precision",
        "positions",
        "position_ids[:, None, :, None].to(rates.dtype)",
        "position_ids[:, None, :, None].to(dtype).to(rates.dtype)",
        "the rates are float32 and the positions are not: bfloat16 cannot tell 511 from 512",
    ),
    Mutant(
        "llama3 scaling ignored",
        "positions",
        "    if scaling is None:\n        return rates",
        '    if scaling is None or scaling.rope_type == "llama3":\n        return rates',
        "a loader that knows rope_theta only (felafax #59): short texts look fine",
    ),
    Mutant(
        "llama3 scaling taken for linear",
        "positions",
        '    if scaling.rope_type == "linear":\n        return slowed',
        "    if True:\n        return slowed",
        "the factor is read, and the kind is not: the quick pairs are slowed down, too",
    ),
    Mutant(
        "llama3 scaling slows the quick pairs",
        "positions",
        "return (1 - kept) * slowed + kept * rates",
        "return kept * slowed + (1 - kept) * rates",
        "smooth and 1 - smooth exchanged",
    ),
    Mutant(
        "frequency taken for wavelength",
        "positions",
        "turns = scaling.original_max_position_embeddings / wavelength",
        "turns = scaling.original_max_position_embeddings * wavelength / (2 * math.pi) ** 2",
        "Llama 3.1's code compares wavelengths, and others compare frequencies: the comparison is easily turned round",
    ),
    Mutant(
        "linear scaling multiplies",
        "positions",
        "slowed = rates / scaling.factor",
        "slowed = rates * scaling.factor",
        "positions are divided by the factor; it is easily turned round",
    ),
    Mutant(
        "another theta ignored",
        "models.llama",
        "c.rope_theta, c.rope_scaling, x.device, dtype",
        "10000.0, c.rope_scaling, x.device, dtype",
        "10000 written into the code, which Llama 3 (500000) does not have",
    ),
    Mutant(
        "the exponent counts pairs, not columns",
        "positions",
        "torch.arange(0, d_head, 2, device=device).to(dtype) / d_head",
        "torch.arange(0, d_head // 2, device=device).to(dtype) / d_head",
        "i / D for 2i / D",
    ),
    Mutant(
        "values are turned, too",
        "attention",
        "q, k = rotate(q), rotate(k)",
        "q, k, v = rotate(q), rotate(k), rotate(v)",
        "one call for everything that comes out of a fused projection",
    ),
    Mutant(
        "the cache keeps keys that are not turned",
        "attention",
        "        if rotate is not None:\n"
        "            q, k = rotate(q), rotate(k)\n"
        "        if cache is not None:\n"
        "            k, v = cache.append(k, v)  # (B, H_kv, past + T, D)\n",
        "        k, v = (k, v) if cache is None else cache.append(k, v)\n"
        "        if rotate is not None:\n"
        "            past, new = k[..., : -q.size(-2), :], k[..., -q.size(-2) :, :]\n"
        "            q, k = rotate(q), torch.cat([past, rotate(new)], dim=-2)\n",
        "cached before the rotation: the keys of earlier steps stay as they came out of the projection",
    ),
    Mutant(
        "positions restart in each cached chunk of Llama",
        "models.llama",
        "mask_and_positions(tokens, attention_mask, cache, segment_ids)",
        "mask_and_positions(tokens, attention_mask, None, segment_ids)",
        "right for a whole text, which is read from position 0 on (executorch #2010)",
    ),
    Mutant(
        "own position ids ignored by Llama",
        "models.llama",
        "position_ids = counted if position_ids is None else position_ids",
        "position_ids = counted",
        "an argument that is accepted and not used",
    ),
    Mutant(
        "positions beyond the last",
        "models.llama",
        'check_ids("position id", position_ids, self.max_tokens, "max_position_embeddings")',
        "pass",
        "transformers computes angles for any position: the text gets worse, and nobody is told",
    ),
    Mutant(
        "the width of a head from the width of the model",
        "models.llama",
        "c.hidden_size, c.num_attention_heads, c.num_key_value_heads, c.head_dim,",
        "c.hidden_size, c.num_attention_heads, c.num_key_value_heads, None,",
        "head_dim was no field of the first Llama's config.json",
    ),
    Mutant(
        "Llama's attention never has biases",
        "models.llama",
        "linear_bias=c.attention_bias",
        "linear_bias=False",
        "attention_bias is false in every Llama of Meta's",
    ),
    Mutant(
        "Llama's MLP never has biases",
        "models.llama",
        "linear_bias=c.mlp_bias",
        "linear_bias=False",
        "mlp_bias is false in every Llama of Meta's",
    ),
    Mutant(
        "Llama without its final norm",
        "models.llama",
        "return self.final_norm(x)",
        "return x",
        "the norm after the last block forgotten",
    ),
    Mutant(
        "Llama's head always tied",
        "models.llama",
        "if self.lm_head is None else self.lm_head(hidden)",
        "if True else self.lm_head(hidden)",
        "right for the small Llamas (3.2 1B, SmolLM2)",
    ),
    Mutant(
        "eps outside the root",
        "layers",
        "torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + self.eps)",
        "1 / (wide.pow(2).mean(dim=-1, keepdim=True).sqrt() + self.eps)",
        "OLMo #281; with large states nobody sees it",
    ),
    Mutant(
        "the same eps for every RMSNorm",
        "layers",
        "nn.Parameter(torch.ones(width)), eps\n",
        "nn.Parameter(torch.ones(width)), 1e-6\n",
        "1e-6 in the first Llama, 1e-5 in the second (llama.cpp #2373)",
    ),
    Mutant(
        "RMSNorm takes the mean away",
        "layers",
        "        normed = wide * torch.rsqrt(",
        "        wide = wide - wide.mean(dim=-1, keepdim=True)\n        normed = wide * torch.rsqrt(",
        "LayerNorm without a bias",
    ),
    Mutant(
        "squares in half precision",
        "layers",
        "wide = x.to(torch.promote_types(x.dtype, torch.float32))",
        "wide = x",
        "the square of 300 is beyond float16",
    ),
    Mutant(
        "silu on the other branch",
        "layers",
        "self.activation(self.gate(x)) * self.up(x)",
        "self.gate(x) * self.activation(self.up(x))",
        "gate and up exchanged (mlx-lm #767)",
    ),
    Mutant(
        "silu on the product",
        "layers",
        "self.activation(self.gate(x)) * self.up(x)",
        "self.activation(self.gate(x) * self.up(x))",
        "one bracket in the wrong place",
    ),
    Mutant(
        "of several ends the first counts",
        "language_model",
        "[] if end is None else end if isinstance(end, tuple) else [end]",
        "[] if end is None else end[:1] if isinstance(end, tuple) else [end]",
        "Llama 3 chats end with <|eot_id|>, which is not the first of its list",
    ),
    # --- BERT
    Mutant(
        "norm in front of BERT's parts",
        "models.bert",
        "        x = self.attention_norm(x + self.dropout(self.attention(x, mask=mask)))\n"
        "        return self.mlp_norm(x + self.dropout(self.mlp(x)))\n",
        "        x = x + self.dropout(self.attention(self.attention_norm(x), mask=mask))\n"
        "        return x + self.dropout(self.mlp(self.mlp_norm(x)))\n",
        "pre-norm, as in GPT-2: all names and shapes fit",
    ),
    Mutant(
        "BERT looks back only",
        "models.bert",
        "self.attention(x, mask=mask)",
        "self.attention(x, mask=mask, causal=True)",
        "a block that was copied from GPT-2",
    ),
    Mutant(
        "BERT's pads are attended to",
        "models.bert",
        "x = block(x, mask)",
        "x = block(x)",
        "the mask is checked and not passed on: 0.38 off",
    ),
    Mutant(
        "all tokens of the first type",
        "models.bert",
        "token_types = torch.zeros_like(tokens) if token_types is None else token_types",
        "token_types = torch.zeros_like(tokens)",
        "token_type_ids of a tokenizer not passed on: pairs of texts become one text",
    ),
    Mutant(
        "no type embedding",
        "models.bert",
        " + self.type_embedding(token_types)",
        "",
        "left out because all types are 0: but row 0 of the embedding is not",
    ),
    Mutant(
        "no position embedding",
        "models.bert",
        " + self.position_embedding(position_ids)",
        "",
        "the sum of three with one of them forgotten",
    ),
    Mutant(
        "no norm after BERT's embeddings",
        "models.bert",
        "x = self.dropout(self.embedding_norm(x))",
        "x = self.dropout(x)",
        "GPT-2 has none there",
    ),
    Mutant(
        "LayerNorm's own eps",
        "models.bert",
        "self.mlp_norm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)",
        "self.mlp_norm = nn.LayerNorm(c.hidden_size)",
        "1e-5, torch's default, for 1e-12: the hardest bug to see, 1e-4 in the logits",
    ),
    Mutant(
        "another default eps of BERT",
        "models.bert",
        "layer_norm_eps: float = 1e-12",
        "layer_norm_eps: float = 1e-5",
        "a config.json may leave it out",
    ),
    Mutant(
        "the pooler reads the last token",
        "models.bert",
        "self.pooler(hidden[:, 0])",
        "self.pooler(hidden[:, -1])",
        "a classifier on a GPT reads the last token",
    ),
    Mutant(
        "the pooler without tanh",
        "models.bert",
        "torch.tanh(self.pooler(hidden[:, 0]))",
        "self.pooler(hidden[:, 0])",
        "the weights file shows a linear layer and no more",
    ),
    Mutant(
        "pads in front of [CLS]",
        "models.bert",
        "if mask is not None and not torch.compiler.is_compiling() and (mask.any(-1) & ~mask[..., 0]).any():",
        "if False:",
        "padded on the left, the pooler reads a pad: 0.81 off",
    ),
    Mutant(
        "the head without its norm",
        "models.bert",
        "self.norm(self.activation(self.transform(hidden)))",
        "self.activation(self.transform(hidden))",
        "cls.predictions.transform has three parts, and a linear layer is what a head usually is",
    ),
    Mutant(
        "the head without its activation",
        "models.bert",
        "self.norm(self.activation(self.transform(hidden)))",
        "self.norm(self.transform(hidden))",
        "the weights file does not show it",
    ),
    Mutant(
        "the head without its bias",
        "models.bert",
        "token_embedding, self.bias)",
        "token_embedding)",
        "tied to the embedding, which has no bias",
    ),
    Mutant(
        "the head in front of its layer",
        "models.bert",
        "self.norm(self.activation(self.transform(hidden)))",
        "self.norm(hidden)",
        "the head is taken for a tied embedding alone",
    ),
    Mutant(
        "the sentence head reads [CLS] itself",
        "models.bert",
        "self.sentence_head(self.pooled(hidden))",
        "self.sentence_head(hidden[:, 0])",
        "the pooler overlooked: both are (B, C)",
    ),
    Mutant(
        "BERT's GELU is GPT-2's",
        "layers",
        '    "gelu": F.gelu,\n',
        '    "gelu": gelu_tanh,\n',
        "candle #840; in a real MiniLM it is 2.4e-4, and no text shows it",
    ),
    Mutant(
        "no dropout after BERT's embeddings",
        "models.bert",
        "x = self.dropout(self.embedding_norm(x))",
        "x = self.embedding_norm(x)",
        "hidden_dropout_prob used in the blocks only",
    ),
    Mutant(
        "no dropout of BERT's attention weights",
        "models.bert",
        "c.num_attention_heads, dropout=dropout, attend=attend)",
        "c.num_attention_heads, attend=attend)",
        "a second rate that is easily overlooked",
    ),
    # --- T5
    Mutant(
        "T5's scores divided by sqrt(D)",
        "models.t5",
        "linear_bias=False, scale=1.0,",
        "linear_bias=False,",
        "the formula as it is everywhere else",
    ),
    Mutant(
        "the bias is scaled, too",
        "attention",
        "scores = scores + bias\n    allowed",
        "scores = scores + bias * scale\n    allowed",
        "(q kᵀ + bias) / sqrt(D): right in T5, whose scale is 1, and nowhere else",
    ),
    Mutant(
        "a cached step gets the bias of the first query",
        "models.t5",
        "keys[n_key - n_query :], keys, max_distance, causal)",
        "keys[:n_query], keys, max_distance, causal)",
        "the newest query is counted from 0 (candle #899, TensorRT-LLM #13870)",
    ),
    Mutant(
        "cached keys are not counted in the bias",
        "models.t5",
        "bias = self.decoder.bias(n_new, past + n_new, max_distance, causal=True)",
        "bias = F.pad(self.decoder.bias(n_new, n_new, max_distance, causal=True), (past, 0))",
        "the bias of the new tokens among themselves, and none for those before",
    ),
    Mutant(
        "a bias in cross attention",
        "models.t5",
        "keys_values=keys_values, mask=source_mask)",
        "keys_values=keys_values, mask=source_mask, bias=F.pad(bias, (0, (n := keys_values[0].size(2))))[..., :n])",
        "transformers until #8518: the weights file has a table for it, which is not used",
    ),
    Mutant(
        "one table of the bias for both stacks",
        "models.t5",
        "bias = self.decoder.bias(n_new",
        "bias = self.encoder.bias(n_new",
        "the blocks of a stack share a table; the stacks do not",
    ),
    Mutant(
        "the decoder's buckets for both sides",
        "models.t5",
        "past + n_new, max_distance, causal=True)",
        "past + n_new, max_distance, causal=False)",
        "half of the buckets are then for keys that nobody looks at",
    ),
    Mutant(
        "the encoder's buckets for one side",
        "models.t5",
        "self.config.relative_attention_max_distance, causal=False)",
        "self.config.relative_attention_max_distance, causal=True)",
        "all keys after a query fall into one bucket",
    ),
    Mutant(
        "the distance from key to query",
        "positions",
        "distance = key_positions[None, :] - query_positions[:, None]",
        "distance = query_positions[:, None] - key_positions[None, :]",
        "the sign of a relative position can be defined in two ways; T5's table is for one of them",
    ),
    Mutant(
        "the same largest distance for every T5",
        "models.t5",
        "n_new, max_distance = x.size(1), self.config.relative_attention_max_distance",
        "n_new, max_distance = x.size(1), 128",
        "relative_attention_max_distance came into config.json later, and is 128 in most of them",
    ),
    Mutant(
        "no last bucket",
        "positions",
        "grown.clamp(max=n_buckets - 1)",
        "grown % n_buckets",
        "distances beyond the largest: wrapped round instead of clamped, and only long texts show it",
    ),
    Mutant(
        "exact buckets up to and with the border",
        "positions",
        "torch.where(distance < n_exact, distance, grown",
        "torch.where(distance <= n_exact, distance - (distance == n_exact).long(), grown",
        "< and <= confused: one distance in the bucket before its own",
    ),
    Mutant(
        "T5's encoder looks back only",
        "models.t5",
        "self.attention(self.attention_norm(x), mask=mask, bias=bias)",
        "self.attention(self.attention_norm(x), mask=mask, bias=bias, causal=True)",
        "one block class for both sides, with causal=True in it",
    ),
    Mutant(
        "T5's decoder sees what comes",
        "models.t5",
        "mask=mask, causal=True, bias=bias, cache=cache)",
        "mask=mask, causal=False, bias=bias, cache=cache)",
        "one block class for both sides, without it: a cached step is right",
    ),
    Mutant(
        "cross attention reads the stream as it is",
        "models.t5",
        "self.cross_attention(self.cross_norm(x), keys_values",
        "self.cross_attention(x, keys_values",
        "the third norm of a decoder's block forgotten",
    ),
    Mutant(
        "cross attention replaces the stream",
        "models.t5",
        "x = x + self.dropout(self.cross_attention(",
        "x = self.dropout(self.cross_attention(",
        "a lost `x +`",
    ),
    Mutant(
        "T5's encoder without its final norm",
        "models.t5",
        "return self.dropout(self.encoder.final_norm(x))",
        "return self.dropout(x)",
        "two stacks, and one final norm",
    ),
    Mutant(
        "T5's decoder without its final norm",
        "models.t5",
        "return self.dropout(self.decoder.final_norm(x))",
        "return self.dropout(x)",
        "two stacks, and one final norm",
    ),
    Mutant(
        "the source's pads are answered by",
        "models.t5",
        "None if source_mask is None else padding_mask(source_mask))\n",
        "None)\n",
        "the mask is used in the encoder and forgotten in cross attention: 0.99 off",
    ),
    Mutant(
        "T5's encoder looks at pads",
        "models.t5",
        "            x = block(x, bias, mask)\n",
        "            x = block(x, bias)\n",
        "the mask is used in cross attention and forgotten in the encoder",
    ),
    Mutant(
        "gated-gelu read as the exact GELU",
        "models.t5",
        'return "gelu_new" if self.feed_forward_proj == "gated-gelu" else',
        'return "gelu" if self.feed_forward_proj == "gated-gelu" else',
        "T5 1.1's gated-gelu is the tanh approximation (candle #840)",
    ),
    Mutant(
        "scaled where the head is its own",
        "models.t5",
        "if self.config.scale_decoder_outputs:",
        "if not self.config.scale_decoder_outputs:",
        "candle #903, mlx-examples #591: 0.71 off",
    ),
    Mutant(
        "scaled where the head is tied",
        "models.t5",
        "if self.config.scale_decoder_outputs:",
        "if self.lm_head is None:",
        "one field before transformers 5, two fields since",
    ),
    Mutant(
        "by default scaled where the head is its own",
        "models.t5",
        "object.__setattr__(self, name, getattr(self, other))",
        'object.__setattr__(self, name, not getattr(self, other) if name[0] == "s" else getattr(self, other))',
        "config.json of before transformers 5 has one field for both (candle #903)",
    ),
    Mutant(
        "every text begins with the pad",
        "models.t5",
        "[[self.config.decoder_start_token_id] for _ in prompts]",
        "[[self.config.pad_token_id] for _ in prompts]",
        "right for every T5 of Google's",
    ),
    Mutant(
        "T5 in float16",
        "models.t5",
        "if dtype == torch.float16:",
        "if False:",
        "states of 123 000 become inf; with transformers' clamp the answers are 39 % wrong, and nobody is told",
    ),
    Mutant(
        "T5 in float16 by autocast",
        "models.t5",
        "torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype",
        "dtype",
        "the weights are float32, and what is computed with them is not",
    ),
    Mutant(
        "no dropout inside T5's MLP",
        "models.t5",
        "inner = self.dropout(self.mlp.inner(self.mlp_norm(x)))",
        "inner = self.mlp.inner(self.mlp_norm(x))",
        "GPT-2 has none between the two layers",
    ),
    Mutant(
        "T5's queries as large as its keys",
        "models.t5",
        'width = width * c.d_kv if name.endswith(".query") else width',
        "pass",
        "the scale of the scores is in the initialisation of the queries, where it is easily overlooked",
    ),
    # --- their losses
    Mutant(
        "T5's labels shifted twice",
        "loss",
        "    return masked_loss(logits, labels, ignore_index, reduction, num_items)\n",
        "    return next_token_loss(logits, labels, None, ignore_index, reduction, num_items)\n",
        "by decoder_inputs and again by the loss (transformers #7077)",
    ),
    Mutant(
        "BERT's labels shifted",
        "loss",
        "    return _loss(logits, labels, ignore_index, reduction, num_items)\n",
        "    return next_token_loss(logits, labels, None, ignore_index, reduction, num_items)\n",
        "the loss of a language model",
    ),
    Mutant(
        "the decoder reads what it predicts",
        "loss",
        "    inputs = labels.roll(1, dims=1)\n    inputs[:, 0] = start_token_id\n",
        "    inputs = labels.clone()\n",
        "labels passed as decoder_input_ids: the loss falls to 0 at once",
    ),
    Mutant(
        "the last label in front",
        "loss",
        "    inputs[:, 0] = start_token_id\n",
        "",
        "roll without the start token: the decoder begins with the last label",
    ),
    Mutant(
        "-100 is read",
        "loss",
        "return inputs.masked_fill(inputs == ignore_index, pad_token_id)",
        "return inputs",
        "ignored labels are moved into the inputs, where they are no ids",
    ),
    Mutant(
        "pads among T5's labels count",
        "loss",
        "    refuse_pads(labels, pad_token_id, ignore_index)\n    return",
        "    return",
        "the tokenizer pads with 0, which is an id like any other: 5.632 instead of 5.573",
    ),
    # --- what is asked of them
    Mutant(
        "finished rows stay in the source",
        "language_model",
        "        if self.source is not None:\n            self.source.select(rows)\n",
        "",
        "rows leave the cache and one row becomes several beams, but the source stays as it was",
    ),
    Mutant(
        "the source of a row that has stopped",
        "language_model",
        "[(k[rows], v[rows]) for k, v in self.keys_values]",
        "[(k[(which := rows if len(rows) > len(k) else range(len(rows)))], v[which]) for k, v in self.keys_values]",
        "rows leave the batch and the source keeps the first ones",
    ),
    Mutant(
        "the source's mask of a row that has stopped",
        "language_model",
        "self.mask = None if self.mask is None else self.mask[rows]",
        "self.mask = None if self.mask is None else self.mask[: len(rows)]",
        "keys and values are selected, the mask keeps the first rows",
    ),
    Mutant(
        "the pads of a shorter text are real",
        "language_model",
        "real = [[1] * len(text) + [0] * pad for",
        "real = [[1] * len(text) + [1] * pad for",
        "torch.ones_like(tokens) as the mask",
    ),
    Mutant(
        "a gap is filled from the token before it",
        "generation.gaps",
        "hidden[0, places]",
        "hidden[0, [place - 1 for place in places]]",
        "as a language model is asked: position t predicts token t + 1",
    ),
    Mutant(
        "gaps are filled with dropout",
        "generation.gaps",
        "    with eval_mode(model):\n        hidden",
        "    if True:\n        hidden",
        "model.eval() forgotten",
    ),
    Mutant(
        "pads in a sentence's mean",
        "generation.gaps",
        "(hidden * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True)",
        "hidden.mean(dim=1)",
        "hidden.mean(1): a text's vector depends on its neighbours",
    ),
    Mutant(
        "a sentence looks at its pads",
        "generation.gaps",
        "hidden = model.hidden(tokens, mask)",
        "hidden = model.hidden(tokens)",
        "pads are left out of the mean and not out of attention",
    ),
    Mutant(
        "self attention shown as cross attention",
        "trace",
        "cross = [attended[_attention_of(block)[1]] for block in decoder]",
        "cross = [attended[_attention_of(block)[0]] for block in decoder]",
        "a decoder's block has two attentions, and the first is the usual one",
    ),
    Mutant(
        "a T5 is scored like a GPT",
        "perplexity.scoring",
        "if model.has_encoder:",
        "if False:",
        "a text is given to the encoder, and the decoder is asked for nothing",
    ),
    Mutant(
        "a BERT is asked for the next token",
        "language_model",
        'if not hasattr(model, "start"):',
        "if False:",
        "an AttributeError from inside the model instead of a sentence",
    ),
    Mutant(
        "half precision is compared",
        "compare.difference",
        "if weight.dtype not in BARS:",
        "if False:",
        "no bar is known for it, and what differs is rounding",
    ),
    Mutant(
        "nan is no difference",
        "compare.difference",
        "return self.difference is None or self.difference <= self.bar",
        "return self.difference is None or not self.difference > self.bar",
        "every comparison with nan is false",
    ),
    Mutant(
        "a nan of one layer is lost",
        "compare.difference",
        "torch.tensor(differences, dtype=torch.float64).max().item()",
        "max(differences)",
        "max([1.0, nan]) is 1.0",
    ),
    Mutant(
        "the last hidden states without the norm",
        "compare.difference",
        "if final_norm is None else final_norm(ours.hidden_states[-1])",
        "if True else None",
        "Hugging Face's last entry comes after the final norm",
    ),
    Mutant(
        "an oracle with float32 inside",
        "compare.oracle",
        "theirs.forward = without_float32_steps()(theirs.forward)",
        "pass",
        "a float64 Llama of transformers computes its norms in float32: 4e-6 off, and small bugs are hidden by it",
    ),
    # --- their files
    Mutant(
        "Llama's gate and up exchanged",
        "checkpoints.names.llama",
        "table=lambda config: NAME_TABLE,",
        f"table=lambda config: {exchanged('gate_proj', 'up_proj')},",
        "w1 and w3 in Meta's files: their order is not that of their numbers",
    ),
    Mutant(
        "no key bias in Llama",
        "checkpoints.translate",
        "state[name] = laid_out(part) if name in matrices else part.contiguous()",
        "state[name] = part.contiguous() * (not name.endswith('key.bias'))",
        "a key bias changes nothing in GPT-2. In Llama it does: it is turned with its key, so each key has another",
    ),
    Mutant(
        "Llama's norms exchanged",
        "checkpoints.names.llama",
        "table=lambda config: NAME_TABLE,",
        f"table=lambda config: {exchanged('input_layernorm', 'post_attention_layernorm')},",
        "post_attention_layernorm is in front of the MLP, whatever its name says",
    ),
    Mutant(
        "theta in rope_parameters overlooked",
        "checkpoints.names.llama",
        'theta = entries.pop("rope_theta", DEFAULT_THETA)',
        'theta = on_top["rope_theta"] or entries.pop("rope_theta", DEFAULT_THETA) and DEFAULT_THETA',
        "transformers 5 writes it there; a loader of before finds none and takes 10000",
    ),
    Mutant(
        "the older name of rope_type overlooked",
        "checkpoints.names.llama",
        'old_kind = entries.pop("type", entries.get("rope_type", "default"))',
        'old_kind = (entries.pop("type", None), entries.get("rope_type", "default"))[1]',
        'transformers 4 wrote "type" at first: such a file is then scaled by nothing',
    ),
    Mutant(
        "a llama3 scaling without its length",
        "checkpoints.names.llama",
        "if missing := [field for field in SCALINGS[kind] if field not in entries]:",
        "entries = dict.fromkeys(SCALINGS[kind], 8192) | entries\n    if missing := []:",
        "another length is taken for the missing one, as in transformers: 0.37 off",
    ),
    Mutant(
        "of two scalings the first counts",
        "checkpoints.names.llama",
        "if found[0] != found[-1]:",
        "if False:",
        "rope_scaling and rope_parameters contradict each other: transformers takes one in silence, 0.60 off",
    ),
    Mutant(
        "a part of the columns is turned",
        "checkpoints.names.llama",
        'if (share := entries.pop("partial_rotary_factor", 1)) != 1:',
        'if (share := entries.pop("partial_rotary_factor", 1)) and False:',
        "the file wants half of them to stay, and all are turned",
    ),
    Mutant(
        "a scaling of a kind that is not known",
        "checkpoints.names.llama",
        "if not isinstance(kind, str) or kind not in SCALINGS:",
        'kind = kind if kind in SCALINGS else "linear"\n    if False:',
        "yarn and dynamic have a factor, too",
    ),
    Mutant(
        "llama3's fields lost in saving",
        "checkpoints.names.llama",
        'for name, value in fields["rope_scaling"].items() if value is not None}',
        'for name, value in fields["rope_scaling"].items() if name in ("rope_type", "factor")}',
        "a layout that was made for linear scaling",
    ),
    Mutant(
        "the prefix in front of everything",
        "checkpoints.names.llama",
        'without_prefix=("lm_head.",),',
        "",
        "saved as model.lm_head.weight: transformers draws a head at random, and only warns",
    ),
    Mutant(
        "a copied head of Llama is not expected",
        "checkpoints.names.llama",
        'copies={"lm_head.weight": "embed_tokens.weight"},',
        "",
        "a tied file that holds the head all the same, as torch.save writes it",
    ),
    Mutant(
        "BERT's query and key exchanged",
        "checkpoints.names.bert",
        "table=lambda config: NAME_TABLE,",
        f"table=lambda config: {exchanged('self.query', 'self.key')},",
        "scores transposed; no shape complains",
    ),
    Mutant(
        "BERT's norms exchanged",
        "checkpoints.names.bert",
        "table=lambda config: NAME_TABLE,",
        f"table=lambda config: {exchanged('{i}.attention.output.LayerNorm', '{i}.output.LayerNorm')},",
        "two tensors that are both called output.LayerNorm",
    ),
    Mutant(
        "gamma and beta are not known",
        "checkpoints.names.bert",
        r"""old_names={r"\.gamma$": ".weight", r"\.beta$": ".bias"},""",
        "",
        "every BERT of 2018: a loader that only warns keeps fresh norms",
    ),
    Mutant(
        "gamma is the bias",
        "checkpoints.names.bert",
        r"""old_names={r"\.gamma$": ".weight", r"\.beta$": ".bias"},""",
        r"""old_names={r"\.gamma$": ".bias", r"\.beta$": ".weight"},""",
        "both are (C,)",
    ),
    Mutant(
        "a copied bias of BERT's head is not expected",
        "checkpoints.names.bert",
        '        "cls.predictions.decoder.bias": "cls.predictions.bias",\n',
        "",
        "files of before transformers 5 hold it twice",
    ),
    Mutant(
        "the numbers of the positions are weights",
        "checkpoints.names.bert",
        '("embeddings.position_ids", ',
        '("embeddings.position_numbers", ',
        "a buffer of 0, 1, 2 ... that older files hold",
    ),
    Mutant(
        "positions by distance taken for places",
        "checkpoints.names.bert",
        '"position_embedding_type": (None, "absolute")',
        '"position_embedding_type": (None, "absolute", "relative_key")',
        "transformers 5 only warns",
    ),
    Mutant(
        "a decoder taken for an encoder",
        "checkpoints.names.bert",
        '"is_decoder": (None, False)',
        '"is_decoder": (None, False, True)',
        "such a BERT looks back only",
    ),
    Mutant(
        "every BERT has all heads",
        "checkpoints.names.bert",
        "    obey_tensors=heads_of,\n",
        "",
        "a bare BertModel's file: others draw the heads at random, 1.4 off",
    ),
    Mutant(
        "BERT's heads saved with a prefix",
        "checkpoints.names.bert",
        'without_prefix=("cls.",),',
        "",
        "saved as bert.cls...: transformers draws the heads at random, and only warns",
    ),
    Mutant(
        "T5's gate and up exchanged",
        "checkpoints.names.t5",
        "[row for row in NAME_TABLE if",
        f"[row for row in {exchanged('wi_0', 'wi_1')} if",
        "wi_0 is the gate; nothing says so",
    ),
    Mutant(
        "T5's norms of layer.1 and layer.2 exchanged",
        "checkpoints.names.t5",
        "[row for row in NAME_TABLE if",
        f"[row for row in {exchanged('decoder.block.{i}.layer.1.layer_n', 'decoder.block.{i}.layer.2.layer_n')} if",
        "layer.1 is the MLP in the encoder, and cross attention in the decoder",
    ),
    Mutant(
        "T5's query and key exchanged",
        "checkpoints.names.t5",
        "[row for row in NAME_TABLE if",
        f"[row for row in {exchanged('EncDecAttention.q', 'EncDecAttention.k')} if",
        "their names differ in one letter",
    ),
    Mutant(
        "T5's tables of the bias exchanged",
        "checkpoints.names.t5",
        "[row for row in NAME_TABLE if",
        "[row for row in "
        + exchanged("encoder.block.0.layer.0.SelfAttention.rel", "decoder.block.0.layer.0.SelfAttention.rel")
        + " if",
        "two tensors of one shape, whose names differ in the first word only",
    ),
    Mutant(
        "the depth of T5's decoder from the encoder's",
        "checkpoints.names.t5",
        '"decoder.block": "num_decoder_layers"',
        '"decoder.block": "num_layers"',
        "num_decoder_layers came into config.json later",
    ),
    Mutant(
        "T5's head always tied",
        "checkpoints.names.t5",
        "    return replace(config, tie_word_embeddings=False)\n",
        "    return config\n",
        "transformers 5 writes tie_word_embeddings true into every config.json: 0.71 off",
    ),
    Mutant(
        "T5's head never tied",
        "checkpoints.names.t5",
        "if embedding is None or (head.shape == embedding.shape and same(head, embedding)):",
        "if embedding is None:",
        "a copy of the embedding is trained on as a head of its own",
    ),
    Mutant(
        "a head of its own is not scaled",
        "checkpoints.names.t5",
        "replace(config, tie_word_embeddings=False)",
        "replace(config, tie_word_embeddings=False, scale_decoder_outputs=False)",
        "one field for both, as before transformers 5",
    ),
    Mutant(
        "dense_act_fn overlooked",
        "checkpoints.names.t5",
        "if (says_gated, says) == (gated, activation):",
        "if True:",
        "early Flan files say relu in feed_forward_proj, and the truth in is_gated_act and dense_act_fn",
    ),
    Mutant(
        "T5's embedding by one name only",
        "checkpoints.names.t5",
        'dict.fromkeys((*EMBEDDING[1:], "lm_head.weight"), EMBEDDING[0])',
        '{"lm_head.weight": EMBEDDING[0]}',
        "a file may hold encoder.embed_tokens and no shared",
    ),
    Mutant(
        "a table of the bias that nobody reads is unexpected",
        "checkpoints.names.t5",
        '    ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", None, False),',
        "",
        "Google's files hold it",
    ),
    # --- data/corruption.py, train/objectives.py
    Mutant(
        "every chosen token becomes [MASK]",
        "data.corruption",
        "tokens[row, chosen[kind < 0.8]] = mask_id",
        "tokens[row, chosen] = mask_id",
        "the 80/10/10 of Devlin et al. 2018 left out",
    ),
    Mutant(
        "labels everywhere",
        "data.corruption",
        "labels[row, chosen] = tokens[row, chosen]",
        "labels[row] = tokens[row]",
        "the loss counts tokens that the model has read: it copies, and the loss is very small",
    ),
    Mutant(
        "the label is what is read",
        "data.corruption",
        "        labels[row, chosen] = tokens[row, chosen]\n"
        "        kind = rng.random(n)\n"
        "        tokens[row, chosen[kind < 0.8]] = mask_id\n",
        "        kind = rng.random(n)\n"
        "        tokens[row, chosen[kind < 0.8]] = mask_id\n"
        "        labels[row, chosen] = tokens[row, chosen]\n",
        "labels taken after the masking: the model learns to predict [MASK]",
    ),
    Mutant(
        "special tokens are masked",
        "data.corruption",
        "may_be_chosen = np.isin(tokens, replacements)",
        "may_be_chosen = np.ones_like(tokens, dtype=bool)",
        "[CLS] and [SEP] among what is predicted",
    ),
    Mutant(
        "the same masks at every step",
        "data.corruption",
        'rng = np.random.default_rng([integer("seed", seed, 0), integer("step", step, 0), 1])',
        'rng = np.random.default_rng([integer("seed", seed, 0), integer("step", step, 0) * 0, 1])',
        "BERT's first code masked a text once, and for all epochs (RoBERTa, Liu et al. 2019, section 4.1)",
    ),
    Mutant(
        "spans stay in the source",
        "data.corruption",
        "place += kept + cut",
        "place += kept",
        "the source holds the answer",
    ),
    Mutant(
        "no end after the spans",
        "data.corruption",
        "labels.append([*label, end_id])",
        "labels.append(label)",
        "a T5 that never learns to stop",
    ),
    Mutant(
        "T5 reads its labels unshifted",
        "train.objectives",
        '"tokens": decoder_inputs(labels, self.start_id, self.start_id)',
        '"tokens": labels',
        "the decoder is given the answer",
    ),
    Mutant(
        "no [CLS] in front",
        "train.objectives",
        "F.pad(F.pad(rows, (1, 0), value=self.begin_id), (0, 1), value=self.end_id)",
        "F.pad(rows, (0, 2), value=self.end_id)",
        "trained without [CLS] and [SEP], which every later text has",
    ),
]

# Changes that no test can notice, because no result changes.
EQUIVALENT = [
    Mutant(
        "no key bias",
        "checkpoints.translate",
        "state[name] = laid_out(part) if name in matrices else part.contiguous()",
        "state[name] = part.contiguous() * (not name.endswith('key.bias') or hasattr(config, 'rope_theta'))",
        "q · b is the same for every key of a query: softmax is not changed by a constant (Llama turns b with the key)",
    ),
    Mutant(
        "a constant added to every score",
        "attention",
        "scores = _product_of_heads(q * scale, k.transpose(-2, -1))",
        "scores = _product_of_heads(q * scale, k.transpose(-2, -1)) + 1",
        "the lecture's M with 1 and -inf",
    ),
    Mutant(
        "-inf for the smallest number",
        "attention",
        "masked_fill(~allowed, torch.finfo(scores.dtype).min)",
        "masked_fill(~allowed, -torch.inf)",
        "only an empty row differs; its nan is overwritten with 0 and its gradient stopped by the same fill",
    ),
]


def main() -> int:
    """Print mutant -> what catches it; exit code 1 when one survives."""
    from quick_check import find_killer

    survivors = 0
    for mutant in MUTANTS:
        start = time.perf_counter()
        with switched_on(mutant):
            killer = find_killer(mutant.file)
        survivors += killer is None
        caught = f"{killer.name:14} {killer.test}" if killer else "SURVIVED"
        print(
            f"{mutant.path.relative_to(PACKAGE)!s:28} {mutant.name:54} {caught}   {time.perf_counter() - start:.1f} s",
            flush=True,
        )
    for mutant in EQUIVALENT:
        print(f"{mutant.path.relative_to(PACKAGE)!s:28} {mutant.name:54} equivalent: {mutant.seen}")
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
