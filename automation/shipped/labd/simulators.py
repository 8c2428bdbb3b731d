"""Simulators: programs that stand for what a lab has no room for, each alone in a network of its own.

A simulator stands in its site's subnet, or on the management network, where it answers for one or more sites,
each by an address of its own.
"""

import shutil
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .machines import await_empty, in_cgroup, is_populated, kill, remove_cgroup
from .network import Network
from .records import EventLog
from .system import LabError, in_namespace
from .topology import Topology, mac_of

ENDING_S = 30.0  # in which a simulator writes down what it holds


@dataclass(frozen=True)
class Powered:
    """The host that a simulated machine powers: what it is made of, and what is on its disk at first."""

    host: str
    site: str
    address: str
    image: str
    disk_of: str = ""
    replicated: bool = False
    network: str = ""
    files: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True)
class Program:
    """What a simulator runs, where it answers, and the folders that are all it keeps."""

    argv: Sequence[str]
    folder: Path
    places: Mapping[str, str]  # site to address
    management: bool = False  # it stands on the management network
    shared: Sequence[str] = ()  # folders beside its own, which others may use too
    powers: Mapping[str, Powered] | None = None


class Simulator:
    """One program that runs, or has ended."""

    def __init__(self, name: str, program: Program, cgroup: Path) -> None:
        self.name, self.program, self.cgroup = name, program, cgroup
        self.lock = threading.Lock()  # one start or end at a time
        self.answers: tuple[str, ...] = ()  # sites for which it has its address
        self.without_power = False  # it was ended because every site of its has none
        self.is_kept = False  # it was ended on purpose: what it keeps is whole
        self._process: subprocess.Popen[bytes] | None = None

    def is_on(self) -> bool:
        """Whether the program lives: a child of ours from its first moment, or whatever its cgroup holds."""
        begun = self._process is not None and self._process.poll() is None
        return begun or is_populated(self.cgroup)

    def start(self, namespace: str) -> None:
        """Begin the program inside a network namespace; what it says goes to its log."""
        self.cgroup.mkdir(exist_ok=True)
        command = in_cgroup(self.cgroup, self.program.argv)
        with (self.program.folder / "simulator.log").open("ab") as log:

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
        # By host: one change of its power by its machine at a time.
        self.powering: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def start(
        self,
        simulator: str,
        argv: Sequence[str],
        folder: str,
        places: Mapping[str, str],
        *,
        management: bool = False,
        shared: Sequence[str] = (),
        powers: Mapping[str, Mapping[str, object]] | None = None,
        lost: Collection[str] = (),
    ) -> dict[str, object]:
        """Run a simulator under its addresses, unless it runs; `lost`: sites whose management is silent."""
        for site, address in places.items():
            self.topology.site(site)
            self.topology.check_server(simulator, self.topology.control_site if management else site, address)
        hosts = {name: Powered(**one) for name, one in (powers or {}).items()}  # type: ignore[arg-type]
        program = Program(argv, Path(folder), dict(places), management, tuple(shared), hosts)
        fresh = Simulator(simulator, program, self.cgroup / f"simulator-{simulator}")
        known = self._known.setdefault(simulator, fresh)
        with known.lock:
            if not known.is_on():
                self._known[simulator] = fresh
                self._begin(fresh, lost)
                self.events.write("simulator_started", simulator=simulator)
        return self.states()[simulator]

    def states(self) -> dict[str, dict[str, object]]:
        """Every simulator that was ever started, as the kernel shows it."""
        return {
            name: {
                "simulator": name,
                "places": one.program.places,
                "answers_for": one.answers if one.is_on() else (),
                "power": "on" if one.is_on() else "off",
            }
            for name, one in sorted(self._known.items())
        }

    def powered(self, simulator: str, machine: str) -> Powered:
        """Give the host that a simulator's machine powers.

        Raises:
            LabError: there is none.
        """
        known = self._known.get(simulator)
        hosts = (known.program.powers if known else None) or {}
        if machine not in hosts:
            raise LabError(f"simulator {simulator}: {machine} powers no host; nothing was changed")
        return hosts[machine]

    def refuse_name(self, server: str, address: str) -> None:
        """Refuse a server that has the name or the address of a simulator.

        Raises:
            LabError: it has.
        """
        for one in self._known.values():
            if server == one.name or address in one.program.places.values():
                raise LabError(f"simulator {one.name} has that name or {address}; nothing was changed")

    def settle(self, failed: Collection[str], dark: Collection[str]) -> None:
        """Let management answer for the sites that have power and are not dark, and for no other.

        One that has no site with power left ends, in good order: what real management has on its disk, it
        has only then. It runs again when power returns.
        """
        for one in self._known.values():
            with one.lock:
                if one.program.management:
                    self._settle(one, failed, dark)

    def _settle(self, one: Simulator, failed: Collection[str], dark: Collection[str]) -> None:
        if one.is_on():
            self._answer(one, {*failed, *dark})
            if set(failed).issuperset(one.program.places):
                one.end()
                one.without_power = one.is_kept = True
        elif one.without_power and not set(failed).issuperset(one.program.places):
            one.without_power = False
            self._begin(one, {*failed, *dark})

    def save(self, folder: Path, lost: Collection[str] = ()) -> None:
        """End every simulator in good order, copy what each keeps, and run them again."""
        running = self._running()
        for one in running.values():
            with one.lock:
                one.end()
                one.is_kept = True
        for source, kept in self._folders(folder).items():
            shutil.copytree(source, kept, dirs_exist_ok=True)
        self._begin_all(running, lost)

    def restore(self, folder: Path, lost: Collection[str] = ()) -> None:
        """Cut every simulator, put back what it kept then, and run them again."""
        running = self._running()
        for one in running.values():
            with one.lock:
                one.cut()
                one.is_kept = True
        for source, kept in self._folders(folder).items():
            if kept.is_dir():
                shutil.rmtree(source)
                shutil.copytree(kept, source)
        self._begin_all(running, lost)

    def _folders(self, folder: Path) -> dict[Path, Path]:
        """Give every folder that simulators keep, with that of its copy; a shared one once.

        One whose site has no power keeps its own as well; one that died by itself is left as it is.
        """
        kept = {name: one for name, one in self._known.items() if one.is_kept}
        found = {one.program.folder: folder / name for name, one in kept.items()}
        shared = {Path(path) for one in kept.values() for path in one.program.shared}
        return found | {path: folder / f".shared-{path.name}" for path in shared}

    def _begin_all(self, running: Mapping[str, Simulator], lost: Collection[str]) -> None:
        for one in running.values():
            with one.lock:
                self._begin(one, lost)

    def _running(self) -> Mapping[str, Simulator]:
        return {name: one for name, one in self._known.items() if one.is_on()}

    def _begin(self, one: Simulator, lost: Collection[str]) -> None:
        places = one.program.places
        if one.program.management:
            namespace = self.network.attach_management(one.name, mac_of(next(iter(places.values()))))
            one.answers = ()
            self._answer(one, lost)
        else:
            (site, address), *_ = places.items()
            namespace = self.network.attach(one.name, self.topology.site(site), address, fenced=False)
            one.answers = (site,)
        one.start(namespace)

    def _answer(self, one: Simulator, lost: Collection[str]) -> None:
        """Let a program of the management network have the addresses of all its sites but the lost ones."""
        answers = tuple(site for site in one.program.places if site not in lost)
        if answers != one.answers:
            self.network.set_addresses(one.name, [one.program.places[site] for site in answers])
            one.answers = answers
            self.events.write("management_answers", simulator=one.name, sites=answers)
