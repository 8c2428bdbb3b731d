"""The out-of-band console of a running server: a program in its namespaces, without its network."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .machines import in_cgroup
from .system import LabError

OUTPUT_BYTES = 64 << 20
TIMED_OUT = 124
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


def run_inside(cgroup: Path, argv: Sequence[str], stdin: str, timeout_s: float) -> dict[str, object]:
    """Run a program as root inside the container of a cgroup; it dies with the container's power.

    One that does not end in time is left alone and answered for as `timeout(1)` does: it may go on.

    Raises:
        LabError: nothing has booted there, or the program printed too much.
    """
    leader = find_leader(cgroup)
    inside = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--", *argv]
    command = in_cgroup(cgroup_of(leader), inside)
    program = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    try:
        stdout, stderr = program.communicate(stdin.encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        program.kill()
        program.communicate()
        said = f"{argv[0]}: no end within {timeout_s:.0f} s"
        return {"exit_code": TIMED_OUT, "stdout": "", "stderr": said}
    if len(stdout) + len(stderr) > OUTPUT_BYTES:
        raise LabError(f"the program printed more than {OUTPUT_BYTES >> 20} MiB")
    texts = {"stdout": stdout.decode(errors="replace"), "stderr": stderr.decode(errors="replace")}
    return {"exit_code": program.returncode, **texts}


def find_leader(cgroup: Path) -> int:
    """Give the process that is PID 1 inside the container of a cgroup.

    Raises:
        LabError: there is none yet.
    """
    for procs in sorted(cgroup.glob("**/cgroup.procs")):
        for pid in procs.read_text().split():
            numbers = _field(pid, "NSpid")
            if len(numbers) > 1 and numbers[-1] == "1":
                return int(pid)
    raise LabError(f"nothing has booted in {cgroup.name}", hint="try again")


def cgroup_of(pid: int) -> Path:
    """Give the cgroup of a process, as seen from here."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    line = next(line for line in lines if line.startswith("0::"))
    return Path("/sys/fs/cgroup", line.removeprefix("0::").strip("/"))


def _field(pid: str, name: str) -> list[str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return []
    return next((line.split()[1:] for line in lines if line.startswith(f"{name}:")), [])
