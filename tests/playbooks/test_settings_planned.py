"""What each kind of setting comes to on a host: what differs, what is so already, and what is refused."""

from typing import Any

import pytest
from ansible.module_utils.baseline import kinds

from tests.playbooks.folder import Folder

CONTENT: dict[str, Any] = {"kind": "file-content"}
KEY: dict[str, Any] = {"kind": "key-value", "value": "1"}


def plan(host: Folder, *settings: dict[str, Any], risk: str = "R1") -> kinds.Wanted:
    return kinds.plan(
        host, [{"control": one.get("control", "c"), "risk": risk, "setting": one} for one in settings]
    )


def only(host: Folder, setting: dict[str, Any], risk: str = "R1") -> tuple[bool, str]:
    item = plan(host, setting, risk=risk).items[0]
    return item.changed, item.problem


@pytest.mark.parametrize(
    ("now", "wanted", "becomes"),
    [
        (0o644, "0600", 0o600),
        (0o400, "0600", 0o400),
        (0o640, "0604", 0o600),
        (0o1777, "0755", 0o1755),
        (0o4755, "0750", 0o4750),
    ],
    ids=["stricter", "never laxer", "bit by bit", "a sticky bit stays", "a set-id bit is not its matter"],
)
def test_a_mode_is_only_ever_made_stricter(
    host: Folder, own: dict[str, str], now: int, wanted: str, becomes: int
) -> None:
    host.write("/etc/x", "", now)
    asked = plan(host, {"kind": "file-mode", "path": "/etc/x", "mode": wanted, **own})
    assert asked.drafts.files["/etc/x"].rights["mode"] == becomes
    assert asked.items[0].changed is (becomes != now)


def test_settings_of_one_file_add_up_and_a_second_file_keeps_its_rights(host: Folder) -> None:
    host.write("/etc/x", "A 0\n", 0o640)
    asked = plan(host, {**KEY, "path": "/etc/x", "name": "A"}, {**KEY, "path": "/etc/x", "name": "B"})
    draft = asked.drafts.files["/etc/x"]
    assert (draft.content, draft.rights["mode"]) == (b"A 1\nB 1\n", 0o640)


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ({**KEY, "path": "/etc/link", "name": "A"}, "is a link to"),
        ({**KEY, "path": "/etc/file/below", "name": "A"}, "lies below a file"),
        ({**KEY, "path": "/etc/file", "name": "A", "value": "1\nroot ALL"}, "control characters"),
        (
            {
                "kind": "file-mode",
                "path": "/etc/file",
                "mode": "0600",
                "owner": "no-such-one",
                "group": "root",
            },
            "no user",
        ),
        ({"kind": "sysctl", "name": "net.ipv9.x", "value": 1}, "no net.ipv9.x"),
        ({"kind": "unit", "unit": "ssh", "state": "masked"}, "the way in"),
        ({"kind": "unit", "unit": "sshd.service", "state": "disabled"}, "the way in"),
        ({"kind": "unit", "unit": "auditd.service", "state": "enabled"}, "no auditd.service"),
        ({"kind": "package", "name": "auditd", "state": "present"}, "apt-get install"),
        ({"kind": "registry", "name": "x"}, "kind is one of sshd, sysctl"),
        ({"kind": "key-value", "path": "/etc/file", "name": "A"}, "does not say value"),
        ({"kind": "sshd", "keyword": "PermitRootLogin", "value": "no"}, "no /etc/ssh/sshd_config"),
    ],
    ids=lambda value: None if isinstance(value, str) else value["kind"],
)
def test_what_cannot_be_applied_is_left_out_with_the_reason(
    host: Folder, setting: dict[str, Any], why: str
) -> None:
    host.write("/etc/file", "A 0\n")
    host.at("/etc/link").symlink_to("file")
    asked = plan(host, setting, {**CONTENT, "path": "/etc/other", "content": "x", "control": "d"})
    refused, other = asked.items
    assert why in refused.problem
    assert (refused.changed, other.changed) == (False, True)
    assert [draft.path for draft in asked.drafts.changed()] == ["/etc/other"]


def test_what_cannot_be_taken_back_is_done_by_no_program(host: Folder) -> None:
    assert only(host, {**CONTENT, "path": "/etc/x", "content": "x"}, risk="R4") == (
        False,
        "it cannot be taken back, so no program does it",
    )


def test_what_a_control_sets_for_a_package_waits_until_it_is_there(host: Folder) -> None:
    package = {"kind": "package", "name": "libpam-pwquality", "state": "present"}
    asked = plan(host, {**KEY, "path": "/etc/security/pwquality.conf", "name": "minlen"}, package)
    assert [item.what for item in asked.items] == [
        "/etc/security/pwquality.conf minlen",
        "package libpam-pwquality",
    ]
    assert all(item.problem for item in asked.items)
    assert not asked.changes


def test_settings_that_contradict_each_other_do_not_take_turns(host: Folder) -> None:
    one, other = ({"kind": "key-value", "path": "/etc/x", "name": "A", "value": value} for value in "12")
    asked = plan(host, one, other, one)
    assert [item.problem for item in asked.items] == [
        "",
        "another setting of this list wants it otherwise",
        "",
    ]
    assert asked.drafts.files["/etc/x"].content == b"A 1\n"


def test_a_value_of_the_kernel_that_another_file_takes_back_at_boot_says_so(host: Folder) -> None:
    host.write("/proc/sys/net/ipv4/conf/all/rp_filter", "0\n")
    host.write("/etc/sysctl.d/99-own.conf", "# own\n-net/ipv4/conf/all/rp_filter=2\n")
    host.write("/usr/lib/sysctl.d/50-default.conf", "net.ipv4.conf.all.rp_filter = 2\n")
    asked = plan(host, {"kind": "sysctl", "name": "net.ipv4.conf.all.rp_filter", "value": "1"})
    assert asked.items[0].changed
    assert asked.items[0].problem == "99-own.conf is read later and says 2: at the next boot that counts"


def test_a_value_that_only_runs_is_written_down_for_the_next_boot(host: Folder) -> None:
    host.write("/proc/sys/kernel/kptr_restrict", "1\n")
    asked = plan(host, {"kind": "sysctl", "name": "kernel.kptr_restrict", "value": 1})
    assert (asked.items[0].before, asked.items[0].changed) == ("1 until the next boot", True)
    assert asked.kernel == {}


def test_an_asterisk_stands_for_every_interface(host: Folder) -> None:
    for name in ("all", "eth0.100"):
        host.write(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "0\n")
    asked = plan(host, {"kind": "sysctl", "name": "net.ipv4.conf.*.rp_filter", "value": "1"})
    assert asked.kernel == {f"net.ipv4.conf.{name}.rp_filter": ("0", "1") for name in ("all", "eth0/100")}


@pytest.mark.parametrize(
    ("now", "wanted", "changed"),
    [
        (["enabled", "active"], "disabled", True),
        (["disabled", "inactive"], "disabled", False),
        (["disabled", "failed"], "disabled", False),
        (["static", "active"], "disabled", True),
        (["static", "inactive"], "masked", True),
        (["masked", "inactive"], "masked", False),
        (["enabled", "inactive"], "enabled", True),
        (["masked", "inactive"], "enabled", True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_unit_differs_when_it_is_or_will_be_otherwise(
    host: Folder, now: list[str], wanted: str, changed: bool
) -> None:
    host.units["x.service"] = now
    assert only(host, {"kind": "unit", "unit": "x", "state": wanted}) == (changed, "")


def test_a_unit_that_is_not_there_needs_no_mask(host: Folder) -> None:
    assert only(host, {"kind": "unit", "unit": "avahi-daemon.service", "state": "masked"}) == (False, "")
