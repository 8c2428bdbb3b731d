"""In which order hosts are changed: never two at once that stand in for each other. Pure.

First one host of every role, then few, then more, then the rest; a wave begins when that before it is well.
The invariant: every host is in exactly one wave, no two hosts of a redundancy group are in one wave, nor are
hosts of two sites that recover each other.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import ceil
from typing import NamedTuple

Wave = tuple[str, ...]
SHARES = (0.05, 0.25)  # of all hosts, after those that try first; then as many as may be


class City(NamedTuple):
    """What waves must respect.

    `apart`: groups of hosts of which one must serve while another is changed. `rivals`: pairs of sites that
    recover each other. `roles`: host to what it is; `spare`: hosts at a site that others are recovered to,
    which try first.
    """

    sites: Mapping[str, str]
    apart: Sequence[frozenset[str]] = ()
    rivals: Collection[frozenset[str]] = ()
    roles: Mapping[str, str] = {}
    spare: Collection[str] = ()


def plan_waves(hosts: Collection[str], city: City) -> tuple[Wave, ...]:
    """Put hosts into waves; the same hosts always give the same waves."""
    left = sorted(set(hosts), key=lambda host: (host not in city.spare, host))
    first = _first_of_roles(left, city)
    waves: list[Wave] = []
    while first:
        waves.append(_fill(first, city, len(first)))
        first = [host for host in first if host not in waves[-1]]
    tried = {host for wave in waves for host in wave}
    left = [host for host in left if host not in tried]
    for most in _sizes(len(set(hosts))):
        if not left:
            break
        waves.append(_fill(left, city, most))
        left = [host for host in left if host not in waves[-1]]
    return tuple(waves)


def role_of(groups: Sequence[str], members: Mapping[str, Collection[str]], sites: Mapping[str, str]) -> str:
    """Give what a host is: its smallest group that is not merely a place, or everybody.

    Args:
        groups: of the host.
        members: of every group.
        sites: of every host.
    """
    telling = [one for one in groups if not _is_place(members[one], sites)]
    return min(telling, key=lambda one: (len(members[one]), one), default="")


def _is_place(members: Collection[str], sites: Mapping[str, str]) -> bool:
    """Whether a group is all hosts of one site, or all that there are."""
    there = {sites[host] for host in members if host in sites}
    if set(members) >= sites.keys():
        return True
    return len(there) == 1 and {host for host, site in sites.items() if site in there} <= set(members)


def _first_of_roles(hosts: Sequence[str], city: City) -> list[str]:
    found: dict[str, str] = {}
    for host in hosts:
        found.setdefault(city.roles.get(host, ""), host)
    return list(found.values())


def _sizes(count: int) -> Iterator[int]:
    for share in SHARES:
        yield max(1, ceil(share * count))
    while True:
        yield count


def _fill(hosts: Sequence[str], city: City, most: int) -> Wave:
    """Take hosts, in their order, that may be changed together; the first one always may."""
    taken: list[str] = []
    for host in hosts:
        if len(taken) == most:
            break
        if not any(_must_be_apart(host, other, city) for other in taken):
            taken.append(host)
    return tuple(taken)


def _must_be_apart(one: str, other: str, city: City) -> bool:
    if any(one in group and other in group for group in city.apart):
        return True
    return frozenset((city.sites.get(one, ""), city.sites.get(other, ""))) in city.rivals
