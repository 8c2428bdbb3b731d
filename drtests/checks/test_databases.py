"""Every recovered database is one writable primary, and its old primary takes no writes."""

import pytest

from automation.adapters import postgresql
from automation.model.catalog import PostgresqlStandby, Service
from drtests.conftest import Recovered, Session


@pytest.fixture
def databases(recovered: Recovered) -> dict[str, tuple[Service, PostgresqlStandby]]:
    """The recovered services that are databases."""
    return {
        name: (service, service.strategy)
        for name, service in recovered.services.items()
        if isinstance(service.strategy, PostgresqlStandby)
    }


def test_the_recovery_host_is_a_writable_primary(
    session: Session, recovered: Recovered, databases: dict[str, tuple[Service, PostgresqlStandby]]
) -> None:
    for _, strategy in databases.values():
        host = strategy.hosts[recovered.site]
        assert not postgresql.observe(host, strategy.cluster, session.remote(host)).in_recovery, host


def test_the_old_primary_takes_no_writes(
    session: Session, recovered: Recovered, databases: dict[str, tuple[Service, PostgresqlStandby]]
) -> None:
    """After a failover it is off and cut off; after a planned move it is a standby."""
    from automation.adapters import declaration, nspawn

    suspected = declaration.list_suspicions(session.state)
    for name, (_, strategy) in databases.items():
        if name in suspected:
            pytest.skip(f"{name} is SPLIT_BRAIN_SUSPECTED: two people bear that it may not be fenced")
        for old in (host for site, host in strategy.hosts.items() if site != recovered.site):
            seen = nspawn.observe(session.state, session.images, session.environment, (), ()).servers[old]
            if (seen.power, seen.autostart, seen.network) != ("off", False, "blocked"):
                assert postgresql.observe(old, strategy.cluster, session.remote(old)).in_recovery, old
