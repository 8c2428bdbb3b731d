"""A report made from a run's folder, and what people write beside it; nothing of the run is changed."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.commands import _subject
from automation.commands._report import FINDINGS_FILE, keep_update, make_report, read_updates, write_report
from automation.commands._session import Session
from automation.commands._subject import describe, leave_subject, machine_timezone, read_subject
from automation.engine.journal import Journal
from automation.engine.seal import KEY, check_run, seal
from automation.model.environment import load_environment
from automation.model.errors import AutomationError, ConfigError, PreflightError
from automation.recovery.report_fold import TODAYS_TARGETS, Facts
from automation.recovery.report_review import FindingUpdate
from automation.recovery.report_subject import SUBJECT_FILE
from tests.recovery.conftest import REPOSITORY, make_city, make_inventory
from tests.recovery.drill_story import LOSS, RUN, Story, tell


@pytest.fixture
def session(tmp_path: Path) -> Session:
    environment = load_environment(REPOSITORY, "lab")
    made = SimpleNamespace(environment=environment, inventory=make_inventory(), state=tmp_path)
    return cast(Session, made)


def write_run(folder: Path, facts: Facts) -> Path:
    """Write a run as the engine does: plan, journal, artifacts, and what it is about."""
    (folder / "artifacts").mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(facts.plan.model_dump(mode="json")))
    moments = iter([event.at for event in facts.events])
    journal = Journal(folder / "journal.jsonl", clock=lambda: next(moments))
    for event in facts.events:
        journal.append(event.body)
    journal.close()
    for name in ("witness.jsonl", "writes-payments.txt", "writes-payments-lost-primary.txt"):
        (folder / "artifacts" / name).write_text(facts.read(name) or "")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / RUN, tell(make_city(), Story(lost=3)))


def update(name: str, **words: str) -> FindingUpdate:
    return FindingUpdate.model_validate({"at": LOSS, "by": "alex", "id": name, **words})


def test_a_run_is_reported_from_its_folder_alone(session: Session, folder: Path) -> None:
    facts = tell(make_city(), Story(lost=3))
    leave_subject(folder, facts.subject)
    report = make_report(session, folder)
    assert report.verdict == "met"
    assert [len(row.loss.missing) for row in report.services] == [3, 3]
    assert TODAYS_TARGETS not in report.limits
    assert report.timezone == "America/Chicago"


def test_targets_are_those_of_the_day_of_the_run(session: Session, folder: Path) -> None:
    facts = tell(make_city(), Story(lost=3))
    strict = {n: t.model_copy(update={"rto_s": 1.0}) for n, t in facts.subject.targets.items()}
    leave_subject(folder, facts.subject.model_copy(update={"targets": strict}))
    assert make_report(session, folder).verdict == "missed"


def test_a_run_that_kept_nothing_is_held_against_todays_files_and_says_so(
    session: Session, folder: Path
) -> None:
    report = make_report(session, folder)
    assert [row.service for row in report.services] == ["payments-db", "payments"]
    assert TODAYS_TARGETS in report.limits


def test_what_it_was_about_comes_back_as_it_was_written(session: Session, folder: Path) -> None:
    facts = tell(make_city(), Story())
    subject = describe(session.environment, session.inventory, facts.plan, facts.subject)
    leave_subject(folder, subject)
    assert read_subject(folder) == subject
    assert subject.inventory_digest
    assert subject.services == facts.subject.services
    with pytest.raises(PreflightError, match="cannot be written"):
        leave_subject(folder, subject)


def test_a_plan_without_a_witness_recovers_nothing_before_clients_eyes(session: Session) -> None:
    plan = tell(make_city(), Story()).plan
    blind = plan.model_copy(update={"steps": tuple(s for s in plan.steps if s.id != "witness/start")})
    assert list(describe(session.environment, session.inventory, plan).services) != []
    assert describe(session.environment, session.inventory, blind).services == {}


def test_a_subject_that_was_changed_is_refused(session: Session, folder: Path) -> None:
    (folder / SUBJECT_FILE).write_text("{}x")
    with pytest.raises(ConfigError, match=r"subject\.json cannot be read"):
        make_report(session, folder)


def test_the_machines_zone_is_the_name_behind_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_subject, "LOCALTIME", tmp_path / "localtime")
    assert machine_timezone() == "UTC"
    (tmp_path / "zoneinfo/America").mkdir(parents=True)
    (tmp_path / "zoneinfo/America/Chicago").touch()
    (tmp_path / "localtime").symlink_to(tmp_path / "zoneinfo/America/Chicago")
    assert machine_timezone() == "America/Chicago"


# --- findings ------------------------------------------------------------------------------------


def test_what_people_say_is_appended_and_the_last_word_counts(session: Session, folder: Path) -> None:
    keep_update(session, folder, update("review", status="in-progress"))
    report = keep_update(session, folder, update("review", status="done", note="read with the council"))
    review = next(one for one in report.review.findings if one.id == "review")
    assert (review.status, review.note, review.changed_by) == ("done", "read with the council", "alex")
    lines = (folder / FINDINGS_FILE).read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["in-progress", "done"]
    assert (folder / FINDINGS_FILE).stat().st_mode & 0o777 == 0o600


def test_a_finding_that_does_not_exist_is_added_only_with_what_was_seen(
    session: Session, folder: Path
) -> None:
    with pytest.raises(ConfigError, match="has no finding 'slow-door'"):
        keep_update(session, folder, update("slow-door", status="done"))
    assert not (folder / FINDINGS_FILE).exists()
    report = keep_update(session, folder, update("slow-door", observation="nobody had the key"))
    assert report.review.findings[-1].observation == "nobody had the key"


def test_a_line_that_is_none_is_told_with_its_number(folder: Path) -> None:
    (folder / FINDINGS_FILE).write_text(update("review", status="done").model_dump_json() + "\n{\n")
    with pytest.raises(AutomationError, match="line 2 cannot be read"):
        read_updates(folder)


def test_reports_and_findings_leave_a_sealed_run_as_it_was(session: Session, folder: Path) -> None:
    from automation.adapters import keys

    leave_subject(folder, tell(make_city(), Story(lost=3)).subject)
    keys.make_control_node(session.state)
    journal = Journal(folder / "journal.jsonl")
    journal.append(seal(folder, journal.head.hash, key=session.state / KEY, now=LOSS))
    journal.close()
    public = session.state / f"{KEY}.pub"
    assert check_run(folder, public_key=public) == ()
    before = hashlib.sha256((folder / "journal.jsonl").read_bytes()).digest()
    write_report(keep_update(session, folder, update("review", status="done")), folder)
    assert check_run(folder, public_key=public) == ()
    assert hashlib.sha256((folder / "journal.jsonl").read_bytes()).digest() == before
    evidence = make_report(session, folder).evidence
    assert (evidence.sealed, evidence.checked, evidence.faults) == (True, True, ())
    assert evidence.seal_key.startswith("SHA256:")


def test_a_sealed_run_whose_files_were_changed_is_reported_as_such(session: Session, folder: Path) -> None:
    from automation.adapters import keys

    keys.make_control_node(session.state)
    journal = Journal(folder / "journal.jsonl")
    journal.append(seal(folder, journal.head.hash, key=session.state / KEY, now=LOSS))
    journal.close()
    (folder / "artifacts" / "writes-payments.txt").write_text("")
    report = make_report(session, folder)
    assert report.evidence.faults == ("artifacts/writes-payments.txt was changed after the run was sealed",)
    assert "evidence" in {one.id for one in report.review.findings}
