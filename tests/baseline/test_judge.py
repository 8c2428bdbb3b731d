"""Verdicts: what is in effect and what is written down, what does not apply or is waived, what it counts."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.baseline.controls import Control
from automation.baseline.judge import judge
from automation.baseline.verdicts import Verdict, tally
from automation.baseline.waivers import Attestation
from automation.model.facts import Facts
from tests.baseline.examples import CHECK, NOW, control, facts, sshd, waiver


def verdict(found: Facts, one: Control | None = None, **more: Any) -> Verdict:
    (only,) = judge(found, [one or control()], more.pop("profile", "cis-l1"), NOW, **more).verdicts
    return only


@pytest.mark.parametrize(
    ("effective", "persistent", "state", "disagrees"),
    [
        ("no", "no", "pass", False),
        ("yes", "no", "fail", True),
        ("no", "yes", "fail", True),
        ("yes", "yes", "fail", False),
    ],
)
def test_it_must_hold_now_and_after_the_next_boot(
    effective: str, persistent: str, state: str, disagrees: bool
) -> None:
    found = verdict(facts(sshd(effective, persistent)))
    assert (found.state, found.disagrees) == (state, disagrees)
    assert ("not what is written down" in found.reason) == disagrees


def test_what_could_not_be_read_is_unknown_and_a_known_fault_is_a_fault_all_the_same() -> None:
    assert verdict(facts()).state == "unknown"
    half = {"sshd": {"files": {"permitrootlogin": "yes"}}}
    assert verdict(facts(half)).state == "fail"


def test_a_profile_takes_the_value_of_the_one_before_it() -> None:
    found = facts(sshd("prohibit-password"))
    assert [verdict(found, profile=one).state for one in ("standard", "cis-l1", "cjis")] == [
        "pass",
        "fail",
        "fail",
    ]


def test_a_profile_that_does_not_ask_for_a_control_does_not_judge_it() -> None:
    assert judge(facts(), [control(profiles=["cjis"])], "standard", NOW).verdicts == ()


def test_who_it_is_not_for_is_told_so() -> None:
    applies = {"when": {"fact": "packages", "contains": ["openssh-server"]}, "otherwise": "no sshd here"}
    one = control(applies=applies)
    assert verdict(facts({"packages": []}), one).reason == "no sshd here"
    assert verdict(facts({"packages": []}), one).state == "not_applicable"
    assert verdict(facts(sshd("no")), one).state == "unknown", "whether it applies is not known"
    assert verdict(facts({**sshd("no"), "packages": ["openssh-server"]}), one).state == "pass"


def test_a_container_is_not_judged_by_what_its_kernel_does() -> None:
    one = control(shared_kernel=False)
    assert verdict(facts(sshd("no"), shared_kernel=True), one).state == "unknown"
    assert verdict(facts(sshd("no"), shared_kernel=True), one).reason.startswith("shared-kernel")
    assert verdict(facts(sshd("no")), one).state == "pass"


# --- exceptions --------------------------------------------------------------------------------------


def test_a_waiver_covers_the_value_it_names_and_no_other() -> None:
    accepted = waiver()
    covered = verdict(facts(sshd("yes")), exceptions=[accepted])
    assert (covered.state, covered.waiver) == ("waived", "root-on-pg-a")
    assert verdict(facts(sshd("without-password")), exceptions=[accepted]).state == "fail"
    assert verdict(facts(sshd("no")), exceptions=[accepted]).state == "pass"


def test_a_waiver_of_another_subject_or_time_or_control_covers_nothing() -> None:
    for other in (
        waiver(subjects=["pg-b"]),
        waiver(starts="2026-11-23T00:00:00Z"),
        waiver(expires="2026-11-22T12:00:00Z"),
        waiver(control="lin.ssh.banner"),
    ):
        assert verdict(facts(sshd("yes")), exceptions=[other]).state == "fail"
    forbidden = control(waiver={"allowed": False})
    assert verdict(facts(sshd("yes")), forbidden, exceptions=[waiver()]).state == "fail"


def test_a_waiver_makes_nothing_of_what_is_not_known() -> None:
    assert verdict(facts(), exceptions=[waiver()]).state == "unknown"


def test_people_attest_what_no_program_can_judge() -> None:
    one = control(check=None, parameters={}, fixtures=None, attest_days=90)
    said = Attestation(
        id="looked",
        control=one.id,
        subjects=("pg-a",),
        reason="looked at it in the data centre",
        starts=NOW - timedelta(days=1),
        expires=NOW + timedelta(days=1),
        by="security-officer",
    )
    assert verdict(facts(), one).state == "unknown"
    assert verdict(facts(), one, exceptions=[said]).state == "attested"
    assert verdict(facts(), exceptions=[said]).state == "unknown", "a control with a check is not attested"


# --- counting ----------------------------------------------------------------------------------------


def verdicts(*states: str) -> list[Verdict]:
    return [
        Verdict(control="lin.ssh.root-login", subject="a", severity="high", state=state)  # type: ignore[arg-type]
        for state in states
    ]


def test_what_is_not_known_counts_against_the_score() -> None:
    said = tally(verdicts("pass", "attested", "fail", "waived", "unknown", "not_applicable"))
    assert said.score == 2 / 5
    assert said.with_waivers == 3 / 5
    assert said.coverage == 4 / 5
    assert not said.trusted


def test_nothing_that_applies_is_no_green_light() -> None:
    assert not tally(verdicts("not_applicable")).trusted
    assert tally([]).score is None
    assert tally(verdicts("pass")).trusted


def test_a_critical_fault_weighs_more_than_a_low_one() -> None:
    low, critical = control(severity="low"), control(severity="critical", id="lin.ssh.empty-passwords")
    found = judge(facts(sshd("no")), [low], "cis-l1", NOW).verdicts
    found += judge(facts(sshd("yes")), [critical], "cis-l1", NOW).verdicts
    assert tally(found).score == 1 / 11


# --- anything a host says ----------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(sections=st.dictionaries(st.sampled_from(["sshd", "packages", "x"]), JSON), kernel=st.booleans())
def test_garbage_never_passes(sections: dict[str, Any], kernel: bool) -> None:
    applies = {"when": {"fact": "packages", "contains": ["openssh-server"]}, "otherwise": "no sshd here"}
    for one in (control(), control(applies=applies), control(check={"effective": {"not": CHECK}})):
        found = verdict(facts(sections, shared_kernel=kernel), one)
        assert found.state in ("fail", "unknown", "not_applicable") or found.found[0].observed is not None
        assert found.state == "pass" or found.reason
