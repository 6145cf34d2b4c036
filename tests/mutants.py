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
    room: str  # the file of minigpt
    before: str
    after: str
    seen: str  # where this mistake was made, or how it is usually made

    def apply(self, source: str) -> str:
        if source.count(self.before) != 1:
            raise LookupError(
                f"{self.name}: {self.before!r} occurs {source.count(self.before)} times in {self.room}.py"
            )
        return source.replace(self.before, self.after)


class _MutatingLoader(importlib.machinery.SourceFileLoader):
    mutant: Mutant

    def get_code(self, fullname):
        source = self.mutant.apply(self.get_data(self.path).decode())
        return compile(source, self.path, "exec")


class _MutatingFinder:
    def __init__(self, mutant: Mutant):
        self.mutant = mutant

    def find_spec(self, fullname, path=None, target=None):
        if fullname != f"minigpt.{self.mutant.room}":
            return None
        loader = _MutatingLoader(fullname, str(PACKAGE / f"{self.mutant.room}.py"))
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
        "scores = (q * scale) @ k.transpose(-2, -1)",
        "scores = q @ k.transpose(-2, -1)",
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
        "v = self._split_heads(self.value(source))",
        "v = self._split_heads(self.value(x))",
        "invisible in self attention",
    ),
    Mutant(
        "keys used as values",
        "attention",
        "v = self._split_heads(self.value(source))",
        "v = self._split_heads(self.key(source))",
        "'K and V take the same value', taken literally",
    ),
    # --- kv_cache.py
    Mutant(
        "every layer advances the cache",
        "kv_cache",
        "if layer == len(self.keys) - 1:",
        "if True:",
        "one length for all layers, moved on by each of them",
    ),
    Mutant(
        "a stale cache",
        "kv_cache",
        "return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]",
        "return k, v",
        "the cache is written and never read: random weights still generate something",
    ),
    Mutant(
        "values cached as keys",
        "kv_cache",
        "self.values[layer, :, :, self.length : end] = v",
        "self.values[layer, :, :, self.length : end] = k",
        "copy and paste",
    ),
    Mutant(
        "rows selected for the keys only",
        "kv_cache",
        "self.keys[:, rows], self.values[:, rows]",
        "self.keys[:, rows], self.values[:, : len(rows)]",
        "beams or finished rows reordered in one of two tensors",
    ),
    # --- loss.py
    Mutant(
        "no shift",
        "loss",
        "logits, labels = logits[:, :-1], labels[:, 1:]",
        "logits, labels = logits[:, 1:], labels[:, 1:]",
        "labels passed as if they were shifted already",
    ),
    Mutant(
        "shifted twice",
        "loss",
        "logits, labels = logits[:, :-1], labels[:, 1:]",
        "logits, labels = logits[:, :-1], labels[:, 1:].roll(-1, dims=1)",
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
        'return cross_entropy(logits, labels, ignore_index, "sum") / num_items',
        "return cross_entropy(logits, labels, ignore_index)",
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
    # --- gpt2.py
    Mutant(
        "erf-GELU",
        "gpt2",
        'return F.gelu(x, approximate="tanh")',
        "return F.gelu(x)",
        "nn.GELU() for GPT-2's gelu_new: nanoGPT to this day",
    ),
    Mutant(
        "swapped norms",
        "gpt2",
        "attended = self.attention(self.attention_norm(x), mask=mask",
        "attended = self.attention(self.mlp_norm(x), mask=mask",
        "ln_1 and ln_2 exchanged in a name table; fresh norms are all 1 and 0",
    ),
    Mutant(
        "norm behind the block",
        "gpt2",
        "return x + self.dropout(self.mlp(self.mlp_norm(x)))",
        "return self.mlp_norm(x + self.dropout(self.mlp(x)))",
        "post-norm, as in GPT-1 and BERT",
    ),
    Mutant(
        "no residual around the MLP",
        "gpt2",
        "return x + self.dropout(self.mlp(self.mlp_norm(x)))",
        "return self.dropout(self.mlp(self.mlp_norm(x)))",
        "a lost `x +`",
    ),
    Mutant(
        "no final norm",
        "gpt2",
        "return self.final_norm(x)",
        "return x",
        "ln_f forgotten: GPT-1 has none",
    ),
    Mutant(
        "wrong epsilon",
        "gpt2",
        "self.final_norm = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)",
        "self.final_norm = nn.LayerNorm(config.n_embd, eps=1e-6)",
        "1e-6 from T5 and Llama, 1e-12 from BERT",
    ),
    Mutant(
        "scaled by the width of the model",
        "gpt2",
        "1 / math.sqrt(config.n_embd // config.n_head)",
        "1 / math.sqrt(config.n_embd)",
        "sqrt(d_model) for sqrt(d_k)",
    ),
    Mutant(
        "layers counted from 0 in the inverse scaling",
        "gpt2",
        "scale /= layer + 1",
        "scale /= max(1, layer)",
        "scale_attn_by_inverse_layer_idx is layer + 1",
    ),
    Mutant(
        "pads are attended to",
        "gpt2",
        "mask = None if attention_mask is None else padding_mask(attention_mask)",
        "mask = None",
        "generate without attention_mask: 'I love you.\\n\\nI love'",
    ),
    Mutant(
        "positions count the pads",
        "gpt2",
        "if attention_mask is None:\n        return torch.arange",
        "if True:\n        return torch.arange",
        "left padding without position_ids: Hugging Face's forward",
    ),
    Mutant(
        "positions start anew with a cache",
        "gpt2",
        "torch.arange(past, past + tokens.size(1)",
        "torch.arange(0, tokens.size(1)",
        "each decoded token believes it is the first",
    ),
    Mutant(
        "cached positions off by one",
        "gpt2",
        "torch.arange(past, past + tokens.size(1)",
        "torch.arange(max(0, past - 1), max(0, past - 1) + tokens.size(1)",
        "length counted before or after the append",
    ),
    Mutant(
        "an untied head ignored",
        "gpt2",
        "head = self.token_embedding if self.lm_head is None else self.lm_head",
        "head = self.token_embedding",
        "tie_word_embeddings taken for granted",
    ),
    Mutant(
        "no dropout on the embeddings",
        "gpt2",
        "x = self.dropout(x)\n        for block",
        "for block",
        "embd_pdrop forgotten",
    ),
    Mutant(
        "residual projections not scaled down",
        "gpt2",
        "std=std / math.sqrt(2 * len(model.blocks))",
        "std=std",
        "Radford et al. 2019, section 2.3, overlooked",
    ),
    # --- pretrained.py
    Mutant(
        "missing transpose of the square c_proj",
        "pretrained",
        '"blocks.{i}.attention.output.weight", True)',
        '"blocks.{i}.attention.output.weight", False)',
        "a list of names to transpose with one left out: no shape complains",
    ),
    Mutant(
        "query and key exchanged",
        "pretrained",
        'for name in ("query", "key", "value"))',
        'for name in ("key", "query", "value"))',
        "the order in c_attn, guessed",
    ),
    Mutant(
        "saved without the transpose",
        "pretrained",
        "tensors[prefix + theirs] = (tensor.t() if transpose else tensor)",
        "tensors[prefix + theirs] = (tensor.t() if transpose and 'c_proj' not in theirs else tensor)",
        "the way back forgotten",
    ),
    # --- generation.py
    Mutant(
        "padded on the right",
        "generation",
        "torch.tensor([[0] * (longest - lengths[row]) + prompts[row] for row in rows]",
        "torch.tensor([prompts[row] + [0] * (longest - lengths[row]) for row in rows]",
        "the tokenizer's default: the model continues the pads",
    ),
    Mutant(
        "temperature behind top-p",
        "generation",
        "logits = logits.float() / temperature\n",
        "logits = keep_top_p(logits.float(), top_p or 1.0) / temperature\n",
        "processors in the wrong order: the nucleus is another one",
    ),
    Mutant(
        "top-p may keep nothing",
        "generation",
        "unlikely[..., -1] = False",
        "pass",
        "a small p empties the row, and sampling fails or draws token 0",
    ),
    Mutant(
        "top-k drops ties",
        "generation",
        "logits.masked_fill(logits < threshold, -torch.inf)",
        "logits.masked_fill(logits <= threshold, -torch.inf)",
        "< and <= confused: one token too few",
    ),
    Mutant(
        "stopped rows go on",
        "generation",
        "if token not in stop_tokens and lengths[row] < n_positions:",
        "if lengths[row] < n_positions:",
        "end of text is written and written over",
    ),
    # --- perplexity.py
    Mutant(
        "the overlap is scored twice",
        "perplexity",
        "return max(self.begin + 1, self.end - self.n_new)",
        "return self.begin + 1",
        "labels of the overlap not set to -100",
    ),
    Mutant(
        "scores of the wrong positions",
        "perplexity",
        "[:, -n_targets - 1 : -1]",
        "[:, -n_targets:]",
        "position t taken for the prediction of token t",
    ),
    Mutant(
        "a mean of means for the exact number",
        "perplexity",
        "return math.exp(np.nansum(self.nll) / self.n_scored)",
        "return math.exp(np.mean(self._window_means()))",
        "the lecture, and the documentation until 2024",
    ),
    Mutant(
        "one token lost in every window",
        "perplexity",
        "return max(self.begin + 1, self.end - self.n_new)",
        "return max(self.begin + 1, self.end - self.n_new + 1)",
        "the documentation since 2024: trg_len - 1 for windows that lose nothing",
    ),
    # --- train.py
    Mutant(
        "weight decay on norms and biases",
        "train",
        '{"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}',
        '{"params": [p for p in parameters if p.dim() < 2], "weight_decay": weight_decay}',
        "AdamW(model.parameters())",
    ),
    Mutant(
        "warm-up starts at zero",
        "train",
        "config.learning_rate * (step + 1) / config.warmup_steps",
        "config.learning_rate * step / config.warmup_steps",
        "the first step is wasted",
    ),
    Mutant(
        "gradients are never cleared",
        "train",
        "            optimizer.zero_grad()\n",
        "",
        "every step repeats all earlier ones",
    ),
    Mutant(
        "clipping behind the step",
        "train",
        "            nn.utils.clip_grad_norm_(model.parameters(), config.clip)\n            optimizer.step()\n",
        "            optimizer.step()\n            nn.utils.clip_grad_norm_(model.parameters(), config.clip)\n",
        "clips what is about to be cleared",
    ),
    # --- tokenizer.py
    Mutant(
        "merges from left to right",
        "tokenizer",
        "heapq.heappush(candidates, (merge[0], left, merge[1], ids[left], ids[right]))",
        "heapq.heappush(candidates, (0, left, merge[1], ids[left], ids[right]))",
        "the first pair that can be merged instead of the best-ranked one",
    ),
    Mutant(
        "a neighbour forgotten after a merge",
        "tokenizer",
        "            if previous[left] >= 0:\n                consider(previous[left])\n",
        "",
        "the new token is offered to its right neighbour only",
    ),
]

# Changes that no test can see, because they change nothing.
EQUIVALENT = [
    Mutant(
        "no key bias",
        "attention",
        "k = self._split_heads(self.key(source))",
        "k = self._split_heads(source @ self.key.weight.T + 0 * self.key.bias)",
        "q · b is the same for every key of a query, and softmax does not see a constant",
    ),
    Mutant(
        "a constant added to every score",
        "attention",
        "scores = (q * scale) @ k.transpose(-2, -1)",
        "scores = (q * scale) @ k.transpose(-2, -1) + 1",
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
            killer = find_killer(mutant.room)
        survivors += killer is None
        caught = f"{killer.name:14} {killer.test}" if killer else "SURVIVED"
        print(f"{mutant.room + '.py':14} {mutant.name:46} {caught}   {time.perf_counter() - start:.1f} s", flush=True)
    for mutant in EQUIVALENT:
        print(f"{mutant.room + '.py':14} {mutant.name:46} equivalent: {mutant.seen}")
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
