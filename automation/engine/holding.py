"""What must hold when a step starts that makes something serve, and so is done again by a resume. Pure."""

from collections.abc import Iterable, Mapping

from automation.engine.fold import Folded
from automation.model.actions import (
    BlockVm,
    CreateInstance,
    FenceVm,
    PowerOnVm,
    RegisterReplica,
    RestoreCluster,
    RestoreDatabase,
)
from automation.model.plan import Plan, Step

# Modes that lift the fences of what they bring home. Those of a failover last: they are always made again.
MOVES = ("planned-migration", "failback")
# Modes in which what is brought up serves. A test's copies serve nobody, and nothing is fenced for them.
SERVING = ("exercise", "failover", *MOVES)
# What becomes the one that serves, beside what cannot be taken back: a promotion.
TAKING = RestoreCluster | RestoreDatabase | RegisterReplica | PowerOnVm | CreateInstance


def takes_over(plan: Plan, step: Step) -> bool:
    """Whether a step makes something the one that serves: what it stands on must hold at its moment.

    An instance keeps no data: where its service has a database, that has taken over before it.
    """
    if step.run.irreversible:
        return True
    if plan.mode not in SERVING or not isinstance(step.run, TAKING):
        return False
    if not isinstance(step.run, CreateInstance):
        return True
    below = (plan.step(name) for name in plan.stands_on(step.id))
    return not any(one.service == step.service and takes_over(plan, one) for one in below)


def must_hold(plan: Plan, folded: Folded, last: Iterable[Step]) -> set[str]:
    """Name what steps stand on that are to take over, without what has served its purpose.

    Args:
        last: the steps that wait; whatever of this has `holds` is done again before them.
    """
    past, home = _past_return(plan, folded), _brought_up(plan, folded)
    under = {name for step in last for name in plan.stands_on(step.id) - _served(plan, step, past)}
    return {name for name in under if not _hits(plan.step(name), home)}


def outlived(plan: Plan, folded: Folded) -> set[str]:
    """Name what had to hold for a promotion of its own service, which a planned move is past.

    A first power-on is no such point: other VMs of the service are to come, which need their fences.
    """
    found = set[str]()
    for point, under in _past_return(plan, folded).items():
        step = plan.step(point)
        if step.run.irreversible and step.run.effect != "destroy":
            own = (plan.step(name) for name in under)
            found |= {one.id for one in own if one.run.holds and one.service == step.service}
    return found


def _brought_up(plan: Plan, folded: Folded) -> set[tuple[str, str]]:
    """Give the VMs that this run has registered or begun to, each with its site: it made them anew there."""
    begun = {*folded.succeeded, *folded.started, *folded.failed}
    runs = (step.run for step in plan.steps if step.id in begun)
    return {(run.host, run.site) for run in runs if isinstance(run, RegisterReplica)}


def _hits(step: Step, home: set[tuple[str, str]]) -> bool:
    """Whether it is the fence of what a VM was before it came home: made again it would hit the new one."""
    return isinstance(step.run, FenceVm | BlockVm) and (step.run.host, step.run.site) in home


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
