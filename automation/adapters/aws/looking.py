"""All that a plan needs to know of one region: each kind once, page by page, the kinds side by side."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from automation.adapters.aws.images import images_of
from automation.adapters.aws.instances import LIVING, state_of
from automation.adapters.aws.marks import named, tags_of
from automation.adapters.aws.reading import Seen, found_networks, found_servers
from automation.adapters.aws.session import Region, Shown, region_seen
from automation.model.environment import Environment
from automation.model.errors import AdapterError
from automation.model.servers import OWNER, ROLE, NetworkSpec, ProviderView, Quota, ServerSpec

_AT_ONCE = 8
_MOST_TYPES = 100  # of one DescribeInstanceTypes
_CPUS = ("ec2", "L-1216C47A")  # running on-demand standard instances, in vCPUs
_STANDARD = ("a", "c", "d", "h", "i", "m", "r", "t", "z")
_OTHER = ("hpc", "inf", "dl", "trn", "mac", "high")  # of first letters that are standard
# A dry run is refused for other reasons too: an id that is not there says nothing of permissions.
_DENIED = frozenset({"denied"})


def look(
    environment: Environment,
    site: str,
    state: Path,
    wanted: Sequence[ServerSpec],
    networks: Sequence[NetworkSpec],
) -> ProviderView:
    """Read a region: servers, networks, images that are asked for, quotas, and what we may not do there.

    Raises:
        AdapterError: it does not answer, or does not let us look, or its account is another than declared.
    """
    region = region_seen(environment, site, state)
    before = region.round_trips
    region.require_account()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        asked = {name: threads.submit(read, region) for name, read in _KINDS.items()}
        images = threads.submit(images_of, region, [one.image for one in wanted if one.image])
        seen = Seen(**{name: tuple(one.result()) for name, one in asked.items()})
        image_ids = {name: str(one["ImageId"]) for name, one in images.result().items()}
        quotas = threads.submit(_quotas, region, seen, wanted)
        probes = _probes(seen, wanted, networks, image_ids, environment.name)
        refused = {one.call: threads.submit(region.refusal_of, one.call, **one.request) for one in probes}
        denied = {
            call: refusal.words
            for call, one in refused.items()
            if (refusal := one.result()) is not None and refusal.kind in _DENIED
        }
    return ProviderView(
        provider="aws",
        site=site,
        at=datetime.now(UTC),
        servers=found_servers(seen, site, image_ids),
        networks=found_networks(seen, site),
        images=image_ids,
        quotas=quotas.result(),
        denied=denied,
        clock_skew_s=region.clock_skew_s,
        round_trips=region.round_trips - before,
        source=region.source,
    )


# --- kinds -------------------------------------------------------------------------------------------


def _instances(region: Region) -> list[Shown]:
    what = "servers could not be listed"
    filters = [named("instance-state-name", *LIVING)]
    pages = region.pages("ec2.describe_instances", "Reservations", what, Filters=filters)
    return [one for reservation in pages for one in reservation["Instances"]]


def _list(call: str, key: str, page: int, what: str, region: Region) -> list[Shown]:
    return list(region.pages(call, key, f"{what} could not be listed", page=page))


_KINDS: Mapping[str, Callable[[Region], list[Shown]]] = {
    "instances": _instances,
    "volumes": partial(_list, "ec2.describe_volumes", "Volumes", 500, "disks"),
    "subnets": partial(_list, "ec2.describe_subnets", "Subnets", 1000, "subnets"),
    "groups": partial(_list, "ec2.describe_security_groups", "SecurityGroups", 1000, "security groups"),
    "tables": partial(_list, "ec2.describe_route_tables", "RouteTables", 100, "route tables"),
    "vpcs": partial(_list, "ec2.describe_vpcs", "Vpcs", 1000, "VPCs"),
}


# --- quotas ------------------------------------------------------------------------------------------


def _quotas(region: Region, seen: Seen, wanted: Sequence[ServerSpec]) -> tuple[Quota, ...]:
    """Give the processors that may run and do, and in servers what that leaves room for."""
    there = {one.get(ROLE) or one.get("Name") for one in map(tags_of, seen.instances)}
    running = [str(one["InstanceType"]) for one in seen.instances if state_of(one) in ("pending", "running")]
    coming = [one.size.type for one in wanted if one.size.type and one.name not in there]
    types = sorted({one for one in (*running, *coming) if _is_standard(one)})
    limit = _limit(region) if coming else None
    if limit is None:
        return ()
    cpus = _cpus_of(region, types)
    used = sum(cpus.get(one, 0) for one in running)
    fitting = fit([cpus.get(one, 0) for one in coming], limit - used)
    servers = Quota(name="servers", limit=len(seen.instances) + fitting, used=len(seen.instances))
    return (Quota(name="cpus", limit=limit, used=used), servers)


def fit(needs: Sequence[float], room: float) -> int:
    """Count how many fit at most, the smallest first. Pure."""
    return sum(needed <= room for needed in accumulate(sorted(needs)))


def _is_standard(kind: str) -> bool:
    return kind.startswith(_STANDARD) and not kind.startswith(_OTHER)


def _limit(region: Region) -> float | None:
    """Give the quota of processors; None where the region keeps none, or does not tell us."""
    service, code = _CPUS
    try:
        answer = region.read(
            "service-quotas.get_service_quota",
            "the quota of processors could not be asked",
            ServiceCode=service,
            QuotaCode=code,
        )
    except AdapterError:
        return (
            None  # it is another service, which a region or a login need not have; nothing is refused for it
        )
    value = answer.get("Quota", {}).get("Value")
    return None if value is None else float(value)


def _cpus_of(region: Region, types: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for first in range(0, len(types), _MOST_TYPES):
        chunk = list(types[first : first + _MOST_TYPES])
        filters = [named("instance-type", *chunk)]  # a type that the region has not is simply not shown
        shown = region.read("ec2.describe_instance_types", "sizes could not be listed", Filters=filters)
        found |= {one["InstanceType"]: one["VCpuInfo"]["DefaultVCpus"] for one in shown["InstanceTypes"]}
    return found


# --- permissions -------------------------------------------------------------------------------------


class _Probe(NamedTuple):
    """One call that is only asked for, not made."""

    call: str
    request: Mapping[str, object]


def _probes(
    seen: Seen,
    wanted: Sequence[ServerSpec],
    networks: Sequence[NetworkSpec],
    images: Mapping[str, str],
    environment: str,
) -> list[_Probe]:
    """Choose the changes that a plan may come to, on what is ours where a call needs something there."""
    probes = []
    image = next((images[one.image] for one in wanted if one.image in images), "")
    if image:
        kind = next((one.size.type for one in wanted if one.size.type), "")
        more = {"InstanceType": kind} if kind else {}
        probes.append(_Probe("ec2.run_instances", {"ImageId": image, "MinCount": 1, "MaxCount": 1, **more}))
    if networks:
        probes.append(_Probe("ec2.create_vpc", {"CidrBlock": "10.0.0.0/16"}))
    vpc = next((one["VpcId"] for one in seen.vpcs), "")
    if networks and vpc:
        group = {"GroupName": "mainstay-asks", "Description": "not made"}
        probes.append(_Probe("ec2.create_security_group", {"VpcId": vpc, **group}))
        cidr = next((one.cidr for one in networks if one.cidr), "10.0.0.0/24")
        probes.append(_Probe("ec2.create_subnet", {"VpcId": vpc, "CidrBlock": cidr}))
    ours = [one["InstanceId"] for one in seen.instances if tags_of(one).get(OWNER) == environment]
    if ours:
        calls = ("ec2.start_instances", "ec2.stop_instances", "ec2.terminate_instances")
        probes += [_Probe(call, {"InstanceIds": ours[:1]}) for call in calls]
    return probes
