"""python -m minigpt verify"""

import dataclasses

import torch

from ..checkpoints import find_checkpoint, load_model
from ..compare import first_place, verdict, verify
from .options import add_device, add_json, add_source, device_of, print_json

NAME, HELP = "verify", "Compare a checkpoint of any family, ours against Hugging Face's transformers"

STACKS = ("encoder", "decoder")


def add(parser) -> None:
    add_source(parser)
    add_device(parser)
    add_json(parser)


def run(options) -> int:
    directory, device = find_checkpoint(options.source), device_of(options)
    found = []
    for dtype in (torch.float64, torch.float32):
        for attention in ("explicit", "sdpa"):
            model = load_model(directory, device, dtype, attention)
            found += [(attention, difference) for difference in verify(model, directory)]
    differences = [difference for _, difference in found]
    meaning, place = verdict(differences), first_place(differences)
    layer = None if place is None else place.first_layer
    if options.json:
        table = [{"attention": a} | dataclasses.asdict(d) | {"ok": d.ok} for a, d in found]
        print_json({"comparisons": table, "verdict": meaning, "first_layer": layer})
        return 1 if meaning else 0
    print(f"{options.source}: ours against transformers")
    width = max(22, *(len(difference.quantity) for difference in differences))
    print(f"{'quantity':{width}} {'dtype':8} {'attention':9} {'difference':>10} {'bar':>8}")
    for attention, difference in found:
        print(f"{difference.quantity:{width}} {difference.dtype:8} {attention:9} {difference}")
    if meaning:
        stack = "" if place is None else next((f" of the {s}" for s in STACKS if place.quantity.startswith(s)), "")
        where = "after the last layer" if layer is None else f"from layer {layer}{stack} on"
        reason = {
            "rounding": "rounding: in float64 the two agree",
            "bug": "a bug: they differ in float64, too, where rounding cannot explain it",
        }
        print(f"They differ {where}. The verdict is {reason[meaning]}.")
    return 1 if meaning else 0
