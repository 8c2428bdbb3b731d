"""Before a planned move: is who shall serve as well secured as who serves now? Told, and never in the way.

No host is asked: what audits of the last days kept is compared, by today's controls and waivers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from automation.baseline.copies import Standard, compare
from automation.commands._baselines import FILE
from automation.commands._copy_baselines import OLDEST, standard_now
from automation.commands._session import Session
from automation.model.catalog import Service
from automation.model.copies import CopyCompared, Weaker
from automation.model.errors import AutomationError
from automation.recovery.report_words import listing, utc
from automation.recovery.strategies.scope import is_moved

SHOWN = 3


class _Pair(NamedTuple):
    """Who serves now, and who shall."""

    service: str
    now: tuple[str, ...]
    then: str


def told_weaker(session: Session, services: Mapping[str, Service]) -> tuple[str, ...]:
    """Say which hosts that shall serve are weaker than those that do; nothing where no baseline is asked.

    Args:
        services: as they are turned: from where they run to where they shall.
    """
    pairs = tuple(_pairs(services))
    if not pairs or not (session.environment.folder / FILE).exists():
        return ()
    try:
        standard = standard_now(session, {host for one in pairs for host in (*one.now, one.then)})
        return tuple(_lines(pairs, standard, session.environment.name))
    except (AutomationError, OSError, ValueError) as exc:
        return (f"nobody compared how the hosts of both sites are secured: {exc}",)


def _pairs(services: Mapping[str, Service]) -> Iterator[_Pair]:
    """Give each host that shall serve once beside those that serve now, whatever else both carry."""
    found: dict[tuple[tuple[str, ...], str], _Pair] = {}
    for name, service in services.items():
        now = tuple(service.hosts_at(service.primary))
        for then in service.hosts_at(service.recovery) if is_moved(service) and now else ():
            if then not in now:
                found.setdefault((now, then), _Pair(name, now, then))
    yield from found.values()


def _lines(pairs: Sequence[_Pair], standard: Standard, env: str) -> Iterator[str]:
    known = {host: one.facts for host, one in standard.earlier.items()}
    for one in pairs:
        if {*one.now, one.then} <= known.keys():
            found = compare(one.service, [known[host] for host in one.now], known[one.then], standard)
            if failing := [weak for weak in found.weaker if weak.state == "fail"]:
                yield _weaker(found, failing, env)
    if unknown := sorted({host for one in pairs for host in (*one.now, one.then)} - known.keys()):
        yield (
            f"nobody has looked for {OLDEST.days} days how secured is: {listing(unknown)}; "
            f"./inv baseline.audit --env {env} --limit {','.join(unknown)}"
        )


def _weaker(found: CopyCompared, failing: Sequence[Weaker], env: str) -> str:
    """Say what is weaker, the worst first."""
    what = listing([f"{one.title} ({one.severity})" for one in failing], SHOWN)
    return (
        f"{found.host} is to serve instead of {', '.join(found.originals)} and is weaker, as of "
        f"{utc(found.copy_at)}: {what}; what mends it: ./inv baseline.plan --env {env} --limit {found.host}"
    )
