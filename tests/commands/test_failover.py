"""What a failover stands on, and the words in which one that ended tells where it stands."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.commands._command import progress
from automation.commands._ending import conclude
from automation.commands._failover import Asked, _accept_lag, live_declaration
from automation.commands._session import Session
from automation.engine.finished import finished
from automation.engine.journal import Journal
from automation.model.errors import NotMet, OutcomeUnknown, PreflightError, StepFailed
from automation.model.evidence import Declaration
from automation.model.plan import Plan
from automation.model.records import (
    Body,
    Failure,
    Outcome,
    RunClosed,
    RunOpened,
    RunStatus,
    StepEnded,
    StepSettled,
    StepStarted,
)
from automation.recovery.failover import compile_failover
from automation.recovery.lag import Lag, Verdict
from automation.recovery.planner import City
from automation.recovery.report import Report
from automation.recovery.spec import Failover, load_plan
from tests.recovery.conftest import REPOSITORY, city

__all__ = ["city"]

NOW = datetime(2026, 11, 21, 3, 14, tzinfo=UTC)
RUN = "20261121-031400-0b1e"


@pytest.fixture
def session(tmp_path: Path, city: City) -> Session:
    known = {"state": tmp_path, "environment": city.environment, "inventory": city.inventory}
    return cast(Session, SimpleNamespace(**known, say=progress))


# --- the declaration -------------------------------------------------------------------------------


def declare(session: Session, run: str = RUN, **changes: Any) -> None:
    said = {
        "sites": ("city-hall",),
        "reason": "fire",
        "exercise": False,
        "declared_by": "coordinator",
        "declared_at": NOW - timedelta(hours=1),
    }
    folder = session.state / "declarations"
    folder.mkdir(exist_ok=True)
    (folder / f"{run}.json").write_text(Declaration.model_validate({**said, **changes}).model_dump_json())


def test_a_persons_declaration_of_this_site_is_what_it_stands_on(session: Session) -> None:
    declare(session)
    assert live_declaration(session, "city-hall", NOW)[0] == RUN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exercise": True}, "nobody has declared city-hall lost"),
        ({"sites": ("eoc",)}, "nobody has declared city-hall lost"),
        ({"declared_at": NOW - timedelta(hours=25)}, "too long ago"),
    ],
    ids=["an exercise", "another site", "another day"],
)
def test_no_other_declaration_counts(session: Session, changes: dict[str, Any], words: str) -> None:
    declare(session, **changes)
    with pytest.raises(PreflightError, match=words) as refused:
        live_declaration(session, "city-hall", NOW)
    assert "./inv dr.declare" in str(refused.value.hint)


# --- the standby that would be promoted ------------------------------------------------------------

ASKED = Asked(plan="city", site="city-hall")
ACCEPTS = ASKED._replace(accept_lag=True)


def accept(session: Session, city: City, asked: Asked, lag: Lag) -> dict[str, str]:
    return _accept_lag(session, asked, {"payments-db": lag}, city.catalog.services)


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [("over", ""), ("not-known", "the primary was never seen"), ("not-known", "seen 30 days before")],
    ids=["too far behind", "never seen", "an old look"],
)
def test_a_lag_that_is_too_much_or_not_known_is_signed_for(
    session: Session, city: City, verdict: Verdict, reason: str
) -> None:
    lag = Lag(verdict=verdict, lag_bytes=9, lag_s=7, seen_at=NOW, reason=reason)
    with pytest.raises(PreflightError, match="nothing was changed") as refused:
        accept(session, city, ASKED, lag)
    assert lag.words in str(refused.value)
    assert "--accept-lag" in str(refused.value.hint)
    assert accept(session, city, ACCEPTS, lag) == {"payments-db": lag.observed}


def test_a_lag_within_the_limits_needs_no_signature(session: Session, city: City) -> None:
    assert accept(session, city, ASKED, Lag(verdict="within", lag_bytes=0, lag_s=0, seen_at=NOW)) == {}


def test_another_cluster_is_never_promoted(session: Session, city: City) -> None:
    other = Lag(verdict="another-cluster", reason="pg-b is no copy of pg-a")
    with pytest.raises(PreflightError, match=r"another cluster: pg-b is no copy of pg-a; nothing was"):
        accept(session, city, ACCEPTS, other)


# --- how it ended ----------------------------------------------------------------------------------


@pytest.fixture
def plan(city: City) -> Plan:
    asked = Failover(plan="city", site="city-hall", title="fire", declaration=RUN)
    return compile_failover(asked, load_plan(REPOSITORY, "city"), city._replace(walk_s=10.0))


@pytest.fixture
def end(session: Session, plan: Plan) -> Callable[..., int]:
    """End a run in which steps succeed in order, but for those given; a failed one holds back the rest."""

    def end(status: RunStatus = "halted", known: bool = True, json: bool = False, **failed: str) -> int:
        wrong = {name.replace("__", "/").replace("_", "-"): text for name, text in failed.items()}
        folder = session.state / "runs" / RUN
        (folder / "artifacts").mkdir(parents=True)
        (folder / "plan.json").write_text(plan.model_dump_json())
        journal = Journal(folder / "journal.jsonl")
        journal.append(_opened(plan))
        waiting = []
        for step in plan.steps:
            if any(
                plan.step(name).on_failure != "continue" for name in wrong if name in _seen(plan, step.id)
            ):
                waiting.append(step.id)
                continue
            journal.append(StepStarted(step=step.id))
            journal.append(_ended(step.id, wrong.get(step.id), known))
        journal.append(RunClosed(status=status, not_started=tuple(waiting)))
        journal.close()
        return conclude(session, finished(folder), json=json)

    return end


def _seen(plan: Plan, step: str) -> list[str]:
    """Steps that stand before one in the plan."""
    ids = [one.id for one in plan.steps]
    return ids[: ids.index(step)]


def _opened(plan: Plan) -> RunOpened:
    return RunOpened(
        run_id=RUN,
        plan_format=plan.format,
        plan_name=plan.name,
        plan_digest=plan.digest,
        environment="lab",
        mode="failover",
        actor="coordinator",
        node="control-1",
        version="0",
    )


def _ended(step: str, problem: str | None, known: bool) -> StepEnded:
    if problem is None:
        return StepEnded(step=step, status="succeeded", outcome=Outcome(changed=True, summary="done"))
    error = "NotMet" if step == "checks" else "AdapterError"
    failure = Failure(error=error, message=problem, known=known)
    return StepEnded(step=step, status="failed", failure=failure)


STOPS = {
    "a fence fails": (
        {"payments_db__fence_power": "no answer"},
        "stopped before promotion (run 20261121-031400-0b1e): payments-db/fence-power: no answer; "
        "nothing was promoted, no name was moved",
        "1. when the management of city-hall answers again: ./inv run.resume --env lab",
    ),
    "only the proof is missing": (
        {"payments_db__fence_proof": "no vantage"},
        "stopped before promotion",
        "pg-a is fenced by two means, only the proof is missing: see that client-1 or pg-b answers",
    ),
    "the recovery site's DNS is silent": (
        {"payments_db__dns_answers": "timeout"},
        "stopped before promotion",
        "start dns-b, then ./inv run.resume",
    ),
    "the standby dies": (
        {"payments_db__promote": "cannot log in to pg-b"},
        "stopped before promotion",
        "bring pg-b back, then ./inv run.resume",
    ),
    "a name is not moved": (
        {"payments_db__dns_sql": "refused"},
        "stopped after promotion of pg-b (run 20261121-031400-0b1e): payments-db/dns-sql: refused; "
        "pg-b is the one writable primary; names not moved: pay-db.city.lab, pay.city.lab",
        "./inv run.resume --env lab --run 20261121-031400-0b1e",
    ),
}


@pytest.mark.parametrize("case", STOPS, ids=list(STOPS))
def test_one_that_stopped_says_on_which_side_of_the_promotion_and_what_to_decide(
    end: Callable[..., int], case: str
) -> None:
    failed, words, hint = STOPS[case]
    with pytest.raises(StepFailed) as stopped:
        end(**failed)
    assert words in str(stopped.value)
    assert hint in str(stopped.value.hint)
    assert stopped.value.exit_code == 5


def test_a_promotion_nobody_knows_of_asks_a_person_to_look(end: Callable[..., int]) -> None:
    with pytest.raises(OutcomeUnknown) as stopped:
        end(known=False, payments_db__promote="connection lost; state unknown")
    assert stopped.value.exit_code == 8
    told = str(stopped.value)
    assert "stopped in the promotion of pg-b" in told
    assert "whether pg-b was promoted is not known" in told
    assert "nothing was promoted" not in told
    assert "names not moved: pay-db.city.lab, pay.city.lab" in told


def write(session: Session, plan: Plan, failure: Failure, *after: Body) -> Path:
    """The journal of a run that came as far as its promotion, and what was written after."""
    folder = session.state / "runs" / RUN
    (folder / "artifacts").mkdir(parents=True)
    (folder / "plan.json").write_text(plan.model_dump_json())
    journal = Journal(folder / "journal.jsonl")
    journal.append(_opened(plan))
    for step in _seen(plan, "payments-db/promote"):
        journal.append(_ended(step, None, known=True))
    journal.append(StepStarted(step="payments-db/promote"))
    journal.append(StepEnded(step="payments-db/promote", status="failed", failure=failure))
    for body in after:
        journal.append(body)
    journal.append(RunClosed(status="halted"))
    journal.close()
    return folder


def test_a_promotion_whose_connection_was_lost_may_have_been_done(session: Session, plan: Plan) -> None:
    lost = Failure(error="AdapterError", message="cannot log in to pg-b", transient=True)
    with pytest.raises(StepFailed, match="whether pg-b was promoted is not known") as stopped:
        conclude(session, finished(write(session, plan, lost)))
    assert "nothing was promoted" not in str(stopped.value)


def test_a_promotion_that_a_person_settled_as_done_is_done(session: Session, plan: Plan) -> None:
    unknown = Failure(error="OutcomeUnknown", message="state unknown", known=False)
    step = "payments-db/promote"
    looked = StepSettled(step=step, progress="done", by="coordinator", reason="it takes writes")
    refused = _ended("payments-db/dns-sql", "refused", known=True)
    with pytest.raises(StepFailed) as stopped:
        conclude(session, finished(write(session, plan, unknown, looked, refused)))
    assert "stopped after promotion of pg-b" in str(stopped.value)
    assert "pg-b is the one writable primary" in str(stopped.value)


@pytest.mark.parametrize(
    ("status", "failed"),
    [("succeeded", {"clients_good": "not seen"}), ("paused", {"checks": "1 of 4 checks failed"})],
    ids=["clients not seen", "checks"],
)
def test_services_that_were_moved_and_not_seen_well_are_no_success(
    end: Callable[..., int], status: RunStatus, failed: dict[str, str]
) -> None:
    with pytest.raises(NotMet, match="pg-b serves and names are moved, but not all was seen to be well"):
        end(status, **failed)


def test_a_recovered_host_that_nobody_could_audit_is_told_and_is_recovered_all_the_same(
    end: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert end("succeeded", baseline__after_pg_b="no answer in 70 s") == 0
    shown = capsys.readouterr().out
    assert "failover of city-hall: pg-b serves" in shown
    assert "nobody knows how it is secured: baseline/after-pg-b: no answer in 70 s" in shown
    assert "payments-db: pg-b was not compared" in shown


def test_one_that_is_well_ends_with_0(end: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert end("succeeded") == 0
    assert "failover of city-hall: pg-b serves" in capsys.readouterr().out


def test_for_a_program_the_report_alone_stands_on_stdout(
    end: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert end("succeeded", json=True) == 0
    shown = capsys.readouterr()
    assert Report.model_validate_json(shown.out).run_id == RUN
    assert "failover of city-hall: pg-b serves" in shown.err
