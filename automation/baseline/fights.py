"""Settings that something else changes back: fixed again and again, which helps nobody. Pure."""

from collections.abc import Iterable, Iterator, Sequence
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


class TakenBack(NamedTuple):
    """That people undid what some run had changed for a control at a provider; no record says which run."""

    control: str
    host: str
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


def without_undone(changes: Iterable[Change], undone: Iterable[TakenBack]) -> Sequence[Change]:
    """Leave out what people undid: each undoing took back the newest change before it that still stood."""
    left = sorted(changes, key=lambda one: one.at)
    for back in sorted(undone, key=lambda one: one.at):
        about = (back.control, back.host)
        before = [one.run for one in left if (one.control, one.host) == about and one.at <= back.at]
        if before:
            left = [one for one in left if (one.control, one.host, one.run) != (*about, before[-1])]
    return left
