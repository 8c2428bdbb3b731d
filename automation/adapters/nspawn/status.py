"""What a lab is like now, running or not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from automation.adapters.nspawn import image
from automation.adapters.nspawn.client import Supervisor
from automation.adapters.nspawn.supervisor import CONTROL_SITE
from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.observations import ObservedServer
from automation.model.servers import Size


class LabLink(Model):
    """One direction of the WAN between two sites, as the forwarder treats it."""

    up: bool
    delay_ms: float
    jitter_ms: float
    loss: float
    rate_mbit: float


class LabSite(Model):
    """Power, network and out-of-band management of a site."""

    power: Literal["on", "failed"]
    network: Literal["up", "down"]
    management: Literal["up", "down"] = "up"


class LabServer(Model):
    """One server: power and network are read back from the kernel."""

    site: str
    address: str
    image: str
    power: Literal["on", "off"]
    autostart: bool
    network: Literal["connected", "blocked"]
    boots: int = 0
    cpus: int = 0
    memory_bytes: int = 0
    isolated_to: tuple[str, ...] | None = None


class LabSimulator(Model):
    """A program that stands for a part of the city's cloud."""

    places: Mapping[str, str]
    answers_for: tuple[str, ...] = ()
    power: Literal["on", "off"]


class LabStatus(Model):
    """A whole lab; when it does not run, only its servers and what was broken are known."""

    lab_id: str
    running: bool
    wan: str = "none"
    sites: Mapping[str, LabSite] = {}
    links: Mapping[str, LabLink] = {}
    servers: Mapping[str, LabServer] = {}
    simulators: Mapping[str, LabSimulator] = {}
    failed_sites: tuple[str, ...] = ()
    dark_sites: tuple[str, ...] = ()
    cut_sites: tuple[str, ...] = ()
    saved_disks: tuple[str, ...] = ()
    kept_disks: tuple[str, ...] = ()


def read(state: Path, lab_id: str) -> LabStatus:
    """Ask the supervisor; if none runs, read what it recorded.

    Raises:
        AdapterError: one runs, and its answer was lost: nobody knows what is on.
    """
    lab = Supervisor(state, lab_id)
    try:
        lab.ask("identify", within_s=10.0)
    except AdapterError as exc:
        if exc.unknown:
            raise
        return _recorded(lab_id, state / "lab/state.json")
    seen = lab.ask("status")
    sites = {name: _site(shown) for name, shown in seen["sites"].items()}
    return LabStatus(
        lab_id=seen["lab_id"],
        running=True,
        wan=seen["wan"]["method"],
        sites=sites,
        links={name: LabLink(**condition) for name, condition in seen["wan"]["links"].items()},
        servers={name: _server(shown) for name, shown in seen["servers"].items()},
        simulators={name: _simulator(shown) for name, shown in seen["simulators"].items()},
        failed_sites=tuple(name for name, site in sites.items() if site.power == "failed"),
        dark_sites=tuple(name for name, site in sites.items() if site.management == "down"),
        cut_sites=_cut(seen["wan"]["links"]),
        saved_disks=tuple(seen["saved_disks"]),
        kept_disks=tuple(seen.get("kept_disks", ())),
    )


def id_of(lab_id: str, server: str) -> str:
    """Give the name that a server has on this machine beside those of other labs."""
    return f"{lab_id}-{server}"


def observed(status: LabStatus) -> dict[str, ObservedServer]:
    """Give what planning needs to know of each server."""
    return {
        name: ObservedServer(
            name=name,
            power=server.power,
            autostart=server.autostart,
            network=server.network,
            site=server.site,
            address=server.address,
            image=image.name_of(server.image),
            size=size_of(server),
        )
        for name, server in status.servers.items()
    }


def size_of(server: LabServer) -> Size:
    """Give what a server may use of this machine; nothing: it has no bound of its own."""
    return Size(cpus=server.cpus, memory=server.memory_bytes)


def _site(shown: Mapping[str, object]) -> LabSite:
    known = {name: shown[name] for name in LabSite.model_fields if name in shown}
    return LabSite.model_validate(known)


def _server(shown: Mapping[str, object]) -> LabServer:
    known = {name: shown[name] for name in LabServer.model_fields if name in shown}
    return LabServer.model_validate(known)


def _simulator(shown: Mapping[str, object]) -> LabSimulator:
    return LabSimulator.model_validate({name: shown[name] for name in LabSimulator.model_fields})


def _recorded(lab_id: str, path: Path) -> LabStatus:
    """Read the record of a lab that does not run: all servers are off, a fence stays a fence."""
    if not path.exists():
        return LabStatus(lab_id=lab_id, running=False)
    record = json.loads(path.read_text())
    servers = {
        name: LabServer(
            site=server["site"],
            address=server["address"],
            image=server["image"],
            power="off",
            autostart=server["autostart"],
            network="blocked" if name in record["fences"] else "connected",
            isolated_to=server.get("reach"),
            cpus=server.get("cpus", 0),
            memory_bytes=server.get("memory_bytes", 0),
        )
        for name, server in record["servers"].items()
    }
    failed, dark = tuple(record["failed_sites"]), tuple(record.get("dark_sites", ()))
    return LabStatus(
        lab_id=lab_id,
        running=False,
        servers=servers,
        failed_sites=failed,
        dark_sites=dark,
        cut_sites=_cut(record["links"]),
    )


def _cut(links: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    """Name the sites that nobody reaches from here; a link that was never touched is not in the record."""
    ways = (name.partition(">") for name, condition in links.items() if condition.get("up") is False)
    return tuple(sorted({site for origin, _, site in ways if origin == CONTROL_SITE}))
