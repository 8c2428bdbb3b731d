"""Port groups as the hosts of the cluster have them: one of a name at every host is one network."""

from collections.abc import Mapping
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.attributes import fields_of, marks_of
from automation.adapters.vsphere.devices import Port
from automation.adapters.vsphere.places import Places, cluster_of, places_of, require
from automation.adapters.vsphere.reading import Seen
from automation.adapters.vsphere.sessions import Vcenter
from automation.model.servers import OWNER, ROLE, FoundNetwork


def port_named(vcenter: Vcenter, places: Places, name: str) -> Port:
    """Give a network as adapters are put into it; it is read anew when it is not known yet."""
    found = places.named(vim.Network, name)
    if found is None:
        places = places_of(vcenter, fresh=True)
        found = require(vcenter, places, vim.Network, name, "network")
    if not isinstance(found.ref, vim.dvs.DistributedVirtualPortgroup):
        return Port(name, found.ref)
    switch = places.by_id(found.get("config.distributedVirtualSwitch")._moId)
    return Port(name, found.ref, str(found.get("key")), str(switch.get("uuid")) if switch else "")


def found_networks(
    vcenter: Vcenter, places: Places, names: frozenset[str], used: Mapping[str, int]
) -> tuple[FoundNetwork, ...]:
    """Give the networks that bear a mark of Mainstay, and those of the names."""
    fields = fields_of(vcenter)
    every = (found_network(vcenter, places, str(one.get("name")), fields) for one in places.of(vim.Network))
    return tuple(
        one.model_copy(update={"used_by": used.get(one.id, 0)})
        for one in every
        if one is not None and (one.owner or one.name in names)
    )


def found_network(
    vcenter: Vcenter, places: Places, name: str, fields: Mapping[str, int]
) -> FoundNetwork | None:
    """Give one network as the hosts of the cluster have it; a VLAN of -1 says that they do not agree."""
    network = places.named(vim.Network, name)
    if network is None:
        return None
    groups = [group_of(host, name) for host in places.hosts_of(cluster_of(vcenter, places))]
    vlans = {-1 if group is None else int(group.spec.vlanId) for group in groups}
    switches = {group.spec.vswitchName for group in groups if group is not None}
    marks = marks_of(network, fields)
    distributed = not switches
    return FoundNetwork(
        name=marks.get(ROLE) or name,
        id=network.moid,
        provider="vsphere",
        site=vcenter.site,
        owner=marks.get(OWNER, ""),
        part_of=switches.pop() if len(switches) == 1 else "",
        vlan=0 if distributed else vlans.pop() if len(vlans) == 1 else -1,
        isolated=not distributed and not ways_out(vcenter, places, name)[1],
    )


def group_of(host: Seen, name: str) -> Any | None:
    """Give the standard port group of a name at a host."""
    groups = host.get("config.network.portgroup") or ()
    return next((group for group in groups if group.spec.name == name), None)


def switch_of(host: Seen, name: str) -> Any | None:
    """Give the standard switch of a name at a host."""
    switches = host.get("config.network.vswitch") or ()
    return next((switch for switch in switches if switch.name == name), None)


def ways_out(vcenter: Vcenter, places: Places, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give what each host's switch has, and where that leads out of it."""
    seen, ways = [], []
    for host in places.hosts_of(cluster_of(vcenter, places)):
        group = group_of(host, name)
        switch = None if group is None else switch_of(host, group.spec.vswitchName)
        if switch is None:
            ways.append(f"{host.get('name')}: no standard switch has it")
            continue
        uplinks = ", ".join(nic.rpartition("-")[2] for nic in switch.pnic or ())
        seen.append(f"{host.get('name')}: {switch.name}, {f'uplinks {uplinks}' if uplinks else 'no uplink'}")
        ways += [seen[-1]] if uplinks else []
    return tuple(seen), tuple(ways)
