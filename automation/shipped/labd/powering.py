"""Hosts that simulated machines power: made when they are first powered on, and gone with their machine.

What a simulator asks, and is answered, stands in automation/model/simulators.py.
"""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .disks import Seed, plant
from .lab import Answer, Lab
from .machines import Disk
from .records import Server
from .simulators import Powered
from .system import LabError, run

HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
SHUT_DOWN_S = 30.0
# All that a replicated machine is told anew where it wakes up: who answers for names there, and its address.
OF_THE_SITE = ("/etc/hosts", "/etc/resolv.conf")
SOME_CHANGED = 1  # tar, of a disk that is written to meanwhile


def power_machine(lab: Lab, simulator: str, machine: str, power: str, network: str = "") -> Answer:
    """Follow a simulated machine's power with its host's."""
    powers: Mapping[str, Callable[[], None]] = {
        "on": lambda: _turn_on(lab, f"{simulator}/{machine}", wanted, isolated=isolated),
        "off": lambda: _turn_off(lab, wanted.host, 0.0),
        "down": lambda: _turn_off(lab, wanted.host, SHUT_DOWN_S),
        "gone": lambda: _remove(lab, wanted.host),
    }
    if power not in powers:
        raise LabError(f"power {power!r} is none of {', '.join(powers)}; nothing was changed")
    wanted = lab.simulators.powered(simulator, machine)
    isolated = bool(network and wanted.network) and network != wanted.network
    with lab.simulators.powering[wanted.host]:
        powers[power]()
    known = lab.record.servers.get(wanted.host)
    return {
        "host": wanted.host,
        "address": wanted.address,
        "power": "on" if known and lab.machine(wanted.host).is_on() else "off",
        "isolated": bool(known and known.reach is not None),
        "host_key": _host_key(lab, wanted.host) if known else "",
    }


def _turn_on(lab: Lab, machine: str, wanted: Powered, *, isolated: bool) -> None:
    known = lab.record.servers.get(wanted.host)
    if known and lab.machine(wanted.host).is_on():
        return
    if known and not known.machine:
        raise LabError(f"server {wanted.host} is not a simulated machine's; nothing was changed")
    other = lab.record.servers.get(wanted.disk_of)
    source = wanted.disk_of if other and other.reach is None else ""
    if known and not may_keep(wanted, known, other if source else None, isolated=isolated):
        lab.discard(wanted.host)
        known = None
    if known is None:
        _make(lab, machine, wanted, source, isolated=isolated)
    lab.start_server(wanted.host)
    if not isolated:
        with lab.store.change() as draft:
            draft.servers[wanted.host].ran_at = time.time()


def may_keep(wanted: Powered, own: Server, other: Server | None, *, isolated: bool) -> bool:
    """Tell whether a host that is off is powered on as it is, or made anew. Pure.

    Raises:
        LabError: it would have to be made anew, and its disk is in no other place.
    """
    stale = wanted.replicated and other is not None and (own.reach is not None or own.ran_at < other.ran_at)
    misplaced = (own.reach is not None) != isolated
    if misplaced and not stale and own.ran_at:
        raise LabError(
            f"server {wanted.host} has the only disk of {own.machine}, and would have to be made anew to be "
            "isolated; nothing was changed"
        )
    return not (stale or misplaced)


def _make(lab: Lab, machine: str, wanted: Powered, disk_of: str, *, isolated: bool) -> None:
    """Make a host's disk, from its image or from another's disk; its power is off."""
    lab.topology.check_server(wanted.host, wanted.site, wanted.address)
    lab.simulators.refuse_name(wanted.host, wanted.address)
    with lab.making:
        if wanted.address in {other.address for other in lab.record.servers.values()}:
            raise LabError(f"address {wanted.address} belongs to another server; nothing was changed")
        (lab.folder / "hosts").mkdir(exist_ok=True)
        disk = Disk(lab.folder / "hosts" / wanted.host, lab.topology.lab_id)
        disk.make()
        if disk_of:
            copy_disk(lab.machine(disk_of).disk.upper, disk.upper)
        disk.attach(wanted.image)
        same = bool(disk_of) and wanted.replicated
        files = [one for one in wanted.files if not same or one["path"] in OF_THE_SITE]
        plant(disk.root, [Seed(**one) for one in files])  # type: ignore[arg-type]
        if not same:
            make_host_key(disk.root / HOST_KEY, wanted.host)
        reach = [str(lab.topology.control_address)] if isolated else None
        with lab.store.change() as draft:
            draft.servers[wanted.host] = Server(
                wanted.site, wanted.address, wanted.image, power="off", reach=reach, machine=machine
            )
    lab.events.write("server_created", server=wanted.host, machine=machine, disk_of=disk_of, reach=reach)


def _turn_off(lab: Lab, host: str, patience_s: float) -> None:
    if host not in lab.record.servers:
        return
    with lab.store.change() as draft:
        draft.servers[host].power = "off"
    machine = lab.machine(host)
    with machine.lock:
        if patience_s and machine.is_on():
            machine.shut_down(patience_s)
    lab.power_off_server(host)


def _remove(lab: Lab, host: str) -> None:
    known = lab.record.servers.get(host)
    if known is not None and known.machine:
        lab.discard(host)


def _host_key(lab: Lab, host: str) -> str:
    path = lab.machine(host).disk.upper / f"{HOST_KEY}.pub"
    return " ".join(path.read_text().split()[:2]) if path.exists() else ""


def make_host_key(path: Path, host: str) -> None:
    """Make a host key as a new machine does at its first boot; it never leaves the disk."""
    for old in (path, path.with_name(f"{path.name}.pub")):
        old.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host, "-f", str(path)])


def copy_disk(source: Path, target: Path) -> None:
    """Copy a disk that may be in use: each file as it is when it is read, as storage that is copied live.

    Raises:
        LabError: it could not be copied.
    """
    words = ("--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner")
    reading = subprocess.Popen(
        ["tar", "--create", *words, "--warning=no-file-changed", f"--directory={source}", "."],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    writing = subprocess.run(
        ["tar", "--extract", *words, "--same-permissions", f"--directory={target}"],
        stdin=reading.stdout,
        capture_output=True,
        check=False,
    )
    if reading.stdout is not None:
        reading.stdout.close()
    if reading.wait() not in (0, SOME_CHANGED) or writing.returncode != 0:
        raise LabError(f"cannot copy {source}: {writing.stderr.decode(errors='replace').strip()[-300:]}")
