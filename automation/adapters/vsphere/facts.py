"""Facts of a vCenter: two sweeps of the property collector, and the exception users of each host."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from pydantic import JsonValue

from automation.adapters.vsphere import hosts
from automation.adapters.vsphere.errors import FAULTS, reason
from automation.adapters.vsphere.hosts import NotTold, connected, name_of, require_told
from automation.adapters.vsphere.reading import Seen, sweep
from automation.adapters.vsphere.security_policies import (
    DISTRIBUTED,
    DISTRIBUTED_PATHS,
    Place,
    distributed_place,
    lets_by_name,
    standard_places,
)
from automation.adapters.vsphere.sessions import Vcenter, named
from automation.adapters.vsphere.stub import numbers
from automation.model.actions import CollectVcenterFacts
from automation.model.errors import AdapterError
from automation.model.facts import Facts
from automation.model.kept_facts import keep_facts
from automation.model.records import Context, Outcome

_NO_WORD = "the web service of vCenter that is asked here has no word for it"
# Only other interfaces of vCenter have these: of its single sign-on, its appliance, its lifecycle service.
NOT_ASKED = {
    "sso": f"{_NO_WORD}; single sign-on has",
    "tls": f"{_NO_WORD}; its appliance has, and esxcli of each host",
    "patches": f"{_NO_WORD}; its lifecycle service has",
    "backup": f"{_NO_WORD}; its appliance has",
}
# The end of general support, by release. Source: Broadcom's product lifecycle matrix.
SUPPORTED_UNTIL = {
    "6.0": date(2020, 3, 12),
    "6.5": date(2022, 10, 15),
    "6.7": date(2022, 10, 15),
    "7.0": date(2025, 10, 2),
    "8.0": date(2027, 10, 11),
}
_SAYS_SECURE_BOOT = (8, 0, 3, 0)  # of the API
_OF_EACH: dict[str, Callable[[Seen], dict[str, JsonValue]]] = {
    "shells": hosts.shells,
    "logs": hosts.logs,
    "clocks": hosts.clocks,
    "trusted_boot": hosts.trusted_boot,
    "lockouts": hosts.lockouts,
}


class Sections:
    """The sections of a vCenter while they are collected: each is known, or has a reason."""

    def __init__(self) -> None:
        self.known: dict[str, JsonValue] = {}
        self.unknown: dict[str, str] = dict(NOT_ASKED)

    def add(self, section: str, read: Callable[[], JsonValue]) -> None:
        """Add a section; what goes wrong is its own, and no other's."""
        try:
            self.known[section] = read()
        except AdapterError as exc:
            self.unknown[section] = str(exc)
        except FAULTS as exc:
            self.unknown[section] = reason(exc)


def collect_facts(action: CollectVcenterFacts, ctx: Context) -> Outcome:
    """Collect a vCenter's facts and keep them; what could not be read is named in them, with the reason.

    Raises:
        AdapterError: nobody can log in there, or it does not answer.
    """
    what = f"facts of {action.vcenter} could not be collected"
    with named(ctx, action.vcenter, what) as vcenter:
        about = vcenter.read(lambda content: content.about)
        facts = facts_of(vcenter, action.vcenter, str(about.version))
    missing = f", {len(facts.unknown)} not known" if facts.unknown else ""
    return Outcome(
        changed=False,
        summary=f"{action.vcenter}: {len(facts.sections)} sections{missing}",
        evidence=keep_facts(facts, ctx.artifacts),
    )


def facts_of(vcenter: Vcenter, name: str, version: str) -> Facts:
    """Read all that a vCenter shows to its login."""
    found, at = Sections(), datetime.now(UTC)
    try:
        seen = read_hosts(vcenter)
    except FAULTS as exc:
        found.unknown |= dict.fromkeys(("hosts", "all_hosts", *hosts.NEEDED), reason(exc))
    else:
        _add_hosts(found, vcenter, seen)
        standing = [one for one in seen if connected(one)]
        found.add("support", lambda: supported(name, version, standing, at.date()))
    return Facts(
        subject=name,
        platform="vsphere",
        collected_at=at,
        source=vcenter.source,
        sections=found.known,
        unknown=found.unknown,
    )


def read_hosts(vcenter: Vcenter) -> list[Seen]:
    """Read every host that is shown, by name, in one round trip a page."""
    root = vcenter.read(lambda content: content.rootFolder)
    api = vcenter.read(lambda content: content.about.apiVersion)
    paths = hosts.paths(secure_boot=numbers(str(api)) >= _SAYS_SECURE_BOOT)
    return sorted(sweep(vcenter, root, {hosts.KIND: paths}), key=name_of)


def read_places(vcenter: Vcenter, seen: Sequence[Seen]) -> list[Place]:
    """Read the port groups of distributed switches, and give them beside those of hosts."""
    root = vcenter.read(lambda content: content.rootFolder)
    groups = sweep(vcenter, root, {DISTRIBUTED: DISTRIBUTED_PATHS})
    distributed = [place for one in groups if (place := distributed_place(_whole(one))) is not None]
    return [*(place for host in seen for place in standard_places(host)), *distributed]


def _whole(group: Seen) -> Seen:
    for path, fault in group.missing.items():
        raise NotTold(f"{group.get('name') or group.moid}: {path}: {reason(fault)}")
    return group


def _add_hosts(found: Sections, vcenter: Vcenter, seen: Sequence[Seen]) -> None:
    standing = [one for one in seen if connected(one)]
    found.known["hosts"] = [
        {"name": name_of(one), "connected": connected(one), "version": str(one.get(hosts.VERSION) or "")}
        for one in seen
    ]
    found.add("all_hosts", lambda: _all_answer(seen))
    found.add("lockdown", lambda: [_lockdown(vcenter, one) for one in standing])
    found.add("port_groups", lambda: _port_groups(vcenter, standing))
    for section, read in _OF_EACH.items():
        found.add(section, partial(_each, standing, section, read))


def _each(
    standing: Sequence[Seen], section: str, read: Callable[[Seen], dict[str, JsonValue]]
) -> list[JsonValue]:
    facts: list[JsonValue] = []
    for host in standing:
        require_told(host, section)
        facts.append(read(host))
    return facts


def _all_answer(seen: Sequence[Seen]) -> bool:
    """True; anything else is not known: a vCenter shows nobody what his role does not let him see."""
    if not seen:
        raise NotTold("no host is shown: there is none, or this login may see none")
    away = [f"{name_of(one)} is {one.get(hosts.STATE)}" for one in seen if not connected(one)]
    if away:
        raise NotTold(", ".join(away))
    return True


def _lockdown(vcenter: Vcenter, host: Seen) -> JsonValue:
    require_told(host, "lockdown")
    return {
        "name": name_of(host),
        "mode": hosts.LOCKDOWN.get(str(host.get(hosts.MODE)), str(host.get(hosts.MODE))),
        "exceptions": list(exception_users(vcenter, host)),
    }


def exception_users(vcenter: Vcenter, host: Seen) -> list[str]:
    """Ask who keeps his rights at a host that is locked down."""
    access: Any = host.get(hosts.ACCESS)
    if access is None:
        raise NotTold(f"{name_of(host)}: its access manager was not given")
    answer = vcenter.read(lambda _content: access.QueryLockdownExceptions())
    return sorted(str(one) for one in answer or ())


def _port_groups(vcenter: Vcenter, standing: Sequence[Seen]) -> JsonValue:
    for host in standing:
        require_told(host, "port_groups")
    lets = lets_by_name(read_places(vcenter, standing))
    if not lets:
        raise NotTold("no port group is shown: there is none, or this login may see none")
    return [{"name": name, **some} for name, some in lets.items()]


def supported(name: str, version: str, standing: Sequence[Seen], today: date) -> JsonValue:
    """Say of a vCenter and of each of its hosts whether its release is still in general support. Pure.

    Raises:
        NotTold: the end of a release is not known here.
    """
    for host in standing:
        require_told(host, "support")
    versions = {name: version} | {name_of(one): str(one.get(hosts.VERSION) or "") for one in standing}
    releases = {one: ".".join(text.split(".")[:2]) for one, text in versions.items()}
    for one, release in releases.items():
        if release not in SUPPORTED_UNTIL:
            raise NotTold(f"{one}: how long release {release or 'none'} is supported is not known here")
    return [
        {"name": one, "supported": today <= SUPPORTED_UNTIL[release]} for one, release in releases.items()
    ]
