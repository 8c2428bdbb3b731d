"""Waivers: what is refused when they are read, and what is found wrong with them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from automation.baseline.verdicts import Found, Verdict
from automation.baseline.waivers import Exceptions, lint, needless, unused, words_of
from tests.baseline.examples import NOW, control, waiver


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"approved_by": "database-owner"}, "nobody approves"),
        ({"expires": "2026-10-01T00:00:00Z"}, "after starts"),
        ({"expires": "2028-01-01T00:00:00Z"}, "365 days"),
        ({"expires": "2026-12-01T00:00:00"}, "timezone"),
        ({"subjects": []}, "at least 1"),
        ({"subjects": ["*"]}, "match pattern"),
        ({"observed": {}}, "at least 1"),
        ({"control": "ssh"}, "match pattern"),
        ({"compensated_by": "no"}, "at least 10"),
        ({"notes": "x"}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_faulty_waiver_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        waiver(**change)


def test_two_of_one_id_are_refused() -> None:
    with pytest.raises(ValidationError, match="root-on-pg-a"):
        Exceptions(waivers=(waiver(), waiver()))


def found(one: Exceptions, now: datetime = NOW, **more: Any) -> list[str]:
    return [problem.words for problem in lint(one, {"lin.ssh.root-login": control(**more)}, ["pg-a"], now)]


def test_what_is_wrong_with_a_waiver_is_said() -> None:
    good = Exceptions(waivers=(waiver(),))
    assert found(good, datetime(2026, 11, 2, tzinfo=UTC)) == []
    assert found(good) == ["it ends on 2026-12-01"]
    assert found(good, datetime(2027, 1, 1, tzinfo=UTC)) == ["it ended on 2026-12-01"]
    assert "lin.ssh.root-login may not be waived" in found(good, waiver={"allowed": False})
    assert "lin.ssh.root-login is waived for 7 days at most" in found(good, waiver={"max_days": 7})
    account = Exceptions(waivers=(waiver(control="aws.iam.root-keys", subjects=["123456789012"]),))
    cloud = control(id="aws.iam.root-keys")
    assert [
        one.words for one in lint(account, {cloud.id: cloud}, ["pg-a"], datetime(2026, 11, 2, tzinfo=UTC))
    ] == []
    stranger = Exceptions(waivers=(waiver(subjects=["pg-x"]),))
    assert "there is no pg-x" in found(stranger)
    assert found(Exceptions(waivers=(waiver(control="lin.ssh.nothing"),))) == [
        "there is no control lin.ssh.nothing"
    ]


def test_a_waiver_that_nothing_needs_is_told() -> None:
    exceptions = Exceptions(waivers=(waiver(),))
    used = Verdict(
        control="lin.ssh.root-login", subject="pg-a", severity="high", state="waived", waiver="root-on-pg-a"
    )
    assert [one.id for one in unused(exceptions, [], NOW)] == ["root-on-pg-a"]
    assert list(unused(exceptions, [used], NOW)) == []


def test_what_is_signed_is_the_same_for_the_same_words_and_another_for_any_other() -> None:
    first = words_of(waiver(), "city")
    assert first == words_of(waiver(ticket=""), "city")
    others = [
        words_of(waiver(), "lab"),
        words_of(waiver(ticket="CHG-1"), "city"),
        words_of(waiver(subjects=["pg-a", "pg-b"]), "city"),
        words_of(waiver(observed={"sshd.effective.permitrootlogin": "prohibit-password"}), "city"),
        words_of(waiver(expires="2026-12-02T00:00:00Z"), "city"),
    ]
    assert len({first, *others}) == 6


def test_a_waiver_does_not_cover_a_second_fault_that_it_does_not_name() -> None:
    accepted = waiver()
    both = [
        Found(fact="sshd.effective.permitrootlogin", observed="yes", wanted="in no", met="no"),
        Found(fact="sshd.files.permitrootlogin", observed="yes", wanted="in no", met="no"),
    ]
    assert accepted.covers(both[:1])
    assert not accepted.covers(both)
    assert not accepted.covers(both[1:])


def test_what_was_not_judged_or_is_not_known_is_not_called_needless() -> None:
    passed = Verdict(control="lin.ssh.root-login", subject="pg-a", severity="high", state="pass")
    unknown = passed.model_copy(update={"state": "unknown"})
    assert [one.id for one in needless([waiver()], [passed], NOW)] == ["root-on-pg-a"]
    assert list(needless([waiver()], [unknown], NOW)) == []
    assert list(needless([waiver(subjects=["pg-a", "pg-b"])], [passed], NOW)) == []
