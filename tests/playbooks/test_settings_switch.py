"""The dead-man switch where something is in its way: it stays armed, and tries again."""

import errno
import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.baseline import change, kinds, revert
from ansible.module_utils.baseline.drafts import Refused

from tests.playbooks.folder import Folder

CHANGE = "20261122-1"


def risky(path: str = "/etc/x", **words: Any) -> dict[str, Any]:
    setting = {"kind": "file-content", "path": path, "content": "new", **words}
    return {"control": "c", "risk": "R2", "setting": setting}


def apply(host: Folder, *settings: dict[str, Any]) -> Path:
    change.make(host, kinds.plan(host, settings), change.Asked(CHANGE, 60, None))
    return host.at(change.CHANGES) / CHANGE


def asked(folder: Path, host: Folder, what: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = revert.main([what], folder, host)
    return code, json.loads(capsys.readouterr().out)


def is_armed(host: Folder) -> bool:
    stopped = ("systemctl", "--no-block", "stop", revert.timer_unit(CHANGE)) in host.asked
    return all(path.is_symlink() or path.exists() for path in revert.boot_paths(host, CHANGE)) and not stopped


@pytest.fixture
def lock(host: Folder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock that nobody waits for."""
    monkeypatch.setattr(revert, "LOCK_S", -1.0)
    return host.at(change.CHANGES) / CHANGE / "lock"


def test_what_cannot_be_put_back_leaves_the_switch_armed_until_it_can(
    host: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    host.write("/etc/a", "old")
    host.write("/etc/b", "old")
    folder = apply(host, risky("/etc/a"), risky("/etc/b"))
    (folder / "files/1").rename(folder / "hidden")
    code, said = asked(folder, host, "revert", capsys)
    assert (code, said["state"], said["restored"]) == (1, "armed", ["/etc/a"])
    assert (list(said["failed"]), said["why"]) == (["/etc/b"], revert.LATE)
    assert is_armed(host)
    code, said = asked(folder, host, "confirm", capsys)
    assert (code, said["state"]) == (1, "armed"), "a change that is half put back was kept"
    assert asked(folder, host, "revert", capsys)[0] == 1
    with pytest.raises(Refused, match="reverts itself then; not so far /etc/b: FileNotFoundError"):
        apply(host, risky("/etc/c"))
    (folder / "hidden").rename(folder / "files/1")
    code, said = asked(folder, host, "revert", capsys)
    assert (code, said["state"], said["failed"], said["why"]) == (0, "reverted", {}, revert.LATE)
    assert said["restored"] == ["/etc/a", "/etc/b"]
    assert host.at("/etc/b").read_text() == "old"
    assert not is_armed(host)


def test_a_reload_that_failed_is_tried_again_although_all_files_are_back(
    host: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    host.units["slow.service"] = ["enabled", "active"]
    folder = apply(host, risky(kind="key-value", name="A", value="1", reload="slow.service"))
    host.failing = {"reload-or-restart"}
    assert asked(folder, host, "revert", capsys)[0] == 1
    host.failing, host.asked = set(), []
    assert asked(folder, host, "revert", capsys)[1]["state"] == "reverted"
    assert ("systemctl", "reload-or-restart", "slow.service") in host.asked


def test_nothing_is_reloaded_each_time_that_a_file_cannot_be_put_back(host: Folder) -> None:
    host.units["slow.service"] = ["enabled", "active"]
    host.write("/etc/a", "old")
    reloaded = risky("/etc/x", kind="key-value", name="A", value="1", reload="slow.service")
    folder = apply(host, reloaded, risky("/etc/a"))
    (folder / "files/0").unlink()
    for _ in range(3):
        assert revert.revert(folder, host)["state"] == "armed"
    assert host.asked.count(("systemctl", "reload-or-restart", "slow.service")) == 1


def test_the_timers_service_tries_again_for_as_long_as_it_fails(host: Folder) -> None:
    apply(host, risky())
    (words,) = (words for words in host.asked if words[0] == "systemd-run")
    again = {"Restart=on-failure", "RestartSec=15s", "StartLimitIntervalSec=0"}
    assert {f"--property={one}" for one in again} < set(words)


def test_a_marker_that_cannot_be_written_is_a_failure_that_is_tried_again(
    host: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = apply(host, risky())

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(revert, "write_json", full)
        code, said = asked(folder, host, "revert", capsys)
        assert (code, said["state"], list(said["failed"])) == (1, "armed", ["marker.json"])
    assert not host.at("/etc/x").exists()
    assert is_armed(host)
    assert asked(folder, host, "revert", capsys)[1]["state"] == "reverted"


def test_a_put_back_at_once_that_fails_says_so_and_leaves_the_switch_armed(
    host: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.write("/etc/a", "old")

    def spoil(*_: Any) -> None:
        (host.at(change.CHANGES) / CHANGE / "files/0").unlink()
        raise OSError("it is not valid")

    monkeypatch.setattr(change, "_validate", spoil)
    with pytest.raises(change.Failed, match=r"it is not valid; not all could be put back: /etc/a"):
        apply(host, risky("/etc/a"))
    folder = host.at(change.CHANGES) / CHANGE
    assert revert.state(folder)["state"] == "armed"
    assert is_armed(host)
    assert revert.revert(folder, host)["why"] == "it is not valid", "the reason of the first time is lost"


@pytest.mark.parametrize("what", ["confirm", "undo"])
def test_only_a_revert_goes_on_while_somebody_else_holds_the_change(
    what: str, host: Folder, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = apply(host, risky())
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, said = asked(folder, host, what, capsys)
        assert (code, said["state"], list(said["failed"])) == (1, "armed", [what])
        assert "somebody else holds" in said["failed"][what]
        assert host.at("/etc/x").exists()
        assert is_armed(host)
        assert asked(folder, host, "revert", capsys)[1]["state"] == "reverted"


@pytest.mark.parametrize("there", [True, False], ids=["that cannot be written", "that is gone"])
def test_a_revert_needs_no_lock_file(
    there: bool, host: Folder, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = apply(host, risky())
    assert lock.is_file()
    real = Path.open

    def read_only(path: Path, mode: str = "r", *words: Any, **more: Any) -> Any:
        if path == lock and set(mode) & set("wax+"):
            raise OSError(errno.EROFS, "read-only file system")
        return real(path, mode, *words, **more)

    monkeypatch.setattr(Path, "open", read_only)
    if not there:
        lock.unlink()
    assert revert.revert(folder, host)["state"] == "reverted"
    assert not host.at("/etc/x").exists()


# --- a boot before anybody confirmed ----------------------------------------------------------------


def test_the_unit_at_boot_holds_nothing_up_closes_no_cycle_and_tries_again(host: Folder) -> None:
    apply(host, risky())
    unit, _ = revert.boot_paths(host, CHANGE)
    lines = unit.read_text().splitlines()
    assert [line for line in lines if line.startswith(("Before=", "Type="))] == ["Type=simple"]
    assert {"Restart=on-failure", "RestartSec=15s", "StartLimitIntervalSec=0"} < set(lines)


def test_after_a_boot_nobody_confirms_what_is_about_to_be_put_back(host: Folder) -> None:
    folder, host.boot = apply(host, risky()), "second"
    said = revert.confirm(folder, host)
    assert (said["state"], said["why"]) == ("armed", revert.REBOOTED)
    assert revert.revert(folder, host)["why"] == revert.REBOOTED


def test_at_boot_a_unit_that_failed_already_is_started(host: Folder) -> None:
    host.units["slow.service"] = ["enabled", "active"]
    folder = apply(host, risky(kind="key-value", name="A", value="1", reload="slow.service"))
    host.boot, host.units["slow.service"] = "second", ["enabled", "failed"]
    assert revert.revert(folder, host)["state"] == "reverted"
    assert ("systemctl", "--no-block", "restart", "slow.service") in host.asked


def test_a_unit_that_the_boot_may_be_about_to_start_is_stopped(host: Folder) -> None:
    host.units["nftables.service"] = ["disabled", "inactive"]
    setting = {"kind": "unit", "unit": "nftables.service", "state": "enabled"}
    folder = apply(host, {"control": "c", "risk": "R2", "setting": setting})
    host.boot, host.units["nftables.service"] = "second", ["enabled", "inactive"]
    assert revert.revert(folder, host)["state"] == "reverted"
    assert ("systemctl", "--no-block", "stop", "nftables.service") in host.asked


# --- an sshd that is to read its files again --------------------------------------------------------

RELOADING = risky(kind="key-value", name="A", value="1", reload="ssh.service")


def test_an_sshd_that_has_its_socket_from_systemd_is_started_anew(host: Folder) -> None:
    host.units |= {"ssh.service": ["disabled", "active"], "ssh.socket": ["enabled", "active"]}
    apply(host, RELOADING)
    assert ("systemctl", "try-restart", "ssh.service") in host.asked


def test_a_change_of_which_sshd_takes_no_note_is_put_back(
    host: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.units["ssh.service"] = ["enabled", "active"]
    monkeypatch.setattr(change, "_note", lambda host, unit: "its note of before")
    monkeypatch.setattr(change, "REREAD_S", 0.0)
    with pytest.raises(change.Failed, match=r"ssh.service has not read its files again .* all was put back"):
        apply(host, RELOADING)
    assert not host.at("/etc/x").exists()


def test_a_journald_that_is_started_anew_is_told_to_write_to_the_disk(host: Folder) -> None:
    units = ("systemd-journald.service", "systemd-journal-flush.service")
    host.units |= {unit: ["static", "active"] for unit in units}
    apply(host, risky(kind="key-value", name="Storage", value="persistent", reload=units[0]))
    told = [words[2] for words in host.asked if words[1] == "try-reload-or-restart"]
    assert tuple(told) == units


# --- how an sshd is told that its old settings are back ----------------------------------------------


@pytest.mark.parametrize(
    ("boot", "active", "socket", "told"),
    [
        ("first", "active", "inactive", ("reload-or-restart",)),
        ("first", "active", "active", ("try-restart",)),
        ("first", "failed", "active", ("restart",)),
        ("second", "active", "inactive", ("--no-block", "try-restart")),
        ("second", "activating", "inactive", ("--no-block", "try-restart")),
        ("second", "failed", "inactive", ("--no-block", "restart")),
    ],
)
def test_an_sshd_is_told_so_that_it_neither_ends_nor_misses_it(
    boot: str, active: str, socket: str, told: tuple[str, ...], host: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.units["ssh.service"] = ["enabled", "active"]
    folder = apply(host, RELOADING)
    host.units |= {"ssh.service": ["enabled", active], "ssh.socket": ["enabled", socket]}
    monkeypatch.setattr(revert, "START_S", 0.0)
    host.boot, host.asked = boot, []
    assert revert.revert(folder, host)["state"] == "reverted"
    verbs = [words[1:-1] for words in host.asked if words[-1] == "ssh.service"]
    assert [words for words in verbs if "restart" in words[-1]] == [told]


def test_at_boot_a_unit_that_is_starting_is_waited_for(host: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    host.units["slow.service"] = ["enabled", "active"]
    folder = apply(host, risky(kind="key-value", name="A", value="1", reload="slow.service"))
    host.boot, host.units["slow.service"] = "second", ["enabled", "activating"]

    def wait(seconds: float) -> None:
        assert not [
            words for words in host.asked if "try-reload-or-restart" in words and "--no-block" in words
        ]
        host.units["slow.service"][1] = "active"

    monkeypatch.setattr(revert.time, "sleep", wait)
    assert revert.revert(folder, host)["state"] == "reverted"
    assert host.units["slow.service"][1] == "active", "it was told while it started"
    assert ("systemctl", "--no-block", "try-reload-or-restart", "slow.service") in host.asked


def test_what_is_put_back_is_read_again_in_the_order_in_which_it_was_told(host: Folder) -> None:
    units = ("systemd-journald.service", "systemd-journal-flush.service")
    host.units |= {unit: ["static", "active"] for unit in units}
    folder = apply(host, risky(kind="key-value", name="Storage", value="persistent", reload=units[0]))
    host.asked = []
    revert.revert(folder, host)
    assert tuple(words[2] for words in host.asked if words[1] == "reload-or-restart") == units
