"""Devices behind real SSH on loopback, for what a wire alone does not show: keys, passwords, host keys."""

import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paramiko

from automation.adapters.ssh import Connections
from automation.model.environment import Inventory, Server
from automation.model.records import Completed
from tests.adapters.talking_device import Script, Talk


class _Server(paramiko.ServerInterface):
    def __init__(self, keys: Sequence[str], password: str) -> None:
        self._keys, self._password = keys, password
        self.shell = threading.Event()

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = key.get_base64() in self._keys
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        good = bool(self._password) and password == self._password
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_pty_request(self, *_: object) -> bool:
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        self.shell.set()
        return True


class Device:
    """One device that listens; every login gets the same script."""

    def __init__(self, script: Script, host_key: paramiko.PKey, keys: Sequence[str], password: str) -> None:
        self.script, self.heard = script, list[str]()
        self._host_key, self._keys, self._password = host_key, keys, password
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._transports: list[paramiko.Transport] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def logged_in(self) -> int:
        """How many are logged in now."""
        return sum(one.is_authenticated() for one in self._transports)

    def close(self) -> None:
        self._socket.close()
        for transport in self._transports:
            transport.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        transport = paramiko.Transport(accepted)
        self._transports.append(transport)
        transport.add_server_key(self._host_key)
        server = _Server(self._keys, self._password)
        try:
            transport.start_server(server=server)
            channel = transport.accept(10)
            if channel is not None and server.shell.wait(10):
                Talk(channel, self.script, self.heard).go()
        except (OSError, EOFError, paramiko.SSHException):
            pass
        finally:
            transport.close()


class Bench:
    """Keys, host keys and devices of one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._host_key = paramiko.ECDSAKey.generate()
        key = paramiko.ECDSAKey.generate()
        key.write_private_key_file(str(folder / "key"))
        self._keys = [key.get_base64()]
        self._servers: dict[str, Server] = {}
        self._devices: list[Device] = []

    def device(
        self, script: Script, name: str = "gear", *, password: str = "", pinned: bool = True
    ) -> Device:
        """Start one; `password`: it takes no key."""
        device = Device(script, self._host_key, [] if password else self._keys, password)
        self._devices.append(device)
        self._servers[name] = Server(name=name, address="127.0.0.1", port=device.port)
        host_key = self._host_key if pinned else paramiko.ECDSAKey.generate()
        with (self._folder / "known_hosts").open("a") as known:
            known.write(f"[127.0.0.1]:{device.port} {host_key.get_name()} {host_key.get_base64()}\n")
        return device

    def connections(self) -> Connections:
        """Connect as a run does."""
        inventory = Inventory(servers=self._servers)
        return Connections(inventory, "ops", self._folder / "key", self._folder / "known_hosts")

    def close(self) -> None:
        for device in self._devices:
            device.close()


@contextmanager
def bench_in(folder: Path) -> Iterator[Bench]:
    """Give a bench, and take its devices down."""
    bench = Bench(folder)
    try:
        yield bench
    finally:
        bench.close()


class Here:
    """The host that gets the files, as `Remote`: this machine, whose root is whoever runs the tests."""

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        words = list(argv[2:]) if argv[:2] == ["sudo", "-n"] else list(argv)
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout_s)
        return Completed(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)
