"""How old what stands ready elsewhere is, held against what may be lost. Pure.

What counts is the time from the moment whose data it holds to the declaration: the loss was before that, and
nobody knows by how much.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from automation.model.base import format_duration
from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.replicas import Cloud


class Aged(NamedTuple):
    """A service whose copy is older than it may be, or nobody knows how old."""

    service: str
    observed: str
    allowed: str


def too_old(services: Mapping[str, Service], cloud: Cloud, lost_at: datetime) -> Iterator[Aged]:
    """Give the services that would lose more than their strategy allows.

    Args:
        lost_at: by then the site was lost: when it was declared.
    """
    for name, service in services.items():
        strategy = service.strategy
        if not isinstance(strategy, VmReplica | AwsPilotLight):
            continue
        at = point_of(cloud, name)
        allowed = format_duration(strategy.max_lag_s)
        if at is None:
            yield Aged(name, "an unknown time behind", allowed)
        elif (behind_s := (lost_at - at).total_seconds()) > strategy.max_lag_s:
            yield Aged(name, f"{format_duration(behind_s)} behind, at {at:%Y-%m-%d %H:%M:%S} UTC", allowed)


def point_of(cloud: Cloud, service: str) -> datetime | None:
    """The moment that a service would come back to; None when nobody knows."""
    if service in cloud.replicas:
        return cloud.replicas[service].oldest
    pilot = cloud.pilots.get(service)
    return pilot.point_at if pilot else None


def tell(cloud: Cloud, service: str, now: datetime) -> str:
    """Say what stands ready of a service, how old that is, and whether it is real."""
    seen = cloud.replicas.get(service) or cloud.pilots.get(service)
    if seen is None:
        return f"{service}: nothing was looked at"
    at = point_of(cloud, service)
    age = "of an unknown moment"
    if at is not None:
        old = format_duration(max(0.0, (now - at).total_seconds()))
        age = f"of {at:%Y-%m-%d %H:%M:%S} UTC, {old} old"
    return f"{service}: what stands ready at {seen.site} is {age} ({seen.source})"
