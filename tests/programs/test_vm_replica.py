"""Plans of the strategy vm-replica, their steps at vCenters carried out against two simulated ones."""

from collections.abc import Iterator

import pytest

from automation.model.actions import CreatePortGroup, CreateVm, LookAtReplicas
from automation.model.catalog import Catalog, Service
from automation.model.environment import Inventory, Server
from automation.model.evidence import Listing, ServerState
from automation.model.plan import Plan
from automation.model.records import Outcome
from automation.model.replicas import Cloud, ReplicasSeen
from automation.model.servers import NetworkSpec
from automation.model.services import Site
from automation.recovery.copied import compile_copied
from automation.recovery.failback import compile_failback
from automation.recovery.failover import compile_failover
from automation.recovery.migration import compile_migration
from automation.recovery.planner import City
from automation.recovery.spec import Drill, Failover, RecoveryPlan, Switch
from automation.recovery.turning import turn
from tests.programs.vsphere_sites import REPLICATED, Sites, spec, two_sites

pytestmark = pytest.mark.lab
PLAN = RecoveryPlan.model_validate({"title": "t", "services": "all", "checks": ["drtests/checks"]})
VMS = ("gis-db", "gis-app")
SERVICE = Service.model_validate(
    {
        "title": "Maps",
        "owner": "gis",
        "tier": 2,
        "rto": "5 min",
        "rpo": "15 min",
        "primary": "hall",
        "recovery": "annex",
        "endpoints": {"web": {"name": "gis.city.lab", "port": 8080}},
        "probes": {"page": {"kind": "http", "endpoint": "web"}},
        "strategy": {
            "kind": "vm-replica",
            "vms": [["gis-db"], ["gis-app"]],
            "hosts": {"hall": "gis-app", "annex": "gis-app-annex"},
            "datastore": REPLICATED,
            "networks": {"city": "VM Network"},
            "test_network": "isolated-annex",
            "max_lag": "15 min",
        },
    }
)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Two sites: the VMs of a service run at the first, the second sees their files."""
    with two_sites(tmp_path_factory.mktemp("replica")) as made:
        on = made.declare(datastore=REPLICATED)
        for vm in VMS:
            create = CreateVm(host=vm, site="hall", spec=spec(vm))
            made.do(create, made.context(f"create/{vm}", environment=on))
        isolated = NetworkSpec(name="isolated-annex", provider="vsphere", site="annex", isolated=True)
        made.do(CreatePortGroup(network=isolated))
        yield made


def city_of(sites: Sites) -> City:
    """What a plan is made from: the replicas as the second site shows them now."""
    seen = sites.do(LookAtReplicas(site="annex", datastore=REPLICATED, vms=VMS)).evidence
    assert isinstance(seen, ReplicasSeen)
    places = {
        "dns-1": "hall",
        "dns-2": "annex",
        "gis-db": "hall",
        "gis-app": "hall",
        "gis-app-annex": "annex",
    }
    servers = {
        name: Server(name=name, address=f"10.94.{1 + (site == 'annex')}.{number}", site=site)
        for number, (name, site) in enumerate(places.items(), start=10)
    }
    servers["client-1"] = Server(name="client-1", address="10.94.9.9", site="public")
    catalog = Catalog(
        sites={
            "hall": Site(title="Hall", dns_server="dns-1"),
            "annex": Site(title="Annex", dns_server="dns-2"),
        },
        services={"gis": SERVICE},
    )
    cloud = Cloud(replicas={"gis": seen})
    return City(sites.environment, Inventory(servers=servers), catalog, {}, cloud=cloud)


def carry_out(sites: Sites, plan: Plan, run: str) -> dict[str, Outcome]:
    """Do every step at a vCenter, in the order of the plan."""
    done = {}
    for wave in plan.waves():
        for step in wave:
            if step.run.do.startswith("vsphere."):
                done[step.id] = sites.do(step.run, sites.context(step.id, run=run))
    return done


def powers(sites: Sites, site: str) -> dict[str, str]:
    return {one.name: one.power for one in sites.look(site).servers if one.name.startswith("gis-")}


def test_a_test_on_copies_leaves_both_vcenters_and_the_replicas_as_they_were(sites: Sites) -> None:
    words = {"name": "t", "title": "t", "plan": "city", "mode": "test-failover", "site": "hall"}
    drill = Drill.model_validate({**words, "copies": {"services": ["gis"]}})
    done = carry_out(sites, compile_copied(drill, PLAN, city_of(sites)), "run-copies")
    assert {"gis/copy-gis-db", "gis/power-on-gis-app", "gis/remove-gis-app-test"} <= done.keys()
    for site in ("hall", "annex"):
        before, after = done[f"before/all-{site}"].evidence, done[f"after/all-{site}"].evidence
        assert isinstance(before, Listing)
        assert isinstance(after, Listing)
        assert before.items == after.items
        assert before.items
    assert powers(sites, "hall") == {"gis-db": "on", "gis-app": "on"}


def test_a_planned_move_ends_with_every_vm_on_at_the_other_site_alone_and_comes_home(sites: Sites) -> None:
    there = Switch(name="m", title="m", plan="city", site="hall", pause_s=30)
    city = city_of(sites)
    carry_out(sites, compile_migration(there, PLAN, city, {"gis": SERVICE}), "run-move")
    assert powers(sites, "annex") == {"gis-db": "on", "gis-app": "on"}
    assert powers(sites, "hall") == {}
    home = Switch(name="m", title="m", plan="city", site="annex", pause_s=30)
    carry_out(sites, compile_migration(home, PLAN, city, {"gis": turn(SERVICE)}), "run-home")
    assert powers(sites, "hall") == {"gis-db": "on", "gis-app": "on"}
    assert powers(sites, "annex") == {}


def test_a_failover_fences_at_home_and_a_failback_brings_everything_back(sites: Sites) -> None:
    asked = Failover(plan="city", site="hall", title="fire", declaration="run-0")
    city = city_of(sites)
    done = carry_out(sites, compile_failover(asked, PLAN, city), "run-failover")
    for vm in VMS:
        power, network = done[f"gis/fence-power-{vm}"].evidence, done[f"gis/fence-network-{vm}"].evidence
        assert isinstance(power, ServerState)
        assert isinstance(network, ServerState)
        assert (power.power, power.autostart, network.network) == ("off", False, "blocked")
        assert power.source == "simulated"
    assert powers(sites, "annex") == {"gis-db": "on", "gis-app": "on"}
    assert powers(sites, "hall") == {"gis-db": "off", "gis-app": "off"}
    back = Switch(name="b", title="b", plan="city", site="hall", pause_s=30)
    carry_out(sites, compile_failback(back, PLAN, city, {"gis": turn(SERVICE)}, ()), "run-failback")
    assert powers(sites, "hall") == {"gis-db": "on", "gis-app": "on"}
    assert powers(sites, "annex") == {}
