"""How far a standby is behind its primary, as far as anybody can know. Pure.

A primary that is lost cannot be asked. What counts then is the last time it was seen, and how far the
standby has come by itself since: a standby that holds all that was seen is within any limit, and what
was written after the primary was last seen is not known. Nothing here guesses it: an old look at a primary
whose standby has stopped to stream says nothing of the time since.
"""

from datetime import datetime, timedelta
from typing import Literal

from automation.model.base import Model, format_duration
from automation.model.observations import PrimaryPosition, StandbyPosition

Verdict = Literal["within", "over", "not-known", "another-cluster"]

# A look at the primary counts for the RPO, and for this long at least: nobody looks every few seconds.
LOOK_LIVES = timedelta(minutes=10)


class Lag(Model):
    """Bytes and seconds that a standby is behind what its primary had when it was seen."""

    verdict: Verdict
    lag_bytes: int | None = None
    lag_s: float | None = None
    seen_at: datetime | None = None
    reason: str = ""

    @property
    def observed(self) -> str:
        """The value that a signed override must name, word for word."""
        if self.reason:
            return f"not known: {self.reason}"
        seconds = "an unknown time" if self.lag_s is None else f"{self.lag_s:.1f} s"
        return f"{self.lag_bytes} bytes and {seconds} behind"

    @property
    def words(self) -> str:
        """What a person is told."""
        if self.reason or self.seen_at is None:
            return self.observed
        return f"{self.observed} what the primary had at {self.seen_at:%Y-%m-%d %H:%M:%S} UTC"


def judge_lag(
    primary: PrimaryPosition | None, standby: StandbyPosition, *, rpo_s: float, max_lag_bytes: int
) -> Lag:
    """Compare a standby with the last that was seen of its primary.

    Args:
        primary: read before the standby, at any time; None when nobody ever saw it.
        standby: read now.
        rpo_s: the most seconds of writes that may be missing.
        max_lag_bytes: the most bytes of WAL that may be missing.
    """
    if primary is None:
        return Lag(
            verdict="not-known", reason="the primary was never seen; dr.readiness would have looked at it"
        )
    if primary.system_identifier != standby.system_identifier:
        return Lag(
            verdict="another-cluster",
            reason=f"{standby.host} is no copy of {primary.host}: its system identifier is "
            f"{standby.system_identifier}, the primary's was {primary.system_identifier}",
        )
    if primary.timeline != standby.timeline:
        return Lag(
            verdict="not-known",
            reason=f"{primary.host} was last seen as another history "
            f"(timeline {primary.timeline}, the standby is on {standby.timeline})",
        )
    lag_bytes = max(0, primary.written_bytes - standby.received_bytes)
    lag_s = _lag_s(primary, standby) if lag_bytes else 0.0
    over = lag_bytes > max_lag_bytes or lag_s is None or lag_s > rpo_s
    age = abs(standby.at - primary.at)
    if not standby.streaming and age > max(timedelta(seconds=rpo_s), LOOK_LIVES):
        known = Lag(verdict="within", lag_bytes=lag_bytes, lag_s=lag_s)
        return Lag(
            verdict="not-known",
            reason=f"{primary.host} was last seen {format_duration(age.total_seconds())} before, at "
            f"{primary.at:%Y-%m-%d %H:%M:%S} UTC, {standby.host} does not stream and was then "
            f"{known.observed}",
        )
    return Lag(verdict="over" if over else "within", lag_bytes=lag_bytes, lag_s=lag_s, seen_at=primary.at)


def _lag_s(primary: PrimaryPosition, standby: StandbyPosition) -> float | None:
    """From the last commit that the standby replayed to the moment the primary was seen, on its clock."""
    if standby.replayed_at is None:
        return None
    return max(0.0, (primary.at - standby.replayed_at).total_seconds())


def format_limit(rpo_s: float, max_lag_bytes: int) -> str:
    """Say what is allowed."""
    return f"{max_lag_bytes} bytes and {format_duration(rpo_s) if rpo_s else '0 s'}"
