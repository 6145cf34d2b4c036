"""python -m minigpt explore: a page that shows what a model computes for a text, from a server or as a file."""

import argparse
import errno
import threading
import webbrowser

import torch

from .._language import said
from ..chinese.commands import TEXTS
from ..explorer import Server, Subject, write_page
from .options import add_device, add_dtype, add_source, check_writable, load, not_empty

NAME, HELP = "explore", "Show attention, logits and choices of a model in the browser, offline"
SMALL = 20e6  # parameters: below, several threads wait for each other longer than they compute


def port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a whole number from 0 (any free one) to 65535, got {text!r}")
    return int(text)


def add(parser) -> None:
    add_source(parser)
    parser.add_argument(
        "--port", type=port, default=8000, help="of the page's address; 0 = any free one (default 8000)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    parser.add_argument("--text", type=not_empty, metavar="TEXT", help="the text that the page begins with")
    parser.add_argument("--out", type=not_empty, metavar="HTML", help="write the page of TEXT as one file instead")
    add_device(parser)
    add_dtype(parser)


def run(options) -> int:
    if options.out and not options.text:
        raise ValueError("--out needs --text: the file shows one text")
    check_writable(options.out)
    model, tokenizer = load(options)
    if options.out:
        print(write_page(model, tokenizer, options.text, options.out, options.source))
        return 0
    if sum(parameter.numel() for parameter in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    with _server(Subject(model, tokenizer, options.source), options) as server:
        print(said(TEXTS, "the page is at {url}  (Ctrl-C ends it)", url=server.url), flush=True)
        if not options.no_browser:
            threading.Thread(target=webbrowser.open, args=[server.url], daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def _server(subject: Subject, options) -> Server:
    try:
        return Server(subject, options.port, options.text)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            taken = "in use" if error.errno == errno.EADDRINUSE else "not allowed"
            raise ValueError(f"--port {options.port} is {taken}: take another, or 0 for any free one") from None
        raise
