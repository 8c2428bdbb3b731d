"""How long the locks of a store last, and how often that is seen to. Pure.

A store locks what is written to it for a span; `backup.canary` then lengthens the lock of all that is still
shown, before it ends. It lets be what lasts two thirds of the span and comes four times in it: so whatever a
point needs is locked for at least five twelfths of the span more, at any time. An attack that is noticed
within that takes nothing. When a job was missed, less than a third is left before the next: that is told.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from automation.backups.stores import Lock

_LEAST, _TOO_LITTLE, _TIMES = 2 / 3, 1 / 3, 4
_DAY_S = 86400.0
BEATS_S = (7 * _DAY_S, _DAY_S, _DAY_S / 4)


def least_s(lock: Lock) -> float:
    """Give how long a lock must last still to be let be."""
    return lock.span.about_s * _LEAST


def lasts(lock: Lock, until: datetime, now: datetime) -> bool:
    """Whether locks of which the first ends then were lengthened in time."""
    return until - now >= timedelta(seconds=lock.span.about_s * _TOO_LITTLE)


def beat_s(locks: Iterable[Lock]) -> float:
    """Give how often to lengthen locks: weekly if the shortest bears it, else daily, or every six hours."""
    shortest_s = min((lock.span.about_s for lock in locks), default=BEATS_S[0] * _TIMES)
    return next((beat for beat in BEATS_S if beat * _TIMES <= shortest_s), BEATS_S[-1])
