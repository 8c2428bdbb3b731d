"""The lab's end of the WAN forwarder, a child program beside this folder."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .namespaces import path_of
from .system import LabError
from .topology import Topology

PROGRAM = Path(__file__).resolve().parent.parent / "wan.py"
RETRY_S = 1.0
Links = Mapping[str, Mapping[str, object]]


class Wan:
    """Starts the forwarder, starts it again if it dies, and tells it what the links are like."""

    def __init__(self, topology: Topology, links: Links, on_start: Callable[[], None]) -> None:
        self.topology = topology
        self._links = {name: dict(condition) for name, condition in links.items()}
        self._on_start = on_start
        self._lock = threading.RLock()
        self._forwarder = self._start()
        threading.Thread(target=self._keep_running, daemon=True).start()

    def change(self, links: Links) -> dict[str, dict[str, object]]:
        """Change directed links and give the conditions then in force, read back from the forwarder."""
        with self._lock:
            answer = self._ask(links)
            for name, condition in links.items():
                self._links.setdefault(name, {}).update(condition)
            return answer

    def in_force(self) -> dict[str, dict[str, object]]:
        """Read back the condition of every directed link."""
        return self.change({})

    def _start(self) -> subprocess.Popen[str]:
        sites = {
            site.name: {"namespace": path_of(site.namespace), "subnet": str(site.subnet)}
            for site in self.topology.sites.values()
        }
        options = ["--lab-id", self.topology.lab_id, "--sites", json.dumps(sites)]
        command = [sys.executable, "-B", str(PROGRAM), *options]
        self._forwarder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()
        self._ask(self._links)
        self._on_start()
        return self._forwarder

    def _keep_running(self) -> None:
        while True:
            self._forwarder.wait()
            try:
                with self._lock:
                    self._start()
            except (LabError, OSError) as exc:
                print(f"labd: the WAN forwarder does not start: {exc}", file=sys.stderr, flush=True)
                time.sleep(RETRY_S)

    def _ask(self, links: Links) -> dict[str, dict[str, object]]:
        assert self._forwarder.stdin is not None
        try:
            self._forwarder.stdin.write(json.dumps(links) + "\n")
            self._forwarder.stdin.flush()
        except OSError as exc:
            raise LabError("the WAN forwarder has died; it is being started again", hint="try again") from exc
        return self._read()

    def _read(self) -> dict[str, dict[str, object]]:
        assert self._forwarder.stdout is not None
        line = self._forwarder.stdout.readline()
        if not line:
            raise LabError("the WAN forwarder has died; labd.log says why")
        answer = json.loads(line)
        if "error" in answer:
            raise LabError(f"WAN: {answer['error']}")
        table: dict[str, dict[str, object]] = answer["links"]
        return table
