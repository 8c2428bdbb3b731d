"""Changes of state that take their time in the simulated AWS: what will be so, and when."""

import heapq
import itertools
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any


class Changes:
    """What is under way; whoever asks sees all that has become due, and a thread sees to it in silence.

    `lock` is that of all state: whatever reads or changes it holds it.
    """

    def __init__(self, takes_s: float) -> None:
        self.takes_s, self.lock = takes_s, threading.RLock()
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers, self._more = itertools.count(), threading.Condition(self.lock)

    def later(self, become: Callable[..., None], *of: Any) -> None:
        """Let something become so, after the usual time."""
        self.after(self.takes_s, become, *of)

    def after(self, after_s: float, become: Callable[..., None], *of: Any) -> None:
        with self._more:
            due = time.monotonic() + after_s
            heapq.heappush(self._due, (due, next(self._numbers), become, of))
            self._more.notify()

    def kept(self) -> list[tuple[float, Callable[..., None], tuple[Any, ...]]]:
        """Give what is under way, for another life: in how many seconds, what, of what."""
        now = time.monotonic()
        return [(max(0.0, due - now), become, of) for due, _, become, of in sorted(self._due, key=_when)]

    def settle(self) -> None:
        """Let all that is due become so; the lock is held."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, become, of = heapq.heappop(self._due)
            become(*of)

    def hasten(self) -> None:
        """Let all that is under way become so now, and what that begins in its turn as usual."""
        with self._more:
            due, self._due = sorted(self._due, key=_when), []
            for _, _, become, of in due:
                become(*of)

    def forget(self) -> None:
        with self.lock:
            self._due.clear()

    def run(self) -> None:
        """See to it for ever that what is due becomes so, though nobody asks."""
        with self._more:
            while True:
                try:
                    self.settle()
                except Exception:  # one change that failed must not keep all others from their time
                    traceback.print_exc(file=sys.stderr)
                self._more.wait(max(0.0, self._due[0][0] - time.monotonic()) if self._due else None)


def _when(due: tuple[float, int, Callable[..., None], tuple[Any, ...]]) -> tuple[float, int]:
    return due[0], due[1]
