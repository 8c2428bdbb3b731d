"""What a rotation does: for each resource in each store, what the guards let go, and what is noted. Pure.

The order of a deletion, each in a run of its own: the effect of a policy is shown and noted; what it expires
is marked; after the time of grace it is deleted by its full ids; and at most once in that time, data that no
point needs is removed from a repository.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.deleting import deletion_of
from automation.backups.doubts import doubts_of, signals_of
from automation.backups.due import longest_gap_s
from automation.backups.guards import Case, Rotation, judge, most_at_once
from automation.backups.ledger import Ledger
from automation.backups.needed import bad_holds, pitr_holds, without_bad
from automation.backups.places import repository
from automation.backups.proven_copies import proofs_by_copies
from automation.backups.resources import VsphereSnapshots
from automation.backups.retention import decide
from automation.backups.rollbacks import decide_rollbacks
from automation.backups.sighting import Observed
from automation.backups.spec import Backups
from automation.backups.stores import ResticStore
from automation.model.actions import (
    AcceptPolicy,
    Action,
    MarkPoints,
    ReclaimSpace,
)
from automation.model.actions.points import Deletion
from automation.model.plan import Gate, Limits, Plan, Step
from automation.model.recovery_points import RecoveryPoint

PLAN_NAME = "backup-rotate"
FORGET_S, RECLAIM_S = 3600.0, 24 * 3600.0
RETRIES = 3
# What keeps all at first without anything being wrong: nothing was shown, or nothing proven, yet.
EXPECTED = frozenset({"policy_change"})


class Decision(NamedTuple):
    """What may go of one resource in one store; without a rotation nothing is known of it."""

    resource: str
    store: str
    case: Case | None = None
    rotation: Rotation | None = None
    agreed: tuple[RecoveryPoint, ...] = ()  # what only the law's age expires, if its role agrees now
    problem: str = ""

    @property
    def frozen(self) -> tuple[str, ...]:
        """Why a guard keeps everything though something is wrong, or something would go; empty: none does."""
        if self.case is None or self.rotation is None:
            return ()
        refused = [ruling for ruling in self.rotation.rulings if ruling.answer == "refuse"]
        waiting = bool(self.case.retention.expired)
        unproven = not any(proof.suspended for proof in self.case.proofs)
        return tuple(
            f"{ruling.guard}: {ruling.reason}"
            for ruling in refused
            if ruling.guard not in EXPECTED
            and (waiting or ruling.guard != "never_drop_last_verified" or not unproven)
        )

    @property
    def is_new_policy(self) -> bool:
        """Whether the effect of its policy was never shown."""
        case = self.case
        return case is not None and not case.rollback and case.policy_digest != case.accepted_digest


def decide_all(
    backups: Backups,
    ledger: Ledger,
    observed: Observed,
    resources: Iterable[str],
    rpos: Mapping[str, float],
) -> tuple[Decision, ...]:
    """Decide on every resource in each of its stores, as everything is at the time of the look.

    Args:
        rpos: what may be lost of each resource, in seconds.
    """
    return tuple(
        decide_one(backups, ledger, observed, (name, store), rpos[name])
        for name in resources
        for store in backups.resources[name].to
    )


def decide_one(
    backups: Backups, ledger: Ledger, observed: Observed, place: tuple[str, str], rpo_s: float
) -> Decision:
    """Decide on one resource in one store."""
    resource, store = place
    points = observed.points(resource, store)
    if points is None:
        return Decision(resource, store, problem=observed.problem(store))
    case = make_case(backups, ledger, points, place, observed.at)
    case = replace(
        case,
        rpo_s=stale_base_s(backups, resource, rpo_s, observed.at),
        disk_full=observed.stores[store].disk_full,
    )
    rotation = judge(case)
    return Decision(resource, store, case, rotation, _agreed(case, rotation.delete))


def _agreed(case: Case, going: Sequence[RecoveryPoint]) -> tuple[RecoveryPoint, ...]:
    """Give what may go besides if the role agrees that must: guards look at what stays after both."""
    rule = case.retention.policy.keep.delete_after
    if rule is None:
        return ()
    gone, limit = {point.id for point in going}, case.settings.max_delete
    left = [point for point in case.points if point.id not in gone]
    most = limit.model_copy(update={"count": most_at_once(limit, len(case.points)) - len(going)})
    after = replace(
        case,
        retention=decide(left, case.retention.policy, now=case.now),
        settings=case.settings.model_copy(update={"max_delete": most}),
        agreed_roles=frozenset({rule.approve}),
    )
    return judge(after).delete


def make_case(
    backups: Backups, ledger: Ledger, points: Sequence[RecoveryPoint], place: tuple[str, str], now: datetime
) -> Case:
    """Put together what the guards look at, but for the RPO and the disk."""
    resource, store = place
    policy, bad = backups.policy(resource, store), ledger.found_bad(resource, store)
    sound = without_bad(points, bad)
    if isinstance(backups.resources[resource].source, VsphereSnapshots):
        held = backups.holds(resource)
        found = decide_rollbacks(sound, policy, now=now)
        return Case(found, backups.guards, 0.0, holds=held, rollback=True)
    retention = decide(sound, policy, now=now)
    newest = retention.anchor
    ours = newest is not None and _is_ours(ledger, newest)
    doubts = [one.line for one in doubts_of(ledger, backups, resource) if one.kind != "strange figures"]
    proofs = ledger.proofs(resource, store, backups.resources[resource])
    if not proofs and (suspended := ledger.suspended(store)):
        doubts.append(f"the proofs of {store} are suspended: {suspended}")
    return Case(
        retention=retention,
        settings=backups.guards_of(resource),
        rpo_s=0.0,
        proofs=(*proofs, *proofs_by_copies(backups, ledger, place)),
        holds=(
            *backups.holds(resource),
            *pitr_holds(backups, resource, sound, now),
            *bad_holds(points, bad, policy, now),
        ),
        signals=signals_of(ledger, backups, resource, store) if ours else None,
        policy_digest=backups.policy_digest(resource, store),
        accepted_digest=ledger.accepted.get(place, ""),
        marked=ledger.marks.get(place, {}),
        doubts=tuple(doubts),
    )


def stale_base_s(backups: Backups, resource: str, rpo_s: float, now: datetime) -> float:
    """Give what the age of the newest point is held against: the RPO, or the schedule where WAL keeps to it.

    A database whose WAL is archived loses minutes, and yet its newest backup may be a day old.
    """
    spec = backups.resources[resource]
    gap_s = longest_gap_s(spec.take, now, ZoneInfo(backups.tz))
    own = spec.rpo_s is not None and not spec.take.wal
    return rpo_s if own else max(rpo_s, gap_s)


def _is_ours(ledger: Ledger, point: RecoveryPoint) -> bool:
    """Whether a job of ours made a point, or the one that it was copied from: then there are figures."""
    if ledger.origin(point.resource, point.copy_name, point.id) is not None:
        return True
    return any(
        taken.claimed_at == point.claimed_at
        for (resource, _), takes in ledger.takes.items()
        if resource == point.resource
        for taken in takes.values()
    )


# --- steps ----------------------------------------------------------------------------------------


def plan_rotation(
    backups: Backups,
    ledger: Ledger,
    decisions: Sequence[Decision],
    *,
    now: datetime,
    environment: str,
    legal: bool = False,
) -> Plan:
    """Compile what may be done now; steps of one store follow each other, for a deletion is alone there.

    Space is reclaimed before anything is deleted: what goes now can be brought back until the next time.

    Args:
        legal: ask the role that must agree to what the law's age expires, and delete that too.
    """
    steps: list[Step] = []
    last: dict[str, str] = {}  # store to its last step that deletes
    for store in dict.fromkeys(one.store for one in decisions):
        mine = [one for one in decisions if one.store == store]
        if may_reclaim(backups, ledger, store, mine, now):
            steps.append(_reclaim(backups, store, mine))
            last[store] = steps[-1].id
    for one in decisions:
        steps += _notes(backups, one)
        for step in _deletions(backups, one, legal=legal):
            after = (last[one.store],) if one.store in last else ()
            steps.append(step.model_copy(update={"after": (*step.after, *after)}))
            last[one.store] = step.id
    return Plan(
        name=PLAN_NAME,
        environment=environment,
        mode="apply",
        steps=tuple(steps),
        limits=Limits(total=16, per_host=4),
    )


def deleted(plan: Plan) -> int:
    """Count the points that a plan deletes."""
    acts = (step.run for step in plan.steps)
    return sum(len(act.points) for act in acts if isinstance(act, Deletion))


def may_reclaim(
    backups: Backups, ledger: Ledger, store: str, decisions: Sequence[Decision], now: datetime
) -> bool:
    """Whether unused data of a repository may go now.

    Only of what was deleted a time of grace ago, and never while anything about a resource there is doubtful:
    what somebody else deleted can be brought back as long as its data is there.
    """
    if not isinstance(backups.stores[store], ResticStore) or ledger.suspended(store):
        return False
    resources = {name for name, one in backups.resources.items() if store in one.to}
    judged = {one.resource for one in decisions if one.rotation is not None and not one.frozen}
    since = ledger.reclaimed_at.get(store)
    open_ = [at for at in ledger.deleted_at.get(store, ()) if since is None or at > since]
    if not open_ or judged != resources:
        return False
    return backups.guards.grace.after(min(open_), ZoneInfo(backups.tz)) <= now


def _notes(backups: Backups, one: Decision) -> Iterator[Step]:
    """Note what was shown, and what is marked; while a guard that matters refuses, nothing is marked."""
    if one.case is None or one.rotation is None or one.case.rollback:
        return
    here = f"{one.resource}/{one.store}"
    if one.is_new_policy:
        action: Action = AcceptPolicy(
            resource=one.resource, store=one.store, policy_digest=one.case.policy_digest
        )
        yield Step(id=f"{here}/accept", run=action, why="the effect of this policy is shown here")
    others = [r for r in one.rotation.rulings if r.answer == "refuse" and r.guard not in EXPECTED]
    expired = {point.id for point in one.case.retention.expired}
    marked = one.case.marked.keys() & {point.id for point in one.case.points}
    if not others and expired != marked:
        action = MarkPoints(resource=one.resource, store=one.store, points=tuple(sorted(expired)))
        why = f"{len(expired - marked)} more are expired, {len(marked - expired)} are no longer"
        yield Step(id=f"{here}/mark", run=action, why=why)


def _deletions(backups: Backups, one: Decision, *, legal: bool) -> Iterator[Step]:
    if one.case is None or one.rotation is None:
        return
    here, going = f"{one.resource}/{one.store}", one.rotation.delete
    if going:
        why = f"{len(going)} expired points that every guard lets go"
        yield _delete(backups, one, going, (), f"{here}/delete", why)
    rule = one.case.retention.policy.keep.delete_after
    if legal and one.agreed and rule is not None:
        why = f"{len(one.agreed)} points older than {rule.age.words}"
        step = _delete(backups, one, one.agreed, going, f"{here}/delete-by-law", why)
        ask = f"{rule.approve}: delete {len(one.agreed)} points of {one.resource} in {one.store}, all older "
        gate = Gate(role=rule.approve, ask=f"{ask}than {rule.age.words}?")
        needs = (f"{here}/delete",) if going else ()
        yield step.model_copy(update={"gate": gate, "needs": needs})


def _delete(
    backups: Backups,
    one: Decision,
    going: Sequence[RecoveryPoint],
    gone: Sequence[RecoveryPoint],
    step_id: str,
    why: str,
) -> Step:
    """Delete points by their full ids; all others that are listed must be there after it."""
    assert one.case is not None
    left = {point.id for point in (*going, *gone)}
    stay = tuple(sorted(point.id for point in one.case.points if point.id not in left))
    action = deletion_of(backups, (one.resource, one.store), going, stay, one.case.now)
    return Step(id=step_id, run=action, why=why, timeout_s=FORGET_S, retries=RETRIES)


def _reclaim(backups: Backups, store: str, decisions: Sequence[Decision]) -> Step:
    """Remove what no point needs, if every point is there that does not go in this rotation."""
    known = backups.stores[store]
    assert isinstance(known, ResticStore)
    points = {point.id for one in decisions if one.case is not None for point in one.case.points}
    going = {point.id for one in decisions if one.rotation for point in (*one.rotation.delete, *one.agreed)}
    action = ReclaimSpace(
        host=known.keeper.host,
        of=repository(backups, store, known.keeper.host),
        stay=tuple(sorted(points - going)),
    )
    why = "what was deleted a time of grace ago takes room, and nothing is in doubt"
    return Step(
        id=f"reclaim/{store}",
        run=action,
        why=why,
        timeout_s=RECLAIM_S,
        retries=RETRIES,
    )
