"""The trend of a report: earlier audits of the same hosts are judged again, and what changed is named."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.baseline.trend import MOST, Past, look
from automation.commands import _trend
from automation.commands._baseline_formats import Reported
from automation.commands._baseline_report import render_page
from automation.commands._baselines import Audited
from automation.commands._session import Session
from automation.commands._trend import look_back
from automation.commands._trend_page import trend_of
from automation.engine.journal import Journal
from automation.model.baseline_evidence import FactsCollected
from automation.model.errors import NotMet
from automation.model.records import Outcome, RunClosed, RunOpened, StepEnded
from tests.baseline.examples import NOW
from tests.commands.test_baseline_report import CONTROLS, Nested, audited, host, verdict

ROOT, BANNER = "lin.ssh.root-login", "lin.ssh.banner"


def write_audit(state: Path, run: str, *hosts: str, plan: str = "baseline-audit") -> None:
    (state / "runs" / run).mkdir(parents=True)
    opened = RunOpened(
        run_id=run,
        plan_format=1,
        plan_name=plan,
        plan_digest="d",
        environment="lab",
        mode="apply",
        actor="ana",
        node="n",
        version="1",
    )
    journal = Journal(state / "runs" / run / "journal.jsonl")
    journal.append(opened)
    for one in hosts:
        evidence = FactsCollected(host=one, file="f", sha256="0" * 64, collected_at=NOW)
        outcome = Outcome(changed=False, summary="", evidence=evidence)
        journal.append(StepEnded(step=f"{one}/facts", status="succeeded", outcome=outcome))
    journal.append(RunClosed(status="succeeded"))
    journal.close()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Each audit finds that root may log in on web, but for those whose facts were altered."""

    def reassess(_: object, run: str, profile: str) -> Audited:
        if run.endswith("altered"):
            raise NotMet(f"run {run}: facts/web.json.gz is not what was collected on web")
        return audited(host("web", verdict("web", ROOT, "fail", "x"))).model_copy(update={"run": run})

    monkeypatch.setattr(_trend, "reassess", reassess)
    return cast(Session, SimpleNamespace(state=tmp_path))


def shown(session: Session, run: str = "20261122-0900-now") -> tuple[list[str], Past]:
    past = look_back(session, run, "", {"web", "db"})
    return [one.run for one in past.looks], past


def test_audits_of_enough_of_the_hosts_are_looked_at_and_no_later_or_other_runs(session: Session) -> None:
    write_audit(session.state, "20261120-0900-a", "web", "db")
    write_audit(session.state, "20261121-0900-b", "web")
    write_audit(session.state, "20261121-1000-c", "other")
    write_audit(session.state, "20261121-1100-d", "web", "db", plan="baseline-enforce")
    write_audit(session.state, "20261122-0900-now", "web", "db")
    write_audit(session.state, "20261123-0900-e", "web", "db")
    assert shown(session)[0] == ["20261120-0900-a", "20261121-0900-b"]


def test_one_that_cannot_be_judged_is_left_out_and_told(session: Session) -> None:
    write_audit(session.state, "20261120-0900-altered", "web")
    write_audit(session.state, "20261121-0900-b", "web")
    names, past = shown(session)
    assert names == ["20261121-0900-b"]
    assert "is not what was collected on web" in past.left_out[0]
    page = render_page(Reported("lab", now(), past), CONTROLS)
    assert "is not what was collected on web" in page


def test_of_many_the_last_of_a_day_is_taken(session: Session) -> None:
    for day in range(1, 10):
        for hour in ("08", "20"):
            write_audit(session.state, f"202611{day:02}-{hour}00-x", "web")
    names, past = shown(session)
    assert names == [f"202611{day:02}-2000-x" for day in range(1, 10)]
    assert past.of == 18
    assert len(names) < MOST
    told = trend_of(Reported("lab", now(), past))
    assert told is not None
    assert told.chosen == "10 of 19 audits are shown: of many the last of a day, at equal distances."


# --- on the page -----------------------------------------------------------------------------------


def now() -> Audited:
    return audited(
        host("web", verdict("web", ROOT, "pass"), verdict("web", BANNER, "fail", "none")),
        host("db", verdict("db", ROOT, "pass")),
    )


def before() -> Past:
    earlier = [host("web", verdict("web", ROOT, "fail", "yes"), verdict("web", BANNER, "unknown", "x"))]
    found = look("run-0", earlier, {"web", "db"})
    assert found is not None
    return Past((found,), (), 1)


def test_the_page_names_what_failed_newly_and_no_longer_with_counts_and_coverage() -> None:
    told = Nested(text := render_page(Reported("lab", now(), before()), CONTROLS))
    assert told.open == []
    section = text[text.index('id="trend"') : text.index('id="unknown"')]
    assert "1 failed newly and 1 no longer since" in section
    assert "on the 1 host that both judged; 0 not known, 1 then." in section
    new, gone = section.index("Failed newly"), section.index("Failed no longer")
    assert new < section.index(BANNER) < gone < section.index(ROOT)
    rows: list[Any] = section.split("<tr>")[2:]
    assert "run-1" in rows[0]
    assert "2 of 2" in rows[0]
    assert "run-0" in rows[1]
    assert "1 of 2" in rows[1]
    assert "50 %" in rows[1]
    assert "too little is known" in rows[1]


def test_a_first_audit_says_that_there_is_none_before_it() -> None:
    told = render_page(Reported("lab", now()), CONTROLS)
    assert "No earlier audit of these hosts is kept" in told
    assert '<figure class="trend">' not in told
    assert trend_of(Reported("lab", audited())) is None
