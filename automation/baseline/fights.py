"""Settings that something else changes back: fixed again and again, which helps nobody. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

WITHIN = timedelta(days=7)
TIMES = 3


class Change(NamedTuple):
    """That a run changed something for a control on a host, and that nobody took it back since."""

    control: str
    host: str
    run: str
    at: datetime


class Fight(NamedTuple):
    """A control that was made to hold again and again on a host, and never stayed so."""

    control: str
    host: str
    runs: tuple[str, ...]

    @property
    def words(self) -> str:
        """It for people."""
        return (
            f"changed {len(self.runs)} times within {WITHIN.days} days, and changed back each time: "
            "something else wants it otherwise"
        )


def find_fights(changes: Iterable[Change], now: datetime) -> Iterator[Fight]:
    """Find what was changed so often that once more would be a fight; what a run changes counts once."""
    runs: dict[tuple[str, str], set[str]] = {}
    for one in changes:
        if now - WITHIN < one.at <= now:
            runs.setdefault((one.control, one.host), set()).add(one.run)
    for (control, host), found in sorted(runs.items()):
        if len(found) >= TIMES:
            yield Fight(control, host, tuple(sorted(found)))
