"""python -m minigpt bench: time and memory, beside transformers and the limits of the machine."""

import dataclasses
import platform
import re
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

from .._files import read_text
from ..compare import memory, speed
from ..plots import plot_growth, plot_speed
from .options import add_device, add_json, check_picture, device_of, not_empty, print_json

NAME, HELP = "bench", "Time and memory beside Hugging Face's transformers on this machine, with random weights"

WORKS = {
    "forward": speed.forward,
    "training": speed.training_step,
    "decoding": speed.decoding,
    "decoding-8": lambda shared, workload: speed.decoding(shared, workload, batch=8),
    "decoding-growth": speed.growth_of_decoding,
    "perplexity": speed.perplexity,
    "loading": speed.loading,
}


def add(parser) -> None:
    parser.add_argument("--size", choices=speed.SIZES, default="tiny", help="model size (default tiny; gpt2 = 124M)")
    parser.add_argument("--work", choices=WORKS, nargs="+", default=list(WORKS), help="what to measure (default: all)")
    parser.add_argument("--dtype", choices=speed.DTYPES, nargs="+", default=list(speed.DTYPES), help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds of smaller work")
    parser.add_argument("--growth", action="store_true", help="instead: how cost grows with tokens, rows and layers")
    parser.add_argument("--plot", type=not_empty, metavar="PNG", help="draw what was measured")
    add_device(parser)
    add_json(parser)


def run(options) -> int:
    device, config = device_of(options), speed.SIZES[options.size]
    check_picture(options.plot)
    # float32 means float32. torch and transformers leave TF32 off, too; it is set here, so that everybody can see it.
    torch.set_float32_matmul_precision("highest")
    found = {"size": options.size, "quick": options.quick, "machine": machine(device)}
    title = ", ".join([options.size, hardware(device), f"torch {torch.__version__}"])
    if options.growth:
        points = memory.growth(config, rounds=3 if options.quick else 7, device=device)
        found["growth"] = [dataclasses.asdict(point) for point in points]
        lines, figure = growth_lines(points), plot_growth
    else:
        results, numbers = measure(options, config, device)
        points = results
        found["machine"]["transformers"] = version("transformers")
        found |= numbers | {"works": [as_data(result) for result in results]}
        lines, figure = result_lines(results, numbers), plot_speed
        title += f", transformers {version('transformers')}"
    if options.plot:
        figure(points, title).savefig(options.plot, dpi=120)
    if options.json:
        print_json(found)
    else:
        print("\n".join([title, *lines]))
    return 0


def measure(options, config, device) -> tuple[list[speed.SpeedResult], dict]:
    workload = speed.QUICK if options.quick else speed.FULL
    with tempfile.TemporaryDirectory() as folder:
        shared = speed.SharedCheckpoint(config, folder, options.dtype, device)
        numbers = {"limits": speed.limits(device)}
        results = [result for name in options.work for result in WORKS[name](shared, workload)]
        numbers["memory"] = memory.memory(shared, workload)
    numbers["importing"] = memory.importing(workload)
    return results, numbers


def machine(device: torch.device) -> dict:
    """The machine and the versions that the figures depend on."""
    return {
        "device": hardware(device),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads"


def processor() -> str:
    """Its name, as Linux writes it; elsewhere what Python knows."""
    found = re.search(r"model name\s*: (.+)", read_text("/proc/cpuinfo")) if Path("/proc/cpuinfo").exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def as_data(result: speed.SpeedResult) -> dict:
    return {
        "work": result.work,
        "operations": result.operations,
        "contenders": [dataclasses.asdict(timing) | {"median": timing.median} for timing in result.timings],
    }


def result_lines(results: list[speed.SpeedResult], numbers: dict) -> list[str]:
    limits, lines = numbers["limits"], []
    for name, value in limits.items():
        lines.append(f"{name:40} {value / 1e9:10,.1f} billion")
    for result in results:
        lines.append(f"\n{result.work:40} {'ms':>10}   times as fast (quartiles)")
        for t in result.timings:
            times = f"{t.ratio:.2f}× ({t.ratio_low:.2f} to {t.ratio_high:.2f})"
            line = f"  {t.contender:38} {1000 * t.median:10,.1f}   {times}"
            if t.equal_tokens is not None and t.equal_tokens < 1:
                line += f", {t.equal_tokens:.0%} of the tokens equal"
            if result.operations and "bfloat16" not in t.contender:
                share = result.operations / t.median / limits["float32 operations a second"]
                line += f", {share:.0%} of the matrix-product rate"
            lines.append(line)
    lines.append("")
    for name, value in numbers["memory"].items():
        shown = "not measured here" if value is None else f"{value / 1e6:10,.1f} MB"
        lines.append(f"{name:50} {shown}")
    lines += [f"{name:50} {value:10.2f} s" for name, value in numbers["importing"].items()]
    return lines


def growth_lines(points: list[memory.Growth]) -> list[str]:
    lines = [f"{'grown':8} {'size':>6} {'attention':10} {'ms':>10} {'MB':>10}"]
    for p in points:
        lines.append(f"{p.of:8} {p.size:6} {p.attention:10} {1000 * p.seconds:10,.1f} {p.peak_bytes / 1e6:10,.1f}")
    return lines
