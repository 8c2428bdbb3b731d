"""SSH host keys: made by us before a server's first boot, and pinned in `known_hosts`."""

import fcntl
import hashlib
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from automation.model.errors import AdapterError


class HostKey(NamedTuple):
    """A private key as OpenSSH keeps it, and its public half: type, blank, base64."""

    private: str
    public: str


def make(server: str) -> HostKey:
    """Make an ed25519 host key."""
    with tempfile.TemporaryDirectory(prefix="mainstay-hostkey-") as folder:
        path = Path(folder, "key")
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", server, "-f", str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise AdapterError(f"ssh-keygen for {server}: {done.stderr.strip()}; no key was made")
        return HostKey(path.read_text(), path.with_suffix(".pub").read_text().strip())


def pin(known_hosts: Path, server: str, address: str, key: HostKey) -> None:
    """Make the key the only one that is accepted from a server's name and address."""
    kind, base64 = key.public.split()[:2]
    with known_hosts.with_name(".known_hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # servers are created side by side
        lines = without(_read(known_hosts), {server, address})
        _write(known_hosts, [*lines, f"{server},{address} {kind} {base64}"])


def forget(known_hosts: Path, server: str, address: str = "") -> None:
    """Accept a server no more: it is gone; without an address whoever has that now is still accepted."""
    with known_hosts.with_name(".known_hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _write(known_hosts, without(_read(known_hosts), {server, address} - {""}))


def listed(known_hosts: Path) -> dict[str, str]:
    """Give every host that is accepted, with the sha256 of its line."""
    lines = _read(known_hosts)
    return {line.split(" ", 1)[0]: hashlib.sha256(line.encode()).hexdigest()[:16] for line in lines}


def forget_all(known_hosts: Path) -> None:
    """Accept no host any more: the servers of the environment are gone."""
    known_hosts.unlink(missing_ok=True)
    known_hosts.with_name(".known_hosts.lock").unlink(missing_ok=True)


def without(lines: Iterable[str], names: set[str]) -> list[str]:
    """Drop the lines of known_hosts that speak of any of the names."""
    return [line for line in lines if not names & set(line.split(" ", 1)[0].split(","))]


def _read(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _write(path: Path, lines: list[str]) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text("".join(f"{line}\n" for line in lines))
    draft.chmod(0o600)
    draft.replace(path)
