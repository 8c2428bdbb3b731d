"""Whether a database restored to a moment holds exactly what was acknowledged up to it. Pure.

The ledger of the witness is the judge. PostgreSQL stops at the first commit later than the moment, by the
clock of its server; the witness knows when it sent a write and when it knew what became of it, by its own.
A commit lies between the two. So a write that was known before the moment must be there, one that was sent
after it must not, and one whose span holds the moment may be either, as may one that was sent before and
never answered: those are told, never counted.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from automation.model.base import Model

Fate = Literal["acknowledged", "refused", "in_doubt"]
Verdict = Literal["exact", "lost", "too-many", "lost-and-too-many"]
_Place = Literal["before", "after", "boundary"]


class Write(NamedTuple):
    """One numbered write, as the witness saw it, on the clock to which its record was brought."""

    reference: str
    fate: Fate
    sent_at: datetime
    known_at: datetime


class Judgement(Model):
    """What a restored database holds against what it must hold."""

    target: datetime
    verdict: Verdict
    must_hold: int
    held: int
    lost: tuple[str, ...] = ()
    too_many: tuple[str, ...] = ()
    boundary: tuple[str, ...] = ()
    unanswered: int = 0
    strangers: int = 0
    clock_s: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether every write is where it must be."""
        return self.verdict == "exact"

    def says(self) -> str:
        """One sentence for people."""
        parts = [
            f"{self.held} of {self.must_hold} acknowledged writes up to {self.target:%H:%M:%S.%f} are there"
        ]
        if self.lost:
            parts.append(f"lost: {', '.join(self.lost[:5])}{' ...' if len(self.lost) > 5 else ''}")
        if self.too_many:
            more = " ..." if len(self.too_many) > 5 else ""
            parts.append(f"there though later or refused: {', '.join(self.too_many[:5])}{more}")
        if self.boundary:
            parts.append(f"{len(self.boundary)} at the moment itself may be either")
        if self.unanswered:
            parts.append(f"{self.unanswered} sent before it got no answer and may be either")
        return "; ".join(parts)


def judge(writes: Iterable[Write], found: AbstractSet[str], target: datetime, *, clock_s: float) -> Judgement:
    """Compare the references found in a restored database with the ledger.

    Args:
        writes: all that the witness sent, each reference once.
        found: references in the restored database.
        target: the moment it was recovered to, on the clock of the database's server.
        clock_s: the most by which that clock and the one of `writes` may differ.
    """
    ledger = tuple(writes)
    slack = timedelta(seconds=clock_s)
    must = {one.reference for one in ledger if must_be_there(one, target, slack)}
    must_not = {one.reference for one in ledger if must_not_be_there(one, target, slack)}
    known = {one.reference for one in ledger}
    either = known - must - must_not
    unanswered = {one.reference for one in ledger if one.fate == "in_doubt"} & either
    lost = _in_order(ledger, must - found)
    too_many = _in_order(ledger, must_not & found)
    return Judgement(
        target=target,
        verdict=_verdict(lost, too_many),
        must_hold=len(must),
        held=len(must & found),
        lost=lost,
        too_many=too_many,
        boundary=_in_order(ledger, either - unanswered),
        unanswered=len(unanswered),
        strangers=len(found - known),
        clock_s=clock_s,
    )


def must_be_there(write: Write, target: datetime, slack: timedelta = timedelta()) -> bool:
    """Whether it was acknowledged before the moment, whatever the clocks say."""
    return write.fate == "acknowledged" and write.known_at + slack <= target


def must_not_be_there(write: Write, target: datetime, slack: timedelta = timedelta()) -> bool:
    """Whether it was refused, or sent after the moment, whatever the clocks say."""
    return write.fate == "refused" or write.sent_at - slack > target


def _in_order(ledger: Sequence[Write], references: AbstractSet[str]) -> tuple[str, ...]:
    sent = sorted(ledger, key=lambda one: (one.sent_at, one.reference))
    return tuple(one.reference for one in sent if one.reference in references)


def _verdict(lost: Sequence[str], too_many: Sequence[str]) -> Verdict:
    if lost and too_many:
        return "lost-and-too-many"
    if lost:
        return "lost"
    return "too-many" if too_many else "exact"
