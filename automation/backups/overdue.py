"""What a rotation that stopped had not deleted yet, and whether it may go still. Pure."""

from collections.abc import Iterable, Iterator

from automation.backups.rotating import Decision
from automation.model.actions import ReclaimSpace
from automation.model.actions.points import Deletion
from automation.model.plan import Plan, Step


def list_stale(steps: Iterable[Step], decisions: Iterable[Decision], now: Plan) -> Iterator[str]:
    """Say of each deletion why it may not be done any more: since it was planned, things have changed.

    Args:
        steps: what is still to be done.
        decisions: every place that the steps are about, decided on now.
        now: the rotation that would be planned now.
    """
    by_place = {(one.resource, one.store): one for one in decisions}
    reclaimed = {step.run.of.store for step in now.steps if isinstance(step.run, ReclaimSpace)}
    for step in steps:
        run = step.run
        if isinstance(run, Deletion):
            decision = by_place.get((run.resource, run.of.store))
            kept = set(run.points) - _may_go(decision, by_law=step.gate is not None)
            if kept:
                yield f"{step.id}: {len(kept)} of {len(run.points)} points are not to go any more"
        elif isinstance(run, ReclaimSpace) and run.of.store not in reclaimed:
            yield f"{step.id}: what nothing refers to is not to go any more"


def _may_go(decision: Decision | None, *, by_law: bool) -> set[str]:
    if decision is None or decision.rotation is None:
        return set()
    going = {point.id for point in decision.rotation.delete}
    return going | {point.id for point in decision.agreed} if by_law else going
