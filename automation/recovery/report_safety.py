"""Whether there could have been two primaries: what was fenced and proved before each promotion. Pure."""

from collections.abc import Sequence
from datetime import datetime
from types import UnionType

from automation.model.actions import (
    AwaitReplayed,
    AwaitReplicas,
    Demote,
    ProveRefused,
    ShutDownVm,
    SuspectSplitBrain,
)
from automation.model.plan import Plan, Step
from automation.model.records import OverrideRecorded
from automation.recovery.kinds import FENCE, PROMOTE
from automation.recovery.report import FenceResult, Safety, Takeover
from automation.recovery.report_steps import RunLog
from automation.recovery.report_words import listing

ENOUGH_FENCES = 2
# The old primary was demoted, and its standby had replayed its last record.
HANDED_OVER = 2


def judge_safety(plan: Plan, log: RunLog, fences: Sequence[FenceResult]) -> Safety:
    """Say whether every promotion came after two fences of the old primary and their proof."""
    promotions = [step for step in plan.steps if isinstance(step.run, PROMOTE)]
    begun = [step for step in promotions if log.log(step.id).attempts]
    if not promotions:
        return Safety(verdict="nothing-promoted", text="This run promotes no database.")
    if not begun:
        held = f" {listing(sorted({one.server for one in fences}))} is fenced and stays so." if fences else ""
        return Safety(verdict="nothing-promoted", text=f"Yes: no standby was promoted.{held}")
    takeovers = tuple(_takeover(plan, log, step) for step in begun)
    doubtful = [
        one.server
        for one, step in zip(takeovers, begun, strict=True)
        if log.log(step.id).status in ("unfinished", "failed")
    ]
    if doubtful:
        text = f"Not known: whether {listing(doubtful)} was promoted must be looked at by a person."
        return Safety(verdict="not-known", text=text, takeovers=takeovers)
    return _judge(takeovers)


def _takeover(plan: Plan, log: RunLog, step: Step) -> Takeover:
    began = log.log(step.id).attempts[-1].started_at
    before = [plan.step(name) for name in plan.stands_on(step.id)]
    suspected = {one.id for one in before if isinstance(one.run, SuspectSplitBrain)}
    return Takeover(
        server=getattr(step.run, "host", "") or getattr(step.run, "database", ""),
        started_at=began,
        fences=_done(before, FENCE, log, began),
        proofs=_done(before, ProveRefused, log, began),
        handed_over=_done(before, Demote | AwaitReplayed | ShutDownVm | AwaitReplicas, log, began),
        borne_by=tuple(
            person
            for event in log.events
            if isinstance(event.body, OverrideRecorded) and event.body.step in suspected
            for person in event.body.principals
        ),
    )


def _done(before: Sequence[Step], kinds: type | UnionType, log: RunLog, moment: datetime) -> tuple[str, ...]:
    names = (one.id for one in before if isinstance(one.run, kinds) and log.log(one.id).succeeded_by(moment))
    return tuple(sorted(names))


def _is_proved(one: Takeover) -> bool:
    """Fenced twice and proved, or stopped cleanly with all that it ever wrote replayed."""
    fenced = len(one.fences) >= ENOUGH_FENCES and bool(one.proofs)
    return fenced or len(one.handed_over) >= HANDED_OVER


def _judge(takeovers: tuple[Takeover, ...]) -> Safety:
    bare = [one for one in takeovers if not _is_proved(one)]
    if not bare:
        servers = listing([one.server for one in takeovers])
        how = "fenced by two independent means, and a connection to it was refused"
        if all(one.handed_over for one in takeovers):
            how = "stopped cleanly, could only come back as a standby, and left nothing behind"
        text = f"Yes: before {servers} was promoted, the old primary was {how}."
        return Safety(verdict="safe", text=text, takeovers=takeovers)
    servers = listing([one.server for one in bare])
    if all(one.borne_by for one in bare):
        people = listing(sorted({person for one in bare for person in one.borne_by}))
        text = (
            f"Not proved: {servers} was promoted although the old primary may still take writes. {people} "
            "signed to bear that. Two databases may hold different writes until a person has looked."
        )
        return Safety(verdict="borne", text=text, takeovers=takeovers)
    text = f"No: {servers} was promoted without two fences of the old primary and their proof before it."
    return Safety(verdict="unsafe", text=text, takeovers=takeovers)
