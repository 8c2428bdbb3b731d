"""Simulated vCenters for tests: two that share a replicated datastore, on free ports of this machine."""

import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pyVim.connect import Disconnect, SmartConnect

from automation.adapters.nspawn import vcenter_program
from automation.model.environment import state_root
from tests.programs.simulators import PATIENCE_S, free_port, make_keys

USER, PASSWORD = "administrator@vsphere.local", "not a secret: made for this test"
LOGIN = f"VSPHERE_USER={USER}\nVSPHERE_PASSWORD={PASSWORD}\n"
REPLICATED, TEMPLATE = "replicated", "debian-12"


@dataclass
class VcenterSimulated:
    """A simulated vCenter that runs: where it is, what it is trusted by, and how to order faults of it."""

    name: str
    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def ca(self) -> Path:
        return self.folder.parent / "certificates/ca.crt"

    @property
    def login(self) -> Path:
        """Give the file of the login: lines VSPHERE_USER= and VSPHERE_PASSWORD=."""
        return self.folder.parent / "secrets/vcenter"

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Log in with pyVmomi; the session ends with the block."""
        trust = ssl.create_default_context(cafile=str(self.ca))
        made = SmartConnect(host="localhost", port=self.port, user=USER, pwd=PASSWORD, sslContext=trust)
        try:
            yield made
        finally:
            Disconnect(made)

    def faults(self, *rules: Mapping[str, object]) -> None:
        """Order faults: `{method, mode, times?, seconds?, fault?}`; the modes stand in vcenter/plans.go."""
        self._control("POST", "faults", json.dumps(rules).encode())

    def no_faults(self) -> None:
        self._control("DELETE", "faults")

    def calls(self) -> dict[str, int]:
        """Give how often each SOAP method was called."""
        return cast("dict[str, int]", self._control("GET", "calls"))

    def forget_calls(self) -> None:
        self._control("DELETE", "calls")

    def sessions(self) -> int:
        """Give how many sessions are open."""
        return cast("dict[str, int]", self._control("GET", "sessions"))["open"]

    def needed(self) -> list[str]:
        """Give the privileges that calls of limited logins needed since this was asked, in their order."""
        return cast("list[str]", self._control("GET", "privileges"))

    def reset(self) -> None:
        """Forget all faults and counts; machines and networks stay."""
        self._control("POST", "reset")

    def restart(self, *, kill: bool = False) -> None:
        """End it in good order, or kill it, and start it again on the same port."""
        self.process.kill() if kill else self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.process = _start(self.folder, self.port)

    def _control(self, method: str, name: str, body: bytes = b"") -> object:
        trust = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE_S, context=trust)
        try:
            connection.request(method, f"/_mainstay/{name}", body)
            answer = connection.getresponse()
            content = answer.read().decode()
            assert answer.status == 200, content
            return json.loads(content)
        finally:
            connection.close()


@contextmanager
def simulated_vcenters(
    state: Path, **told: Mapping[str, object]
) -> Iterator[tuple[VcenterSimulated, VcenterSimulated]]:
    """Run two vCenters, `hall` and `annex`; `told` adds to the settings of either."""
    make_keys(state, certificates=("vcenter",))
    (state / "secrets").mkdir(exist_ok=True)
    (state / "secrets/vcenter").write_text(LOGIN)
    (state / REPLICATED).mkdir()
    with ExitStack() as running:
        hall, annex = (
            running.enter_context(_simulated_vcenter(state, name, told.get(name, {})))
            for name in ("hall", "annex")
        )
        yield hall, annex


@contextmanager
def _simulated_vcenter(state: Path, name: str, told: Mapping[str, object]) -> Iterator[VcenterSimulated]:
    folder, port = state / name, free_port()
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(_settings(state, name, port) | dict(told)))
    vcenter = VcenterSimulated(name, folder, port, _start(folder, port))
    try:
        yield vcenter
    finally:
        vcenter.process.terminate()
        vcenter.process.wait(PATIENCE_S)


def _settings(state: Path, name: str, port: int) -> dict[str, object]:
    return {
        "name": f"vcenter-{name}",
        "address": "127.0.0.1",
        "port": port,
        "certificate": str(state / "certificates/vcenter.crt"),
        "key": str(state / "certificates/vcenter.key"),
        "logins": {"operator": str(state / "secrets/vcenter")},
        "datacenter": name,
        "cluster": "main",
        "hosts": 2,
        "datastores": ["local"],
        "replicated": {REPLICATED: str(state / REPLICATED)},
        "networks": ["VM Network", "city"],
        "templates": [TEMPLATE],
    }


def _start(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    program = vcenter_program.build(state_root() / "programs", print)
    with (folder / "simulator.log").open("ab") as log:
        process = subprocess.Popen([program, folder], stdout=log, stderr=log)
    deadline = time.monotonic() + PATIENCE_S
    while not _answers(port):
        assert process.poll() is None, (folder / "simulator.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True
