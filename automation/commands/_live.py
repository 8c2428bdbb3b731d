"""What a person sees of a run while it goes: services, clocks, steps, probes, questions. Pure.

A fold of the journal's events and of the witness's probes; `at(now)` gives what is to be drawn.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from automation.engine.fold import Folded
from automation.model.plan import Plan, Step
from automation.model.records import Event, RunClosed, StepEnded, StepStarted, StepUndone

# So many failed probes in a row are an outage; a single one is noise on a network.
FAILED_IN_A_ROW = 3
STRIP_S = 40.0
FRESH_S = 3.0

State = Literal["waiting", "well", "out", "answers again", "back", "unseen", "in work", "done", "stopped"]
Cell = Literal["good", "mixed", "failed", "none"]


class ProbeSeen(NamedTuple):
    """One probe of the witness, as it is told while the run goes."""

    at_s: float
    probe: str
    good: bool


class ServiceNow(NamedTuple):
    """How one service stands; the clock is the client's, from its first failed probe."""

    name: str
    state: State
    out_s: float | None
    rto_s: float | None
    done: int
    steps: int
    strip: tuple[Cell, ...]

    @property
    def late(self) -> bool:
        return self.out_s is not None and self.rto_s is not None and self.out_s > self.rto_s


class StepNow(NamedTuple):
    """A step that runs, since when, or that waits for a person."""

    step: Step
    seconds: float


class LiveView(NamedTuple):
    """All of it at one moment."""

    status: str
    seconds: float
    services: tuple[ServiceNow, ...]
    running: tuple[StepNow, ...]
    waiting: tuple[Step, ...]
    failed: tuple[tuple[str, str], ...]
    done: int
    steps: int
    last: str


class _Service:
    """The probes of one service, and the outage they show."""

    def __init__(self, name: str, sustained: int) -> None:
        self.name, self.sustained = name, sustained
        self.seen: deque[ProbeSeen] = deque()
        self.bad: dict[str, int] = {}
        self.good: dict[str, int] = {}
        self.first_bad: dict[str, float] = {}
        self.good_since: dict[str, float] = {}
        self.out_from: float | None = None
        self.out_until: float | None = None

    def add(self, probe: ProbeSeen) -> None:
        self.seen.append(probe)
        while self.seen[0].at_s < probe.at_s - STRIP_S:
            self.seen.popleft()
        if probe.good:
            if not self.good.get(probe.probe):
                self.good_since[probe.probe] = probe.at_s
            self.good[probe.probe] = self.good.get(probe.probe, 0) + 1
            self.bad[probe.probe] = 0
            self._perhaps_back()
            return
        if not self.bad.get(probe.probe):
            self.first_bad[probe.probe] = probe.at_s
        self.bad[probe.probe] = self.bad.get(probe.probe, 0) + 1
        self.good[probe.probe] = 0
        if self.bad[probe.probe] >= FAILED_IN_A_ROW and (self.out_from is None or self.out_until is not None):
            # A relapse is one more outage; its clock is the one people want to see.
            self.out_from, self.out_until = self.first_bad[probe.probe], None

    def _perhaps_back(self) -> None:
        if self.out_from is None or self.out_until is not None:
            return
        if all(self.good.get(name, 0) >= self.sustained for name in {*self.good, *self.bad}):
            self.out_until = max(self.good_since.values())

    def out_s(self, now_s: float) -> float | None:
        if self.out_from is None:
            return None
        return max(0.0, (self.out_until or now_s) - self.out_from)

    def state(self) -> State:
        if not self.seen:
            return "unseen"
        if self.out_from is None:
            return "well"
        if self.out_until is not None:
            return "back"
        return "out" if any(self.bad.values()) else "answers again"

    def strip(self, now_s: float, cells: int, cell_s: float) -> tuple[Cell, ...]:
        counts = [[0, 0] for _ in range(cells)]
        for probe in reversed(self.seen):
            # The newest cell is filled while it lasts; probes are told about a beat late.
            back = int((now_s - probe.at_s) // cell_s)
            if back > cells:  # a lot may be a little out of order
                break
            if 0 <= back < cells:
                counts[cells - 1 - back][probe.good] += 1
        return tuple(_cell(bad, good) for bad, good in counts)


def _cell(bad: int, good: int) -> Cell:
    if bad and good:
        return "mixed"
    return "failed" if bad else "good" if good else "none"


class Live:
    """A run as it goes; `add` events and probes in order, then ask `at`."""

    def __init__(
        self, plan: Plan, *, targets: Mapping[str, float] | None = None, sustained: int = 10
    ) -> None:
        """`targets`: the RTO of each service, in seconds."""
        self.plan, self.targets = plan, dict(targets or {})
        self.folded = Folded()
        self.began: datetime | None = None
        self.started: dict[str, datetime] = {}
        self.last = ""
        self.newest_s = 0.0
        probed = {service for step in plan.steps if (service := step.service)}
        self.services = {name: _Service(name, sustained) for name in sorted(probed, key=self._place)}
        self._steps = {name: [s.id for s in plan.steps if s.service == name] for name in self.services}

    def _place(self, service: str) -> int:
        return next(number for number, step in enumerate(self.plan.steps) if step.service == service)

    def add(self, event: Event) -> None:
        """Fold the next event of the journal."""
        self.folded.add(event)
        self.began = self.began or event.at
        body = event.body
        if isinstance(body, StepStarted):
            self.started[body.step] = event.at
        elif isinstance(body, StepEnded | StepUndone):
            self.started.pop(body.step, None)
            text = body.outcome.summary if body.outcome else body.failure.message if body.failure else ""
            self.last = f"{body.step}: {text}"

    def see(self, probes: Iterable[ProbeSeen]) -> None:
        """Fold probes, oldest first."""
        for probe in probes:
            self.newest_s = max(self.newest_s, probe.at_s)
            if (service := self.services.get(probe.probe.partition("/")[0])) is not None:
                service.add(probe)

    def at(self, now: datetime, *, cells: int = 30, cell_s: float = 0.5) -> LiveView:
        """Give what is to be seen at a moment.

        Args:
            cells: length of each service's strip; the last cell is the newest.
            cell_s: seconds that one cell stands for.
        """
        closed = self.folded.closed
        running = tuple(
            StepNow(self.plan.step(name), max(0.0, (now - self.started.get(name, now)).total_seconds()))
            for name in self.folded.started
            if name in self.plan.by_id
        )
        return LiveView(
            status=closed.status if closed else "given up" if self.folded.aborting else "running",
            seconds=(now - self.began).total_seconds() if self.began else 0.0,
            services=tuple(self._service(name, now, cells, cell_s, closed) for name in self.services),
            running=running,
            waiting=() if closed and closed.status == "succeeded" else self._gates(),
            failed=tuple((name, failure.message) for name, failure in self.folded.failed.items()),
            done=len(self.folded.succeeded),
            steps=len(self.plan.steps),
            last=self.last,
        )

    def _service(
        self, name: str, now: datetime, cells: int, cell_s: float, closed: RunClosed | None
    ) -> ServiceNow:
        service, steps = self.services[name], self._steps[name]
        done = sum(step in self.folded.succeeded for step in steps)
        state = service.state()
        if state == "unseen":
            state = self._by_steps(steps, done, closed)
        # Probes come in lots; between two lots the strip stands still instead of running dry.
        now_s = now.timestamp()
        drawn_s = self.newest_s if closed or now_s - self.newest_s < FRESH_S else now_s
        clock_s = self.newest_s if closed else now_s
        return ServiceNow(
            name=name,
            state=state,
            out_s=service.out_s(clock_s),
            rto_s=self.targets.get(name),
            done=done,
            steps=len(steps),
            strip=service.strip(drawn_s, cells, cell_s),
        )

    def _by_steps(self, steps: Sequence[str], done: int, closed: RunClosed | None) -> State:
        if any(step in self.folded.failed for step in steps):
            return "stopped"
        if done == len(steps):
            return "done"
        if any(step in self.folded.started for step in steps) or done:
            return "stopped" if closed else "in work"
        return "waiting"

    def _gates(self) -> tuple[Step, ...]:
        """Steps that wait for nothing but a person's yes."""
        folded = self.folded
        ended = folded.succeeded.keys() | folded.failed.keys()
        return tuple(
            step
            for step in self.plan.steps
            if step.gate
            and step.id not in folded.gates
            and step.id not in ended
            and folded.succeeded.keys() >= set(step.needs)
            and ended >= set(step.after)
        )
