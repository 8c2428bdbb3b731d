"""The city of inventories/lab in a lab of its own: other id, other addresses, configured by site.yml."""

import http.client
import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from automation.adapters import keys, nspawn
from automation.adapters.ansible import list_inventory, run_playbook
from automation.adapters.ssh import Connections, await_ready
from automation.engine.context import RunContext
from automation.model.actions import (
    AwaitReady,
    BuildImage,
    CreateServer,
    RunPlaybook,
    StartLab,
    StartSimulator,
)
from automation.model.environment import Environment, state_root
from automation.model.evidence import PlaybookRun
from automation.model.loading import load_model
from automation.model.secrets import SecretRef
from automation.provisioning.planner import (
    make_keys,
    needed_certificates,
    needed_keys,
    needed_logins,
    needed_secrets,
)
from tests.lab.copying import make_private

LAB = Path(__file__).resolve().parents[2] / "inventories" / "lab"


class Answer(NamedTuple):
    """What the payments service answered."""

    status: int
    body: Any


def open_city(folder: Path) -> "City":
    """Give a city that another process made."""
    city = City.__new__(City)
    inventory = folder / "inventory"
    city._open(load_model(inventory / "environment.yml", Environment, name="city", folder=inventory), folder)
    return city


class City:
    """Seven servers, with backups twelve, and what a test asks of them."""

    def __init__(
        self, lab_id: str, net: str, folder: Path, *, backups: bool = False, clouds: bool = False
    ) -> None:
        self._open(_environment(lab_id, net, folder / "inventory", backups=backups, clouds=clouds), folder)

    def _open(self, environment: Environment, folder: Path) -> None:
        self.environment = environment
        self.state = folder / "state"
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.inventory = list_inventory(self.environment.inventory_files, self.state)
        key, known = self.state / "ssh/id_ed25519", self.state / "known_hosts"
        self.connections = Connections(self.inventory, self.environment.automation_user, key, known)
        self.context = RunContext(
            run_id="test",
            environment=self.environment,
            inventory=self.inventory,
            state=self.state,
            images=state_root() / "images",
            artifacts=self.state / "artifacts",
            connections=self.connections,
            progress=lambda step, text: print(text),
            step_id="test",
            timeout_s=300.0,
        )

    def run_context(self, run_id: str) -> RunContext:
        """Give the context of a run of this city's own."""
        artifacts = self.state / "runs" / run_id / "artifacts"
        return replace(self.context, run_id=run_id, artifacts=artifacts)

    def up(self) -> None:
        nspawn.preflight(self.state, self.environment, print, servers=len(self.inventory.standing))
        certificates = tuple(f"certificates/{name}" for name in needed_certificates(self.environment))
        keys.make(make_keys(self.environment, (*needed_keys(self.environment), *certificates)), self.context)
        nspawn.build_image(BuildImage(image="debian-12"), self.context)
        nspawn.start_lab(StartLab(), self.context)
        for name in self.environment.require_lab().simulators:
            nspawn.start_simulator(StartSimulator(simulator=name), self.context)
        with ThreadPoolExecutor() as threads:
            own = [name for name, one in self.inventory.standing.items() if one.provider == "nspawn"]
            list(threads.map(self._bring_up, own))

    def _bring_up(self, name: str) -> None:
        server = self.inventory.server(name)
        create = CreateServer(host=name, site=server.site, address=server.address, image=server.image)
        nspawn.create_server(create, self.context)
        await_ready(AwaitReady(host=name), self.context)

    def down(self) -> None:
        self.connections.close()
        nspawn.remove_lab(self.state, self.environment.require_lab().id)

    def converge(self, limit: str | None = None, **variables: str | int | bool) -> int:
        """Run site.yml; give the number of tasks that changed something."""
        names = (*needed_secrets(self.environment), *needed_logins(self.environment))
        secrets = {name: SecretRef(file=f"secrets/{name}") for name in names}
        action = RunPlaybook(playbook="playbooks/site.yml", limit=limit, variables=variables, secrets=secrets)
        evidence = run_playbook(action, self.context).evidence
        assert isinstance(evidence, PlaybookRun)
        return sum(evidence.changed.values())

    def root(self, host: str, *command: str, stdin: str | None = None) -> str:
        """Run a command as root; it must end well."""
        done = self.connections.remote(host).run(["sudo", "-n", *command], stdin=stdin)
        assert done.exit_code == 0, f"{command} on {host}: {done.stderr}"
        return done.stdout.strip()

    def sql(self, host: str, *statements: str, database: str = "postgres") -> str:
        """Ask a cluster as its superuser."""
        options = [part for statement in statements for part in ("-c", statement)]
        return self.root(host, "runuser", "-u", "postgres", "--", "psql", "-XqAt", "-d", database, *options)

    def pay(self, reference: str, host: str = "app-a", amount_cents: int = 1250) -> Answer:
        """Take a payment at one application server, past the service's name."""
        payment = {"reference": reference, "account": "A-1", "amount_cents": amount_cents}
        return self.call("POST", "/payments", host, json.dumps(payment))

    def call(self, method: str, path: str, host: str = "app-a", body: str | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.inventory.server(host).address, 8080, timeout=15)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read()))
        finally:
            connection.close()

    def stored(self, reference: str, host: str = "pg-a") -> bool:
        """Say whether a server holds a payment."""
        question = f"select count(*) from payments where reference = '{reference}'"
        return self.sql(host, question, database="payments") == "1"

    def point(self, name: str, host: str, *servers: str, stamp: str = "") -> None:
        """Point a name at a host by hand, on both DNS servers or on those given, with a stamp of our own."""
        secret = (self.state / "secrets/tsig_key").read_text().strip()
        address = self.inventory.server(host).address
        lines = (
            "server 127.0.0.1",
            f"key hmac-sha256:mainstay {secret}",
            f"update delete {name}.city.lab. A",
            f"update add {name}.city.lab. 5 A {address}",
            *((f"update delete _moved.{name}.city.lab. TXT",) if stamp else ()),
            *((f'update add _moved.{name}.city.lab. 5 TXT "{stamp}"',) if stamp else ()),
            "send",
        )
        for server in servers or ("dns-a", "dns-b"):
            self.root(server, "nsupdate", stdin="\n".join(lines) + "\n")

    def resolve(self, name: str, vantage: str) -> str:
        """Resolve a name as a host's own programs do."""
        return self.root(vantage, "getent", "ahostsv4", f"{name}.city.lab").split()[0]


def port_is_open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1.0).close()
    except OSError:
        return False
    return True


def _environment(lab_id: str, net: str, folder: Path, *, backups: bool, clouds: bool) -> Environment:
    """Copy the lab's inventory to other addresses."""
    shutil.copytree(LAB, folder)
    make_private(folder, lab_id, net, backups=backups, clouds=clouds)
    return load_model(folder / "environment.yml", Environment, name=lab_id, folder=folder)
