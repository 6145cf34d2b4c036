"""What only a CUDA device can show: the kernels that run, graphs, and the same answers as on the CPU."""

import numpy as np
import pytest
import torch
from oracle import pair

from minigpt import GPT2, GPT2Config, generate
from minigpt.fast import linear_cross_entropy
from minigpt.fast.cuda_graph import FixedStep
from minigpt.language_model import Past
from minigpt.perplexity import score
from minigpt.train import TrainConfig, train

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_float32_is_float32():
    """TF32 rounds the factors of a product to 10 bits of mantissa. It is off, and importing does not switch it on."""
    assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("attention", ["explicit", "sdpa", "tiled"])
@pytest.mark.parametrize("dtype, bar", [(torch.float64, 2e-13), (torch.float32, 2e-5)], ids=str)
@torch.no_grad()
def test_the_same_answers_as_hugging_face_there(dtype, bar, attention):
    for seed in range(6):
        ours, theirs = (model.cuda() for model in pair(seed, dtype, attention))
        tokens = torch.arange(24, device="cuda").view(2, 12) % ours.config.vocab_size
        expected = theirs(tokens).logits
        assert (ours(tokens) - expected).abs().max() <= bar * expected.abs().max()


def kernels(work) -> list[str]:
    """Names of the kernels that work() starts."""
    activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as seen:
        work()
        torch.cuda.synchronize()
    return [event.name for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]


@torch.no_grad()
def test_flash_attention_is_what_runs():
    """In half precision, causal, without a mask: no kernel computes a softmax of (T, T) scores."""
    model = GPT2(GPT2Config(vocab_size=500, n_layer=1, n_embd=128, n_head=2), "sdpa").cuda().bfloat16().eval()
    names = kernels(lambda: model(torch.zeros(2, 256, dtype=torch.int64, device="cuda")))
    assert any("flash" in name.lower() for name in names), names
    assert not any("softmax" in name.lower() for name in names), names


@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "seed": 3}, {"num_beams": 3}], ids=str)
def test_decoding_writes_what_it_writes_on_the_cpu(settings):
    model = pair(5, n_layer=2, n_positions=48)[0]
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    options = {"stop_tokens": list(range(model.config.vocab_size // 8))}
    if "do_sample" in settings:  # a GPU draws other numbers: here it need only run, and repeat itself
        model.cuda()
        assert generate(model, prompts, 30, **options, **settings) == generate(
            model, prompts, 30, **options, **settings
        )
        return
    expected = generate(model, prompts, 30, **options, **settings)
    assert generate(model.cuda(), prompts, 30, **options, **settings) == expected


@torch.inference_mode()
def test_a_step_is_one_start():
    model = pair(5, n_layer=2, n_positions=48)[0].cuda()
    past = Past(model.new_cache(1, 40))
    tokens = torch.tensor([[1, 2, 3, 4]], device="cuda")
    model.read(tokens, past)
    step = FixedStep(model, past.cache)
    assert step.graph is not None and past.length == 4
    with torch.profiler.profile() as seen:
        step(torch.tensor([[9]], device="cuda"), past)
    assert sum("cudaGraphLaunch" in event.name for event in seen.events()) == 1
    past.truncate(4)
    for token in (5, 6, 7):
        tokens = torch.cat([tokens, torch.tensor([[token]], device="cuda")], dim=1)
        logits = step(tokens[:, -1:], past)
        assert (logits - model(tokens)[:, -1]).abs().max() <= 2e-13 * logits.abs().max()


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_lean_loss_there(reduction):
    hidden = torch.randn(40, 16, dtype=torch.float64, device="cuda", requires_grad=True)
    weight = torch.randn(300, 16, dtype=torch.float64, device="cuda", requires_grad=True)
    targets = torch.arange(40, device="cuda") * 7 % 300
    found = linear_cross_entropy(hidden, weight, targets, reduction=reduction, chunk_size=7)
    expected = torch.nn.functional.cross_entropy(hidden @ weight.t(), targets, reduction=reduction)
    assert (found - expected).abs().max() < 1e-13
    ours, theirs = (torch.autograd.grad(loss.sum(), (hidden, weight)) for loss in (found, expected))
    for mine, its in zip(ours, theirs, strict=True):
        assert (mine - its).abs().max() < 1e-13


@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_training_learns(compiled):
    model = GPT2(GPT2Config(vocab_size=30, n_positions=32, n_embd=64, n_layer=2, n_head=2), "sdpa").cuda()
    text = (np.arange(3000) * 7 % 30).astype(np.uint16)
    config = TrainConfig(
        steps=60, batch_size=4, context=32, warmup_steps=5, evaluate_every=30, autocast=True, compile=compiled
    )
    history = train(model, text, text[:500], config)
    assert history[-1].held_out_loss < 1.0 < history[0].train_loss


def test_perplexity_in_batches():
    model, tokens = pair(8, n_positions=24)[0], [1, 2, 3, 4, 5] * 30
    expected = score(model, tokens)
    assert np.nanmax(np.abs(score(model.cuda(), tokens).nll - expected.nll)) < 1e-12


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
@pytest.mark.parametrize("attention", ["explicit", "sdpa", "tiled"])
@torch.inference_mode()
def test_the_other_families_give_the_cpus_answers(family, attention):
    for seed in range(4):
        model, _ = pair(seed, attention=attention, family=family)
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(model.vocab_size, (3, 9), generator=generator)
        mask = torch.ones_like(tokens)
        mask[1, -4:] = 0
        inputs = (tokens, tokens.roll(1, 1), mask) if family == "t5" else (tokens, mask)
        real = torch.ones_like(mask).bool() if family == "t5" else mask.bool()
        expected = model(*inputs)
        prompts = [tokens[0, :5].tolist(), tokens[1, :3].tolist()]
        texts = None if family == "bert" else generate(model, prompts, 12, stop_tokens=[])
        found = model.cuda()(*(part.cuda() for part in inputs)).cpu()
        assert (found - expected)[real].abs().max() <= 1e-11 * expected.abs().max()
        assert texts is None or generate(model, prompts, 12, stop_tokens=[]) == texts
