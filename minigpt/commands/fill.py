"""python -m minigpt fill: which tokens fit into the gaps of a text, the places where it says [MASK]."""

from ..checkpoints import load_model, load_tokenizer
from ..generation import fill_mask
from .options import DTYPES, add_device, add_dtype, add_json, device_of, not_empty, positive, print_json

NAME, HELP = "fill", "Fill the gaps of a text, written [MASK], with a BERT"


def add(parser) -> None:
    parser.add_argument(
        "text",
        type=not_empty,
        metavar="TEXT",
        help='such as "Return the [MASK] of the list"; after -- it may begin with -',
    )
    parser.add_argument(
        "--source",
        type=not_empty,
        default="tiny-bert",
        help="a BERT: tiny-bert (the default), a checkpoint folder, or a hub name such as bert-base-uncased",
    )
    parser.add_argument("--n", type=positive, default=5, metavar="N", help="the N likeliest tokens (default 5)")
    add_device(parser)
    add_dtype(parser)
    add_json(parser)


def run(options) -> int:
    tokenizer = load_tokenizer(options.source)
    mask_id = getattr(tokenizer, "mask_id", None)
    if mask_id is None:
        raise ValueError(f"{options.source} has no mask token, so it is no BERT: it cannot fill gaps")
    ids = tokenizer.encode(options.text)
    if mask_id not in ids:
        raise ValueError(f"the text has no gap: write {tokenizer.mask_token} where a word is missing")
    model = load_model(options.source, device_of(options), DTYPES[options.dtype], attention="sdpa")
    gaps = fill_mask(model, ids, mask_id, options.n)
    found = [
        {"position": gap.position, "likely": [(*tokenizer.pieces([token]), p) for token, p in gap.likely]}
        for gap in gaps
    ]
    filled = list(ids)
    for gap in gaps:
        filled[gap.position] = gap.likely[0][0]
    text = tokenizer.decode(id for id in filled if id not in (tokenizer.cls_id, tokenizer.sep_id))
    if options.json:
        print_json({"text": options.text, "filled": text, "gaps": found})
        return 0
    for number, gap in enumerate(found, start=1):
        print(f"gap {number} of {len(found)}")
        for piece, probability in gap["likely"]:
            print(f"  {probability:7.2%}  {piece!r}")  # a line break is a token, too
    print(text)
    return 0
