"""Two simulated vCenters as the sites of one environment, and what a step is handed there."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from automation.adapters import vsphere
from automation.adapters.vsphere import sessions
from automation.adapters.vsphere.permissions import ACTIONS, METHODS
from automation.model.actions import BaseAction
from automation.model.environment import Environment, Inventory
from automation.model.records import Context, Outcome, Progress
from automation.model.secrets import SecretRef
from automation.model.servers import NetworkSpec, ProviderView, ServerSpec
from tests.programs.simulators_vcenter import REPLICATED, TEMPLATE, VcenterSimulated, simulated_vcenters

GIB = 2**30


class StepContext:
    """As much of a step's context as the adapter needs."""

    timeout_s = 60.0

    def __init__(self, state: Path, environment: Environment, *, run: str, step: str) -> None:
        self.state, self.environment, self.run_id, self.step_id = state, environment, run, step
        self.inventory = Inventory(servers={})
        self.artifacts = state / f"artifacts-{run}"
        self.said: list[str] = []

    def secret(self, ref: SecretRef) -> str:
        return (self.state / str(ref.file)).read_text()

    def say(self, text: str) -> None:
        self.said.append(text)


class Sites:
    """The environment `city` over two vCenters, and ways to do one action after the other."""

    def __init__(
        self, state: Path, hall: VcenterSimulated, annex: VcenterSimulated, login: str = "secrets/vcenter"
    ) -> None:
        self.state, self.hall, self.annex, self.login = state, hall, annex, login
        (state / "ssh").mkdir(exist_ok=True)
        (state / "ssh/id_ed25519.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMq ops\n")
        self.environment = self.declare()

    def declare(self, name: str = "city", **more: object) -> Environment:
        """Give the environment; `more` changes what is said of the vCenter of site hall."""
        sites = {"hall": self.hall, "annex": self.annex}
        providers = {f"vcenter-{site}": self._provider(site, one.port) for site, one in sites.items()}
        providers["vcenter-hall"] |= more
        simulators = {f"vcenter-{site}": self._simulator(site) for site in sites}
        return Environment.model_validate(
            {
                "name": name,
                "folder": self.state,
                "kind": "lab",
                "inventory": ["hosts.yml"],
                "automation_user": "ops",
                "witness": {"host": "client-1"},
                "dns": {"zone": "city.lab", "key_name": "mainstay", "key": {"file": "secrets/tsig_key"}},
                "providers": providers,
                "lab": {
                    "id": "city",
                    "prefix": "10.94.0.0/16",
                    "control_subnet": "10.94.0.0/24",
                    "sites": {"hall": "10.94.1.0/24", "annex": "10.94.2.0/24"},
                    "simulators": simulators,
                },
            }
        )

    def _provider(self, site: str, port: int) -> dict[str, object]:
        return {
            "kind": "vsphere",
            "site": site,
            "address": "localhost",
            "port": port,
            "login": {"file": self.login},
            "ca": "certificates/ca.crt",
            "datacenter": site,
            "cluster": "main",
            "datastore": "local",
        }

    @staticmethod
    def _simulator(site: str) -> dict[str, object]:
        return {"kind": "vcenter", "site": site, "address": "127.0.0.1", "name": "localhost", "logins": {}}

    def context(
        self, step: str = "step", *, run: str = "run-1", environment: Environment | None = None
    ) -> Context:
        """Give the context of a step."""
        made = StepContext(self.state, environment or self.environment, run=run, step=step)
        return cast("Context", made)

    def do(self, action: BaseAction, ctx: Context | None = None) -> Outcome:
        """Perform an action by its address; it may call only what it is listed with."""
        address = cast("Any", action).do
        function = getattr(vsphere, address.partition(".")[2])
        before = _privileged_calls()
        try:
            return cast("Outcome", function(action, ctx or self.context()))
        finally:
            called = set(_privileged_calls() - before)
            assert called <= ACTIONS[address], f"{address} called what provision.permissions does not print"

    def verify(self, action: BaseAction, ctx: Context | None = None) -> Progress:
        """Look how far an action came."""
        function = getattr(vsphere, "verify_" + cast("Any", action).do.partition(".")[2])
        return cast("Progress", function(action, ctx or self.context()))

    def look(
        self,
        site: str = "hall",
        wanted: Sequence[ServerSpec] = (),
        networks: Sequence[NetworkSpec] = (),
        environment: Environment | None = None,
    ) -> ProviderView:
        return vsphere.look(environment or self.environment, site, self.state, wanted, networks)

    def reset(self) -> None:
        """Forget faults and counts, and every session of ours."""
        for one in (self.hall, self.annex):
            one.reset()


def _privileged_calls() -> Counter[str]:
    """Count the calls of this process that need a privilege, at every vCenter that it has a session at."""
    made: Counter[str] = Counter()
    for vcenter in list(sessions._KEPT.values()):
        made.update({method: times for method, times in vcenter.calls.items() if METHODS[method]})
    return made


def spec(name: str, site: str = "hall", **more: object) -> ServerSpec:
    """Declare a server with a data disk in the network `city`."""
    told: Mapping[str, object] = {
        "name": name,
        "provider": "vsphere",
        "site": site,
        "image": TEMPLATE,
        "size": {"cpus": 2, "memory": "2 GiB"},
        "disks": [{"name": "data", "size": "4 GiB"}],
        "networks": ["city"],
        "tags": {"service": "gis"},
    }
    return ServerSpec.model_validate({**told, **more})


@contextmanager
def two_sites(state: Path, **told: Mapping[str, object]) -> Iterator[Sites]:
    """Run two vCenters and give their environment; no session of ours is left."""
    with simulated_vcenters(state, **told) as (hall, annex):
        try:
            yield Sites(state, hall, annex)
        finally:
            vsphere.log_out()


__all__ = ["GIB", "REPLICATED", "Sites", "spec", "two_sites"]
