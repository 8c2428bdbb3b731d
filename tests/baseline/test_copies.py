"""A copy beside its original: what passes there must pass here, and what is not known is no pass."""

from datetime import timedelta
from typing import Any

import pytest

from automation.baseline.copies import Earlier, Standard, compare, known_shares, newest
from automation.baseline.settings import Baseline
from automation.baseline.waivers import Attestation, Exceptions
from automation.model.copies import CopyCompared
from automation.model.facts import Facts
from tests.baseline.examples import NOW, control, facts, sshd, waiver

BASELINE = Baseline.model_validate({"profile": "standard", "profiles": {"police": "cis-l1"}})
LEGACY = control(
    id="lin.services.legacy",
    title="No telnet server",
    severity="medium",
    parameters={},
    applies={"when": {"fact": "packages", "contains": ["inetd"]}, "otherwise": "no inetd"},
    check={"effective": {"not": {"fact": "packages", "contains": ["telnetd"]}}},
)


def host(name: str, sections: dict[str, Any] | None = None, **more: Any) -> Facts:
    return facts(sections, **more).model_copy(update={"subject": name})


def compared(original: Facts, copy: Facts, *more: Facts, **standard: Any) -> CopyCompared:
    held = Standard(settings=BASELINE, controls=(control(), LEGACY), **standard)
    return compare("payments", (original, *more), copy, held)


def test_a_copy_that_is_alike_is_no_weaker() -> None:
    found = compared(host("pg-a", sshd("no")), host("pg-b", sshd("prohibit-password")))
    assert (found.controls, found.alike, found.weaker) == (1, 1, ())


def test_what_passes_on_the_original_and_fails_on_the_copy_is_weaker() -> None:
    (weak,) = compared(host("pg-a", sshd("no")), host("pg-b", sshd("yes"))).weaker
    assert (weak.control, weak.severity, weak.state) == ("lin.ssh.root-login", "high", "fail")
    assert weak.observed == 'sshd.effective.permitrootlogin is "yes"'
    assert weak.wanted.endswith('in ["no", "prohibit-password"]')


@pytest.mark.parametrize("original", [sshd("yes"), {}], ids=["it fails there", "it is not known there"])
def test_what_does_not_pass_on_the_original_is_not_asked_of_the_copy(original: dict[str, Any]) -> None:
    found = compared(host("pg-a", original), host("pg-b", sshd("yes")))
    assert (found.controls, found.weaker) == (0, ())


def test_what_is_not_known_of_the_copy_is_weaker() -> None:
    lost = host("pg-b", unknown={"sshd": "no answer"})
    (weak,) = compared(host("pg-a", sshd("no")), lost).weaker
    assert weak.state == "unknown"
    assert "no answer" in weak.observed
    shared = host("pg-b", sshd("no"), shared_kernel=True)
    held = Standard(settings=BASELINE, controls=(control(shared_kernel=False),))
    (weak,) = compare("payments", (host("pg-a", sshd("no")),), shared, held).weaker
    assert "shared-kernel" in weak.observed


def test_what_does_not_apply_to_the_copy_is_counted_apart() -> None:
    there, gone = {"packages": ["inetd"]}, {"packages": ["sshd"]}
    found = compared(host("pg-a", there), host("pg-b", gone))
    assert (found.not_applicable, found.weaker) == (("lin.services.legacy",), ())


def test_of_several_originals_the_weakest_is_the_measure() -> None:
    strong, weak = host("pg-a", sshd("no")), host("pg-c", sshd("yes"))
    assert compared(strong, host("pg-b", sshd("yes")), weak).weaker == ()
    assert len(compared(strong, host("pg-b", sshd("yes")), strong).weaker) == 1


def test_the_copy_is_held_to_the_profile_of_the_original() -> None:
    police = host("pg-a", sshd("no"), roles=("police",))
    found = compared(police, host("pg-b", sshd("prohibit-password")))
    assert (found.profile, len(found.weaker)) == ("cis-l1", 1)


def test_the_worst_comes_first() -> None:
    there = sshd("no") | {"packages": ["inetd"]}
    here = sshd("yes") | {"packages": ["inetd", "telnetd"]}
    found = compared(host("pg-a", there), host("pg-b", here))
    assert [one.severity for one in found.weaker] == ["high", "medium"]


def walked(*found: str, whole: bool = True) -> dict[str, Any]:
    return {**sshd("no"), "tree": {"unowned": list(found), **({"whole": True} if whole else {})}}


def test_what_a_walk_that_was_cut_did_not_see_is_named() -> None:
    checks = [{"fact": "tree.unowned", "empty": True}, {"fact": "tree.whole", "eq": True}]
    unowned = control(id="lin.files.unowned", parameters={}, check={"effective": {"all": checks}})
    held = Standard(settings=BASELINE, controls=(control(), unowned))
    pair = host("pg-a", walked(whole=False)), host("pg-b", walked())
    found = compare("payments", pair[:1], pair[1], held)
    assert (found.controls, found.not_walked) == (1, ("lin.files.unowned",))
    assert compare("payments", pair[1:], pair[1], held).not_walked == ()
    bad = host("pg-c", walked("/srv/x", whole=False))
    assert compare("payments", (bad,), pair[1], held).not_walked == (), "a failure is known"


def test_how_much_is_known_leaves_aside_what_does_not_apply_or_a_shared_kernel_hides() -> None:
    hidden = control(id="lin.kernel.hidden", shared_kernel=False)
    held = Standard(settings=BASELINE, controls=(control(), LEGACY, hidden))
    real = host("pg-a", sshd("no") | {"packages": []})
    assert known_shares([real], held) == {"pg-a": 1.0}
    shared = host("pg-b", {"packages": ["inetd"]}, shared_kernel=True)
    assert known_shares([real, shared], held) == {"pg-a": 1.0, "pg-b": 0.5}
    assert known_shares([host("pg-c", shared_kernel=True)], held) == {"pg-c": 0.0}


# --- waivers --------------------------------------------------------------------------------------


def test_a_waiver_of_the_copy_is_told_and_one_of_the_original_is_none_for_it() -> None:
    pair = host("pg-a", sshd("no")), host("pg-b", sshd("yes"))
    own = Exceptions(waivers=(waiver(subjects=["pg-b"]),))
    found = compared(*pair, counted=own)
    assert found.weaker == ()
    assert [(one.control, one.waiver) for one in found.waived] == [("lin.ssh.root-login", "root-on-pg-a")]
    assert len(compared(*pair, counted=Exceptions(waivers=(waiver(),))).weaker) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"observed": {"sshd.effective.permitrootlogin": "forced-commands-only"}},
        {"starts": "2026-11-23T00:00:00Z"},
    ],
    ids=["another value", "another day"],
)
def test_a_waiver_of_another_value_or_day_accepts_nothing(change: dict[str, Any]) -> None:
    kept = Exceptions(waivers=(waiver(subjects=["pg-b"], **change),))
    assert len(compared(host("pg-a", sshd("no")), host("pg-b", sshd("yes")), counted=kept).weaker) == 1


def test_what_people_attest_of_the_original_they_must_attest_of_the_copy() -> None:
    told = {"starts": "2026-11-01T00:00:00Z", "expires": "2026-12-01T00:00:00Z", "by": "security-officer"}
    told |= {"id": "looked", "control": "lin.ssh.root-login", "reason": "the door was tried"}
    one = Attestation.model_validate({**told, "subjects": ["pg-a"]})
    both = Attestation.model_validate({**told, "subjects": ["pg-a", "pg-b"]})
    looked = control(check=None, fixtures=None, parameters={}, attest_days=90)
    for kept, weaker in ((one, 1), (both, 0)):
        held = Standard(settings=BASELINE, controls=(looked,), counted=Exceptions(attestations=(kept,)))
        assert len(compare("payments", (host("pg-a"),), host("pg-b"), held).weaker) == weaker


# --- what is kept with a run ------------------------------------------------------------------------


def test_what_hosts_are_held_against_is_the_same_when_it_is_read_again() -> None:
    earlier = {"pg-a": Earlier(run="20261121-020000-0b1e", facts=host("pg-a", sshd("no")))}
    held = Standard(
        settings=BASELINE,
        controls=(control(), LEGACY),
        counted=Exceptions(waivers=(waiver(),)),
        earlier=earlier,
        simulated=("gis-a",),
    )
    assert Standard.model_validate_json(held.model_dump_json(by_alias=True, exclude_defaults=True)) == held


def test_simulated_hosts_are_named() -> None:
    simulated = host("pg-b", sshd("no"), source="simulated")
    assert compared(host("pg-a", sshd("no")), simulated).simulated == ("pg-b",)
    real = host("pg-b", sshd("no"))
    assert compared(host("pg-a", sshd("no")), real, simulated=("pg-a",)).simulated == ("pg-a",)


def test_signs_that_act_on_a_terminal_are_not_repeated() -> None:
    (weak,) = compared(host("pg-a", sshd("no")), host("pg-b", sshd("\x1b[2J" + "x" * 9999))).weaker
    assert weak.observed.isprintable()
    assert len(weak.observed) < 400


def test_facts_that_are_too_old_tell_nothing_of_today() -> None:
    old = Earlier(run="one", facts=host("pg-a").model_copy(update={"collected_at": NOW - timedelta(days=9)}))
    young = Earlier(
        run="two", facts=host("pg-a").model_copy(update={"collected_at": NOW - timedelta(days=2)})
    )
    assert newest((old, young), NOW - timedelta(days=7)) == young
    assert newest((old,), NOW - timedelta(days=7)) is None
