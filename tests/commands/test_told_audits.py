"""A scheduled audit tells people when the baseline turns worse, and not each day the same."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.commands import _told_audits
from automation.commands._baselines import Audited
from automation.commands._schedule import AUDIT
from automation.commands._session import Session
from automation.commands._told_audits import Known, audit_and_tell, find_news, tell_audit
from automation.model.errors import NotMet
from automation.model.notices import Delivery
from tests.commands.test_baseline_report import audited, host, verdict

ROOT, BANNER = "lin.ssh.root-login", "lin.ssh.banner"
WEB, DB = (ROOT, "web"), (ROOT, "db")


def found(silent: tuple[str, ...] = (), **states: str) -> Audited:
    """An audit that found this of root logins on hosts; so much else passed that all is known."""
    names = ["lin.sudo.valid", "lin.sudo.use-pty", "lin.sudo.log", BANNER]
    hosts = [
        host(one, verdict(one, ROOT, state, "x"), *(verdict(one, name, "pass") for name in names * 5))
        for one, state in states.items()
    ]
    return audited(*hosts, not_collected=dict.fromkeys(silent, "no answer in 10 s"))


CASES: dict[str, tuple[Audited, Known, tuple[Any, ...]]] = {
    "a first failure": (found(web="fail"), Known(), ((WEB,), (), (WEB,))),
    "the same again": (found(web="fail"), Known(failed=(WEB,)), ((), (), (WEB,))),
    "one more": (found(web="fail", db="fail"), Known(failed=(WEB,)), ((DB,), (), (DB, WEB))),
    "it is well again": (found(web="pass"), Known(failed=(WEB,)), ((), (), ())),
    "it is waived": (found(web="waived"), Known(failed=(WEB,)), ((), (), ())),
    "it is not known any more": (found(web="unknown"), Known(failed=(WEB,)), ((), (), (WEB,))),
    "its host was not asked": (found(db="pass"), Known(failed=(WEB,)), ((), (), (WEB,))),
    "its host is silent": (found(("web",), db="pass"), Known(failed=(WEB,)), ((), ("web",), (WEB,))),
    "silent as before": (found(("web",), db="pass"), Known(silent=("web",)), ((), (), ())),
    "it gives no facts any more": (found(("web",), db="pass"), Known(dark=("web",)), ((), ("web",), ())),
}


@pytest.mark.parametrize(("audit", "known", "expected"), CASES.values(), ids=CASES)
def test_news_is_what_people_do_not_know(audit: Audited, known: Known, expected: tuple[Any, ...]) -> None:
    news = find_news(audit, known)
    assert (news.failed, news.dark, news.known.failed) == expected


def test_too_little_known_is_news_and_stays_known_where_a_host_was_not_asked() -> None:
    news = find_news(audited(host("web", verdict("web", ROOT, "unknown", "x"))), Known(dark=("db",)))
    assert (news.dark, news.known.dark) == (("web",), ("db", "web"))


def test_what_is_silent_and_was_never_known_well_is_told_once_and_not_when_it_answers_again() -> None:
    half_known = audited(host("vcenter", verdict("vcenter", ROOT, "unknown", "x")))
    told = []
    known = Known()
    for audit in (half_known, found(("vcenter",)), found(("vcenter",)), half_known):
        news = find_news(audit, known)
        told.append(news.dark)
        known = news.known
    assert told == [("vcenter",), ("vcenter",), (), ()]


# --- telling ---------------------------------------------------------------------------------------


class Told:
    """What people are told; nobody can be reached while `dead`, and none is named while `nobody`."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, str, tuple[str, ...]]] = []
        self.dead = self.nobody = False

    def alarm(self, _env: object, _state: Path, about: str, what: str, **more: Any) -> Delivery:
        self.notices.append((about, what, more.get("said", ())))
        if self.nobody:
            return Delivery()
        return Delivery(failed={"ops": "no answer"}) if self.dead else Delivery(took=("ops",))

    def well(self, _env: object, _state: Path, about: str, what: str) -> Delivery:
        self.notices.append((about, what, ()))
        return Delivery(took=("ops",))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(_told_audits, "alarm", told.alarm)
    monkeypatch.setattr(_told_audits, "well", told.well)
    return told


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return cast(Session, SimpleNamespace(environment=SimpleNamespace(name="city"), state=tmp_path))


def test_people_are_told_once_and_again_when_it_turns_worse_and_when_all_is_well(
    session: Session, told: Told
) -> None:
    days = [
        found(web="fail"),
        found(web="fail"),
        found(("db",), web="fail"),
        found(web="pass", db="pass"),
    ]
    for day in days:
        tell_audit(session, day)
    assert [(about, what) for about, what, _ in told.notices] == [
        ("security baseline", "the baseline turned worse: 1 controls failed newly on 1 hosts"),
        ("security baseline", "the baseline turned worse: too little is known of 1 more hosts"),
        ("security baseline", "nothing fails any more"),
    ]
    assert told.notices[0][2] == ("high: lin.ssh.root-login on web",)
    assert told.notices[1][2] == ("db: no answer in 10 s",)


def test_what_reached_nobody_is_told_at_the_next_audit(session: Session, told: Told) -> None:
    told.dead = True
    tell_audit(session, found(web="fail"))
    told.dead = False
    tell_audit(session, found(web="fail"))
    tell_audit(session, found(web="fail"))
    assert len(told.notices) == 2


def test_what_nobody_was_there_to_hear_is_told_to_whom_is_named_later(session: Session, told: Told) -> None:
    told.nobody = True
    tell_audit(session, found(web="fail"))
    told.nobody = False
    tell_audit(session, found(web="fail"))
    tell_audit(session, found(web="fail"))
    assert len(told.notices) == 2


def test_long_news_is_cut_and_says_how_much_there_is(session: Session, told: Told) -> None:
    hosts = {f"host-{one:02}": "fail" for one in range(40)}
    tell_audit(session, found(tuple(f"gone-{one:02}" for one in range(40)), **hosts))
    ((_, what, said),) = told.notices
    assert "40 controls failed newly on 40 hosts and too little is known of 40 more hosts" in what
    assert said[0].endswith(" and 28 more")
    assert said[-1] == "and 29 more"


def test_facts_that_were_altered_are_told_though_the_job_has_not_failed(
    session: Session, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(*_: object) -> Audited:
        raise NotMet("run r: facts/web.json.gz is not what was collected on web")

    monkeypatch.setattr(_told_audits, "audit", altered)
    with pytest.raises(NotMet):
        audit_and_tell(session, "", "")
    assert told.notices[0][:2] == (
        "facts of the security baseline",
        "the audit cannot be believed: run r: facts/web.json.gz is not what was collected on web",
    )


def test_that_facts_were_altered_stands_until_an_audit_can_be_believed(
    session: Session, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_told_audits, "audit", lambda *_: found(web="fail"))
    audit_and_tell(session, "", "")
    assert told.notices[0][:2] == ("facts of the security baseline", "they are those that were collected")
    abouts = {about for about, *_ in told.notices}
    assert AUDIT.command not in abouts, "a job that ends by exit 6 is told to be well again by its unit"
