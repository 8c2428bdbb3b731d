"""Simulators: programs that stand for what a lab has no room for, each alone in a network of its own."""

import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from .machines import await_empty, in_cgroup, is_populated, kill, remove_cgroup
from .network import Network
from .records import EventLog
from .system import LabError, in_namespace
from .topology import Topology

ENDING_S = 30.0  # in which a simulator writes down what it holds


class Simulator:
    """One program, where it stands, and the folder that is all it keeps."""

    def __init__(self, name: str, site: str, address: str, argv: Sequence[str], folder: Path, cgroup: Path):
        self.name, self.site, self.address = name, site, address
        self.argv, self.folder, self.cgroup = tuple(argv), folder, cgroup
        self.lock = threading.Lock()  # one start or end at a time
        self._process: subprocess.Popen[bytes] | None = None

    def is_on(self) -> bool:
        """Whether the program lives: a child of ours from its first moment, or whatever its cgroup holds."""
        begun = self._process is not None and self._process.poll() is None
        return begun or is_populated(self.cgroup)

    def start(self, namespace: str) -> None:
        """Begin the program inside a network namespace; what it says goes to its log."""
        self.cgroup.mkdir(exist_ok=True)
        command = in_cgroup(self.cgroup, self.argv)
        with (self.folder / "simulator.log").open("ab") as log:

            def begin() -> subprocess.Popen[bytes]:
                return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

            self._process = in_namespace(namespace, begin)

    def end(self) -> None:
        """Let the program write down what it holds, then see that nothing of it is left."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._finish(ENDING_S)

    def cut(self) -> None:
        """Kill the program as it is."""
        self._finish(0.0)

    def _finish(self, patience_s: float) -> None:
        if self._process is not None:
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                kill(self.cgroup)
                self._process.wait()
            self._process = None
        if self.cgroup.exists():
            kill(self.cgroup)
            await_empty(self.cgroup)
            remove_cgroup(self.cgroup)


class Simulators:
    """All simulators of a lab. One that died stays away, and is shown so, until it is started again."""

    def __init__(self, topology: Topology, network: Network, events: EventLog, cgroup: Path) -> None:
        self.topology, self.network, self.events, self.cgroup = topology, network, events, cgroup
        self._known: dict[str, Simulator] = {}

    def start(
        self, simulator: str, site: str, address: str, argv: Sequence[str], folder: str
    ) -> dict[str, object]:
        """Run a simulator at a site under an address of its own, unless it runs."""
        self.topology.check_server(simulator, site, address)
        fresh = Simulator(
            simulator, site, address, argv, Path(folder), self.cgroup / f"simulator-{simulator}"
        )
        known = self._known.setdefault(simulator, fresh)
        with known.lock:
            if not known.is_on():
                self._known[simulator] = fresh
                self._begin(fresh)
                self.events.write("simulator_started", simulator=simulator)
        return self.states()[simulator]

    def states(self) -> dict[str, dict[str, object]]:
        """Every simulator that was ever started, as the kernel shows it."""
        return {
            name: {
                "simulator": name,
                "site": one.site,
                "address": one.address,
                "power": "on" if one.is_on() else "off",
            }
            for name, one in sorted(self._known.items())
        }

    def refuse_name(self, server: str, address: str) -> None:
        """Refuse a server that has the name or the address of a simulator.

        Raises:
            LabError: it has.
        """
        for one in self._known.values():
            if server == one.name or address == one.address:
                raise LabError(f"simulator {one.name} has that name or {address}; nothing was changed")

    def save(self, folder: Path) -> None:
        """End every simulator in good order, copy what each keeps, and run them again."""
        for name, one in self._running().items():
            with one.lock:
                one.end()
                shutil.copytree(one.folder, folder / name, dirs_exist_ok=True)
                self._begin(one)

    def restore(self, folder: Path) -> None:
        """Cut every simulator, put back what it kept then, and run them again."""
        for name, one in self._running().items():
            with one.lock:
                one.cut()
                if (folder / name).is_dir():
                    shutil.rmtree(one.folder)
                    shutil.copytree(folder / name, one.folder)
                self._begin(one)

    def _running(self) -> Mapping[str, Simulator]:
        return {name: one for name, one in self._known.items() if one.is_on()}

    def _begin(self, one: Simulator) -> None:
        site = self.topology.site(one.site)
        one.start(self.network.attach(one.name, site, one.address, fenced=False))
