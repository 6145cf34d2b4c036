"""The commands of `python -m minigpt`, one file each: `add` describes its arguments, `run` does it."""

from . import bench, download, generate, perplexity, tour, train, verify

COMMANDS = (tour, generate, perplexity, train, download, verify, bench)
