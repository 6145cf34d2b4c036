"""Numbers on their way to the page: the bytes of an array as base64, which a browser reads without parsing digits."""

import base64
import math

import numpy as np
import torch


def packed(numbers: torch.Tensor | np.ndarray) -> dict:
    """{"shape", "type", "data"}: float32 and int32 numbers are sent as they are, uint8 as bytes, all little-endian.
    Other floating-point numbers become float32, which is what a page can hold."""
    array = (
        numbers.detach().cpu() if isinstance(numbers, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(numbers))
    )
    array = array.float() if array.is_floating_point() else array
    array = np.ascontiguousarray(array.numpy())
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {
        "shape": list(array.shape),
        "type": {"float32": "f4", "uint8": "u1", "int32": "i4"}[array.dtype.name],
        "data": base64.b64encode(array.tobytes()).decode("ascii"),
    }


def shades(weights: torch.Tensor) -> torch.Tensor:
    """Weights from 0 to 1 -> their square roots as uint8, 0 to 255: small weights stay visible in a small map."""
    return (weights.float().clamp(0, 1).sqrt() * 255).round().to(torch.uint8)


def finite(number: float) -> float | None:
    """The number; None, which JSON has a word for, in the place of nan and infinity."""
    number = float(number)
    return number if math.isfinite(number) else None
