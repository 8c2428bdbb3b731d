"""A throw-away copy of the lab's image, with a real sshd and sudo but no systemd, for what needs no lab.

An overlay in memory, in mount and PID namespaces of its own: whatever is done in it, nothing of this machine
changes, and the kernel's settings cannot be written. systemctl and systemd-run answer and do nothing.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from automation.adapters.nspawn import image
from automation.model.environment import state_root

ROOT = Path(__file__).resolve().parents[2]
# $1 the image, $2 an empty folder, $3 what the box brings with it
_BOX = """
set -eu
mount -t tmpfs -o mode=0755 tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
root=$2/root
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
cp -r "$3" "$root/brought"
chown -R 0:0 "$root/brought"
install -m 0755 "$root/brought/systemctl" "$root/usr/local/sbin/systemctl"
install -m 0755 "$root/brought/systemctl" "$root/usr/local/sbin/systemd-run"
chroot "$root" ssh-keygen -A >/dev/null
install -d -o 1000 -g 1000 -m 0700 "$root/home/ops/.ssh"
install -o 1000 -g 1000 -m 0600 "$root/brought/id.pub" "$root/home/ops/.ssh/authorized_keys"
exec chroot "$root" sh -c 'echo ready; exec sleep infinity'
"""
_SYSTEMCTL = """#!/bin/sh
case "$1" in is-active) echo active ;; show) echo Id=$3; echo ActiveState=inactive ;; esac
"""


class Box:
    """The copy while it is there."""

    def __init__(self, process: subprocess.Popen[bytes], inside: int, folder: Path) -> None:
        self.process, self.folder = process, folder
        self._inside = inside
        self.port = _free_port()

    def words(self, *words: str) -> list[str]:
        """Give a command line that runs in it."""
        return ["nsenter", "--target", str(self._inside), "--mount", "--pid", "--root", *words]

    def sh(self, script: str, stdin: str = "") -> str:
        """Run a script in it as root; give what it says."""
        words = self.words("sh", "-euc", script)
        done = subprocess.run(words, input=stdin, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def sshd(self) -> Iterator[None]:
        """Let it take logins as its configuration says, on a port of loopback."""
        options = [f"ListenAddress=127.0.0.1:{self.port}", "PidFile=/run/box-sshd.pid"]
        words = ["/usr/sbin/sshd", "-D", *(word for option in options for word in ("-o", option))]
        self.sh("mkdir -p /run/sshd")
        daemon = subprocess.Popen(self.words(*words), stderr=subprocess.PIPE)
        assert daemon.stderr is not None
        try:
            _await(self.port, daemon)
            yield
        finally:
            if daemon.poll() is None:
                self.sh("kill $(cat /run/box-sshd.pid)")  # the daemon is a child of the one that entered
            daemon.wait()
            daemon.stderr.close()

    def ssh(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Log in with the key and run a command."""
        options = ("BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={self.known_hosts()}")
        words = ["ssh", "-p", str(self.port), "-i", str(self.folder / "id"), "-F", "none"]
        words += [word for option in options for word in ("-o", option)]
        return subprocess.run(
            [*words, "ops@127.0.0.1", *command], capture_output=True, text=True, timeout=30, check=False
        )

    def known_hosts(self) -> Path:
        """Give a file with its host key."""
        path = self.folder / "known_hosts"
        if not path.exists():
            key = self.sh("cat /etc/ssh/ssh_host_ed25519_key.pub")
            path.write_text(f"[127.0.0.1]:{self.port} {' '.join(key.split()[:2])}\n")
        return path


@contextmanager
def open_box(folder: Path) -> Iterator[Box]:
    """Open one in an empty folder, with what our modules share in /brought; it is gone at the end."""
    images = state_root() / "images"
    image.build(images, "debian-12", print)
    brought, top = folder / "brought", folder / "top"
    shutil.copytree(
        ROOT / "playbooks/module_utils/baseline",
        brought / "ansible/module_utils/baseline",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (brought / "systemctl").write_text(_SYSTEMCTL)
    top.mkdir()
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "box", "-f", str(folder / "id")]
    subprocess.run(key, check=True)
    shutil.copy(folder / "id.pub", brought / "id.pub")
    unshared = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    words = ["bash", "-c", _BOX, "box", str(image.root_of(images, "debian-12")), str(top), str(brought)]
    process = subprocess.Popen([*unshared, *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Box(process, int(children[0]), folder)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def _await(port: int, daemon: subprocess.Popen[bytes]) -> None:
    while daemon.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            continue
        return
    assert daemon.stderr is not None
    raise AssertionError(daemon.stderr.read().decode())
