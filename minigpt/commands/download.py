"""python -m minigpt download NAME"""

from ..checkpoints import download
from .options import not_empty

NAME, HELP = "download", "Fetch a model from the Hugging Face hub (mirrors: set HF_ENDPOINT)"


def add(parser) -> None:
    parser.add_argument(
        "name", type=not_empty, metavar="NAME", help="gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2 or owner/name"
    )


def run(options) -> int:
    print(download(options.name))
    return 0
