"""Reports of runs that went another way: true, whole, and with what a person did told apart."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from automation.commands._report_page import render_html, render_markdown
from automation.engine.journal import read_journal
from automation.model.actions import BlockServer, Wait
from automation.model.plan import Plan, Step
from automation.model.records import Outcome, RunClosed, RunOpened, StepEnded, StepStarted
from automation.recovery.failover import compile_walkthrough
from automation.recovery.planner import City
from automation.recovery.report import Report
from automation.recovery.report_fold import TODAYS_TARGETS, Facts, fold_report
from automation.recovery.report_people import Signed
from automation.recovery.report_subject import Subject
from automation.recovery.spec import load_plan
from automation.recovery.tabletop import Tabletop, compile_tabletop
from tests.recovery.conftest import REPOSITORY
from tests.recovery.drill_story import Story, tell
from tests.recovery.run_stories import (
    FENCE,
    GAP,
    PROMOTE,
    aborted,
    answered_and_signed,
    killed_and_resumed,
    retold,
    settled_by_a_person,
    tried_again,
    waiting_at_a_gate,
)
from tests.recovery.test_tabletop import STORY, played, with_opening

CHANGED: dict[str, Callable[[Facts], Facts]] = {
    "aborted": aborted,
    "killed": killed_and_resumed,
    "tried-again": tried_again,
    "settled": settled_by_a_person,
    "waiting": waiting_at_a_gate,
    "signed": answered_and_signed,
}


def told(city: City, change: Callable[[Facts], Facts], **story: object) -> Report:
    return fold_report(change(tell(city, Story(**story))))  # type: ignore[arg-type]


def kinds(report: Report) -> list[str]:
    return [one.kind for one in report.deviations]


def finding(report: Report, name: str) -> str:
    return next(one.observation for one in report.review.findings if one.id == name)


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_every_kind_of_run_has_a_page_and_answers(city: City, change: Callable[[Facts], Facts]) -> None:
    report = told(city, change)
    assert report.headline in render_markdown(report)
    assert "</html>" in render_html(report)
    assert [one.question for one in report.answers] == [
        "What broke?",
        "How long were clients out?",
        "What was lost?",
        "Was it safe?",
        "What must be done, by whom?",
    ]
    assert all(one.text for one in report.answers)
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_a_killed_run_shows_the_time_in_which_nobody_ran_it(city: City) -> None:
    report = told(city, killed_and_resumed)
    assert [one.until_at - one.from_at for one in report.standstills] == [GAP]
    assert kinds(report) == ["resumed", "looked-at"]
    assert "its controller was gone" in report.deviations[0].text
    assert report.deviations[0].by == "coordinator"
    promote = next(step for step in report.steps if step.id == PROMOTE)
    assert (promote.status, promote.earlier) == ("succeeded", ())
    assert "gone once" in finding(report, "controller")
    assert "nobody ran it" in render_html(report)


def test_a_step_tried_again_keeps_every_try(city: City) -> None:
    report = told(city, tried_again)
    fence = next(step for step in report.steps if step.id == FENCE)
    assert (fence.retries, [one.status for one in fence.earlier]) == (1, ["succeeded"])
    assert kinds(report) == ["retry", "repeated"]
    assert FENCE in finding(report, "tried-again")
    assert report.verdict == "met"


def test_a_run_that_was_given_up_says_by_whom_and_what_was_taken_back(city: City) -> None:
    report = told(city, aborted)
    assert report.verdict == "failed"
    assert report.headline == "Given up by alex: the power came back. 1 of its steps were taken back."
    states = {step.id: step.status for step in report.steps}
    assert (states["payments/start"], states[PROMOTE]) == ("taken-back", "not-started")
    assert report.safety.verdict == "nothing-promoted"
    assert "pg-a is fenced and stays so" in report.safety.text
    assert ("alex", "took it up again, given-up") in {(p.person, p.part) for p in report.review.participants}


def test_what_a_person_said_of_an_unknown_effect_is_told_as_theirs(city: City) -> None:
    report = told(city, settled_by_a_person)
    promote = next(step for step in report.steps if step.id == PROMOTE)
    assert promote.status == "succeeded"
    assert promote.text == "settled as done by alex: pg-b takes writes"
    assert kinds(report) == ["failed", "stopped", "resumed", "settled"]
    assert report.review.objectives[1].rating == "S", "met, and a person had to step in"


def test_a_run_that_waits_for_a_person_is_open_and_not_failed(city: City) -> None:
    report = told(city, waiting_at_a_gate)
    assert report.verdict == "open"
    assert report.headline.startswith(f"This run waits for a person's answer ({PROMOTE})")
    assert report.safety.verdict == "nothing-promoted"


def test_agreements_name_person_role_key_nonce_and_moment(city: City) -> None:
    facts = answered_and_signed(tell(city, Story()))._replace(
        signed={
            "2" * 32: Signed("SHA256:sam", ("database-owner",)),
            "3" * 32: Signed("SHA256:sam", ("owner",)),
        }
    )
    report = fold_report(facts)
    seen = [(one.kind, one.person, one.roles, one.fingerprint, one.nonce[:1]) for one in report.signatures]
    assert seen == [
        ("approval", "kim", ("dr-coordinator",), "", "1"),
        ("override", "sam", ("owner",), "SHA256:sam", "3"),
        ("override", "kim", (), "", "4"),
        ("gate", "sam", ("database-owner",), "SHA256:sam", "2"),
    ]
    gate = report.signatures[-1]
    assert (gate.asked, gate.answer, gate.reason) == ("Is the old site really lost?", "yes", "I saw it")
    assert report.marks.approved_at == facts.events[1].at, "what was agreed before the first step"
    page = render_html(report)
    for word in ("SHA256:sam", "2" * 32, "pg-a may not be fenced", "signed file not at hand"):
        assert word in page


# --- safety --------------------------------------------------------------------------------------


def test_two_fences_and_a_proof_before_the_promotion_are_safe(city: City) -> None:
    report = told(city, lambda facts: facts)
    (takeover,) = report.safety.takeovers
    assert (report.safety.verdict, len(takeover.fences), len(takeover.proofs)) == ("safe", 2, 1)


@pytest.mark.parametrize("late", [FENCE, "payments-db/fence-network", "payments-db/fence-proof"])
def test_a_fence_or_proof_that_came_after_the_promotion_is_not_safe(city: City, late: str) -> None:
    def delay(facts: Facts) -> Facts:
        return retold(
            facts,
            lambda events: sorted(
                (
                    (
                        at + timedelta(seconds=1)
                        if isinstance(body, StepEnded) and body.step == late
                        else at,
                        body,
                    )
                    for at, body in events
                ),
                key=lambda pair: pair[0],
            ),
        )

    report = told(city, delay)
    assert report.safety.verdict == "unsafe"
    assert report.safety.text.startswith("No: pg-b was promoted without")
    assert finding(report, "split-brain") == report.safety.text


def test_a_promotion_without_an_end_is_not_known(city: City) -> None:
    facts = killed_and_resumed(tell(city, Story()))
    cut = next(
        n for n, e in enumerate(facts.events) if isinstance(e.body, StepStarted) and e.body.step == PROMOTE
    )
    report = fold_report(facts._replace(events=facts.events[: cut + 1]))
    assert report.safety.verdict == "not-known"
    assert (report.verdict, report.run_status) == ("open", "open")


# --- runs that recover nothing --------------------------------------------------------------------


def test_a_change_of_servers_has_a_short_report(city: City) -> None:
    first = Step(id="block", run=BlockServer(host="pg-a"), why="no more")
    second = Step(id="wait", run=Wait(seconds=1), why="let it settle", needs=("block",))
    plan = Plan(name="converge", environment="lab", mode="apply", steps=(first, second))
    opened = RunOpened(
        run_id="r1",
        plan_format=plan.format,
        plan_name=plan.name,
        plan_digest=plan.digest,
        environment="lab",
        mode="apply",
        actor="root",
        node="control",
        version="1",
    )
    done = Outcome(changed=True, summary="done")
    bodies = [
        opened,
        *(
            body
            for step in plan.steps
            for body in (
                StepStarted(step=step.id),
                StepEnded(step=step.id, status="succeeded", outcome=done),
            )
        ),
        RunClosed(status="succeeded"),
    ]
    story = tell(city, Story())
    at = story.events[0].at
    facts = story._replace(plan=plan, subject=Subject(kept=False))
    report = fold_report(retold(facts, lambda _: [(at, body) for body in bodies]))
    assert (report.verdict, report.kind) == ("done", "Change")
    assert report.headline == "Done: 2 steps succeeded, 1 of them made to change something."
    assert [one.question for one in report.answers] == ["What did it do?", "What must be done, by whom?"]
    assert (report.services, report.review.controls, report.review.next_due) == ((), (), None)
    assert TODAYS_TARGETS in report.limits
    page = render_html(report)
    assert 'id="objectives"' not in page
    assert [step.id for step in report.steps if step.critical] == ["block", "wait"]


# --- at a table ----------------------------------------------------------------------------------


def test_a_tabletop_is_judged_by_what_its_players_did(tmp_path: Path, city: City) -> None:
    walkthrough = compile_walkthrough("city", load_plan(REPOSITORY, "city"), city, "city-hall")
    plan = compile_tabletop(Tabletop.model_validate(STORY), walkthrough)
    with_opening(plan, tmp_path)
    done, not_done = ("I declare", "", "yes"), ("we say nothing", "", "no")
    played(plan, tmp_path, "Alex (dr-coordinator)", "", *done, *not_done, "Who calls Monday?", "")
    events = tuple(read_journal(tmp_path / "journal.jsonl"))
    report = fold_report(Facts(Subject(title="Fire"), plan, events, lambda name: None))
    assert (report.kind, report.verdict) == ("Tabletop exercise", "missed")
    assert report.headline == "1 of 2 injects were handled as expected; open questions: 1."
    owners = {one.id: one.owner for one in report.review.findings}
    assert owners["table-inject/2"] == "communications"
    assert "Who calls Monday?" in finding(report, "question-1")
    assert {one.kind for one in report.deviations} == {"resumed"}, "answers are the exercise itself"
    assert "Alex (dr-coordinator)" in {one.person for one in report.review.participants}
    for text in (render_html(report), render_markdown(report)):
        assert "The press calls." in text
        assert "Who calls Monday?" in text
