"""The kernel: which one runs, its settings now and after a boot, modules, mounts, and how it is booted."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator

from .system import TYPE_CHECKING, NotKnown, attempt, lines, read, read_if_there

if TYPE_CHECKING:
    from typing import Any

ASKED = re.compile(
    r"^(kernel\.(randomize_va_space|yama\.ptrace_scope|kptr_restrict|dmesg_restrict|unprivileged_bpf_disabled|"
    r"core_pattern|sysrq|perf_event_paranoid|kexec_load_disabled)|fs\.(suid_dumpable|protected_\w+)|"
    r"net\.core\.bpf_jit_harden|net\.ipv4\.(ip_forward|tcp_syncookies|icmp_\w+)|"
    r"net\.ipv[46]\.conf\.(all|default)\.\w+)$"
)
FOLDERS = (
    *("kernel", "kernel/yama", "fs", "net/core", "net/ipv4"),
    *(f"net/{family}/conf/{name}" for family in ("ipv4", "ipv6") for name in ("all", "default")),
)


def collect_os() -> dict[str, Any]:
    """Tell the release, and whether the newest kernel that is installed is the one that runs."""
    told = {}
    for line in lines(read("/etc/os-release")):
        key, _, value = line.partition("=")
        told[key] = value.strip('"')
    kernels = sorted(
        (os.path.basename(path)[len("vmlinuz-") :] for path in glob.glob("/boot/vmlinuz-*")), key=natural
    )
    return {
        "id": told.get("ID", ""),
        "version": told.get("VERSION_ID", ""),
        "codename": told.get("VERSION_CODENAME", ""),
        "kernel": os.uname().release,
        "kernels": kernels,
        "newest_kernel_runs": not kernels or kernels[-1] == os.uname().release,
        "reboot_wanted": os.path.exists("/run/reboot-required"),
    }


def natural(text: str) -> list[tuple[int, Any]]:
    """Give a key by which 6.1.0-9 is before 6.1.0-10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text)]


def collect_sysctl() -> dict[str, Any]:
    """Give the settings that matter, as they are and as the files will make them; the last file wins."""
    running = dict(in_effect())
    if not running:
        raise NotKnown("/proc/sys cannot be read")
    persistent: dict[str, str] = {}
    for path in sysctl_files():
        for line in lines(read(path).replace(";", "#")):
            key, _, value = line.partition("=")
            persistent[dotted(key)] = value.strip()
    written = {
        key: next((persistent[name] for name in spellings(key) if name in persistent), None)
        for key in running
    }
    differing = sorted(key for key, value in written.items() if value is not None and value != running[key])
    return {
        "running": running,
        "persistent": {key: value for key, value in written.items() if value is not None},
        "differing": differing,
    }


def in_effect() -> Iterator[tuple[str, str]]:
    """Read the settings themselves: `sysctl -a` reads some thousand others, too."""
    for folder in FOLDERS:
        where = f"/proc/sys/{folder}"
        for name in sorted(os.listdir(where)) if os.path.isdir(where) else ():
            key = f"{folder}/{name}".replace("/", ".")
            if ASKED.match(key):
                try:
                    with open(f"{where}/{name}", "rb") as file:
                        yield key, file.read().decode("utf-8", "replace").strip()
                except OSError:  # one that is only written, or is not for this machine
                    continue


def dotted(key: str) -> str:
    """Give a key with dots; one whose first sign is a slash has its dots and slashes turned."""
    key = key.strip().lstrip("-").strip()
    slash, dot = key.find("/"), key.find(".")
    return key.translate(str.maketrans("./", "/.")) if slash >= 0 and (dot < 0 or slash < dot) else key


def spellings(key: str) -> Iterator[str]:
    """Give the names by which a file may set a key."""
    yield key
    if ".conf.all." in key or ".conf.default." in key:
        yield key.replace(".conf.all.", ".conf.*.").replace(".conf.default.", ".conf.*.")


def sysctl_files() -> list[str]:
    """Give the files that systemd-sysctl reads, in its order; /etc hides the same name elsewhere."""
    found: dict[str, str] = {}
    for folder in ("/usr/lib/sysctl.d", "/usr/local/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"):
        for path in glob.glob(f"{folder}/*.conf"):
            found[os.path.basename(path)] = path
    every = [found[name] for name in sorted(found)]
    return [path for path in every if os.path.realpath(path) != "/dev/null"] + (
        ["/etc/sysctl.conf"] if os.path.exists("/etc/sysctl.conf") and "99-sysctl.conf" not in found else []
    )


def collect_modules() -> dict[str, list[str]]:
    """Name the modules that are loaded, and those that nothing can load."""
    loaded = sorted(line.split()[0] for line in lines(read("/proc/modules")))
    blocked = set()
    for folder in ("/usr/lib/modprobe.d", "/run/modprobe.d", "/etc/modprobe.d"):
        for path in glob.glob(f"{folder}/*.conf"):
            for line in lines(read(path)):
                words = line.split()
                if (
                    words[0] == "install"
                    and len(words) > 2
                    and words[2] in ("/bin/true", "/bin/false", "/usr/bin/true", "/usr/bin/false")
                ):
                    blocked.add(words[1].replace("-", "_"))
    return {"loaded": loaded, "blocked": sorted(blocked)}


def collect_mounts() -> dict[str, Any]:
    """Give what is mounted where with which options, now and by fstab."""
    now = {}
    for line in lines(read("/proc/self/mounts"), comment="\0"):
        source, where, kind, options = line.split()[:4]
        where = where.encode().decode("unicode_escape")
        now[where] = {"source": source, "type": kind, "options": sorted(options.split(","))}
    written = {}
    for line in lines(read_if_there("/etc/fstab") or ""):
        words = line.split()
        if len(words) >= 4:
            written[words[1]] = {"source": words[0], "type": words[2], "options": sorted(words[3].split(","))}
    wanted = ("/", "/tmp", "/dev/shm", "/var", "/var/tmp", "/var/log", "/var/log/audit", "/home", "/boot")
    return {"now": {where: now[where] for where in wanted if where in now}, "fstab": written}


def collect_boot() -> dict[str, Any]:
    """Tell how the boot loader is kept, and what the kernel was told."""
    config = next(
        (path for path in ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg") if os.path.exists(path)), ""
    )
    if not config:
        raise NotKnown("no boot loader's configuration is here")
    about = os.stat(config)
    text = read(config)
    return {
        "config": config,
        "mode": f"{about.st_mode & 0o7777:04o}",
        "owner": about.st_uid,
        "password": "password_pbkdf2" in text,
        "command_line": read("/proc/cmdline").split(),
    }


def collect_apparmor() -> dict[str, Any]:
    """Give the profiles that enforce, those that only complain, and programs that run without theirs."""
    if read_if_there("/sys/module/apparmor/parameters/enabled") not in ("Y\n", "Y"):
        return {"enabled": False, "enforce": 0, "complain": [], "unconfined": []}
    done = attempt(["aa-status", "--json"])
    if done.returncode not in (0, 2):
        raise NotKnown(f"aa-status: exit code {done.returncode}")
    told = json.loads(done.stdout)
    modes = told.get("profiles", {})
    return {
        "enabled": True,
        "enforce": sum(mode == "enforce" for mode in modes.values()),
        "complain": sorted(name for name, mode in modes.items() if mode == "complain"),
        "unconfined": sorted(
            name
            for name, all_of in told.get("processes", {}).items()
            if any(one.get("status") == "unconfined" for one in all_of)
        ),
    }


SECTIONS = {
    "os": collect_os,
    "sysctl": collect_sysctl,
    "modules": collect_modules,
    "mounts": collect_mounts,
    "boot": collect_boot,
    "apparmor": collect_apparmor,
}
