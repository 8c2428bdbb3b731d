"""All that a plan needs to know of one vCenter, in as few round trips as can be."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.devices import cards, found_disks, network_of
from automation.adapters.vsphere.marks import PATH
from automation.adapters.vsphere.permissions import OF_SERVERS, privileges_for
from automation.adapters.vsphere.places import (
    Places,
    Vm,
    cluster_of,
    our_folder,
    places_of,
    pool_of,
    require,
    vm_of,
)
from automation.adapters.vsphere.port_groups import found_networks
from automation.adapters.vsphere.reading import now, sweep
from automation.adapters.vsphere.sessions import Vcenter, seen
from automation.model.environment import Environment
from automation.model.servers import (
    FoundNetwork,
    FoundServer,
    NetworkSpec,
    Power,
    ProviderView,
    Quota,
    ServerSpec,
    Size,
)

_MIB = 2**20
_PATHS = (
    "name",
    PATH,
    "config.template",
    "config.createDate",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "runtime.powerState",
    "guest.ipAddress",
)
# By which privileges plans of servers act on what, and so are asked for there.
_ASKED_ON: Mapping[str, tuple[str, ...]] = {
    "root folder": ("Global.ManageCustomFields",),
    "folder": ("VirtualMachine.", "Folder.", "Global.SetCustomField"),
    "datastore": ("Datastore.",),
    "resource pool": ("Resource.",),
    "cluster": ("Host.",),
    "network": ("Network.",),
}
_POWER: Mapping[str, Power] = {"poweredOn": "on", "poweredOff": "off"}


def look(
    environment: Environment,
    site: str,
    state: Path,
    wanted: Sequence[ServerSpec],
    networks: Sequence[NetworkSpec],
) -> ProviderView:
    """See what a vCenter holds: VMs, networks of ours or of the wanted names, images, what is denied.

    Raises:
        AdapterError: it cannot be looked at; nothing was changed.
    """
    with seen(environment, site, state).telling(f"site {site} could not be looked at") as vcenter:
        before = vcenter.round_trips
        places, their_now = places_of(vcenter, fresh=True), now(vcenter)
        at = datetime.now(UTC)
        everything = [vm_of(one) for one in sweep(vcenter, places.datacenter, {vim.VirtualMachine: _PATHS})]
        vms = [vm for vm in everything if not vm.seen.get("config.template")]
        used = Counter(network_of(card) for vm in vms for card in cards(vm.devices))
        names = frozenset(one.name for one in networks)
        found = found_networks(vcenter, places, names, used)
        wanted_names = {name for one in wanted for name in one.networks}
        network_names = _names_of(places, names | wanted_names, found)
        return ProviderView(
            provider="vsphere",
            site=site,
            at=at,
            servers=tuple(found_server(site, vm, network_names) for vm in vms),
            networks=found,
            images=_images(everything, wanted),
            quotas=_quotas(vcenter, places),
            denied=_denied(vcenter, places, names | wanted_names),
            clock_skew_s=(their_now - at).total_seconds(),
            round_trips=vcenter.round_trips - before,
            source=vcenter.source,
        )


def found_server(site: str, vm: Vm, networks: Mapping[str, str]) -> FoundServer:
    """Give one VM as it was read; a mark that came with its disk from another site is none. Pure.

    Args:
        networks: names of networks by their ids.
    """
    seen_ = vm.seen
    mark = vm.mark if vm.mark is not None and vm.mark.site == site else None
    made_at = seen_.get("config.createDate")
    return FoundServer(
        name=mark.name if mark else str(seen_.get("name", vm.moid)),
        id=vm.moid,
        provider="vsphere",
        site=site,
        owner=mark.environment if mark else "",
        power=_POWER.get(str(seen_.get("runtime.powerState")), "changing"),
        image=mark.image if mark else "",
        size=Size(
            cpus=seen_.get("config.hardware.numCPU", 0),
            memory=seen_.get("config.hardware.memoryMB", 0) * _MIB,
        ),
        disks=found_disks(vm.moid, vm.devices, mark.disks if mark else {}),
        networks=tuple(networks.get(network_of(card), network_of(card)) for card in cards(vm.devices)),
        addresses=(vm.address,) if vm.address else (),
        tags=dict(mark.tags) if mark else {},
        made_by=mark.run if mark else "",
        made_at=made_at.astimezone(UTC) if made_at else None,
    )


def _names_of(places: Places, declared: frozenset[str], found: Sequence[FoundNetwork]) -> dict[str, str]:
    """Name the networks that a server may be declared in: those of ours, and what was there before us."""
    there = ((one.moid, str(one.get("name"))) for one in places.of(vim.Network))
    return {moid: name for moid, name in there if name in declared} | {one.id: one.name for one in found}


def _images(everything: Iterable[Vm], wanted: Sequence[ServerSpec]) -> dict[str, str]:
    """Give the templates that are asked for, by the word that asks; one of two of a name is none."""
    templates = [vm for vm in everything if vm.seen.get("config.template")]
    asked = {spec.image for spec in wanted if spec.image}
    found = {word: [vm.moid for vm in templates if word in (vm.seen.get("name"), vm.moid)] for word in asked}
    return {word: moids[0] for word, moids in found.items() if len(moids) == 1}


def _quotas(vcenter: Vcenter, places: Places) -> tuple[Quota, ...]:
    store = require(vcenter, places, vim.Datastore, vcenter.provider.datastore, "datastore")
    capacity, free = store.get("summary.capacity", 0), store.get("summary.freeSpace", 0)
    return (Quota(name="disk-bytes", limit=capacity, used=capacity - free),)


def _denied(vcenter: Vcenter, places: Places, networks: frozenset[str]) -> dict[str, str]:
    """Ask which privileges of all that our plans of servers need are missing, each where it is needed."""
    entities = _entities(vcenter, places, networks)
    needed = privileges_for(OF_SERVERS)
    answer = vcenter.read(
        lambda content: content.authorizationManager.HasPrivilegeOnEntities(
            [content.rootFolder, *(ref for _, ref in entities)], vcenter.session_key, list(needed)
        )
    )
    granted = {
        one.entity._moId: {each.privId for each in one.privAvailability if each.isGranted} for one in answer
    }
    entities.append(("root folder", answer[0].entity))
    denied = {}
    for place, ref in entities:
        for privilege in needed:
            if privilege.startswith(_ASKED_ON[place]) and privilege not in granted.get(ref._moId, set()):
                on = vcenter.names.get(ref._moId, "")
                denied[privilege] = f"{vcenter.user} does not hold it on {place} {on}".rstrip()
    return denied


def _entities(vcenter: Vcenter, places: Places, networks: frozenset[str]) -> list[tuple[str, Any]]:
    """Give where servers are made; of a network that is still to be made nobody can be asked."""
    store = require(vcenter, places, vim.Datastore, vcenter.provider.datastore, "datastore").ref
    return [
        ("folder", our_folder(vcenter, places) or places.vm_folder),
        ("datastore", store),
        ("resource pool", pool_of(vcenter, places)),
        ("cluster", cluster_of(vcenter, places).ref),
        *(("network", one.ref) for one in places.of(vim.Network) if one.get("name") in networks),
    ]
