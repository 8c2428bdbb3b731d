"""A city that is only state: power, fences, databases, names, units. Fast, and strict about fences.

Contract with the real adapters, which is what a resumed run relies on:

- every action looks before it acts: done again it changes nothing and says the same;
- power that is off with autostart off, and a blocked port, stay so until they are lifted;
- a promotion happens in the step's unit, which runs at most once under its name and keeps its answer;
  it is refused unless the cluster is a standby on the expected timeline;
- a name is changed only from the expected old address; a server that holds the new one is left alone.

The real ones are held to it by tests/lab: test_resume.py (units, promotion), test_lab_itself.py (power and
fences), test_drill.py (all of it in one run). `broken` collects what must never happen, at the moment it
does: a promotion without both fences, two primaries that could serve, a second promotion.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from automation.engine import dispatch
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.model.actions import (
    BlockServer,
    CollectWitness,
    Declare,
    FailSite,
    PowerOffServer,
    Promote,
    ProveRefused,
    StartUnit,
    StartWitness,
    SwapAddress,
)
from automation.model.errors import AdapterError
from automation.model.plan import Step
from automation.model.records import Outcome, Progress
from tests.fakes.lives import Fate


@dataclass
class Host:
    """One server; `primary` is None where no database stands."""

    site: str
    primary: bool | None = None
    timeline: int = 3
    on: bool = True
    autostart: bool = True
    blocked: bool = False
    units: set[str] = field(default_factory=set)

    def fenced(self) -> bool:
        return not self.on and not self.autostart and self.blocked


class FakeCity:
    """Two sites with a database pair, an application and a name server each, and a client."""

    def __init__(self) -> None:
        self.hosts = {
            "pg-a": Host("city-hall", primary=True),
            "app-a": Host("city-hall", units={"payments.service"}),
            "pg-b": Host("eoc", primary=False),
            "app-b": Host("eoc"),
        }
        self.names = {
            server: {"pay-db.city.lab": "10.77.1.20", "pay.city.lab": "10.77.1.30"}
            for server in ("dns-a", "dns-b")
        }
        self.failed: set[str] = set()
        self.declared: set[str] = set()
        self.witness = "absent"
        self.promoting: dict[str, str] = {}
        self.promotions = 0
        self.broken: list[str] = []
        self._lock = threading.Lock()

    def state(self) -> object:
        """Everything that must be the same however often a controller died."""
        hosts = {
            name: (h.primary, h.timeline, h.on, h.autostart, h.blocked, frozenset(h.units))
            for name, h in self.hosts.items()
        }
        return hosts, self.names, self.failed, self.declared, self.witness, self.promotions, self.broken

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        def perform(step: Step, ctx: RunContext) -> Outcome:
            with self._lock:
                fate = cut()
                if fate is Fate.LOST:
                    return Outcome(changed=False, summary="nobody hears this")
                if isinstance(step.run, Promote):
                    return self._promote(step.run, f"{step.id}:{ctx.attempt}", late=fate is Fate.LATE)
                return Outcome(changed=self._act(step), summary="done")

        def verify(step: Step, ctx: RunContext) -> Progress:
            with self._lock:
                if isinstance(step.run, Promote):
                    return self._verify(f"{step.id}:{ctx.attempt}")
            return dispatch.verify(step.run, ctx)

        return Work(perform=perform, verify=verify)

    # --- the actions ---------------------------------------------------------------------------

    def _act(self, step: Step) -> bool:
        before = repr(self.state())
        match step.run:
            case FailSite(site=site):
                self._fail(site)
            case PowerOffServer() | BlockServer() | ProveRefused():
                self._fence(step.run)
            case StartUnit(host=host, unit=unit):
                self.hosts[host].units.add(unit)
            case SwapAddress():
                self._swap(step.run)
            case Declare(sites=sites):
                self.declared |= set(sites)
            case StartWitness():
                self.witness = "collected" if self.witness == "collected" else "runs"
            case CollectWitness():
                self.witness = "collected"
            case _:
                assert step.run.effect == "read", f"this city does not know {step.run.do}"
        return repr(self.state()) != before

    def _fence(self, action: PowerOffServer | BlockServer | ProveRefused) -> None:
        if isinstance(action, PowerOffServer):
            self.hosts[action.host].on = self.hosts[action.host].autostart = False
        elif isinstance(action, BlockServer):
            self.hosts[action.host].blocked = True
        elif self._serves(action.server):
            raise AdapterError(f"{action.server} answers; it is not fenced")

    def _fail(self, site: str) -> None:
        self.failed.add(site)
        for host in self.hosts.values():
            if host.site == site:
                host.on = False

    def _serves(self, name: str) -> bool:
        host = self.hosts[name]
        return bool(host.primary) and host.on and not host.blocked

    def _promote(self, action: Promote, unit: str, *, late: bool) -> Outcome:
        """Start the unit, or join it; the one that joins sees its end."""
        self.promoting.setdefault(unit, "runs")
        if late:
            return Outcome(changed=False, summary="nobody hears this")
        if self.promoting[unit] == "runs":
            self.promoting[unit] = self._promote_now(action)
        if self.promoting[unit] != "promoted":
            raise AdapterError(f"{action.host}: {self.promoting[unit]}; nothing was changed")
        return Outcome(changed=True, summary="promoted")

    def _promote_now(self, action: Promote) -> str:
        host = self.hosts[action.host]
        if host.primary or host.timeline != action.expect_timeline:
            return "not the expected standby"
        if not self.hosts["pg-a"].fenced():
            self.broken.append("promoted without both fences")
        host.primary, host.timeline = True, host.timeline + 1
        self.promotions += 1
        if self.promotions > 1:
            self.broken.append("promoted twice")
        if sum(self._serves(name) for name in self.hosts) > 1:
            self.broken.append("two primaries serve")
        return "promoted"

    def _verify(self, unit: str) -> Progress:
        if unit in self.promoting:
            return Progress(state="in_progress", why="its unit runs or ran; joining it reads its answer")
        return Progress(state="not_done", why="no unit")

    def _swap(self, action: SwapAddress) -> None:
        for server in action.required:
            now = self.names[server][action.name]
            if now not in (action.old, action.new):
                raise AdapterError(f"{server} holds {now}, not {action.old}; unchanged")
            self.names[server][action.name] = action.new
