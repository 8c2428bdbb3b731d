"""Controls in words: every check and every remedy of ours can be told, and nothing of it is raw."""

import pytest

from automation.baseline.checks import All, Ask, Check, Either, Not
from automation.baseline.remedies import Remedy
from automation.baseline.words import check_lines, guard_lines, remedy_lines, risk_words, value_words
from automation.commands._controls import load_controls

CONTROLS = load_controls()


def ask(**more: object) -> Ask:
    return Ask.model_validate({"fact": "sshd.port", **more})


def told(check: Check) -> list[str]:
    return ["  " * line.depth + line.words for line in check_lines(check)]


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (ask(eq="22"), "sshd.port is 22"),
        (ask(ne=22), "sshd.port is not 22"),
        (ask(**{"in": ["22", "2222"]}), "sshd.port is one of 22, 2222"),
        (ask(not_in=[]), "sshd.port is none of nothing"),
        (ask(at_most="$ports"), "sshd.port is at most $ports"),
        (ask(empty=True), "sshd.port has nothing"),
        (ask(empty=False), "sshd.port has something"),
        (ask(present=True), "sshd.port is there"),
        (ask(present=False), "sshd.port is not there"),
        (ask(eq=True, missing="no"), "sshd.port is true; where it is not there that fails"),
        (ask(eq="", missing="yes"), "sshd.port is an empty text; where it is not there that is well"),
    ],
)
def test_a_question_is_told_as_people_ask_it(check: Ask, words: str) -> None:
    assert told(check) == [words]


def test_what_is_joined_stands_below_what_joins_it() -> None:
    either = Either(any=(ask(eq=1), All(all=(ask(eq=2),)), Not.model_validate({"not": ask(eq=3)})))
    assert told(All(all=(ask(eq=0), either))) == [
        "all of these:",
        "  sshd.port is 0",
        "  one of these:",
        "    sshd.port is 1",
        "    sshd.port is 2",
        "    not this:",
        "      sshd.port is 3",
    ]


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_of_ours_can_be_told(name: str) -> None:
    control = CONTROLS[name]
    checks = [control.check.effective, control.check.persistent] if control.check else []
    lines = [words for check in checks if check for words in told(check)]
    assert bool(lines) == (control.check is not None)
    remedy = control.remedy
    if remedy is not None:
        changes = [*remedy_lines(remedy), *guard_lines(remedy.guards), risk_words(remedy)]
        assert len(changes) == len(remedy.settings) + len(remedy.calls) + len(remedy.guards) + 1
        lines += changes
    assert not [one for one in lines if '{"' in one or "None" in one or "kind" in one]


def test_only_what_a_host_takes_back_by_itself_is_said_to_be() -> None:
    sshd = {"kind": "sshd", "keyword": "Port", "value": "22"}
    on_host = Remedy.model_validate({"risk": "R2", "settings": [sshd]})
    at_provider = Remedy.model_validate({"risk": "R2", "calls": [{"kind": "aws", "call": "block"}]})
    assert "takes it back by itself" in risk_words(on_host)
    assert "takes it back by itself" not in risk_words(at_provider)
    assert [*remedy_lines(on_host)] == ["sshd: Port 22"]


def test_a_value_is_told_by_its_parts() -> None:
    assert value_words(["a", 1, None, {"b": True}]) == 'a, 1, null, {"b": true}'
