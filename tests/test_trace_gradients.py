"""What a trace shows of each layer equals direct computation from the model's own parts; its gradients are what the
loss does when a tensor is changed a little."""

from dataclasses import fields

import pytest
import torch
from oracle import pair
from torch import nn

from minigpt.attention import MultiHeadAttention, attention_weights, explicit_attention, repeat_key_heads
from minigpt.loss import cross_entropy
from minigpt.positions import position_ids_for, relative_bias, rotary_rates, rotation
from minigpt.trace import AttentionTrace, Trace, trace, trace_with_gradients

FAMILIES = ["gpt2", "llama", "bert", "t5"]
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
ATTENTION = pytest.mark.parametrize("attention", ["explicit", "sdpa"])


def case(family, seed=1, attention="explicit"):
    """(model, its inputs). Llama with 4 query heads on 2 key heads; a row with pads where a family reads a mask."""
    fixed = {
        "gpt2": dict(n_layer=2),
        "llama": dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=24),
        "bert": dict(num_hidden_layers=2),
        "t5": dict(num_layers=2, num_decoder_layers=2),
    }
    model, _ = pair(seed, family=family, attention=attention, **fixed[family])
    tokens = torch.randint(model.vocab_size, (2, 6), generator=torch.Generator().manual_seed(seed))
    mask = torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]])
    if family == "t5":
        return model, (torch.flip(tokens, [1]), tokens, mask)
    return model, (tokens, mask)


def stacks(model, seen):
    """(trace, blocks) of each stack."""
    if seen.encoder is None:
        return [(seen, model.blocks)]
    return [(seen, model.decoder.blocks), (seen.encoder, model.encoder.blocks)]


def close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-12 * max(1, expected.abs().max())


def heads_of(x, n_head):
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)


# --- what is shown ---------------------------------------------------------------------------------------------------


@ATTENTION
@EACH_FAMILY
@torch.no_grad()
def test_each_layer_step_by_step(family, attention):
    """From a block's input, by the parts of the block, to everything the trace shows of it."""
    model, inputs = case(family, attention=attention)
    seen = trace(model, *inputs)
    assert torch.equal(seen.logits, model(*inputs))  # nothing is changed by looking, to the last bit
    post_norm = family == "bert"
    for stack, blocks in stacks(model, seen):
        x = stack.embeddings
        for i, block in enumerate(blocks):
            read = x if post_norm else block.attention_norm(x)
            self_attention, shown = block.attention, stack.attention[i]
            queries, keys = self_attention.query(read), self_attention.key(read)
            queries, keys = heads_of(queries, self_attention.n_head), heads_of(keys, self_attention.n_kv_head)
            if family == "llama":
                c = model.config
                rates = rotary_rates(self_attention.d_head, c.rope_theta, c.rope_scaling, x.device, x.dtype)
                rotate = rotation(position_ids_for(inputs[1], 0, inputs[0]), rates, x.dtype)
                queries, keys = rotate(queries), rotate(keys)
            close(shown.queries, queries)
            close(shown.keys, keys)
            close(shown.values, heads_of(self_attention.value(read), self_attention.n_kv_head))
            x = stack_attention(block.attention, shown, x)
            x = block.attention_norm(x) if post_norm else x
            if stack.cross_attention is not None:
                shown = stack.cross_attention[i]
                encoded = model.encoder.final_norm(stack.encoder.hidden_states[-1])
                close(shown.queries, heads_of(block.cross_attention.query(block.cross_norm(x)), shown.queries.size(1)))
                close(shown.keys, heads_of(block.cross_attention.key(encoded), shown.keys.size(1)))
                close(shown.values, heads_of(block.cross_attention.value(encoded), shown.keys.size(1)))
                x = stack_attention(block.cross_attention, shown, x)
            close(stack.after_attention[i], x)
            close(stack.mlp_outputs[i], block.mlp(x if post_norm else block.mlp_norm(x)))
            x = x + stack.mlp_outputs[i]
            x = block.mlp_norm(x) if post_norm else x
            close(stack.hidden_states[i], x)
        assert stack.attention_weights == [layer.weights for layer in stack.attention]


def stack_attention(attention, shown, x):
    """The stream x after an attention: its weights take a mean of its values, its output layer joins the heads."""
    close(shown.heads, shown.weights @ repeat_key_heads(shown.values, attention.n_head))
    assert shown.keys.size(1) == attention.n_kv_head
    return x + attention.output(shown.heads.transpose(1, 2).flatten(2))


@torch.no_grad()
def test_the_weights_are_those_of_queries_and_keys():
    model, inputs = case("gpt2")
    allowed = inputs[1].bool()[:, None, None, :]
    for block, layer in zip(model.blocks, trace(model, *inputs).attention, strict=True):
        scale = block.attention.scale
        close(layer.weights, attention_weights(layer.queries, layer.keys, allowed, causal=True, scale=scale))
    model, inputs = case("t5")
    seen = trace(model, *inputs)
    places, distance = torch.arange(6), model.config.relative_attention_max_distance
    bias = relative_bias(model.encoder.relative_bias.weight, places, places, distance, False)
    for layer in seen.encoder.attention:
        close(layer.weights, attention_weights(layer.queries, layer.keys, allowed, bias=bias, scale=1.0))


class Foreign(nn.Module):
    """An attention function that is a module, as a reader may write it."""

    def forward(self, q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
        return 2 * explicit_attention(q, k, v, mask, causal, bias, scale, dropout)


def test_of_a_foreign_function_all_but_the_weights_is_shown_and_it_may_be_a_module():
    model, inputs = case("llama")
    foreign = Foreign()
    model.blocks[1].attention.attend = foreign
    before = [name for name, _ in model.named_modules()]
    expected = model(*inputs)
    both = trace_with_gradients(model, *inputs, loss=torch.sum)
    for seen in (trace(model, *inputs), both[0]):
        close(seen.logits, expected.detach())
        assert [layer.weights is None for layer in seen.attention] == [False, True]
        assert [layer.keys.size(1) for layer in seen.attention] == [2, 4]  # it gets a key head for each query head
        q, k, v = (getattr(seen.attention[1], name) for name in ("queries", "keys", "values"))
        mask = inputs[1].bool()[:, None, None, :]
        close(seen.attention[1].heads, 2 * explicit_attention(q, k, v, mask, causal=True))
    assert both[1].attention[1].weights is None and both[1].attention[1].queries.abs().max() > 0
    assert model.blocks[1].attention.attend is foreign and "attend" not in vars(model.blocks[1].attention)
    assert [name for name, _ in model.named_modules()] == before


# --- gradients -------------------------------------------------------------------------------------------------------


def loss_of(logits):
    """Not the same for every position, and not linear."""
    targets = torch.arange(logits[..., 0].numel()).view(logits.shape[:-1]) % logits.size(-1)
    return cross_entropy(logits, targets) + (logits[:, 0] ** 2).mean()


def tensors_of(seen, name=""):
    """(path, tensor) of everything in a trace."""
    if isinstance(seen, torch.Tensor):
        yield name, seen
    elif isinstance(seen, list):
        for i, part in enumerate(seen):
            yield from tensors_of(part, f"{name}[{i}]")
    elif isinstance(seen, Trace | AttentionTrace):
        for field in fields(seen):
            yield from tensors_of(getattr(seen, field.name), f"{name}.{field.name}")


def change_in(model, path, change):
    """A context in which the tensor that the trace shows at this path has `change` added to it, and the model goes on
    with the sum. Written for the models, not with the code of trace.py."""
    stack = model
    if hasattr(model, "encoder"):
        stack = model.encoder if path.startswith(".encoder") else model.decoder
    name, *numbers = path.removeprefix(".encoder").removeprefix(".").replace("]", "").replace(".", "[").split("[")
    block = stack.blocks[int(numbers[0])] if numbers else None
    add_to_input = lambda part, inputs: (inputs[0] + change, *inputs[1:])  # noqa: E731
    add_to_output = lambda part, inputs, output: output + change  # noqa: E731
    if name == "embeddings":
        return stack.blocks[0].register_forward_pre_hook(add_to_input)
    if name == "hidden_states":
        return block.register_forward_hook(add_to_output)
    if name == "logits":
        return model.register_forward_hook(add_to_output)
    if name == "mlp_outputs":
        return block.mlp.down.register_forward_hook(add_to_output)
    if name == "after_attention" and hasattr(model, "pooler"):  # Bert: its norm stands there
        return block.attention_norm.register_forward_hook(add_to_output)
    if name == "after_attention":  # after the last attention of the block, what it adds to the stream
        last = getattr(block, "cross_attention", block.attention)
        return last.output.register_forward_hook(add_to_output)
    attention = block.attention if name == "attention" else block.cross_attention
    return Changed(attention, numbers[1], change)


class Changed:
    """An attention whose queries, keys, values, weights or heads are changed: the formula, written out."""

    def __init__(self, attention, what, change):
        self.attention, self.own, self.what, self.change = attention, attention.attend, what, change
        attention.attend = self.attend

    def attend(self, q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0):
        copies = self.attention.n_head // self.attention.n_kv_head
        steps = {"queries": q, "keys": k[:, ::copies], "values": v[:, ::copies]}
        if self.what in steps:
            steps[self.what] = steps[self.what] + self.change
        k, v = (steps[name].repeat_interleave(copies, dim=1) for name in ("keys", "values"))
        weights = attention_weights(steps["queries"], k, mask, causal, bias, scale)
        weights = weights + self.change if self.what == "weights" else weights
        return weights @ v + (self.change if self.what == "heads" else 0)

    def remove(self):
        self.attention.attend = self.own


@ATTENTION
@EACH_FAMILY
def test_a_gradient_says_how_the_loss_changes(family, attention):
    """Of every tensor in the trace: a small step in a random direction, up and down, in float64."""
    model, inputs = case(family, attention=attention)
    seen, gradients = trace_with_gradients(model, *inputs, loss=loss_of)
    shown, found = dict(tensors_of(seen)), dict(tensors_of(gradients))
    # Two layers: each shows its hidden state, its attention (5), what is between it and the MLP, and the MLP's output.
    assert list(shown) == list(found) and len(found) == (
        1 + 2 * 13 + 1 + 1 + 2 * 8 if family == "t5" else 1 + 2 * 8 + 1
    )
    generator = torch.Generator().manual_seed(0)
    for path, gradient in found.items():
        assert gradient.shape == shown[path].shape and gradient.abs().max() > 0, path
        direction = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
        losses = []
        for step in (1e-5, -1e-5):
            changed = change_in(model, path, step * direction)
            with torch.no_grad():
                losses.append(loss_of(model(*inputs)).item())
            changed.remove()
        measured = (losses[0] - losses[1]) / 2e-5
        expected = (gradient * direction).sum().item()
        assert measured == pytest.approx(expected, rel=1e-5, abs=1e-7), path


@ATTENTION
@EACH_FAMILY
def test_what_is_seen_is_what_trace_shows_and_nothing_is_left_behind(family, attention):
    model, inputs = case(family, attention=attention)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.train()
    own = [part.attend for part in model.modules() if isinstance(part, MultiHeadAttention)]
    seen, gradients = trace_with_gradients(model, *inputs, loss=loss_of)
    for (path, tensor), (_, expected) in zip(tensors_of(seen), tensors_of(trace(model, *inputs)), strict=True):
        close(tensor, expected)
        assert not tensor.requires_grad, path
    assert not any(gradient.requires_grad for _, gradient in tensors_of(gradients))
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in model.parameters())
    assert model.training and own == [part.attend for part in model.modules() if isinstance(part, MultiHeadAttention)]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@EACH_FAMILY
def test_frozen_parameters_and_contexts_change_nothing(family, context):
    model, inputs = case(family)
    _, expected = trace_with_gradients(model, *inputs, loss=loss_of)
    model.requires_grad_(False)
    with context():
        _, found = trace_with_gradients(model, *inputs, loss=loss_of)
    for (path, gradient), (_, other) in zip(tensors_of(found), tensors_of(expected), strict=True):
        assert torch.equal(gradient, other), path
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_bert_without_a_head_gives_its_hidden_states_to_the_loss():
    bert, _ = pair(2, family="bert", has_head=False)
    tokens = torch.tensor([[1, 2, 3]])
    seen, gradients = trace_with_gradients(bert, tokens, loss=lambda hidden: (hidden**2).sum() / 2)
    assert seen.logits is None and gradients.logits is None
    close(gradients.hidden_states[-1], seen.hidden_states[-1])


def test_a_causal_model_has_no_gradient_from_earlier_positions():
    model, (tokens, _) = case("llama")
    _, gradients = trace_with_gradients(model, tokens, loss=lambda logits: logits[:, 2].sum())
    for path, gradient in tensors_of(gradients):
        places = 2 if "attention[" in path and "after" not in path else 1  # of the token: (B, H, T, D) or (B, T, C)
        assert (gradient.narrow(places, 3, 3) == 0).all(), path
    assert (gradients.embeddings[:, :3] != 0).any(dim=-1).all()


def test_a_loss_that_is_no_loss_is_refused():
    model, inputs = case("gpt2")
    hook = model.blocks[0].register_forward_hook(lambda *_: pytest.fail("work was done"))
    for bad in (None, 5, torch.tensor(1.0)):
        with pytest.raises(ValueError, match="loss must be a function of the logits"):
            trace_with_gradients(model, *inputs, loss=bad)
    hook.remove()
    for bad in (
        lambda logits: logits,
        lambda logits: logits.sum().item(),
        lambda logits: logits.sum().detach(),
        lambda logits: logits.argmax(),
        lambda logits: None,
        lambda logits: model.token_embedding.weight.sum(),  # it has a gradient, and not through the logits
    ):
        with pytest.raises(ValueError, match="loss must return one number that depends on the logits"):
            trace_with_gradients(model, *inputs, loss=bad)
    with pytest.raises(ValueError, match="trace needs a model with MultiHeadAttention in it, got Linear"):
        trace_with_gradients(nn.Linear(2, 2), torch.zeros(1, 2), loss=torch.sum)
    with pytest.raises(ValueError, match="token id 999"):
        trace_with_gradients(model, torch.tensor([[1], [999]]), loss=torch.sum)


def test_a_block_of_another_kind_has_no_after_attention():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.look = MultiHeadAttention(8, 2)

        def forward(self, x):
            return x + self.look(x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(x)

    x = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0))
    for seen in (trace(Model(), x), *trace_with_gradients(Model(), x, loss=torch.sum)):
        assert seen.after_attention == seen.mlp_outputs == [None] and seen.attention[0].heads.shape == (1, 2, 3, 4)
    assert not x.requires_grad
