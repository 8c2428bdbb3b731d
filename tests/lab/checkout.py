"""A checkout with an environment of its own, for tests that type commands into a private lab.

The environment is the city of inventories/lab under another id and other addresses; whoever may
approve there is known by keys that are made here.
"""

import json
import os
import pty
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from automation.adapters import postgresql
from automation.adapters.ansible import list_inventory
from automation.adapters.nspawn.client import Supervisor
from automation.adapters.ssh import Connections
from automation.commands._observations import keep_position
from automation.model.environment import load_environment, state_root
from tests.lab.copying import make_private

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "automation",
    "drtests",
    "playbooks",
    "templates",
    "inventories/lab",
    "inv",
    "tasks.py",
    "ansible.cfg",
)
DISKS = "base"
PATIENCE_S = 30.0


class Checkout:
    """The commands of a checkout, and the lab they act on."""

    def __init__(
        self, lab_id: str, net: str, folder: Path, *, backups: bool = False, clouds: bool = False
    ) -> None:
        self.name, self.root, self.signers = lab_id, folder / "checkout", folder / "signers"
        self.signers.mkdir(mode=0o700)
        (self.signers / "allowed_signers").touch(mode=0o600)
        _copy(self.root, self.signers / "allowed_signers", lab_id)
        make_private(self.root / "inventories" / lab_id, lab_id, net, backups=backups, clouds=clouds)
        self.state = folder / lab_id
        (folder / "images").symlink_to(state_root() / "images")
        self.environ = {**os.environ, "MAINSTAY_STATE": str(folder)}
        self.environment = load_environment(self.root, lab_id)
        self.state.mkdir(mode=0o700)
        self.inventory = list_inventory(self.environment.inventory_files, self.state)
        user, key = self.environment.automation_user, self.state / "ssh/id_ed25519"
        self.connections = Connections(self.inventory, user, key, self.state / "known_hosts")

    def inv(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Type one command, with this environment."""
        return self.type(command, "--env", self.name, *words)

    def type(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Type one command, as it stands."""
        argv = [str(self.root / "inv"), command, *words]
        return subprocess.run(
            argv, env=self.environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    def start(self, command: str, *words: str) -> subprocess.Popen[str]:
        """Begin one command."""
        argv = [str(self.root / "inv"), command, "--env", self.name, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, env=self.environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )

    def must(self, command: str, *words: str) -> str:
        """Type one command that ends well; give what it prints."""
        done = self.inv(command, *words)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def let_approve(self, **roles: str) -> None:
        """Give people a key each, and a role."""
        lines = []
        for person, role in roles.items():
            key = self.signers / person
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", person, "-f", str(key)]
            subprocess.run(argv, check=True)
            public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
            lines.append(f'{person} namespaces="mainstay-*" {public} roles={role}\n')
        (self.signers / "allowed_signers").write_text("".join(lines))

    def approve(self, person: str, role: str, *words: str) -> None:
        """A person approves a run at a terminal."""
        self.sign("run.approve", person, "--role", role, *words)

    def sign(self, command: str, person: str, *words: str) -> None:
        """A person signs at a terminal, and types yes."""
        done = self.agree(command, *words, "--key", str(self.signers / person))
        assert done.returncode == 0, done.stderr

    def agree(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Type one command at a terminal, and yes when it asks."""
        ours, theirs = pty.openpty()
        os.write(ours, b"yes\n")
        argv = [str(self.root / "inv"), command, "--env", self.name, *words]
        try:
            return subprocess.run(
                argv, env=self.environ, stdin=theirs, capture_output=True, text=True, check=False
            )
        finally:
            os.close(ours)
            os.close(theirs)

    def up(self) -> None:
        """Boot and configure the city, and keep its disks."""
        self.must("lab.up")
        self.must("provision.converge")
        self.ask("save_disks", name=DISKS, within_s=240)
        self.await_booted()

    def down(self) -> None:
        self.connections.close()
        self.inv("lab.down", "--force")

    def back_to_base(self) -> None:
        """Put the disks back, mend everything, forget what was said; the primary was seen just now."""
        self.connections.close()
        self.ask("restore_disks", name=DISKS, within_s=120)
        for name in ("declarations", "suspicions", "observations", "runs", "backups", "told"):
            shutil.rmtree(self.state / name, ignore_errors=True)
        self.await_booted()
        seen = postgresql.observe_primary("pg-a", "15/main", self.connections.remote("pg-a"))
        keep_position(self.state, seen)

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Ask the lab itself."""
        return Supervisor(self.state, self.name).ask(request, **arguments)

    def server(self, name: str) -> dict[str, Any]:
        """One server as the kernel shows it, whatever its management says."""
        servers: dict[str, dict[str, Any]] = self.ask("status")["servers"]
        return servers[name]

    def sh(self, host: str, script: str, *, check: bool = True) -> str:
        """Run a script as root on a host."""
        done = self.connections.remote(host).run(["sudo", "-n", "sh", "-c", script])
        assert done.exit_code == 0 or not check, f"{script} on {host}: {done.stderr}"
        return done.stdout.strip()

    def sql(self, host: str, statement: str, database: str = "postgres") -> str:
        """Ask a cluster as its superuser."""
        argv = ["sudo", "-n", "-u", "postgres", "psql", "-XqAt", "-d", database, "-c", statement]
        done = self.connections.remote(host).run(argv)
        assert done.exit_code == 0, f"{statement} on {host}: {done.stderr}"
        return done.stdout.strip()

    def refuses(self, vantage: str, host: str, port: int = 5432) -> bool:
        """Whether a host's port takes no connection from another host."""
        target = f"/dev/tcp/{self.inventory.server(host).address}/{port}"
        done = self.connections.remote(vantage).run(["timeout", "3", "bash", "-c", f"exec 3<>{target}"])
        return done.exit_code != 0

    def await_booted(self) -> None:
        """Wait until every host lets us in and the databases stream: booted is not yet ready."""
        for host in self.inventory.standing:
            until(partial(self.sh, host, "echo in"), f"{host} lets us in", patience_s=90)
        self.connections.close()  # none that a fault would leave behind, half dead
        self.await_streaming()

    def await_streaming(self) -> None:
        question = "select count(*) from pg_stat_replication where state = 'streaming'"
        until(lambda: self.sql("pg-a", question) == "1", "pg-b streams")

    def last_run(self, plan: str) -> str:
        """The id of the newest run of a plan."""
        paths = (self.state / "runs").glob("*/plan.json")
        return max(path.parent.name for path in paths if json.loads(path.read_text())["name"] == plan)


def until(seen: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for something; an error meanwhile counts as not yet."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            if seen():
                return
        except Exception as exc:
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain: {what}") from exc
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)


def _copy(root: Path, signers: Path, lab_id: str) -> None:
    for part in PARTS:
        source, target = ROOT / part, root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (root / ".venv").symlink_to((ROOT / ".venv").resolve())
    folder = (root / "inventories/lab").rename(root / "inventories" / lab_id)
    text = (folder / "environment.yml").read_text()
    assert text.count("\napprovals:\n") == 1
    known = text.replace("\napprovals:\n", f"\napprovals:\n  allowed_signers: {signers}\n")
    (folder / "environment.yml").write_text(known)
