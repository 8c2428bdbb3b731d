"""Readiness of VMs that another vCenter would register."""

from datetime import timedelta

from automation.model.records import Event, Outcome, RunOpened, StepEnded
from automation.recovery.readiness import Finding, Watched, compile_readiness, fold_readiness
from tests.recovery.cloud_city import NOW, make_cloud_city, make_replicas


def of_vms(**seen: object) -> list[Finding]:
    """The findings on VMs of the recovery site, seen as given."""
    city = make_cloud_city("gis")
    watched = Watched(city, "city-hall", "city", dict(city.catalog.services))
    plan = compile_readiness(watched)
    assert "host/gis-app-b" not in plan.by_id  # a failover makes it
    outcome = Outcome(changed=False, summary="seen", evidence=make_replicas(**seen))
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
    ended = StepEnded(step="replica/gis", status="succeeded", outcome=outcome)
    events = [
        Event(sequence=number, at=NOW, body=body, previous="", hash=str(number))
        for number, body in enumerate((opened, ended))
    ]
    return [one for one in fold_readiness(watched, plan, events).findings if one.check == "replica"]


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
