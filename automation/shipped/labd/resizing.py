"""Giving a server more or less of the machine: at once, or with a restart where that takes memory away."""

from .bounds import Bounds, require
from .lab import Answer, Lab
from .records import Moment
from .system import LabError

SHUT_DOWN_S = 30.0  # then its power is cut


def resize_server(
    lab: Lab, server: str, cpus: int = 0, memory_bytes: int = 0, restart: bool = False
) -> Answer:
    """Bound what a server may use, 0: as it is; less memory than it has now takes a restart.

    A server that is off is bounded when it boots; one that has its bounds is left as it is.
    """
    lab.managed(server)
    if server in lab.record.fences:
        raise LabError(f"server {server} is fenced; nothing was changed on it", hint="unblock_server")
    began, machine = Moment(), lab.machine(server)
    with machine.lock:
        wanted = Bounds(cpus, memory_bytes)
        require(lab.controllers, wanted)
        restarted = machine.is_on() and wanted.takes_memory(lab.bounds_of(server))
        if restarted and not restart:
            raise LabError(f"server {server} has more memory until it is restarted; nothing was changed")
        with lab.store.change() as draft:
            known = draft.servers[server]
            known.cpus, known.memory_bytes = wanted.over(known.bounds)
        if restarted:
            machine.shut_down(SHUT_DOWN_S)
        elif machine.is_on():
            machine.hold_to(wanted)
    if restarted:
        lab.boot(server)
    lab.events.write("server_resized", since=began, server=server, restarted=restarted, **wanted._asdict())
    return {**lab.server_state(server), "restarted": restarted}
