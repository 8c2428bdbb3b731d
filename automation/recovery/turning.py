"""A catalog seen from where services run now: the site that is left stands as their primary. Pure."""

from collections.abc import Collection, Mapping

from automation.model.catalog import Catalog, PostgresqlStandby, Service
from automation.model.errors import ConfigError, PreflightError
from automation.recovery.spec import RecoveryPlan


def turn(service: Service) -> Service:
    """Give a service with its two sites exchanged: its recovery site is where it runs."""
    return service.model_copy(update={"primary": service.recovery, "recovery": service.primary})


def turn_from(catalog: Catalog, site: str) -> dict[str, Service]:
    """Give every service that may run at a site, as one that runs there and can move to its other site."""
    return {
        name: service if service.primary == site else turn(service)
        for name, service in catalog.services.items()
        if site in (service.primary, service.recovery) and service.primary != service.recovery
    }


def concerned(site: str, plan: RecoveryPlan, catalog: Catalog) -> Catalog:
    """Give the services that must be found before a move: those of the site and plan, and some beside them.

    Beside one stands what it depends on, and what depends on it: neither is left behind unseen.
    """
    services = catalog.services
    ours = {
        name
        for name, one in services.items()
        if site in (one.primary, one.recovery) and plan.services.chooses(name, one)
    }
    below = {other for name in ours for other in services[name].depends_on}
    found = {
        name: one
        for name, one in services.items()
        if name in ours | below or not ours.isdisjoint(one.depends_on)
    }
    return catalog.model_copy(update={"services": found})


def choose_at(
    site: str, plan: RecoveryPlan, catalog: Catalog, at: Mapping[str, str]
) -> tuple[dict[str, Service], tuple[str, ...]]:
    """Give the plan's services that run at a site, lowest tier first, and those that steps cannot move.

    Args:
        at: service to the site where it was seen; one that nobody can see is people's or a vendor's.

    Raises:
        ConfigError: no such site.
        PreflightError: nothing of the plan runs there.
    """
    if site not in catalog.sites:
        raise ConfigError(f"there is no site {site!r}; nothing was touched", hint=", ".join(catalog.sites))
    candidates = {
        name: service
        for name, service in turn_from(catalog, site).items()
        if plan.services.chooses(name, catalog.services[name])
    }
    there = {name: service for name, service in candidates.items() if at.get(name) == site}
    if not there:
        raise PreflightError(f"no service of the plan runs at {site}: nothing is to be moved from there")
    ordered = dict(sorted(there.items(), key=lambda item: (item[1].tier, item[0])))
    return ordered, tuple(sorted(name for name in candidates if name not in at))


def dependants(name: str, services: Mapping[str, Service]) -> tuple[str, ...]:
    """Name the services that depend on one, directly or not, in the order of `services`."""
    found: set[str] = set()
    open_ = [name]
    while open_:
        one = open_.pop()
        more = {other for other, service in services.items() if one in service.depends_on} - found
        found |= more
        open_ += more
    return tuple(other for other in services if other in found)


def databases(services: Mapping[str, Service]) -> dict[str, tuple[Service, PostgresqlStandby]]:
    """Give the services that are a database pair."""
    return {
        name: (service, service.strategy)
        for name, service in services.items()
        if isinstance(service.strategy, PostgresqlStandby)
    }


def slot_of(site: str) -> str:
    """Name of the slot that a standby at a site reads from; the lab's playbooks name it so, too."""
    return f"standby_{site.replace('-', '_').lower()}"


def refuse_split(services: Mapping[str, Service], chosen: Collection[str], at: Mapping[str, str]) -> None:
    """See that no service would be moved away from what it depends on, or the other way round.

    Raises:
        PreflightError: one would.
    """
    for name, service in services.items():
        for other in service.depends_on:
            if (name in chosen) != (other in chosen) and at.get(name) == at.get(other):
                left = other if name in chosen else name
                raise PreflightError(
                    f"{left} would stay behind, and {name} depends on {other}; nothing was changed",
                    hint="choose both in the plan's `services`",
                )
