"""Clients find every recovered service by its name."""

from automation.adapters.dns import list_addresses
from automation.model.catalog import Catalog
from drtests.conftest import Recovered, Session


def test_every_name_leads_to_the_recovery_host(
    session: Session, catalog: Catalog, recovered: Recovered
) -> None:
    server = catalog.sites[recovered.site].dns_server
    at = session.inventory.server(server).address
    for name, service in recovered.services.items():
        host = session.inventory.server(service.strategy.hosts[recovered.site])
        for endpoint in service.endpoints.values():
            assert list_addresses(server, at, endpoint.name) == (host.address,), name
