"""Which step may start next. Pure; the work for one event does not grow with the plan."""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from graphlib import TopologicalSorter
from heapq import heapify, heappop, heappush

from automation.model.plan import Plan, Step

# Of a step that no service of a tier waits for.
LAST_TIER = 1_000


def start_order(plan: Plan) -> tuple[str, ...]:
    """Give every step id in the order in which those start that are ready together.

    First the most urgent tier: that of a step's service, or of any that waits for the step, directly or not.
    Then the critical path: the longest chain of steps from this one on, by their time limits.
    Then plan order.
    """
    tier = {step.id: plan.tiers.get(step.service or "", LAST_TIER) for step in plan.steps}
    path_s = {step.id: step.timeout_s for step in plan.steps}
    for name in reversed(tuple(TopologicalSorter(plan.waits_for).static_order())):
        for before in plan.waits_for[name]:
            tier[before] = min(tier[before], tier[name])
            path_s[before] = max(path_s[before], plan.step(before).timeout_s + path_s[name])
    return tuple(sorted((step.id for step in plan.steps), key=lambda name: (tier[name], -path_s[name])))


class Schedule:
    """Steps that have not started, held back by what they wait for and by limits, by nothing else.

    Ready steps start in `start_order`. A step that a limit holds back is parked at that limit, and comes
    back when a step there ends.
    """

    def __init__(self, plan: Plan, *, succeeded: Iterable[str], passed_over: Iterable[str]) -> None:
        self._plan = plan
        self._order = {step.id: number for number, step in enumerate(plan.steps)}
        self._by_rank = start_order(plan)
        self._rank = {name: number for number, name in enumerate(self._by_rank)}
        self._good = {*succeeded, *passed_over}
        self._ended = set(self._good)
        self._blockers: dict[str, int] = {}
        self._needed_by: dict[str, list[str]] = defaultdict(list)
        self._followed_by: dict[str, list[str]] = defaultdict(list)
        self._used: dict[str, int] = defaultdict(int)
        self._parked: dict[str, deque[str]] = defaultdict(deque)
        for step in plan.steps:
            if step.id not in self._good:
                self._enter(step, set(step.needs))
        self._find_ready()

    def repeat(self, names: Collection[str], needs: Mapping[str, Collection[str]]) -> None:
        """Let steps that have ended run once more, and have every step that waits need these, and no others.

        To be called before the first step is taken.
        """
        self._good -= set(names)
        for table in (self._blockers, self._needed_by, self._followed_by):
            table.clear()
        for name, before in needs.items():
            self._enter(self._plan.step(name), set(before))
        self._find_ready()

    def precede(self, names: Collection[str], held: str) -> None:
        """Let steps that have ended run once more before one that is held back, which waits for them."""
        self._good -= set(names)
        self._ended -= set(names)
        self._blockers[held] = len(names)
        for name in names:
            self._blockers[name] = 0
            self._needed_by[name].append(held)
            heappush(self._ready, self._rank[name])

    def _find_ready(self) -> None:
        self._ready = [self._rank[name] for name, count in self._blockers.items() if not count]
        heapify(self._ready)

    def _enter(self, step: Step, needs: set[str]) -> None:
        needs, after = needs - self._good, set(step.after) - self._ended
        self._blockers[step.id] = len(needs) + len(after)
        for name in needs:
            self._needed_by[name].append(step.id)
        for name in after:
            self._followed_by[name].append(step.id)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Steps that have not been taken, in plan order."""
        return tuple(sorted(self._blockers, key=self._order.__getitem__))

    def take(self) -> Step | None:
        """Give the next step that may start, and count it as running; None when there is none."""
        total = self._plan.limits.total
        while self._ready and self._used[""] < total:
            step = self._plan.step(self._by_rank[heappop(self._ready)])
            if step.id in self._blockers and not self._park(step):
                self.occupy(step)
                return step
        return None

    def _park(self, step: Step) -> bool:
        """Park a step at the first limit that is full; who is parked at its others may come then."""
        limits = self._limits(step)
        full = next((key for key, limit in limits if self._used[key] >= limit), None)
        if full is None:
            return False
        self._parked[full].append(step.id)
        for key, limit in limits:
            if self._used[key] < limit:
                self._wake(key)
        return True

    def _wake(self, key: str) -> None:
        if self._parked[key]:
            heappush(self._ready, self._rank[self._parked[key].popleft()])

    def occupy(self, step: Step) -> None:
        """Count a step as running that was not taken here: a resumed run looks at it first."""
        self._used[""] += 1
        self._blockers.pop(step.id, None)
        for key, _ in self._limits(step):
            self._used[key] += 1

    def put_back(self, step: Step) -> None:
        """Take a running step back among the ready ones."""
        self.release(step)
        self._blockers[step.id] = 0
        heappush(self._ready, self._rank[step.id])

    def hold_back(self, step: Step) -> None:
        """Take a step that was taken back until `free` is called for it: a gate."""
        self.release(step)
        self._blockers[step.id] = 1

    def free(self, name: str) -> None:
        """Let a step start that was held back."""
        self._unblock(name)

    def give_up(self, name: str) -> None:
        """Let a step that was held back not wait any more: it will not start."""
        self._blockers.pop(name, None)

    def release(self, step: Step) -> None:
        """Free what a step that no longer runs has occupied."""
        self._used[""] -= 1
        for key, _ in self._limits(step):
            self._used[key] -= 1
            self._wake(key)

    def end(self, name: str, *, good: bool) -> None:
        """Let those start that wait for this step; `good`: also those that need it."""
        self._ended.add(name)
        if good:
            self._good.add(name)
        for other in self._followed_by.pop(name, ()):
            self._unblock(other)
        if good:
            for other in self._needed_by.pop(name, ()):
                self._unblock(other)

    def _unblock(self, name: str) -> None:
        if name not in self._blockers:
            return
        self._blockers[name] -= 1
        if not self._blockers[name]:
            heappush(self._ready, self._rank[name])

    def _limits(self, step: Step) -> tuple[tuple[str, int], ...]:
        """What a step counts for, besides the total: its host, its adapter, and that at its site."""
        limits = self._plan.limits
        host, provider = getattr(step.run, "host", None), step.run.do.partition(".")[0]
        found = [(f"host:{host}", limits.per_host)] if host else []
        for name in (provider, f"{provider}@{getattr(step.run, 'site', '')}"):
            if name in limits.per_provider:
                found.append((f"provider:{name}", limits.per_provider[name]))
        return tuple(found)
