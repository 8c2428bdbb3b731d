"""What this machine must offer before a lab can be started on it."""

import fcntl
import ipaddress
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from automation.model.environment import LabSettings
from automation.model.errors import PreflightError

PACKAGE_OF = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "setpriv": "util-linux",
    "openssl": "openssl",
}
KEYRING, KEYRING_PACKAGE = Path("/usr/share/keyrings/debian-archive-keyring.gpg"), "debian-archive-keyring"
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Made for one installation, to be removed after it: starts no daemon.\nexit 101\n"
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_PER_SERVER, INOTIFY_SPARE = 5, 20  # measured with systemd 252; too few make a boot hang silently
ROOM_BYTES = 3 << 30

# Each probe is tried in namespaces that end with it.
PROBES = {
    "network namespaces with bridge and veth": "ip link add name br0 type bridge"
    " && ip link add name ve0 type veth peer name ve1",
    "TUN devices (/dev/net/tun)": "ip tuntap add mode tun name tun0",
    "overlayfs": "mount -t tmpfs t /tmp && mkdir /tmp/l /tmp/u /tmp/w /tmp/m"
    " && mount -t overlay o -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w /tmp/m",
}


def check(lab: LabSettings, state: Path, *, servers: int, say: Callable[[str], None]) -> None:
    """Refuse what the lab cannot work with, all of it at once; only then install missing packages.

    Raises:
        PreflightError: every shortcoming with its fix, and whether packages were installed.
    """
    if os.geteuid() != 0:
        raise PreflightError(
            "the lab makes namespaces, mounts and containers, so it needs root; nothing was changed",
            hint="run the same command with sudo",
        )
    remove_policy()
    changed, missing = "nothing was changed", missing_packages()
    problems = _problems(lab, state, servers)
    if missing and not problems:
        install(missing, say)
        changed = f"{' '.join(missing)} installed, nothing else was changed"
        problems = _problems(lab, state, servers)  # also what only a program of those can tell
    if problems:
        raise PreflightError("\n".join([f"this machine cannot hold the lab; {changed}", *problems]))


def _problems(lab: LabSettings, state: Path, servers: int) -> list[str]:
    """List what the lab lacks here; a question that takes a missing program is left out."""
    limit = int(INOTIFY.read_text()) if INOTIFY.exists() else 0
    return [
        *_kernel_problems(),
        *inotify_problems(limit, servers, _inotify_used(lab.id)),
        *_room_problems(state),
        *(prefix_problems(lab, _routes()) if shutil.which("ip") else ()),
    ]


def missing_packages() -> tuple[str, ...]:
    """Name the packages whose programs are not there."""
    missing = {package for program, package in PACKAGE_OF.items() if shutil.which(program) is None}
    return tuple(sorted(missing if KEYRING.exists() else {*missing, KEYRING_PACKAGE}))


def install(packages: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Install packages on Debian or Ubuntu, starting no daemon.

    Raises:
        PreflightError: another distribution, or apt failed.
    """
    if not packages:
        return
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise PreflightError(
            f"the lab needs {names}; nothing was changed", hint="install them and run it again"
        )
    say(f"installing {names} (no daemon is started)")
    with no_daemons() as held:
        for argv in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "--quiet", *argv],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                text=True,
                check=False,
                pass_fds=held,
            )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-400:]
        raise PreflightError(
            f"apt-get could not install {names}; what it had installed by then stays: {words}",
            hint=f"apt-get install {names}",
        )


@contextmanager
def no_daemons(policy: Path = POLICY) -> Iterator[tuple[int, ...]]:
    """Forbid packages to start daemons, unless the machine has a policy of its own already.

    Gives what an installer inherits: while one of them holds the file's lock, nobody removes it.
    """
    if policy.exists() and policy.read_text() != POLICY_TEXT:
        yield ()
        return
    with policy.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        file.truncate(0)
        file.write(POLICY_TEXT)
        file.flush()
        policy.chmod(0o755)
        try:
            yield (file.fileno(),)
        finally:
            policy.unlink(missing_ok=True)


def remove_policy(policy: Path = POLICY) -> bool:
    """Remove the file that an installation cut short has left; tell whether there was one."""
    try:
        with policy.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = file.read() == POLICY_TEXT
            if ours:
                policy.unlink()
    except OSError:  # none, not ours to remove, or in use
        return False
    return ours


def inotify_problems(limit: int, servers: int, used: int) -> list[str]:
    """Refuse a limit that the servers' systemd would hit, with what others use now."""
    needed = INOTIFY_PER_SERVER * servers + INOTIFY_SPARE + used
    if limit >= needed:
        return []
    fix = f"sysctl fs.inotify.max_user_instances={max(1024, needed)}"
    return [
        f"fs.inotify.max_user_instances is {limit}; {servers} servers beside {used} need {needed}; fix: {fix}"
    ]


def _inotify_used(lab_id: str) -> int:
    """Count the inotify instances of root's processes outside this lab."""
    used = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"/mainstay-{lab_id}/" in (process / "cgroup").read_text() or process.stat().st_uid != 0:
                continue
            used += sum(str(link.readlink()) == "anon_inode:inotify" for link in (process / "fd").iterdir())
    return used


def prefix_problems(lab: LabSettings, routes: Iterable[tuple[str, str]]) -> list[str]:
    """Refuse a prefix that the machine routes elsewhere; `routes` are destination and device."""
    prefix = ipaddress.IPv4Network(lab.prefix)
    return [
        f"{lab.prefix} is in use here: route {destination} dev {device}; fix: give the lab another prefix"
        for destination, device in routes
        if destination != "default" and device != f"ms-{lab.id}"
        if ipaddress.IPv4Network(destination, strict=False).overlaps(prefix)
    ][:1]


def _routes() -> list[tuple[str, str]]:
    argv = ["ip", "-json", "-4", "route", "show", "table", "all"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return [(route["dst"], route.get("dev", "-")) for route in json.loads(shown)]


def _kernel_problems() -> list[str]:
    problems = [
        f"the kernel lacks {feature}: {failure}; fix: another kernel, or not inside a container"
        for feature, script in PROBES.items()
        if shutil.which(script.split()[0])
        if (failure := _probe(script))
    ]
    kinds = {
        line.split(" - ")[1].split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()
    }
    if "cgroup2" not in kinds:
        problems.append("no cgroup v2 is mounted; fix: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
    release = os.uname().release
    if tuple(int(number) for number in release.split("-")[0].split(".")[:2]) < (5, 14):
        problems.append(f"kernel {release} has no cgroup.kill; fix: Linux 5.14 or later")
    return problems


def _probe(script: str) -> str:
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"


def _room_problems(state: Path) -> list[str]:
    place = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free >= ROOM_BYTES:
        return []
    return [
        f"{place} has {free >> 20} MiB free, the lab needs {ROOM_BYTES >> 20}; fix: MAINSTAY_STATE elsewhere"
    ]
