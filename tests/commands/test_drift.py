"""Drift by its command: which two audits are compared, what is told of them, and how it ends."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.commands._drift import AUDIT, Drifted, drift, judge_drift
from automation.commands._render_drift import MOST_OF_A_KIND, print_drift
from automation.commands._session import Session
from automation.engine.journal import Journal
from automation.model.baseline_evidence import FactsCollected
from automation.model.errors import EXIT_PARTIAL, ConfigError, NotMet
from automation.model.facts import Facts
from automation.model.records import Outcome, RunClosed, RunOpened, StepEnded
from tests.baseline.examples import NOW

Audit = Callable[..., None]
SAME: dict[str, Any] = {"packages": {"sudo": "1.9"}}


@pytest.fixture
def session(tmp_path: Path) -> Session:
    def existing(run: str) -> SimpleNamespace:
        if not (tmp_path / "runs" / run).is_dir():
            raise ConfigError(f"there is no run {run!r}")
        return SimpleNamespace(artifacts=tmp_path / "runs" / run / "artifacts")

    return cast(
        Session,
        SimpleNamespace(state=tmp_path, existing=existing, environment=SimpleNamespace(name="city")),
    )


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Leave a run as an audit leaves it: host to the sections of its facts."""

    def make(run: str, plan: str = AUDIT, closed: Any = "succeeded", **hosts: Any) -> None:
        folder = tmp_path / "runs" / run
        (folder / "artifacts/facts").mkdir(parents=True)
        journal = Journal(folder / "journal.jsonl")
        opened = {"plan_digest": "1" * 64, "environment": "city", "mode": "apply", "actor": "alex"}
        journal.append(RunOpened(run_id=run, plan_format=1, plan_name=plan, node="n", version="0", **opened))
        for host, sections in hosts.items():
            journal.append(_ended(folder, host, sections))
        if closed:
            journal.append(RunClosed(status=closed))

    return make


def _ended(folder: Path, host: str, sections: Any) -> StepEnded:
    content = Facts(subject=host, platform="linux", collected_at=NOW, sections=sections).model_dump_json()
    (folder / f"artifacts/facts/{host}.json.gz").write_bytes(gzip.compress(content.encode()))
    digest = hashlib.sha256(content.encode()).hexdigest()
    evidence = FactsCollected(host=host, file=f"facts/{host}.json.gz", sha256=digest, collected_at=NOW)
    outcome = Outcome(changed=False, summary="", evidence=evidence)
    return StepEnded(step=f"{host}/facts", status="succeeded", outcome=outcome)


def shown(found: Drifted, capsys: pytest.CaptureFixture[str]) -> str:
    print_drift(found)
    return capsys.readouterr().out


def test_the_newest_two_audits_that_ended_are_compared(session: Session, audit: Audit) -> None:
    for run in ("20261101", "20261102", "20261103"):
        audit(run, web=SAME)
    audit("20261104", plan="provision-converge", web=SAME)
    audit("20261105", closed="interrupted", web=SAME)
    audit("20261106", closed=None, web=SAME)
    found = drift(session, "", "")
    assert (found.before, found.after) == ("20261102", "20261103")
    assert judge_drift(found, "city") == 0
    assert drift(session, "", "20261102").before == "20261101"
    assert drift(session, "20261101", "").after == "20261103"


def test_what_is_another_way_is_told_once_for_all_hosts_and_ends_with_6(
    session: Session, audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    audit("20261101", web=SAME, db=SAME, app=SAME)
    later = {"packages": {"sudo": "2.0", "nmap": "7"}}
    audit("20261102", web=later, db=later, app=SAME)
    found = drift(session, "", "")
    told = shown(found, capsys)
    assert "web, db: package sudo: changed: 1.9 -> 2.0" in told
    assert "web, db: package nmap: appeared: 7" in told
    assert "20261101 -> 20261102: 4 changes on 2 of 3 hosts" in told
    with pytest.raises(NotMet, match="4 things on 2 hosts are not as they were in 20261101"):
        judge_drift(found, "city")


def test_of_what_a_person_is_made_of_only_the_difference_is_told(
    session: Session, audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    user = {"name": "app", "uid": 1000, "shell": "/usr/sbin/nologin"}
    audit("1", web={"accounts": {"users": [user], "groups": {}}})
    audit("2", web={"accounts": {"users": [{**user, "shell": "/bin/bash"}], "groups": {}}})
    told = shown(drift(session, "", ""), capsys)
    assert "web: user app: changed: shell /usr/sbin/nologin -> /bin/bash" in told


def test_many_of_a_kind_are_counted_and_hide_no_other(
    session: Session, audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    audit("1", web={"packages": {}, "tree": {"suid": [], "whole": True}})
    packages = {f"p{number:03}": "1" for number in range(MOST_OF_A_KIND + 5)}
    audit("2", web={"packages": packages, "tree": {"suid": ["/tmp/sh"], "whole": True}})
    told = shown(drift(session, "", ""), capsys)
    assert told.splitlines()[0] == "web: SUID file /tmp/sh: appeared"
    assert "package: and 5 more; --json has all" in told


def test_a_host_that_one_audit_lacks_is_told_and_ends_with_3(
    session: Session, audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    audit("1", web=SAME, old=SAME)
    audit("2", web=SAME, new=SAME)
    found = drift(session, "", "")
    told = shown(found, capsys)
    assert "no facts after: old" in told
    assert "no facts before: new" in told
    assert judge_drift(found, "city") == EXIT_PARTIAL


def test_no_host_in_common_is_no_green_light(session: Session, audit: Audit) -> None:
    audit("1", old=SAME)
    audit("2", new=SAME)
    with pytest.raises(NotMet, match="no host gave its facts"):
        judge_drift(drift(session, "", ""), "city")


def test_two_audits_in_order_are_needed(session: Session, audit: Audit) -> None:
    with pytest.raises(ConfigError, match="no two audits"):
        drift(session, "", "")
    audit("1", web=SAME)
    with pytest.raises(ConfigError, match="no two audits"):
        drift(session, "", "")
    audit("2", web=SAME)
    with pytest.raises(ConfigError, match="--before 2 is no earlier than 1"):
        drift(session, "2", "1")
    with pytest.raises(ConfigError, match="no run '0'"):
        drift(session, "0", "1")
    audit("3")
    with pytest.raises(ConfigError, match="run 3 collected no facts"):
        drift(session, "2", "3")


def test_a_damaged_audit_is_passed_over(session: Session, audit: Audit) -> None:
    for run in ("1", "2", "3"):
        audit(run, web=SAME)
    journal = session.state / "runs/3/journal.jsonl"
    journal.write_text(journal.read_text().replace("alex", "eve"))
    assert drift(session, "", "").after == "2"


def test_altered_facts_are_not_compared(session: Session, audit: Audit) -> None:
    audit("1", web=SAME)
    audit("2", web=SAME)
    path = session.state / "runs/2/artifacts/facts/web.json.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"1.9", b"2.0")))
    with pytest.raises(NotMet, match="is not what was collected on web"):
        drift(session, "", "")


def test_what_a_host_says_cannot_draw_on_a_terminal(
    session: Session, audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    audit("1", web={"packages": {}})
    audit("2", web={"packages": {"\x1b[2Jx": "\x1b[31m" + "y" * 9999}})
    told = shown(drift(session, "", ""), capsys)
    assert "\x1b[2J" not in told
    assert len(told) < 1000
