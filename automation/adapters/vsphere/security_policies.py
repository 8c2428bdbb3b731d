"""What port groups let VMs do: as it is set, and as it is in effect; one of a name is one network. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pyVmomi import vim

from automation.adapters.vsphere.hosts import GROUPS, SWITCHES, name_of
from automation.adapters.vsphere.reading import Seen

DISTRIBUTED = vim.dvs.DistributedVirtualPortgroup
DEFAULTS = "config.defaultPortConfig"
DISTRIBUTED_PATHS = ("name", DEFAULTS, "config.configVersion", "config.uplink")
FIELDS: Mapping[str, str] = {
    "promiscuous": "allowPromiscuous",
    "mac_changes": "macChanges",
    "forged": "forgedTransmits",
}
Lets = Mapping[str, bool | None]


class Place(NamedTuple):
    """A port group where it is set: at one host, or at a distributed switch.

    `set` has none where the switch decides; `effective` has none where nobody says; `inherited`, whether it
    follows its switch, has none where it is not distributed.
    """

    name: str
    at: str
    set: Lets
    effective: Lets
    seen: Seen
    group: Any
    inherited: bool | None = None


def standard_places(host: Seen) -> Iterator[Place]:
    """Give the port groups of the standard switches of a host."""
    switches = {one.name: one for one in host.get(SWITCHES) or ()}
    for group in host.get(GROUPS) or ():
        own = _lets(group.spec.policy)
        switch = switches.get(group.spec.vswitchName)
        above = _lets(None if switch is None else switch.spec.policy)
        effective = {word: above[word] if own[word] is None else own[word] for word in FIELDS}
        yield Place(str(group.spec.name), f"host {name_of(host)}", own, effective, host, group)


def distributed_place(group: Seen) -> Place | None:
    """Give a port group of a distributed switch; none where it is the switch's way out."""
    if group.get("config.uplink"):
        return None
    setting = group.get(DEFAULTS)
    policy = getattr(setting, "macManagementPolicy", None)
    if policy is not None:
        own: Lets = {word: getattr(policy, field) for word, field in FIELDS.items()}
    else:  # a switch before 6.6 has the older form
        policy = getattr(setting, "securityPolicy", None)
        own = {word: _value(getattr(policy, field, None)) for word, field in FIELDS.items()}
    inherited = bool(getattr(policy, "inherited", False))
    return Place(str(group.get("name")), f"distributed {group.moid}", own, own, group, setting, inherited)


def lets_by_name(places: Iterable[Place]) -> dict[str, dict[str, bool | None]]:
    """Give what each network lets VMs do: yes where it does so anywhere, none where nobody says."""
    found: dict[str, list[Lets]] = {}
    for place in places:
        found.setdefault(place.name, []).append(place.effective)
    return {
        name: {word: _any([one[word] for one in some]) for word in FIELDS}
        for name, some in sorted(found.items())
    }


def _lets(policy: Any) -> dict[str, bool | None]:
    security = getattr(policy, "security", None)
    return {word: getattr(security, field, None) for word, field in FIELDS.items()}


def _value(policy: Any) -> bool | None:
    return None if policy is None else policy.value


def _any(values: list[bool | None]) -> bool | None:
    if any(values):
        return True
    return None if None in values else False
