"""Bugs that were made in the wild, each to be switched on here, and the table of what catches them:

    python tests/mutants.py

A mutant is a change of a few words in a file of minigpt. Under `switched_on` the package is imported anew with that
change; the files themselves are never touched. The words to replace must occur exactly once, so that the registry
cannot fall behind the code.
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
        "invisible in self attention",
    ),
    Mutant(
        "keys used as values",
        "attention",
        "v = self._split_heads(self.value(source), self.n_kv_head)",
        "v = self._split_heads(self.key(source), self.n_kv_head)",
        "'K and V take the same value', taken literally",
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
        "copy and paste",
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
        "if is_ours(layer.attend):",
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
        "a plain way that is never taken is never tested",
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
        "the lean loss without its shift",
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
        "norm behind the block",
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
        "positions start anew with a cache",
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
    # --- pretrained.py
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
    # --- processors.py
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
        "beta for T",
    ),
    Mutant(
        "top-p may keep nothing",
        "generation.processors",
        "unlikely[..., -1] = False",
        "pass",
        "a small p empties the row, and sampling fails or draws token 0",
    ),
    Mutant(
        "top-p counted from the wrong end",
        "generation.processors",
        "cumsum(dim=-1) <= 1 - p",
        "cumsum(dim=-1) <= p",
        "the share that goes taken for the share that stays",
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
    # --- generation.py
    Mutant(
        "temperature behind top-p",
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
        "repetition penalty behind the temperature",
        "generation.processors",
        '    Processor("repetition_penalty", 1.0, penalize_repetition),\n'
        '    Processor("no_repeat_ngram_size", 0, forbid_repeated_ngrams),\n'
        '    Processor("suppress_tokens", None, lambda logits, texts, ids: suppress_tokens(logits, ids)),\n'
        '    Processor("temperature", 1.0, lambda logits, texts, temperature: apply_temperature(logits, '
        "temperature)),\n"
        '    Processor("top_k", None, lambda logits, texts, k: keep_top_k(logits, k)),\n',
        '    Processor("no_repeat_ngram_size", 0, forbid_repeated_ngrams),\n'
        '    Processor("suppress_tokens", None, lambda logits, texts, ids: suppress_tokens(logits, ids)),\n'
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
        "the model writes on behind the end",
    ),
    # --- decoding.py
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
        "end of text is written and written over",
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
        "right for single tokens, wrong behind a prompt",
    ),
    Mutant(
        "no room for the pads",
        "language_model",
        "*(pad + end for pad, end in zip(pads, ends, strict=True))",
        "*ends",
        "capacity from the shortest row's point of view",
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
        "Hugging Face's scores for its logits: with top-k of 1 everything is certain",
    ),
    Mutant(
        "the context's end called the asked length",
        "generation.stopping",
        'return "context" if',
        'return "length" if',
        "a text cut short by the context looks complete",
    ),
    # --- one_token.py
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
    # --- one_token.py on several threads; cuda_graph.py
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
        "keys of 0 take their share of every softmax",
    ),
    Mutant(
        "the newest token out of its own sight",
        "fast.cuda_graph",
        "may_look[:, :n] = True if real is None else real.bool()",
        "may_look[:, : n - 1] = True if real is None else real.bool()[:, : n - 1]",
        "a mask for the cache as it was before the step",
    ),
    # --- beam_search.py
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
        "backup candidates are there to go on with, not to end",
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
        "each beam continues another one's memory",
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
        "the last token decides: greedy with more work",
    ),
    Mutant(
        '"never" is true',
        "generation.beams",
        "if early_stopping is True or",
        "if early_stopping or",
        "a string where a bool is expected",
    ),
    Mutant(
        "stop when something ended",
        "generation.beams",
        "if len(finished) == num_beams and running:",
        "if finished and running:",
        "num_beams finished texts are asked for, not one",
    ),
    Mutant(
        "always the longest hope",
        "generation.beams",
        'if early_stopping == "never" and length_penalty > 0',
        "if length_penalty > 0",
        'what holds for "never" taken for the default',
    ),
    Mutant(
        "never the longest hope",
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
        "process(by_the_model, [beam.tokens for beam in running])",
        "process(logits, [beam.tokens for beam in running]).log_softmax(dim=-1)",
        "as in greedy decoding; Hugging Face's beams do it the other way round",
    ),
    Mutant(
        "beams' log-probabilities of what the processors left",
        "generation.beams",
        "by_the_model[parents, tokens]",
        "processed[parents, tokens]",
        "the score for the probability",
    ),
    # --- speculation.py
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
        "right, and slower: the token behind an accepted draft is free",
    ),
    Mutant(
        "rejected guesses stay in the cache",
        "generation.drafts",
        "past.truncate(len(text) - 1)",
        "past.truncate(past.length)",
        "the model goes on behind what was never written",
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
        "what was said long ago instead of lately",
    ),
    # --- perplexity.py
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
        "[:, -n_targets - 1 : -1]",
        "[:, -n_targets:]",
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
        "a repaired documentation is not the published number any more",
    ),
    Mutant(
        "the lecture's windows weighted by their tokens",
        "perplexity.scores",
        "return _exp(np.mean(self._window_means()))",
        "return _exp(self.total / self.n_scored)",
        "the exact number passed off as 25.1880's",
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
        'return _exp(self._whole_total() / integer("n_words", n_words, 1))',
        'return _exp(self.total / (self.n_scored + 0 * integer("n_words", n_words, 1)))',
        "per token, and called per word",
    ),
    Mutant(
        "nats called bits",
        "perplexity.scores",
        'return self._whole_total() / math.log(2) / integer("n_bytes", n_bytes, 1)',
        'return self._whole_total() / integer("n_bytes", n_bytes, 1)',
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
    # --- train.py
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
        "AdamW(model.parameters())",
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
        "clipping behind the step",
        "train.loop",
        "        nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)\n        self.optimizer.step()\n",
        "        self.optimizer.step()\n        nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)\n",
        "clips what is about to be cleared",
    ),
    Mutant(
        "a mean of the parts' means",
        "train.objectives",
        "loss_of(rows, targets, num_items=n_targets, **segments)",
        "loss_of(rows, targets, **segments) / -(-len(own) // size)",
        "loss / accumulation_steps: transformers' Trainer until version 4.46",
    ),
    Mutant(
        "parts not divided at all",
        "train.objectives",
        "loss_of(rows, targets, num_items=n_targets, **segments)",
        'loss_of(rows, targets, reduction="sum", **segments)',
        "a learning rate that depends on the batch size",
    ),
    Mutant(
        "a document's first token foretold from the one before",
        "data.batches",
        "        return batch\n    labels = batch.clone()\n",
        "        return batch\n    return batch\n",
        "packing without looking at the seams",
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
        'parameters["lr"] = learning_rate_at(self.done, c)',
        'parameters["lr"] = c.learning_rate',
        "a schedule that is computed, logged and not used",
    ),
    # --- data.py, attention.py, gpt2.py: packed documents, batches that follow from the step
    Mutant(
        "the end of text opens the next document",
        "data.batches",
        "return ends.cumsum(dim=1) - ends.long()",
        "return ends.cumsum(dim=1)",
        "a document that never learns to end",
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
    # --- tokenizer.py
    Mutant(
        "merges from left to right",
        "tokenizer.bpe",
        "heapq.heappush(candidates, (merge[0], left, merge[1], ids[left], ids[right]))",
        "heapq.heappush(candidates, (0, left, merge[1], ids[left], ids[right]))",
        "the first pair that can be merged instead of the best-ranked one",
    ),
    Mutant(
        "a neighbour forgotten after a merge",
        "tokenizer.bpe",
        "        if previous[left] >= 0:\n            consider(previous[left])\n",
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
        "a field's other name is not known",
        "checkpoints.names.gpt2",
        '"num_hidden_layers": "n_layer",',
        "",
        "a config.json in the common words falls back to 12 layers",
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
        "the head that was trained is thrown away without a word",
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
        'if config.get("tokenizer_class") not in OF_GPT2 + AS_WRITTEN:',
        "if False:",
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
        "np.bincount(grams.history[n], counts, minlength=n_histories)",
        "np.bincount(grams.history[n], counts)",
        "bincount ends at the largest history that has a follower",
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
]

# Changes that no test can see, because they change nothing.
EQUIVALENT = [
    Mutant(
        "no key bias",
        "checkpoints.translate",
        "state[name] = laid_out(part) if name in matrices else part.contiguous()",
        "state[name] = part.contiguous() * (not name.endswith('key.bias'))",
        "q · b is the same for every key of a query, and softmax does not see a constant",
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
            f"{mutant.path.relative_to(PACKAGE)!s:28} {mutant.name:46} {caught}   {time.perf_counter() - start:.1f} s",
            flush=True,
        )
    for mutant in EQUIVALENT:
        print(f"{mutant.path.relative_to(PACKAGE)!s:28} {mutant.name:46} equivalent: {mutant.seen}")
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
