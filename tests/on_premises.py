"""The lab city's services on servers of its own: what most tests of recovery are about."""

from automation.model.catalog import AwsPilotLight, Catalog, VmReplica, load_catalog
from tests.conftest import ROOT


def load_on_premises() -> Catalog:
    """Give the catalog of inventories/lab without what stands on VMware and at AWS."""
    whole = load_catalog(ROOT / "inventories/lab/services.yml")
    kept = {
        name: service
        for name, service in whole.services.items()
        if not isinstance(service.strategy, VmReplica | AwsPilotLight)
    }
    used = {site for service in kept.values() for site in (service.primary, service.recovery)}
    sites = {name: site for name, site in whole.sites.items() if name in used}
    return Catalog(sites=sites, services=kept)
