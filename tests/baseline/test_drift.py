"""Drift: whatever was planted is named, what changes by itself is not, and the unknown is no 'none'."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from automation.baseline.drift import KINDS, Change, compare
from automation.model.facts import Facts
from tests.baseline.examples import facts

USER = {"name": "app", "uid": 1000, "shell": "/bin/bash", "entry": "none", "last_login": None}
UNIT = {"enabled": "enabled", "active": "active"}
SECTIONS: dict[str, Any] = {
    "accounts": {"users": [USER], "groups": {"sudo": {"gid": 27, "members": []}}, "twice": {}},
    "authorized_keys": [
        {"user": "app", "file": "/home/app/.ssh/authorized_keys", "type": "ssh-ed25519"}
        | {"fingerprint": "SHA256:a", "restricted": False}
    ],
    "sudo": {"valid": True, "defaults": {"use_pty": True}, "without_password": [], "everything": ["root"]},
    "tree": {"suid": ["/usr/bin/su"], "world_writable": [], "files": 9, "whole": True},
    "listeners": [
        {"protocol": "tcp", "address": "0.0.0.0", "port": 22, "program": "sshd", "local": False},
        {"protocol": "udp", "address": "0.0.0.0", "port": 40001, "program": "chronyd", "local": False},
    ],
    "units": {"all": {"ssh.service": UNIT}, "active": ["ssh.service"], "enabled": [], "failed": []},
    "packages": {"sudo": "1.9"},
    "cron": {"jobs": ["/etc/crontab 0123456789abcdef"], "allow": {"cron": False}},
    "sysctl": {"running": {"net.ipv4.ip_forward": "0"}, "persistent": {}, "differing": []},
    "sshd": {
        "effective": {"permitrootlogin": "no", "allowusers": []},
        "contexts": [{"user": "root", "address": "192.0.2.1", "permitrootlogin": "no"}],
        "files": ["/etc/ssh/sshd_config"],
    },
    "updates": {"pending": [], "security": [], "lists_age_days": 0.1, "unattended": True},
    "files": {"/etc/shadow": {"mode": "0640"}},
}


def changes(change: Any, sections: dict[str, Any] = SECTIONS) -> list[Change]:
    later = copy.deepcopy(sections)
    change(later)
    return list(compare(facts(sections), facts(later)).changes)


def test_the_same_facts_are_no_drift() -> None:
    assert changes(lambda _: None) == []


PLANTED: dict[str, tuple[Any, tuple[str, str, str]]] = {
    "a user": (
        lambda s: s["accounts"]["users"].append({**USER, "name": "toor", "uid": 0}),
        ("user", "toor", "appeared"),
    ),
    "a shell": (lambda s: s["accounts"]["users"][0].update({"shell": "/bin/sh"}), ("user", "app", "changed")),
    "a second user of one name": (
        lambda s: s["accounts"]["users"].append({**USER, "uid": 0}),
        ("user", "app", "changed"),
    ),
    "a member": (
        lambda s: s["accounts"]["groups"]["sudo"]["members"].append("app"),
        ("group", "sudo", "changed"),
    ),
    "a key": (
        lambda s: s["authorized_keys"].append({**s["authorized_keys"][0], "fingerprint": "SHA256:b"}),
        ("key", "SHA256:b of app in /home/app/.ssh/authorized_keys", "appeared"),
    ),
    "a rule": (
        lambda s: s["sudo"]["without_password"].append("app"),
        ("sudo rule", "app without a password", "appeared"),
    ),
    "a default": (
        lambda s: s["sudo"]["defaults"].update(use_pty=False),
        ("sudo rule", "Defaults use_pty", "changed"),
    ),
    "a shell that is SUID": (
        lambda s: s["tree"]["suid"].append("/tmp/sh"),
        ("SUID file", "/tmp/sh", "appeared"),
    ),
    "a loose file": (
        lambda s: s["tree"]["world_writable"].append("/etc/x"),
        ("world-writable file", "/etc/x", "appeared"),
    ),
    "a listener": (
        lambda s: s["listeners"].append({**s["listeners"][0], "port": 4444, "program": "nc"}),
        ("listener", "tcp 0.0.0.0 port 4444", "appeared"),
    ),
    "another program on a port": (
        lambda s: s["listeners"][0].update(program="nc"),
        ("listener", "tcp 0.0.0.0 port 22", "changed"),
    ),
    "a unit": (
        lambda s: s["units"]["all"].update({"x.service": UNIT}),
        ("unit", "x.service", "appeared"),
    ),
    "a unit that stopped": (
        lambda s: s["units"]["all"].update({"ssh.service": {**UNIT, "active": "inactive"}}),
        ("unit", "ssh.service", "changed"),
    ),
    "a package": (lambda s: s["packages"].update(nmap="7"), ("package", "nmap", "appeared")),
    "a package less": (lambda s: s["packages"].pop("sudo"), ("package", "sudo", "gone")),
    "a job": (
        lambda s: s["cron"]["jobs"].append("/etc/cron.d/x 00"),
        ("cron job", "/etc/cron.d/x", "appeared"),
    ),
    "another job": (
        lambda s: s["cron"].update(jobs=["/etc/crontab ffff"]),
        ("cron job", "/etc/crontab", "changed"),
    ),
    "a kernel setting": (
        lambda s: s["sysctl"]["running"].update({"net.ipv4.ip_forward": "1"}),
        ("sysctl", "net.ipv4.ip_forward", "changed"),
    ),
    "a kernel setting after a boot": (
        lambda s: s["sysctl"]["persistent"].update({"net.ipv4.ip_forward": "1"}),
        ("sysctl", "net.ipv4.ip_forward as written down", "appeared"),
    ),
    "a keyword": (
        lambda s: s["sshd"]["effective"].update(allowusers=["app"]),
        ("sshd", "allowusers", "changed"),
    ),
    "a Match block": (
        lambda s: s["sshd"]["contexts"][0].update(permitrootlogin="yes"),
        ("sshd", "permitrootlogin for root from 192.0.2.1", "appeared"),
    ),
    "a mode, which has no kind of its own": (
        lambda s: s["files"]["/etc/shadow"].update(mode="0644"),
        ("files", "/etc/shadow.mode", "changed"),
    ),
}


@pytest.mark.parametrize(("change", "expected"), PLANTED.values(), ids=PLANTED)
def test_what_was_planted_is_named_alone(change: Any, expected: tuple[str, str, str]) -> None:
    assert [(one.kind, one.name, one.how) for one in changes(change)] == [expected]


def test_what_changed_says_from_what_to_what() -> None:
    (only,) = changes(lambda s: s["packages"].update(sudo="2.0"))
    assert (only.before, only.after) == ("1.9", "2.0")


PASSING: dict[str, Any] = {
    "a login": lambda s: s["accounts"]["users"][0].update(last_login=1_800_000_000),
    "updates that wait": lambda s: s["updates"].update(pending=["sudo"], security=["sudo"], lists_age_days=3),
    "the count of files": lambda s: s["tree"].update(files=12),
    "a port that the kernel chose": lambda s: s["listeners"][1].update(port=50001),
    "a session": lambda s: s["units"]["all"].update({"user@0.service": {"enabled": "", "active": "active"}}),
    "a connection": lambda s: s["units"]["all"].update(
        {"ssh@3-10.0.0.1:22-10.0.0.2:5000.service": {"enabled": "", "active": "active"}}
    ),
    "a unit that starts": lambda s: s["units"]["all"]["ssh.service"].update(active="reloading"),
    "the order of lists": lambda s: s["listeners"].reverse(),
}


@pytest.mark.parametrize("change", PASSING.values(), ids=PASSING)
def test_what_changes_by_itself_is_no_drift(change: Any) -> None:
    assert changes(change) == []


def test_a_unit_that_is_planted_under_no_passing_name_is_told_though_it_is_not_enabled() -> None:
    planted = {"door.service": {"enabled": "transient", "active": "active"}}
    assert [one.name for one in changes(lambda s: s["units"]["all"].update(planted))] == ["door.service"]


@pytest.mark.parametrize("name", ["run-x.service", "mainstay-sync.timer", "ssh@evil.service"])
def test_a_unit_that_starts_at_boot_is_told_though_its_name_is_a_passing_one(name: str) -> None:
    def plant(enabled: str) -> Any:
        return lambda s: s["units"]["all"].update({name: {"enabled": enabled, "active": "active"}})

    assert [one.name for one in changes(plant("enabled"))] == [name]
    assert changes(plant("transient")) == []


def test_a_section_that_cannot_be_read_any_more_is_drift_and_one_never_read_is_told() -> None:
    before = facts({"packages": {}}, unknown={"audit": "auditd is not here"})
    after = facts({}, unknown={"packages": "dpkg-query is not here", "audit": "auditd is not here"})
    found = compare(before, after)
    assert [(one.kind, one.how, one.after) for one in found.changes] == [
        ("packages", "unreadable", "dpkg-query is not here")
    ]
    assert found.not_compared == {"audit": "auditd is not here"}
    again = compare(after, before)
    assert again.changes == ()
    assert again.not_compared["packages"] == "not known before: dpkg-query is not here"


def test_a_walk_that_was_cut_short_says_nothing_of_what_it_did_not_see() -> None:
    whole = facts({"tree": {"suid": ["/a", "/b"], "whole": True}})
    cut = facts({"tree": {"suid": ["/a", "/c"], "whole": False}})
    assert [(one.name, one.how) for one in compare(whole, cut).changes] == [("/c", "appeared")]
    assert [(one.name, one.how) for one in compare(cut, whole).changes] == [("/c", "gone")]
    assert "cut short" in compare(whole, cut).not_compared["tree"]


def test_facts_of_an_unknown_form_are_compared_as_they_stand() -> None:
    odd = {**SECTIONS, "accounts": {"users": ["root"]}, "listeners": "none", "packages": ["sudo"]}
    found = changes(lambda s: s["accounts"].update(users=["root", "toor"]), odd)
    assert [(one.kind, one.name, one.how) for one in found] == [("accounts", "users: toor", "appeared")]


def test_those_that_let_somebody_in_come_first() -> None:
    def plant(later: dict[str, Any]) -> None:
        later["packages"]["nmap"] = "7"
        later["files"]["/etc/shadow"]["mode"] = "0644"
        later["accounts"]["users"].append({**USER, "name": "toor"})

    assert [one.kind for one in changes(plant)] == ["user", "package", "files"]
    assert KINDS[0] == "user"


def test_another_collector_and_simulated_facts_are_told() -> None:
    one = facts({}, collector="1" * 64)
    two = one.model_copy(update={"collector": "2" * 64, "source": "simulated"})
    found = compare(one, two)
    assert (found.same_collector, found.source) == (False, "simulated")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ANY = st.dictionaries(st.sampled_from(sorted(SECTIONS)), JSON, max_size=4)


@given(ANY, ANY)
def test_whatever_hosts_say_is_compared_and_is_never_drift_to_itself(
    one: dict[str, JsonValue], other: dict[str, JsonValue]
) -> None:
    assert compare(facts(one), facts(one)).changes == ()
    found: list[Facts] = [facts(one), facts(other)]
    there, back = compare(*found), compare(*reversed(found))
    read = [{(c.kind, c.name) for c in drift.changes if c.how == "changed"} for drift in (there, back)]
    assert read[0] == read[1]
