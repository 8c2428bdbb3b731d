"""A change of settings on a folder that stands for a host: made, put back, confirmed, undone."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.baseline import change, kernel, kinds, revert
from ansible.module_utils.baseline.drafts import Refused

from tests.playbooks.folder import Folder

CHANGE = "20261122-1"
# Folders of systemd's that every Debian has, and a value whose line feed is the kernel's own.
MAY_DIFFER = {
    "etc/systemd/",
    "etc/systemd/system/",
    "etc/systemd/system/multi-user.target.wants/",
    "proc/sys/net/ipv4/tcp_syncookies",
}


def setting(risk: str = "R1", **words: Any) -> dict[str, Any]:
    return {"control": "c", "risk": risk, "setting": words}


def apply(host: Folder, *settings: dict[str, Any], switch_s: float = 0.0, name: str = CHANGE) -> bool:
    return change.make(host, kinds.plan(host, settings), change.Asked(name, switch_s, None))


def state(host: Folder, name: str = CHANGE) -> dict[str, Any]:
    return revert.state(host.at(change.CHANGES) / name)


@pytest.fixture
def many(host: Folder, own: dict[str, str]) -> list[dict[str, Any]]:
    """Settings of many kinds, all of which differ."""
    host.write("/etc/login.defs", "UMASK 022\n")
    host.write("/etc/crontab", "# jobs\n", 0o755)
    host.write("/etc/motd", "old\n", 0o600)
    host.write("/proc/sys/net/ipv4/tcp_syncookies", "0\n")
    host.units = {"cron.service": ["enabled", "active"], "slow.service": ["enabled", "active"]}
    for name in ("login.defs", "crontab", "motd"):
        os.utime(host.at(f"/etc/{name}"), ns=(10**18 + 7, 10**18 + 7))
    return [
        setting(kind="key-value", path="/etc/login.defs", name="UMASK", value="027", reload="slow.service"),
        setting(kind="key-value", path="/etc/new/deep.conf", name="A", value=1),
        setting(kind="file-mode", path="/etc/crontab", mode="0600", **own),
        setting(kind="file-content", path="/etc/motd", content="new\n", mode="0640"),
        setting(kind="sysctl", name="net.ipv4.tcp_syncookies", value="1"),
        setting(kind="unit", unit="cron.service", state="masked"),
    ]


def test_what_was_changed_is_put_back_byte_for_byte(host: Folder, many: list[dict[str, Any]]) -> None:
    before = host.everything()
    assert apply(host, *many) is False
    assert host.at("/etc/new/deep.conf").read_text() == "A 1\n"
    assert host.at("/etc/motd").stat().st_mode & 0o777 == 0o640
    assert host.at("/etc/crontab").stat().st_mode & 0o777 == 0o600
    assert host.at("/proc/sys/net/ipv4/tcp_syncookies").read_text() == "1"
    assert host.units["cron.service"] == ["masked", "inactive"]
    assert ("systemctl", "try-reload-or-restart", "slow.service") in host.asked
    assert state(host)["state"] == "kept"
    said = revert.undo(host.at(change.CHANGES) / CHANGE, host, [])
    assert (said["state"], said["left"], said["failed"]) == ("undone", {}, {})
    host.at("/proc/sys/net/ipv4/tcp_syncookies").write_text("0\n")  # the kernel's own line feed
    after, changed = host.everything(), {"proc/sys/net/ipv4/tcp_syncookies"}
    assert {name: seen for name, seen in after.items() if name not in changed} == {
        name: seen for name, seen in before.items() if name not in changed
    }
    assert host.units["cron.service"] == ["enabled", "active"]


def test_a_second_time_nothing_differs(host: Folder, many: list[dict[str, Any]]) -> None:
    apply(host, *many)
    wanted = kinds.plan(host, many)
    assert [item.what for item in wanted.items if item.changed or item.problem] == []
    assert wanted.drafts.changed() == []


def test_what_somebody_edited_since_is_left_unless_it_is_named(
    host: Folder, many: list[dict[str, Any]]
) -> None:
    apply(host, *many)
    host.at("/etc/login.defs").write_text("UMASK 027\n# mine\n")
    host.at("/etc/motd").unlink()
    host.at("/etc/crontab").chmod(0o640)
    host.at("/proc/sys/net/ipv4/tcp_syncookies").write_text("2")
    folder = host.at(change.CHANGES) / CHANGE
    said = revert.undo(folder, host, [])
    assert said["left"] == {
        "/etc/login.defs": "edited since",
        "/etc/motd": "removed since",
        "/etc/crontab": "its owner or mode was changed since",
        "sysctl net.ipv4.tcp_syncookies": "changed since, to 2",
    }
    again = revert.undo(folder, host, ["/etc/login.defs", "/etc/passwd"])
    assert again["restored"] == ["/etc/login.defs"]
    assert again["left"]["/etc/passwd"] == "this change did not touch it"
    assert host.at("/etc/login.defs").read_text() == "UMASK 022\n"


def test_the_switch_is_armed_before_anything_is_changed(
    host: Folder, many: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool, bool]] = []
    began = change._apply
    before = host.everything()

    def look(*words: Any) -> None:
        now = {name: what for name, what in host.everything().items() if "mainstay" not in name}
        same = all(now[name] == what for name, what in before.items())
        boot = host.at(
            f"/etc/systemd/system/multi-user.target.wants/mainstay-revert-{CHANGE}-at-boot.service"
        )
        seen.append((state(host)["state"], same, boot.exists()))
        began(*words)

    monkeypatch.setattr(change, "_apply", look)
    assert apply(host, *many, setting("R2", kind="file-content", path="/etc/x", content="x"), switch_s=60)
    assert seen == [("armed", True, True)]
    assert any(words[0] == "systemd-run" and "--on-active=60" in words for words in host.asked)


def test_an_armed_change_is_put_back_unless_it_is_confirmed_first(host: Folder) -> None:
    risky = setting("R2", kind="file-content", path="/etc/sub/x", content="x")
    folder = host.at(change.CHANGES) / CHANGE
    apply(host, risky, switch_s=60)
    late = revert.revert(folder, host)
    assert (late["state"], late["why"], late["restored"]) == ("reverted", revert.LATE, ["/etc/sub/x"])
    assert not host.at("/etc/sub").exists()
    assert revert.confirm(folder, host)["state"] == "reverted"
    apply(host, risky, switch_s=60)
    assert revert.confirm(folder, host)["state"] == "confirmed"
    assert revert.revert(folder, host)["state"] == "confirmed"
    assert host.at("/etc/sub/x").read_text() == "x"
    assert list(host.at("/etc/systemd/system").rglob("mainstay*")) == []
    assert state(host, f"{CHANGE}-1")["state"] == "reverted"


def test_after_a_boot_an_armed_change_says_so_and_waits_for_no_unit(host: Folder) -> None:
    host.units["slow.service"] = ["enabled", "active"]
    risky = setting("R2", kind="key-value", path="/etc/x", name="A", value="1", reload="slow.service")
    apply(host, risky, switch_s=60)
    host.boot = "second"
    assert revert.revert(host.at(change.CHANGES) / CHANGE, host)["why"] == revert.REBOOTED
    assert ("systemctl", "--no-block", "try-reload-or-restart", "slow.service") in host.asked


def test_a_change_that_fails_half_way_is_put_back_whole(host: Folder, many: list[dict[str, Any]]) -> None:
    before = host.everything()
    host.failing = {"mask"}
    with pytest.raises(change.Failed, match=r"mask cron.service: systemctl refuses; all was put back"):
        apply(host, *many)
    assert state(host)["state"] == "reverted"
    del before["proc/sys/net/ipv4/tcp_syncookies"]
    assert {name: host.everything()[name] for name in before} == before
    assert not host.at("/etc/new").exists()


@pytest.mark.parametrize("cut_at", range(7))
def test_wherever_a_loss_of_power_cuts_an_armed_change_the_host_is_as_before(
    host: Folder, many: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    before, steps = host.everything(), iter(range(99))

    class PowerLoss(BaseException):
        pass

    def cut(real: Callable[..., None]) -> Callable[..., None]:
        def step(*words: Any, **more: Any) -> None:
            if next(steps) == cut_at:
                raise PowerLoss
            real(*words, **more)

        return step

    with monkeypatch.context() as patch:
        for module, name in (
            (change, "replace"),
            (revert, "set_unit"),
            (change, "_validate"),
            (change, "_reload"),
        ):
            patch.setattr(module, name, cut(getattr(module, name)))
        with pytest.raises(PowerLoss):
            apply(host, *many, setting("R2", kind="file-content", path="/etc/x", content="x"), switch_s=60)
    host.write("/etc/.motd.baseline", "half a fi")
    host.boot = "second"
    said = revert.revert(host.at(change.CHANGES) / CHANGE, host)
    assert (said["state"], said["failed"]) == ("reverted", {})
    assert host.at("/proc/sys/net/ipv4/tcp_syncookies").read_text().strip() == "0"
    after = host.everything()
    assert {name: seen for name, seen in after.items() if name not in MAY_DIFFER} == {
        name: seen for name, seen in before.items() if name not in MAY_DIFFER
    }


def test_what_cannot_be_put_back_is_told_and_all_else_is(host: Folder) -> None:
    for name in ("a", "b", "c"):
        host.write(f"/etc/{name}", "old")
    files = [setting(kind="file-content", path=f"/etc/{name}", content="new") for name in ("a", "b", "c")]
    apply(host, *files)
    folder = host.at(change.CHANGES) / CHANGE
    (folder / "files/0").write_bytes(b"\0\0\0")
    (folder / "files/1").unlink()
    said = revert.undo(folder, host, [])
    assert (said["restored"], list(said["failed"])) == (["/etc/c"], ["/etc/a", "/etc/b"])
    assert host.at("/etc/a").read_text() == "new"
    assert state(host)["failed"] == said["failed"]


def test_a_change_cut_short_keeps_what_was_before_the_first_time(
    host: Folder, many: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host.everything()["etc/login.defs"]

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(change, "_validate", cut)
        with pytest.raises(KeyboardInterrupt):
            apply(host, *many)
    assert state(host)["state"] == "none"
    apply(host, *many, setting(kind="key-value", path="/etc/login.defs", name="HOME_MODE", value="0700"))
    assert {one["what"] for one in state(host)["settings"] if one["changed"]} >= {"/etc/login.defs UMASK"}
    revert.undo(host.at(change.CHANGES) / CHANGE, host, [])
    assert host.everything()["etc/login.defs"] == before


@pytest.mark.parametrize(
    ("settings", "switch_s", "why"),
    [
        ([setting("R2", kind="file-content", path="/etc/x", content="x")], 0, "switch_s is 0"),
        (
            [setting("R1", kind="file-content", path="/etc/ssh/sshd_config", content="x")],
            0,
            "no login is given",
        ),
    ],
    ids=["no switch", "nobody to be let in"],
)
def test_what_may_lock_people_out_is_refused_without_a_net(
    host: Folder, settings: list[dict[str, Any]], switch_s: float, why: str
) -> None:
    host.write("/etc/ssh/sshd_config", "Port 22\n")
    before = host.everything()
    with pytest.raises(Refused, match=why):
        apply(host, *settings, switch_s=switch_s)
    assert host.everything() == before


def test_nothing_is_changed_while_another_change_is_armed_or_the_switch_cannot_be(host: Folder) -> None:
    risky = setting("R2", kind="file-content", path="/etc/x", content="x")
    host.failing = {"systemd-run"}
    with pytest.raises(Refused, match="switch cannot be armed: systemd-run"):
        apply(host, risky, switch_s=60)
    assert [path.name for path in host.root.rglob("*") if path.is_file()] == [".lock"]
    host.failing = set()
    apply(host, risky, switch_s=60)
    with pytest.raises(Refused, match=f"change {CHANGE} is armed until"):
        apply(host, setting(kind="file-content", path="/etc/y", content="y"), name="20261122-2")
    assert not host.at("/etc/y").exists()


NEW = {"kind": "file-content", "content": "new"}


@pytest.mark.parametrize("there", [True, False])
def test_what_was_edited_before_a_change_was_alone_is_refused(host: Folder, there: bool) -> None:
    if there:
        host.write("/etc/x", "old")
    wanted = kinds.plan(host, [setting(**NEW, path="/etc/w"), setting(**NEW, path="/etc/x")])
    host.write("/etc/x", "mine")
    with pytest.raises(Refused, match="/etc/x was edited meanwhile"):
        change.make(host, wanted, change.Asked(CHANGE, 0, None))
    assert (host.at("/etc/x").read_text(), host.at("/etc/w").exists()) == ("mine", False)


@pytest.mark.parametrize("how", ["content", "mode"])
def test_what_was_edited_before_a_change_came_to_it_is_left_and_all_else_put_back(
    host: Folder, own: dict[str, str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for name in ("a", "b"):
        host.write(f"/etc/{name}", "old", 0o644)
    real = change.replace

    def meanwhile(*words: Any) -> None:
        real(*words)
        if how == "content":
            host.at("/etc/b").write_text("mine")
        else:
            host.at("/etc/b").chmod(0o640)

    monkeypatch.setattr(change, "replace", meanwhile)
    last = NEW if how == "content" else {"kind": "file-mode", "mode": "0600", **own}
    with pytest.raises(change.Failed, match="/etc/b was edited meanwhile; all was put back"):
        apply(host, setting(**NEW, path="/etc/a"), setting(**last, path="/etc/b"))
    assert host.at("/etc/a").read_text() == "old"
    assert host.at("/etc/b").read_text() == ("mine" if how == "content" else "old")
    assert host.at("/etc/b").stat().st_mode & 0o777 == (0o644 if how == "content" else 0o640)
    assert list(state(host)["left"]) == ["/etc/b"]


def test_what_an_ended_change_kept_outlives_a_failure_to_use_its_name_again(
    host: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.write("/etc/x", "old")
    apply(host, setting(kind="file-content", path="/etc/x", content="new"))
    folder = host.at(change.CHANGES) / CHANGE

    def refuse(*_: Any) -> None:
        raise OSError("no space")

    for of, name in ((type(folder), "rename"), (change, "keep")):
        with monkeypatch.context() as patch:
            patch.setattr(of, name, refuse)
            with pytest.raises(Refused, match="no space"):
                apply(host, setting(kind="file-content", path="/etc/x", content="newer"))
    assert not folder.exists(), "set aside, and nothing was kept in its stead"
    assert (folder.with_name(f"{CHANGE}-1") / "files/0").read_text() == "old"


def test_no_two_files_of_a_change_that_is_made_in_two_goes_are_kept_in_one(
    host: Folder, own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        host.write(f"/etc/{name}", f"old {name}", 0o644)

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(change, "_validate", cut)
        with pytest.raises(KeyboardInterrupt):
            apply(host, setting(kind="file-mode", path="/etc/a", mode="0600", **own))
    apply(
        host,
        *(setting(kind="file-content", path=f"/etc/{name}", content="new", mode="0600") for name in "ab"),
    )
    said = revert.undo(host.at(change.CHANGES) / CHANGE, host, [])
    assert (said["failed"], said["left"]) == ({}, {})
    assert [host.at(f"/etc/{name}").read_text() for name in "ab"] == ["old a", "old b"]


def test_changes_older_than_two_years_are_forgotten_but_never_an_armed_one(host: Folder) -> None:
    changes = host.at(change.CHANGES)
    for name, became in (("old", "kept"), ("new", "kept"), ("armed", "armed")):
        (changes / name).mkdir(parents=True)
        (changes / name / "bundle.json").write_text("{}")
        (changes / name / "marker.json").write_text(json.dumps({"state": became}))
    ago = time.time() - 731 * 86_400
    for name in ("old", "armed"):
        os.utime(changes / name / "bundle.json", (ago, ago))
    change._prune(changes)
    assert sorted(path.name for path in changes.iterdir()) == ["armed", "new"]


@pytest.mark.parametrize(("redirects", "asks"), [("0", False), ("0", True), ("1", True)])
def test_what_the_kernel_sets_with_forwarding_is_as_before_or_as_wanted(
    host: Folder, monkeypatch: pytest.MonkeyPatch, redirects: str, asks: bool
) -> None:
    forward, interface, redirect = (
        f"/proc/sys/net/ipv4/{name}"
        for name in ("ip_forward", "conf/eth0/forwarding", "conf/all/accept_redirects")
    )
    for path, value in ((forward, "1"), (interface, "1"), (redirect, redirects)):
        host.write(path, value)
    real = kernel.write_value

    def write(of: Any, name: str, value: str) -> None:
        real(of, name, value)
        if name == "net.ipv4.ip_forward":  # as inet_forward_change() of the kernel does
            host.at(interface).write_text(value)
            host.at(redirect).write_text(str(1 - int(value)))

    monkeypatch.setattr(kernel, "write_value", write)
    asked = [setting(kind="sysctl", name="net.ipv4.conf.all.accept_redirects", value=0)] if asks else []
    apply(host, *asked, setting(kind="sysctl", name="net.ipv4.ip_forward", value=0))
    assert [host.at(path).read_text() for path in (forward, interface, redirect)] == ["0", "0", "0"]


def test_forwarding_takes_back_what_the_kernel_set_with_it(host: Folder) -> None:
    names = ("ip_forward", "conf/all/forwarding", "conf/eth0/forwarding", "conf/all/accept_redirects")
    paths = [f"/proc/sys/net/ipv4/{name}" for name in names]
    for path, value in zip(paths, "1100", strict=True):
        host.write(path, value)
    apply(host, setting(kind="sysctl", name="net.ipv4.ip_forward", value=0))
    for path, value in zip(paths, "0001", strict=True):  # as the kernel does
        host.at(path).write_text(value)
    revert.undo(host.at(change.CHANGES) / CHANGE, host, [])
    assert "".join(host.at(path).read_text() for path in paths) == "1100"
