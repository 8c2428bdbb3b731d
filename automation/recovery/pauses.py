"""The pause of a planned move, as writers saw it: how long, and which writes failed beyond it. Pure."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from automation.model.base import Model
from automation.recovery.history import History
from automation.recovery.objectives import at_ns

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Pause(Model):
    """Writes of some probes around a planned pause; those in doubt count as failed."""

    began_at: datetime
    announced_s: float
    tried: int
    failed: int
    failed_beyond: int
    first_failed_at: datetime | None = None
    last_failed_at: datetime | None = None

    @property
    def lasted_s(self) -> float:
        """From the first write that failed to the end of the last one; 0 when none did."""
        if self.first_failed_at is None or self.last_failed_at is None:
            return 0.0
        return (self.last_failed_at - self.first_failed_at).total_seconds()


def measure_pause(
    history: History, writers: Collection[str], began_at: datetime, announced_s: float
) -> Pause | None:
    """Count the writes that failed, and those outside of the announced pause; None when nobody wrote.

    Args:
        history: on the control node's clock.
        writers: ids of the probes that write.
        began_at: when the first service was stopped; a write that was under way then is within the pause.
        announced_s: the longest pause that clients were told of.
    """
    probes = [probe for name in sorted(writers) for probe in history.probes.get(name, ())]
    if not probes:
        return None
    begin_ns = (began_at - _EPOCH) // timedelta(microseconds=1) * 1000
    end_ns = begin_ns + round(announced_s * 1e9)
    failed = [probe for probe in probes if not probe.good]
    beyond = [probe for probe in failed if probe.end_ns < begin_ns or probe.start_ns > end_ns]
    return Pause(
        began_at=began_at,
        announced_s=announced_s,
        tried=len(probes),
        failed=len(failed),
        failed_beyond=len(beyond),
        first_failed_at=at_ns(min(probe.start_ns for probe in failed)) if failed else None,
        last_failed_at=at_ns(max(probe.end_ns for probe in failed)) if failed else None,
    )
