"""Run a program and tell what it cost, with all that it started and left behind.

    .venv/bin/python -m bench.cpu_of RESULT PROGRAM [WORD ...]

RESULT is written as JSON: exit_code, wall_s until the program itself ended, cpu_s of it and of all that came
of it; what still runs then, kept connections of ssh for example, is ended by its PID and counted, too.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

SUBREAPER = 36  # of prctl: what loses its parent becomes ours


def main(result: str, *argv: str) -> int:
    ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    code = subprocess.run(argv, check=False).returncode
    wall_s = time.monotonic() - began
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = {"exit_code": code, "wall_s": wall_s, "cpu_s": used.ru_utime + used.ru_stime}
    Path(result).write_text(json.dumps(told))
    return 0


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
