"""Clients find every recovered service by its name."""

from automation.adapters.dns import read_addresses
from automation.model.catalog import Catalog, Manual, Vendor
from drtests.conftest import Recovered, Session


def test_every_name_leads_to_the_recovery_host(
    session: Session, catalog: Catalog, recovered: Recovered
) -> None:
    server = catalog.sites[recovered.site].dns_server
    at = session.inventory.server(server).address
    for name, service in recovered.services.items():
        if isinstance(service.strategy, Manual | Vendor):
            continue  # people or a vendor move these names, if at all
        host = session.inventory.server(service.hosts_at(recovered.site)[0])
        for endpoint in service.endpoints.values():
            addresses, _ = read_addresses(server, at, endpoint.name)
            assert addresses == (host.address,), name
