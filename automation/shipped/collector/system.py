"""Reading files and running programs, with bounds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

TYPE_CHECKING = False  # typing's own would cost an import of typing
LARGEST_BYTES = 4 * 2**20
PATIENCE_S = 15.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

UNITS = (
    *("/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/run/systemd/generator.late"),
    *("/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"),
)


class NotKnown(Exception):
    """That a section cannot be collected here, and why."""


def read(path: str) -> str:
    """Give a file as text; one that is not there or too large is not known."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as exc:
        raise NotKnown(f"{path}: {exc.strerror}") from exc
    if len(content) > LARGEST_BYTES:
        raise NotKnown(f"{path}: larger than {LARGEST_BYTES} bytes")
    return content.decode("utf-8", "replace")


def read_if_there(path: str) -> str | None:
    """Give a file as text, or nothing where there is none."""
    return read(path) if os.path.exists(path) else None


def lines(text: str, comment: str = "#") -> Iterator[str]:
    """Give the lines that say something, without what a comment adds."""
    for line in text.splitlines():
        said = line.split(comment, 1)[0].strip()
        if said:
            yield said


def run(argv: list[str], *, codes: tuple[int, ...] = (0,), patience_s: float = PATIENCE_S) -> str:
    """Run a program and give what it printed; another exit code than those expected is not known."""
    done = attempt(argv, patience_s=patience_s)
    if done.returncode not in codes:
        words = done.stderr.strip().splitlines() or [""]
        raise NotKnown(f"{argv[0]}: exit code {done.returncode}: {words[-1][:200]}")
    return done.stdout


def attempt(argv: list[str], *, patience_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Run a program, whatever its exit code; one that is not here or does not end is not known.

    It writes to a file in memory: apt flushes every line, and a pipe would wake us for each.
    """
    try:
        with open(os.memfd_create(argv[0]), encoding="utf-8", errors="replace") as said:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=patience_s,
                check=False,
                env=ENVIRONMENT,
            )
            said.seek(0)
            done.stdout = said.read()
            return done
    except FileNotFoundError as exc:
        raise NotKnown(f"{argv[0]} is not here") from exc
    except subprocess.TimeoutExpired as exc:
        raise NotKnown(f"{argv[0]} did not end in {patience_s:.0f} s") from exc


def is_here(program: str) -> bool:
    """Whether a program is installed."""
    return any(os.access(os.path.join(folder, program), os.X_OK) for folder in ENVIRONMENT["PATH"].split(":"))


def systemd_runs() -> bool:
    """Whether systemd runs this machine, as its own programs see it; else none of them can say anything."""
    return os.path.isdir("/run/systemd/system")


def has_unit(name: str) -> bool:
    """Whether systemd has a unit of that name: of one that there is not, nothing need be asked."""
    return any(os.path.lexists(os.path.join(folder, name)) for folder in UNITS)


def pairs(text: str, separator: str = " ") -> dict[str, str]:
    """Read lines of keys and values; of a key that stands twice, the last one counts."""
    found = {}
    for line in lines(text):
        key, _, value = line.replace("\t", " ").partition(separator)
        found[key.strip()] = value.strip().strip('"')
    return found


def drop_ins(main: str) -> list[str]:
    """Give a configuration file of systemd's and its drop-ins, in the order in which they count."""
    name = os.path.basename(main)
    found: dict[str, str] = {}
    for root in ("/usr/lib/systemd", "/run/systemd", "/etc/systemd"):
        folder = os.path.join(root, f"{name}.d")
        for one in os.listdir(folder) if os.path.isdir(folder) else ():
            if one.endswith(".conf"):
                found[one] = os.path.join(folder, one)
    return [path for path in (main, *(found[one] for one in sorted(found))) if os.path.exists(path)]
