"""What must hold when a step starts that makes something serve, and so is done again by a resume. Pure.

Invariant: what is about to take over waits until all that must hold at its moment is made again and proven.
What a service needs once it has taken over (names, routes, checks) waits for nothing that is done again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from automation.engine.fold import Folded
from automation.model.actions import (
    BlockVm,
    CreateInstance,
    FenceVm,
    PowerOnVm,
    RegisterReplica,
    RestoreCluster,
    RestoreDatabase,
    RunPlaybook,
    StartInstance,
    StartUnit,
)
from automation.model.plan import Plan, Step

# Modes that lift the fences of what they bring home. Those of a failover last.
MOVES = ("planned-migration", "failback")
# Modes in which what is brought up serves. A test's copies serve nobody, and nothing is fenced for them.
SERVING = ("exercise", "failover", *MOVES)
# What becomes the one that serves, beside what cannot be taken back: a promotion.
TAKING = RestoreCluster | RestoreDatabase | RegisterReplica | PowerOnVm | CreateInstance
# What has come up by these serves, though nothing takes over by it.
UP = RunPlaybook | StartInstance | StartUnit


class Again(NamedTuple):
    """What a resume does once more.

    `needs` has, for every step that waits and every one of `steps`, all that must have succeeded before it.
    `over` held for what is done by now: it is not done again, in whatever state an earlier resume left it.
    """

    steps: Collection[str]
    needs: Mapping[str, Collection[str]]
    over: Collection[str]


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


def serves_by_power(plan: Plan, step: Step) -> bool:
    """Whether a step powers a VM on where a move goes to: from then on clients may write to it."""
    return plan.mode in MOVES and isinstance(step.run, PowerOnVm)


def is_grave(plan: Plan, step: Step) -> bool:
    """Whether what a step stands on must hold at the moment when it starts."""
    return step.run.effect == "destroy" or takes_over(plan, step)


def is_renewed(step: Step) -> bool:
    """Whether it is done again before each step that needs it: a city's own fence, and what guards a step."""
    return (isinstance(step.run, RunPlaybook) and step.run.fence) or step.run.guards


def pauses(plan: Plan, folded: Folded, step: Step) -> bool:
    """Whether a step that fails as it is done again holds back what stands on it, and nothing else.

    A move that is before every point of no return stops as a whole instead: then it is taken back.
    """
    seen = _Seen(plan, folded)
    return plan.mode in SERVING and step.id in seen.once and (plan.mode not in MOVES or bool(seen.past))


def plan_again(plan: Plan, folded: Folded, *, waiting: Collection[str], running: Iterable[str]) -> Again:
    """Say what a resume does once more, and which steps wait for it.

    A city's own fence is done again before whatever needs it: nothing else tells whether it holds. So is a
    guard, and only while the step that needs it is to come: afterwards its host has another role.

    Args:
        waiting: steps that have not begun, or have failed.
        running: steps that go on by themselves, or are tried already.
    """
    seen, steps = _Seen(plan, folded), [plan.step(name) for name in waiting]
    begun = {*_joined(plan, running), *_unproven(seen)}
    points = {*begun, *(step.id for step in steps if is_grave(plan, step))}
    held = {name: _must_hold(seen, plan.step(name)) for name in points}
    guards = {name for step in steps for name in step.needs if is_renewed(plan.step(name))} & seen.once
    under = frozenset[str]().union(*held.values())
    wanted = guards | {name for name in under if not plan.step(name).run.guards}
    again = frozenset(wanted & {*seen.good, *waiting})
    if plan.mode not in SERVING:  # nothing takes over: whatever stands on what is done again waits for it
        rest = {name: {*plan.step(name).needs, *(seen.under(name) & wanted)} for name in {*waiting, *again}}
        return Again(again, rest, frozenset())
    shared = _shared(seen, steps)
    wanted |= frozenset[str]().union(*shared.values())
    again = frozenset(wanted & {*seen.good, *waiting})
    waits = _waits(seen, held, begun, waiting)
    for name, declared in shared.items():
        waits[name] |= declared
    needs = {name: set(plan.step(name).needs) - seen.once for name in {*waiting, *again}}
    for name, before in needs.items():
        before |= seen.under(name) & wanted & (wanted if name in again else guards | waits[name])
    return Again(again, needs, (seen.once - seen.good - wanted) & set(waiting))


class _Seen:
    """A plan and how far it came, with what follows from both."""

    def __init__(self, plan: Plan, folded: Folded) -> None:
        self.plan, self.folded = plan, folded
        self._under: dict[str, frozenset[str]] = {}

    def under(self, name: str) -> frozenset[str]:
        """Give all that a step stands on."""
        if name not in self._under:
            self._under[name] = self.plan.stands_on(name)
        return self._under[name]

    @cached_property
    def good(self) -> frozenset[str]:
        """What needs nothing more: it has succeeded, or may fail."""
        failed = (name for name in self.folded.failed if name in self.plan.by_id)
        passed = (name for name in failed if self.plan.step(name).on_failure == "continue")
        return frozenset({*self.folded.succeeded, *passed} & self.plan.by_id.keys())

    @cached_property
    def once(self) -> frozenset[str]:
        """What must hold and has held once, whatever became of it since: only this is done again."""
        ended = (self.plan.step(name) for name in {*self.folded.once, *self.good} & self.plan.by_id.keys())
        return frozenset(step.id for step in ended if step.run.holds or is_renewed(step))

    @cached_property
    def home(self) -> frozenset[tuple[str, str]]:
        """VMs that this run has registered or begun to, each with its site: it made them anew there."""
        runs = (step.run for step in self.plan.steps if step.id in self._begun)
        return frozenset((run.host, run.site) for run in runs if isinstance(run, RegisterReplica))

    @cached_property
    def past(self) -> Mapping[str, frozenset[str]]:
        """The points of no return that a planned move is past, and what each stands on.

        Of VMs it is the first power-on, also one that has only begun: it may run, and clients write to it.
        """
        if self.plan.mode not in MOVES:
            return {}
        return {
            step.id: self.under(step.id)
            for step in self.plan.steps
            if (step.run.irreversible and step.id in self.folded.succeeded)
            or (serves_by_power(self.plan, step) and step.id in self._begun)
        }

    @cached_property
    def done(self) -> frozenset[str]:
        """Services of a failover of which all has taken over that is to."""
        if self.plan.mode not in SERVING:
            return frozenset()
        taking = [
            step for step in self.plan.steps if step.run.effect != "destroy" and takes_over(self.plan, step)
        ]
        open_ = {step.service for step in taking if step.id not in self.folded.succeeded}
        return frozenset(step.service for step in taking if step.service and step.service not in open_)

    @cached_property
    def up(self) -> frozenset[str]:
        """Services of which something serves elsewhere by now, or something that they depend on."""
        good = [step for step in self.plan.steps if step.id in self.folded.succeeded]
        serving = (step for step in good if not isinstance(step.run, RegisterReplica))
        taken = {step.id for step in serving if takes_over(self.plan, step)}
        own = {step.service for step in good if isinstance(step.run, UP) and not is_renewed(step)}
        above = {step.service for step in self.plan.steps if taken & {step.id, *self.under(step.id)}}
        return frozenset(name for name in own | above if name)

    @cached_property
    def _begun(self) -> frozenset[str]:
        return frozenset({*self.folded.succeeded, *self.folded.started, *self.folded.failed})


def _joined(plan: Plan, running: Iterable[str]) -> set[str]:
    """Name steps on their way that bring up what will serve, but promotions: these are over in a moment."""
    steps = (plan.step(name) for name in running)
    return {step.id for step in steps if takes_over(plan, step) and not _for_good(step)}


def _unproven(seen: _Seen) -> set[str]:
    """Name what was restored while a fence of its service, made again, failed: what follows waits still.

    All else that takes over is over in a moment, and has begun when they all held.
    """
    fences = (seen.plan.step(name) for name in seen.once - seen.good)
    lapsed = {(step.id, step.service) for step in fences if not step.run.guards}
    done = (step for step in seen.plan.steps if step.id in seen.folded.succeeded) if lapsed else ()
    return {
        step.id
        for step in done
        if isinstance(step.run, RestoreCluster | RestoreDatabase) and takes_over(seen.plan, step)
        if any(service == step.service and name in seen.under(step.id) for name, service in lapsed)
    }


def _for_good(step: Step) -> bool:
    return step.run.irreversible or step.run.effect == "destroy"


def _must_hold(seen: _Seen, point: Step) -> frozenset[str]:
    """Name what has held once for a step that is to take over, without what has served its purpose."""
    under = (seen.under(point.id) & seen.once) - _served(seen, point)
    return frozenset(name for name in under if not _hits(seen.plan.step(name), seen.home))


def _waits(
    seen: _Seen, held: Mapping[str, frozenset[str]], begun: Collection[str], waiting: Collection[str]
) -> Mapping[str, set[str]]:
    """Give what each step waits for: one that takes over, what leads to it, what follows one that has begun.

    What leads to it is of its own service, or of none: another service goes on meanwhile. Each waits for the
    fences of its own service too, but for those that its service's takeover stood on.
    """
    services = {name: seen.plan.step(name).service for name in {*held, *waiting, *seen.once}}
    own = defaultdict[str | None, set[str]](set)
    for name in seen.once:
        own[services[name]].add(name)
    spared = {name: _spared(seen, begun, name) for name in {*waiting} - held.keys()}
    found = {name: set(held.get(name, ())) for name in waiting}
    for point, must in held.items():
        for name in seen.under(point) & spared.keys():
            if services[name] in (None, services[point]):
                found[name] |= must - spared[name]
    for name, past in spared.items():
        found[name] |= (own[services[name]] if services[name] else set()) - past
    for name, before in found.items():
        before |= frozenset[str]().union(*(held[one] for one in begun if one in seen.under(name)))
    return found


def _shared(seen: _Seen, steps: Iterable[Step]) -> Mapping[str, frozenset[str]]:
    """Give what steps of a failover wait for on behalf of all services: the declaration.

    Also where nothing is to come that takes over by itself: a city's own playbooks, an application. A service
    goes on without it once it has taken over, or one that it depends on.
    """
    if seen.plan.mode in MOVES:
        return {}
    shared = {name for name in seen.once if seen.plan.step(name).service is None}
    closed = (step for step in steps if step.service and step.service not in seen.up)
    return {step.id: seen.under(step.id) & shared for step in closed}


def _spared(seen: _Seen, begun: Collection[str], name: str) -> set[str]:
    """Name what held for what took over for a step's own service, before it."""
    service = seen.plan.step(name).service
    below = (seen.plan.step(one) for one in seen.under(name) & seen.folded.succeeded.keys() - set(begun))
    done = (one for one in below if service and one.service == service)
    taken = (one for one in done if takes_over(seen.plan, one) or isinstance(one.run, StartInstance))
    return {under for one in taken for under in seen.under(one.id)}


def _hits(step: Step, home: Collection[tuple[str, str]]) -> bool:
    """Whether it is the fence of what a VM was before it came home: made again it would hit the new one."""
    return isinstance(step.run, FenceVm | BlockVm) and (step.run.host, step.run.site) in home


def _served(seen: _Seen, step: Step) -> set[str]:
    """Name what another service's takeover, or the own point of no return, stood on, once that is past.

    Its hosts have other roles by then: a fence that is made again would hit what serves now. A point of
    another service does not count, which may have needed the same fences, long before this step. In a
    failover it is what another service stood on of which all has taken over: it may be the standby by now.
    """
    above = seen.under(step.id)
    if seen.plan.mode not in MOVES:
        others = seen.done - {step.service}
        return {name for name in above if seen.plan.step(name).service in others}
    found = set[str]()
    for point, under in seen.past.items():
        service = seen.plan.step(point).service
        if point in above or service != step.service:
            found |= {name for name in under if service and seen.plan.step(name).service == service}
    return found
