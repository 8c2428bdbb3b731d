"""Readiness of what another vCenter would register, another region launch, and how far backups are proven."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from automation.model.actions import LookAtPilot, LookAtRecords
from automation.model.evidence import Evidence
from automation.model.records import Event, Failure, Outcome, RunOpened, StepEnded
from automation.model.recovery_points import Level
from automation.model.replicas import DatabaseSeen
from automation.recovery.readiness import Finding, Watched, compile_readiness, fold_readiness
from automation.recovery.readiness_copies import Proven, judge_proof, look_at_pilot
from tests.recovery.cloud_city import NOW, PORTAL, make_cloud_city, make_pilot, make_replicas

DAY = timedelta(days=1)


def of_vms(**seen: object) -> list[Finding]:
    """The findings on VMs of the recovery site, seen as given."""
    return [one for one in judged("gis", "city-hall", make_replicas(**seen)) if one.check == "replica"]


def of_pilot(evidence: Evidence | str, proven: Sequence[Proven] = ()) -> list[Finding]:
    """The findings on a pilot light, seen as given; a text is why nobody could look."""
    found = judged("portal", "aws-east", evidence, proven)
    return [one for one in found if one.check in ("pilot", "image", "point", "proof")]


def judged(service: str, site: str, evidence: Evidence | str, proven: Sequence[Proven] = ()) -> list[Finding]:
    city = make_cloud_city(service)
    watched = Watched(city, site, "city", dict(city.catalog.services))
    plan = compile_readiness(watched)
    assert not {"host/gis-app-b", "host/web-w1"} & plan.by_id.keys()  # a failover makes them
    step = "replica/gis" if service == "gis" else "pilot/portal"
    opened = RunOpened(
        run_id="r",
        plan_format=plan.format,
        plan_name=plan.name,
        plan_digest=plan.digest,
        environment="lab",
        mode=plan.mode,
        actor="a",
        node="control",
        version="1",
    )
    if isinstance(evidence, str):
        failure = Failure(error="AdapterError", message=evidence)
        ended = StepEnded(step=step, status="failed", failure=failure)
    else:
        outcome = Outcome(changed=False, summary="seen", evidence=evidence)
        ended = StepEnded(step=step, status="succeeded", outcome=outcome)
    events = [
        Event(sequence=number, at=NOW, body=body, previous="", hash=str(number))
        for number, body in enumerate((opened, ended))
    ]
    return list(fold_readiness(watched, plan, events, proven).findings)


def test_replicas_are_ready_while_they_are_young_and_a_simulated_one_says_so() -> None:
    (finding,) = of_vms()
    assert (finding.status, finding.subject) == ("ready", "gis")
    assert "simulated: nothing is proven of a real vCenter" in finding.seen
    (real,) = of_vms(source="real")
    assert "simulated" not in real.seen


def test_replicas_that_are_old_or_miss_a_vm_are_not_ready() -> None:
    (late,) = of_vms(seen_at=NOW + timedelta(hours=1))
    (lacking,) = of_vms(missing=("gis-db-a",))
    assert (late.status, lacking.status) == ("not-ready", "not-ready")
    assert "gis-db-a" in lacking.seen


# --- pilot lights ----------------------------------------------------------------------------------


def test_a_pilot_light_is_looked_at_where_it_would_come_up() -> None:
    city = make_cloud_city("portal")
    plan = compile_readiness(Watched(city, "aws-east", "city", dict(city.catalog.services)))
    run = plan.step("pilot/portal").run
    assert isinstance(run, LookAtPilot)
    assert (run.site, run.images, run.database, run.replica) == (
        "aws-west",
        "portal",
        "portal-db",
        "portal-db-west",
    )


def test_where_no_replica_is_declared_one_under_the_other_name_is_looked_for() -> None:
    service = make_cloud_city("portal").catalog.services["portal"]
    strategy = PORTAL.model_copy(update={"database": {"aws-east": "portal-db"}})
    look = look_at_pilot(service, strategy)
    assert (look.site, look.database, look.replica) == ("aws-west", "portal-db", "portal-db")


def test_names_that_route_53_alone_has_are_not_asked_of_the_citys_dns() -> None:
    city = make_cloud_city("portal", "payments")
    services = dict(city.catalog.services)
    for city_dns, asked in ((True, ("portal.city.lab",)), (False, ())):
        strategy = PORTAL.model_copy(update={"city_dns": city_dns})
        services["portal"] = services["portal"].model_copy(update={"strategy": strategy})
        watched = Watched(city, "aws-east", "city", {"portal": services["portal"]})
        run = compile_readiness(watched).step("dns").run
        assert isinstance(run, LookAtRecords)
        assert run.names == asked


def test_a_pilot_light_that_is_fresh_is_ready_and_says_what_a_loss_would_cost() -> None:
    image, point = of_pilot(make_pilot())
    assert (image.status, point.status) == ("ready", "ready")
    assert "a loss now would cost 20.0 s, by the replica portal-db-west; allowed: 5 min" in point.seen
    assert "simulated: nothing is proven of real AWS" in point.seen
    assert "simulated" not in of_pilot(make_pilot(source="real"))[1].seen


LATE = DatabaseSeen(id="portal-db-west", of="portal-db", at=NOW - timedelta(minutes=6))
YOUNG = DatabaseSeen(id="portal-db-copy-8", of="portal-db", at=NOW - timedelta(minutes=1))
UNKNOWN = DatabaseSeen(id="portal-db-west", of="portal-db", at=None)


@pytest.mark.parametrize(
    ("changes", "check", "said"),
    [
        ({"image": None}, "image", "aws-west has no whole image of portal to launch from"),
        ({"replica": LATE}, "point", "a loss now would cost 6 min"),
        ({"replica": UNKNOWN}, "point", "nobody knows how far behind the replica portal-db-west is"),
        ({"replica": None}, "point", "a loss now would cost 4 h, by the snapshot portal-db-copy-7"),
        ({"replica": None, "snapshot": None}, "point", "neither a replica nor a whole snapshot"),
        (
            {"replica": None, "snapshot": YOUNG, "standing": "portal-db-west"},
            "point",
            "database portal-db-west at aws-west is no replica",
        ),
    ],
    ids=["no image", "late", "lag unknown", "old snapshot", "no database", "a database has the name"],
)
def test_a_pilot_light_that_lacks_something_is_not_ready(
    changes: dict[str, object], check: str, said: str
) -> None:
    (red,) = [one for one in of_pilot(make_pilot(**changes)) if one.status != "ready"]
    assert (red.check, red.subject) == (check, "portal")
    assert said in red.seen
    assert red.act


def test_a_region_that_does_not_answer_is_a_finding() -> None:
    (red,) = of_pilot("us-west-2 does not answer")
    assert (red.check, red.status, red.seen) == ("pilot", "not-ready", "us-west-2 does not answer")


# --- proofs ----------------------------------------------------------------------------------------


def proven(**changes: object) -> Proven:
    words: dict[str, object] = {
        "service": "portal",
        "resource": "portal-images",
        "store": "west",
        "demanded": Level.L4,
        "limit_s": 180 * 86400.0,
        "by_drill": True,
        "at": NOW - 3 * DAY,
        "by": "drill-1",
        "best": Level.L4,
    }
    return Proven.model_validate({**words, **changes})


def test_proofs_of_services_that_are_recovered_stand_in_the_findings_and_others_not() -> None:
    of_another = proven(service="permits")
    (found,) = [one for one in of_pilot(make_pilot(), [proven(), of_another]) if one.check == "proof"]
    assert (found.status, found.subject) == ("ready", "portal")
    assert found.seen == "portal-images in west: L4 72 h ago by drill-1; allowed: 4320 h"


@pytest.mark.parametrize(
    ("changes", "said", "act"),
    [
        ({"at": None, "best": Level.L1}, "was never proven at L4; its best is L1", "dr.drill --env lab"),
        ({"at": NOW - 181 * DAY}, "L4 4344 h ago by drill-1; allowed: 4320 h", "a test failover of portal"),
        ({"suspended": "BAD: x (run r)"}, "no proof of portal-images in west is believed: BAD", "status"),
        (
            {"at": None, "best": None, "by_drill": False, "demanded": Level.L2},
            "was never proven at L2",
            "./inv backup.verify --env lab --resource portal-images --store west --level L2",
        ),
    ],
    ids=["never", "old", "suspended", "by verify"],
)
def test_a_proof_that_is_missing_old_or_not_believed_is_not_ready(
    changes: dict[str, object], said: str, act: str
) -> None:
    found = judge_proof(proven(**changes), NOW, env="lab")
    assert found.status == "not-ready"
    assert said in found.seen
    assert act in found.act


def test_a_simulated_proof_says_so() -> None:
    assert "by drill-1 (simulated)" in judge_proof(proven(source="simulated"), NOW, env="lab").seen
