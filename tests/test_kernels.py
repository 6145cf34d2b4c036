"""Which kernel computes a call: what we say is what torch does, on the CPU by trying, for CUDA by stand-ins."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from minigpt.attention import sdpa_arguments, sdpa_attention
from minigpt.compare import kernels
from minigpt.compare.kernels import KERNELS, kernels_for

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def heads(n_head=4, n_tokens=6, d=8, dtype=torch.float32, grad=False):
    return torch.randn(2, n_head, n_tokens, d, dtype=dtype, requires_grad=grad)


def answers(*qkv, **arguments):
    return {kernel.name: kernel for kernel in kernels_for(*qkv, **arguments)}


class Operators(TorchDispatchMode):
    """The names of the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **kwargs or {})


def kernel_that_ran(*qkv, **arguments) -> str:
    with Operators() as seen:
        sdpa_attention(*qkv, **arguments)
    return "flash" if any("flash" in name for name in seen.names) else "math"


Q, TRIANGLE = heads(), torch.ones(6, 6, dtype=torch.bool).tril()
BIAS = torch.randn(6, 6)
OF_THE_CPU = {  # a call, and a word of the reason why the CPU's flash kernel refuses; "" if it computes the call
    "nothing": ((Q, Q, Q), {}, ""),
    "the word causal": ((Q, Q, Q), {"causal": True}, ""),
    "a causal tensor": ((Q, Q, Q), {"mask": TRIANGLE}, ""),
    "later queries, causal": ((Q[:, :, -3:], Q, Q), {"causal": True}, ""),
    "a mask of keys": ((Q, Q, Q), {"mask": TRIANGLE[3]}, ""),
    "a mask for each head": ((Q, Q, Q), {"mask": TRIANGLE.expand(4, 6, 6)}, ""),
    "more keys than queries": ((Q[:, :, :2], Q, Q), {}, ""),
    "more queries than keys": ((Q, Q[:, :, :2], Q[:, :, :2]), {}, ""),
    "an empty row": ((Q, Q, Q), {"mask": TRIANGLE & (torch.arange(6) > 0)}, ""),
    "a bias": ((Q, Q, Q), {"bias": BIAS}, ""),
    "a bias for each head": ((Q, Q, Q), {"bias": BIAS.expand(4, 6, 6)}, ""),
    "a bias that learns": ((Q, Q, Q), {"bias": BIAS.clone().requires_grad_()}, "needs a gradient"),
    "a mask and a bias that learns": (
        (Q, Q, Q), {"mask": TRIANGLE, "bias": BIAS.clone().requires_grad_()}, "needs a gradient",
    ),
    "gradients": ((heads(grad=True), Q, Q), {"causal": True}, ""),
    "grouped keys": ((Q, Q[:, :2], Q[:, :2]), {}, ""),
    "one key head": ((Q, Q[:, :1], Q[:, :1]), {"causal": True}, ""),
    "odd heads": ((Q[..., :7].contiguous(), Q[..., :7].contiguous(), Q[..., :7].contiguous()), {}, ""),
    "wide heads": ((heads(d=512), heads(d=512), heads(d=512)), {}, ""),
    "narrower values": ((Q, Q, Q[..., :4]), {}, "same last dimension"),
    "dropout": ((Q, Q, Q), {"dropout": 0.1}, "dropout"),
    "no dimension of rows": ((Q[0], Q[0], Q[0]), {}, "4 dimensional"),
    "columns in memory": ((Q.mT.contiguous().mT, Q, Q), {}, "stride 1"),
    "a scale": ((Q, Q, Q), {"scale": 1.0}, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", OF_THE_CPU)
def test_on_the_cpu_the_kernel_that_runs_is_the_one_we_name(case):
    qkv, arguments, word = OF_THE_CPU[case]
    found = answers(*qkv, **arguments)
    flash = found["flash"]
    assert list(found) == list(KERNELS) and found["math"].takes and flash.takes is (word == "")
    assert (word in flash.reason) if word else flash.reason == ""
    assert "\n" not in flash.reason and "Triggered" not in flash.reason
    chosen = [kernel.name for kernel in found.values() if kernel.chosen]
    assert chosen == [kernel_that_ran(*qkv, **arguments)] == ["math" if word else "flash"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", ["nothing", "the word causal", "a causal tensor", "a bias"])
def test_on_the_cpu_no_dtype_is_refused(dtype, case):
    q, arguments = heads(dtype=dtype, grad=True), OF_THE_CPU[case][1]
    assert answers(q, q, q, **arguments)["flash"].chosen
    assert kernel_that_ran(q, q, q, **arguments) == "flash"


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's reasons
def test_a_kernel_takes_what_it_computes_when_it_is_asked_alone(full):
    """Random calls: each kernel is made to compute them, and raises exactly where we say that it refuses."""
    seen = set()
    for seed in range(150 if full else 40):
        draw = random.Random(seed)
        n_query, n_kv_head = draw.choice([1, 3, 6]), draw.choice([1, 2, 4])
        d, dtype = draw.choice([1, 8, 13]), draw.choice(DTYPES)
        q, k = heads(4, n_query, d, dtype, grad=draw.random() < 0.3), heads(n_kv_head, 6, d, dtype)
        v = heads(n_kv_head, 6, draw.choice([d, d, d + 3]), dtype)
        arguments = {"causal": draw.random() < 0.5, "dropout": draw.choice([0.0, 0.0, 0.2])}
        if draw.random() < 0.5:
            arguments["mask"] = torch.rand(draw.choice([(6,), (n_query, 6), (4, n_query, 6), (2, 1, 1, 6)])) < 0.8
        if draw.random() < 0.4:
            shape = draw.choice([(n_query, 6), (4, n_query, 6), (1, 4, n_query, 6)])
            arguments["bias"] = torch.randn(shape, dtype=dtype, requires_grad=draw.random() < 0.3)
        for name, kernel in answers(q, k, v, **arguments).items():
            try:
                with sdpa_kernel(KERNELS[name]):
                    sdpa_attention(q, k, v, **arguments)
                takes = True
            except RuntimeError:
                takes = False
            assert kernel.takes is takes, (seed, kernel)
            seen.add((name, takes))
    assert seen == {("math", True), ("flash", True), ("flash", False), ("efficient", False), ("cuDNN", False)}


def test_asking_computes_nothing_and_changes_nothing():
    q = heads()
    state, switches = torch.get_rng_state(), torch.backends.cuda.flash_sdp_enabled()
    with Operators() as seen:
        kernels_for(q, q, q, dropout=0.5)
    assert not [name for name in seen.names if "fused_sdp_choice" not in name]
    assert torch.equal(torch.get_rng_state(), state) and torch.backends.cuda.flash_sdp_enabled() == switches


def test_what_is_switched_off_is_not_chosen():
    with sdpa_kernel(SDPBackend.MATH):
        found = answers(Q, Q, Q)
        assert found["math"].chosen and found["flash"].takes and not found["flash"].chosen
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert not any(kernel.chosen for kernel in kernels_for(Q, Q, Q, dropout=0.1))


@pytest.fixture
def cuda(monkeypatch):
    """A stand-in for torch on CUDA: cuDNN before flash, efficient and math, each with reasons; what was asked of it."""
    asked = []
    refuses = {}  # a kernel's reasons

    def choice(**call):
        asked.append(call)
        allowed = kernels.torch.nn.attention._cur_sdpa_kernel_backends()
        for name in ("cuDNN", "flash", "efficient", "math"):
            if KERNELS[name] in allowed and name not in refuses:
                return int(KERNELS[name])
        for name, heading in (
            ("efficient", "Memory efficient"),
            ("flash", "Flash attention"),
            ("cuDNN", "cuDNN attention"),
        ):
            kernels.warnings.warn(f"{heading} kernel not used because: (Triggered internally at /a/sdp.cpp:9.)")
            for reason in refuses.get(name, ()) if KERNELS[name] in allowed else ["it has been runtime disabled."]:
                kernels.warnings.warn(f"{reason} (Triggered internally at /a/sdp.cpp:12.)")
        raise RuntimeError("No available kernel. Aborting execution.")

    monkeypatch.setattr(torch, "_fused_sdp_choice", choice)
    monkeypatch.setattr(kernels, "CUDA_ONLY", ())
    return asked, refuses


def test_on_cuda_each_kernel_gives_its_own_reason(cuda):
    asked, refuses = cuda
    assert [kernel.chosen for kernel in kernels_for(Q, Q, Q)] == [False, False, False, True]
    refuses |= {"cuDNN": ["Expected query to be half,", "but it is float."], "flash": ["No mask,\n  please."]}
    found = answers(Q, Q, Q, mask=TRIANGLE)
    assert {name: kernel.reason for name, kernel in found.items()} == {
        "math": "", "flash": "No mask, please.", "efficient": "",
        "cuDNN": "Expected query to be half, but it is float.",
    }  # fmt: skip
    assert [name for name, kernel in found.items() if kernel.chosen] == ["efficient"]
    expected = sdpa_arguments(Q, Q, Q, mask=TRIANGLE)
    assert all(call.keys() == expected.keys() and call["attn_mask"] is TRIANGLE for call in asked[-5:])


def test_a_refusal_without_a_word_is_explained_or_the_error_is_shown(cuda):
    refuses = cuda[1]
    refuses |= {"cuDNN": [], "efficient": []}
    found = answers(Q, Q, Q, bias=BIAS.clone().requires_grad_())
    assert "needs a gradient" in found["cuDNN"].reason and found["flash"].chosen
    assert answers(Q, Q, Q, bias=BIAS)["cuDNN"].reason == "No available kernel. Aborting execution."


def test_autocast_converts_before_torch_chooses(cuda):
    with torch.autocast("cpu", torch.bfloat16):
        kernels_for(Q, Q.bfloat16(), Q, bias=BIAS)
        q = Q.double()
        kernels_for(q, q, q, mask=TRIANGLE)
    first, last = cuda[0][0], cuda[0][-1]
    assert {first[name].dtype for name in ("query", "key", "value", "attn_mask")} == {torch.bfloat16}
    assert last["query"].dtype == torch.float64 and last["attn_mask"].dtype == torch.bool


@pytest.mark.parametrize(
    "qkv, arguments, words",
    [
        ((Q, Q[..., :4], Q), {}, "k .2, 4, 6, 4"),
        ((Q, Q, Q), {"mask": BIAS}, "mask must be a bool tensor"),
        ((Q, Q, Q), {"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ((Q, Q.half(), Q), {}, "k must have the dtype of q, torch.float32, got torch.float16"),
        ((Q, Q, Q.double()), {}, "v must have the dtype of q, torch.float32, got torch.float64"),
        ((Q, Q, Q), {"bias": BIAS.double()}, "bias must be float32 or have the dtype of q, torch.float32, got torch.f"),
        ((Q.long(), Q.long(), Q.long()), {}, "q must be floating point, got torch.int64"),
        ((Q.to("meta"), Q.to("meta"), Q.to("meta")), {}, "q must be on a cpu or cuda device.* it is on meta"),
    ],
    ids=["shapes", "mask", "dropout", "k", "v", "bias", "q", "device"],
)
def test_bad_arguments_are_refused_by_name(qkv, arguments, words):
    with pytest.raises(ValueError, match=words):
        kernels_for(*qkv, **arguments)


def test_the_dtypes_that_are_refused_are_those_that_torch_refuses():
    for q_dtype in DTYPES:
        for dtype in DTYPES:
            q, other = heads(dtype=q_dtype), heads(dtype=dtype)
            for qkv, arguments in (((q, other, q), {}), ((q, q, other), {}), ((q, q, q), {"bias": BIAS.to(dtype)})):
                try:
                    F.scaled_dot_product_attention(**sdpa_arguments(*qkv, **arguments))
                except RuntimeError:
                    with pytest.raises(ValueError, match=r"convert it with \.to"):
                        kernels_for(*qkv, **arguments)
                else:
                    kernels_for(*qkv, **arguments)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_torchs_own_check_answers():
    q = heads(n_tokens=64, d=64).cuda()
    half = q.bfloat16()
    found = answers(q, q, q, causal=True)
    assert not found["flash"].takes and "ype" in found["flash"].reason and found["efficient"].takes
    assert answers(half, half, half, causal=True)["flash"].takes
    masked = answers(half, half, half, mask=torch.ones(64, 64, dtype=torch.bool, device="cuda"))
    assert not masked["flash"].takes and "mask" in masked["flash"].reason
    for name, kernel in masked.items():
        if kernel.takes:
            with sdpa_kernel(KERNELS[name]):
                sdpa_attention(half, half, half, mask=torch.ones(64, 64, dtype=torch.bool, device="cuda"))
