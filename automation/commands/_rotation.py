"""Rotation: what may go is decided, shown, decided again under the locks of the run, and done."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from automation.backups.guards import Ruling
from automation.backups.retention import Retention
from automation.backups.rotating import PLAN_NAME, Decision, decide_all, deleted, plan_rotation
from automation.commands._authorisations import ALL, JobFlags, look_again, unattended
from automation.commands._backups import Area, choose, load_area, look, rpo_of
from automation.commands._command import progress
from automation.commands._session import Session
from automation.commands._unfinished import list_unfinished
from automation.model.actions import ReclaimSpace
from automation.model.actions.points import Deletion
from automation.model.base import Model
from automation.model.errors import EXIT_PARTIAL, AutomationError, ConfigError, NotMet, PreflightError
from automation.model.plan import Plan
from automation.model.recovery_points import RecoveryPoint

COMMAND = "backup.rotate"


class PointRow(Model):
    """One point, and what becomes of it."""

    point: str
    claimed_at: datetime
    fate: str
    why: str


class GuardRow(Model):
    """What one guard says."""

    guard: str
    answer: str
    reason: str


class DecisionRow(Model):
    """What is decided of one resource in one store."""

    resource: str
    store: str
    kept: int = 0
    expired: int = 0
    going: int = 0
    held: int = 0
    frozen: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    new_policy: bool = False
    problem: str = ""
    points: tuple[PointRow, ...] = ()
    guards: tuple[GuardRow, ...] = ()


class RotationShown(Model):
    """What a rotation would do, or did."""

    run: str = ""
    at: datetime
    rows: tuple[DecisionRow, ...]
    steps: tuple[str, ...]
    deletes: int

    @property
    def frozen(self) -> tuple[DecisionRow, ...]:
        """Where everything is kept because something is wrong."""
        return tuple(row for row in self.rows if row.frozen)

    @property
    def unknown(self) -> tuple[DecisionRow, ...]:
        """Where nothing could be seen."""
        return tuple(row for row in self.rows if row.problem)


class Decided(NamedTuple):
    """A rotation that was decided on and not yet done."""

    area: Area
    decisions: tuple[Decision, ...]
    plan: Plan

    @property
    def shown(self) -> RotationShown:
        """It for people and programs."""
        return RotationShown(
            at=self.area.observed.at,
            rows=tuple(row_of(one) for one in self.decisions),
            steps=tuple(step.id for step in self.plan.steps),
            deletes=deleted(self.plan),
        )


class RotateFlags(NamedTuple):
    """How a rotation was asked for on the command line."""

    resource: str = ""
    store: str = ""
    legal: bool = False
    authorisation: str = ""


def decide_now(session: Session, flags: RotateFlags) -> Decided:
    """Look at every store, and decide; changes nothing.

    Raises:
        ConfigError: the flags or files have faults.
    """
    backups, catalog = load_area(session)
    named = choose(backups, flags.resource.replace(" ", "").split(","))
    held = dict.fromkeys(store for name in named for store in backups.resources[name].to)
    if flags.store and flags.store not in held:
        raise ConfigError(
            f"nothing of {', '.join(named)} is in a store {flags.store!r}; nothing was touched",
            hint=f"--store {', '.join(held)}",
        )
    rpos = {name: rpo_of(backups, catalog, name) for name in named}
    area = look(session, named)
    decisions = tuple(
        one
        for one in decide_all(area.backups, area.ledger, area.observed, named, rpos)
        if flags.store in ("", one.store)
    )
    plan = plan_rotation(
        area.backups,
        area.ledger,
        decisions,
        now=area.observed.at,
        environment=session.environment.name,
        legal=flags.legal,
    )
    return Decided(area, decisions, plan)


def rotate(session: Session, decided: Decided, flags: RotateFlags) -> RotationShown:
    """Do what was decided, if it is decided again under the run's locks.

    Raises:
        PreflightError: it is not as it was a moment ago, or refused; nothing was changed.
        StepFailed: a deletion stopped part-way.
    """
    if not decided.plan.steps:
        return decided.shown
    job = JobFlags(COMMAND, flags.authorisation, flags.resource or ALL)
    granted = unattended(session, decided.plan, job, {"deleted": float(deleted(decided.plan))})

    def look_under_locks() -> None:
        look_again(session, decided.plan, granted)
        if any(step.run.effect == "destroy" for step in decided.plan.steps):
            refuse_changed(decided.plan, decide_now(session, flags).plan)

    finished = session.run(decided.plan, look=look_under_locks, granted=granted)
    finished.raise_for_status()
    return decided.shown.model_copy(update={"run": finished.folder.name})


def refuse_changed(before: Plan, now: Plan) -> None:
    """See that all that was decided to go may go still, and that the same points are there.

    What may go since, as its time of grace has just ended, waits for the next rotation.

    Raises:
        PreflightError: it is not so.
    """
    wanted, still = _deletions(before), _deletions(now)
    same = all(
        name in still
        and set(act.points) <= set(still[name].points)
        and {*act.points, *act.stay} == {*still[name].points, *still[name].stay}
        for name, act in wanted.items()
    )
    reclaims = [
        {step.id for step in plan.steps if isinstance(step.run, ReclaimSpace)} for plan in (before, now)
    ]
    if not same or not reclaims[0] <= reclaims[1]:
        raise PreflightError(
            "what may be deleted is not what it was a moment ago; nothing was changed",
            hint=f"./inv {COMMAND} again looks anew",
        )


def _deletions(plan: Plan) -> dict[str, Deletion]:
    return {step.id: step.run for step in plan.steps if isinstance(step.run, Deletion)}


def close_unfinished(session: Session) -> None:
    """Give rotations up that were cut off: what they had not deleted is decided on anew."""
    for run_id in tuple(list_unfinished(session.state, PLAN_NAME, datetime.now(UTC))):
        progress(f"run {run_id} was cut off; what it did is looked at, and it is closed")
        try:
            session.abort(run_id, reason="cut off; the next rotation decides anew", undo=False)
        except AutomationError as exc:
            progress(f"run {run_id} stays open: {exc}")


def refuse_frozen(session: Session, shown: RotationShown) -> int:
    """Tell what could not be rotated; give the exit code.

    Raises:
        NotMet: a guard keeps everything of some resource, because something is wrong.
    """
    env = session.environment.name
    if shown.frozen:
        words = frozen_words(shown.frozen)
        more = f"; and {len(words) - 4} more" if len(words) > 4 else ""
        told, first = "; ".join(words[:4]), shown.frozen[0].resource
        raise NotMet(
            f"rotation is frozen: {told}{more}; nothing of these is deleted",
            hint=f"./inv backup.status --env {env}; what a person has judged to be right is cleared by\n"
            f"      ./inv backup.clear --env {env} --resource {first} --reason '...'",
        )
    return EXIT_PARTIAL if shown.unknown else 0


def frozen_words(rows: Iterable[DecisionRow]) -> list[str]:
    """Say every reason once, with all copies that it freezes; what freezes most of them comes first."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for reason in row.frozen:
            reasons.setdefault(f"{row.resource}: {reason}", []).append(row.store)
    ordered = sorted(reasons.items(), key=lambda one: -len(one[1]))
    return [f"{reason} ({', '.join(stores)})" for reason, stores in ordered]


def alarm_frozen(session: Session, shown: RotationShown) -> None:
    """Tell people what is frozen, where nobody sits at the terminal; each resource is a thing of its own."""
    if sys.stdin.isatty():
        return
    from automation.commands._notify import alarm, well

    env = session.environment.name
    doubtful = {row.resource for row in (*shown.frozen, *shown.unknown)}
    for name in {row.resource for row in shown.rows} - doubtful:
        well(session.environment, session.state, f"rotation of {name}", "rotation is not frozen any more")
    by_resource: Mapping[str, DecisionRow] = {row.resource: row for row in reversed(shown.frozen)}
    for name, row in by_resource.items():
        acts = (
            f"./inv backup.status --env {env} --resource {name}",
            f"./inv backup.clear --env {env} --resource {name}",
        )
        try:
            alarm(
                session.environment,
                session.state,
                f"rotation of {name}",
                f"frozen: {row.frozen[0]}",
                said=row.frozen,
                next_acts=acts,
            )
        except OSError as exc:
            progress(f"nobody could be told: {exc}")


def row_of(one: Decision) -> DecisionRow:
    """Put a decision into words, each point with its reason."""
    if one.case is None or one.rotation is None:
        return DecisionRow(resource=one.resource, store=one.store, problem=one.problem)
    retention, rulings = one.case.retention, one.rotation.rulings
    refusals = tuple(f"{ruling.guard}: {ruling.reason}" for ruling in rulings if ruling.answer == "refuse")
    others = tuple(alarm for alarm in one.rotation.alarms if alarm not in refusals)
    return DecisionRow(
        resource=one.resource,
        store=one.store,
        kept=len(retention.kept),
        expired=len(retention.expired),
        going=len(one.rotation.delete),
        held=len(one.rotation.held),
        frozen=one.frozen,
        alarms=(*one.frozen, *others),
        new_policy=one.is_new_policy,
        points=tuple(_points(one)),
        guards=tuple(GuardRow(guard=r.guard, answer=r.answer, reason=r.reason) for r in rulings),
    )


def why_held(point: RecoveryPoint, rulings: Sequence[Ruling]) -> str:
    """Say which guard keeps an expired point, the first that does."""
    holding = next((r for r in rulings if point.id in r.points), None)
    refusing = next((r for r in rulings if r.answer == "refuse"), None)
    found = refusing or holding
    return f"{found.guard}: {found.reason}" if found else ""


def _points(one: Decision) -> Iterable[PointRow]:
    assert one.case is not None
    assert one.rotation is not None
    retention: Retention = one.case.retention
    going = {point.id for point in one.rotation.delete}
    ordered = sorted(one.case.points, key=lambda point: (point.claimed_at, point.id), reverse=True)
    for point in ordered:
        fate, why = "kept", retention.why(point)
        if point.id in going:
            fate = "goes"
        elif point.id not in retention.reasons:
            fate, why = "held", f"{why_held(point, one.rotation.rulings)} (expired: {why})"
        yield PointRow(point=point.id, claimed_at=point.claimed_at, fate=fate, why=why)
