"""Containers: each an overlay on a golden image, a cgroup, and systemd-nspawn in it."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .bounds import Bounds, Controllers, move_in, put_in_force, remove_groups
from .records import Server
from .system import MNT_DETACH, LabError, mount, unmount

REBOOT_EXIT = 133  # systemd-nspawn under --keep-unit, when the guest asked for a reboot
DEATH_S = 10.0  # after SIGKILL of a whole cgroup; longer means a task stuck in the kernel
CONSOLE_BYTES = 1 << 20


class Disk:
    """A server's disk: `upper` holds what differs from the golden image."""

    def __init__(self, folder: Path, lab_id: str) -> None:
        self.folder = folder
        self.upper, self.work, self.root = folder / "upper", folder / "work", folder / "root"
        self.source = f"mainstay-{lab_id}-{folder.name}"

    def make(self) -> None:
        """Make an empty disk, in place of a half-made one."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in (self.folder, self.upper, self.work, self.root):
            path.mkdir(mode=0o755)

    def attach(self, image: str) -> None:
        """Mount the disk over its image."""
        if os.path.ismount(self.root):
            return
        if not Path(image, "usr").is_dir():
            raise LabError(f"golden image {image} of {self.folder.name} is missing", hint="build it again")
        mount_overlay(self.source, self.root, lower=image, upper=self.upper, work=self.work)

    def release(self) -> None:
        """Unmount the disk."""
        if os.path.ismount(self.root):
            unmount(str(self.root), MNT_DETACH)


class Machine:
    """One server's container; `stopped` is set while nothing of it runs."""

    def __init__(self, name: str, disk: Disk, cgroup: Path, controllers: Controllers) -> None:
        self.name, self.disk, self.cgroup, self.controllers = name, disk, cgroup, controllers
        self.bounds = Bounds()  # those that it boots and reboots with
        self.lock = threading.Lock()  # one power change at a time
        self.port = threading.Lock()  # one change of its port and fence at a time; never held while it dies
        self.stopped = threading.Event()
        self.stopped.set()
        self.boots = 0
        self._container: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()

    def boot(self, server: Server, plug_in: Callable[[], str], unplug: Callable[[], None]) -> None:
        """Start the container and return; a thread restarts it on reboot and clears up at its end.

        `plug_in` gives a fresh network namespace, `unplug` silences it before the last process dies.
        """
        self._ending.clear()
        self.bounds = server.bounds
        self.disk.attach(server.image)
        container = self._start(plug_in())
        self.stopped.clear()
        threading.Thread(target=self._watch, args=(container, plug_in, unplug), daemon=True).start()

    def hold_to(self, bounds: Bounds) -> None:
        """Hold a container that runs to other bounds from now on; 0: as it is. Nothing of it is restarted."""
        self.bounds = bounds.over(self.bounds)
        move_in(self.cgroup, put_in_force(self.controllers, self.name, bounds))

    def is_on(self) -> bool:
        """Read back from the kernel whether any process of the container lives."""
        return is_populated(self.cgroup)

    def cut_power(self) -> None:
        """Kill every process of the container at once; wait with `await_stop`."""
        self._ending.set()
        kill(self.cgroup)

    def shut_down(self, timeout_s: float) -> bool:
        """Ask the guest to shut down; False when it did not and its power was cut."""
        self._ending.set()
        if self._container is not None and self._container.poll() is None:
            self._container.send_signal(signal.SIGTERM)
        if self.stopped.wait(timeout_s):
            return True
        self.cut_power()
        self.await_stop()
        return False

    def await_stop(self) -> None:
        """Wait until nothing of the container is left.

        Raises:
            LabError: it did not die.
        """
        if not self.stopped.wait(DEATH_S):
            raise LabError(f"server {self.name} was killed and still has processes; its state is unknown")

    def _start(self, namespace: str) -> subprocess.Popen[bytes]:
        self.cgroup.mkdir(exist_ok=True)
        console = self.disk.folder / "console.log"
        mode = "ab" if console.exists() and console.stat().st_size < CONSOLE_BYTES else "wb"
        lab_id = self.disk.source.split("-")[1]
        command = container_command(self.name, lab_id, str(self.disk.root), namespace)
        for group in (*put_in_force(self.controllers, self.name, self.bounds), self.cgroup):
            command = in_cgroup(group, command)
        with console.open(mode) as output:
            self._container = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        # Until it has joined its cgroup, a power cut would miss it and a read-back would call it off.
        while not is_populated(self.cgroup) and self._container.poll() is None:
            time.sleep(0.001)
        self.boots += 1
        return self._container

    def _watch(
        self, container: subprocess.Popen[bytes], plug_in: Callable[[], str], unplug: Callable[[], None]
    ) -> None:
        try:
            while True:
                code = container.wait()
                self._clear(unplug)
                if code != REBOOT_EXIT or self._ending.is_set():
                    break
                container = self._start(plug_in())
                if self._ending.is_set():  # power was cut while the guest was between two lives
                    kill(self.cgroup)
            self.disk.release()
        finally:
            self.stopped.set()

    def _clear(self, unplug: Callable[[], None]) -> None:
        """End what outlives the container's own supervisor: its processes, port and cgroup."""
        try:
            unplug()
        finally:
            if self.cgroup.exists():
                kill(self.cgroup)
                await_empty(self.cgroup)
                remove_cgroup(self.cgroup)
            remove_groups(self.controllers, self.name)


def container_command(server: str, lab_id: str, root: str, namespace: str) -> list[str]:
    """Give the argument vector that boots a container.

    `--register=no --keep-unit` asks no systemd of the machine for anything; CAP_NET_ADMIN is dropped
    by `--network-namespace-path` otherwise, and nftables in the guest needs it.
    """
    return [
        "systemd-nspawn", "--quiet", "--settings=no", f"--directory={root}", "--boot",
        f"--machine={lab_id}-{server}", f"--hostname={server}", f"--network-namespace-path={namespace}",
        "--keep-unit", "--register=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
        "--console=pipe", "--capability=CAP_NET_ADMIN",
    ]  # fmt: skip


def in_cgroup(cgroup: Path, argv: Sequence[str]) -> list[str]:
    """Wrap a command so that it joins a cgroup before it begins, and all its children with it."""
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(cgroup), *argv]


def mount_overlay(source: str, root: Path, *, lower: str, upper: Path, work: Path) -> None:
    """Mount an overlay; `lower` may name several layers, uppermost first, joined by colons."""
    options = f"lowerdir={lower},upperdir={upper},workdir={work},index=off,metacopy=off"
    mount(source, str(root), "overlay", 0, options)


def kill(cgroup: Path) -> None:
    """Kill every process in a cgroup and below it, at once; none is no error."""
    try:
        (cgroup / "cgroup.kill").write_text("1")
    except OSError:
        if cgroup.exists():
            raise


def is_populated(cgroup: Path) -> bool:
    """Tell whether a cgroup, or one below it, has a living process."""
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def await_empty(cgroup: Path) -> None:
    """Wait until a killed cgroup has no process left."""
    deadline = time.monotonic() + DEATH_S
    while is_populated(cgroup):
        if time.monotonic() > deadline:
            raise LabError(f"cgroup {cgroup} still has processes {DEATH_S:.0f} s after they were killed")
        time.sleep(0.002)


def remove_cgroup(cgroup: Path) -> None:
    """Remove an empty cgroup and those below it, deepest first."""
    for folder, _, _ in os.walk(cgroup, topdown=False):
        os.rmdir(folder)
