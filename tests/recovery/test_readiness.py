"""Readiness: everything is only read, each thing that is wrong becomes a finding with what to do."""

from datetime import UTC, datetime

import pytest

from automation.model.environment import Inventory
from automation.model.evidence import (
    DnsRecord,
    Evidence,
    HostSeen,
    RecordsSeen,
    ReplicationSeen,
    SecretsSeen,
    ServerState,
)
from automation.model.moves import Stamp
from automation.model.plan import Plan
from automation.model.records import Event, Failure, Outcome, RunOpened, StepEnded
from automation.recovery.planner import City
from automation.recovery.readiness import Readiness, Watched, compile_readiness, fold_readiness, watch
from automation.recovery.spec import load_plan
from tests.recovery.conftest import REPOSITORY
from tests.recovery.test_lag import MIB, primary, standby

NOW = datetime(2026, 11, 21, 3, 14, tzinfo=UTC)
NAMES = {"pay-db.city.lab": "10.77.1.20", "pay.city.lab": "10.77.1.30"}


@pytest.fixture
def watched(city: City) -> Watched:
    return watch("city", load_plan(REPOSITORY, "city"), city, "city-hall")


def records(ttl_s: float = 5, **other: str) -> dict[str, DnsRecord]:
    return {
        name: DnsRecord(addresses=(other.get(name.split(".")[0], address),), ttl_s=ttl_s)
        for name, address in NAMES.items()
    }


def moved(name: str, address: str, at_ms: int) -> dict[str, DnsRecord]:
    """The records of a server on which one name was moved."""
    stamp = Stamp(at_ms=1_795_320_000_000 + at_ms, run_id="run-0")
    return {**records(), name: DnsRecord(addresses=(address,), ttl_s=5, moved=stamp)}


def host(name: str, free: int = 20 * 2**30, *silent: str) -> HostSeen:
    return HostSeen(host=name, free_bytes=free, used_percent=40, not_reached=silent)


def replication(**changes: object) -> ReplicationSeen:
    well = {"primary": primary(), "standby": standby(streaming=True), "silent": {}}
    return ReplicationSeen.model_validate({**well, **changes})


GOOD: dict[str, Evidence] = {
    "replication/payments-db": replication(),
    "dns": RecordsSeen(answers={"dns-a": records(), "dns-b": records()}, silent={}),
    "host/app-b": host("app-b"),
    "host/pg-b": host("pg-b"),
    "reach/dns-b": host("dns-b"),
    "witness/client-1": host("client-1"),
    "fence/pg-a": ServerState(server="pg-a", power="on", autostart=True, network="connected"),
    "secrets": SecretsSeen(readable=("secrets/tsig_key", "ssh/id_ed25519"), unreadable={}),
}


def judged(watched: Watched, node: str = "control-1", **seen: Evidence | str) -> Readiness:
    """Fold a look in which everything is well but what is given; a text is why a step failed."""
    plan = compile_readiness(watched)
    told = {**GOOD, **seen}
    bodies = [_opened(plan, node), *(_end(step.id, told[step.id]) for step in plan.steps)]
    events = [Event(sequence=n, at=NOW, body=body, previous="", hash="") for n, body in enumerate(bodies)]
    return fold_readiness(watched, plan, events)


def _opened(plan: Plan, node: str) -> RunOpened:
    return RunOpened(
        run_id="run-1",
        plan_format=plan.format,
        plan_name=plan.name,
        plan_digest=plan.digest,
        environment="lab",
        mode=plan.mode,
        actor="coordinator",
        node=node,
        version="0",
    )


def _end(step: str, seen: Evidence | str) -> StepEnded:
    if isinstance(seen, str):
        return StepEnded(step=step, status="failed", failure=Failure(error="AdapterError", message=seen))
    outcome = Outcome(changed=False, summary="", evidence=seen)
    return StepEnded(step=step, status="succeeded", outcome=outcome)


def test_a_look_only_reads_and_looks_at_everything_whatever_fails(watched: Watched) -> None:
    plan = compile_readiness(watched)
    assert plan.mode == "readiness"
    assert {step.run.effect for step in plan.steps} == {"read"}
    assert {step.on_failure for step in plan.steps} == {"continue"}
    assert {step.id for step in plan.steps} == set(GOOD)


def test_a_city_that_is_well_is_ready(watched: Watched) -> None:
    assert judged(watched).ready


def test_a_database_whose_provider_has_no_fence_is_not_asked_for_and_not_ready(watched: Watched) -> None:
    """Hosts of an inventory that was not written for Mainstay have no provider that it knows."""
    servers = dict(watched.city.inventory.servers)
    servers["pg-a"] = servers["pg-a"].model_copy(update={"provider": "unmanaged"})
    other = watched._replace(city=watched.city._replace(inventory=Inventory(servers=servers)))
    (found,) = [one for one in judged(other).findings if one.check == "fence"]
    assert (found.subject, found.status) == ("pg-a", "not-ready")
    assert "recover payments-db by playbooks that fence" in found.act


WRONG: dict[str, tuple[str, Evidence | str, str]] = {
    "standby gone": (
        "replication/payments-db",
        replication(standby=None, silent={"pg-b": "no route"}),
        "database",
    ),
    "lags in seconds": (
        "replication/payments-db",
        replication(standby=standby(99 * MIB, 9, streaming=True)),
        "lag",
    ),
    "lags in bytes": (
        "replication/payments-db",
        replication(standby=standby(80 * MIB, 1, streaming=True)),
        "lag",
    ),
    "does not stream": ("replication/payments-db", replication(standby=standby()), "streaming"),
    "another cluster": (
        "replication/payments-db",
        replication(standby=standby(streaming=True, system_identifier="8")),
        "identity",
    ),
    "two primaries": (
        "replication/payments-db",
        replication(standby=standby(in_recovery=False)),
        "roles",
    ),
    "one DNS server silent": (
        "dns",
        RecordsSeen(answers={"dns-a": records()}, silent={"dns-b": "timeout"}),
        "dns",
    ),
    "records differ": (
        "dns",
        RecordsSeen(answers={"dns-a": records(), "dns-b": records(pay="10.77.2.30")}, silent={}),
        "records",
    ),
    "clients keep a name too long": (
        "dns",
        RecordsSeen(answers={"dns-a": records(3600), "dns-b": records(3600)}, silent={}),
        "ttl",
    ),
    "no room": ("host/pg-b", host("pg-b", 2**20), "host"),
    "recovery site cannot reach its host": ("reach/dns-b", host("dns-b", 2**40, "10.77.2.20:22"), "reach"),
    "witness gone": ("witness/client-1", "cannot log in", "witness"),
    "no management": ("fence/pg-a", "the management of site city-hall does not answer", "fence"),
    "secret gone": ("secrets", SecretsSeen(readable=(), unreadable={"secrets/tsig_key": "gone"}), "secret"),
}


@pytest.mark.parametrize("case", WRONG, ids=list(WRONG))
def test_what_is_wrong_is_a_finding_that_says_what_to_do(watched: Watched, case: str) -> None:
    step, seen, check = WRONG[case]
    found = judged(watched, **{step: seen})
    assert not found.ready
    bad = [finding for finding in found.findings if finding.status != "ready"]
    assert check in {finding.check for finding in bad}
    assert all(finding.act for finding in bad)


def test_a_control_node_at_the_lost_site_is_lost_with_it(watched: Watched) -> None:
    found = judged(watched, node="app-a")
    assert [finding.check for finding in found.findings if finding.status != "ready"] == ["control node"]


def test_a_witness_that_stands_at_the_lost_site_sees_nothing(watched: Watched) -> None:
    city = watched.city
    moved = city.inventory.server("client-1").model_copy(update={"site": "city-hall"})
    inventory = Inventory(servers={**city.inventory.servers, "client-1": moved})
    found = judged(watched._replace(city=city._replace(inventory=inventory)))
    assert [finding.check for finding in found.findings if finding.status != "ready"] == ["witness"]


def test_a_name_server_that_missed_a_move_comes_with_the_command_that_reconciles_it(watched: Watched) -> None:
    here, there = moved("pay.city.lab", "10.77.1.30", 0), moved("pay.city.lab", "10.77.2.30", 1)
    found = judged(watched, dns=RecordsSeen(answers={"dns-a": here, "dns-b": there}, silent={}))
    (bad,) = [finding for finding in found.findings if finding.status != "ready"]
    assert bad.act == f"./inv dr.reconcile --env {watched.city.environment.name} --server dns-a"
    assert "reconcile before use: dns-a" in bad.seen


def test_addresses_that_differ_under_one_stamp_are_a_persons_to_mend(watched: Watched) -> None:
    here, there = moved("pay.city.lab", "10.77.1.30", 1), moved("pay.city.lab", "10.77.2.30", 1)
    found = judged(watched, dns=RecordsSeen(answers={"dns-a": here, "dns-b": there}, silent={}))
    (bad,) = [finding for finding in found.findings if finding.status != "ready"]
    assert "dr.reconcile" not in bad.act
