"""Which of torch's kernels would compute an attention call, and why the others refuse it.

torch's `scaled_dot_product_attention` is one function with several kernels:

    math        the formula step by step, with all (Tq, Tk) scores in memory; it takes every call
    flash       FlashAttention (Dao 2023); on a CPU, torch's own kernel of that kind
    efficient   memory-efficient attention (Rabe & Staats 2021)
    cuDNN       a kernel of NVIDIA's library

torch goes through a list of them and uses the first that takes the call. It says why a kernel refuses only if no other
kernel is allowed. So each is asked alone.
"""

import warnings
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from .._checks import number
from ..attention import sdpa_arguments

KERNELS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
}
CUDA_ONLY = ("efficient", "cuDNN")
# torch writes "... kernel not used because:", then the reasons. The line of each kernel begins so, in lower case:
HEADINGS = {"math": "math", "flash": "flash attention", "efficient": "memory efficient", "cuDNN": "cudnn"}


@dataclass(frozen=True)
class Kernel:
    """What one kernel answers to one call."""

    name: str  # a key of KERNELS
    takes: bool  # whether it would compute this call
    chosen: bool  # whether torch uses it for this call
    reason: str  # why it refuses, in one line, mostly torch's words; "" if it takes the call


def kernels_for(q, k, v, mask=None, causal=False, bias=None, scale=None, dropout=0.0) -> list[Kernel]:
    """What each kernel answers to the call that `sdpa_attention` makes of these arguments, in the order of KERNELS.

    The answers are those of torch's own check (`torch._fused_sdp_choice`). No attention is computed, and no random
    number is drawn. Inside `torch.autocast` the tensors have the dtype that torch converts them to. `sdpa_kernel`
    around the call changes which kernel is chosen; which of them take the call stays the same.

    Raises ValueError as `explicit_attention` does, and for dtypes that no kernel takes together, a dropout outside
    0 <= dropout < 1, and a device that is neither a CPU nor CUDA.
    """
    call = sdpa_arguments(q, k, v, mask, causal, bias, scale, number("dropout", dropout, least=0, below=1))
    device = q.device.type
    if device not in ("cpu", "cuda"):
        raise ValueError(f"q must be on a cpu or cuda device, whose kernels are known; it is on {device}")
    call = _autocast(call, device)
    _check_dtypes(call)
    chosen, _ = _ask(call)
    answers = []
    for name, backend in KERNELS.items():
        reason = ""
        if device == "cpu" and name in CUDA_ONLY:
            reason = "torch has this kernel for CUDA only"
        else:
            with sdpa_kernel(backend):
                found, said = _ask(call)
            if found is None:
                reason = _reason(name, said, call)
        answers.append(Kernel(name, takes=not reason, chosen=chosen == int(backend), reason=reason))
    return answers


def _ask(call: dict) -> tuple[int | None, list[str]]:
    """The number of the kernel that torch would use, or None and what it says: its warnings, and the error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return torch._fused_sdp_choice(**call), []
        except RuntimeError as error:
            return None, [*(str(warning.message) for warning in caught), str(error)]


def _reason(name: str, said: list[str], call: dict) -> str:
    """Of what torch says, the lines about this kernel. On CUDA it writes a list for each kernel, one after another."""
    *lines, error = (" ".join(text.split(" (Triggered internally")[0].split()) for text in said)
    found, about_this = [], False
    for line in lines:
        if line.endswith("not used because:"):
            about_this = line.lower().startswith(HEADINGS[name])
        elif about_this:
            found.append(line)
    if not found and call["attn_mask"] is not None and call["attn_mask"].requires_grad:
        return "the bias needs a gradient, which this kernel does not compute"  # here torch refuses without a word
    return " ".join(found) or error


def _autocast(call: dict, device: str) -> dict:
    """The tensors as torch.autocast converts them: all floating point ones except float64."""
    if not torch.is_autocast_enabled(device):
        return call
    dtype = torch.get_autocast_dtype(device)
    tensors = {
        name: x.to(dtype)
        for name, x in call.items()
        if torch.is_tensor(x) and x.is_floating_point() and x.dtype != torch.float64
    }
    return call | tensors


def _check_dtypes(call: dict) -> None:
    """torch's check of a kernel does not look at dtypes that differ; the call itself would raise a RuntimeError."""
    dtype, added = call["query"].dtype, call["attn_mask"]
    if not dtype.is_floating_point:
        raise ValueError(f"q must be floating point, got {dtype}")
    for name, short in (("key", "k"), ("value", "v")):
        if call[name].dtype != dtype:
            raise ValueError(f"{short} must have the dtype of q, {dtype}, got {call[name].dtype}: convert it with .to")
    if added is not None and added.dtype not in (torch.bool, torch.float32, dtype):
        raise ValueError(
            f"bias must be float32 or have the dtype of q, {dtype}, got {added.dtype}: convert it with .to"
        )
