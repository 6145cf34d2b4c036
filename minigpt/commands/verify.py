"""python -m minigpt verify"""

import dataclasses

import torch

from ..checkpoints import find_checkpoint, load_model
from ..compare import compare
from ..compare.difference import first_layer, verdict
from .options import add_device, add_json, add_source, device_of, print_json

NAME, HELP = "verify", "Compare a checkpoint, ours against Hugging Face's transformers"


def add(parser) -> None:
    add_source(parser)
    add_device(parser)
    add_json(parser)


def run(options) -> int:
    directory = find_checkpoint(options.source)
    comparisons = []
    for dtype in (torch.float64, torch.float32):
        for attention in ("explicit", "sdpa"):
            model = load_model(directory, device_of(options), dtype, attention)
            comparisons += [(attention, comparison) for comparison in compare(model, directory)]
    rows = [comparison for _, comparison in comparisons]
    meaning = verdict(rows)
    if options.json:
        table = [{"attention": a} | dataclasses.asdict(c) | {"ok": c.ok} for a, c in comparisons]
        print_json({"comparisons": table, "verdict": meaning, "first_layer": first_layer(rows)})
        return 1 if meaning else 0
    print(f"{options.source}: ours against transformers")
    print(f"{'quantity':22} {'dtype':8} {'attention':9} {'difference':>10} {'bar':>8}")
    for attention, c in comparisons:
        print(f"{c.quantity:22} {c.dtype:8} {attention:9} {c.difference:10.1e} {c.bar:8.0e} {'✓' if c.ok else '✗'}")
    if meaning:
        layer = first_layer(rows)
        where = "behind the last layer" if layer is None else f"from layer {layer} on"
        reason = {
            "rounding": "rounding: in float64 the two agree",
            "bug": "a bug: they differ in float64, too, where rounding cannot explain it",
        }
        print(f"They differ {where}. The verdict is {reason[meaning]}.")
    return 1 if meaning else 0
