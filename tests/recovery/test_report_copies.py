"""What a report says of copies that are weaker: missed in an exercise, told in a real failover."""

from datetime import UTC, datetime

import pytest

from automation.model.copies import CopiesCompared, CopyCompared, NotCompared, Weaker
from automation.recovery.planner import City
from automation.recovery.report import Report
from automation.recovery.report_copies import answer_copies, judge_copies, lines_of
from automation.recovery.report_fold import fold_report
from tests.recovery.drill_story import Story, tell

AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
ROOT = Weaker(
    control="lin.ssh.root-login",
    title="No direct root login over SSH",
    severity="high",
    state="fail",
    observed='sshd.effective.permitrootlogin is "yes"',
    wanted='in ["no"]',
)
WAIVED = ROOT.model_copy(update={"state": "waived", "waiver": "root-on-pg-b"})
CUT = "Not compared on pg-b, because a walk over the disks of pg-a was cut short: lin.files.suid."
QUESTION = "Is the copy as well secured as the original?"


def copy(*weaker: Weaker, waived: tuple[Weaker, ...] = (), kept_by: str = "") -> CopyCompared:
    return CopyCompared(
        service="payments-db",
        originals=("pg-a",),
        host="pg-b",
        profile="standard",
        original_at=AT,
        copy_at=AT,
        kept_by=kept_by,
        asked=69,
        controls=24,
        alike=24 - len(weaker) - len(waived),
        weaker=weaker,
        waived=waived,
    )


WEAKER = CopiesCompared(compared=(copy(ROOT),))
SILENT = CopiesCompared(
    not_compared=(NotCompared(service="payments-db", host="pg-b", why="pg-b gave no facts: no answer"),)
)


def told(city: City, copies: CopiesCompared | None) -> Report:
    return fold_report(tell(city, Story())._replace(copies=copies))


def answer(report: Report) -> str:
    return next(one.text for one in report.answers if one.question == QUESTION)


def test_a_drill_whose_copy_is_weaker_is_missed_whatever_else_was_met(city: City) -> None:
    report = told(city, WEAKER)
    assert report.verdict == "missed"
    assert report.headline.startswith(
        "pg-b is weaker than pg-a: No direct root login over SSH (high). Every other objective was met."
    )
    assert answer(report) == "No: pg-b is weaker than pg-a: No direct root login over SSH (high)."
    (found,) = [one for one in report.review.findings if one.id == "weaker-pg-b"]
    assert found.severity == "high"
    assert "baseline.audit --env lab --limit pg-b" in found.act


def test_a_copy_that_is_alike_changes_nothing_and_is_shown(city: City) -> None:
    report, without = told(city, CopiesCompared(compared=(copy(),))), told(city, None)
    assert (report.verdict, report.headline) == ("met", without.headline)
    assert answer(report).startswith("Yes")
    (rated,) = [one for one in report.review.objectives if one.objective.startswith("The copy")]
    assert rated.rating == "P"
    (row,) = [one for one in report.review.controls if one.source.endswith("CP-7 c")]
    assert row.shown == "shown"
    assert not [one for one in without.review.objectives if one.objective.startswith("The copy")]


def test_what_is_waived_is_told_and_fails_nothing(city: City) -> None:
    copies = CopiesCompared(compared=(copy(waived=(WAIVED,)),))
    report = told(city, copies)
    assert report.verdict == "met"
    assert any("Waived on pg-b (root-on-pg-b)" in line for one in report.answers for line in one.more)
    assert "  high lin.ssh.root-login: waived by root-on-pg-b" in "\n".join(lines_of(copies))


def test_a_copy_that_gave_no_facts_leaves_the_drill_not_measured(city: City) -> None:
    report = told(city, SILENT)
    assert report.verdict == "not-measured"
    assert (
        "Nobody knows whether payments-db on pg-b is as well secured: pg-b gave no facts" in report.headline
    )


@pytest.mark.parametrize("copies", [WEAKER, SILENT], ids=["weaker", "not known"])
def test_in_a_real_failover_it_is_told_and_changes_no_verdict(copies: CopiesCompared) -> None:
    verdict, headline = judge_copies("met", "All is served.", copies, "failover")
    assert verdict == "met"
    assert headline.startswith("All is served. ")
    assert "pg-b" in headline


@pytest.mark.parametrize("verdict", ["open", "failed"])
def test_a_run_that_is_open_or_failed_stays_so(verdict: str) -> None:
    kept, headline = judge_copies(verdict, "It stopped.", WEAKER, "exercise")  # type: ignore[arg-type]
    assert kept == verdict
    assert headline.startswith("It stopped.")


def test_a_waiver_that_does_not_count_is_told_where_something_is_weaker() -> None:
    refused = {"root-on-pg-b": "nobody signed it"}
    assert "Waiver root-on-pg-b does not count: nobody signed it." in lines_of(
        WEAKER.model_copy(update={"refused": refused})
    )
    alike = CopiesCompared(compared=(copy(),), refused=refused)
    assert not any("root-on-pg-b" in line for line in lines_of(alike))


def test_facts_of_an_earlier_run_are_told_with_their_age() -> None:
    (line,) = lines_of(CopiesCompared(compared=(copy(kept_by="20261120-020000-0b1e"),)))
    assert "as of 2026-11-21 03:00:00 UTC" in line


def test_what_a_walk_did_not_see_is_named() -> None:
    cut = copy().model_copy(update={"not_walked": ("lin.files.suid",)})
    assert list(lines_of(CopiesCompared(compared=(cut, copy()))))[-1] == CUT
    (told,) = answer_copies(CopiesCompared(compared=(cut,)))
    assert CUT in told.more
