"""Hosts that answer over real SSH, but not as they should: an error that names the host, and no facts."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import paramiko
import pytest

from automation.adapters import collector, ssh
from automation.adapters.ssh import Connections
from automation.model.actions import CollectFacts
from automation.model.environment import Inventory, Server
from automation.model.errors import AdapterError
from automation.model.records import Context

Behaviour = Callable[[paramiko.Channel], None]
FACTS = b'{"at": 1795000000, "shared_kernel": false, "sections": {"os": {}}, "unknown": {}}'


class _Server(paramiko.ServerInterface):
    def __init__(self) -> None:
        self.asked = threading.Event()

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.asked.set()
        return True


class Host:
    """One that lets everybody in and then behaves."""

    def __init__(self, folder: Path, behaviour: Behaviour | bytes) -> None:
        self._key, self._behaviour = paramiko.ECDSAKey.generate(), behaviour
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[Any] = [self._socket]
        port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        paramiko.ECDSAKey.generate().write_private_key_file(str(folder / "id"))
        known = f"[127.0.0.1]:{port} {self._key.get_name()} {self._key.get_base64()}\n"
        (folder / "known_hosts").write_text(known)
        servers = {"web": Server(name="web", address="127.0.0.1", port=port)}
        self.inventory = Inventory(servers=servers)
        self.connections = Connections(self.inventory, "ops", folder / "id", folder / "known_hosts")

    def close(self) -> None:
        self.connections.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(accepted)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            if isinstance(self._behaviour, bytes):
                accepted.sendall(self._behaviour)
                return
            transport, server = paramiko.Transport(accepted), _Server()
            self._open.append(transport)
            transport.add_server_key(self._key)
            transport.start_server(server=server)
            channel = transport.accept(10)
            if channel is not None and server.asked.wait(10):
                while channel.recv(2**16):  # the program that it is to run, to its end
                    pass
                self._behaviour(channel)
        except (OSError, EOFError, paramiko.SSHException):
            pass


def end(channel: paramiko.Channel, code: int) -> None:
    channel.send_exit_status(code)
    channel.close()


def garbage(channel: paramiko.Channel) -> None:
    channel.sendall(bytes(range(256)) * 64)
    end(channel, 0)


def half(channel: paramiko.Channel) -> None:
    channel.sendall(FACTS[:40])
    end(channel, 0)


def killed(channel: paramiko.Channel) -> None:
    """As sshd tells it of a program that a signal ended."""
    channel.sendall(FACTS[:40])
    end(channel, 137)


def hangs_up(channel: paramiko.Channel) -> None:
    channel.sendall(FACTS[:40])
    channel.get_transport().close()


def silent(channel: paramiko.Channel) -> None:
    time.sleep(20)


def drips(channel: paramiko.Channel) -> None:
    for sign in FACTS * 9:
        channel.sendall(bytes([sign]))
        time.sleep(0.05)


def endless(channel: paramiko.Channel) -> None:
    while True:
        channel.sendall(b"[" * 2**16)


def never_ends(channel: paramiko.Channel) -> None:
    """All is said, and then no exit code comes."""
    channel.sendall(FACTS)
    channel.shutdown_write()
    time.sleep(20)


def floods_errors(channel: paramiko.Channel) -> None:
    while True:
        channel.sendall_stderr(b"x" * 2**16)


def escapes(channel: paramiko.Channel) -> None:
    channel.sendall_stderr(b"\x1b[2J\x1b]0;mine\x07sudo: no\x9b\n")
    end(channel, 1)


def large(channel: paramiko.Channel) -> None:
    channel.sendall(b'{"sections": "' + b"a" * (collector.LARGEST_BYTES + 1) + b'"}')
    end(channel, 0)


BEHAVIOURS: dict[str, tuple[Behaviour | bytes, str]] = {
    "garbage": (garbage, "on web said are no facts"),
    "half of its facts": (half, "on web said are no facts"),
    "killed half-way": (killed, "on web ended with 137"),
    "hangs up half-way": (hangs_up, "on web: connection lost"),
    "says nothing": (silent, "on web: no answer in 1 s"),
    "says it a sign at a time": (drips, "on web: no answer in 1 s"),
    "never stops": (endless, "on web: connection lost .it said more than"),
    "never ends": (never_ends, "on web: no answer in 1 s"),
    "floods the other stream": (floods_errors, "on web: no answer in 1 s"),
    "an error that acts on a terminal": (escapes, r"ended with 1: \?\[2J"),
    "more than facts are": (large, "said more than 16777216 bytes"),
    "no SSH at all": (b"HTTP/1.1 400 \x1b[2J Bad Request\r\n\r\n" * 9, "cannot log in to web"),
    "a greeting without an end": (b"\x1b[2J" * 100_000, "cannot log in to web"),
}


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Behaviour | bytes], Host]]:
    made: list[Host] = []
    monkeypatch.setattr(ssh, "LARGEST_ANSWER_BYTES", 20 * 2**20)

    def make(behaviour: Behaviour | bytes) -> Host:
        made.append(Host(tmp_path, behaviour))
        return made[-1]

    yield make
    for one in made:
        one.close()


def collect(host: Host, tmp_path: Path, timeout_s: float) -> Any:
    told = {"remote": host.connections.remote, "inventory": host.inventory, "artifacts": tmp_path}
    return collector.collect(
        CollectFacts(host="web", walk_s=1), cast(Context, SimpleNamespace(timeout_s=timeout_s, **told))
    )


@pytest.mark.parametrize(("behaviour", "words"), BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_a_host_that_misbehaves_gives_no_facts_but_an_error(
    behaviour: Behaviour | bytes, words: str, hosts: Callable[[Behaviour | bytes], Host], tmp_path: Path
) -> None:
    waits_in_vain = behaviour in (silent, drips, never_ends, floods_errors)
    with pytest.raises(AdapterError, match=words) as told:
        collect(hosts(behaviour), tmp_path, 1.0 if waits_in_vain else 30.0)
    assert str(told.value).isprintable()
    assert not (tmp_path / "facts").exists()


def test_a_host_that_behaves_gives_its_facts(
    hosts: Callable[[Behaviour | bytes], Host], tmp_path: Path
) -> None:
    def well(channel: paramiko.Channel) -> None:
        channel.sendall(FACTS)
        end(channel, 0)

    assert collect(hosts(well), tmp_path, 10.0).summary == "web: 1 sections"
    assert (tmp_path / "facts/web.json.gz").exists()
