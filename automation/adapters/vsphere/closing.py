"""Closing a port group: at every host, and at every distributed switch, that has one of its name."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue
from pyVmomi import vim

from automation.adapters.vsphere.errors import reason
from automation.adapters.vsphere.facts import read_places
from automation.adapters.vsphere.host_settings import Arguments, State
from automation.adapters.vsphere.hosts import (
    GROUPS,
    NETWORK_SYSTEM,
    STATE,
    SWITCHES,
    NotTold,
    connected,
    name_of,
)
from automation.adapters.vsphere.reading import read_objects
from automation.adapters.vsphere.security_policies import FIELDS, Lets, Place
from automation.adapters.vsphere.sessions import Vcenter
from automation.adapters.vsphere.settling import run_task
from automation.model.errors import AdapterError

_TASK_S = 120.0
_SWITCH = vim.dvs.VmwareDistributedVirtualSwitch


class PortGroup:
    """What VMs may do in the port groups of one name; none where the switch decides.

    A host that is not connected is left out: what is shown of it is how it once was.
    """

    def __init__(self, vcenter: Vcenter, name: str, hosts: Sequence[Any]) -> None:
        self._vcenter, self._name, self._hosts = vcenter, name, hosts
        self._read: Mapping[str, Place] = {}  # what was read last: to read it is dear where hosts are many

    def read(self) -> State:
        """Give what is set at each place."""
        self._read = {place.at: place for place in self._places()}
        return {at: _as_json(place) for at, place in self._read.items()}

    def wanted(self, now: State, arguments: Arguments) -> State:
        """Forbid what is in effect anywhere; what is forbidden from above is left to it."""
        return {at: _closed(lets, self._read[at].effective) for at, lets in now.items()}

    def put(self, now: State, wanted: State) -> None:
        """Set what differs, place by place."""
        for at, lets in wanted.items():
            if now.get(at) == lets:
                continue
            if at not in self._read:
                raise self._refused(f"{at} has it no more")
            if at.startswith("host "):
                _set_standard(self._vcenter, self._read[at], _lets(lets))
            else:
                _set_distributed(self._vcenter, self._read[at], lets)

    def _places(self) -> list[Place]:
        paths = ("name", STATE, GROUPS, SWITCHES, NETWORK_SYSTEM)
        seen = [one for one in read_objects(self._vcenter, self._hosts, paths) if connected(one)]
        for host in seen:
            for path, fault in host.missing.items():
                raise self._refused(f"{name_of(host)}: {path}: {reason(fault)}")
        try:
            places = [one for one in read_places(self._vcenter, seen) if one.name == self._name]
        except NotTold as exc:
            raise self._refused(str(exc)) from exc
        if not places:
            raise self._refused("nothing that is connected has it")
        return places

    def _refused(self, why: str) -> AdapterError:
        return AdapterError(f"port group {self._name}: {why}; it was left as it is")


def _set_standard(vcenter: Vcenter, place: Place, lets: Lets) -> None:
    system: Any = place.seen.get(NETWORK_SYSTEM)
    spec = place.group.spec
    spec.policy = spec.policy or vim.host.NetworkPolicy()
    spec.policy.security = vim.host.NetworkPolicy.SecurityPolicy(
        **{field: lets[word] for word, field in FIELDS.items()}
    )
    vcenter.change(lambda _content: system.UpdatePortGroup(place.name, spec))


def _set_distributed(vcenter: Vcenter, place: Place, wanted: JsonValue) -> None:
    group: Any = place.seen.ref
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion=place.seen.get("config.configVersion"), defaultPortConfig=_policy(place.group, wanted)
    )
    run_task(
        vcenter,
        f"port group {place.name}",
        lambda _content: group.ReconfigureDVPortgroup_Task(spec),
        timeout_s=_TASK_S,
    )


def _policy(now: Any, wanted: JsonValue) -> Any:
    """Give what is to be set of a distributed port group: what is unset here stays as it is there."""
    lets, inherited = _lets(wanted), _is_inherited(wanted)
    policy = getattr(now, "macManagementPolicy", None)
    if policy is None:  # a switch before 6.6 has the older form
        older = {
            field: vim.BoolPolicy(inherited=lets[word] is None, value=lets[word])
            for word, field in FIELDS.items()
        }
        return _SWITCH.VmwarePortConfigPolicy(
            securityPolicy=_SWITCH.SecurityPolicy(inherited=inherited, **older)
        )
    for word, field in FIELDS.items():
        setattr(policy, field, lets[word])
    policy.inherited = inherited
    return _SWITCH.VmwarePortConfigPolicy(macManagementPolicy=policy)


def _closed(now: JsonValue, effective: Lets) -> JsonValue:
    """Forbid what is in effect; what is forbidden of its own follows its switch no more."""
    own = _lets(now)
    lets = {word: own[word] if effective.get(word) is False else False for word in FIELDS}
    if not isinstance(now, dict) or "inherited" not in now:
        return dict(lets)
    return {**lets, "inherited": _is_inherited(now) and lets == own}


def _as_json(place: Place) -> JsonValue:
    lets = {word: place.set[word] for word in FIELDS}
    return dict(lets) if place.inherited is None else {**lets, "inherited": place.inherited}


def _is_inherited(state: JsonValue) -> bool:
    return isinstance(state, dict) and state.get("inherited") is True


def _lets(state: JsonValue) -> Lets:
    known: Mapping[str, JsonValue] = state if isinstance(state, dict) else {}
    values = {word: known.get(word) for word in FIELDS}
    return {word: value if isinstance(value, bool) else None for word, value in values.items()}
