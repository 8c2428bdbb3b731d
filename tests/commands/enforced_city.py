"""Two web servers whose settings are only state: collected, changed and put back by a fake of the adapters.

It looks before it acts, and keeps what it changed by the run's id, as the hosts do.
"""

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from automation.baseline.asking import Asker
from automation.commands._session import Session
from automation.engine.context import RunContext
from automation.model.actions import (
    Action,
    AwaitWell,
    CollectFacts,
    EnforceSettings,
    ExpectFacts,
    UndoSettings,
)
from automation.model.baseline_evidence import SettingSeen, SettingsEnforced, SettingsUndone
from automation.model.environment import Inventory, Server, load_environment
from automation.model.errors import AdapterError, NotMet
from automation.model.facts import Facts
from automation.model.host_settings import FileContent, KeyValueSetting, SshdSetting
from automation.model.kept_facts import keep_facts
from automation.model.records import Outcome, Remote
from tests.conftest import ROOT

HOSTS = ("app-a", "app-b")
SITES = dict(zip(HOSTS, ("city-hall", "eoc"), strict=True))
BASELINE = "profile: cis-l1\nwalk: 1 s\nenforce:\n  - {controls: ['*'], groups: [all]}\n"
START: dict[str, Any] = {
    "packages": {"openssh-server": "1"},
    "sshd": {"effective": {"maxauthtries": "10", "logingracetime": "60"}, "contexts": []},
    "login_defs": {"UMASK": "022"},
    "shells": {"umasks": [], "sessions": [{"by": "/etc/profile.d/city.sh", "value": "027", "sure": True}]},
}


@dataclass
class City:
    """The hosts' settings now, and what is to go wrong."""

    now: dict[str, Any] = field(default_factory=lambda: {host: copy.deepcopy(START) for host in HOSTS})
    before: dict[tuple[str, str], Any] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)  # whose settings do not take effect
    reverts: set[str] = field(default_factory=set)  # who take everything back
    stuck: set[str] = field(default_factory=set)  # who could not take all of it back
    moves: set[str] = field(default_factory=set)  # changed by somebody right before the expectation
    spoils: bool = False  # every change breaks another setting
    unwell: bool = False

    def perform(self, action: Action, ctx: RunContext) -> Outcome:
        self.did.append(f"{action.do} {getattr(action, 'host', '')}".strip())
        match action:
            case CollectFacts(host=host):
                kept = keep_facts(self.facts(host), ctx.artifacts)
                return Outcome(changed=False, summary="kept", evidence=kept)
            case ExpectFacts(host=host):
                return self._expect(action)
            case EnforceSettings():
                return self._enforce(action, ctx)
            case UndoSettings(host=host, change=change):
                self.now[host] = self.before.pop((host, change))
                told = SettingsUndone(host=host, change=change, restored=("/etc/login.defs",))
                return Outcome(changed=True, summary="put back", evidence=told)
            case AwaitWell() if self.unwell:
                raise NotMet("payments/list is not well")
        return Outcome(changed=False, summary="done")

    def facts(self, host: str) -> Facts:
        now = datetime.now(UTC)
        return Facts(subject=host, platform="linux", collected_at=now, sections=copy.deepcopy(self.now[host]))

    def _expect(self, action: ExpectFacts) -> Outcome:
        if action.host in self.moves:
            self.now[action.host]["sshd"]["effective"]["maxauthtries"] = "9"
        asker = Asker(self.facts(action.host))
        moved = [fact for fact, before in action.expected.items() if asker.search(fact) != before]
        if moved:
            raise AdapterError(f"{action.host} is not what its plan was made from: {moved}")
        return Outcome(changed=False, summary="still so")

    def _enforce(self, action: EnforceSettings, ctx: RunContext) -> Outcome:
        host = action.host
        if host in self.reverts:
            failed = {"/etc/login.defs": "no space"} if host in self.stuck else {}
            if failed:
                self.before[host, ctx.run_id] = copy.deepcopy(self.now[host])
                self.now[host]["login_defs"]["UMASK"] = "027"
            told = SettingsEnforced(
                host=host, change=ctx.run_id, switch="reverted", why="no fresh login", failed=failed
            )
            raise AdapterError(f"{host} took change {ctx.run_id} back by itself", evidence=told)
        self.before[host, ctx.run_id] = copy.deepcopy(self.now[host])
        seen = tuple(self._set(host, one.setting, one.control) for one in action.settings)
        if self.spoils:
            self.now[host]["sshd"]["effective"]["logingracetime"] = "0"
        switch = "confirmed" if action.switch_s else "none"
        told = SettingsEnforced(host=host, change=ctx.run_id, settings=seen, switch=switch)
        return Outcome(changed=True, summary="changed", evidence=told)

    def _set(self, host: str, setting: Any, control: str) -> SettingSeen:
        assert isinstance(setting, SshdSetting | KeyValueSetting | FileContent)
        place, name = self.now[host]["login_defs"], "UMASK"
        if isinstance(setting, FileContent):
            return self._write(host, setting, control)
        if isinstance(setting, SshdSetting):
            place, name = self.now[host]["sshd"]["effective"], setting.keyword.lower()
        before, after = place[name], str(setting.value)
        if host not in self.deaf:
            place[name] = after
        return SettingSeen(control=control, what=name, before=before, after=after, changed=before != after)

    def _write(self, host: str, setting: FileContent, control: str) -> SettingSeen:
        sessions = self.now[host]["shells"]["sessions"]
        own = {"by": str(setting.path), "value": str(setting.content).split()[-1], "sure": True}
        new = own not in sessions
        if new and host not in self.deaf:
            sessions.append(own)
        seen = {"what": f"file {setting.path}", "before": "absent" if new else "there", "after": "there"}
        return SettingSeen(control=control, changed=new, **seen)


def open_city(folder: Path, baseline: str = BASELINE) -> Session:
    """Give a session on the city: the lab's environment with its own baseline and services."""
    declared = folder / "inventories/lab"
    declared.mkdir(parents=True, exist_ok=True)
    (declared / "baseline.yml").write_text(baseline)
    (declared / "services.yml").write_text((ROOT / "inventories/lab/services.yml").read_text())
    lab = load_environment(ROOT, "lab").model_copy(update={"folder": declared, "providers": {}})
    servers = {
        host: Server(name=host, address="192.0.2.1", provider="nspawn", site=SITES[host], groups=("app",))
        for host in HOSTS
    }
    state = folder / "state"

    def context(run_id: str) -> RunContext:
        return RunContext(
            run_id=run_id,
            environment=lab,
            inventory=Inventory(servers=servers),
            state=state,
            images=folder,
            artifacts=state / "runs" / run_id / "artifacts",
            connections=_NoConnections(),  # type: ignore[arg-type]
            progress=lambda step, text: None,
        )

    return Session(lab, Inventory(servers=servers), state, folder, _nobody, context, lambda text: None)


class _NoConnections:
    """No host is reachable; not even that of the witness takes a run's head."""

    def remote(self, host: str) -> Remote:
        return _nobody(host)

    def close(self) -> None: ...


def _nobody(host: str) -> Remote:
    raise AdapterError(f"{host} does not answer")
