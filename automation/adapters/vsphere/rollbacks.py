"""Snapshots of VMs as points to roll a change back with: taken, listed and removed by their mark.

The mark is the snapshot's description, set by the call that makes it. A snapshot of anybody else counts for
the length of a chain, and is never touched.
"""

import hashlib
import time
from collections.abc import Mapping

from pydantic import ValidationError

from automation.adapters.vsphere.outcomes import within
from automation.adapters.vsphere.places import require_vm
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.adapters.vsphere.snapshots import (
    Chain,
    Snapshot,
    consolidate,
    list_chains,
    read_chain,
    remove_snapshot,
    take_snapshot,
)
from automation.model.actions.points import RemoveRollbacks, TakeRollback, Vault
from automation.model.backup_evidence import Figures, PointsDeleted, PointTaken, TakeFailed
from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress
from automation.model.recovery_points import RecoveryPoint

LONGEST_CHAIN = 3  # deltas that every read goes through; VMware warns of more than two or three


class RollbackMark(Model):
    """What the description of a snapshot of ours holds."""

    environment: str
    resource: str
    point: str
    run: str


def list_rollbacks(of: Vault, ctx: Context) -> tuple[RecoveryPoint, ...]:
    """List every snapshot of ours at a vCenter; changes nothing."""
    with at(ctx, of.site, f"snapshots at {of.site} could not be listed") as vcenter:
        return tuple(
            _point(snapshot, mark, of.store)
            for chain in list_chains(vcenter)
            for snapshot, mark in _ours(vcenter, chain).values()
        )


def take_rollback(action: TakeRollback, ctx: Context) -> Outcome:
    """Make a snapshot of a VM, marked in the same call; where the chain is too long already it is refused."""
    began = time.monotonic()
    with at(ctx, action.to.site, f"a snapshot of {action.vm} could not be taken") as vcenter:
        vm = require_vm(vcenter, action.vm)
        chain = read_chain(vcenter, vm)
        mark = RollbackMark(
            environment=vcenter.environment,
            resource=action.resource,
            point=_point_id(ctx, action.resource),
            run=ctx.run_id,
        )
        known = _ours(vcenter, chain).get(mark.point)
        if known is None and chain.depth >= LONGEST_CHAIN:
            faults = (f"{action.vm} has a chain of {chain.depth} snapshots; {LONGEST_CHAIN} is the longest",)
            raise AdapterError(
                f"{action.resource}: {faults[0]}; nothing was changed",
                evidence=TakeFailed(resource=action.resource, store=action.to.store, faults=faults),
                hint=f"./inv backup.rotate --env {vcenter.environment} --resource {action.resource}",
            )
        taken = take_snapshot(
            vcenter,
            vm,
            f"mainstay-{action.resource}",
            mark.model_dump_json(),
            quiesce=action.quiesce,
            timeout_s=within(ctx),
        )
        return _taken(vcenter, action, mark, taken, time.monotonic() - began)


def verify_take_rollback(action: TakeRollback, ctx: Context) -> Progress:
    """See whether this step's snapshot is there."""
    with at(ctx, action.to.site, f"snapshots of {action.vm} could not be listed") as vcenter:
        chain = read_chain(vcenter, require_vm(vcenter, action.vm))
        known = _ours(vcenter, chain).get(_point_id(ctx, action.resource))
        if known is None:
            return Progress(state="not_done", why="there is no such snapshot")
        snapshot, mark = known
        return Progress(state="done", outcome=_taken(vcenter, action, mark, snapshot, 0.0))


def remove_rollbacks(action: RemoveRollbacks, ctx: Context) -> Outcome:
    """Remove the snapshots that the plan names, and no others; then see that its disks are whole."""
    with at(ctx, action.of.site, f"snapshots of {action.vm} could not be removed") as vcenter:
        vm = require_vm(vcenter, action.vm)
        there = _checked(vcenter, action, read_chain(vcenter, vm))
        for point in action.points:
            if point in there:
                remove_snapshot(vcenter, vm, there[point].id, timeout_s=within(ctx))
        consolidate(vcenter, vm, timeout_s=within(ctx))
        return _removed(vcenter, action, read_chain(vcenter, vm), changed=bool(there.keys() & action.points))


def verify_remove_rollbacks(action: RemoveRollbacks, ctx: Context) -> Progress:
    """See whether they are gone and its disks are whole; what is left can be removed by the same ids."""
    with at(ctx, action.of.site, f"snapshots of {action.vm} could not be listed") as vcenter:
        chain = read_chain(vcenter, require_vm(vcenter, action.vm))
        left = _ours(vcenter, chain).keys() & action.points
        if left or chain.consolidation_needed:
            return Progress(state="not_done", why=f"{len(left)} of {len(action.points)} are still there")
        return Progress(state="done", outcome=_removed(vcenter, action, chain, changed=True))


# --- parts of the above ---------------------------------------------------------------------------


def _point_id(ctx: Context, resource: str) -> str:
    """Name the point that this step makes, the same whenever it is tried."""
    words = f"{ctx.run_id}\0{ctx.step_id}\0{resource}"
    return f"pt-{hashlib.sha256(words.encode()).hexdigest()[:17]}"


def _ours(vcenter: Vcenter, chain: Chain) -> dict[str, tuple[Snapshot, RollbackMark]]:
    """Give the snapshots of this environment by their points."""
    found = ((one, _read_mark(one.description)) for one in chain.snapshots)
    return {
        mark.point: (one, mark)
        for one, mark in found
        if mark is not None and mark.environment == vcenter.environment
    }


def _read_mark(description: str) -> RollbackMark | None:
    try:
        return RollbackMark.model_validate_json(description)
    except ValidationError:
        return None


def _checked(vcenter: Vcenter, action: RemoveRollbacks, chain: Chain) -> Mapping[str, Snapshot]:
    """Give what is still there by point; where anything is not as the plan saw it, nothing is removed."""
    ours = _ours(vcenter, chain)
    mine = {point: one for point, (one, mark) in ours.items() if mark.resource == action.resource}
    gone = sorted({*action.stay} - mine.keys())
    strange = [
        one.id
        for point, one in mine.items()
        if point in action.points and one.id not in action.members.get(point, ())
    ]
    if gone or strange:
        what = f"{gone[0]} is gone, which must stay" if gone else f"{strange[0]} was not named by the plan"
        raise AdapterError(f"{action.resource} in {action.of.store}: {what}; nothing was removed")
    return mine


def _point(snapshot: Snapshot, mark: RollbackMark, store: str) -> RecoveryPoint:
    return RecoveryPoint(
        id=mark.point,
        resource=mark.resource,
        copy=store,
        claimed_at=snapshot.taken_at,
        members=(snapshot.id,),
    )


def _taken(
    vcenter: Vcenter, action: TakeRollback, mark: RollbackMark, taken: Snapshot, seconds: float
) -> Outcome:
    evidence = PointTaken(
        resource=action.resource,
        store=action.to.store,
        point=mark.point,
        claimed_at=taken.taken_at,
        figures=Figures(),
        seconds=seconds,
        source=vcenter.source,
    )
    said = f"{action.resource}: snapshot {taken.id} of {action.vm}, {taken.depth} deep"
    return Outcome(changed=True, summary=said, evidence=evidence)


def _removed(vcenter: Vcenter, action: RemoveRollbacks, chain: Chain, *, changed: bool) -> Outcome:
    ours = _ours(vcenter, chain)
    left = [point for point, (_, mark) in ours.items() if mark.resource == action.resource]
    evidence = PointsDeleted(
        resource=action.resource, store=action.of.store, points=action.points, left=len(left)
    )
    said = f"{action.resource}: {len(action.points)} snapshots of {action.vm} are gone, {len(left)} stay"
    return Outcome(changed=changed, summary=said, evidence=evidence)
