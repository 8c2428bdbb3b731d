"""What a run keeps to compare copies by, and what it makes of facts that are old, missing or altered."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.commands import _controls
from automation.commands._controls import load_controls
from automation.commands._copy_baselines import (
    KEPT,
    OLDEST,
    compare_kept,
    find_earlier,
    leave_standard,
    walk_in_a_failover,
    walk_of,
)
from automation.commands._session import Session
from automation.engine.journal import Journal, read_journal
from automation.model.errors import ConfigError, PreflightError
from automation.model.facts import Facts
from automation.model.kept_facts import keep_facts
from automation.model.plan import Plan
from automation.model.records import Event, Failure, Outcome, StepEnded
from automation.recovery.planner import City
from automation.recovery.report_subject import Subject
from tests.recovery.conftest import city
from tests.recovery.test_audits import drill, failover

__all__ = ["city"]

NOW = datetime.now(UTC)
WRONG = datetime(1999, 12, 31, tzinfo=UTC)  # what the hosts' own clocks say
RUN = f"{NOW:%Y%m%d-%H%M%S}-0b1e"


def root_login(word: str) -> dict[str, Any]:
    """What a host says of SSH; nothing else is known of it."""
    login = {"permitrootlogin": word}
    return {
        "packages": {"openssh-server": "1"},
        "sshd": {"effective": login, "contexts": [{"user": "root", **login}]},
    }


@pytest.fixture(autouse=True)
def few_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask of hosts what the facts of these tests tell, and no more: else too little would be known of all."""
    every = _controls.load_controls()
    names = ("lin.ssh.root-login", "lin.files.unowned")
    monkeypatch.setattr(_controls, "load_controls", lambda: {name: every[name] for name in names})


@pytest.fixture
def session(tmp_path: Path, city: City) -> Session:
    folder = tmp_path / "checkout/inventories/city"
    folder.mkdir(parents=True)
    (folder / "baseline.yml").write_text("profile: standard\nwalk: 10 s\n")
    said: list[str] = []
    known = {"state": tmp_path, "inventory": city.inventory, "say": said.append, "said": said}
    return cast(
        Session, SimpleNamespace(**known, environment=city.environment.model_copy(update={"folder": folder}))
    )


@pytest.fixture
def subject(city: City) -> Subject:
    return Subject(services=city.catalog.services)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / RUN
    (folder / "artifacts").mkdir(parents=True)
    return folder


def audited(folder: Path, prefix: str = "baseline/after-", /, *, at: datetime = NOW, **hosts: Any) -> Path:
    """Keep what hosts' facts would be in a run; a text is why a host gave none."""
    journal = Journal(folder / "journal.jsonl", clock=lambda: at)
    for host, sections in hosts.items():
        name = host.replace("_", "-")
        step = f"{prefix}{name}" if prefix else f"{name}/facts"
        if isinstance(sections, str):
            failure = Failure(error="AdapterError", message=sections)
            journal.append(StepEnded(step=step, status="failed", failure=failure))
            continue
        facts = Facts(subject=name, platform="linux", collected_at=WRONG, sections=sections)
        done = Outcome(changed=False, summary="", evidence=keep_facts(facts, folder / "artifacts"))
        journal.append(StepEnded(step=step, status="succeeded", outcome=done))
    return folder


def events(folder: Path) -> tuple[Event, ...]:
    return tuple(read_journal(folder / "journal.jsonl"))


@pytest.fixture
def plan(city: City) -> Plan:
    return drill(city)


@pytest.fixture
def begun(session: Session, plan: Plan, subject: Subject, run: Path) -> Path:
    """A drill with its standard kept, and the facts of its originals."""
    leave_standard(session, plan, subject, run)
    return audited(run, "baseline/before-", pg_a=root_login("no"), app_a=root_login("no"))


def test_a_weaker_copy_is_found_from_what_the_run_kept(plan: Plan, subject: Subject, begun: Path) -> None:
    audited(begun, pg_b=root_login("yes"), app_b=root_login("no"))
    found = compare_kept(begun, plan, subject, events(begun))
    assert found
    assert set(found.weaker) == {("pg-b", "lin.ssh.root-login")}
    assert {one.service: one.kept_by for one in found.compared} == {"payments-db": "", "payments": ""}
    assert {one.copy_at for one in found.compared} == {NOW}, "the clock of the control node counts"


def test_todays_files_change_nothing_of_a_run_that_is_over(
    session: Session, plan: Plan, subject: Subject, begun: Path
) -> None:
    audited(begun, pg_b=root_login("yes"), app_b=root_login("no"))
    was = compare_kept(begun, plan, subject, events(begun))
    (session.environment.folder / "baseline.yml").unlink()
    assert compare_kept(begun, plan, subject, events(begun)) == was


def test_a_copy_that_gave_no_facts_is_not_compared(plan: Plan, subject: Subject, begun: Path) -> None:
    audited(begun, pg_b="no answer in 10 s", app_b=root_login("no"))
    found = compare_kept(begun, plan, subject, events(begun))
    assert found
    assert [(one.service, one.why) for one in found.not_compared] == [
        ("payments-db", "pg-b gave no facts: no answer in 10 s")
    ]


def test_an_original_that_gave_no_facts_is_told_with_its_reason(
    session: Session, plan: Plan, subject: Subject, run: Path
) -> None:
    leave_standard(session, plan, subject, run)
    audited(run, "baseline/before-", pg_a="no answer in 10 s", app_a=root_login("no"))
    audited(run, pg_b=root_login("no"), app_b=root_login("no"))
    found = compare_kept(run, plan, subject, events(run))
    assert found
    assert [one.why for one in found.not_compared] == ["pg-a gave no facts: no answer in 10 s"]


def test_facts_that_were_altered_are_not_believed(plan: Plan, subject: Subject, begun: Path) -> None:
    audited(begun, pg_b=root_login("yes"), app_b=root_login("no"))
    path = begun / "artifacts/facts/pg-b.json.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"yes"', b'"no"')))
    found = compare_kept(begun, plan, subject, events(begun))
    assert found
    assert [one.why for one in found.not_compared] == [
        "pg-b gave no facts: facts/pg-b.json.gz is not what was collected"
    ]


@pytest.mark.parametrize("words", [None, "", "{}", '{"settings": {"profile": "standard"}, "controls": [1]}'])
def test_a_standard_that_cannot_be_read_compares_nothing_and_says_so(
    plan: Plan, subject: Subject, begun: Path, words: str | None
) -> None:
    (begun / KEPT).unlink()
    if words is not None:
        (begun / KEPT).write_text(words)
    audited(begun, pg_b=root_login("no"), app_b=root_login("no"))
    found = compare_kept(begun, plan, subject, events(begun))
    assert found
    assert not found.compared
    assert all("baseline.json cannot be read" in one.why for one in found.not_compared)
    assert len(found.not_compared) == 2


def test_originals_of_which_nothing_is_known_to_be_well_prove_nothing_of_a_copy(
    session: Session, plan: Plan, subject: Subject, run: Path
) -> None:
    leave_standard(session, plan, subject, run)
    audited(run, "baseline/before-", pg_a={}, app_a=root_login("no"))
    found = compare_kept(run, plan, subject, events(audited(run, pg_b={}, app_b=root_login("no"))))
    assert found
    assert [one.why for one in found.not_compared] == ["no control is known to pass on pg-a"]


def test_originals_of_which_less_than_half_is_known_prove_nothing_of_a_copy(
    monkeypatch: pytest.MonkeyPatch, session: Session, plan: Plan, subject: Subject, run: Path
) -> None:
    every = load_controls()
    names = ("lin.ssh.root-login", "lin.files.suid", "lin.files.unowned")
    monkeypatch.setattr(_controls, "load_controls", lambda: {name: every[name] for name in names})
    leave_standard(session, plan, subject, run)
    tree: dict[str, Any] = {"unowned": [], "suid": []}
    cut = {**root_login("no"), "tree": tree}
    audited(run, "baseline/before-", pg_a=cut, app_a={**cut, "tree": {**tree, "whole": True}})
    found = compare_kept(run, plan, subject, events(audited(run, pg_b=root_login("yes"), app_b=cut)))
    assert found
    assert [one.why for one in found.not_compared] == [
        "only 33% of what applies to pg-a is known, less than 50%; a walk over disks was cut short: "
        "lin.files.suid, lin.files.unowned"
    ]
    assert [one.service for one in found.compared] == ["payments"]


def test_a_drill_that_never_came_to_its_copies_compares_nothing(
    plan: Plan, subject: Subject, begun: Path
) -> None:
    assert compare_kept(begun, plan, subject, events(begun)) is None


def test_a_waiver_that_nobody_signed_does_not_count_and_is_told(
    session: Session, plan: Plan, subject: Subject, run: Path
) -> None:
    (session.environment.folder / "waivers.yml").write_text(
        "waivers:\n  - {id: root-on-pg-b, control: lin.ssh.root-login, subjects: [pg-b],"
        " reason: the vendor logs in as root, compensated_by: only from the jump host,"
        ' observed: {sshd.effective.permitrootlogin: "yes"}, requested_by: database-owner,'
        f" approved_by: security-officer, starts: {NOW - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ},"
        f" expires: {NOW + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}}}\n"
    )
    leave_standard(session, plan, subject, run)
    audited(run, "baseline/before-", pg_a=root_login("no"))
    found = compare_kept(run, plan, subject, events(audited(run, pg_b=root_login("yes"))))
    assert found
    assert set(found.weaker) == {("pg-b", "lin.ssh.root-login")}
    assert "root-on-pg-b" in found.refused


# --- a real failover ------------------------------------------------------------------------------


def test_a_lost_host_is_known_from_the_newest_audit_of_the_last_week(
    session: Session, city: City, subject: Subject, run: Path
) -> None:
    for days, login in ((8, "no"), (2, "no"), (3, "yes")):
        at = NOW - timedelta(days=days)
        folder = session.state / "runs" / f"{at:%Y%m%d-%H%M%S}-0b1e"
        (folder / "artifacts").mkdir(parents=True)
        audited(folder, "", at=at, pg_a=root_login(login))
    plan = failover(city)
    leave_standard(session, plan, subject, run)
    found = compare_kept(
        run, plan, subject, events(audited(run, pg_b=root_login("yes"), app_b=root_login("no")))
    )
    assert found
    (one,) = found.compared
    assert (one.kept_by, len(one.weaker)) == (f"{NOW - timedelta(days=2):%Y%m%d-%H%M%S}-0b1e", 1)
    assert [other.why for other in found.not_compared] == ["nothing younger than 7 days is known of app-a"]


def test_facts_older_than_a_week_are_not_looked_for(session: Session) -> None:
    at = NOW - OLDEST - timedelta(days=1)
    folder = session.state / "runs" / f"{at:%Y%m%d-%H%M%S}-0b1e"
    (folder / "artifacts").mkdir(parents=True)
    audited(folder, "", at=at, pg_a=root_login("no"))
    assert find_earlier(session.state, {"pg-a"}, NOW - OLDEST) == {}
    assert find_earlier(session.state, {"pg-a"}, at - timedelta(days=1)).keys() == {"pg-a"}


def test_a_damaged_run_of_the_past_is_passed_over(session: Session) -> None:
    folder = session.state / "runs" / RUN
    (folder / "artifacts").mkdir(parents=True)
    audited(folder, "", pg_a=root_login("no"))
    (folder / "journal.jsonl").write_text("no journal\n")
    assert find_earlier(session.state, {"pg-a"}, NOW - OLDEST) == {}


def test_faulty_files_refuse_an_exercise_and_never_hold_a_failover_back(
    session: Session, city: City, subject: Subject, run: Path
) -> None:
    (session.environment.folder / "waivers.yml").write_text("waivers: nonsense\n")
    with pytest.raises(PreflightError, match="nothing was changed"):
        leave_standard(session, drill(city), subject, run)
    leave_standard(session, failover(city), subject, run)
    (session.environment.folder / "baseline.yml").write_text("profile: nonsense\n")
    with pytest.raises(ConfigError):
        walk_of(session)
    assert walk_in_a_failover(session) == 0.0
    said = cast(Any, session).said
    assert len(said) == 2
    assert all("nobody will compare" in line for line in said)


def test_an_environment_without_a_baseline_keeps_nothing(
    session: Session, city: City, subject: Subject, run: Path
) -> None:
    (session.environment.folder / "baseline.yml").unlink()
    assert walk_of(session) == 0.0
    leave_standard(session, drill(city, walk_s=0.0), subject, run)
    assert not (run / KEPT).exists()
