"""What must hold when a step starts that cannot be taken back, and so is done again by a resume. Pure."""

from collections.abc import Iterable, Mapping

from automation.engine.fold import Folded
from automation.model.actions import PowerOnVm
from automation.model.plan import Plan, Step

# Modes that lift the fences of what they bring home. Those of a failover last: they are always made again.
MOVES = ("planned-migration", "failback")


def must_hold(plan: Plan, folded: Folded, last: Iterable[Step]) -> set[str]:
    """Name what steps stand on that wait and cannot be taken back, without what has served its purpose.

    Args:
        last: the steps that wait; whatever of this has `holds` is done again before them.
    """
    past = _past_return(plan, folded)
    return {name for step in last for name in plan.stands_on(step.id) - _served(plan, step, past)}


def _served(plan: Plan, step: Step, past: Mapping[str, frozenset[str]]) -> set[str]:
    """Name what a service's own point of no return stood on, once that is past.

    Its hosts have other roles by then: a fence that is made again would hit what serves now. A point of
    another service does not count, which may have needed the same fences, long before this step.
    """
    above, found = plan.stands_on(step.id), set[str]()
    for point, under in past.items():
        service = plan.step(point).service
        if point in above or service != step.service:
            found |= {name for name in under if service and plan.step(name).service == service}
    return found


def _past_return(plan: Plan, folded: Folded) -> Mapping[str, frozenset[str]]:
    """Give the points of no return that a planned move is past, and what each stands on.

    Of VMs it is the first power-on, also one that has only begun: it may run, and clients write to it.
    """
    if plan.mode not in MOVES:
        return {}
    begun = {*folded.succeeded, *folded.started, *folded.failed}
    return {
        step.id: plan.stands_on(step.id)
        for step in plan.steps
        if (step.run.irreversible and step.id in folded.succeeded)
        or (isinstance(step.run, PowerOnVm) and step.id in begun)
    }
