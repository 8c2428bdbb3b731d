"""Removing a lab, however it was left: found from the kernel and the file system alone."""

import shutil
import subprocess
import time
from pathlib import Path

from automation.adapters.nspawn.cgroups import end_lab_processes, refuse_foreign
from automation.adapters.nspawn.hostkeys import forget_all
from automation.adapters.nspawn.machine import remove_policy
from automation.model.errors import AdapterError

VANISH_S = 2.0  # the kernel removes namespaces and their links shortly after the last process


def remove(state: Path, lab_id: str) -> str:
    """Remove processes, cgroups, link, mounts and disks of a lab; give what was there, in words.

    Only what carries the lab's id is touched. Doing it again, or after an interruption, is right.

    Raises:
        AdapterError: something could not be removed.
    """
    refuse_foreign(lab_id, state)
    removed = [
        "processes and cgroups" if end_lab_processes(lab_id) else "",
        "network link" if remove_link(f"ms-{lab_id}") else "",
        "mounts" if unmount_all(state / "lab", lab_id) else "",
        "disks" if _remove_folder(state / "lab", lab_id) else "",
        "policy-rc.d of an installation cut short" if remove_policy() else "",
    ]
    forget_all(state / "known_hosts")
    return ", ".join(part for part in removed if part)


def remove_link(link: str) -> bool:
    """Wait for a link to go with its namespaces, else delete it; tell whether it was there.

    Raises:
        AdapterError: it cannot be deleted.
    """
    if not _link_exists(link):
        return False
    deadline = time.monotonic() + VANISH_S
    while time.monotonic() < deadline and _link_exists(link):
        time.sleep(0.02)
    if _link_exists(link):
        done = subprocess.run(["ip", "link", "delete", link], capture_output=True, text=True, check=False)
        if done.returncode != 0 and _link_exists(link):
            raise AdapterError(f"cannot delete network link {link}: {done.stderr.strip()}")
    return True


def unmount_all(folder: Path, lab_id: str) -> list[str]:
    """Unmount what a lab has mounted in this mount namespace, deepest first.

    Raises:
        AdapterError: a mount cannot be removed.
    """
    found = sorted(lab_mounts(Path("/proc/self/mountinfo").read_text(), folder, lab_id), reverse=True)
    for target in found:
        done = subprocess.run(["umount", "--lazy", target], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AdapterError(f"cannot unmount {target}: {done.stderr.strip()}")
    return found


def lab_mounts(mountinfo: str, folder: Path, lab_id: str) -> list[str]:
    """Pick a lab's mount points out of /proc/self/mountinfo: by source, or by place."""
    found = []
    for line in mountinfo.splitlines():
        fields = line.split()
        target, source = fields[4], fields[fields.index("-") + 2]
        if source.startswith(f"mainstay-{lab_id}-") or target.startswith(f"{folder}/"):
            found.append(target)
    return found


def _link_exists(link: str) -> bool:
    return Path("/sys/class/net", link).exists()


def _remove_folder(folder: Path, lab_id: str) -> bool:
    """Delete a lab's folder; first renamed, so that a half-deleted one is never taken for a lab."""
    doomed = folder.with_name(f".{folder.name}-{lab_id}-removed")
    try:
        existed = doomed.exists()
        if existed:
            shutil.rmtree(doomed)
        if folder.exists():
            folder.rename(doomed)
            shutil.rmtree(doomed)
            return True
    except OSError as exc:
        raise AdapterError(f"cannot delete {exc.filename}: {exc.strerror}; run it again") from exc
    return existed
