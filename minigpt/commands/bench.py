"""python -m minigpt bench: how fast, how large, and beside what."""

import dataclasses
import platform
import tempfile
from importlib.metadata import version

import torch

from ..compare import memory as footprint
from ..compare import speed as bench
from ..plots.speed import plot_comparisons, plot_growth
from .options import add_device, add_json, check_picture, device_of, not_empty, print_json

NAME, HELP = "bench", "Race against Hugging Face's transformers on this machine, with random weights"

WORKS = {
    "forward": bench.forward,
    "training": bench.training_step,
    "decoding": lambda shop, sizes: bench.decoding(shop, sizes, batch=1),
    "decoding-8": lambda shop, sizes: bench.decoding(shop, sizes, batch=8),
    "perplexity": bench.perplexity,
    "loading": bench.loading,
}


def add(parser) -> None:
    parser.add_argument("--model", choices=bench.SHAPES, default="tiny", help="the shape (default tiny; gpt2 = 124M)")
    parser.add_argument("--work", choices=WORKS, nargs="+", default=list(WORKS), help="what to measure (default: all)")
    parser.add_argument("--dtype", choices=bench.DTYPES, nargs="+", default=list(bench.DTYPES), help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds of smaller work")
    parser.add_argument("--growth", action="store_true", help="instead: cost against tokens, rows and layers")
    parser.add_argument("--plot", type=not_empty, metavar="PNG", help="draw what was measured")
    add_device(parser)
    add_json(parser)


def run(options) -> int:
    device, config = device_of(options), bench.SHAPES[options.model]
    check_picture(options.plot)
    # float32 means float32. torch and transformers leave TF32 off, too; said here, so that nobody has to wonder.
    torch.set_float32_matmul_precision("highest")
    found = {"model": options.model, "quick": options.quick, "machine": machine(device)}
    title = ", ".join([options.model, hardware(device), f"torch {torch.__version__}"])
    if options.growth:
        points = footprint.growth(config, rounds=3 if options.quick else 7, device=device)
        found["growth"] = [dataclasses.asdict(point) for point in points]
        lines, figure = growth_lines(points), plot_growth
    else:
        comparisons, numbers = measure(options, config, device)
        points = comparisons
        found["machine"]["transformers"] = version("transformers")
        found |= numbers | {"works": [as_data(comparison) for comparison in comparisons]}
        lines, figure = comparison_lines(comparisons, numbers), plot_comparisons
        title += f", transformers {version('transformers')}"
    if options.plot:
        figure(points, title).savefig(options.plot, dpi=120)
    if options.json:
        print_json(found)
    else:
        print("\n".join([title, *lines]))
    return 0


def measure(options, config, device) -> tuple[list[bench.Comparison], dict]:
    sizes = bench.QUICK if options.quick else bench.FULL
    with tempfile.TemporaryDirectory() as folder:
        shop = bench.Workshop(config, folder, options.dtype, device)
        numbers = {"limits": bench.limits(device)}
        comparisons = [WORKS[name](shop, sizes) for name in options.work]
        numbers["memory"] = footprint.memory(shop, sizes)
    numbers["importing"] = footprint.importing(sizes)
    return comparisons, numbers


def machine(device: torch.device) -> dict:
    """What the figures depend on."""
    return {
        "device": hardware(device),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def hardware(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def as_data(comparison: bench.Comparison) -> dict:
    return {
        "work": comparison.work,
        "operations": comparison.operations,
        "contenders": [dataclasses.asdict(timing) | {"median": timing.median} for timing in comparison.timings],
    }


def comparison_lines(comparisons: list[bench.Comparison], numbers: dict) -> list[str]:
    limits, lines = numbers["limits"], []
    for name, value in limits.items():
        lines.append(f"{name:40} {value / 1e9:10,.1f} billion")
    for comparison in comparisons:
        lines.append(f"\n{comparison.work:40} {'ms':>10}   times as fast (quartiles)")
        for t in comparison.timings:
            times = f"{t.ratio:.2f}× ({t.ratio_low:.2f} to {t.ratio_high:.2f})"
            line = f"  {t.contender:38} {1000 * t.median:10,.1f}   {times}"
            if comparison.operations and t.contender.endswith("float32"):
                share = comparison.operations / t.median / limits["float32 operations a second"]
                line += f", {share:.0%} of the matrix-product rate"
            lines.append(line)
    lines.append("")
    for name, value in numbers["memory"].items():
        shown = "not measured here" if value is None else f"{value / 1e6:10,.1f} MB"
        lines.append(f"{name:50} {shown}")
    lines += [f"{name:50} {value:10.2f} s" for name, value in numbers["importing"].items()]
    return lines


def growth_lines(points: list[footprint.Growth]) -> list[str]:
    lines = [f"{'grown':8} {'size':>6} {'attention':10} {'ms':>10} {'MB':>10}"]
    for p in points:
        lines.append(f"{p.of:8} {p.size:6} {p.attention:10} {1000 * p.seconds:10,.1f} {p.peak_bytes / 1e6:10,.1f}")
    return lines
