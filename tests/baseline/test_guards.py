"""Guards: computed ones hold by facts alone, others wait for a person, unknown ones are a fault."""

from typing import Any

import pytest

from automation.baseline import guards
from automation.baseline.asking import Asker
from automation.baseline.guards import (
    ASKED,
    COMPUTED,
    Scene,
    facts_of,
    guards_of,
    refusals,
    unknown_guards,
)
from automation.commands._controls import load_controls
from automation.model.facts import Facts
from automation.shipped.collector.__main__ import MODULES
from tests.baseline.examples import NOW

OPS = {"name": "ops", "uid": 1000, "gid": 1000, "can_log_in": True, "system": False, "entry": "none"}
ANA = {**OPS, "name": "ana", "uid": 1001, "gid": 1001, "entry": "set"}
ROOT = {**OPS, "name": "root", "uid": 0, "gid": 0, "system": True}
GROUPS = {"ops": {"gid": 1000, "members": []}, "ana": {"gid": 1001, "members": []}}
ADMINS = {**GROUPS, "admins": {"gid": 500, "members": ["ana"]}}
UNMANAGED = Scene("ops", "unmanaged")


STRICT, LAX = ({"file": "/etc/profile", "value": value} for value in ("077", "022"))
OUR_OWN = {"file": "/etc/profile.d/50-mainstay-umask.sh", "value": "027"}


def facts(**sections: Any) -> Facts:
    return Facts(subject="web", platform="linux", collected_at=NOW, sections=sections)


def accounts(*users: Any, groups: Any = GROUPS) -> dict[str, Any]:
    return {"users": list(users), "groups": groups}


KEY = {"user": "ops", "restricted": False, "fingerprint": "SHA256:a"}
ANAS = {**KEY, "user": "ana"}
LOCAL = {"modules": {"common-auth": ["pam_unix.so"]}}
SSSD = {"modules": {"common-auth": ["pam_unix.so", "pam_sss.so"]}}
BUCKET = {"name": "plans", "tls_only": True, "public": False, "website": False}


@pytest.mark.parametrize(
    ("guard", "known", "holds"),
    [
        ("automation_user_is_not_root", facts(accounts=accounts(ROOT, OPS)), True),
        ("automation_user_is_not_root", facts(accounts=accounts({**OPS, "uid": 0})), False),
        ("automation_user_is_not_root", facts(), False),
        ("console_or_second_admin", facts(), False),
        ("everybody_has_a_key", facts(accounts=accounts(OPS, ANA), authorized_keys=[KEY], pam=LOCAL), False),
        ("everybody_has_a_key", facts(accounts=accounts(OPS, ANA), authorized_keys=[ANAS], pam=LOCAL), True),
        (
            "everybody_has_a_key",
            facts(accounts=accounts(OPS, ANA), authorized_keys=[{**ANAS, "fingerprint": ""}], pam=LOCAL),
            False,
        ),
        ("everybody_has_a_key", facts(accounts=accounts(OPS), authorized_keys=[KEY], pam=LOCAL), True),
        ("everybody_has_a_key", facts(accounts=accounts(OPS), authorized_keys=[KEY], pam=SSSD), False),
        ("everybody_has_a_key", facts(accounts=accounts(OPS), authorized_keys=[KEY]), False),
        ("everybody_has_a_key", facts(accounts=accounts(OPS), pam=LOCAL), False),
        ("logins_ask_faillock", facts(pam={"modules": {"common-auth": ["pam_faillock.so"]}}), True),
        ("logins_ask_faillock", facts(pam={"modules": {"common-auth": ["pam_unix.so"]}}), False),
        ("logins_ask_faillock", facts(), False),
        ("no_shell_file_says_otherwise", facts(shells={"umasks": []}), True),
        ("no_shell_file_says_otherwise", facts(shells={"umasks": [STRICT, OUR_OWN]}), True),
        ("no_shell_file_says_otherwise", facts(shells={"umasks": [STRICT, LAX]}), False),
        ("no_shell_file_says_otherwise", facts(), False),
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


LOCKED = {**ANA, "entry": "locked"}


@pytest.mark.parametrize(
    ("user", "free", "keys", "holds"),
    [
        (ANA, [], [KEY, ANAS], True),
        (LOCKED, ["%admins"], [KEY, ANAS], True),
        (LOCKED, ["ana"], [KEY, ANAS], True),
        (LOCKED, [], [KEY, ANAS], False),
        (ANA, ["ana"], [KEY], False),
        (ANA, ["ana"], [KEY, {**ANAS, "restricted": True}], False),
        (ANA, ["ana"], [KEY, {**ANAS, "fingerprint": ""}], False),
        ({**ANA, "can_log_in": False}, ["ana"], [KEY, ANAS], False),
    ],
    ids=["password", "group-free", "free", "no-password", "no-key", "restricted", "unreadable", "no-shell"],
)
def test_another_administrator_has_a_key_and_becomes_root(
    user: Any, free: list[str], keys: list[Any], holds: bool
) -> None:
    sudo = {"everything": ["ops", "%admins"], "without_password": ["ops", *free]}
    known = facts(accounts=accounts(OPS, user, groups=ADMINS), sudo=sudo, authorized_keys=keys)
    assert (COMPUTED["console_or_second_admin"](known, UNMANAGED) == "") is holds


@pytest.mark.parametrize(
    "guard",
    [
        "automation_user_is_not_root",
        "console_or_second_admin",
        "everybody_has_a_key",
        "logins_ask_faillock",
        "no_shell_file_says_otherwise",
        "nothing_routes_here",
    ],
)
def test_what_a_guard_asks_is_told(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(guards, "_asked", lambda expression, facts: asked.append(expression))
    COMPUTED[guard](facts(), UNMANAGED)
    told = facts_of(guard, UNMANAGED)
    assert set(asked) == (set(told) if guard != "nothing_routes_here" else {"keys(packages)"})
    assert told


def test_what_a_guard_asks_of_pam_does_not_depend_on_the_order_of_files() -> None:
    files = {"common-auth": ["pam_unix.so"], "common-account": ["pam_deny.so"]}
    ways = (files, dict(reversed(files.items())))
    one, other = (Asker(facts(pam={"modules": way})).search(guards.MODULES) for way in ways)
    assert one == other == ["pam_deny.so", "pam_unix.so"]


def test_what_a_guard_asks_does_not_change_by_a_login() -> None:
    at = {**ANA, "last_login": 1}, {**ANA, "last_login": 2}
    before, after = (Asker(facts(accounts=accounts(one))) for one in at)
    for fact in (guards.LOGINS, guards.PEOPLE, guards.ROOTS):
        assert before.search(fact) == after.search(fact) is not None


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


def test_guards_ask_sections_that_the_collector_has() -> None:
    sections = {name for module in MODULES for name in module.SECTIONS}
    asked = {one for name in COMPUTED for one in facts_of(name, UNMANAGED)}
    named = {one.removeprefix("sort(").partition(".")[0].partition("[")[0] for one in asked}
    assert named
    assert named <= sections
