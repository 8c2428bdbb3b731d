"""Requests about disks: named copies of all of them, and a look into one."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from .disks import inspect
from .lab import Answer, Lab, Links, merge
from .machines import Machine
from .parallel import in_parallel
from .records import Moment, Record
from .system import LabError


def save_disks(lab: Lab, name: str, timeout_s: float = 90.0) -> Answer:
    """Shut every server down in good order, keep a named copy of all disks and the record, boot again."""
    began = Moment()
    with _all_held(lab) as machines:
        orderly = in_parallel(lambda machine: machine.shut_down(timeout_s), machines.values())
        cut = [server for server, well in zip(machines, orderly, strict=True) if not well]
        if not cut:
            lab.simulators.save(lab.folder / "saved" / f".simulators-{name}", lab.without_management)
            lab.saved.save(name, lab.disks(), lab.record)
    booted = lab.boot_all(lab.record.servers)
    if cut:
        raise LabError(
            f"{', '.join(cut)} did not shut down within {timeout_s:.0f} s and lost power; all servers "
            "were booted again, no disk was saved",
            hint="try again",
        )
    lab.events.write("disks_saved", since=began, name=name)
    return {"name": name, "servers": sorted(lab.record.servers), "booted": booted}


def restore_disks(lab: Lab, name: str) -> Answer:
    """Cut all power; put disks, power settings, fences and links back as they were saved; boot."""
    began = Moment()
    wanted = lab.saved.load(name)
    _match_powered(lab, wanted)
    if set(wanted.servers) != set(lab.record.servers):
        raise LabError(f"disks {name} are of other servers than there are now; nothing was changed")
    with _all_held(lab) as machines:
        for machine in machines.values():
            lab.cut(machine)
        in_parallel(Machine.await_stop, machines.values())
        lab.saved.restore(name, lab.disks())
        _return_to(lab, wanted)
        lab.simulators.restore(lab.folder / "saved" / f".simulators-{name}", lab.without_management)
        lab.settle_management()
    booted = lab.boot_all(lab.record.servers)
    event = lab.events.write("disks_restored", since=began, name=name)
    return {"name": name, "servers": sorted(lab.record.servers), "booted": booted, "at": event["at"]}


def inspect_disk(lab: Lab, server: str, argv: Sequence[str], timeout_s: float = 120.0) -> Answer:
    """Run a program on a view of a powered-off server's disk: no network, nothing is kept."""
    known, machine = lab.known(server), lab.machine(server)
    with machine.lock:
        if machine.is_on():
            raise LabError(f"server {server} is on; its disk can be inspected only while it is off")
        scratch, cgroup = machine.disk.folder / "inspect", lab.cgroup / f"inspect-{server}"
        done = inspect(machine.disk, known.image, scratch, cgroup, argv, timeout_s)
    lab.events.write("disk_inspected", server=server, argv=list(argv))
    return {"server": server, **done}


@contextmanager
def _all_held(lab: Lab) -> Iterator[dict[str, Machine]]:
    """Hold every server, and the making of new ones, so that none is booted meanwhile."""
    with ExitStack() as held:
        held.enter_context(lab.making)
        machines = {name: lab.machine(name) for name in sorted(lab.record.servers)}
        for machine in machines.values():
            held.enter_context(machine.lock)
        yield machines


def _match_powered(lab: Lab, wanted: Record) -> None:
    """Remove hosts of simulated machines that a set does not know; make room for those that it does."""
    for name in [name for name, one in lab.record.servers.items() if one.machine]:
        if name not in wanted.servers:
            lab.discard(name)
    for name, one in wanted.servers.items():
        if one.machine and name not in lab.record.servers:
            lab.machine(name).disk.make()
            with lab.store.change() as draft:
                draft.servers[name] = replace(one, power="off")


def _return_to(lab: Lab, wanted: Record) -> None:
    """Make network and record what they were when the disks were saved."""
    before = lab.record
    with lab.store.change() as draft:
        draft.servers, draft.fences = wanted.servers, wanted.fences
        draft.failed_sites, draft.links = wanted.failed_sites, wanted.links
        draft.dark_sites = wanted.dark_sites
    for name, server in wanted.servers.items():
        if (name in before.fences) != (name in wanted.fences):
            lab.network.prohibit(server.address, name in wanted.fences)
    for site in lab.topology.sites.values():
        if site.name in wanted.failed_sites:
            lab.network.cut_site(site)
        else:
            lab.network.join_site(site)
    everywhere: Links = {name: {"up": True} for name in lab.links().in_force()}
    lab.links().change(merge(merge(everywhere, lab.topology.links), wanted.links))
