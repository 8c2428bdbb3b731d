"""A city that is only state: power, fences, databases, names, units. Fast, and strict about fences.

Contract with the real adapters, which is what a resumed run relies on:

- every action looks before it acts: done again it changes nothing and says the same;
- power that is off with autostart off, and a blocked port, stay so until they are lifted;
- what may last happens in the step's unit, which runs at most once under its name and keeps its answer;
  a promotion is refused unless the cluster is a standby on the expected timeline;
- a name is changed only from the expected old address; a server that holds the new one is left alone;
- a demotion marks the data as a standby's before the server stops, and is taken back only while the other
  one is a standby; a fence that is lifted, a unit that is masked, a slot, stay so until they are changed;
- a host that is blocked is reached by its console alone, and its console only while it is blocked.

The real ones are held to it by tests/lab: test_resume.py (units, promotion), test_lab_itself.py (power and
fences), test_drill.py (all of it in one run), test_way_home.py (demotion, homecoming). `broken` collects what
must never happen, at the moment it does: a promotion or a restore while the old primary could serve, two
primaries, a promotion that loses what the other one wrote, a fence lifted from one that could serve.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

from automation.engine import dispatch
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.model.actions import (
    Action,
    AwaitReplayed,
    BlockServer,
    CloneStandby,
    CollectWitness,
    Declare,
    Demote,
    DropSlot,
    ExportWrites,
    FailSite,
    Follow,
    HoldDown,
    KeepData,
    KeepSynchronous,
    MakeSlot,
    PowerOffServer,
    Promote,
    ProveRefused,
    ProveStandby,
    ReconcileServer,
    ReleaseServer,
    RestoreCluster,
    RestorePrimary,
    Rewind,
    StartFenced,
    StartUnit,
    StartWitness,
    StopUnit,
    SwapAddress,
    UnblockServer,
)
from automation.model.errors import AdapterError
from automation.model.plan import Step
from automation.model.records import Outcome, Progress
from tests.fakes.lives import Fate

IN_UNITS = Demote | Follow | HoldDown | KeepData | ExportWrites | Rewind | CloneStandby | RestoreCluster


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
    runs: bool = True
    only_standby: bool = False
    masked: bool = False
    writes: frozenset[str] = frozenset()
    kept: frozenset[str] | None = None
    slots: set[str] = field(default_factory=set)

    def fenced(self) -> bool:
        return not self.on and not self.autostart and self.blocked

    def put_down(self) -> bool:
        """Stopped, and it can only come back as a standby; cut off besides."""
        return not self.runs and self.only_standby and self.blocked


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
        self.answers: dict[str, str] = {}
        self.promotions = 0
        self.exported: frozenset[str] = frozenset()
        self.broken: list[str] = []
        self._lock = threading.Lock()

    def state(self) -> object:
        """Everything that must be the same however often a controller died."""
        hosts = {name: replace(h, units=set(h.units), slots=set(h.slots)) for name, h in self.hosts.items()}
        return (
            hosts,
            self.exported,
            self.names,
            self.failed,
            self.declared,
            self.witness,
            self.promotions,
            self.broken,
        )

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        def perform(step: Step, ctx: RunContext) -> Outcome:
            with self._lock:
                fate = cut()
                if fate is Fate.LOST:
                    return Outcome(changed=False, summary="nobody hears this")
                if isinstance(step.run, Promote):
                    return self._promote(step.run, f"{step.id}:{ctx.attempt}", late=fate is Fate.LATE)
                if isinstance(step.run, IN_UNITS):
                    return self._in_unit(step.run, f"{step.id}:{ctx.attempt}", late=fate is Fate.LATE)
                return Outcome(changed=self._act(step.run), summary="done")

        def verify(step: Step, ctx: RunContext) -> Progress:
            with self._lock:
                if isinstance(step.run, Promote | IN_UNITS):
                    return self._verify(f"{step.id}:{ctx.attempt}")
            return dispatch.verify(step.run, ctx)

        def undo(step: Step, ctx: RunContext) -> Outcome:
            assert step.undo is not None
            with self._lock:
                return Outcome(changed=self._act(step.undo), summary="taken back")

        return Work(perform=perform, verify=verify, undo=undo)

    # --- the actions ---------------------------------------------------------------------------

    def _act(self, action: Action) -> bool:
        before = repr(self.state())
        self._do(action)
        return repr(self.state()) != before

    @singledispatchmethod
    def _do(self, action: Action) -> None:
        assert action.effect == "read", f"this city does not know {action.do}"

    @_do.register
    def _(self, action: FailSite) -> None:
        self._fail(action.site)

    @_do.register
    def _(self, action: PowerOffServer | BlockServer | ProveRefused) -> None:
        self._fence(action)

    @_do.register
    def _(self, action: StartUnit) -> None:
        self.hosts[action.host].units.add(action.unit)

    @_do.register
    def _(self, action: StopUnit) -> None:
        self.hosts[action.host].units.discard(action.unit)

    @_do.register
    def _(self, action: SwapAddress) -> None:
        self._swap(action)

    @_do.register
    def _(self, action: ReconcileServer) -> None:
        self.names[action.server] = dict(self.names[action.sources[0]])

    @_do.register
    def _(self, action: Declare) -> None:
        self.declared |= set(action.sites)

    @_do.register
    def _(self, action: StartWitness) -> None:
        self.witness = "collected" if self.witness == "collected" else "runs"

    @_do.register
    def _(self, action: CollectWitness) -> None:
        self.witness = "collected"

    @_do.register
    def _(self, action: KeepSynchronous) -> None:
        assert self._serves(action.host)

    @_do.register
    def _(self, action: RestoreCluster) -> None:
        others = [h for n, h in self.hosts.items() if n != action.host and h.primary is not None]
        if not all(other.fenced() for other in others):
            self.broken.append("restored without both fences")
        self.hosts[action.host].primary = True
        self.promotions += 1
        if self.promotions > 1:
            self.broken.append("restored twice")

    # --- a pair that exchanges its roles ---------------------------------------------------------

    @_do.register
    def _(self, action: Demote) -> None:
        self._reach(action.host)
        old = self.hosts[action.host]
        if old.runs and not old.primary:
            raise AdapterError(f"{action.host} is no primary; nothing was changed")
        if old.runs:
            self.hosts[action.standby].writes |= old.writes
        old.primary, old.runs, old.only_standby = False, False, True

    @_do.register
    def _(self, action: RestorePrimary) -> None:
        if self.hosts[action.standby].primary:
            raise AdapterError(f"{action.standby} is a primary; nothing was changed")
        self._reach(action.host)
        old = self.hosts[action.host]
        if old.only_standby and not old.runs:
            old.primary, old.runs, old.only_standby = True, True, False

    @_do.register
    def _(self, action: AwaitReplayed) -> None:
        old = self.hosts[action.primary]
        if old.runs or not old.only_standby or old.writes - self.hosts[action.standby].writes:
            raise AdapterError(f"{action.standby} does not hold all of {action.primary}; nothing was changed")

    @_do.register
    def _(self, action: ProveStandby) -> None:
        host = self.hosts[action.host]
        held = not host.runs and host.masked
        if (host.primary and host.runs) or not host.only_standby or not (action.primary or held):
            raise AdapterError(f"{action.host} could serve as a primary; nothing was changed")

    @_do.register
    def _(self, action: Follow) -> None:
        self._reach(action.host)
        one, primary = self.hosts[action.host], self.hosts[action.primary]
        if not one.only_standby or one.writes - primary.writes:
            self.broken.append(f"{action.host} would follow {action.primary} and is no standby of it")
        one.runs, one.masked = True, False
        one.timeline, one.writes = primary.timeline, primary.writes

    @_do.register
    def _(self, action: MakeSlot) -> None:
        self.hosts[action.host].slots.add(action.slot)

    @_do.register
    def _(self, action: DropSlot) -> None:
        read = any(one.runs and one.only_standby and one.on for one in self.hosts.values())
        if action.end_reader or not read:
            self.hosts[action.host].slots.discard(action.slot)

    # --- a fenced one that comes home ------------------------------------------------------------

    @_do.register
    def _(self, action: UnblockServer) -> None:
        host = self.hosts[action.host]
        if host.primary and host.on:
            self.broken.append(f"the fence of {action.host} was lifted while it could serve")
        host.blocked = False

    @_do.register
    def _(self, action: StartFenced) -> None:
        if not self.hosts[action.host].blocked:
            raise AdapterError(f"{action.host} is not blocked")
        self.hosts[action.host].on = True

    @_do.register
    def _(self, action: ReleaseServer) -> None:
        if self.hosts[action.host].blocked:
            raise AdapterError(f"{action.host} is blocked")
        self.hosts[action.host].autostart = True

    @_do.register
    def _(self, action: HoldDown) -> None:
        host = self._at_console(action.host)
        host.primary, host.runs, host.only_standby, host.masked = False, False, True, True

    @_do.register
    def _(self, action: KeepData) -> None:
        host = self._at_console(action.host)
        host.kept = host.kept or host.writes

    @_do.register
    def _(self, action: ExportWrites) -> None:
        self.exported |= self._at_console(action.host).writes - self.hosts[action.primary].writes

    @_do.register
    def _(self, action: Rewind | CloneStandby) -> None:
        self._reach(action.host)
        host, new = self.hosts[action.host], self.hosts[action.primary]
        if isinstance(action, CloneStandby):
            host.kept = host.kept or host.writes
        if host.kept is None or host.writes - new.writes - self.exported or host.primary:
            self.broken.append(f"{action.host} was rebuilt before its own writes were kept and exported")
        host.writes, host.timeline, host.only_standby = new.writes, new.timeline, True
        if isinstance(action, CloneStandby):
            host.masked, host.runs = False, True

    def _reach(self, name: str) -> None:
        if self.hosts[name].blocked or not self.hosts[name].on:
            raise AdapterError(f"{name} cannot be reached")

    def _at_console(self, name: str) -> Host:
        if not self.hosts[name].blocked or not self.hosts[name].on:
            raise AdapterError(f"{name} has no console now")
        return self.hosts[name]

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
        return bool(host.primary) and host.on and host.runs and not host.blocked

    def _promote(self, action: Promote, unit: str, *, late: bool) -> Outcome:
        """Start the unit, or join it; the one that joins sees its end."""
        self.answers.setdefault(unit, "runs")
        if late:
            return Outcome(changed=False, summary="nobody hears this")
        if self.answers[unit] == "runs":
            self.answers[unit] = self._promote_now(action)
        if self.answers[unit] != "promoted":
            raise AdapterError(f"{action.host}: {self.answers[unit]}; nothing was changed")
        return Outcome(changed=True, summary="promoted")

    def _promote_now(self, action: Promote) -> str:
        host = self.hosts[action.host]
        if host.primary or host.timeline != action.expect_timeline:
            return "not the expected standby"
        others = [h for n, h in self.hosts.items() if n != action.host and h.primary is not None]
        if not all(other.fenced() or other.put_down() for other in others):
            self.broken.append("promoted without both fences")
        if any(other.put_down() and other.writes - host.writes for other in others):
            self.broken.append("promoted without all that the other one wrote")
        host.primary, host.timeline, host.only_standby = True, host.timeline + 1, False
        self.promotions += 1
        if self.promotions > 1:
            self.broken.append("promoted twice")
        if sum(self._serves(name) for name in self.hosts) > 1:
            self.broken.append("two primaries serve")
        return "promoted"

    def _in_unit(self, action: Action, unit: str, *, late: bool) -> Outcome:
        """Start the unit, or join it; one that has ended is told again, and acts no more."""
        if self.answers.get(unit) == "ended":
            return Outcome(changed=False, summary="told again")
        self.answers[unit] = "runs"
        if late:
            return Outcome(changed=False, summary="nobody hears this")
        changed = self._act(action)
        self.answers[unit] = "ended"
        return Outcome(changed=changed, summary="done")

    def _verify(self, unit: str) -> Progress:
        if unit in self.answers:
            return Progress(state="in_progress", why="its unit runs or ran; joining it reads its answer")
        return Progress(state="not_done", why="no unit")

    def _swap(self, action: SwapAddress) -> None:
        for server in action.required:
            now = self.names[server][action.name]
            if now not in (action.old, action.new):
                raise AdapterError(f"{server} holds {now}, not {action.old}; unchanged")
            self.names[server][action.name] = action.new
