"""The lab's city with a service on VMs and one in a region of AWS, and what was seen of them."""

from datetime import UTC, datetime, timedelta

from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.environment import Inventory, Server
from automation.model.replicas import Cloud, DatabaseSeen, ImageSeen, PilotSeen, ReplicasSeen
from automation.model.servers import NetworkSpec, ServerSpec
from automation.model.services import Site
from automation.recovery.planner import City
from automation.recovery.spec import RecoveryPlan
from tests.recovery.conftest import make_city

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PLAN = RecoveryPlan.model_validate({"title": "t", "services": "all", "checks": ["drtests/checks"]})
GIS = VmReplica.model_validate(
    {
        "kind": "vm-replica",
        "vms": [["gis-db-a"], ["gis-app-a", "gis-tiles-a"]],
        "hosts": {"city-hall": "gis-app-a", "eoc": "gis-app-b"},
        "datastore": "replicated",
        "networks": {"gis-hall": "gis-eoc"},
        "test_network": "gis-test",
        "max_lag": "15 min",
    }
)
PORTAL = AwsPilotLight.model_validate(
    {
        "kind": "aws-pilot-light",
        "hosts": {"aws-east": ["web-e1", "web-e2"], "aws-west": ["web-w1", "web-w2"]},
        "images": "portal",
        "database": {"aws-east": "portal-db", "aws-west": "portal-db-west"},
        "zone": "Z1",
        "test_network": "portal-test",
        "scale": 2,
        "max_lag": "5 min",
    }
)


def _service(
    title: str, primary: str, recovery: str, name: str, strategy: VmReplica | AwsPilotLight
) -> Service:
    return Service.model_validate(
        {
            "title": title,
            "owner": "gis-team",
            "tier": 3,
            "rto": "30 min",
            "rpo": "15 min",
            "primary": primary,
            "recovery": recovery,
            "endpoints": {"web": {"name": name, "port": 8080}},
            "probes": {"page": {"kind": "http", "endpoint": "web"}},
            "strategy": strategy.model_dump(by_alias=True),
        }
    )


def _servers() -> dict[str, Server]:
    places = {
        "city-hall": ("vsphere", "1", ("gis-app-a", "gis-db-a", "gis-tiles-a")),
        "eoc": ("vsphere", "2", ("gis-app-b",)),
        "aws-east": ("aws", "5", ("web-e1", "web-e2")),
        "aws-west": ("aws", "6", ("web-w1", "web-w2")),
    }
    return {
        name: Server(
            name=name,
            address=f"10.77.{net}.{last}",
            site=site,
            provider=provider,
            on_demand=site in ("eoc", "aws-west"),
        )
        for site, (provider, net, names) in places.items()
        for last, name in enumerate(names, start=70)
    }


def make_pilot(**changes: object) -> PilotSeen:
    words: dict[str, object] = {
        "site": "aws-west",
        "image": ImageSeen(id="ami-0123456789abcdef0", name="portal 2026-11-21", at=NOW - timedelta(days=1)),
        "replica": DatabaseSeen(id="portal-db-west", of="portal-db", at=NOW - timedelta(seconds=20)),
        "snapshot": DatabaseSeen(id="portal-db-copy-7", of="portal-db", at=NOW - timedelta(hours=4)),
        "seen_at": NOW,
        "source": "simulated",
    }
    return PilotSeen.model_validate({**words, **changes})


def make_replicas(**changes: object) -> ReplicasSeen:
    at = {vm: NOW - timedelta(minutes=number) for number, vm in enumerate(GIS.all_vms, start=1)}
    words: dict[str, object] = {
        "site": "eoc",
        "datastore": "replicated",
        "replicated_at": at,
        "seen_at": NOW,
        "source": "simulated",
    }
    return ReplicasSeen.model_validate({**words, **changes})


def make_cloud(**changes: object) -> Cloud:
    specs = {
        name: ServerSpec.model_validate(
            {
                "name": name,
                "provider": "aws",
                "site": "aws-west",
                "size": {"type": "t3.small"},
                "networks": ("portal-west",),
                "address": f"10.77.6.{last}",
            }
        )
        for last, name in enumerate(("web-w1", "web-w2"), start=70)
    }
    isolated = NetworkSpec(
        name="portal-test",
        provider="aws",
        site="aws-west",
        cidr="10.99.0.0/24",
        part_of="test",
        isolated=True,
    )
    words: dict[str, object] = {
        "replicas": {"gis": make_replicas()},
        "pilots": {"portal": make_pilot()},
        "specs": specs,
        "networks": {"portal-test": isolated},
    }
    return Cloud.model_validate({**words, **changes})


def make_cloud_city(*only: str, **cloud: object) -> City:
    """The lab's city with `gis` and `portal`; `only` names the services that it keeps."""
    city = make_city()
    services = {
        **city.catalog.services,
        "gis": _service("Maps", "city-hall", "eoc", "gis.city.lab", GIS),
        "portal": _service("Portal", "aws-east", "aws-west", "portal.city.lab", PORTAL),
    }
    kept = {name: one for name, one in services.items() if not only or name in only}
    regions = {site: Site(title=site, dns_server="dns-b") for site in ("aws-east", "aws-west")}
    catalog = city.catalog.model_copy(update={"services": kept, "sites": {**city.catalog.sites, **regions}})
    inventory = Inventory(servers={**city.inventory.servers, **_servers()})
    return city._replace(catalog=catalog, inventory=inventory, cloud=make_cloud(**cloud))
