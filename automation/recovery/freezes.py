"""Times in which a recovery plan is not run: payroll, tax day, election night. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.model.errors import PreflightError
from automation.model.plan import Mode
from automation.model.recurrence import last_start, starts_after
from automation.recovery.spec import Freeze, RecoveryPlan

# Stretches that follow each other without a gap are one; further than this nobody plans.
FARTHEST = timedelta(days=366)


class Frozen(NamedTuple):
    """A freeze in force, and when it ends."""

    freeze: Freeze
    until: datetime


def frozen(plan: RecoveryPlan, mode: Mode, now: datetime) -> Iterator[Frozen]:
    """Give every freeze of a plan that is in force for a mode.

    Args:
        now: aware.
    """
    for freeze in plan.freezes:
        if mode in freeze.modes and (until := _until(freeze, now)):
            yield Frozen(freeze, until)


def refuse_frozen(plan: RecoveryPlan, mode: Mode, now: datetime) -> None:
    """See that no freeze of a plan is in force for a mode.

    Raises:
        PreflightError: names the freeze and when it ends.
    """
    for freeze, until in frozen(plan, mode, now):
        why = f" ({freeze.reason})" if freeze.reason else ""
        raise PreflightError(
            f"freeze {freeze.name!r}{why} is in force until {until:%Y-%m-%d %H:%M %Z}: "
            f"no {mode} by this plan before; nothing was changed",
            hint="wait, or change `freezes` of the plan, which others will see",
        )


def _until(freeze: Freeze, now: datetime) -> datetime | None:
    """When a freeze that is in force ends, on its own clock; stretches that touch are one."""
    here, lasts = now.astimezone(ZoneInfo(freeze.tz)), timedelta(seconds=freeze.duration_s)
    begun = last_start(freeze.rrule, here)
    if begun is None or _end(begun, lasts) <= here:
        return None
    end = _end(begun, lasts)
    for after in starts_after(freeze.rrule, begun):
        if after > end or end - here >= FARTHEST:
            break
        end = max(end, _end(after, lasts))
    return end


def _end(begun: datetime, lasts: timedelta) -> datetime:
    """The moment so many hours later, also over a change of the clocks."""
    utc = begun.astimezone(ZoneInfo("UTC")) + lasts
    return utc.astimezone(begun.tzinfo)
