"""The commands of `python -m minigpt`, one file each: `add` describes its arguments, `run` runs it."""

from . import bench, download, explore, fill, generate, perplexity, tour, train, verify

COMMANDS = (tour, explore, generate, fill, perplexity, train, download, verify, bench)
