"""python -m minigpt tour"""

import dataclasses
import json

from ..lecture.tour import run_tour
from .options import add_json, add_source

NAME, HELP = "tour", "Walk through the lecture on a real model and check every claim"


def add(parser) -> None:
    add_source(parser)
    add_json(parser)


def run(options) -> int:
    claims = run_tour(options.source, quiet=options.json)
    if options.json:
        print(json.dumps([dataclasses.asdict(claim) for claim in claims], indent=2, ensure_ascii=False))
    return 0 if all(claim.ok for claim in claims) else 1
