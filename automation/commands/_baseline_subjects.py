"""Whose facts are collected: hosts of the inventory, AWS accounts and vCenters of environment.yml."""

from collections.abc import Iterable, Mapping

from automation.backups.spec import load_backups
from automation.baseline.planner import Beside, Subjects
from automation.commands._providers import hosts_of
from automation.commands._session import Session
from automation.model.environment import Environment
from automation.model.errors import ConfigError
from automation.model.providers import AwsProvider, VsphereProvider


def choose_subjects(session: Session, limit: str) -> Subjects:
    """Give all subjects, or those that a limit names: hosts and groups, accounts, providers by name.

    Raises:
        ConfigError: the limit names none.
    """
    accounts, vcenters = accounts_of(session.environment), vcenters_of(session.environment)
    _refuse_shared_names(session, (*accounts, *vcenters))
    standing = session.inventory.standing
    if not limit:
        return Subjects(tuple(standing), tuple(accounts), tuple(vcenters))
    words = [word for part in limit.split(",") for word in part.split(":") if word]
    named = {word for word in words if word in session.environment.providers or word in accounts}
    rest = ",".join(word for word in words if word not in named) if named else limit
    hosts = tuple(name for name in session.inventory.covered(rest) if name in standing) if rest else ()
    chosen = Subjects(
        hosts,
        tuple(one for one, names in accounts.items() if named & {one, *names}),
        tuple(one for one in vcenters if one in named),
    )
    if not any(chosen):
        raise ConfigError(f"--limit {limit} names no host, account or vCenter; nothing was run")
    return chosen


def accounts_of(environment: Environment) -> Mapping[str, tuple[str, ...]]:
    """Give every AWS account with the names of its providers."""
    found: dict[str, tuple[str, ...]] = {}
    for name, one in environment.providers.items():
        if isinstance(one, AwsProvider):
            found[one.account] = (*found.get(one.account, ()), name)
    return found


def vcenters_of(environment: Environment) -> tuple[str, ...]:
    """Give every vCenter, by the name of its provider."""
    return tuple(name for name, one in environment.providers.items() if isinstance(one, VsphereProvider))


def beside(session: Session, subjects: Iterable[str]) -> dict[str, Beside]:
    """Say what must not happen while subjects are changed: backups of them, recoveries of their servers."""
    saved = _saved_of(session)
    servers = session.inventory.servers
    return {
        name: Beside(resources=saved.get(name, ()))
        if name in servers
        else Beside(servers=_servers_of(session, name))
        for name in subjects
    }


def _saved_of(session: Session) -> dict[str, tuple[str, ...]]:
    """Give every host with the resources of backups.yml that save something of it."""
    path = session.environment.folder / "backups.yml"
    if not path.is_file():
        return {}
    backups, found = load_backups(path), dict[str, tuple[str, ...]]()
    for resource in backups.resources:
        for host in dict.fromkeys(hosts_of(session, backups, resource)):
            found[host] = (*found.get(host, ()), resource)
    return found


def _servers_of(session: Session, subject: str) -> tuple[str, ...]:
    providers = session.environment.providers
    names = (subject, *accounts_of(session.environment).get(subject, ()))
    places = {(providers[name].kind, providers[name].site) for name in names if name in providers}
    every = session.inventory.servers.values()
    return tuple(one.name for one in every if (one.provider, one.site) in places)


def _refuse_shared_names(session: Session, names: tuple[str, ...]) -> None:
    shared = [name for name in names if name in session.inventory.servers]
    if shared:
        raise ConfigError(
            f"{shared[0]} is a host and a provider: nobody could tell whose facts are whose; nothing was run",
            hint="give the provider another name in environment.yml",
        )
