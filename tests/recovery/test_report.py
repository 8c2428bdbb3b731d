"""The report of a drill, folded from what was written down and from nothing else."""

from datetime import timedelta

import pytest

from automation.recovery.planner import City
from automation.recovery.report import Report
from automation.recovery.report_fold import fold_report
from tests.recovery.drill_story import LOSS, WRITE, Story, at, tell


def told(city: City, **story: object) -> Report:
    return fold_report(tell(city, Story(**story)))  # type: ignore[arg-type]


def test_a_good_drill_says_so_in_one_sentence(city: City) -> None:
    report = told(city)
    assert report.verdict == "met"
    assert report.headline == (
        "Every objective was met. Clients were without Utility payments for 2.86 s; "
        "none of 152 acknowledged writes are missing."
    )


def test_every_service_of_the_drill_has_its_row(city: City) -> None:
    rows = {row.service: row for row in told(city).services}
    assert list(rows) == ["payments-db", "payments"]
    assert (rows["payments"].rto_s, rows["payments"].rpo_s) == (120, 5)
    assert rows["payments"].outage.rta_s == pytest.approx(2.857)
    assert rows["payments"].outage.deciding_probe == WRITE


def test_the_split_is_that_of_the_service_itself(city: City) -> None:
    ends = {
        row.service: sum(part.seconds or 0 for part in row.outage.split if part.name != "client-good")
        for row in told(city).services
    }
    assert ends["payments-db"] == pytest.approx(2.64)
    assert ends["payments"] == pytest.approx(2.68 - 0.033)


def test_a_database_answers_for_the_writes_that_another_service_takes(city: City) -> None:
    database, application = told(city, lost=20).services
    assert database.loss == application.loss
    assert len(database.loss.missing) == 20
    assert database.loss.rpa_s == pytest.approx(1.91)
    assert database.found_on_lost_primary == 20


def test_the_loss_of_a_rolling_disaster_is_its_last_fault_and_its_outage_begins_at_the_first(
    city: City,
) -> None:
    report = told(city, lost=20)
    assert [fault.fault for fault in report.faults] == ["link-cut", "power-loss"]
    assert report.marks.fault_at == LOSS - timedelta(seconds=2)
    assert report.services[0].loss.rpa_s == pytest.approx(1.91)


def test_a_step_that_failed_makes_the_drill_failed_whatever_was_measured(city: City) -> None:
    report = told(city, fails="payments-db/fence-proof", back_ms=None)
    assert report.verdict == "failed"
    assert report.headline.startswith("The run stopped: payments-db/fence-proof did not succeed")
    states = {step.id: step.status for step in report.steps}
    assert states["payments-db/fence-proof"] == "failed"
    assert states["payments-db/promote"] == "not-started"
    assert report.marks.run_ended_at is None


def test_a_drill_that_nobody_watched_claims_nothing(city: City) -> None:
    report = told(city, witness=False)
    assert report.verdict == "not-measured"
    assert {row.verdict for row in report.services} == {"not-measured"}
    assert {row.outage.rta_s for row in report.services} == {None}
    assert "No outage was measured" in report.headline


def test_a_service_that_does_not_come_back_misses_its_target(city: City) -> None:
    report = told(city, back_ms=None)
    assert report.verdict == "missed"
    assert "at least" in report.headline


def test_the_run_is_folded_whole(city: City) -> None:
    report = told(city)
    assert len(report.steps) == len(tell(city, Story()).plan.steps)
    assert {step.status for step in report.steps} == {"succeeded"}
    promote = next(step for step in report.steps if step.id == "payments-db/promote")
    assert (promote.started_at, promote.seconds) == (at(2461), pytest.approx(0.139))
    assert [fence.read_back for fence in report.fences] == ["power off, autostart off", "network blocked"]
    assert report.proofs[0].refused_by == "connect_timeout"
    assert report.checks is not None
    assert report.checks.passed == 7
    assert report.declaration is not None
    assert report.declaration.exercise


def test_method_clock_resolution_and_limits_stand_in_the_report(city: City) -> None:
    report = told(city)
    words = " ".join(report.measurement.method)
    for needed in (
        "recovery time actual",
        "10 good probes in a row",
        "monotonic clock of client-1",
        "3.0 ms",
    ):
        assert needed in words
    assert (report.measurement.beat_s, report.measurement.ended_in_order) == (0.1, True)
    assert "nameserver 10.77.2.10" in report.measurement.resolver
    assert [limit.split(":")[0] for limit in report.limits] == ["shared-kernel"]


def test_probes_are_joined_into_stretches(city: City) -> None:
    view = next(view for view in told(city, brownout=True).probes if view.probe == WRITE)
    assert [stretch.good for stretch in view.stretches] == [True, False, True, False, True]
    assert [stretch.probes for stretch in view.stretches] == [110, 15, 2, 11, 42]
    assert view.stretches[1].errors == ("connect_timeout",)


def test_a_report_is_read_back_from_its_json_as_it_was(city: City) -> None:
    report = told(city, lost=3, brownout=True)
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_a_run_cut_off_at_any_event_still_gives_a_report(city: City) -> None:
    facts = tell(city, Story())
    for length in range(1, len(facts.events)):
        report = fold_report(facts._replace(events=facts.events[:length]))
        assert report.run_status == "open"
        assert report.verdict == "open"
