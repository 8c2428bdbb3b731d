"""A small lab for tests of the lab itself: three sites, four servers, nothing configured."""

import hashlib
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from automation.adapters import keys, nspawn
from automation.adapters.nspawn.client import Supervisor
from automation.model.actions import BuildImage, CreateServer, MakeKeys, StartLab
from automation.model.environment import (
    DnsSettings,
    Environment,
    Inventory,
    LabSettings,
    Server,
    WitnessSettings,
    state_root,
)
from automation.model.records import Remote
from automation.model.secrets import SecretRef

PATIENCE_S = 20.0
SERVERS = {
    "pg-a": ("city-hall", "1.20"),
    "app-a": ("city-hall", "1.30"),
    "pg-b": ("eoc", "2.20"),
    "client-1": ("public", "3.10"),
}
CONNECT = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], 22), 3).close()
except OSError as exc:
    print(errno.errorcode.get(exc.errno, "ETIMEDOUT"))
"""


class Small:
    """A lab and, for its adapter, the context of a run that has nothing else."""

    run_id, step_id, timeout_s = "test", "test", 60.0

    def __init__(self, lab_id: str, net: str, state: Path) -> None:
        self.state = self.artifacts = state
        self.images = state_root() / "images"
        self.net = net
        self.environment = Environment(
            name=lab_id,
            folder=state,
            kind="lab",
            inventory=("hosts.yml",),
            automation_user="ops",
            witness=WitnessSettings(host="client-1"),
            dns=DnsSettings(zone="city.lab", key_name="mainstay", key=SecretRef(file="secrets/tsig_key")),
            lab=LabSettings(
                id=lab_id,
                prefix=f"{net}.0.0/16",
                control_subnet=f"{net}.0.0/24",
                sites={site: f"{net}.{i}.0/24" for i, site in enumerate(("city-hall", "eoc", "public"), 1)},
            ),
        )
        self.inventory = Inventory(servers={name: self._server(name) for name in SERVERS})

    @property
    def lab(self) -> LabSettings:
        return self.environment.require_lab()

    def up(self) -> None:
        """Bring everything up, as lab.up would."""
        nspawn.preflight(self.state, self.environment, self.say, servers=len(self.inventory.servers))
        keys.make(MakeKeys(secrets=()), self)
        nspawn.build_image(BuildImage(image="debian-12"), self)
        nspawn.start_lab(StartLab(), self)
        for server in self.inventory.servers.values():
            wanted = {"host": server.name, "site": server.site, "address": server.address}
            nspawn.create_server(CreateServer(**wanted, image=server.image), self)
        self.await_all()

    # --- the context of a run ----------------------------------------------------------------

    def remote(self, host: str) -> Remote:
        raise AssertionError(f"the lab's own adapter asks for no connection, yet asked for {host}")

    fresh = remote

    def say(self, text: str) -> None:
        print(text)

    def secret(self, ref: SecretRef) -> str:
        raise AssertionError(f"the lab's own adapter asks for no secret, yet asked for {ref}")

    # --- looking -------------------------------------------------------------------------------

    def address(self, server: str) -> str:
        return f"{self.net}.{SERVERS[server][1]}"

    def ask(self, request: str, **arguments: object) -> dict[str, Any]:
        return Supervisor(self.state, self.lab.id).ask(request, **arguments)

    def server(self, name: str) -> dict[str, Any]:
        return self.ask("server_state", server=name)

    def ssh(self, server: str, *command: str) -> str:
        argv = [
            *("ssh", "-i", str(self.state / "ssh/id_ed25519"), "-o", "StrictHostKeyChecking=yes"),
            *("-o", f"UserKnownHostsFile={self.state / 'known_hosts'}", "-o", "BatchMode=yes"),
            *("-o", "ConnectTimeout=5", f"ops@{self.address(server)}", shlex.join(command)),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{command} on {server}: {done.stderr}"
        return done.stdout.strip()

    def connect_error(self, vantage: str, server: str) -> str | None:
        """Try to reach a server's sshd from another; None when it answers."""
        return self.ssh(vantage, "python3", "-c", CONNECT, self.address(server)) or None

    def round_trip_ms(self, vantage: str, server: str) -> float:
        """Give the shortest of five pings."""
        shown = self.ssh(vantage, "ping", "-q", "-c", "5", "-i", "0.2", self.address(server))
        found = re.search(r"rtt min[^=]*= ([\d.]+)/", shown)
        assert found, shown
        return float(found[1])

    def fingerprint(self, server: str) -> str:
        """Digest every name, owner, mode, time and content on a server's disk."""
        upper = self.state / "lab/hosts" / server / "upper"
        digest = hashlib.sha256()
        for path in sorted(upper.rglob("*")):
            about = path.lstat()
            shown = (path, about.st_mode, about.st_uid, about.st_mtime_ns, about.st_size)
            digest.update(repr(shown).encode())
            if path.is_file() and not path.is_symlink():
                digest.update(path.read_bytes())
        return digest.hexdigest()

    # --- waiting and killing -------------------------------------------------------------------

    def await_all(self, *servers: str) -> None:
        for server in servers or SERVERS:
            self.await_sshd(server)

    def await_sshd(self, server: str) -> None:
        until(lambda: _has_banner(self.address(server)), f"sshd of {server} answers")

    def processes(self) -> list[int]:
        """List every process of the lab, by its cgroups."""
        found: set[int] = set()
        for procs in Path("/sys/fs/cgroup").glob(f"**/mainstay-{self.lab.id}/**/cgroup.procs"):
            found |= {int(line) for line in procs.read_text().split()}
        return sorted(found)

    def kill(self, *words: str) -> None:
        """Kill -9 the one process of the lab whose command line has all of the words."""
        (pid,) = [pid for pid in self.processes() if all(word in command_line(pid) for word in words)]
        os.kill(pid, signal.SIGKILL)

    def kill_supervisor(self, which: int) -> None:
        """Kill -9 the outer unshare (0), PID 1 of the lab (1) or the supervisor (2); see the rest follow."""
        ours = ("unshare", "labd", "labd")
        chain = [pid for pid in self.processes() if f"--lab-id {self.lab.id}" in command_line(pid)]
        chain = [pid for pid in chain if "wan.py" not in command_line(pid)]
        assert len(chain) == len(ours), [command_line(pid) for pid in chain]
        os.kill(chain[which], signal.SIGKILL)
        until(lambda: not self.processes(), "every process of the lab is gone")

    def _server(self, name: str) -> Server:
        site, address = SERVERS[name]
        return Server(
            name=name, address=f"{self.net}.{address}", site=site, provider="nspawn", image="debian-12"
        )


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fail with its name."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.02)


def command_line(pid: int) -> str:
    """Give a process's command line, or nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _has_banner(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
