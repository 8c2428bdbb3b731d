"""The controls that Mainstay brings: each is held to its own fixtures, for every profile that asks for it."""

from typing import Any

import pytest
from pydantic import ValidationError

from automation.baseline.controls import Control
from automation.baseline.judge import judge
from automation.commands._controls import load_controls
from tests.baseline.examples import NOW, control, facts

CONTROLS = load_controls()
each = pytest.mark.parametrize("one", CONTROLS.values(), ids=CONTROLS)
judged = pytest.mark.parametrize(
    "one",
    [one for one in CONTROLS.values() if one.fixtures],
    ids=[i for i, c in CONTROLS.items() if c.fixtures],
)


def states(one: Control, fixtures: Any) -> set[str]:
    return {
        judge(facts(dict(sections)).model_copy(update={"platform": one.platform}), [one], profile, NOW)
        .verdicts[0]
        .state
        for sections in fixtures
        for profile in one.profiles
    }


@judged
def test_a_control_tells_its_own_fixtures_apart(one: Control) -> None:
    assert one.fixtures is not None
    assert states(one, one.fixtures.passes) == {"pass"}
    assert states(one, one.fixtures.fails) == {"fail"}
    if one.applies is not None:
        assert states(one, one.fixtures.not_applicable) == {"not_applicable"}


@judged
def test_no_facts_never_pass(one: Control) -> None:
    assert one.fixtures is not None
    assert states(one, one.fixtures.unknown) == {"unknown"}


@each
def test_a_control_says_where_else_it_is_asked_for(one: Control) -> None:
    assert one.references.nist or one.references.cis or one.references.other


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "ssh.root"}, "match pattern"),
        ({"check": None}, "attest_days"),
        ({"fixtures": None}, "fixtures"),
        ({"parameters": {}}, "no such parameter: allowed"),
        ({"parameters": {"allowed": {"cjis": ["no"]}}}, "no value for profile standard"),
        (
            {"parameters": {"allowed": {"standard": ["no"]}, "more": {"standard": 1}}},
            "nothing uses parameter more",
        ),
        ({"severity": "urgent"}, "critical"),
        ({"check": {}}, "effective, persistent"),
        ({"profiles": []}, "at least 1"),
        ({"remedy": {"risk": "R5"}}, "R0"),
        ({"remedy": {"risk": "R2", "settings": [{"kind": "shell", "run": "rm"}]}}, "sshd"),
        ({"waiver": {"max_days": 400}}, "365"),
        ({"shell": "rm"}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_faulty_control_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        control(**change)
