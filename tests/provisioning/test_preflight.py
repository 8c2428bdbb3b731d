"""What stands against a plan is found before its first step, and what nobody saves is told."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from automation.model.environment import Environment
from automation.model.servers import (
    FoundNetwork,
    FoundServer,
    NetworkSpec,
    ProviderView,
    Quota,
    ServerSpec,
    Size,
    Source,
)
from automation.provisioning.compiling import Allowed
from automation.provisioning.decisions import Declared, decide
from automation.provisioning.preflight import Finding, find_dead_ends, find_gaps, find_obstacles

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPEC = ServerSpec(
    name="gis",
    provider="vsphere",
    site="hall",
    image="debian-12",
    size=Size(cpus=4, memory_bytes=8 * 2**30),
    address="10.2.0.9",
)
OTHER = FoundServer(
    name="printer", id="vm-7", provider="vsphere", site="hall", power="on", addresses=("10.2.0.9",)
)
ENVIRONMENT = Environment.model_validate(
    {
        "name": "city",
        "folder": "/nowhere",
        "kind": "production",
        "inventory": ["hosts.yml"],
        "automation_user": "ops",
        "witness": {"host": "client"},
        "dns": {"zone": "city.example", "key_name": "k", "key": {"file": "secrets/k"}},
        "providers": {
            "hall": {
                "kind": "vsphere",
                "site": "hall",
                "address": "vcenter.hall.example",
                "login": {"file": "secrets/vcenter"},
                "datacenter": "city",
                "cluster": "main",
                "datastore": "fast",
                "limits": {"servers": 2},
            }
        },
    }
)


def found(specs: Mapping[str, ServerSpec], **seen: Any) -> tuple[Finding, ...]:
    told: dict[str, Any] = {"images": {"debian-12": "vm-1"}, **seen}
    view = ProviderView(provider="vsphere", site="hall", at=NOW, **told)
    decisions = decide(Declared("city", specs), [view])
    return find_obstacles(ENVIRONMENT, specs, decisions, [view], Allowed())


STANDS_AGAINST: Mapping[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, ""),
    "an image": ({"images": {}}, "there is no image debian-12, of which gis would be made"),
    "a permission": ({"denied": {"CloneVM_Task": "no"}}, "CloneVM_Task is denied: no"),
    "a clock ahead": ({"clock_skew_s": 301.0}, "its clock is 301 s ahead of ours"),
    "a clock behind": ({"clock_skew_s": -300.0}, "its clock is 300 s behind ours"),
    "a clock a little off": ({"clock_skew_s": -20.0}, ""),
    "an address": ({"servers": (OTHER,)}, "address 10.2.0.9 of gis is that of printer (vm-7)"),
    "processors": (
        {"quotas": (Quota(name="cpus", limit=16, used=13),)},
        "4 more cpus are needed; 13 of 16 are used",
    ),
    "processors that suffice": ({"quotas": (Quota(name="cpus", limit=16, used=12),)}, ""),
    "memory": (
        {"quotas": (Quota(name="memory-bytes", limit=2**33, used=2**30),)},
        "8.0 GiB more memory-bytes are needed; 1.0 GiB of 8.0 GiB are used",
    ),
}


@pytest.mark.parametrize(("seen", "message"), STANDS_AGAINST.values(), ids=STANDS_AGAINST.keys())
def test_what_a_plan_would_fail_by_is_told(seen: dict[str, Any], message: str) -> None:
    told = [one.message for one in found({"gis": SPEC}, **seen)]
    assert len(told) == bool(message)
    assert all(message in one for one in told)


def test_our_own_limit_counts_what_is_there() -> None:
    ours = [OTHER.model_copy(update={"name": n, "id": n, "owner": "city", "addresses": ()}) for n in "ab"]
    (finding,) = found({"gis": SPEC}, servers=tuple(ours))
    assert finding.message == "1 more servers than the 2 of ours are beyond its limit, 2"


def test_a_provider_with_nothing_to_do_is_asked_for_nothing() -> None:
    ours = OTHER.model_copy(update={"name": "gis", "owner": "city", "size": SPEC.size})
    assert found({"gis": SPEC}, servers=(ours,), denied={"CloneVM_Task": "no"}, clock_skew_s=900.0) == ()


@pytest.mark.parametrize(
    ("saved", "baseline", "count"),
    [((), "there is none", 2), (("gis",), "there is none", 1), ((), "", 1), (("gis",), "", 0)],
    ids=["neither", "saved", "held to a baseline", "both"],
)
def test_a_server_that_nobody_saves_or_holds_to_a_baseline_is_told(
    saved: tuple[str, ...], baseline: str, count: int
) -> None:
    specs = {"gis": SPEC}
    view = ProviderView(provider="vsphere", site="hall", at=NOW)
    gaps = find_gaps(specs.values(), saved, baseline, decide(Declared("city", specs), [view]))
    assert len(gaps) == count


def network(name: str = "web", **more: object) -> NetworkSpec:
    words = {
        "name": name,
        "provider": "aws",
        "site": "east",
        "cidr": "10.1.1.0/24",
        "part_of": "main",
        **more,
    }
    return NetworkSpec.model_validate(words)


def dead_ends(spec: NetworkSpec, *there: FoundNetwork, source: Source = "real") -> tuple[str, ...]:
    view = ProviderView(provider="aws", site="east", at=NOW, networks=there, source=source)
    return find_dead_ends([spec], [view], decide(Declared("city", {}, {spec.name: spec}), [view]))


def shown(name: str, *, leads_out: bool) -> FoundNetwork:
    words = {"id": f"subnet-{name}", "provider": "aws", "site": "east", "owner": "city", "part_of": "main"}
    return FoundNetwork.model_validate({**words, "name": name, "leads_out": leads_out})


def test_a_network_out_of_which_nothing_leads_is_told_and_one_that_is_meant_so_is_not() -> None:
    (told,) = dead_ends(network(), shown("web", leads_out=False))
    assert told.startswith("nothing leads out of network web: no internet gateway")
    assert dead_ends(network(), shown("web", leads_out=True)) == ()
    assert dead_ends(network(isolated=True), shown("web", leads_out=False)) == ()
    assert dead_ends(network(), shown("web", leads_out=False), source="simulated") == ()
    assert dead_ends(network(provider="vsphere", cidr="", part_of="")) == ()


def test_a_network_that_is_to_be_made_leads_nowhere_unless_its_vpc_is_known_to_lead_out() -> None:
    assert len(dead_ends(network())) == 1
    assert len(dead_ends(network(), shown("other", leads_out=False))) == 1
    assert dead_ends(network(), shown("other", leads_out=True)) == ()
