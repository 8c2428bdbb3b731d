"""Port groups: one of a name at every host of the cluster is one network, marked by custom attributes.

A standard port group cannot be marked by the call that makes it. So our folder says first which one is being
made; what stands there unmarked after a crash is then known as ours, and nothing else unmarked ever is.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.attributes import MAKING, fields_of, marks_of, write_marks
from automation.adapters.vsphere.folders import make_folder
from automation.adapters.vsphere.places import Places, cluster_of, our_folder, places_of, require
from automation.adapters.vsphere.port_groups import found_network, group_of, switch_of, ways_out
from automation.adapters.vsphere.reading import Seen, read_one
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.adapters.vsphere.settling import settle
from automation.model.actions import ChangePortGroup, CreatePortGroup, DeletePortGroup, ProvePortGroup
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome, Progress
from automation.model.replicas import NetworkProven
from automation.model.servers import OWNER, ROLE, RUN, FoundNetwork, NetworkSpec

ISOLATED_SWITCH, _COMMON_SWITCH = "mainstay-isolated", "vSwitch0"
_PORTS = 128
_SETTLES_S = 120.0
_ONE_AT_A_TIME = threading.Lock()  # our folder says which one is being made: one


def create_network(action: CreatePortGroup, ctx: Context) -> Outcome:
    """Make a port group at every host of the cluster and mark it; one of ours that is there is found."""
    spec = action.network
    with at(ctx, spec.site, f"port group {spec.name} could not be made") as vcenter, _ONE_AT_A_TIME:
        places = places_of(vcenter, fresh=True)
        fields = fields_of(vcenter)
        _refuse_foreign(vcenter, places, spec.name, fields)
        if (found := found_network(vcenter, places, spec.name, fields)) and _is_so(found, spec):
            return _changed(vcenter, found, "found", changed=False)
        folder = make_folder(vcenter)
        write_marks(vcenter, folder, {MAKING: spec.name})
        _ensure_switch(vcenter, spec)
        _ensure_groups(vcenter, spec)
        network = require(vcenter, places_of(vcenter, fresh=True), vim.Network, spec.name, "network").ref
        write_marks(vcenter, network, {OWNER: vcenter.environment, ROLE: spec.name, RUN: ctx.run_id})
        write_marks(vcenter, folder, {MAKING: ""})
        return _changed(vcenter, _read_back(vcenter, spec), "created", changed=True)


def verify_create_network(action: CreatePortGroup, ctx: Context) -> Progress:
    """See whether it is there at every host, marked."""
    with at(ctx, action.network.site, f"port group {action.network.name} could not be looked at") as vcenter:
        found = found_network(
            vcenter, places_of(vcenter, fresh=True), action.network.name, fields_of(vcenter)
        )
        if found is None or found.owner != vcenter.environment or not _is_so(found, action.network):
            return Progress(state="not_done", why="it is not there, or not marked")
        return Progress(state="done", outcome=_changed(vcenter, found, "created", changed=True))


def change_network(action: ChangePortGroup, ctx: Context) -> Outcome:
    """Give a port group of ours the declared VLAN at every host."""
    spec = action.network
    with at(ctx, spec.site, f"port group {spec.name} could not be changed") as vcenter:
        found = _ours(vcenter, spec.name)
        if _is_so(found, spec):
            return _changed(vcenter, found, "found", changed=False)
        _ensure_groups(vcenter, spec)
        return _changed(vcenter, _read_back(vcenter, spec), "changed", changed=True)


def verify_change_network(action: ChangePortGroup, ctx: Context) -> Progress:
    """See whether it is as declared at every host."""
    with at(ctx, action.network.site, f"port group {action.network.name} could not be looked at") as vcenter:
        found = _ours(vcenter, action.network.name)
        if not _is_so(found, action.network):
            return Progress(state="not_done", why="it is not as declared")
        return Progress(state="done", outcome=_changed(vcenter, found, "changed", changed=True))


def delete_network(action: DeletePortGroup, ctx: Context) -> Outcome:
    """Remove a port group of ours that nothing uses from every host."""
    with at(ctx, action.site, f"port group {action.name} could not be removed") as vcenter:
        found = _doomed(vcenter, action)
        if found is None:
            return _gone(vcenter, action, changed=False)

        def act() -> None:
            for system in _systems_with(vcenter, action.name):
                _remove(vcenter, system, action.name)

        settle(
            vcenter,
            f"port group {action.name} could not be removed",
            lambda: None if _systems_with(vcenter, action.name) else True,
            act,
            timeout_s=_SETTLES_S,
        )
        return _gone(vcenter, action, changed=True)


def verify_delete_network(action: DeletePortGroup, ctx: Context) -> Progress:
    """See whether no host has it any more."""
    with at(ctx, action.site, f"port group {action.name} could not be looked at") as vcenter:
        if _doomed(vcenter, action) is not None:
            return Progress(state="not_done", why="it is there")
        return Progress(state="done", outcome=_gone(vcenter, action, changed=True))


def prove_network(action: ProvePortGroup, ctx: Context) -> Outcome:
    """See that a port group's switch has no uplink at any host of the cluster."""
    with at(ctx, action.site, f"port group {action.name} could not be looked at") as vcenter:
        places = places_of(vcenter, fresh=True)
        network = require(vcenter, places, vim.Network, action.name, "network")
        seen, open_ways = ways_out(vcenter, places, action.name)
        if open_ways:
            raise AdapterError(
                f"port group {action.name} at {vcenter.provider.address} has a way out: "
                f"{', '.join(open_ways)}; nothing was changed",
                hint="declare it isolated in networks.yml, on a switch without uplinks",
            )
        evidence = NetworkProven(
            provider="vsphere",
            site=vcenter.site,
            name=action.name,
            id=network.moid,
            seen=seen,
            source=vcenter.source,
        )
        summary = f"port group {action.name} has no uplink at {len(seen)} hosts"
        return Outcome(changed=False, summary=summary, evidence=evidence)


# --- parts of the above ---------------------------------------------------------------------------


def _switch_name(spec: NetworkSpec) -> str:
    return spec.part_of or (ISOLATED_SWITCH if spec.isolated else _COMMON_SWITCH)


def _is_so(found: FoundNetwork, spec: NetworkSpec) -> bool:
    return bool(found.owner) and found.vlan == spec.vlan and found.part_of == _switch_name(spec)


def _refuse_foreign(vcenter: Vcenter, places: Places, name: str, fields: Mapping[str, int]) -> None:
    there = places.named(vim.Network, name)
    if there is None:
        return
    owner = marks_of(there, fields).get(OWNER, "")
    folder = our_folder(vcenter, places)
    known = None if folder is None else places.by_id(folder._moId)
    seen = None if known is None else read_one(vcenter, known.ref, ("customValue",))
    making = {} if seen is None else marks_of(seen, fields)
    if owner == vcenter.environment or (not owner and making.get(MAKING) == name):
        return
    raise AdapterError(
        f"{vcenter.provider.address} has a network {name} of {owner or 'nobody of ours'}; nothing was "
        "changed",
        hint="give ours another name in networks.yml",
    )


def _ensure_switch(vcenter: Vcenter, spec: NetworkSpec) -> None:
    """Make the switch of an isolated network where it is missing; any other switch must be there."""
    name = _switch_name(spec)

    def lacking() -> list[Seen]:
        places = places_of(vcenter, fresh=True)
        hosts = places.hosts_of(cluster_of(vcenter, places))
        return [host for host in hosts if switch_of(host, name) is None]

    def act() -> None:
        wanted = vim.host.VirtualSwitch.Specification(numPorts=_PORTS)
        for host in lacking():
            _add_switch(vcenter, host.get("configManager.networkSystem"), name, wanted)

    if lacking() and not spec.isolated:
        raise AdapterError(
            f"port group {spec.name}: {', '.join(str(host.get('name')) for host in lacking())} has no switch "
            f"{name}; nothing was changed",
            hint="networks.yml: part_of names a switch of every host of the cluster",
        )
    settle(
        vcenter,
        f"switch {name} could not be made",
        lambda: None if lacking() else True,
        act,
        timeout_s=_SETTLES_S,
    )


def _ensure_groups(vcenter: Vcenter, spec: NetworkSpec) -> None:
    """Make and change the port group at every host that has it not, or otherwise."""
    wanted = vim.host.PortGroup.Specification(
        name=spec.name,
        vlanId=spec.vlan,
        vswitchName=_switch_name(spec),
        policy=vim.host.NetworkPolicy(),
    )

    def lacking() -> list[tuple[Any, Any | None]]:
        places = places_of(vcenter, fresh=True)
        hosts = places.hosts_of(cluster_of(vcenter, places))
        groups = ((host.get("configManager.networkSystem"), group_of(host, spec.name)) for host in hosts)
        return [
            (system, group)
            for system, group in groups
            if group is None
            or (group.spec.vlanId, group.spec.vswitchName) != (wanted.vlanId, wanted.vswitchName)
        ]

    def act() -> None:
        for system, group in lacking():
            vcenter.change(_group_call(system, wanted, group))

    what = f"port group {spec.name} could not be made"
    settle(vcenter, what, lambda: None if lacking() else True, act, timeout_s=_SETTLES_S)


def _add_switch(vcenter: Vcenter, system: Any, name: str, wanted: Any) -> None:
    vcenter.change(lambda _content: system.AddVirtualSwitch(name, wanted))


def _remove(vcenter: Vcenter, system: Any, name: str) -> None:
    vcenter.change(lambda _content: system.RemovePortGroup(name))


def _group_call(system: Any, wanted: Any, there: Any | None) -> Callable[[Any], Any]:
    """Make a port group, or change one and leave its policy: a baseline may have closed it."""
    if there is None:
        return lambda _content: system.AddPortGroup(wanted)
    changed = vim.host.PortGroup.Specification(
        name=wanted.name, vlanId=wanted.vlanId, vswitchName=wanted.vswitchName, policy=there.spec.policy
    )
    return lambda _content: system.UpdatePortGroup(changed.name, changed)


def _ours(vcenter: Vcenter, name: str) -> FoundNetwork:
    found = found_network(vcenter, places_of(vcenter, fresh=True), name, fields_of(vcenter))
    if found is None or found.owner != vcenter.environment:
        raise AdapterError(
            f"{vcenter.provider.address} has no network {name} that bears the mark of {vcenter.environment}; "
            "nothing was changed",
            hint=f"./inv provision.plan --env {vcenter.environment}",
        )
    return found


def _read_back(vcenter: Vcenter, spec: NetworkSpec) -> FoundNetwork:
    found = _ours(vcenter, spec.name)
    if not _is_so(found, spec):
        raise AdapterError(f"network {spec.name} was read back with VLAN {found.vlan}", unknown=True)
    return found


def _doomed(vcenter: Vcenter, action: DeletePortGroup) -> FoundNetwork | None:
    """Give what is to be removed; None when it is gone; another one of that name is refused."""
    places = places_of(vcenter, fresh=True)
    found = found_network(vcenter, places, action.name, fields_of(vcenter))
    if found is None:
        return None
    if found.owner != vcenter.environment or found.id != action.id:
        raise AdapterError(
            f"network {action.name} at {vcenter.provider.address} is {found.id} of "
            f"{found.owner or 'nobody'}, not {action.id} of ours; nothing was changed"
        )
    return found


def _systems_with(vcenter: Vcenter, name: str) -> list[Any]:
    places = places_of(vcenter, fresh=True)
    hosts = places.hosts_of(cluster_of(vcenter, places))
    return [host.get("configManager.networkSystem") for host in hosts if group_of(host, name) is not None]


def _changed(vcenter: Vcenter, found: FoundNetwork, verb: str, *, changed: bool) -> Outcome:
    evidence = ProviderChange.model_validate(
        {
            "provider": "vsphere",
            "site": vcenter.site,
            "what": "network",
            "name": found.name,
            "verb": verb,
            "ids": {"network": found.id},
            "source": vcenter.source,
        }
    )
    return Outcome(changed=changed, summary=f"port group {found.name} ({found.id}) {verb}", evidence=evidence)


def _gone(vcenter: Vcenter, action: DeletePortGroup, *, changed: bool) -> Outcome:
    evidence = ProviderChange(
        provider="vsphere",
        site=vcenter.site,
        what="network",
        name=action.name,
        verb="deleted",
        ids={"network": action.id},
        source=vcenter.source,
    )
    return Outcome(changed=changed, summary=f"port group {action.name} is gone", evidence=evidence)
