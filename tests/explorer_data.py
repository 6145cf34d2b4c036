"""What the tests of the explorer share: texts, and how the page's data are unpacked."""

import base64
import json
import re

import numpy as np
import torch

from minigpt.explorer.questions import answer
from minigpt.trace import trace

TEXT = "Return the number of elements in the array. If the array is empty, return the number of"
TEXTS = {
    "tiny": TEXT,
    "tiny-llama": TEXT,
    "tiny-bert": "Open the [MASK] and return a file object.",
    "tiny-t5": "Return the <extra_id_0> of the list",
}


def unpacked(part) -> np.ndarray:
    kinds = {"f4": "<f4", "u1": "u1", "i4": "<i4"}
    return np.frombuffer(base64.b64decode(part["data"]), kinds[part["type"]]).reshape(part["shape"])


def reading_of(subject, text=None) -> dict:
    """What the page gets, after a journey through JSON."""
    return json.loads(json.dumps(answer(subject, "read", {"text": text or TEXTS[subject.name]}), allow_nan=False))


def ids_of(reading) -> dict:
    rows = {"tokens": reading["tokens"]["ids"]}
    return rows if reading["source"] is None else rows | {"source": reading["source"]["ids"]}


def seen_of(subject, reading):
    rows = ids_of(reading)
    inputs = [torch.tensor([rows[name]]) for name in ("source", "tokens") if name in rows]
    return trace(subject.model, *inputs), inputs


def data_of(page: str) -> str:
    return re.search(r'(?s)<script type="application/json" id="data">(.*?)</script>', page)[1]
