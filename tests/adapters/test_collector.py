"""What a plan was made from, looked at again: every fact that moved is told, and none that did not."""

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import JsonValue

from automation.adapters import collector
from automation.model.actions import ExpectFacts
from automation.model.environment import Inventory, Server
from automation.model.errors import AdapterError
from automation.model.records import Completed, Outcome

SECTIONS = {
    "sshd": {"effective": {"permitrootlogin": "yes", "maxauthtries": 6}},
    "sysctl": {"running": {"net.ipv4.ip_forward": "1"}},
    "users": [{"name": "root", "uid": 0}],
}
RUN = "20260301-025900-0001"
ROOT_LOGIN = "sshd.effective.permitrootlogin"


class Collecting:
    """A host whose collector says what it is given."""

    def __init__(self, sections: Mapping[str, Any], unknown: Mapping[str, str], changed_by: str) -> None:
        self._folder = f"/var/lib/mainstay-changes/{changed_by}"
        self._told = {"at": 1.8e9, "shared_kernel": True, "sections": sections, "unknown": unknown}

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        if "test" in argv:
            return Completed(exit_code=0 if argv[-1] == self._folder else 1, stdout="", stderr="")
        return Completed(exit_code=0, stdout=json.dumps(self._told), stderr="")


def expect(
    expected: Mapping[str, JsonValue],
    sections: Mapping[str, Any] = SECTIONS,
    unknown: Mapping[str, str] | None = None,
    changed_by: str = "",
) -> Outcome:
    ctx: Any = SimpleNamespace(
        remote=lambda host: Collecting(sections, unknown or {}, changed_by),
        run_id=RUN,
        inventory=Inventory(servers={"web": Server(name="web", address="10.0.0.1")}),
        environment=SimpleNamespace(name="city"),
        timeout_s=30.0,
    )
    return collector.expect(ExpectFacts(host="web", walk_s=1, expected=expected), ctx)


def test_facts_that_are_as_they_were_let_the_change_go_on() -> None:
    seen = expect(
        {
            ROOT_LOGIN: "yes",
            'sysctl.running."net.ipv4.ip_forward"': "1",
            "users[?uid == `0`]": [{"uid": 0, "name": "root"}],
            "sshd.effective.banner": None,
        }
    )
    assert (seen.changed, seen.summary) == (False, "web: 4 facts are still so")


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({ROOT_LOGIN: "no", "sshd.effective.maxauthtries": 6}, f"{ROOT_LOGIN} was no and is yes; nothing"),
        ({"sshd.effective.maxauthtries": "6"}, "was 6 and is 6"),
        ({"length(users)": True}, "length(users) was true and is 1"),
        ({"sshd.effective.banner": "/etc/issue"}, "was /etc/issue and is null"),
        ({"users": []}, 'users was [] and is [{"name": "root", "uid": 0}]'),
        ({"not a question(": 1}, "cannot be asked"),
    ],
    ids=["another-value", "another-kind", "a-yes-is-no-one", "gone", "more", "no-expression"],
)
def test_a_fact_that_moved_is_told(expected: dict[str, JsonValue], words: str) -> None:
    with pytest.raises(AdapterError) as told:
        expect(expected)
    assert words in str(told.value)
    assert "nothing was changed" in str(told.value)
    assert told.value.hint == "plan it again: ./inv baseline.plan --env city --limit web"


def test_what_this_run_may_have_changed_itself_is_not_said_to_be_unchanged() -> None:
    with pytest.raises(AdapterError, match=f"change {RUN} was begun there before") as told:
        expect({ROOT_LOGIN: "no"}, changed_by=RUN)
    assert "nothing was changed" not in str(told.value)
    assert f"./inv baseline.undo --env city --change {RUN}" in str(told.value.hint)


def test_what_another_run_changed_is_nothing_of_ours() -> None:
    with pytest.raises(AdapterError, match="nothing was changed"):
        expect({ROOT_LOGIN: "no"}, changed_by="20260301-025900-0002")


def test_what_is_not_known_any_more_is_no_nothing() -> None:
    """A fact that was not there, in a section that cannot be read now, is not `still not there`."""
    with pytest.raises(AdapterError, match="banner was null and is not known: sshd -T failed"):
        expect({"sshd.effective.banner": None}, sections={}, unknown={"sshd": "sshd -T failed"})


def test_what_a_host_says_is_told_short_and_harmless() -> None:
    hostile = {"sshd": {"effective": {"permitrootlogin": "\x1b[2J" + "x" * 5000}}}
    with pytest.raises(AdapterError) as told:
        expect({ROOT_LOGIN: "yes"} | {f"sshd.no{number}": 1 for number in range(40)}, sections=hostile)
    assert "\x1b" not in str(told.value)
    assert "; and 36 more" in str(told.value)
    assert len(str(told.value)) < 1000
