"""The judge and facts that are not as they should be: it never stops, and nothing that is missing passes."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automation.baseline.controls import PROFILES, Control
from automation.baseline.judge import judge
from automation.baseline.verdicts import Verdict
from automation.commands._controls import load_controls
from automation.model.facts import Facts
from tests.baseline.examples import NOW, facts
from tests.baseline.plain_answers import state_of

EVERY = load_controls()
CONTROLS = {name: one for name, one in EVERY.items() if one.fixtures}
FIXTURES: list[tuple[Control, str, Any]] = [
    (one, kind, sections)
    for one in CONTROLS.values()
    for kind in ("passes", "fails", "not_applicable", "unknown")
    for sections in getattr(one.fixtures, kind)
]
OTHERS: Any = (
    *(None, True, False, 0, -1, 10**400, 1e308, float("inf"), float("nan"), "", "0", "no", "infinity"),
    *("\x1b[2J\u202e", "a" * 5000, [], {}, [None], [[]], [{}], {"": None}, [1, "1", True]),
)


def of(control: Control, sections: Any, **more: Any) -> Facts:
    return facts(dict(sections), **more).model_copy(update={"platform": control.platform})


def verdict(control: Control, told: Facts, profile: Any) -> Verdict:
    (only,) = judge(told, [control], profile, NOW).verdicts
    return only


def test_the_judge_says_of_every_fixture_what_plain_reading_says() -> None:
    for control, _, sections in FIXTURES:
        told = of(control, sections)
        for profile in control.profiles:
            assert verdict(control, told, profile).state == state_of(control, told, profile), control.id


def places(tree: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Name every place in a tree."""
    yield where
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*where, key))


def changed(tree: Any, where: tuple[Any, ...], change: Any) -> Any:
    """Give a tree with one place changed."""
    if not where:
        return change(tree)
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[where[0]] = changed(copy[where[0]], where[1:], change)
    return copy


def cut(value: Any) -> Any:
    return value[: len(value) // 2] if isinstance(value, str | list) else None


def instead(other: Any, _: Any) -> Any:
    return other


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Control, Facts, Any]:
    """Facts of a fixture, with sections gone, values of another kind, or cut short."""
    control, _, sections = draw(st.sampled_from(FIXTURES))
    sections, unknown = dict(sections), {}
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.sampled_from(sorted(places(sections), key=str)))
        if not where:
            continue
        what = draw(st.sampled_from(["gone", "other", "cut"]))
        if what == "gone" and len(where) == 1:
            unknown[where[0]] = draw(st.sampled_from(["not here", "\x1b]0;x\x07\nsecond line"]))
            sections = {key: one for key, one in sections.items() if key != where[0]}
        else:
            other = draw(st.sampled_from(OTHERS))
            sections = changed(sections, where, cut if what == "cut" else partial(instead, other))
    told = of(control, sections, unknown=unknown, shared_kernel=draw(st.booleans()))
    return control, told, draw(st.sampled_from(control.profiles))


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_damaged_facts_stop_no_judge_and_it_never_says_other_than_plain_reading(
    made: tuple[Control, Facts, Any],
) -> None:
    control, told, profile = made
    found = verdict(control, told, profile)
    plain = state_of(control, told, profile)
    assert found.state in (plain, "unknown")
    assert found.state == "pass" or found.reason
    assert not any(not sign.isprintable() for sign in found.reason), found.reason
    assert len(found.reason) < 20_000
    json.loads(found.model_dump_json())


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_no_section_that_is_not_known_lets_a_control_pass(control: Control) -> None:
    assert control.fixtures is not None
    for sections in control.fixtures.passes:
        for denied in sections.keys() - {"host"}:
            rest = {name: one for name, one in sections.items() if name != denied}
            for told in (of(control, rest), of(control, rest, unknown={denied: "not ours to read"})):
                for profile in control.profiles:
                    assert verdict(control, told, profile).state == "unknown", denied


@pytest.mark.parametrize(
    ("name", "expression", "sections"),
    [
        ("lin.accounts.single-root", "uid", {"accounts": {"users": [{"name": "toor"}]}}),
        ("lin.accounts.no-empty-password", "entry", {"accounts": {"users": [{"name": "toor"}]}}),
        ("lin.accounts.homes", "others_may_read", {"homes": [{"path": "/home/ana"}]}),
        ("lin.software.sources", "unsigned_accepted", {"sources": [{"file": "/etc/apt/x.list"}]}),
        ("lin.software.mail-local", "port", {"listeners": [{"local": False, "address": "0.0.0.0"}]}),
        ("lin.network.listeners", "local", {"listeners": [{"program": "nc"}]}),
        ("lin.ssh.authorized-keys", "type", {"authorized_keys": [{"user": "root"}]}),
        (
            "lin.logs.forwarded",
            "logins",
            {
                "units": {"active": ["rsyslog.service"]},
                "journald": {
                    "upload": {},
                    "rsyslog": {"to": [{"target": "l", "local": False, "everything": True, "tls": True}]},
                },
            },
        ),
        (
            "lin.accounts.umask",
            "sure",
            {"login_defs": {"UMASK": "027"}, "shells": {"sessions": [{"by": "pam_umask", "value": "027"}]}},
        ),
        ("lin.logs.file-integrity", "idle", {"integrity": {"ways": [{"tool": "aide", "why_not": ""}]}}),
        ("lin.accounts.single-root", "another kind", {"accounts": {"users": [{"name": "a", "uid": "0"}]}}),
        ("lin.accounts.single-root", "uid", {"accounts": {"users": ["toor:x:0:0"]}}),
        ("lin.accounts.no-empty-password", "kind", {"accounts": {"users": [{"name": "a", "entry": 1}]}}),
    ],
)
def test_an_element_that_lacks_what_is_asked_is_not_taken_for_a_good_one(
    name: str, expression: str, sections: Any
) -> None:
    control = CONTROLS[name]
    found = verdict(control, of(control, sections), "cjis")
    assert (found.state, expression in found.reason) == ("unknown", True), found


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_at_all_passes_nothing(profile: Any) -> None:
    for platform in ("linux", "aws", "vsphere"):
        told = facts({}).model_copy(update={"platform": platform})
        found = judge(told, tuple(EVERY.values()), profile, NOW).verdicts
        assert {one.state for one in found} <= {"unknown", "not_applicable"}
