"""Ctrl-C, SIGTERM and a closed terminal stop a run so that it can be resumed."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def catching(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` for each signal instead of breaking into whatever runs: a half-written event, say.

    `stop` must be safe inside a signal: SimpleQueue.put is. Outside the main thread nothing is caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def caught(number: int, frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, caught) for number in SIGNALS}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
