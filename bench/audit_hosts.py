"""Hosts to be audited, on one machine: sshds over a copy of the lab's image that is gone when they end.

Each sshd has a port and a host key of its own. They share one file system, an overlay in memory over the
image with this machine's lists of packages, and a PID namespace: whatever is done to them, nothing of this
machine changes. No systemd runs there.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TICKS_S = 100.0  # of /proc/PID/stat
# $1 the image, $2 an empty folder, $3 what the hosts bring with them, $4... one configuration a host
_HOSTS = """
set -eu
image=$1 top=$2 brought=$3; shift 3
mount -t tmpfs -o mode=0755 tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay -o "lowerdir=$image,upperdir=$top/upper,workdir=$top/work" "$top/root"
root=$top/root
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/sshd"
cp -r "$brought" "$root/bench"
chown -R 0:0 "$root/bench"
for part in /etc/apt/sources.list /etc/apt/sources.list.d /var/lib/apt/lists; do
  [ ! -e "$part" ] || cp -rT "$part" "$root$part"
done
cp "$root/bench/host-1" "$root/etc/ssh/ssh_host_ed25519_key"
cp "$root/bench/host-1.pub" "$root/etc/ssh/ssh_host_ed25519_key.pub"
chroot "$root" apt-cache gencaches >/dev/null 2>&1 || true
for number in $(seq "$1"); do
  chroot "$root" /usr/sbin/sshd -D -q -f "/bench/sshd-$number" &
done
wait
"""


class Hosts(NamedTuple):
    """Hosts that answer: their ports in order, and whose processes they are."""

    ports: tuple[int, ...]
    key: Path
    known_hosts: Path
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """Give the CPU seconds of all their processes so far, of those that ended, too."""
        return sum(_cpu_s(pid) for pid in _tree(self.process.pid))

    def root(self) -> Path:
        """Give the file system that they share, as it is seen from outside."""
        _, shell, *_ = _tree(self.process.pid)
        return Path(f"/proc/{shell}/root{self.key.parent}/top/root")

    def names(self) -> tuple[str, ...]:
        """Name them."""
        return tuple(f"host-{number:02}" for number in range(1, len(self.ports) + 1))


@contextmanager
def hosts(image: Path, folder: Path, count: int) -> Iterator[Hosts]:
    """Start so many hosts, and end them.

    Args:
        folder: empty, and left with their keys alone.
    """
    brought, top = folder / "brought", folder / "top"
    brought.mkdir(mode=0o700)
    top.mkdir()
    _make_key(folder / "id")
    shutil.copy(folder / "id.pub", brought / "authorized_keys")
    ports = _free_ports(count)
    with (folder / "known_hosts").open("w") as known:
        for number, port in enumerate(ports, 1):
            _make_key(brought / f"host-{number}")
            public = " ".join((brought / f"host-{number}.pub").read_text().split()[:2])
            known.write(f"[127.0.0.1]:{port} {public}\n")
            (brought / f"sshd-{number}").write_text(_config(number, port))
    words = [str(image), str(top), str(brought), str(count)]
    unshared = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    process = subprocess.Popen([*unshared, "bash", "-c", _HOSTS, "hosts", *words])
    try:
        _await(ports, process)
        yield Hosts(ports, folder / "id", folder / "known_hosts", process)
    finally:
        process.kill()  # and with it, by --kill-child, all in its PID namespace
        process.wait()


def _config(number: int, port: int) -> str:
    lines = (
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey /bench/host-{number}",
        "AuthorizedKeysFile /bench/authorized_keys",
        "StrictModes no",
        "PermitRootLogin prohibit-password",
        "UsePAM no",
        "PidFile none",
    )
    return "".join(f"{line}\n" for line in lines)


def _make_key(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(path)], check=True
    )


def _free_ports(count: int) -> tuple[int, ...]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = tuple(one.getsockname()[1] for one in held)
    for one in held:
        one.close()
    return ports


def _await(ports: tuple[int, ...], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("the hosts did not start") from None
                time.sleep(0.1)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS_S
