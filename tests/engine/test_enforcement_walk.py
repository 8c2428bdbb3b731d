"""The real plan of an enforcement, its controller killed at every event, and resumed until it is done.

Hosts are as the module of host_settings leaves them: a change that nobody confirmed takes itself back, which
fails its step; resumed once more it is planned for anew. `broken` collects what must never happen.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from automation.baseline.enforcement import Enforced
from automation.baseline.planner import Enforcing, Watch, plan_enforcement
from automation.baseline.settings import Baseline
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.model.actions import AwaitWell, EnforceSettings, ExpectFacts, Probe
from automation.model.errors import AdapterError
from automation.model.host_settings import SshdSetting, WantedSetting
from automation.model.plan import Step
from automation.model.records import Outcome, Progress
from tests.fakes.lives import Fate, live, read_fold

WAVES = (("pg-b", "web-b"), ("pg-a",), ("web-a",))
DONE = Outcome(changed=True, summary="done")
MOST_LIVES = 4


def on(host: str) -> Enforced:
    setting = SshdSetting(kind="sshd", keyword="MaxAuthTries", value=4)
    wanted = WantedSetting(control="lin.ssh.auth-tries", risk="R2", setting=setting)
    return Enforced(subject=host, platform="linux", settings=(wanted,), expected={"tries": "10"})


PROBE = Probe(id="pay/web", kind="http", name="pay.city.lab", port=80)
PLAN = plan_enforcement(
    "lab",
    Enforcing(
        {host: on(host) for wave in WAVES for host in wave},
        WAVES,
        Watch("client-1", (PROBE,), 0.1, 1.0, 10),
    ),
    Baseline.model_validate({"profile": "standard"}),
)


class Hosts:
    """What outlives a controller: each host's setting, and its marker of the change."""

    def __init__(self) -> None:
        self.marker = {host: "none" for wave in WAVES for host in wave}
        self.broken: list[str] = []
        self.changes = 0
        self._expected: set[str] = set()
        self._well = False

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        self._expected = set()  # what an earlier controller saw is of no use to this one
        self._well = False

        def perform(step: Step, ctx: RunContext) -> Outcome:
            fate = cut()
            if fate is not Fate.LOST:
                match step.run:
                    case AwaitWell():
                        self._well = True
                    case ExpectFacts(host=host):
                        self._expect(host)
                    case EnforceSettings(host=host):
                        self._enforce(host, heard=fate is None)
            return DONE

        def verify(step: Step, ctx: RunContext) -> Progress:
            if not isinstance(step.run, EnforceSettings):
                return Progress(state="not_done", why="to do it again is safe")
            marker = self.marker[step.run.host]
            if marker == "confirmed":
                return Progress(state="done", outcome=DONE)
            return Progress(state="in_progress" if marker == "armed" else "not_done", why=marker)

        return Work(perform=perform, verify=verify)

    def _expect(self, host: str) -> None:
        if self.marker[host] in ("armed", "confirmed"):
            raise AdapterError(f"{host} is not what its plan was made from")
        self._expected.add(host)

    def _enforce(self, host: str, *, heard: bool) -> None:
        if self.marker[host] == "confirmed":
            return
        if self.marker[host] == "armed":
            self.marker[host] = "reverted"
            raise AdapterError(f"{host} took its change back by itself")
        if host not in self._expected:
            self.broken.append(f"{host} was changed, and nobody had looked whether it is as planned")
        if not self._well:
            self.broken.append(f"{host} was changed, and nobody had looked whether services are well")
        earlier = [one for wave in WAVES[: self._wave(host)] for one in wave]
        if any(self.marker[one] != "confirmed" for one in earlier):
            self.broken.append(f"{host} was changed before the wave before it was done")
        self.changes += 1
        self.marker[host] = "confirmed" if heard else "armed"

    def _wave(self, host: str) -> int:
        return next(number for number, wave in enumerate(WAVES) if host in wave)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk alone; that every event is synced has tests of its own."""
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def test_unstopped_every_host_is_changed_once(tmp_path: Path) -> None:
    hosts = Hosts()
    assert live(PLAN, tmp_path, hosts)
    assert (hosts.changes, hosts.broken) == (4, [])


@pytest.mark.parametrize("fate", Fate, ids=lambda fate: fate.name.lower())
@pytest.mark.parametrize("part", range(4))
def test_killed_at_any_event_it_ends_with_every_host_confirmed(fate: Fate, part: int, tmp_path: Path) -> None:
    for number in range(part, 2 * len(PLAN.steps), 4):
        folder, hosts = tmp_path / str(number), Hosts()
        folder.mkdir()
        live(PLAN, folder, hosts, until=lambda event, at=number: event.sequence >= at, fate=fate)
        for _ in range(MOST_LIVES):
            assert live(PLAN, folder, hosts)
            closed = read_fold(folder).closed
            assert closed is not None
            if closed.status == "succeeded":
                break
        assert closed.status == "succeeded", f"event {number}: {closed}"
        assert set(hosts.marker.values()) == {"confirmed"}, f"event {number}"
        assert hosts.broken == [], f"event {number}"
