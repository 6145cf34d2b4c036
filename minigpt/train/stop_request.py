"""Ctrl-C as a request to stop: it is noted at once, and obeyed between two steps, when everything can be saved."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c() -> Iterator[list]:
    """Inside the with block, Ctrl-C (or SIGTERM) fills the list and interrupts nothing; a second one acts as usual.

    Signals within two seconds count as one: torchrun sends to each process again what the terminal sent to all. A
    signal that was ignored before stays ignored: a script's shell starts its background jobs so, because Ctrl-C is not
    meant for them.
    """
    asked = []
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield asked
        return

    def ask(number, frame):
        now = time.monotonic()
        if not asked or now < asked[0] + 2:
            asked.append(now)
            return
        for name, handler in before.items():
            signal.signal(name, handler)
        signal.raise_signal(number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
