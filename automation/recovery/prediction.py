"""Say before a run how long it would take, from how long its steps took in past runs. Pure.

A step is expected to take what steps like it took: the same action for the same service on the same host
where that was seen often enough, else for the same service, else the same action anywhere. Nothing is made
up: a service that stands on a step of a kind that no run has seen is not predicted.

The p90 lets every step be as slow as in the slowest tenth of its past at once: it is a cautious bound, not
the ninetieth percentile of the sum.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from heapq import heappop, heappush
from typing import NamedTuple

from pydantic import Field

from automation.model.base import Model
from automation.model.catalog import Service
from automation.model.plan import Plan, Step
from automation.model.records import Event, RunResumed, StepEnded, StepSettled, StepStarted, StepVerified
from automation.recovery.strategies.scope import cutover_ids

ENOUGH = 3


class Likeness(NamedTuple):
    """What makes two steps alike; empty: it acts for no service, or on no one host."""

    kind: str
    service: str = ""
    host: str = ""


class Took(NamedTuple):
    """How long a step of a past run took; one that asks a person, from when it could have been answered."""

    like: Likeness
    seconds: float
    changed: bool


class PastStep(NamedTuple):
    """What must be known of a step of a past plan, of whatever version."""

    id: str
    like: Likeness
    waits_for: tuple[str, ...]
    gated: bool


class Estimate(NamedTuple):
    """What steps alike took, and how many there were."""

    median_s: float
    p90_s: float
    steps: int


class PredictedService(Model):
    """One service: its target beside what the past says; without a median there is no history."""

    service: str
    rto_s: float
    median_s: float | None = None
    p90_s: float | None = None
    fewest: int = Field(default=0, description="past steps behind the step of its path that has the fewest")
    unknown: tuple[str, ...] = Field(default=(), description="steps it stands on that no past run tells of")
    path: tuple[str, ...] = Field(default=(), description="the steps that decide it, first to last")

    @property
    def late(self) -> bool:
        return self.median_s is not None and self.median_s > self.rto_s

    @property
    def tight(self) -> bool:
        return not self.late and self.p90_s is not None and self.p90_s > self.rto_s


class Prediction(Model):
    """Every service of a plan, before a run."""

    runs: int = Field(description="past runs that were read")
    since: str = Field(description="what the clock starts from")
    services: tuple[PredictedService, ...]

    def of(self, service: str) -> PredictedService | None:
        """Give the prediction of a service."""
        return next((one for one in self.services if one.service == service), None)

    def target_s(self, service: str, otherwise_s: float) -> float:
        """The RTO that a service was held against."""
        found = self.of(service)
        return otherwise_s if found is None else found.rto_s


class Past:
    """How long steps took, by what they are like.

    Where some of a kind changed something, those that found nothing to change are left out: they say how long
    a look takes, not the work.
    """

    def __init__(self, took: Iterable[Took], runs: int) -> None:
        self.runs = runs
        seen: dict[Likeness, list[Took]] = defaultdict(list)
        for one in took:
            for like in _from_narrow_to_wide(one.like):
                seen[like].append(one)
        self._seconds = {like: _of_those_that_worked(found) for like, found in seen.items()}

    def estimate(self, like: Likeness) -> Estimate | None:
        """Give what the narrowest likeness says that was seen often enough, else the widest one seen."""
        seen = [found for one in _from_narrow_to_wide(like) if (found := self._seconds.get(one))]
        best = next((found for found in seen if len(found) >= ENOUGH), seen[-1] if seen else None)
        return None if best is None else Estimate(quantile(best, 0.5), quantile(best, 0.9), len(best))


def _of_those_that_worked(took: Sequence[Took]) -> list[float]:
    worked = [one for one in took if one.changed]
    return sorted(one.seconds for one in worked or took)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Give the quantile of an ordered sample, linear between its values."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def likeness(do: str, run: Mapping[str, object], service: str | None) -> Likeness:
    """Say what a step is like; a playbook, and what a person is asked to do, are kinds of their own."""
    own = {"ansible.run_playbook": run.get("playbook"), "people.confirm": _asked(run)}.get(do)
    return Likeness(f"{do} {own}" if own else do, service or "", str(run.get("host") or ""))


def _asked(run: Mapping[str, object]) -> object:
    return run.get("task") if run.get("of") == "task" else run.get("of")


def _from_narrow_to_wide(like: Likeness) -> tuple[Likeness, ...]:
    wider = (like, Likeness(like.kind, like.service), Likeness(like.kind))
    return tuple(dict.fromkeys(wider))


# --- the past -------------------------------------------------------------------------------------


def durations(steps: Iterable[PastStep], events: Iterable[Event]) -> Iterator[Took]:
    """Give how long the steps of one past run took, where its journal says so.

    Left out: steps that failed, were cut short, or were settled by a look or a person.
    """
    known = {step.id: step for step in steps}
    began: dict[str, datetime] = {}
    ended: dict[str, datetime] = {}
    for event in events:
        body = event.body
        if isinstance(body, StepStarted):
            began[body.step] = event.at
        elif isinstance(body, RunResumed):
            began.clear()
        elif isinstance(body, StepVerified | StepSettled):
            began.pop(body.step, None)
        elif isinstance(body, StepEnded):
            step = known.get(body.step)
            ended[body.step] = event.at
            if step and body.outcome and body.step in began:
                seconds = (event.at - _start(step, began[body.step], ended)).total_seconds()
                yield Took(step.like, seconds, body.outcome.changed)


def _start(step: PastStep, began: datetime, ended: Mapping[str, datetime]) -> datetime:
    """A step that asks a person starts when all it waits for has ended: the answer is part of its time."""
    if not step.gated:
        return began
    return max((ended[name] for name in step.waits_for if name in ended), default=began)


# --- what is to come ------------------------------------------------------------------------------


def predict(
    plan: Plan, services: Mapping[str, Service], targets_s: Mapping[str, float], past: Past
) -> Prediction:
    """Predict when each service is back, along the path through the plan that decides it.

    Args:
        services: those that the plan recovers.
        targets_s: the RTO of each that counts.
        past: steps of past runs.

    The clock starts with the last fault of a drill, else with the plan; it stops when a service's names are
    moved, or when a person has signed it off.
    """
    expected = {step.id: past.estimate(step_likeness(step)) for step in plan.steps}
    median = _Walk(plan, {name: one.median_s for name, one in expected.items() if one})
    slow = _Walk(plan, {name: one.p90_s for name, one in expected.items() if one})
    faults = [step.id for step in plan.steps if step.run.effect == "fault"]
    rows = []
    for name, service in services.items():
        last = tuple(step for step in cutover_ids(name, service) if step in plan.by_id)
        if last:
            rows.append(_predicted(name, targets_s[name], last, faults, (median, slow), expected))
    since = "the fault" if faults else "the start of the run"
    return Prediction(runs=past.runs, since=since, services=tuple(rows))


def step_likeness(step: Step) -> Likeness:
    """Say what a step of a plan is like."""
    named = {key: getattr(step.run, key, None) for key in ("host", "playbook", "task", "of")}
    return likeness(step.run.do, named, step.service)


def _predicted(
    name: str,
    rto_s: float,
    last: Sequence[str],
    faults: Sequence[str],
    walks: "tuple[_Walk, _Walk]",
    expected: Mapping[str, Estimate | None],
) -> PredictedService:
    median, slow = walks
    before = median.stands_on(faults)
    needed = median.stands_on(last) - before
    if unknown := tuple(step for step in median.order if step in needed and expected[step] is None):
        return PredictedService(service=name, rto_s=rto_s, unknown=unknown)
    path = tuple(step for step in median.path(last) if step not in before)
    counts = [one.steps for step in path if (one := expected[step])]
    return PredictedService(
        service=name,
        rto_s=rto_s,
        median_s=median.between(faults, last),
        p90_s=slow.between(faults, last),
        fewest=min(counts, default=0),
        path=path,
    )


class _Walk:
    """A plan walked through as the executor would, its limits kept, each step taking what is expected."""

    def __init__(self, plan: Plan, seconds: Mapping[str, float]) -> None:
        self.order = tuple(step.id for step in plan.steps)
        self._plan = plan
        self._ended_s: dict[str, float] = {}
        self._decided_by: dict[str, str] = {}
        self._walk(seconds)

    def between(self, since: Sequence[str], until: Sequence[str]) -> float:
        start_s = max((self._ended_s[name] for name in since), default=0.0)
        return max(0.0, max(self._ended_s[name] for name in until) - start_s)

    def stands_on(self, names: Iterable[str]) -> set[str]:
        """Steps that must have ended before these have, and these."""
        found: set[str] = set()
        open_ = list(names)
        while open_:
            name = open_.pop()
            if name not in found:
                found.add(name)
                open_ += self._plan.waits_for[name]
        return found

    def path(self, until: Sequence[str]) -> tuple[str, ...]:
        """The steps that decide when the last of these ends, first to last."""
        name = max(until, key=self._ended_s.__getitem__)
        found = [name]
        while name := self._decided_by.get(name, ""):
            found.append(name)
        return tuple(reversed(found))

    def _walk(self, seconds: Mapping[str, float]) -> None:
        number = {name: place for place, name in enumerate(self.order)}
        waiting = {name: len(before) for name, before in self._plan.waits_for.items()}
        followers = _followers(self._plan)
        doors = _Doors(self._plan)
        ready = [number[name] for name, count in waiting.items() if not count]
        running: list[tuple[float, int]] = []
        now_s = 0.0
        while ready or running:
            for name in doors.let_in(ready, self.order):
                heappush(running, (now_s + seconds.get(name, 0.0), number[name]))
            now_s, place = heappop(running)
            done = self.order[place]
            self._ended_s[done] = now_s
            for name in doors.let_out(done):
                heappush(ready, number[name])
            for name in followers[done]:
                waiting[name] -= 1
                if not waiting[name]:
                    self._decided_by[name] = done
                    heappush(ready, number[name])


def _followers(plan: Plan) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, before in plan.waits_for.items():
        for other in before:
            found[other].append(name)
    return found


class _Doors:
    """The limits of a plan: in all, for each host, for each provider."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._inside: dict[str, int] = defaultdict(int)
        self._outside: dict[str, deque[str]] = defaultdict(deque)

    def let_in(self, ready: list[int], order: Sequence[str]) -> Iterator[str]:
        """Take those from the ready ones, in plan order, that no limit holds back."""
        while ready and self._inside[""] < self._plan.limits.total:
            name = order[heappop(ready)]
            limits = self._limits(name)
            full = next((key for key, most in limits.items() if self._inside[key] >= most), None)
            if full is not None:
                self._outside[full].append(name)
                continue
            for key in ("", *limits):
                self._inside[key] += 1
            yield name

    def let_out(self, name: str) -> Iterator[str]:
        """Note that a step has ended; give those that its limits held back, to be tried again."""
        for key in ("", *self._limits(name)):
            self._inside[key] -= 1
            yield from self._outside.pop(key, ())

    def _limits(self, name: str) -> dict[str, int]:
        step, limits = self._plan.by_id[name], self._plan.limits
        host, provider = getattr(step.run, "host", None), step.run.do.partition(".")[0]
        found = {f"host:{host}": limits.per_host} if host else {}
        for one in (provider, f"{provider}@{getattr(step.run, 'site', '')}"):
            if one in limits.per_provider:
                found[f"provider:{one}"] = limits.per_provider[one]
        return found
