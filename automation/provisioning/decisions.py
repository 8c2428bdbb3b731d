"""What is to be done about every server and network, declared or found, and why. Pure.

Only what bears our mark is ever changed. What cannot be done without loss, or without a restart, is shown
and waits for a person to name it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from automation.model.base import Model, format_size
from automation.model.servers import (
    FoundDisk,
    FoundNetwork,
    FoundServer,
    NetworkSpec,
    ProviderKind,
    ProviderView,
    Rule,
    ServerSpec,
    Size,
)

# create ... replace: what has to be done; nothing: it is as declared. The rest is nobody's to change by a
# plan: adopt (unmarked, of a declared name), foreign (another environment's), retiring, fenced, undeclared
# (ours, and not declared any more), on-demand (a drill's), unseen (its provider could not be looked at).
Verdict = Literal[
    "create",
    "start",
    "trust",
    "change",
    "restart",
    "replace",
    "nothing",
    "adopt",
    "foreign",
    "retiring",
    "fenced",
    "undeclared",
    "on-demand",
    "unseen",
]
# How far a difference reaches: `none` is shown and left.
Reach = Literal["none", "change", "restart", "replace"]
_REACHES: tuple[Reach, ...] = ("none", "change", "restart", "replace")


class Difference(Model):
    """One thing that is not as declared."""

    key: str
    declared: str
    found: str
    reach: Reach


class Decision(Model):
    """What becomes of one server or network."""

    what: Literal["server", "network"]
    name: str
    provider: ProviderKind
    site: str
    verdict: Verdict
    why: str
    id: str = ""
    differences: tuple[Difference, ...] = ()
    found: FoundServer | FoundNetwork | None = None

    def changes(self, *reaches: Reach) -> tuple[str, ...]:
        """Name what differs and reaches so far, each once: size, disks, networks, tags, rules, vlan."""
        keys = (one.key.partition(":")[0] for one in self.differences if one.reach in reaches)
        return tuple(dict.fromkeys(keys))


@dataclass(frozen=True)
class Declared:
    """What an environment declares of the servers of providers, and what is known of them here."""

    environment: str
    servers: Mapping[str, ServerSpec]
    networks: Mapping[str, NetworkSpec] = field(default_factory=dict)
    on_demand: frozenset[str] = frozenset()
    retiring: Mapping[str, datetime] = field(default_factory=dict)
    fenced: Mapping[tuple[str, str], str] = field(default_factory=dict)  # by name and site: by which run
    trusted: frozenset[str] | None = None  # hosts whose key is known; None: not kept by us
    reachable: Callable[[ServerSpec], bool] = lambda spec: True


def decide(declared: Declared, views: Sequence[ProviderView]) -> tuple[Decision, ...]:
    """Decide on everything declared or found, each once: networks, then servers, by provider and site."""
    seen: dict[tuple[str, str], ProviderView] = {(view.provider, view.site): view for view in views}
    decisions = [*_networks(declared, seen)]
    for place, view in seen.items():
        decisions += _servers_at(declared, view, place)
    unseen = (spec for spec in declared.servers.values() if (spec.provider, spec.site) not in seen)
    decisions += [_server(spec, "unseen", "its provider could not be looked at") for spec in unseen]
    return tuple(decisions)


# --- servers ----------------------------------------------------------------------------------------


def _servers_at(declared: Declared, view: ProviderView, place: tuple[str, str]) -> Iterator[Decision]:
    found: dict[str, list[FoundServer]] = {}
    for server in view.servers:
        found.setdefault(server.name, []).append(server)
    wanted = {name: spec for name, spec in declared.servers.items() if (spec.provider, spec.site) == place}
    for name, spec in wanted.items():
        yield _declared_server(declared, spec, found.get(name, ()), view)
    for name, servers in found.items():
        for server in servers:
            if server.owner == declared.environment and name not in wanted:
                yield _left_over(declared, server)


def _declared_server(
    declared: Declared, spec: ServerSpec, found: Sequence[FoundServer], view: ProviderView
) -> Decision:
    ours = [one for one in found if one.owner == declared.environment]
    if len(ours) > 1:
        ids = ", ".join(one.id for one in ours)
        return _server(spec, "foreign", f"{len(ours)} bear our mark under this name, and one may: {ids}")
    if ours:
        return decide_found(declared, spec, ours[0], view.images)
    for other in found:
        if other.owner:
            why = f"{other.id} of this name is environment {other.owner}'s; ours needs another name"
            return _server(spec, "foreign", why, other)
    if found:
        why = f"{found[0].id} has this name and bears nobody's mark: take it over, or give ours another name"
        return _server(spec, "adopt", why, found[0])
    return _server(spec, "create", "declared and not there")


def decide_found(
    declared: Declared, spec: ServerSpec, found: FoundServer, images: Mapping[str, str]
) -> Decision:
    """Decide on a server that is declared, there and ours.

    Args:
        images: those that were asked for: to id, where their provider has ids.
    """
    differences = tuple(compare(spec, found, images))
    since = declared.retiring.get(spec.name)
    if since is not None:
        why = f"is being retired since {since:%Y-%m-%d}; nothing is changed on it"
        return _server(spec, "retiring", why, found, differences)
    reach = _furthest(differences)
    if reach == "replace":
        return _server(spec, "replace", _words(differences, "replace"), found, differences)
    if found.power == "off":
        return _switched_off(declared, spec, found, differences)
    if reach != "none":
        return _server(spec, reach, _words(differences, reach), found, differences)
    if declared.trusted is not None and spec.name not in declared.trusted and declared.reachable(spec):
        return _server(spec, "trust", "its host key is not known here", found, differences)
    return _server(spec, "nothing", "is as declared", found, differences)


def _switched_off(
    declared: Declared, spec: ServerSpec, found: FoundServer, differences: tuple[Difference, ...]
) -> Decision:
    """One that is off is changed while it stands, and started; but a fence is nobody's to lift here."""
    run = declared.fenced.get((spec.name, spec.site))
    if run:
        why = f"held off by run {run}: released by failback alone"
        return _server(spec, "fenced", why, found, differences)
    words = (_words(differences, "change"), _words(differences, "restart"))
    why = "; ".join(["declared and switched off", *filter(None, words)])
    return _server(spec, "start", why, found, differences)


def _left_over(declared: Declared, found: FoundServer) -> Decision:
    if found.name in declared.on_demand:
        verdict, why = "on-demand", "made by a drill, which removes it"
    elif found.name in declared.retiring:
        since = declared.retiring[found.name]
        verdict, why = "retiring", f"is being retired since {since:%Y-%m-%d}"
    elif found.name in declared.servers:
        spec = declared.servers[found.name]
        verdict, why = "undeclared", f"bears our mark here, and is declared at {spec.provider} {spec.site}"
    else:
        verdict, why = "undeclared", "bears our mark and is not declared: declare it, or retire it"
    known = {"name": found.name, "provider": found.provider, "site": found.site, "id": found.id}
    return Decision.model_validate(
        {"what": "server", "verdict": verdict, "why": why, "found": found, **known}
    )


def _server(
    spec: ServerSpec,
    verdict: Verdict,
    why: str,
    found: FoundServer | None = None,
    differences: tuple[Difference, ...] = (),
) -> Decision:
    return Decision(
        what="server",
        name=spec.name,
        provider=spec.provider,
        site=spec.site,
        verdict=verdict,
        why=why,
        id=found.id if found else "",
        differences=differences,
        found=found,
    )


def _furthest(differences: Sequence[Difference]) -> Reach:
    return max((one.reach for one in differences), key=_REACHES.index, default=_REACHES[0])


def _words(differences: Iterable[Difference], reach: Reach) -> str:
    told = (f"{one.key}: {one.found} is to be {one.declared}" for one in differences if one.reach == reach)
    return "; ".join(told)


# --- what differs -----------------------------------------------------------------------------------


def compare(spec: ServerSpec, found: FoundServer, images: Mapping[str, str]) -> Iterator[Difference]:
    """Say what of a server of ours is not as declared, and how far a change would reach.

    What the declaration leaves open, or the provider does not tell, is no difference.
    """
    yield from _compare_image(spec, found, images)
    yield from (_compare_bounds if spec.provider == "nspawn" else _compare_size)(spec.size, found.size)
    yield from _compare_disks(spec, {disk.name: disk for disk in found.disks if disk.name})
    if spec.networks and found.networks and spec.networks != found.networks:
        # A port of a VM is put into another port group; the first of an EC2 instance stays for life.
        stays = spec.provider == "aws" and spec.networks[0] != found.networks[0]
        reach: Reach = "replace" if stays else "change"
        yield _differs("networks", ", ".join(spec.networks), ", ".join(found.networks), reach)
    if spec.address and found.addresses and spec.address not in found.addresses:
        yield _differs("address", spec.address, ", ".join(found.addresses), "replace")
    for key, value in spec.tags.items():
        if found.tags.get(key) != value:
            yield _differs(f"tags:{key}", value, found.tags.get(key, "none"), "change")


def _compare_image(spec: ServerSpec, found: FoundServer, images: Mapping[str, str]) -> Iterator[Difference]:
    wanted_id = images.get(spec.image, "")
    if spec.image in (found.image, found.image_id):
        return
    if wanted_id and found.image_id:
        if wanted_id != found.image_id:
            yield _differs("image", f"{spec.image} ({wanted_id})", found.image or found.image_id, "replace")
    elif found.image:
        yield _differs("image", spec.image, found.image, "replace")


def _compare_size(wanted: Size, found: Size) -> Iterator[Difference]:
    if wanted.type and wanted.type != found.type:
        yield _differs("size:type", wanted.type, found.type or "not known", "restart")
    if wanted.cpus and wanted.cpus != found.cpus:
        yield _differs("size:cpus", str(wanted.cpus), str(found.cpus), "restart")
    if wanted.memory_bytes and wanted.memory_bytes != found.memory_bytes:
        words = format_size(wanted.memory_bytes), format_size(found.memory_bytes)
        yield _differs("size:memory", *words, "restart")


def _compare_bounds(wanted: Size, found: Size) -> Iterator[Difference]:
    """What a host of a lab may use: more at once; memory that it has, it gives back at a restart alone."""
    if wanted.cpus and wanted.cpus != found.cpus:
        yield _differs("size:cpus", str(wanted.cpus), str(found.cpus or "no whole number"), "change")
    if wanted.memory_bytes and wanted.memory_bytes != found.memory_bytes:
        is_more = 0 < found.memory_bytes < wanted.memory_bytes
        is_ = format_size(found.memory_bytes) if found.memory_bytes else "no bound"
        reach: Reach = "change" if is_more else "restart"
        yield _differs("size:memory", format_size(wanted.memory_bytes), is_, reach)


def _compare_disks(spec: ServerSpec, found: Mapping[str, FoundDisk]) -> Iterator[Difference]:
    """Disks by name: one that lacks is added, one that is small grows; none is ever taken away."""
    for disk in spec.disks:
        key, size, is_ = f"disks:{disk.name}", format_size(disk.size_bytes), found.get(disk.name)
        if is_ is None:
            yield _differs(key, size, "none", "change")
            continue
        if disk.size_bytes != is_.size_bytes:
            reach: Reach = "change" if disk.size_bytes > is_.size_bytes else "replace"
            yield _differs(key, size, format_size(is_.size_bytes), reach)
        if disk.kind and is_.kind and disk.kind != is_.kind:
            yield _differs(key, disk.kind, is_.kind, "change" if spec.provider == "aws" else "replace")
    for name in sorted(found.keys() - {disk.name for disk in spec.disks}):
        yield _differs(f"disks:{name}", "not declared", format_size(found[name].size_bytes), "none")


def _differs(key: str, declared: str, found: str, reach: Reach) -> Difference:
    return Difference(key=key, declared=declared, found=found, reach=reach)


# --- networks ---------------------------------------------------------------------------------------


def _networks(declared: Declared, seen: Mapping[tuple[str, str], ProviderView]) -> Iterator[Decision]:
    for spec in declared.networks.values():
        view = seen.get((spec.provider, spec.site))
        if view is not None:
            yield _declared_network(declared, spec, view.networks)
    for view in seen.values():
        for found in view.networks:
            if found.owner == declared.environment and found.name not in declared.networks:
                why = "bears our mark and is not declared: declare it, or retire it"
                yield _network(found, "undeclared", why, found)


def _declared_network(declared: Declared, spec: NetworkSpec, known: Collection[FoundNetwork]) -> Decision:
    found = [one for one in known if one.name == spec.name]
    ours = [one for one in found if one.owner == declared.environment]
    if not found:
        return _network(spec, "create", "declared and not there")
    if len(ours) != 1:
        why = f"{found[0].id} of this name is {found[0].owner or 'nobody'}'s; ours needs another name"
        if len(ours) > 1:
            why = f"{len(ours)} bear our mark under this name, and one may: {', '.join(o.id for o in ours)}"
        return _network(spec, "foreign", why, found[0])
    differences = tuple(_compare_network(spec, ours[0]))
    reach = _furthest(differences)
    if reach == "none":
        return _network(spec, "nothing", "is as declared", ours[0])
    why = _words(differences, "replace" if reach == "replace" else "change")
    if reach == "replace":
        why += ": no network becomes another; declare one of another name, and move its servers"
    return _network(spec, "replace" if reach == "replace" else "change", why, ours[0], differences)


def _compare_network(spec: NetworkSpec, found: FoundNetwork) -> Iterator[Difference]:
    for key in ("cidr", "part_of"):
        wanted, is_ = getattr(spec, key), getattr(found, key)
        if wanted and is_ and wanted != is_:
            yield _differs(key, wanted, is_, "replace")
    if spec.isolated != found.isolated and spec.provider == "aws":
        words = {True: "isolated", False: "open"}
        yield _differs("isolated", words[spec.isolated], words[found.isolated], "replace")
    if spec.provider == "vsphere" and spec.vlan != found.vlan:
        yield _differs("vlan", str(spec.vlan), str(found.vlan), "change")
    if spec.provider == "aws" and not spec.isolated and set(spec.rules) != set(found.rules):
        yield _differs("rules", rules_in_words(spec.rules), rules_in_words(found.rules), "change")


def rules_in_words(rules: Iterable[Rule]) -> str:
    """Say what may come in: tcp 443 from 10.0.0.0/8."""
    told = sorted(f"{rule.protocol} {rule.ports or 'all'} from {rule.source}" for rule in rules)
    return ", ".join(told) or "none"


def _network(
    of: NetworkSpec | FoundNetwork,
    verdict: Verdict,
    why: str,
    found: FoundNetwork | None = None,
    differences: tuple[Difference, ...] = (),
) -> Decision:
    return Decision(
        what="network",
        name=of.name,
        provider=of.provider,
        site=of.site,
        verdict=verdict,
        why=why,
        id=found.id if found else "",
        differences=differences,
        found=found,
    )
