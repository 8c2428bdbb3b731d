"""Waivers by their files: what counts is signed by whom it needs; everything else is told and counts not."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.baseline.waivers import Exceptions
from automation.commands import _waivers
from automation.commands._controls import load_controls
from automation.commands._session import Session
from automation.commands._waivers import Weighed, read_waivers, waive, weigh
from automation.engine.signers import REVOKED, load_signers, sign_text
from automation.model.approvals import APPROVAL_NAMESPACE, ApprovalSettings
from automation.model.environment import Inventory, Server, load_environment
from automation.model.errors import ConfigError, PreflightError
from tests.conftest import ROOT
from tests.engine.people import People

TEXT = """\
waivers:
  - id: root-on-pg-a
    control: lin.ssh.root-login
    subjects: [pg-a]
    reason: the vendor's installer logs in as root
    compensated_by: only from the jump host, and only by key
    observed: {sshd.effective.permitrootlogin: "yes"}
    requested_by: database-owner
    approved_by: security-officer
    starts: 2026-11-01T00:00:00Z
    expires: 2026-11-30T00:00:00Z
"""
NOW = datetime(2026, 11, 2, tzinfo=UTC)
LATER = datetime(2026, 11, 22, tzinfo=UTC)
ROLES = {"officer": "security-officer", "dba": "database-owner", "both": "security-officer,database-owner"}


class Clock(datetime):
    """A day on which the waiver is in force."""

    @classmethod
    def now(cls, tz: object = None) -> "Clock":
        return cls(2026, 11, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("signers"), ROLES)


@pytest.fixture
def people(_keys: People, monkeypatch: pytest.MonkeyPatch) -> People:
    monkeypatch.setattr(_waivers, "load_signers", partial(load_signers, trusted_uid=os.getuid()))
    monkeypatch.setattr(_waivers, "datetime", Clock)
    (_keys.folder / REVOKED).unlink(missing_ok=True)
    return _keys


@pytest.fixture
def session(people: People, tmp_path: Path) -> Session:
    folder = tmp_path / "checkout/inventories/city"
    folder.mkdir(parents=True)
    (folder / "waivers.yml").write_text(TEXT)
    changed = {
        "name": "city",
        "folder": folder,
        "approvals": ApprovalSettings(allowed_signers=people.path),
        "kind": "production",
        "lab": None,
    }
    server = Server(name="pg-a", address="10.77.2.20", site="eoc", provider="nspawn", image="x", groups=())
    return cast(
        Session,
        SimpleNamespace(
            environment=load_environment(ROOT, "lab").model_copy(update=changed),
            inventory=Inventory(servers={"pg-a": server}),
        ),
    )


def sign(session: Session, people: People, person: str = "officer") -> Path:
    return waive(session, "root-on-pg-a", people.folder / person, confirm=lambda: True)


def weighed(session: Session, now: datetime = NOW) -> Weighed:
    return weigh(session, read_waivers(session.environment), load_controls(), now)


def rewrite(session: Session, old: str, new: str) -> None:
    path = session.environment.folder / "waivers.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_without_the_file_nothing_is_waived_and_nobody_is_asked_who_may_sign(session: Session) -> None:
    (session.environment.folder / "waivers.yml").unlink()
    assert read_waivers(session.environment) == Exceptions()
    assert weighed(session) == Weighed()


def test_a_signed_waiver_counts(session: Session, people: People, capsys: pytest.CaptureFixture[str]) -> None:
    path = sign(session, people)
    assert path == session.environment.folder / "waivers/root-on-pg-a.sig"
    shown = capsys.readouterr().err
    assert "No direct root login over SSH" in shown
    assert 'as long as sshd.effective.permitrootlogin is "yes";' in shown
    counted, told = weighed(session)
    assert [one.id for one in counted] == ["root-on-pg-a"]
    assert told == ()


def test_one_that_ends_soon_counts_and_is_told(session: Session, people: People) -> None:
    sign(session, people)
    counted, told = weighed(session, LATER)
    assert len(counted) == 1
    assert [(one.counts, one.words) for one in told] == [(True, "it ends on 2026-11-30")]


ALTERED: dict[str, tuple[Callable[[Session, People], object], str]] = {
    "another host": (lambda s, p: rewrite(s, "[pg-a]", "[pg-a, pg-b]"), "not the one that officer signed"),
    "another value": (lambda s, p: rewrite(s, '"yes"', '"no"'), "not the one that officer signed"),
    "a later end": (lambda s, p: rewrite(s, "11-30", "12-20"), "not the one that officer signed"),
    "a revoked key": (lambda s, p: p.revoke("officer"), "the key of officer is revoked"),
    "no signature": (
        lambda s, p: (s.environment.folder / "waivers/root-on-pg-a.sig").unlink(),
        "nobody signed",
    ),
    "no key": (
        lambda s, p: (s.environment.folder / "waivers/root-on-pg-a.sig").write_text("yes\n"),
        "not an SSH signature",
    ),
    "an approval's signature": (
        lambda s, p: (s.environment.folder / "waivers/root-on-pg-a.sig").write_text(
            sign_text(
                _waivers.words_of(read_waivers(s.environment).waivers[0], "city"),
                p.folder / "officer",
                APPROVAL_NAMESPACE,
            )
        ),
        "made for the namespace 'mainstay-approval'",
    ),
    "an unknown control": (lambda s, p: rewrite(s, "ssh.root-login", "ssh.no-login"), "there is no control"),
}


@pytest.mark.parametrize(("change", "words"), ALTERED.values(), ids=ALTERED)
def test_one_that_is_not_as_it_was_signed_counts_not_and_is_told(
    session: Session, people: People, change: Callable[[Session, People], object], words: str
) -> None:
    sign(session, people)
    change(session, people)
    counted, told = weighed(session)
    assert counted == ()
    assert not any(one.counts for one in told)
    assert any(words in one.words for one in told)


def test_one_that_is_over_counts_not(session: Session, people: People) -> None:
    sign(session, people)
    counted, told = weighed(session, datetime(2026, 12, 1, tzinfo=UTC))
    assert counted == ()
    assert [one.words for one in told] == ["it ended on 2026-11-30"]


def test_that_one_of_its_hosts_is_gone_takes_nothing_from_the_others(
    session: Session, people: People
) -> None:
    sign(session, people)
    gone = cast(Session, SimpleNamespace(environment=session.environment, inventory=Inventory(servers={})))
    counted, told = weighed(gone)
    assert len(counted) == 1
    assert [(one.counts, one.words) for one in told] == [(True, "there is no pg-a")]


def test_without_allowed_signers_none_counts(session: Session, people: People, tmp_path: Path) -> None:
    sign(session, people)
    settings = ApprovalSettings(allowed_signers=tmp_path / "nothing")
    environment = session.environment.model_copy(update={"approvals": settings})
    blind = cast(Session, SimpleNamespace(environment=environment, inventory=session.inventory))
    counted, told = weighed(blind)
    assert counted == ()
    assert "nobody can approve" in told[0].words


# --- signing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "words"),
    [
        ("dba", "has not the role security-officer"),
        ("both", "has the role database-owner that asked for it, too"),
        ("stranger", "is not in"),
    ],
)
def test_whoever_may_not_sign_leaves_no_signature(
    session: Session, people: People, person: str, words: str
) -> None:
    with pytest.raises(PreflightError, match=words):
        sign(session, people, person)
    assert not (session.environment.folder / "waivers").exists()


def test_whoever_says_no_signs_nothing(session: Session, people: People) -> None:
    with pytest.raises(PreflightError, match="nothing was signed"):
        waive(session, "root-on-pg-a", people.folder / "officer", confirm=lambda: False)
    assert not (session.environment.folder / "waivers").exists()


def test_what_would_not_count_is_not_shown_for_signing(session: Session, people: People) -> None:
    rewrite(session, "[pg-a]", "[pg-x]")
    with pytest.raises(PreflightError, match="there is no pg-x; nothing was signed"):
        sign(session, people)


def test_an_unknown_waiver_is_a_faulty_flag(session: Session, people: People) -> None:
    with pytest.raises(ConfigError, match="nothing was signed") as refused:
        waive(session, "root-on-pg-b", people.folder / "officer", confirm=lambda: True)
    assert refused.value.hint == "known: root-on-pg-a"


def test_all_that_is_signed_is_shown_and_no_line_that_is_not(
    session: Session, people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(
        session, "reason: the vendor's", "reason: |\n      from now\n      until ever " + "x" * 500 + " the"
    )
    rewrite(session, '"yes"', "[" + ", ".join(f'"{number:040}"' for number in range(9)) + "]")
    with pytest.raises(PreflightError, match="nothing was signed"):
        waive(session, "root-on-pg-a", people.folder / "officer", confirm=lambda: False)
    shown = capsys.readouterr().err
    assert "because: from now until ever " + "x" * 500 in shown
    assert f"{8:040}" in shown
