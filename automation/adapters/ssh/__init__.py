"""Hosts over SSH on kept connections: the only paramiko in the house.

Host keys are pinned: an unknown key is refused. TCP_NODELAY is set by opening the
socket here, because paramiko leaves Nagle on and a kept connection then waits up
to 40 ms a command.
"""

import logging
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import paramiko

from automation.adapters.ssh.shell import Shell
from automation.model.actions import AwaitReady, LookAtHost
from automation.model.environment import Inventory, Server
from automation.model.errors import AdapterError
from automation.model.evidence import HostSeen
from automation.model.records import Completed, Context, Outcome, Remote
from automation.model.terminals import Manners, Terminal

CONNECT_TIMEOUT_S = 5.0
_PORT = 22  # of hosts that known_hosts names without one
_CHUNK_BYTES = 65536
# Far more than any answer or file that is fetched: a host that never stops must not fill the memory.
LARGEST_ANSWER_BYTES = 512 * 2**20
# Longer than any line of a configuration: what is wider would be broken by the device. IOS takes 512 at most.
_COLUMNS, _LINES = 511, 511
# A lost connection and a killed controller look like the end of the content: hence the count.
_PUT = """
umask 077
t=$(mktemp "$1.XXXXXX") || exit
cat >"$t" && [ "$(wc -c <"$t")" -eq "$3" ] && chmod "$2" "$t" && mv -f "$t" "$1" && exit
rm -f "$t"
echo "cut off or not writable" >&2
exit 1
"""


class Connections:
    """One kept connection a host, opened at first use, shared by all steps."""

    def __init__(self, inventory: Inventory, user: str, key_file: Path, known_hosts: Path) -> None:
        self._inventory = inventory
        self._user = user
        self._key_file = key_file
        self._known_hosts = known_hosts
        self._hosts: dict[tuple[str, str], _Host] = {}
        self._lock = Lock()
        # It logs every lost connection as an error; here that is an AdapterError with words of its own.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

    def remote(self, host: str) -> Remote:
        return self._host(host, self._user, None)

    @contextmanager
    def fresh(self, host: str) -> Iterator[Remote]:
        """Log in anew, as somebody would who was never there; the kept connection stays as it is."""
        server = self._inventory.server(host)
        remote = _Host(server, self._user, self._key_file, self._known_hosts, None)
        try:
            remote.log_in()
            yield remote
        finally:
            remote.close()

    def terminal(
        self, host: str, manners: Manners, user: str, password: str | None, enable: str | None
    ) -> Terminal:
        """Open a shell on a device; `enable` is what it asks for more rights."""
        device = self._host(host, user or self._user, password)
        return Shell.begin(device.name, device.open_shell(), manners, enable)

    def _host(self, host: str, user: str, password: str | None) -> "_Host":
        with self._lock:
            if (host, user) not in self._hosts:
                server = self._inventory.server(host)
                self._hosts[host, user] = _Host(server, user, self._key_file, self._known_hosts, password)
            return self._hosts[host, user]

    def close(self) -> None:
        with self._lock:
            for host in self._hosts.values():
                host.close()
            self._hosts.clear()


class _Host:
    """Implements `Remote` for one server."""

    def __init__(
        self, server: Server, user: str, key_file: Path, known_hosts: Path, password: str | None
    ) -> None:
        self._server = server
        self._user = user
        self._key_file = key_file
        self._known_hosts = known_hosts
        self._password = password
        self._client: paramiko.SSHClient | None = None
        self._lock = Lock()

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        return self._run(argv, None if stdin is None else stdin.encode(), timeout_s)

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        done = self._run(["sh", "-c", _PUT, "put", path, f"{mode:o}", str(len(content))], content, 60.0)
        if done.exit_code:
            raise AdapterError(
                f"cannot write {path} on {self._server.name}: {done.stderr.strip()}; file unchanged"
            )

    def get(self, path: str) -> bytes:
        done, content = self._exchange(["cat", path], None, 120.0)
        if done.exit_code:
            raise AdapterError(f"cannot read {path} on {self._server.name}: {done.stderr.strip()}")
        return content

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def log_in(self) -> None:
        self._transport()

    @property
    def name(self) -> str:
        return self._server.name

    def open_shell(self) -> paramiko.Channel:
        """Open a shell on a wide terminal."""
        try:
            channel = self._transport().open_session(timeout=CONNECT_TIMEOUT_S)
            channel.settimeout(CONNECT_TIMEOUT_S)
            channel.get_pty(term="dumb", width=_COLUMNS, height=_LINES)
            channel.invoke_shell()
        except (paramiko.SSHException, OSError, EOFError) as exc:
            self.close()
            raise AdapterError(
                f"{self.name} gives {self._user} no shell: {exc}; nothing was changed", transient=True
            ) from exc
        return channel

    def _run(self, argv: Sequence[str], stdin: bytes | None, timeout_s: float) -> Completed:
        return self._exchange(argv, stdin, timeout_s)[0]

    def _exchange(
        self, argv: Sequence[str], stdin: bytes | None, timeout_s: float
    ) -> tuple[Completed, bytes]:
        name, deadline = self._server.name, time.monotonic() + timeout_s
        transport = self._transport()
        try:
            with transport.open_session(timeout=min(timeout_s, CONNECT_TIMEOUT_S)) as channel:
                channel.settimeout(timeout_s)
                channel.exec_command(shlex.join(argv))
                if stdin:
                    channel.sendall(stdin)
                channel.shutdown_write()
                stdout = _read_all(channel.recv, channel, deadline)
                stderr = _read_all(channel.recv_stderr, channel, deadline)
                if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                exit_code = channel.recv_exit_status()
        except TimeoutError as exc:
            raise AdapterError(
                f"{argv[0]} on {name}: no answer in {timeout_s:g} s; state unknown",
                transient=True,
                unknown=True,
            ) from exc
        except (paramiko.SSHException, OSError, EOFError) as exc:
            self.close()
            raise AdapterError(
                f"{argv[0]} on {name}: connection lost ({exc}); state unknown", transient=True, unknown=True
            ) from exc
        if exit_code == -1:
            self.close()
            raise AdapterError(
                f"{argv[0]} on {name}: connection lost before it ended; state unknown",
                transient=True,
                unknown=True,
            )
        text, errors = stdout.decode(errors="replace"), stderr.decode(errors="replace")
        return Completed(exit_code=exit_code, stdout=text, stderr=errors), stdout

    def _transport(self) -> paramiko.Transport:
        with self._lock:
            transport = self._client.get_transport() if self._client else None
            if transport is None or not transport.is_active():
                self._client = self._connect()
                transport = self._client.get_transport()
            assert transport is not None
            return transport

    def _connect(self) -> paramiko.SSHClient:
        server = self._server
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        sock = None
        try:
            _pin(client, self._known_hosts, server)
            sock = socket.create_connection((server.address, server.port), timeout=CONNECT_TIMEOUT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.connect(
                server.address,
                port=server.port,
                username=self._user,
                key_filename=str(self._key_file),
                password=self._password,
                sock=sock,
                timeout=CONNECT_TIMEOUT_S,
                banner_timeout=CONNECT_TIMEOUT_S,
                auth_timeout=CONNECT_TIMEOUT_S,
                allow_agent=False,
                look_for_keys=False,
            )
        except (paramiko.SSHException, OSError, EOFError) as exc:
            client.close()
            if sock is not None:
                sock.close()
            raise AdapterError(
                f"cannot log in to {server.name} ({server.address}) as {self._user}: {_plain(exc)}; "
                "nothing changed",
                transient=not isinstance(exc, paramiko.BadHostKeyException),
            ) from exc
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(5)
        return client


def _pin(client: paramiko.SSHClient, known_hosts: Path, server: Server) -> None:
    """Load the keys that are pinned for a host.

    Lines that cannot name it are left out before they are parsed: each of N hosts would parse the keys of all
    N, and compare each with all before it. A hashed name can be anybody's.
    """
    name = (server.address if server.port == _PORT else f"[{server.address}]:{server.port}").encode()
    with os.fdopen(os.memfd_create("known_hosts"), "wb") as ours, known_hosts.open("rb") as every:
        ours.writelines(line for line in every if name in line or b"|1|" in line)
        ours.flush()
        client.get_host_keys().load(f"/proc/self/fd/{ours.fileno()}")


def _plain(exc: Exception) -> str:
    """Give an error's words without signs that act on a terminal: they may be the other side's."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(exc)[:300])


def _read_all(receive: Callable[[int], bytes], channel: paramiko.Channel, deadline: float) -> bytes:
    """Read one stream to its end.

    stdout first, then stderr: paramiko's 2 MiB window holds what a command says on the other one.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        channel.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = receive(_CHUNK_BYTES)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_ANSWER_BYTES:
            raise paramiko.SSHException(f"it said more than {LARGEST_ANSWER_BYTES} bytes")


def await_ready(action: AwaitReady, ctx: Context) -> Outcome:
    """Wait until the host runs a command for the automation user."""
    started = time.monotonic()
    while True:
        try:
            done = ctx.remote(action.host).run(["sudo", "-n", "true"], timeout_s=CONNECT_TIMEOUT_S)
            if done.exit_code == 0:
                waited = time.monotonic() - started
                return Outcome(changed=False, summary=f"{action.host} answers after {waited:.1f} s")
            problem = done.stderr.strip()
        except AdapterError as exc:
            problem = str(exc)
        if time.monotonic() - started > ctx.timeout_s:
            raise AdapterError(
                f"{action.host} did not become ready in {ctx.timeout_s:g} s: {problem}", transient=True
            )
        time.sleep(0.1)


# Free bytes, used percent; then each address:port that takes no connection within 3 s.
_LOOK = r"""
df -B1 --output=avail,pcent "$1" | tail -n 1; shift
for target in "$@"; do
  timeout 3 bash -c 'exec 3<>"/dev/tcp/${1%:*}/${1##*:}"' try "$target" 2>/dev/null || echo "$target"
done
"""


def look_at_host(action: LookAtHost, ctx: Context) -> Outcome:
    """See the room on a host's disk and which addresses the host cannot reach."""
    argv = ["bash", "-c", _LOOK, "look", action.folder, *action.reach]
    done = ctx.remote(action.host).run(argv, timeout_s=ctx.timeout_s)
    lines = done.stdout.split("\n")
    try:
        free, used = lines[0].split()
        evidence = HostSeen(
            host=action.host,
            free_bytes=int(free),
            used_percent=int(used.rstrip("%")),
            not_reached=tuple(line for line in lines[1:] if line),
        )
    except ValueError as exc:
        raise AdapterError(f"df on {action.host}: {done.stderr.strip() or done.stdout.strip()}") from exc
    reached = len(action.reach) - len(evidence.not_reached)
    summary = f"{action.host} answers, disk {used} used, reaches {reached} of {len(action.reach)}"
    return Outcome(changed=False, summary=summary, evidence=evidence)
