"""The controls that Mainstay brings: each is held to its own fixtures, for every profile that asks for it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import jmespath
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


def of_providers(kind: str) -> Any:
    found = [
        (one, sections)
        for one in CONTROLS.values()
        if one.platform != "linux" and one.fixtures
        for sections in getattr(one.fixtures, kind)
    ]
    names = [f"{one.id}-{number}" for number, (one, _) in enumerate(found)]
    return pytest.mark.parametrize(("one", "sections"), found, ids=names)


@of_providers("passes")
def test_access_denied_to_a_section_is_not_known_and_no_pass(one: Control, sections: Any) -> None:
    for denied in sections:
        rest = {name: section for name, section in sections.items() if name != denied}
        told = facts(rest, unknown={denied: "AccessDenied: not ours to read"})
        (verdict,) = judge(told.model_copy(update={"platform": one.platform}), [one], "cjis", NOW).verdicts
        assert (verdict.state, "AccessDenied" in verdict.reason) == ("unknown", True), denied


@of_providers("fails")
def test_a_fact_that_is_left_out_turns_no_failure_into_a_pass(one: Control, sections: Any) -> None:
    for fewer in without_each(sections):
        assert not states(one, [fewer]) & {"pass", "not_applicable"}, fewer


def without_each(tree: Any) -> Iterator[Any]:
    """Leave one thing out at a time, at every depth; a name only says what is meant."""
    if isinstance(tree, list):
        for at, inner in enumerate(tree):
            yield from ([*tree[:at], fewer, *tree[at + 1 :]] for fewer in without_each(inner))
    if isinstance(tree, dict):
        yield from (
            {key: tree[key] for key in tree if key != left_out} for left_out in tree if left_out != "name"
        )
        for key, inner in tree.items():
            yield from ({**tree, key: fewer} for fewer in without_each(inner))


def targets(one: Control, sections: Any) -> list[Any]:
    assert one.remedy is not None
    return [
        name for call in one.remedy.calls if call.each for name in jmespath.search(call.each, sections) or []
    ]


@pytest.mark.parametrize(
    "one",
    [one for one in CONTROLS.values() if one.remedy and any(call.each for call in one.remedy.calls)],
    ids=lambda one: one.id,
)
def test_a_change_at_a_provider_is_for_what_failed_and_for_nothing_that_is_well(one: Control) -> None:
    assert one.fixtures is not None
    assert one.remedy is not None
    assert not any(targets(one, sections) for sections in one.fixtures.passes)
    for call in one.remedy.calls:
        assert not call.each or any(
            jmespath.search(call.each, sections) for sections in one.fixtures.fails
        ), call.call


def test_nothing_that_cannot_be_taken_back_is_changed_at_a_provider() -> None:
    changed = [one for one in CONTROLS.values() if one.platform != "linux" and one.remedy]
    assert changed
    assert not [one.id for one in changed if one.remedy and one.remedy.risk == "R4"]


def test_every_platform_has_its_controls() -> None:
    counted = Counter(one.platform for one in CONTROLS.values())
    assert counted["linux"] >= 66
    assert (counted["aws"], counted["vsphere"]) == (15, 10)


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
        ({"parameters": {"allowed": {"standard": ["no"], "cjis": "no"}}}, "allowed of cjis: in wants a list"),
        ({"check": {}}, "effective, persistent"),
        ({"profiles": []}, "at least 1"),
        ({"remedy": {"risk": "R5"}}, "R0"),
        ({"remedy": {"risk": "R2", "settings": [{"kind": "shell", "run": "rm"}]}}, "sshd"),
        ({"remedy": {"risk": "R1", "calls": [{"kind": "aws", "call": "x", "each": "a["}]}}, "JMESPath"),
        ({"waiver": {"max_days": 400}}, "365"),
        ({"shell": "rm"}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_faulty_control_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        control(**change)
