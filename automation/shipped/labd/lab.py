"""The lab itself: every request it takes, in the words of the field."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .bounds import NO_CONTROLLERS, Bounds, Controllers, in_force, require
from .console import run_inside
from .disks import SavedDisks, Seed, kept_in, plant, remove
from .machines import Disk, Machine
from .network import Network
from .parallel import in_parallel
from .records import EventLog, Moment, Record, Server, Store
from .simulators import Simulators
from .system import LabError
from .topology import Topology
from .wan import Wan

Answer = dict[str, object]
Links = dict[str, dict[str, object]]


class Lab:
    """Sites, servers and faults; each public method named in requests.py is one request."""

    def __init__(
        self, topology: Topology, folder: Path, cgroup: Path, controllers: Controllers = NO_CONTROLLERS
    ) -> None:
        self.topology, self.folder, self.cgroup, self.controllers = topology, folder, cgroup, controllers
        self.store = Store(folder / "state.json")
        self.events = EventLog(folder / "events.jsonl")
        self.saved = SavedDisks(folder / "saved")
        self.network = Network(topology)
        self.simulators = Simulators(topology, self.network, self.events, cgroup)
        self.machines: dict[str, Machine] = {}
        self.making = threading.Lock()
        self._wan: Wan | None = None

    @property
    def record(self) -> Record:
        return self.store.record

    def start(self) -> None:
        """Build the network as it is recorded, fences first, then boot what boots by itself."""
        began = Moment()
        self.network.build()
        for name in self.record.fences:
            self.network.prohibit(self.record.servers[name].address, True)
        self._wan = Wan(self.topology, merge(self.topology.links, self.record.links), self._route_sites)
        for site in self.record.failed_sites:
            self.network.cut_site(self.topology.site(site))
        for name in self.record.servers:
            self.machine(name)
        booted = self.boot_all(name for name in self.record.servers if self.record.boots_by_itself(name))
        self.events.write("lab_started", since=began, booted=booted)

    # --- reading ---------------------------------------------------------------------------

    def identify(self) -> Answer:
        """Which lab this is; answered as soon as it serves."""
        return {"lab_id": self.topology.lab_id, "prefix": str(self.topology.prefix)}

    def status(self) -> Answer:
        """Everything as it is now, read back from the kernel."""
        return {
            "lab_id": self.topology.lab_id,
            "prefix": str(self.topology.prefix),
            "control_link": self.topology.control_link,
            "wan": {"method": "user-space forwarder", "links": self.links().in_force()},
            "sites": {name: self._site_state(name) for name in self.topology.sites},
            "servers": {name: self._state_of(name) for name in sorted(self.record.servers)},
            "simulators": self.simulators.states(),
            "saved_disks": self.saved.names(),
            "kept_disks": kept_in(self.folder / "kept"),
        }

    def server_state(self, server: str) -> Answer:
        """Power, fence and autostart of one server, as its site's management tells them."""
        self.managed(server)
        return self._state_of(server)

    def _state_of(self, server: str) -> Answer:
        """Power and network are read from the kernel."""
        known = self.known(server)
        site = self.topology.site(known.site)
        prohibited = self.network.prohibited_at(known.address)
        machine = self.machine(server)
        return {
            "server": server,
            "site": known.site,
            "address": known.address,
            "image": known.image,
            "power": "on" if machine.is_on() else "off",
            "autostart": known.autostart,
            "network": "blocked" if self._is_blocked(server, prohibited) else "connected",
            "port_up": self.network.port_is_up(server, site),
            "isolated_to": self._isolated_to(server, known),
            "prohibited_at": prohibited,
            "boots": machine.boots,
            **self.bounds_of(server)._asdict(),
        }

    # --- servers ---------------------------------------------------------------------------

    def create_server(
        self,
        server: str,
        site: str,
        address: str,
        image: str,
        files: Sequence[Mapping[str, object]] = (),
        reach: Sequence[str] | None = None,
        cpus: int = 0,
        memory_bytes: int = 0,
    ) -> Answer:
        """Make a server's disk with its first files, record it, and boot it.

        With `reach` it is isolated from its first packet to its end: its site's router passes what it
        exchanges with those addresses and the control node, and refuses all else.
        """
        self.topology.check_server(server, site, address)
        self.simulators.refuse_name(server, address)
        require(self.controllers, Bounds(cpus, memory_bytes))
        if reach is not None:
            self.topology.check_reach(server, address, reach)
        with self.making:
            if server in self.record.servers:
                raise LabError(f"server {server} exists already; nothing was changed")
            if address in {other.address for other in self.record.servers.values()}:
                raise LabError(f"address {address} belongs to another server; nothing was changed")
            (self.folder / "hosts").mkdir(exist_ok=True)
            disk = Disk(self.folder / "hosts" / server, self.topology.lab_id)
            disk.make()
            disk.attach(image)
            plant(disk.root, [Seed(**seed) for seed in files])  # type: ignore[arg-type]
            with self.store.change() as draft:
                allowed = None if reach is None else sorted({*reach, str(self.topology.control_address)})
                draft.servers[server] = Server(
                    site, address, image, reach=allowed, cpus=cpus, memory_bytes=memory_bytes
                )
        self.events.write("server_created", server=server, reach=allowed)
        if self.record.boots_by_itself(server):
            self.boot(server)
        return self.server_state(server)

    def remove_server(self, server: str, keep_in: str = "") -> Answer:
        """Remove an isolated server and its disk for good.

        One of the city's goes only while it is kept off, and its disk stays, in `kept/<keep_in>`.
        """
        known = self.managed(server)
        if known.reach is None:
            self._require_kept_off(server, known, keep_in)
        return self.discard(server, keep_in)

    def _require_kept_off(self, server: str, known: Server, keep_in: str) -> None:
        if not keep_in:
            raise LabError(f"server {server} is the city's, not isolated: it stays; nothing was changed")
        if known.machine:
            raise LabError(f"server {server} goes with its machine {known.machine}; nothing was changed")
        if server in self.record.fences:
            raise LabError(f"server {server} is fenced: it stays; nothing was changed", hint="unblock_server")
        if known.autostart or self.machine(server).is_on():
            raise LabError(f"server {server} is not kept off: it stays; nothing was changed")

    def discard(self, server: str, keep_in: str = "") -> Answer:
        """Remove a server and its disk, whichever it is; with `keep_in` the disk is moved there."""
        began, machine, known = Moment(), self.machine(server), self.known(server)
        with self.making:
            with self.store.change() as draft:
                draft.servers[server].power = "off"  # nothing boots it meanwhile
            self.cut_power_of([server])
            with machine.lock:
                remove(machine.disk, self.folder / "kept", keep_in)
                self.network.forget_isolated(server, self.topology.site(known.site), known.address)
                self.network.prohibit(known.address, False)
                with self.store.change() as draft:
                    del draft.servers[server]
                    draft.fences = [name for name in draft.fences if name != server]
                del self.machines[server]
        self.events.write("server_removed", since=began, server=server, image=known.image, kept=keep_in)
        return {"server": server, "site": known.site, "address": known.address}

    def start_server(self, server: str, autostart: bool | None = None) -> Answer:
        """Power a server on. One that is fenced or kept off stays off, and that is an error.

        `autostart: true` lifts a lasting power-off; only `unblock_server` lifts a network fence.
        """
        known = self.managed(server)
        if server in self.record.fences:
            raise LabError(f"server {server} is fenced; it stays off", hint="unblock_server")
        if known.site in self.record.failed_sites:
            raise LabError(
                f"server {server} stays off: site {known.site} has no power", hint=f"heal_site {known.site}"
            )
        if not known.autostart and not autostart:
            raise LabError(f"server {server} is kept off", hint="autostart")
        with self.store.change() as draft:
            draft.servers[server].power = "on"
            draft.servers[server].autostart = True
        if self.boot(server):
            self.events.write("server_started", server=server)
        return self.server_state(server)

    def start_fenced(self, server: str) -> Answer:
        """Power a server on behind its network fence; the fence stays, and returning power boots it not."""
        known = self.managed(server)
        if server not in self.record.fences:
            raise LabError(f"server {server} is not blocked on the network; nothing was changed")
        if known.site in self.record.failed_sites:
            raise LabError(
                f"server {server} stays off: site {known.site} has no power", hint=f"heal_site {known.site}"
            )
        if self.boot(server, behind_fence=True):
            self.events.write("server_started_fenced", server=server)
        return self.server_state(server)

    def run_on_console(
        self, server: str, argv: Sequence[str], stdin: str = "", timeout_s: float = 60.0
    ) -> Answer:
        """Run a program inside a running server that its network fence cuts off; management must answer."""
        self.managed(server)
        if server not in self.record.fences:
            raise LabError(f"server {server} is not blocked: its console is for servers that are")
        return {"server": server, **run_inside(self.machine(server).cgroup, argv, stdin, timeout_s)}

    def power_off_server(self, server: str, autostart: bool | None = None) -> Answer:
        """Cut a server's power; `autostart: false` keeps it off when power returns or the lab restarts."""
        self.managed(server)
        began = Moment()
        with self.store.change() as draft:
            draft.servers[server].power = "off"
            if autostart is not None:
                draft.servers[server].autostart = autostart
        self.cut_power_of([server])
        self.events.write("server_powered_off", since=began, server=server, autostart=autostart)
        return self.server_state(server)

    def block_server(self, server: str) -> Answer:
        """Fence a server off the network; lasts until it is unblocked, whatever else happens."""
        known = self.managed(server)
        if known.reach is not None:
            raise LabError(f"server {server} is isolated already; nothing was changed", hint="remove_server")
        began = Moment()
        with self.machine(server).port:
            with self.store.change() as draft:
                draft.fences = sorted({*draft.fences, server})
            self.network.set_port(server, self.topology.site(known.site), False)
            self.network.prohibit(known.address, True)
        self.events.write("server_blocked", since=began, server=server)
        return self.server_state(server)

    def unblock_server(self, server: str) -> Answer:
        """Lift the network fence of a server."""
        known = self.managed(server)
        began = Moment()
        with self.machine(server).port:
            with self.store.change() as draft:
                draft.fences = [name for name in draft.fences if name != server]
            self.network.prohibit(known.address, False)
            self.network.set_port(server, self.topology.site(known.site), True)
        self.events.write("server_unblocked", since=began, server=server)
        return self.server_state(server)

    # --- sites and links -------------------------------------------------------------------

    def fail_site(self, site: str) -> Answer:
        """Power loss: first the site's network, so that no farewell escapes, then every server."""
        place = self.topology.site(site)
        servers = self._servers_at(site)
        began = Moment()
        self.network.cut_site(place)
        for name in servers:
            self.machine(name).cut_power()
        event = self.events.write("site_failed", since=began, site=site, servers=servers)
        with self.store.change() as draft:
            draft.failed_sites = sorted({*draft.failed_sites, site})
        # A boot that was under way when power failed is caught here, now that the record forbids new ones.
        self.cut_power_of(servers)
        self.settle_management()
        return {**self._site_state(site), "at": event["at"], "took_ms": event["took_ms"]}

    def heal_site(self, site: str) -> Answer:
        """Power and network return; servers that are fenced or kept off stay off."""
        place = self.topology.site(site)
        began = Moment()
        with self.store.change() as draft:
            draft.failed_sites = [name for name in draft.failed_sites if name != site]
        self.network.join_site(place)
        self.settle_management()
        booted = self.boot_all(name for name in self._servers_at(site) if self.record.boots_by_itself(name))
        self.events.write("site_healed", since=began, site=site, booted=booted)
        return {**self._site_state(site), "booted": booted}

    def isolate_site(self, site: str, management: bool) -> Answer:
        """Cut a site's WAN to every other site; its servers live on. `management` false: that is lost too."""
        if not management:
            with self.store.change() as draft:
                draft.dark_sites = sorted({*draft.dark_sites, site})
            self.settle_management()
        done = self._set_links("site_isolated", self._links_of(site), {"up": False})
        return {**self._site_state(site), "at": done["at"]}

    def restore_management(self, site: str) -> Answer:
        """Bring a site's management back; its WAN stays as it is."""
        place = self.topology.site(site).name
        if place in self.record.dark_sites:
            with self.store.change() as draft:
                draft.dark_sites = [name for name in draft.dark_sites if name != place]
            self.settle_management()
            self.events.write("management_restored", site=place)
        return self._site_state(place)

    def rejoin_site(self, site: str) -> Answer:
        """Mend a site's WAN to every other site, and its management."""
        self.restore_management(site)
        self._set_links("site_rejoined", self._links_of(site), {"up": True})
        return self._site_state(site)

    def cut_link(self, sites: tuple[str, str]) -> Answer:
        """Cut the WAN between two sites."""
        return self._set_links("link_cut", self.topology.link_names(sites), {"up": False})

    def heal_link(self, sites: tuple[str, str]) -> Answer:
        """Mend the WAN between two sites."""
        return self._set_links("link_healed", self.topology.link_names(sites), {"up": True})

    # --- parts of the above ----------------------------------------------------------------

    @property
    def without_management(self) -> set[str]:
        """The sites whose management answers nobody: it is lost, or has no power."""
        return {*self.record.failed_sites, *self.record.dark_sites}

    def settle_management(self) -> None:
        self.simulators.settle(self.record.failed_sites, self.record.dark_sites)

    def known(self, server: str) -> Server:
        if server not in self.record.servers:
            raise LabError(f"lab {self.topology.lab_id} has no server {server!r}; nothing was changed")
        return self.record.servers[server]

    def managed(self, server: str) -> Server:
        """Give a server whose site's management answers: without it nobody can act on its power or port."""
        known = self.known(server)
        if known.site in self.record.dark_sites:
            raise LabError(
                f"the management of site {known.site} does not answer; nothing was changed on {server}",
                hint="somebody at the site must look",
            )
        return known

    def machine(self, server: str) -> Machine:
        disk = Disk(self.folder / "hosts" / server, self.topology.lab_id)
        made = Machine(server, disk, self.cgroup / f"host-{server}", self.controllers)
        return self.machines.setdefault(server, made)

    def bounds_of(self, server: str) -> Bounds:
        """What a server is held to, read back while it is on; else what it boots with."""
        if self.machine(server).is_on():
            return in_force(self.controllers, server)
        return self.known(server).bounds

    def disks(self) -> dict[str, Disk]:
        return {name: self.machine(name).disk for name in self.record.servers}

    def _servers_at(self, site: str) -> list[str]:
        return sorted(name for name, server in self.record.servers.items() if server.site == site)

    def boot(self, name: str, *, behind_fence: bool = False) -> bool:
        """Boot one server if the record wants it on and it is off; tell whether it did."""
        machine, known = self.machine(name), self.known(name)
        site = self.topology.site(known.site)
        with machine.lock:
            fenced_on = (
                behind_fence and name in self.record.fences and known.site not in self.record.failed_sites
            )
            if not machine.stopped.is_set() or not (fenced_on or self.record.boots_by_itself(name)):
                return False

            def unplug() -> None:
                self.network.detach(name, site)

            machine.boot(self.known(name), lambda: self._plug_in(name), unplug)
            return True

    def _plug_in(self, name: str) -> str:
        """Plug a server in, as it boots or reboots; no fence comes or goes meanwhile."""
        known = self.known(name)
        site = self.topology.site(known.site)
        with self.machine(name).port:
            if known.reach is not None:
                return self.network.attach_isolated(name, site, known.address, known.reach)
            fenced = name in self.record.fences
            return self.network.attach(name, site, known.address, fenced=fenced)

    def boot_all(self, names: Iterable[str]) -> list[str]:
        wanted = list(names)
        return [name for name, booted in zip(wanted, in_parallel(self.boot, wanted), strict=True) if booted]

    def cut_power_of(self, names: Sequence[str]) -> None:
        for name in names:
            machine = self.machine(name)
            with machine.lock:
                self.cut(machine)
        for name in names:
            self.machine(name).await_stop()

    def cut(self, machine: Machine) -> None:
        # The port first: dying processes would send a farewell that a power cut never sends.
        self.network.set_port(machine.name, self.topology.site(self.known(machine.name).site), False)
        machine.cut_power()

    def _is_blocked(self, server: str, prohibited: Sequence[str]) -> bool:
        port_up = self.network.port_is_up(server, self.topology.site(self.known(server).site))
        return not port_up and set(prohibited) == set(self.topology.sites)

    def _isolated_to(self, server: str, known: Server) -> list[str] | None:
        """What an isolated server reaches, read back while it is on; None for all others."""
        if known.reach is None or not self.machine(server).is_on():
            return known.reach
        return self.network.let_through(server, self.topology.site(known.site), known.address)

    def _site_state(self, site: str) -> Answer:
        return {
            "site": site,
            "power": "failed" if site in self.record.failed_sites else "on",
            "network": "up" if self.network.site_is_up(self.topology.site(site)) else "down",
            "management": "down" if site in self.record.dark_sites else "up",
        }

    def links(self) -> Wan:
        if self._wan is None:
            raise LabError("the lab is still starting", hint="try again")
        return self._wan

    def _route_sites(self) -> None:
        for site in self.topology.sites.values():
            if site.name not in self.record.failed_sites:
                self.network.route_wan(site)

    def _links_of(self, site: str) -> tuple[str, ...]:
        """Name every directed link that leads from or to a site."""
        place = self.topology.site(site).name
        others = [other for other in self.topology.sites if other != place]
        return tuple(name for other in others for name in self.topology.link_names((place, other)))

    def _set_links(self, event: str, names: Sequence[str], condition: dict[str, object]) -> Answer:
        began = Moment()
        in_force = self.links().change(dict.fromkeys(names, condition))
        line = self.events.write(event, since=began, links=names, condition=condition)
        with self.store.change() as draft:
            for name in names:
                draft.links.setdefault(name, {}).update(condition)
        return {"links": {name: in_force[name] for name in names}, "at": line["at"]}


def merge(base: Mapping[str, Mapping[str, object]], over: Mapping[str, Mapping[str, object]]) -> Links:
    """Lay link conditions over others, key by key."""
    return {name: {**base.get(name, {}), **over.get(name, {})} for name in {**base, **over}}
