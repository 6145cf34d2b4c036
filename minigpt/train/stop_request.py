"""Ctrl-C as a question that is answered between two steps, when everything is in order."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c() -> Iterator[list]:
    """Inside, Ctrl-C (or SIGTERM) fills the list and interrupts nothing; another one does what it always does.

    For two seconds others are taken for the same: torchrun passes on what the terminal has sent to all already.
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

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
