"""What goes on beside a run: progress kept in a file, and the journal's head left elsewhere."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from automation.engine.journal import Journal
from automation.model.errors import AutomationError

Progress = Callable[[str, str], None]


def keep_progress(path: Path, tell: Progress) -> Progress:
    """Also write what is told into a file, one line each: time, step, text, between tabs.

    Callers have redacted it. A full disk loses lines here and stops nothing: this is no evidence.
    """

    def keep(step: str, text: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        lines = "".join(f"{at}\t{step}\t{line}\n" for line in text.splitlines())
        with suppress(OSError):
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, lines.encode())
            finally:
                os.close(file)
        with suppress(OSError):  # a terminal that is gone stops no step
            tell(step, text)

    return keep


@contextmanager
def beating(
    journal: Journal, beat: Callable[[int, str], None], every_s: float, tell: Progress
) -> Iterator[None]:
    """Hand the journal's head to `beat` now and then, in a thread, until the block ends."""
    over = Event()

    def carry() -> None:
        while not over.wait(every_s):
            head = journal.head
            if not head.length:
                continue
            try:
                beat(head.length, head.hash)
            except (AutomationError, OSError) as exc:
                tell("", f"the journal's head could not be left elsewhere: {exc}")

    thread = Thread(target=carry, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5.0)
