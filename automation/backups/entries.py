"""What the ledger of recovery points is folded from: evidence of runs, and what listings showed. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from automation.model.actions import (
    Action,
    CreateInstance,
    DumpDatabase,
    FetchConfig,
    RestoreDatabase,
    TakeBackup,
    TakeFiles,
)
from automation.model.actions.points import Deletion, PointTaker
from automation.model.backup_evidence import (
    CanaryRefused,
    DoubtCleared,
    LocksLengthened,
    NotImmutable,
    PointProven,
    PointsCopied,
    PointsDeleted,
    PointsMarked,
    PointTaken,
    PolicyAccepted,
    ProofFailed,
    RepositoryChecked,
    SpaceReclaimed,
    TakeFailed,
)
from automation.model.base import Model
from automation.model.plan import Plan
from automation.model.records import Event, Failure, RunOpened, RunResumed, StepEnded, StepStarted

TAKE_PLAN = "backup-run"
# Steps that make a copy of a point for a test; what proves it needs them.
_COPYING = CreateInstance | RestoreDatabase


class PointsSeen(Model):
    """Points that a store listed for the first time, or again after they were missed."""

    kind: Literal["points-seen"] = "points-seen"
    resource: str
    store: str
    points: tuple[str, ...]
    since: AwareDatetime | None = Field(
        default=None, description="of the look before; none: nobody had looked"
    )


class PointsGoing(Model):
    """Points whose deletion began: they may be gone though nobody wrote down its end."""

    kind: Literal["points-going"] = "points-going"
    resource: str
    store: str
    points: tuple[str, ...]


class PointsMissed(Model):
    """Points that are gone though no rotation of ours deleted them."""

    kind: Literal["points-missed"] = "points-missed"
    resource: str
    store: str
    points: tuple[str, ...]


Noted = Annotated[
    PointTaken
    | TakeFailed
    | PointsCopied
    | PointsDeleted
    | SpaceReclaimed
    | RepositoryChecked
    | PointProven
    | ProofFailed
    | CanaryRefused
    | NotImmutable
    | LocksLengthened
    | PointsMarked
    | PolicyAccepted
    | DoubtCleared
    | PointsSeen
    | PointsGoing
    | PointsMissed,
    Field(discriminator="kind"),
]
OF_RUNS = (
    PointTaken,
    TakeFailed,
    PointsCopied,
    PointsDeleted,
    SpaceReclaimed,
    RepositoryChecked,
    PointProven,
    ProofFailed,
    CanaryRefused,
    NotImmutable,
    LocksLengthened,
    PointsMarked,
    PolicyAccepted,
    DoubtCleared,
)
KINDS = tuple(str(one.model_fields["kind"].default) for one in OF_RUNS)


class Entry(Model):
    """One line of the ledger; a run and a sequence in it are there once."""

    at: AwareDatetime = Field(description="when it was written down, by the clock of the control node")
    began_at: AwareDatetime | None = Field(default=None, description="when its step began")
    run_id: str = Field(description="run, or a name of our own for what a listing showed")
    sequence: int = Field(ge=0, description="of the run's event")
    actor: str
    noted: Noted

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other."""
        return self.run_id, self.sequence


def entries_of(events: Iterable[Event], plan: Plan | None) -> Iterator[Entry]:
    """Give what a run's journal says of recovery points, in its order.

    Args:
        events: from the first one on.
        plan: of the run; without it a deletion that began and a failure without evidence are not seen.
    """
    run_id, actor = "", ""
    began: dict[str, Event] = {}
    acts: Mapping[str, Action] = {step.id: step.run for step in plan.steps} if plan else {}
    first: dict[str, datetime] = {}
    for event in events:
        body = event.body
        if isinstance(body, RunOpened):
            run_id, actor = body.run_id, body.actor
        elif isinstance(body, RunResumed):
            actor = body.actor
        elif isinstance(body, StepStarted):
            began.setdefault(body.step, event)
            first.setdefault(body.step, event.at)
        noted = _noted(body, acts, plan.name if plan else "")
        if noted is not None:
            start = began.get(body.step) if isinstance(body, StepEnded) else None
            yield Entry(
                at=event.at,
                began_at=start.at if start else None,
                run_id=run_id,
                sequence=event.sequence,
                actor=actor,
                noted=_timed(noted, event, plan, first),
            )
        if isinstance(body, StepEnded):
            began.pop(body.step, None)


def _noted(body: object, acts: Mapping[str, Action], plan_name: str) -> Noted | None:
    if isinstance(body, StepStarted):
        act = acts.get(body.step)
        if isinstance(act, Deletion):
            return PointsGoing(resource=act.resource, store=act.of.store, points=act.points)
    if not isinstance(body, StepEnded):
        return None
    said = body.outcome.evidence if body.outcome else body.failure.evidence if body.failure else None
    if isinstance(said, OF_RUNS):
        return said
    if body.failure is not None and plan_name == TAKE_PLAN:
        return _failed_take(body.step, acts.get(body.step), body.failure)
    return None


def _timed(noted: Noted, event: Event, plan: Plan | None, first: Mapping[str, datetime]) -> Noted:
    """Give a proof by a copy of a drill its seconds: since the first step began that made a copy."""
    if not isinstance(noted, PointProven) or noted.seconds or not isinstance(event.body, StepEnded):
        return noted
    step = plan.by_id.get(event.body.step) if plan else None
    made = [name for name in ((*step.needs, *step.after) if step else ()) if name in first]
    began = [first[name] for name in made if plan and isinstance(plan.by_id[name].run, _COPYING)]
    seconds = (event.at - min(began)).total_seconds() if began else 0.0
    return noted.model_copy(update={"seconds": max(seconds, 0.0)})


def _failed_take(step: str, act: Action | None, failure: Failure) -> TakeFailed | None:
    """Note a job that failed and left no evidence; a host that was out of reach is no doubt of its data."""
    makers = DumpDatabase | FetchConfig | TakeFiles | TakeBackup | PointTaker
    if not isinstance(act, makers) or failure.transient:
        return None
    store = act.to.store if isinstance(act, TakeFiles | TakeBackup | PointTaker) else ""
    return TakeFailed(resource=step.partition("/")[0], store=store, faults=(failure.message,))
