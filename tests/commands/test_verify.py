"""What follows from a run of proofs, and which runs the next one finishes first."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.backups.proof_results import ProofRow, Proved, Result
from automation.commands._session import Session
from automation.commands._unfinished import LOOK_BACK, list_unfinished
from automation.commands._verify import VerifyFlags, judge, verify
from automation.engine.journal import Journal
from automation.engine.lock import hold
from automation.model.environment import load_environment
from automation.model.errors import EXIT_PARTIAL, AutomationError, ConfigError, NotMet, StepFailed
from automation.model.plan import PLAN_FORMAT
from automation.model.records import RunClosed, RunOpened, RunStatus
from automation.model.recovery_points import Level

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


@pytest.fixture
def session(root: Path, tmp_path: Path) -> Session:
    return cast(Session, SimpleNamespace(environment=load_environment(root, "lab"), state=tmp_path))


def row(result: Result, store: str = "nas", **more: Any) -> ProofRow:
    return ProofRow(resource="share", store=store, level=Level.L3, result=result, said=("why",), **more)


def proved(*rows: ProofRow) -> Proved:
    return Proved(run="20261122-030000-aaaa", seed=1, rows=rows)


def test_all_proven_and_nothing_due_are_done(session: Session) -> None:
    assert judge(session, proved(row("proven"))) == 0
    assert judge(session, proved()) == 0


def test_what_could_not_be_tried_is_done_in_part(session: Session) -> None:
    assert judge(session, proved(row("proven"), row("not tried", "vault"))) == EXIT_PARTIAL


def test_a_failed_proof_says_what_it_stops_and_what_to_do(session: Session) -> None:
    with pytest.raises(
        NotMet, match=r"share in vault \(L3\): why. Every proof of vault is suspended"
    ) as caught:
        judge(session, proved(row("proven"), row("broken off", "far"), row("failed", "vault")))
    assert "--store vault --level L2" in (caught.value.hint or "")
    assert "backup.clear --env lab --store vault" in (caught.value.hint or "")


@pytest.mark.parametrize("bad", [row("broken off"), row("proven", left_behind="no answer")])
def test_no_verdict_and_something_left_behind_are_no_success(session: Session, bad: ProofRow) -> None:
    with pytest.raises(StepFailed, match="1 of 2 proofs came to no end"):
        judge(session, proved(row("proven"), bad))


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (VerifyFlags(), "nothing says what to prove"),
        (VerifyFlags(point="4f"), "nothing says what to prove"),
        (VerifyFlags(store="nas", point="4f"), "--point needs --resource"),
        (VerifyFlags(level="L5"), "--level L5 is none"),
        (VerifyFlags(due=True, seed="x"), "--seed x is no number"),
    ],
)
def test_faulty_flags_are_refused_before_anything_is_looked_at(
    session: Session, flags: VerifyFlags, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        verify(session, flags)


# --- what was cut off ------------------------------------------------------------------------------


def begin(state: Path, at: datetime, plan: str = "backup-verify", status: RunStatus | None = None) -> str:
    """Leave a run as a controller leaves it that was killed, or that came to an end."""
    run_id = f"{at:%Y%m%d-%H%M%S}-abcd"
    folder = state / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(f'{{\n "format": {PLAN_FORMAT},\n "name": "{plan}"\n}}')
    journal = Journal(folder / "journal.jsonl")
    journal.append(
        RunOpened(
            run_id=run_id,
            plan_format=PLAN_FORMAT,
            plan_name=plan,
            plan_digest="",
            environment="lab",
            mode="apply",
            actor="a",
            node="n",
            version="1",
        )
    )
    if status is not None:
        journal.append(RunClosed(status=status))
    journal.close()
    return run_id


def test_what_was_cut_off_is_found_and_what_ended_is_not(tmp_path: Path) -> None:
    killed = begin(tmp_path, NOW - timedelta(hours=9))
    stopped = begin(tmp_path, NOW - timedelta(hours=8), status="interrupted")
    paused = begin(tmp_path, NOW - timedelta(hours=7), status="paused")
    begin(tmp_path, NOW - timedelta(hours=6), status="succeeded")
    begin(tmp_path, NOW - timedelta(hours=5), status="aborted")
    begin(tmp_path, NOW - timedelta(hours=4), plan="backup-run")
    begin(tmp_path, NOW - LOOK_BACK - timedelta(days=2))
    assert list(list_unfinished(tmp_path, "backup-verify", NOW)) == [killed, stopped, paused]


def test_a_run_that_somebody_carries_out_is_left_alone(tmp_path: Path) -> None:
    runs = begin(tmp_path, NOW)
    with hold(tmp_path / "locks", [f"run:{runs}"], holder="h", reason="r"):
        assert not list(list_unfinished(tmp_path, "backup-verify", NOW))
    assert list(list_unfinished(tmp_path, "backup-verify", NOW)) == [runs]


def test_people_are_told_once_and_told_when_it_is_well(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    for rows in ([row("failed")], [row("failed")], [row("proven")], [row("proven")]):
        try:
            judge(session, proved(*rows))
        except AutomationError:
            continue
    assert capsys.readouterr().err.count("NOT TOLD") == 1  # the lab names nobody
