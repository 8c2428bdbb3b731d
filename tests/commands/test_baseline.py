"""Audits by their commands: kept facts are judged, the worst first; what is not known is no pass."""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import JsonValue

from automation.adapters import collector
from automation.baseline.settings import Baseline
from automation.commands import _baselines, _waivers
from automation.commands._baselines import Audited, explain, judge_audit, ranked
from automation.commands._render_baseline import print_audited, print_control
from automation.commands._session import Session
from automation.engine.journal import Journal
from automation.model.approvals import ApprovalSettings
from automation.model.baseline_evidence import FactsCollected
from automation.model.environment import Inventory
from automation.model.errors import AdapterError, ConfigError, NotMet
from automation.model.facts import Facts
from automation.model.kept_facts import read_facts
from automation.model.records import Failure, Outcome, StepEnded
from tests.baseline.examples import NOW

Make = Callable[[Mapping[str, dict[str, JsonValue] | str]], Session]
SETTINGS = Baseline.model_validate({"profile": "standard", "profiles": {"police": "cjis"}})


@pytest.fixture
def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Audited]:
    """Judge what hosts' facts would be, as a run keeps them; a text is why a host gave none."""
    folder = tmp_path / "run-1"
    (folder / "artifacts/facts").mkdir(parents=True)
    monkeypatch.setattr(_baselines, "load_baseline", lambda _: SETTINGS)
    session = cast(
        Session,
        SimpleNamespace(
            existing=lambda _: SimpleNamespace(artifacts=folder / "artifacts"),
            environment=SimpleNamespace(
                name="city", folder=tmp_path, approvals=ApprovalSettings(allowed_signers=tmp_path / "none")
            ),
            inventory=Inventory(servers={}),
        ),
    )

    def judge(profile: str = "", **hosts: Any) -> Audited:
        journal = Journal(folder / "journal.jsonl")
        for host, told in hosts.items():
            journal.append(_ended(folder, host, told))
        return _baselines.reassess(session, "run-1", profile)

    return judge


def _ended(folder: Path, host: str, told: Any) -> StepEnded:
    step = f"{host}/facts"
    if isinstance(told, str):
        return StepEnded(step=step, status="failed", failure=Failure(error="AdapterError", message=told))
    facts = Facts(subject=host, platform="linux", collected_at=NOW, sections=told)
    content = facts.model_dump_json().encode()
    (folder / f"artifacts/facts/{host}.json.gz").write_bytes(gzip.compress(content))
    evidence = FactsCollected(
        host=host,
        file=f"facts/{host}.json.gz",
        sha256=hashlib.sha256(content).hexdigest(),
        collected_at=NOW,
    )
    return StepEnded(
        step=step, status="succeeded", outcome=Outcome(changed=False, summary="", evidence=evidence)
    )


def test_backups_are_as_old_as_the_clock_of_the_control_node_says(
    audited: Callable[..., Audited], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime] = []

    def add(_session: Session, collected: tuple[Facts, ...], at: datetime) -> tuple[Facts, ...]:
        asked.append(at)
        return collected

    monkeypatch.setattr(_baselines, "add_backups", add)
    began = datetime.now(UTC)
    audited(web={})  # its own clock says NOW of the examples, which is another time
    assert began <= asked[0] <= datetime.now(UTC)


ROOTS: dict[str, JsonValue] = {
    "accounts": {"users": [{"name": "root", "uid": 0}, {"name": "toor", "uid": 0}]}
}


def test_a_failure_is_told_worst_first_and_ends_with_6(
    audited: Callable[..., Audited], capsys: pytest.CaptureFixture[str]
) -> None:
    told = audited(web=ROOTS, db=ROOTS)
    print_audited(told)
    shown = capsys.readouterr().out
    assert "critical lin.accounts.single-root" in shown.splitlines()[0]
    assert "web, db: in effect" in shown or "db, web: in effect" in shown
    assert "too little known" in shown
    with pytest.raises(NotMet, match="2 controls failed on 2 hosts; less than 95%"):
        judge_audit(told)


ORPHANS: dict[str, JsonValue] = {"tree": {"unowned": ["/srv/x"], "whole": True}}
WAIVER = """\
waivers:
  - id: orphans-on-web
    control: lin.files.unowned
    subjects: [web]
    reason: the vendor's installer needs it
    compensated_by: nobody gets that number again
    observed: {tree.unowned: [/srv/x]}
    requested_by: database-owner
    approved_by: security-officer
    starts: 2026-11-01T00:00:00Z
    expires: 2026-11-30T00:00:00Z
"""


def test_an_unsigned_waiver_is_told_and_does_not_count(
    audited: Callable[..., Audited], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "waivers.yml").write_text(WAIVER)
    told = audited(web=ORPHANS)
    print_audited(told)
    assert "orphans-on-web: DOES NOT COUNT: its signature" in capsys.readouterr().out
    with pytest.raises(NotMet, match="1 controls failed on 1 hosts"):
        judge_audit(told)


@pytest.mark.parametrize("facts", [ORPHANS, {"tree": {"unowned": [], "whole": True}}])
def test_a_signed_waiver_stands_for_a_failure_or_is_told_to_be_needless(
    audited: Callable[..., Audited],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    facts: Any,
) -> None:
    (tmp_path / "waivers.yml").write_text(WAIVER)
    monkeypatch.setattr(_waivers, "refusals", lambda *_: {})
    monkeypatch.setattr(_baselines, "datetime", SimpleNamespace(now=lambda _: NOW))
    told = audited(web=facts)
    print_audited(told)
    shown = capsys.readouterr().out
    assert not [one for one in told.assessments[0].verdicts if one.state == "fail"]
    stands = "orphans-on-web: stands for lin.files.unowned on web" in shown
    assert stands == (facts is ORPHANS)
    assert ("nothing that was found needs it" in shown) == (facts is not ORPHANS)
    assert "orphans-on-web: it ends on 2026-11-30" in shown


def test_hosts_without_facts_are_told_and_no_green_light(
    audited: Callable[..., Audited], capsys: pytest.CaptureFixture[str]
) -> None:
    told = audited(web="no answer in 10 s")
    print_audited(told)
    assert "web: NO FACTS: no answer in 10 s" in capsys.readouterr().out
    with pytest.raises(NotMet, match="no host gave its facts"):
        judge_audit(told)


def test_facts_that_were_altered_are_not_judged(audited: Callable[..., Audited], tmp_path: Path) -> None:
    audited(web={})
    path = tmp_path / "run-1/artifacts/facts/web.json.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"web"', b'"wab"')))
    with pytest.raises(NotMet, match="is not what was collected on web"):
        audited()


def test_what_is_no_facts_is_an_error(tmp_path: Path) -> None:
    for name, content in {
        "text": b"no",
        "other": gzip.compress(b"{}"),
        "cut": gzip.compress(b"{}" * 99)[:20],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AdapterError, match="nothing was changed"):
            read_facts(tmp_path / name)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "{}",
        '{"at": 1, "shared_kernel": false, "sections": {"os": "\\ud800"}, "unknown": {}}',
        '{"at": 1e99, "shared_kernel": false, "sections": {}, "unknown": {}}',
        '{"at": 1, "shared_kernel": "perhaps", "sections": {}, "unknown": {}}',
    ],
)
def test_garbage_of_a_host_is_an_error_that_names_the_host(said: str) -> None:
    with pytest.raises(AdapterError, match="on web said are no facts; nothing was changed"):
        collector._facts(said, "web", ())


def test_a_stricter_profile_can_be_asked_of_old_facts(audited: Callable[..., Audited]) -> None:
    told = audited("cjis", web=ROOTS)
    assert [one.profile for one in told.scores] == ["cjis"]
    with pytest.raises(ConfigError, match="--profile nist is none"):
        audited("nist", web=ROOTS)


def test_the_strictest_profile_of_its_groups_is_asked_of_a_host() -> None:
    assert SETTINGS.profile_of(("web", "police")) == "cjis"
    assert SETTINGS.profile_of(("web",)) == "standard"


def test_a_control_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    print_control(explain("lin.ssh.root-login"))
    shown = capsys.readouterr().out
    assert "No direct root login over SSH" in shown
    assert "  standard: no, prohibit-password, without-password\n  cis-l1, cjis: no\n" in shown
    assert "    sshd.effective.permitrootlogin is one of $allowed\n" in shown
    assert "  sshd: PermitRootLogin no\n" in shown
    assert "{" not in shown
    with pytest.raises(ConfigError, match="no control") as refused:
        explain("lin.sshd.root-login")
    assert "lin.ssh.root-login" in str(refused.value.hint)


def test_verdicts_are_ranked_by_severity(audited: Callable[..., Audited]) -> None:
    told = audited(web={**ROOTS, "tree": {"unowned": ["/x"], "whole": True}})
    failed = [one for one in told.assessments[0].verdicts if one.state == "fail"]
    assert [one.severity for one in ranked(failed)] == ["critical", "low"]
