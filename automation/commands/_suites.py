"""The suites of tests: which there are, and how they are run."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from automation.commands._command import ROOT, progress

_JUDGE = "tests/lab/test_whole_suite.py"
# Long to look through; the tests of backups have no part in it.
_STATE_OF_LAB = f"{_JUDGE}::test_the_state_that_the_suite_leaves_behind_holds_no_secret"
# These share one city, one after the other.
_OF_BACKUPS = tuple(
    f"tests/lab/test_{name}.py"
    for name in (
        "baselines",
        "backup_city",
        "backups",
        "backup_disasters",
        "postgresql_backups",
        "drill_from_backup",
    )
)
# These have a lab of their own, and stand where they make both suites end at about the same time.
_BEFORE_BACKUPS = ("tests/lab/test_failover.py",)
_BESIDE_LAB = (*_BEFORE_BACKUPS, *_OF_BACKUPS)
SUITES: Mapping[str, Sequence[str]] = {
    "unit": ("tests", "--ignore=tests/lab", "--ignore=tests/programs", "-m", "not lab", "-n", "2"),
    "programs": ("tests/programs", "-m", "lab", "-n", "2", "--dist", "loadfile"),
    "lab": ("tests/lab", *(f"--ignore={path}" for path in _BESIDE_LAB), "-m", "lab", "--durations=20"),
    "backups": (*_BESIDE_LAB, _JUDGE, f"--deselect={_STATE_OF_LAB}", "-m", "lab", "--durations=20"),
}
# The first two have labs of their own and often wait for them; meanwhile the third has the processors.
SIDE_BY_SIDE = ("lab", "backups", "programs")
_GIVES_WAY = ("programs",)
_NOTHING_COLLECTED = 5
_WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH_WATCHES = 1024  # every systemd of a lab takes some of root's


def run_suites(names: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Run suites with pytest's own output; give the verdict and the seconds of each."""
    beside = [name for name in SIDE_BY_SIDE if name in names]
    verdicts = {name: _run_together([name])[name] for name in names if name not in beside}
    return verdicts | (_run_together(beside) if beside else {})


def _run_together(names: Sequence[str]) -> dict[str, tuple[str, float]]:
    if names[0] != "unit" and os.geteuid() != 0:
        progress(f"{names[0]} suite: needs root (it makes namespaces, mounts and containers); not run")
        return dict.fromkeys(names, ("not run, needs root", 0.0))
    with ExitStack() as stack:
        if names[0] in SIDE_BY_SIDE:
            stack.enter_context(_enough_watches())
        said = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in names[1:])]
        started, pool = time.monotonic(), stack.enter_context(ThreadPoolExecutor(len(names)))
        begun = [(name, _begin(name, out), out) for name, out in zip(names, said, strict=True)]
        ends = [pool.submit(_await_end, process) for _, process, _ in begun]
        codes = [_await(*one) for one in begun]
        ended = zip(names, codes, ends, strict=True)
        return {name: (_verdict(code), end.result() - started) for name, code, end in ended}


def _begin(name: str, said: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Start a suite; what one says that runs beside another is shown when it has ended."""
    progress(f"--- {name} suite" + (", beside it; its output follows" if said else ""))
    bins = Path(sys.prefix) / "bin"
    path = os.pathsep.join([str(bins), os.environ.get("PATH", os.defpath)])
    argv = [sys.executable, "-m", "pytest", *SUITES[name]]
    if name in _GIVES_WAY:
        argv = ["nice", "-n", "5", *argv]
    out = None if said is None else said.fileno()
    return subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PATH": path}, stdout=out, stderr=out)


def _await_end(process: subprocess.Popen[bytes]) -> float:
    process.wait()
    return time.monotonic()


def _await(name: str, process: subprocess.Popen[bytes], said: IO[bytes] | None) -> int:
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # the terminal interrupted it too: a suite takes its lab down before it ends
        raise
    if said is not None:
        progress(f"--- {name} suite")
        said.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    return code


def _verdict(code: int) -> str:
    if code == 0:
        return "passed"
    return "no test was found" if code == _NOTHING_COLLECTED else f"failed (pytest exit code {code})"


@contextmanager
def _enough_watches() -> Iterator[None]:
    """Let root watch files from all systemds of the labs at once; put back afterwards."""
    before = _WATCHES.read_text()
    if int(before) < _ENOUGH_WATCHES:
        _WATCHES.write_text(str(_ENOUGH_WATCHES))
    try:
        yield
    finally:
        with suppress(OSError):
            _WATCHES.write_text(before)
