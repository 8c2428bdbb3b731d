"""This machine as a host: in a mount namespace of its own, commands of adapters run for real, as root."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from automation.model.environment import Environment, Inventory, Server
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.records import Completed, UnitState

# $1 the folder that stands for the machine's own. What is mounted here is seen here alone.
_ENTER = """
set -eu
for name in etc var/cache; do
  mkdir -p "$1/upper/$name" "$1/work/$name"
  mount -t overlay overlay -o "lowerdir=/$name,upperdir=$1/upper/$name,workdir=$1/work/$name" "/$name"
done
mkdir -p "$1/state" /var/lib/mainstay
mount --bind "$1/state" /var/lib/mainstay
mkdir -p /etc/mainstay/stores
echo ready
exec sleep infinity
"""


class Here:
    """A host whose folders of ours are private; `Remote` for adapters."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid, self.folder = pid, folder
        self.environ: dict[str, str] = {}

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        return _completed(self.start(argv, stdin), timeout_s)

    def start(self, argv: Sequence[str], stdin: str | None = None) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, as a unit of systemd would be: without HOME."""
        words = argv[2:] if argv[:2] == ["sudo", "-n"] else argv
        path = self.environ.get("PATH", os.environ["PATH"])
        environ = {"LANG": "C.UTF-8", "TMPDIR": str(self.folder), **self.environ, "PATH": path}
        process = subprocess.Popen(
            ["nsenter", "-t", str(self._pid), "-m", "--", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            start_new_session=True,
        )
        process.input = (stdin or "").encode()  # type: ignore[attr-defined]
        return process

    def sh(self, script: str, *words: str) -> str:
        """Run a script that must succeed; give what it printed."""
        done = self.run(["sh", "-euc", script, "sh", *words], timeout_s=120.0)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        raise AdapterError(f"nobody puts {path}")

    def get(self, path: str) -> bytes:
        raise AdapterError(f"nobody gets {path}")


def _completed(process: subprocess.Popen[bytes], timeout_s: float) -> Completed:
    out, err = process.communicate(process.input, timeout=timeout_s)  # type: ignore[attr-defined]
    return Completed(
        exit_code=process.returncode, stdout=out.decode(errors="replace"), stderr=err.decode(errors="replace")
    )


class OneStep:
    """The context of one step on such hosts; what its unit said is told again to whoever joins it."""

    timeout_s = 300.0
    run_id = "20261122-0730"

    def __init__(self, hosts: Mapping[str, Here], artifacts: Path, step_id: str) -> None:
        self._hosts, self.artifacts, self.step_id = hosts, artifacts, step_id
        self.state = self.images = artifacts
        self.said: list[str] = []
        self.unit: subprocess.Popen[bytes] | None = None
        self._ended: Completed | None = None

    @property
    def environment(self) -> Environment:
        return Environment.model_construct(name="here", kind="lab")

    @property
    def inventory(self) -> Inventory:
        servers = {name: Server(name=name, address="127.0.0.1") for name in self._hosts}
        return Inventory(servers=servers)

    def remote(self, host: str) -> Here:
        return self._hosts[host]

    def fresh(self, host: str) -> AbstractContextManager[Here]:
        return nullcontext(self._hosts[host])

    def console(self, host: str) -> Here:
        raise AdapterError(f"{host} has no console")

    def secret(self, ref: object) -> str:
        raise AdapterError(f"nobody asks for {ref}")

    def say(self, text: str) -> None:
        self.said.append(text)

    def unit_state(self, host: str, *, console: bool = False) -> UnitState:
        if self._ended is not None:
            return "lost" if self._ended.exit_code < 0 else "ended"
        return "absent" if self.unit is None else "running"

    def run_unit(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout_s: float | None = None,
        console: bool = False,
    ) -> Completed:
        if self.unit is None:
            self.unit = self.remote(host).start(argv, stdin)
        if self._ended is None:
            self._ended = _completed(self.unit, timeout_s or self.timeout_s)
        if self._ended.exit_code < 0:
            raise OutcomeUnknown("its unit began and left no result; state unknown")
        return self._ended

    def cut_power(self) -> None:
        """End all that the unit began, without a word: first who would tell the result."""
        assert self.unit is not None
        for process in (self.unit.pid, *_session(self.unit.pid)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """Give every process of a session; whoever begins another group stays in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found.append(int(folder.name))
    return found


@contextmanager
def this_machine(folder: Path) -> Iterator[Here]:
    """Give this machine as a host, with /etc/mainstay, /var/lib/mainstay and caches below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    entered = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "enter", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert entered.stdout is not None
        assert entered.stdout.readline().strip() == "ready"
        yield Here(entered.pid, folder)
    finally:
        entered.kill()
        entered.wait()


def restic_in_path(program: str, folder: Path) -> str:
    """Give a PATH in which `restic` is this program."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "restic"
    if not link.exists():
        link.symlink_to(shutil.which(program) or program)
    return f"{folder}:{os.environ['PATH']}"
