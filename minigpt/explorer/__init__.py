"""The explorer: attention, logits and choices of any model of this package, in a page that needs no network."""

from .notebook import explore, write_page
from .server import Server
from .texts import Subject

__all__ = ["Server", "Subject", "explore", "write_page"]
