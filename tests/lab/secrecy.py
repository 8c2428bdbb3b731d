"""Looking for the secrets of labs where they must not stand: files, logs, process lists, environments.

`SuiteWatch` looks on during a whole session of tests. It finds the labs by itself, by the keys that every
state folder holds, so that no test can forget to name its own.
"""

import base64
import os
import subprocess
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Event, Lock, Thread

# Where secrets are at home: the files made for them, and the disks of the hosts that use them.
# A lab that is being removed is renamed first.
AT_HOME = ("secrets/", "ssh/", "lab/hosts/", "lab/saved/", ".lab-")
# What a host writes down of what it does, on its disk; its own journal is in its memory.
LOGS = "upper/var/log"
TICK_S = 0.1
# A process that was just made still shows its parent's words; it is looked at again so many times.
YOUNG = 5
EVERYTHING_AGAIN_S = 10.0
LOOK_EVERY_S = 20.0
DEEP = 5


class Secrets:
    """The real values of a state folder, in each spelling that a program may give them."""

    def __init__(self, state: Path) -> None:
        self.values: dict[str, str] = {}
        self.spellings: dict[bytes, str] = {}
        for path in _files(state / "secrets"):
            self.add(f"secrets/{path.name}", path.read_text().strip())
        for key in (path for path in _files(state / "ssh") if path.suffix != ".pub"):
            body = [line for line in key.read_text().splitlines() if not line.startswith("-----")]
            for number, line in enumerate(body[1:-1], start=2):
                self.add(f"ssh/{key.name}, line {number}", line)

    def add(self, name: str, value: str) -> None:
        self.values[name] = value
        spelled = (
            value,
            urllib.parse.quote(value, safe=""),
            base64.b64encode(value.encode()).decode().rstrip("="),
            value.replace("/", "\\/"),
        )
        self.spellings |= {spelling.encode(): name for spelling in spelled if spelling}

    def within(self, content: bytes) -> set[str]:
        return {name for spelling, name in self.spellings.items() if spelling in content}


def find_states(roots: Iterable[Path]) -> Iterator[Path]:
    """Give every state folder under some folders: one that holds key pairs or secrets of a lab."""
    for root in roots:
        for folder, inner, _ in os.walk(root):
            path = Path(folder)
            if _files(path / "secrets") or any(key.suffix == ".pub" for key in _files(path / "ssh")):
                yield path
                inner.clear()
            elif len(path.relative_to(root).parts) >= DEEP:
                inner.clear()


def list_files(state: Path) -> Iterator[Path]:
    """Give every file of a state folder that no secret may stand in, its hosts' logs among them.

    A host may be removed meanwhile: a folder that is gone ends nothing here.
    """
    for folder, inner, names in os.walk(state):
        for name in [*inner, *names]:
            path = Path(folder, name)
            at_home = f"{path.relative_to(state).as_posix()}/".startswith(AT_HOME)
            if name in inner and at_home:
                inner.remove(name)
            elif name in names and not at_home and path.is_file() and not path.is_symlink():
                yield path
    for host in _folders(state / "lab/hosts"):
        yield from (path for path in _walk(host / LOGS) if path.is_file() and not path.is_symlink())
        yield from (path for path in (host / "console.log",) if path.is_file())


def search(state: Path, secrets: Secrets) -> dict[str, set[str]]:
    """Every file of a state folder in which a secret stands, except where it is at home."""
    found = {
        path.relative_to(state).as_posix(): secrets.within(path.read_bytes()) for path in list_files(state)
    }
    return {name: names for name, names in found.items() if names}


def read_journals(state: Path) -> dict[str, bytes]:
    """Give what systemd and all programs on each host of a lab that runs have logged since it was booted."""
    said = {}
    for pid, words in _processes():
        mark = f"--directory={state}/lab/hosts/".encode()
        if words and words[0].endswith(b"systemd-nspawn") and any(word.startswith(mark) for word in words):
            host = next(word for word in words if word.startswith(mark)).split(b"/")[-2].decode()
            said[host] = b"".join(_journal(child) for child in _children(pid))
    return said


def _journal(pid: str) -> bytes:
    said = b""
    for folder in (f"/proc/{pid}/root/{where}/log/journal" for where in ("run", "var")):
        if any(
            path.suffix == ".journal" for path in _walk(Path(folder))
        ):  # it is in one of them, and moved by a baseline
            argv = ["journalctl", "--no-pager", "-a", "-o", "cat", "-D", folder]
            said += subprocess.run(argv, capture_output=True, check=False).stdout
    return said


class ProcessWatch:
    """Keeps what process lists showed: all words of every process, in containers too, and the environments.

    The environments are those of this machine's own processes: in a container, a service that is given its
    password by systemd has it there.
    """

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._over = Event()
        self._thread = Thread(target=self._carry, daemon=True)
        self._young: dict[str, int] = {}
        self._ours = _namespace("self")
        self.samples = 0
        self.words: set[bytes] = set()
        self.environments: set[bytes] = set()

    def __enter__(self) -> "ProcessWatch":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def programs(self) -> set[str]:
        return {Path(words.split(b"\0")[0].decode(errors="replace")).name for words in set(self.words)}

    def found(self, secrets: Secrets) -> dict[str, set[str]]:
        """Every process in whose words or environment a secret stood; the environment is not told."""
        found: dict[str, set[str]] = {}
        for words in set(self.words):
            if names := secrets.within(words):
                found.setdefault(words.replace(b"\0", b" ").decode(errors="replace")[:60], set()).update(
                    names
                )
        for entry in set(self.environments):
            if names := secrets.within(entry):
                variable = entry.split(b"=")[0].decode(errors="replace")
                found.setdefault(f"environment: {variable}", set()).update(names)
        return found

    def _carry(self) -> None:
        again = int(EVERYTHING_AGAIN_S / self._tick_s)
        while not self._over.wait(self._tick_s):
            self._look(everything=self.samples % again == 0)
            self.samples += 1

    def _look(self, *, everything: bool) -> None:
        self._young = {pid: self._young.get(pid, YOUNG) for pid in _list_pids()}
        for pid, left in self._young.items():
            if everything or left:
                self._young[pid] = max(0, left - 1)
                self._read(pid)

    def _read(self, pid: str) -> None:
        with suppress(OSError):  # it ended meanwhile
            self.words.add(Path(f"/proc/{pid}/cmdline").read_bytes())
            if _namespace(pid) == self._ours:
                self.environments.update(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))


class SuiteWatch:
    """Looks on while tests make labs, and says at the end where a secret of theirs was seen.

    A host that is booted again forgets its journal, so all is looked at every few seconds, too.

    Args:
        roots: the folders under which labs keep their state.
    """

    def __init__(self, roots: Callable[[], Iterable[Path]]) -> None:
        self._roots = roots
        self._seen: dict[Path, tuple[int, int]] = {}
        self._lock, self._over = Lock(), Event()
        self._thread = Thread(target=self._carry, daemon=True)
        self.processes = ProcessWatch()
        self.labs: dict[Path, Secrets] = {}
        self.booted: set[Path] = set()
        self.in_files: dict[str, set[str]] = {}
        self.in_journals: dict[str, set[str]] = {}
        self.files = self.journal_lines = 0

    def __enter__(self) -> "SuiteWatch":
        self.processes.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        self.processes.__exit__()

    def _carry(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.look()

    def look(self) -> None:
        """Search what is new in every lab's files, and what its hosts have logged, before they are gone."""
        with self._lock:
            for state in find_states(self._roots()):
                secrets = self.labs[state] = self._learn(state)
                for path in list_files(state):
                    self._search(path, f"{state.name}/{path.relative_to(state)}", secrets)
                for host, said in read_journals(state).items():
                    self.booted.add(state)
                    self.journal_lines += said.count(b"\n")
                    if names := secrets.within(said):
                        self.in_journals.setdefault(f"{state.name}/{host}", set()).update(names)

    def in_processes(self) -> dict[str, set[str]]:
        """Every process that was seen with a secret of any lab."""
        every = Secrets(Path("/nonexistent"))
        for state, secrets in self.labs.items():
            every.spellings |= {
                spelling: f"{state.name}/{name}" for spelling, name in secrets.spellings.items()
            }
        return self.processes.found(every)

    def _learn(self, state: Path) -> Secrets:
        """A secret that was replaced meanwhile is one still."""
        now, before = Secrets(state), self.labs.get(state)
        if before is not None:
            now.spellings = {**before.spellings, **now.spellings}
        return now

    def _search(self, path: Path, name: str, secrets: Secrets) -> None:
        with suppress(OSError):  # a lab, or a run's folder, that is being removed
            about = path.stat()
            if self._seen.get(path) == (about.st_mtime_ns, about.st_size):
                return
            self.files += 1
            if names := secrets.within(path.read_bytes()):
                self.in_files.setdefault(name, set()).update(names)
            self._seen[path] = (about.st_mtime_ns, about.st_size)


def _walk(folder: Path) -> Iterator[Path]:
    """Give every name below a folder that is no folder; nothing where it is not, or is gone meanwhile."""
    return (Path(where, name) for where, _, names in os.walk(folder) for name in names)


def _folders(folder: Path) -> list[Path]:
    return [folder / name for _, names, _ in islice(os.walk(folder), 1) for name in names]


def _files(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return []


def _processes() -> Iterator[tuple[str, list[bytes]]]:
    for pid in _list_pids():
        with suppress(OSError):
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def _list_pids() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]


def _children(pid: str) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def _namespace(pid: str) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())
