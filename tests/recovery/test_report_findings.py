"""Findings: derived by rule, the same every time, and what people said of them since."""

from datetime import UTC, date, datetime, timedelta

import pytest

from automation.model.evidence import ChecksRun
from automation.recovery.planner import City
from automation.recovery.report import Report, Standstill, StepResult
from automation.recovery.report_answers import answer
from automation.recovery.report_exercise import review
from automation.recovery.report_findings import APART, apply, find
from automation.recovery.report_fold import fold_report
from automation.recovery.report_review import FindingUpdate
from tests.recovery.drill_story import Story, tell

DAY = date(2026, 11, 21)
LATER = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def told(city: City, **story: object) -> Report:
    return fold_report(tell(city, Story(**story)))  # type: ignore[arg-type]


def ids(report: Report) -> list[str]:
    return [one.id for one in report.review.findings]


STORIES = {
    "good": ({}, {"names-dns-a", "review", "unsealed"}),
    "lost": ({"lost": 20}, {"lost-payments-db", "names-dns-a", "review", "unsealed"}),
    "never-back": (
        {"back_ms": None},
        {"rto-payments-db", "rto-payments", "names-dns-a", "review", "unsealed"},
    ),
    "unwatched": ({"witness": False}, {"not-measured", "names-dns-a", "review", "unsealed"}),
    "stopped": (
        {"fails": "payments-db/fence-proof", "back_ms": None},
        {"run-halted", "step-payments-db/fence-proof", "not-measured", "review", "unsealed"},
    ),
}


@pytest.mark.parametrize(("story", "wanted"), STORIES.values(), ids=STORIES)
def test_a_run_has_the_findings_that_follow_from_it(
    city: City, story: dict[str, object], wanted: set[str]
) -> None:
    assert set(ids(told(city, **story))) == wanted


def test_an_objective_is_its_services_owners_matter_and_all_else_the_coordinators(city: City) -> None:
    owners = {one.id: one.owner for one in told(city, back_ms=None).review.findings}
    assert owners["rto-payments"] == "finance-systems"
    assert owners["review"] == "dr-coordinator"


def test_the_graver_the_sooner_and_the_grave_ones_first(city: City) -> None:
    found = told(city, lost=20).review.findings
    assert [one.severity for one in found] == ["high", "medium", "medium", "medium"]
    due = {one.severity: one.due for one in found[:-1]}
    assert due == {"high": DAY + timedelta(days=30), "medium": DAY + timedelta(days=90)}
    assert found[-1].due == DAY + timedelta(days=30), "the review"


def test_lost_writes_that_two_services_answer_for_are_one_finding_with_the_place_of_the_list(
    city: City,
) -> None:
    (lost,) = (one for one in told(city, lost=20).review.findings if one.id.startswith("lost-"))
    assert "20" in lost.observation
    assert "artifacts/writes-payments-lost-primary.txt" in lost.observation


def test_a_possible_split_brain_is_due_at_once_and_told_first_with_what_was_found(city: City) -> None:
    facts = tell(city, Story(lost=20))
    bare = fold_report(facts)
    doubt = bare.safety.model_copy(update={"verdict": "unsafe", "text": "No: two may write."})
    found = find(bare.model_copy(update={"safety": doubt}))
    assert (found[0].id, found[0].due) == ("split-brain", DAY)
    told_first = answer(bare, found)[-1].more[0]
    assert told_first.startswith("dr-coordinator, now: No: two may write. Look at both databases")


def test_the_top_and_cp_4_count_the_same_findings(city: City) -> None:
    report = told(city, lost=20)
    assert report.answers[-1].text.startswith("4 findings open")
    (row,) = (one for one in report.review.controls if one.asks.startswith("initiate corrective"))
    assert row.how == "4 findings, 4 open, the review of this report among them"


def test_missing_writes_within_the_target_are_told_as_such_with_their_place(city: City) -> None:
    report = told(city, lost=20)
    assert report.verdict == "met"
    assert report.headline.endswith(
        "acknowledged writes are missing, the oldest 1.91 s before the loss: within what is allowed "
        "(RPO 5 s); listed from the old disk in artifacts/writes-payments-lost-primary.txt."
    )
    (lost,) = (one for one in report.answers if one.question == "What was lost?")
    assert any(
        line.endswith("share one store: these are the same writes, counted once.") for line in lost.more
    )


def test_of_an_outage_is_told_how_much_nobody_ran_the_run(city: City) -> None:
    report = told(city)
    row = next(one for one in report.services if one.outage.client_good_at)
    good_at = row.outage.client_good_at
    assert good_at is not None
    still = Standstill(from_at=good_at - timedelta(seconds=1), until_at=good_at + timedelta(seconds=9))
    (out,) = (
        one
        for one in answer(report.model_copy(update={"standstills": (still,)}), ())
        if one.question == "How long were clients out?"
    )
    assert ", of which 1.00 s nobody ran the run" in out.text
    assert "nobody ran" not in report.answers[1].text


@pytest.mark.parametrize(("key", "files", "told_so"), [("SHA256:k", 7, 1), ("", 7, 0), ("SHA256:k", 0, 0)])
def test_only_a_seal_that_was_checked_against_a_known_key_is_a_strength(
    city: City, key: str, files: int, told_so: int
) -> None:
    facts = tell(city, Story())
    report = fold_report(facts)
    seal = report.evidence.model_copy(
        update={"sealed": True, "checked": True, "seal_key": key, "files": files}
    )
    made = review(report.model_copy(update={"evidence": seal}), facts.subject, ())
    assert sum("sealed" in line for line in made.strengths) == told_so


def test_many_failed_steps_are_one_finding(city: City) -> None:
    report = told(city)
    bad = tuple(
        StepResult(id=f"s{n}", service=None, why="", status="failed", text="no") for n in range(APART + 1)
    )
    found = find(report.model_copy(update={"steps": bad, "verdict": "failed"}))
    (steps,) = (one for one in found if one.id.startswith("step"))
    assert steps.id == "steps"
    assert steps.observation.startswith(f"{APART + 1} steps did not succeed: s0, s1, s2, s3 and 2 more")


def test_failed_and_skipped_checks_are_found(city: City) -> None:
    checks = ChecksRun(passed=1, failed=2, skipped=3, failures=("a", "b"))
    found = {one.id: one for one in find(told(city).model_copy(update={"checks": checks}))}
    assert "2 checks of the recovered services failed: a, b" in found["checks"].observation
    assert "checks-skipped" in found


# --- what people say of them ---------------------------------------------------------------------


def update(name: str, **words: object) -> FindingUpdate:
    return FindingUpdate.model_validate({"at": LATER, "by": "alex", "id": name, **words})


def test_the_last_word_of_a_person_counts_and_what_they_did_not_say_stays(city: City) -> None:
    found = told(city).review.findings
    said = (
        update("names-dns-a", owner="network", status="in-progress"),
        update("names-dns-a", status="done", note="reconciled by hand"),
    )
    one = next(one for one in apply(found, said) if one.id == "names-dns-a")
    assert (one.owner, one.status, one.note) == ("network", "done", "reconciled by hand")
    assert (one.changed_by, one.changed_at, one.due) == ("alex", LATER, DAY + timedelta(days=90))


def test_a_person_can_add_what_no_rule_saw(city: City) -> None:
    said = (update("slow-door", observation="nobody had the key", act="a key box", owner="facilities"),)
    one = apply(told(city).review.findings, said)[-1]
    assert (one.id, one.observation, one.owner, one.status) == (
        "slow-door",
        "nobody had the key",
        "facilities",
        "open",
    )


def test_a_closed_review_names_the_reviewer_and_open_findings_are_counted_anew(city: City) -> None:
    facts = tell(city, Story())._replace(
        updates=(update("review", status="done"), update("unsealed", status="accepted"))
    )
    report = fold_report(facts)
    assert (report.review.reviewed_by, report.review.reviewed_at) == ("alex", LATER)
    assert report.answers[-1].text == "1 finding open, 0 of high severity."
    shown = {row.asks: row.shown for row in report.review.controls}
    assert (shown["review the results"], shown["initiate corrective actions, if needed"]) == (
        "shown",
        "in part",
    )


def test_the_next_exercise_is_due_by_the_plans_cadence(city: City) -> None:
    facts = tell(city, Story())
    review = fold_report(facts).review
    assert (review.next_due, review.next_level) == (DAY + timedelta(days=365), "failover")
    cadence = facts.subject.cadence.model_copy(update={"failover_s": 30 * 86400.0})
    sooner = facts._replace(subject=facts.subject.model_copy(update={"cadence": cadence}))
    assert fold_report(sooner).review.next_due == DAY + timedelta(days=30)
