"""What was last exercised, by which level, and what is overdue. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from automation.model.base import Model
from automation.model.catalog import Service
from automation.recovery.spec import Cadence, RecoveryPlan

Level = Literal["readiness", "tabletop", "test-failover", "failover"]
LEVELS: tuple[Level, ...] = ("readiness", "tabletop", "test-failover", "failover")

# What a run of each mode shows; a failover of real parts shows all that an isolated copy would.
SHOWS: Mapping[str, tuple[Level, ...]] = {
    "readiness": ("readiness",),
    "tabletop": ("tabletop",),
    "test-failover": ("test-failover",),
    "exercise": ("failover", "test-failover"),
    "planned-migration": ("failover", "test-failover"),
    "failback": ("failover", "test-failover"),
    "failover": ("failover", "test-failover"),
}
SOON = 0.2  # of the time between two exercises


class Exercised(Model):
    """One run that exercised something to its end."""

    run_id: str
    mode: str
    name: str
    ended_at: datetime
    services: tuple[str, ...]
    verdict: str = ""


class Due(Model):
    """One level of one service: when it was last exercised, and when it is due."""

    level: Level
    every_s: float
    last: Exercised | None
    due_at: datetime | None
    status: Literal["done", "soon", "overdue", "never"]


class ServiceRow(Model):
    """All levels of one service, in the order of `LEVELS`."""

    service: str
    title: str
    tier: int
    plans: tuple[str, ...]
    levels: tuple[Due, ...]


class Calendar(Model):
    """Every service that a recovery plan holds, the most urgent tiers first."""

    at: datetime
    rows: tuple[ServiceRow, ...]
    without_plan: tuple[str, ...]

    @property
    def overdue(self) -> int:
        """How many services have a level that is overdue or was never exercised."""
        return sum(any(due.status in ("overdue", "never") for due in row.levels) for row in self.rows)


class Planned(NamedTuple):
    """Which plans hold a service, and how often each level is due: the strictest of them."""

    plans: tuple[str, ...]
    every_s: Mapping[Level, float]


def make_calendar(
    services: Mapping[str, Service],
    plans: Mapping[str, RecoveryPlan],
    past: Iterable[Exercised],
    *,
    now: datetime,
) -> Calendar:
    """Set every level of every service against its cadence.

    Args:
        past: runs that came to their end, any order.
        now: aware.
    """
    newest = _newest(past)
    rows, without = [], []
    for name, service in sorted(services.items(), key=lambda item: (item[1].tier, item[0])):
        planned = _planned(name, service, plans)
        if not planned.plans:
            without.append(name)
            continue
        due = tuple(_due(level, planned.every_s[level], newest.get((name, level)), now) for level in LEVELS)
        row = ServiceRow(
            service=name, title=service.title, tier=service.tier, plans=planned.plans, levels=due
        )
        rows.append(row)
    return Calendar(at=now, rows=tuple(rows), without_plan=tuple(without))


def _newest(past: Iterable[Exercised]) -> dict[tuple[str, Level], Exercised]:
    newest: dict[tuple[str, Level], Exercised] = {}
    for one in sorted(past, key=lambda one: one.ended_at):
        for service in one.services:
            for level in SHOWS.get(one.mode, ()):
                newest[service, level] = one
    return newest


def _planned(name: str, service: Service, plans: Mapping[str, RecoveryPlan]) -> Planned:
    holding = {plan: found for plan, found in plans.items() if found.services.chooses(name, service)}
    every: dict[Level, float] = {}
    for found in holding.values():
        for level in LEVELS:
            every[level] = min(every.get(level, float("inf")), every_s(found.exercise, level))
    return Planned(tuple(sorted(holding)), every)


def every_s(cadence: Cadence, level: Level) -> float:
    """How long an exercise of a level holds, in seconds."""
    return {
        "readiness": cadence.readiness_s,
        "tabletop": cadence.tabletop_s,
        "test-failover": cadence.test_failover_s,
        "failover": cadence.failover_s,
    }[level]


def _due(level: Level, seconds: float, last: Exercised | None, now: datetime) -> Due:
    if last is None:
        return Due(level=level, every_s=seconds, last=None, due_at=None, status="never")
    due_at = last.ended_at + timedelta(seconds=seconds)
    left = due_at - now
    status: Literal["done", "soon", "overdue"] = "done"
    if left < timedelta(0):
        status = "overdue"
    elif left < timedelta(seconds=seconds * SOON):
        status = "soon"
    return Due(level=level, every_s=seconds, last=last, due_at=due_at, status=status)


def services_of(
    mode: str, name: str, steps: Sequence[tuple[str | None, Sequence[str]]], services: Mapping[str, Service]
) -> tuple[str, ...]:
    """Which services a past run was about.

    Args:
        name: of its plan; a look at a site is named after it.
        steps: of its plan: the service of each, and the steps of another plan that it speaks of.
    """
    told = {service for service, _ in steps if service} | {
        said.partition("/")[0] for _, plan_says in steps for said in plan_says
    }
    if mode == "readiness":
        site = name.removeprefix("readiness-")
        told |= {known for known, service in services.items() if service.primary == site}
    return tuple(sorted(told & services.keys()))
