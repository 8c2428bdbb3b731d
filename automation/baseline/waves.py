"""In which order hosts are changed: never two at once that stand in for each other. Pure.

First one host of every role, then few, then more, then the rest; a wave begins when that before it is well.
The invariant: every host is in exactly one wave, no two hosts of a redundancy group are in one wave, nor are
hosts of two sites that recover each other; of a large group at most a quarter is.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import ceil
from typing import NamedTuple

Wave = tuple[str, ...]
SHARES = (0.05, 0.25)  # of all hosts, after those that try first; then as many as may be
MOST_APART = 20  # one by one; of a group of hundreds nobody could wait for that


class City(NamedTuple):
    """What waves must respect.

    `apart`: groups of hosts of which one must serve while another is changed; `large`: of which most must.
    `rivals`: pairs of sites that recover each other. `roles`: host to what it is; `spare`: hosts at a site
    that others are recovered to, which try first.
    """

    sites: Mapping[str, str]
    apart: Sequence[frozenset[str]] = ()
    rivals: Collection[frozenset[str]] = ()
    roles: Mapping[str, str] = {}
    spare: Collection[str] = ()
    large: Sequence[frozenset[str]] = ()


def plan_waves(hosts: Collection[str], city: City) -> tuple[Wave, ...]:
    """Put hosts into waves; the same hosts always give the same waves."""
    left = sorted(set(hosts), key=lambda host: (host not in city.spare, host))
    groups = _groups_of((*city.apart, *city.large))
    first = _first_of_roles(left, city)
    waves: list[Wave] = []
    while first:
        waves.append(_fill(first, city, len(first), groups))
        first = _without(first, waves[-1])
    left = _without(left, [host for wave in waves for host in wave])
    for most in _sizes(len(set(hosts))):
        if not left:
            break
        waves.append(_fill(left, city, most, groups))
        left = _without(left, waves[-1])
    return tuple(waves)


def telling_groups(
    members: Mapping[str, Collection[str]], sites: Mapping[str, str]
) -> dict[str, Collection[str]]:
    """Give the groups that say what hosts are, and not merely where: not all of one site, nor all there are.

    A group of one says nothing: it tells a primary from its standby, which are the same thing.

    Args:
        members: of every group.
        sites: of every host.
    """
    at: dict[str, set[str]] = {}
    for host, site in sites.items():
        at.setdefault(site, set()).add(host)
    found = {}
    for name, every in members.items():
        there = {sites[host] for host in every if host in sites}
        whole_site = len(there) == 1 and set(every) >= at[next(iter(there))]
        if len(set(every)) > 1 and not whole_site and not set(every) >= sites.keys():
            found[name] = every
    return found


def role_of(groups: Sequence[str], telling: Mapping[str, Collection[str]]) -> str:
    """Give what a host is: the smallest of its groups that tell; none where no group does."""
    own = [one for one in groups if one in telling]
    return min(own, key=lambda one: (len(telling[one]), one), default="")


def _first_of_roles(hosts: Sequence[str], city: City) -> list[str]:
    found: dict[str, str] = {}
    for host in hosts:
        found.setdefault(city.roles.get(host, ""), host)
    return list(found.values())


def _without(hosts: Sequence[str], others: Sequence[str]) -> list[str]:
    gone = set(others)
    return [host for host in hosts if host not in gone]


def _sizes(count: int) -> Iterator[int]:
    for share in SHARES:
        yield max(1, ceil(share * count))
    while True:
        yield count


def _fill(hosts: Sequence[str], city: City, most: int, groups: Mapping[str, Sequence[int]]) -> Wave:
    """Take hosts, in their order, that may be changed together; the first one always may.

    Args:
        groups: host to the groups of `city.apart` and `city.large` that it is in, by their numbers.
    """
    taken: list[str] = []
    used: Counter[int] = Counter()
    room = [*(1 for _ in city.apart), *(max(1, len(group) // 4) for group in city.large)]
    sites: set[str] = set()
    for host in hosts:
        if len(taken) == most:
            break
        site, own = city.sites.get(host, ""), groups.get(host, ())
        if all(used[one] < room[one] for one in own) and not any(
            frozenset((site, one)) in city.rivals for one in sites
        ):
            taken.append(host)
            used.update(own)
            sites.add(site)
    return tuple(taken)


def _groups_of(groups: Sequence[frozenset[str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        for host in group:
            found.setdefault(host, []).append(number)
    return found
