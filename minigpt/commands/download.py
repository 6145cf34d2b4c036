"""python -m minigpt download NAME"""

from .._language import said
from ..checkpoints import HUB_NAMES, download
from ..chinese.commands import TEXTS
from .options import not_empty

NAME, HELP = "download", "Fetch a model from the Hugging Face hub (mirrors: set HF_ENDPOINT)"


def add(parser) -> None:
    names = said(TEXTS, "{names}, or any owner/name", names=", ".join(HUB_NAMES))
    parser.add_argument("name", type=not_empty, metavar="NAME", help=names)


def run(options) -> int:
    print(download(options.name))
    return 0
