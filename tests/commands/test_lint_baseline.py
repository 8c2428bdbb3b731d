"""Linting a baseline: every fault with its file, line and key; what only time or a signature spoils apart."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.commands import _lint_baseline
from automation.commands._controls import FOLDER as CONTROLS
from automation.commands._controls import load_controls
from automation.commands._lint_baseline import BaselineLint, lint_baseline
from automation.commands._session import Session
from automation.model.environment import Inventory, Server, load_environment
from automation.model.errors import ConfigError, NotMet
from tests.commands.test_waivers import TEXT
from tests.conftest import ROOT

NOW = datetime(2026, 11, 2, tzinfo=UTC)
SERVERS = {
    "pg-a": Server(
        name="pg-a", address="10.77.2.20", site="eoc", provider="nspawn", image="x", groups=("police",)
    )
}

PROVIDERS = load_environment(ROOT, "lab").providers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "baseline.yml").write_text("profile: standard\nprofiles:\n  police: cjis\n")
    (tmp_path / "waivers.yml").write_text(TEXT)
    monkeypatch.setattr(_lint_baseline, "refusals", lambda *_: {})
    return tmp_path


def lint(folder: Path, now: datetime = NOW) -> BaselineLint:
    session = SimpleNamespace(
        environment=SimpleNamespace(name="city", folder=folder, providers=PROVIDERS),
        inventory=Inventory(servers=SERVERS),
    )
    return lint_baseline(cast(Session, session), now)


def test_what_is_well_has_no_problem_and_all_controls_are_named(folder: Path) -> None:
    found = lint(folder)
    assert (found.problems, found.findings, found.notes) == ((), (), ())
    assert set(found.controls) == set(load_controls())
    assert found.waivers == 1
    found.raise_for_faults()


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("ssh.root-login", "ssh.nothing", 3, "waivers.0.control", "there is no control lin.ssh.nothing"),
        ("[pg-a]", "[pg-a, pg-z]", 4, "waivers.0.subjects", "there is no pg-z"),
        ("11-30", "12-20", 11, "waivers.0.expires", "30 days at most"),
        ("lin.ssh.root-login", "lin.accounts.single-root", 3, "waivers.0.control", "may not be waived"),
        ("by: database-owner", "by: security-officer", 2, "waivers.0", "nobody approves"),
        ("11-30", "99-30", 11, "waivers.0.expires", ""),
        ("observed:", "observe:", 7, "waivers.0.observe", "unknown key"),
    ],
)
def test_a_faulty_waiver_is_told_with_its_line_and_key(
    folder: Path, old: str, new: str, line: int, key: str, words: str
) -> None:
    assert old in TEXT
    (folder / "waivers.yml").write_text(TEXT.replace(old, new))
    found = lint(folder)
    told = [one for one in found.problems if (one.line, one.key) == (line, key)]
    assert told, found.problems
    assert words in told[0].problem
    assert told[0].file == str(folder / "waivers.yml")
    with pytest.raises(ConfigError, match="nothing was touched"):
        found.raise_for_faults()


def test_one_that_is_over_is_a_finding_and_one_that_ends_soon_a_note(folder: Path) -> None:
    over = lint(folder, datetime(2026, 12, 1, tzinfo=UTC))
    assert [(one.line, one.key) for one in over.findings] == [(11, "waivers.0.expires")]
    with pytest.raises(NotMet, match="1 reasons for which waivers do not count"):
        over.raise_for_faults()
    soon = lint(folder, datetime(2026, 11, 20, tzinfo=UTC))
    assert [one.problem for one in soon.notes] == ["root-on-pg-a: it ends on 2026-11-30"]
    soon.raise_for_faults()


def test_one_that_is_not_signed_is_a_finding_at_who_has_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lint_baseline, "refusals", lambda *_: {"root-on-pg-a": "nobody signed it"})
    found = lint(folder)
    assert [(one.line, one.key, one.problem) for one in found.findings] == [
        (9, "waivers.0.approved_by", "root-on-pg-a: nobody signed it")
    ]
    with pytest.raises(NotMet):
        found.raise_for_faults()


def test_a_signature_of_nothing_is_a_note(folder: Path) -> None:
    (folder / "waivers").mkdir()
    (folder / "waivers/root-on-pg-a.sig").touch()
    (folder / "waivers/gone.sig").touch()
    assert [Path(one.file).name for one in lint(folder).notes] == ["gone.sig"]


LET = "profile: standard\nenforce:\n"


@pytest.mark.parametrize("name", ["all", "police", "pg-a", "123456789012", "east"])
def test_what_may_be_enforced_is_named_by_group_host_account_or_provider(folder: Path, name: str) -> None:
    text = f"{LET}  - {{controls: [lin.ssh.*, aws.iam.root], groups: ['{name}']}}\n"
    (folder / "baseline.yml").write_text(text)
    assert lint(folder).problems == ()


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("profile: nist\n", 1, "profile"),
        ("profile: standard\nprofiles:\n  courts: cjis\n", 3, "profiles.courts"),
        ("profile: standard\nwalk: 3 h\n", 2, "walk"),
        ("profile: standard\nswitch: 5 s\n", 2, "switch"),
        (f"{LET}  - {{controls: [lin.sshd.*], groups: [all]}}\n", 3, "enforce.0.controls"),
        (f"{LET}  - {{controls: [lin.ssh.*], groups: [courts]}}\n", 3, "enforce.0.groups"),
        ("profile: standard\ntogether: [courts]\n", 2, "together"),
    ],
)
def test_a_faulty_baseline_is_told_with_its_line_and_key(
    folder: Path, text: str, line: int, key: str
) -> None:
    (folder / "baseline.yml").write_text(text)
    assert [(one.line, one.key) for one in lint(folder).problems] == [(line, key)]


def test_without_a_baseline_and_waivers_it_says_what_to_write(folder: Path) -> None:
    (folder / "baseline.yml").unlink()
    (folder / "waivers.yml").unlink()
    found = lint(folder)
    assert ["its first line: profile: standard" in one.problem for one in found.problems] == [True]
    assert found.waivers == 0


def test_a_guard_that_nobody_knows_is_a_fault_of_its_control(folder: Path, tmp_path: Path) -> None:
    known = (CONTROLS / "linux/sudo.yml").read_text()
    (tmp_path / "controls").mkdir()
    wrong = known.replace("remedy: {risk: R2,", "remedy: {risk: R2, guards: [trust_me],", 1)
    (tmp_path / "controls/sudo.yml").write_text(wrong)
    session = SimpleNamespace(
        environment=SimpleNamespace(name="city", folder=folder, providers={}),
        inventory=Inventory(servers=SERVERS),
    )
    found = lint_baseline(cast(Session, session), NOW, tmp_path / "controls")
    assert [one.key for one in found.problems if "there is no guard trust_me" in one.problem] == [
        "controls.1.remedy.guards"
    ]


def test_faults_of_all_controls_are_told_together(folder: Path, tmp_path: Path) -> None:
    controls = tmp_path / "controls"
    controls.mkdir()
    one = """\
controls:
  - id: lin.ssh.one
    title: One that people look at
    why: So that there is one that is well formed.
    severity: low
    attest_days: 90
"""
    (controls / "a.yml").write_text(one)
    (controls / "b.yml").write_text(one)
    (controls / "c.yml").write_text(one.replace("severity: low", "severity: dire"))
    session = SimpleNamespace(
        environment=SimpleNamespace(name="city", folder=folder, providers={}),
        inventory=Inventory(servers=SERVERS),
    )
    (folder / "waivers.yml").unlink()
    found = lint_baseline(cast(Session, session), NOW, controls)
    told = [(Path(one.file).name, one.line, one.key) for one in found.problems]
    assert told[0] == ("b.yml", 2, "controls.0.id")
    assert ("c.yml", 5, "controls.0.severity") in told
    assert found.controls == ("lin.ssh.one",)
