"""Guards: computed ones hold by facts alone, others wait for a person, unknown ones are a fault."""

from typing import Any

import pytest

from automation.baseline.guards import ASKED, COMPUTED, Scene, guards_of, refusals, unknown_guards
from automation.commands._controls import load_controls
from automation.model.facts import Facts
from tests.baseline.examples import NOW

OPS = {"name": "ops", "uid": 1000, "gid": 1000, "can_log_in": True, "system": False, "entry": "none"}
ANA = {**OPS, "name": "ana", "uid": 1001, "gid": 1001, "entry": "set"}
ROOT = {**OPS, "name": "root", "uid": 0, "gid": 0, "system": True}
GROUPS = {"ops": {"gid": 1000, "members": []}, "ana": {"gid": 1001, "members": []}}
ADMINS = {**GROUPS, "admins": {"gid": 500, "members": ["ana"]}}
UNMANAGED = Scene("ops", "unmanaged")


def facts(**sections: Any) -> Facts:
    return Facts(subject="web", platform="linux", collected_at=NOW, sections=sections)


def accounts(*users: Any, groups: Any = GROUPS) -> dict[str, Any]:
    return {"users": list(users), "groups": groups}


KEY = {"user": "ops", "restricted": False}
BUCKET = {"name": "plans", "tls_only": True, "public": False, "website": False}


@pytest.mark.parametrize(
    ("guard", "known", "holds"),
    [
        ("automation_user_is_not_root", facts(accounts=accounts(ROOT, OPS)), True),
        ("automation_user_is_not_root", facts(accounts=accounts({**OPS, "uid": 0})), False),
        ("automation_user_is_not_root", facts(), False),
        ("console_or_second_admin", facts(), False),
        (
            "console_or_second_admin",
            facts(accounts=accounts(OPS), sudo={"everything": ["ops"]}, keys=[KEY]),
            False,
        ),
        (
            "console_or_second_admin",
            facts(accounts=accounts(OPS, ANA, groups=ADMINS), sudo={"everything": ["%admins"]}, keys=[KEY]),
            True,
        ),
        (
            "console_or_second_admin",
            facts(
                accounts=accounts(OPS, {**ANA, "entry": "locked"}), sudo={"everything": ["ana"]}, keys=[KEY]
            ),
            False,
        ),
        ("everybody_has_a_key", facts(accounts=accounts(OPS, ANA), keys=[KEY]), False),
        ("everybody_has_a_key", facts(accounts=accounts(OPS), keys=[KEY]), True),
        ("everybody_has_a_key", facts(accounts=accounts(OPS)), False),
        ("logins_ask_faillock", facts(pam={"modules": {"common-auth": ["pam_faillock.so"]}}), True),
        ("logins_ask_faillock", facts(pam={"modules": {"common-auth": ["pam_unix.so"]}}), False),
        ("logins_ask_faillock", facts(), False),
        ("nothing_routes_here", facts(packages={"openssh-server": "1"}), True),
        ("nothing_routes_here", facts(packages={"wireguard-tools": "1"}), False),
        ("nothing_routes_here", facts(), False),
        (
            "exception_users_are_there",
            facts(lockdown=[{"name": "e", "mode": "disabled", "exceptions": ["mainstay"]}]),
            False,
        ),
        (
            "exception_users_are_there",
            facts(lockdown=[{"name": "e", "mode": "disabled", "exceptions": ["break-glass", "mainstay"]}]),
            True,
        ),
        ("no_public_bucket", facts(s3={"buckets": [BUCKET]}, all_buckets=True), True),
        ("no_public_bucket", facts(s3={"buckets": [{**BUCKET, "public": True}]}, all_buckets=True), False),
        ("no_public_bucket", facts(s3={"buckets": [{**BUCKET, "public": None}]}, all_buckets=True), False),
        ("no_public_bucket", facts(s3={"buckets": [BUCKET]}), False),
        ("no_website_bucket", facts(s3={"buckets": [BUCKET]}, all_buckets=True), True),
        ("no_website_bucket", facts(s3={"buckets": [{**BUCKET, "website": True}]}, all_buckets=True), False),
        ("no_website_bucket", facts(), False),
        ("vcenter_answers", facts(hosts=[]), True),
        ("vcenter_answers", facts(), False),
    ],
)
def test_a_computed_guard_holds_by_what_is_known_alone(guard: str, known: Facts, holds: bool) -> None:
    assert (COMPUTED[guard](known, UNMANAGED) == "") is holds


def test_a_console_of_the_provider_is_a_second_way_in() -> None:
    assert COMPUTED["console_or_second_admin"](facts(), Scene("ops", "vsphere")) == ""


def test_whatever_may_lock_people_out_of_a_host_needs_two_ways_in() -> None:
    controls = load_controls()
    for control in controls.values():
        if control.platform == "linux" and control.remedy and control.remedy.risk == "R2":
            assert "console_or_second_admin" in guards_of(control), control.id


def test_what_a_person_must_say_is_refused_until_it_is_said() -> None:
    control = load_controls()["aws.s3.account-public-block"]
    assert [one.guard for one in refusals(control, facts(), UNMANAGED, ())] == list(guards_of(control))
    assert not list(refusals(control, facts(), UNMANAGED, guards_of(control)))


def test_every_guard_of_every_control_is_known() -> None:
    assert not {
        control.id: unknown_guards(control) for control in load_controls().values() if unknown_guards(control)
    }
    assert not COMPUTED.keys() & ASKED.keys()


def test_a_guard_that_nobody_knows_never_holds() -> None:
    known = load_controls()["lin.kernel.ip-forward"]
    assert known.remedy is not None
    remedy = known.remedy.model_copy(update={"guards": ("nothing_routs_here",)})
    control = known.model_copy(update={"remedy": remedy})
    assert unknown_guards(control) == ("nothing_routs_here",)
    refused = [one.guard for one in refusals(control, facts(), Scene("ops", "nspawn"), ())]
    assert refused == ["nothing_routs_here"]
