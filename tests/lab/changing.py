"""Hosts of a small lab that are changed for real, each by controllers that may die."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from automation.adapters import ansible
from automation.adapters.ssh import Connections
from automation.engine.context import RunContext
from automation.model.actions import EnforceSettings, UndoSettings
from automation.model.baseline_evidence import SettingsEnforced
from automation.model.errors import AutomationError
from automation.model.host_settings import WantedSetting
from automation.model.records import Outcome
from tests.lab.small import Small

CHANGES = "/var/lib/mainstay-changes"
# All that a change may touch: kinds, rights, owners, names, where links lead; contents; units; the firewall.
_LOOK = """
find /etc -xdev -printf '%y %m %U:%G %p %l\\n'
find /etc -xdev -type f -print0 | xargs -0 sha256sum
systemctl list-unit-files --no-legend
systemctl list-units --no-legend --plain 'mainstay-revert*'
nft list ruleset
"""


class Look(frozenset[str]):
    """What is there on a host, a line each; what says that it was changed is left out."""

    def __repr__(self) -> str:
        return f"<{len(self)} lines>"


class Ending(NamedTuple):
    """How an action on a host ended, and what was there before and after it."""

    before: Look
    after: Look
    outcome: Outcome | None
    failure: AutomationError | None
    marker: dict[str, Any]

    @property
    def evidence(self) -> SettingsEnforced:
        found = self.outcome.evidence if self.outcome else getattr(self.failure, "evidence", None)
        assert isinstance(found, SettingsEnforced), (self.failure, found)
        return found


class Changing:
    """A small lab, as runs see it that change its hosts."""

    def __init__(self, city: Small) -> None:
        self.city = city
        key, known = city.state / "ssh/id_ed25519", city.state / "known_hosts"
        self.connections = Connections(city.inventory, "ops", key, known)
        hosts = {one.name: {"ansible_host": one.address} for one in city.inventory.servers.values()}
        python = {"ansible_python_interpreter": "/usr/bin/python3"}
        sources = city.state / "hosts.yml"
        sources.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": python}}))

    def context(self, run_id: str, said: Callable[[str], None] = print) -> RunContext:
        """Give the context of a step of a run; `said` hears how far it is."""
        return RunContext(
            run_id=run_id,
            environment=self.city.environment,
            inventory=self.city.inventory,
            state=self.city.state,
            images=self.city.images,
            artifacts=self.city.state / "runs" / run_id / "artifacts",
            connections=self.connections,
            progress=lambda step, text: said(text),
            step_id="enforce",
            timeout_s=300.0,
        )

    def enforce(
        self,
        host: str,
        run_id: str,
        settings: Sequence[WantedSetting],
        switch_s: float,
        said: Callable[[str], None] = print,
    ) -> Ending:
        """Enforce settings, and look at the host before and after."""
        action = EnforceSettings(host=host, settings=tuple(settings), switch_s=switch_s)
        before = self.look(host)
        outcome, failure = None, None
        try:
            outcome = ansible.enforce_settings(action, self.context(run_id, said))
        except AutomationError as exc:
            failure = exc
        return Ending(before, self.look(host), outcome, failure, self.marker(host, run_id))

    def undo(self, host: str, run_id: str, change: str, edited: Sequence[str] = ()) -> Outcome:
        action = UndoSettings(host=host, change=change, edited=tuple(edited))
        return ansible.undo_settings(action, self.context(run_id))

    def marker(self, host: str, change: str) -> dict[str, Any]:
        shown = self.sh(host, f"cat {CHANGES}/{change}/marker.json 2>/dev/null || echo '{{}}'")
        marker: dict[str, Any] = json.loads(shown)
        return marker

    def look(self, host: str) -> Look:
        """Give all that a change may touch, over a login of its own."""
        return Look(self.sh(host, _LOOK).splitlines())

    def sh(self, host: str, script: str) -> str:
        """Run a script as root on a host, logged in anew."""
        with self.connections.fresh(host) as remote:
            done = remote.run(["sudo", "-n", "sh", "-c", script])
        assert done.exit_code == 0, f"{script} on {host}: {done.stderr}"
        return done.stdout.strip()


def wanted(risk: str, **setting: object) -> WantedSetting:
    """Give a setting as a plan has it."""
    control = "lin.test." + hashlib.sha256(repr(setting).encode()).hexdigest()[:6]
    return WantedSetting.model_validate({"control": control, "risk": risk, "setting": setting})


def open_changing(state: Path, lab_id: str, net: str) -> Changing:
    """Give a lab that another process made."""
    return Changing(Small(lab_id, net, state))
