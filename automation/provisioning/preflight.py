"""What stands against a plan of servers before its first step, and what is worth a word. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from automation.model.base import Model, format_size
from automation.model.environment import Environment
from automation.model.servers import FoundServer, NetworkSpec, ProviderView, ServerSpec
from automation.provisioning.compiling import Allowed
from automation.provisioning.decisions import Decision

# AWS refuses signatures that are 5 min off; what is less is told by nobody until a day it is more.
MOST_SKEW_S = 240.0
_SIZES = ("memory-bytes", "disk-bytes")


class Finding(Model):
    """One thing that stands against a plan, and what to do."""

    provider: str
    site: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.provider} at {self.site}: {self.message}"


def find_obstacles(
    environment: Environment,
    specs: Mapping[str, ServerSpec],
    decisions: Sequence[Decision],
    views: Sequence[ProviderView],
    allowed: Allowed,
) -> tuple[Finding, ...]:
    """Find everything that a plan would fail by; nothing is asked of a provider that has nothing to do."""
    found: list[Finding] = []
    for view in views:
        here = [one for one in decisions if (one.provider, one.site) == (view.provider, view.site)]
        taken = [one for one in here if allowed.takes(one)]
        if taken:
            new = [
                specs[one.name]
                for one in taken
                if one.what == "server" and one.verdict in ("create", "replace")
            ]
            told = (
                *_missing_images(new, view),
                *_denied(environment, view),
                *_skewed(view),
                *_taken_addresses(new, taken, view),
                *_beyond(environment, new, taken, view),
            )
            found += [Finding(provider=view.provider, site=view.site, message=m, hint=h) for m, h in told]
    return tuple(found)


Told = Iterator[tuple[str, str]]


def _missing_images(new: Collection[ServerSpec], view: ProviderView) -> Told:
    wanted: dict[str, list[str]] = {}
    for spec in new:
        if not view.images.get(spec.image):
            wanted.setdefault(spec.image, []).append(spec.name)
    for image, names in wanted.items():
        yield f"there is no image {image}, of which {_some(names)} would be made", "server_image names it"


def _denied(environment: Environment, view: ProviderView) -> Told:
    ours = (view.provider, view.site)
    name = next((n for n, one in environment.providers.items() if (one.kind, one.site) == ours), "")
    for call, words in sorted(view.denied.items()):
        hint = f"./inv provision.permissions --env {environment.name} --provider {name} prints what is needed"
        yield f"{call} is denied: {words}", hint


def _skewed(view: ProviderView) -> Told:
    if abs(view.clock_skew_s) > MOST_SKEW_S:
        way = "ahead of" if view.clock_skew_s > 0 else "behind"
        yield f"its clock is {abs(view.clock_skew_s):.0f} s {way} ours", "see to the time of this machine"


def _taken_addresses(new: Iterable[ServerSpec], taken: Iterable[Decision], view: ProviderView) -> Told:
    replaced = {one.id for one in taken if one.verdict == "replace"}
    holders: dict[str, FoundServer] = {
        address: server
        for server in view.servers
        if server.id not in replaced
        for address in server.addresses
    }
    for spec in new:
        holder = holders.get(spec.address) if spec.address else None
        if holder is not None:
            whose = "ours" if holder.owner else "nobody of ours"
            message = f"address {spec.address} of {spec.name} is that of {holder.name} ({holder.id}), {whose}"
            yield message, "give another server_address, or move the other"


def _beyond(
    environment: Environment, new: Sequence[ServerSpec], taken: Iterable[Decision], view: ProviderView
) -> Told:
    """Quotas that a plan would go beyond, and our own limit; one that is replaced adds nothing."""
    replaced = {one.name for one in taken if one.verdict == "replace"}
    added = [spec for spec in new if spec.name not in replaced]
    adds = {
        "servers": len(added),
        "cpus": sum(spec.size.cpus for spec in added),
        "memory-bytes": sum(spec.size.memory_bytes for spec in added),
        "disk-bytes": sum(disk.size_bytes for spec in added for disk in spec.disks),
        "networks": sum(one.what == "network" and one.verdict == "create" for one in taken),
    }
    for quota in view.quotas:
        more = adds.get(quota.name, 0)
        if more and quota.used + more > quota.limit:
            amounts = (_amount(quota.name, number) for number in (more, quota.used, quota.limit))
            plus, used, limit = amounts
            yield f"{plus} more {quota.name} are needed; {used} of {limit} are used", "ask for a higher quota"
    ours = sum(server.owner == environment.name for server in view.servers)
    most = environment.provider(view.provider, view.site).limits.servers
    if added and ours + len(added) > most:
        message = f"{len(added)} more servers than the {ours} of ours are beyond its limit, {most}"
        yield message, "environment.yml: providers: limits: servers"


def _amount(name: str, number: float) -> str:
    return format_size(number) if name in _SIZES else f"{number:g}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


# --- what is worth a word ---------------------------------------------------------------------------


def find_dead_ends(
    networks: Iterable[NetworkSpec], views: Sequence[ProviderView], decisions: Sequence[Decision]
) -> tuple[str, ...]:
    """Say of which networks at AWS, not declared isolated, nothing leads out: Mainstay makes no gateways.

    Of a network that is to be made the others of its VPC tell. A simulator's leads nowhere anyway.
    """
    aws = [view for view in views if view.provider == "aws" and view.source == "real"]
    there = {(view.site, one.id): one for view in aws for one in view.networks}
    ways_out = {(site, one.part_of) for (site, _), one in there.items() if one.leads_out}
    ids = {(one.site, one.name): one.id for one in decisions if one.what == "network"}
    closed = []
    for spec in networks:
        if spec.provider == "aws" and not spec.isolated and spec.site in {view.site for view in aws}:
            found = there.get((spec.site, ids.get((spec.site, spec.name), "")))
            if not (found.leads_out if found else (spec.site, spec.part_of) in ways_out):
                closed.append(spec.name)
    if not closed:
        return ()
    what = "no internet gateway, no NAT, no other route: servers there reach no packages and no backups"
    return (f"nothing leads out of network {_some(closed)}: {what}, unless somebody adds one to the VPC",)


def find_gaps(
    specs: Iterable[ServerSpec], saved: Collection[str], baseline: str, decisions: Sequence[Decision]
) -> tuple[str, ...]:
    """Say which new or found servers nobody saves, or holds to a baseline.

    Args:
        saved: hosts of which backups.yml saves something.
        baseline: why nothing is held to a baseline; empty: every server of the inventory is.
    """
    there = {one.name for one in decisions if one.verdict not in ("foreign", "adopt")}
    known = [spec.name for spec in specs if spec.provider != "nspawn" and spec.name in there]
    unsaved = [name for name in known if name not in saved]
    told = []
    if unsaved:
        told.append(f"nothing of {_some(unsaved)} is saved: no resource of backups.yml names them")
    if known and baseline:
        told.append(f"nothing holds {_some(known)} to a baseline: {baseline}")
    return tuple(told)
