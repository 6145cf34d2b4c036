"""python -m minigpt download NAME"""

from ..checkpoints import HUB_NAMES, download
from .options import not_empty

NAME, HELP = "download", "Fetch a model from the Hugging Face hub (mirrors: set HF_ENDPOINT)"


def add(parser) -> None:
    parser.add_argument("name", type=not_empty, metavar="NAME", help=f"{', '.join(HUB_NAMES)}, or any owner/name")


def run(options) -> int:
    print(download(options.name))
    return 0
