"""Hosts that are changed for real, and locked: each lets people in again by itself, and the run says so.

Four hosts of a small lab, each with a controller of its own, so that what has to be waited for is waited for
at once. Not shown here: packages, for which a lab has no repository, and values of a kernel, which all share.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from automation.adapters import ansible, nspawn
from automation.model.actions import EnforceSettings
from automation.model.baseline_evidence import SettingsUndone
from automation.model.errors import AdapterError
from automation.model.records import Progress
from tests.lab.changing import CHANGES, Changing, Ending, Look, open_changing, wanted
from tests.lab.small import Small

ROOT = Path(__file__).resolve().parents[2]
LAB_ID, NET = "elab", "10.91"
SWITCH_S = 20.0
SHORT_SWITCH_S = 5.0  # where a revert is awaited that fails first
LONG_SWITCH_S = 90.0  # never waited for
LATE_S = 20.0  # between the switch's end and a host that is back, on a machine that does other things too
CHANGED = "changed; it takes that back"  # said between the change and the login that confirms it

KEPT = (
    wanted("R0", kind="key-value", path="/etc/login.defs", name="PASS_MAX_DAYS", value=365),
    wanted("R0", kind="file-mode", path="/etc/ssh/sshd_config", mode="0600"),
    wanted("R0", kind="file-content", path="/etc/issue.net", content="Nobody but the city's own people.\n"),
    wanted("R1", kind="unit", unit="ctrl-alt-del.target", state="masked"),
    wanted("R1", kind="sshd", keyword="Banner", value="/etc/issue.net"),
    wanted("R2", kind="sshd", keyword="PermitRootLogin", value="no"),
    wanted("R2", kind="file-content", path="/etc/sudoers.d/pty", content="Defaults use_pty\n", mode="0440"),
)
SEEN_BY_NOBODY = {
    "a login that a name decides": (
        wanted(
            "R2",
            kind="file-content",
            path="/etc/ssh/sshd_config.d/50-tried.conf",
            content="UseDNS yes\nMatch Host controller.city\n  AllowUsers nobody-at-all\n",
        ),
    ),
    "keys that are looked for elsewhere": (
        wanted("R2", kind="sshd", keyword="AuthorizedKeysFile", value="/etc/ssh/nowhere/%u"),
    ),
    "PAM that lets nobody in": (
        wanted("R2", kind="file-content", path="/etc/pam.d/sshd", content="account required pam_deny.so\n"),
    ),
    "a rule that takes sudo away": (
        wanted(
            "R2", kind="file-content", path="/etc/sudoers.d/zz", content="ops ALL=(ALL) !ALL\n", mode="0440"
        ),
    ),
    "a firewall that drops SSH": (
        wanted(
            "R2",
            kind="file-content",
            path="/etc/nftables.conf",
            mode="0755",
            content="#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n"
            "  chain input { type filter hook input priority 0; policy drop; iif lo accept; }\n}\n",
        ),
        wanted("R2", kind="unit", unit="nftables.service", state="enabled"),
    ),
}
REFUSED = {
    "sshd keeps the automation user out": (
        "nobody-at-all",
        wanted("R2", kind="sshd", keyword="AllowUsers", value="nobody-at-all"),
    ),
    "the same in a file of its own": (
        "nobody-at-all",
        wanted(
            "R2",
            kind="file-content",
            path="/etc/ssh/sshd_config.d/10-tried.conf",
            content="AllowUsers nobody-at-all\n",
        ),
    ),
    "sudo's rules do not parse": (
        "sudo",
        wanted("R2", kind="file-content", path="/etc/sudoers.d/zz", content="this is no rule\n", mode="0440"),
    ),
}


class Kept(NamedTuple):
    """A host whose settings were applied twice and then undone, one file of it edited meanwhile."""

    first: Ending
    kept_from: tuple[tuple[str, str], tuple[str, str]]
    looked_at: Progress
    second: Ending
    edited: SettingsUndone
    after_edited: Look
    undone: SettingsUndone
    after: Look


class Hindered(NamedTuple):
    """A host that could not put all of a change back at first, and what was told of it meanwhile."""

    marker: Mapping[str, Any]
    meanwhile: Progress
    ending: Ending


class Killed(NamedTuple):
    """A host whose controller was killed between the change and its confirmation."""

    before: Look
    meanwhile: Progress
    joined: AdapterError
    afterwards: Progress
    after: Look
    again: Ending


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changing]:
    city = Small(LAB_ID, NET, tmp_path_factory.mktemp("enforced"))
    changing = Changing(city)
    try:
        city.up()
        yield changing
    finally:
        changing.connections.close()
        nspawn.remove_lab(city.state, city.lab.id)


@pytest.fixture(scope="module")
def done(lab: Changing) -> Iterator[Mapping[str, Future[object]]]:
    """Everything at once: on each host one after the other."""
    acts: Mapping[str, Mapping[str, Callable[[], object]]] = {
        "pg-a": {
            "kept": lambda: keep_and_undo(lab, "pg-a"),
            **locking_out(lab, "pg-a"),
            "hindered": lambda: hinder(lab, "pg-a"),
        },
        "app-a": {**refusing(lab, "app-a"), **locking_out(lab, "app-a"), **rebooting(lab, "app-a")},
        "pg-b": locking_out(lab, "pg-b"),
        "client-1": {"killed": lambda: kill(lab, "client-1"), **locking_out(lab, "client-1")},
    }
    pools = {host: ThreadPoolExecutor(1) for host in acts}
    yield {name: pools[host].submit(act) for host, named in acts.items() for name, act in named.items()}
    for pool in pools.values():
        pool.shutdown(cancel_futures=True)


def ending(done: Mapping[str, Future[object]], name: str) -> Ending:
    found = done[name].result()
    assert isinstance(found, Ending)
    return found


# --- what is kept -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(done: Mapping[str, Future[object]]) -> Kept:
    found = done["kept"].result()
    assert isinstance(found, Kept)
    return found


def keep_and_undo(lab: Changing, host: str) -> Kept:
    before = seen_from(lab, host)
    first = lab.enforce(host, "20260301-0000-kept", KEPT, LONG_SWITCH_S)
    kept_from = (before, seen_from(lab, host))
    action = EnforceSettings(host=host, settings=KEPT, switch_s=LONG_SWITCH_S)
    looked_at = ansible.verify_enforce_settings(action, lab.context("20260301-0000-kept"))
    second = lab.enforce(host, "20260301-0001-kept", KEPT, LONG_SWITCH_S)
    lab.sh(host, "echo 'Something newer.' >/etc/issue.net")
    edited = lab.undo(host, "20260301-0002-kept", "20260301-0000-kept").evidence
    after_edited = lab.look(host)
    undone = lab.undo(host, "20260301-0003-kept", "20260301-0000-kept", ["/etc/issue.net"]).evidence
    assert isinstance(edited, SettingsUndone)
    assert isinstance(undone, SettingsUndone)
    return Kept(first, kept_from, looked_at, second, edited, after_edited, undone, lab.look(host))


def seen_from(lab: Changing, host: str) -> tuple[str, str]:
    """Give the address and the port that our kept connection comes from; a boot may have broken it."""
    remote, argv = lab.connections.remote(host), ["sh", "-c", "echo $SSH_CONNECTION"]
    try:
        done = remote.run(argv)
    except AdapterError:
        done = remote.run(argv)
    address, port, *_ = done.stdout.split()
    return address, port


def test_what_lets_people_in_is_applied_and_confirmed_by_a_fresh_login(kept: Kept) -> None:
    assert kept.first.failure is None
    assert kept.first.evidence.switch == "confirmed"
    assert [one.changed for one in kept.first.evidence.settings] == [True] * len(KEPT)
    assert kept.first.marker["state"] == "confirmed"
    assert not any("mainstay-revert" in line for line in kept.first.after)


def test_whoever_asks_later_is_told_the_same(kept: Kept) -> None:
    assert kept.looked_at.state == "done"
    assert kept.looked_at.outcome is not None
    assert kept.looked_at.outcome.evidence == kept.first.evidence


def test_a_kept_connection_outlives_the_reload_of_sshd(kept: Kept) -> None:
    assert kept.kept_from[0] == kept.kept_from[1]


def test_a_second_run_changes_nothing(kept: Kept) -> None:
    assert kept.second.failure is None
    assert kept.second.outcome is not None
    assert not kept.second.outcome.changed
    assert kept.second.evidence.switch == "none"
    assert [one.changed for one in kept.second.evidence.settings] == [False] * len(KEPT)
    assert kept.second.before ^ kept.second.after == set()


def test_an_undo_leaves_what_somebody_edited_since_unless_it_is_named(kept: Kept) -> None:
    assert list(kept.edited.left) == ["/etc/issue.net"]
    assert "/etc/issue.net" not in kept.edited.restored
    differs = kept.after_edited ^ kept.first.before
    assert {line.split()[-1] for line in differs} == {"/etc/issue.net"}


def test_an_undo_puts_everything_back_byte_for_byte_and_what_runs(kept: Kept) -> None:
    assert kept.after ^ kept.first.before == set()
    assert kept.undone.restored == ("/etc/issue.net",)
    assert kept.undone.left == {}


# --- what is refused --------------------------------------------------------------------------------


def refusing(lab: Changing, host: str) -> dict[str, Callable[[], object]]:
    def act(number: int, name: str) -> Callable[[], object]:
        run_id = f"20260301-0{number}00-refused"
        return lambda: lab.enforce(host, run_id, [KEPT[0], REFUSED[name][1]], LONG_SWITCH_S)

    return {name: act(number, name) for number, name in enumerate(REFUSED)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_check_sees_is_refused_and_nothing_of_it_stays(
    name: str, done: Mapping[str, Future[object]]
) -> None:
    found = ending(done, name)
    assert isinstance(found.failure, AdapterError), found.outcome
    assert REFUSED[name][0] in str(found.failure)
    assert found.before ^ found.after == set()
    assert found.marker.get("state") in (None, "reverted")


# --- what locks people out --------------------------------------------------------------------------


def locking_out(lab: Changing, host: str) -> dict[str, Callable[[], object]]:
    """Give what no check sees and is tried on one host."""

    def act(number: int, name: str) -> Callable[[], object]:
        run_id = f"20260301-{number:04}-locked"
        return lambda: lock_out(lab, host, run_id, name)

    places = ("pg-a", "app-a", "pg-b", "client-1", "pg-b")
    return {name: act(at, name) for at, name in enumerate(SEEN_BY_NOBODY) if places[at] == host}


def lock_out(lab: Changing, host: str, run_id: str, name: str) -> Ending:
    address, _ = seen_from(lab, host)
    lab.sh(host, f"grep -q controller.city /etc/hosts || echo {address} controller.city >>/etc/hosts")
    return lab.enforce(host, run_id, [KEPT[0], *SEEN_BY_NOBODY[name]], SWITCH_S)


@pytest.mark.parametrize("name", SEEN_BY_NOBODY)
def test_a_host_that_lets_nobody_in_takes_that_back_in_its_switchs_time(
    name: str, done: Mapping[str, Future[object]]
) -> None:
    found = ending(done, name)
    assert isinstance(found.failure, AdapterError), found.outcome
    assert "back by itself" in str(found.failure)
    assert "it is as it was before" in str(found.failure)
    assert found.evidence.switch == "reverted"
    assert "no fresh login confirmed it in time" in found.evidence.why
    assert found.before ^ found.after == set()
    assert seconds_late(found) < LATE_S


def seconds_late(found: Ending) -> float:
    """Give how long after the switch's time the host had put everything back, by its own clock."""
    assert found.marker["state"] == "reverted"
    until, at = (datetime.fromisoformat(found.marker[name]) for name in ("until", "at"))
    return (at - until).total_seconds()


# --- power and controllers that go ------------------------------------------------------------------

SSHD_STARTS = {
    "by itself": "true",
    "when its socket is asked": """
        systemctl disable --now ssh.service; systemctl enable --now ssh.socket
        mkdir -p /etc/systemd/system/multi-user.target.wants  # our unit at boot leaves that folder behind
        """,
    # What waits for basic.target and comes before this sshd closes a cycle, and systemd drops one of them.
    "before most": """
        systemctl disable ssh.socket; systemctl enable ssh.service; mkdir /etc/systemd/system/ssh.service.d
        printf '[Unit]\\nDefaultDependencies=no\\nBefore=basic.target\\n' \\
          >/etc/systemd/system/ssh.service.d/early.conf
        """,
    # It has read the files of the change, and to systemd it starts still: a reload would be lost on it.
    "for long": """
        systemctl disable ssh.socket; systemctl enable ssh.service; mkdir -p /etc/systemd/system/ssh.service.d
        printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nExecStartPost=sleep 8\\n' \\
          >/etc/systemd/system/ssh.service.d/early.conf
        """,
}
LOCKING = {"for long": SEEN_BY_NOBODY["keys that are looked for elsewhere"]}


def rebooting(lab: Changing, host: str) -> dict[str, Callable[[], object]]:
    def act(number: int, start: str) -> Callable[[], object]:
        return lambda: reboot(lab, host, f"20260301-010{number}-reboot", start)

    return {start: act(number, start) for number, start in enumerate(SSHD_STARTS)}


def reboot(lab: Changing, host: str, run_id: str, start: str) -> Ending:
    """Cut the power between the change and the login, and let the host boot."""

    def cut(text: str) -> None:
        if CHANGED in text:
            lab.city.ask("power_off_server", server=host)
            lab.city.ask("start_server", server=host, autostart=True)

    lab.sh(host, SSHD_STARTS[start])
    with suppress(AdapterError):  # a kept login may have ended with the last boot, and nobody was told
        lab.connections.remote(host).run(["true"])
    return lab.enforce(host, run_id, LOCKING.get(start, KEPT), LONG_SWITCH_S, cut)


@pytest.mark.parametrize("start", SSHD_STARTS)
def test_a_host_that_boots_before_it_was_confirmed_is_as_it_was(
    start: str, done: Mapping[str, Future[object]]
) -> None:
    found = ending(done, start)
    assert isinstance(found.failure, AdapterError), found.outcome
    assert "the host was booted before a fresh login confirmed it" in str(found.failure)
    assert found.evidence.switch == "reverted"
    assert found.before ^ found.after == set()
    assert seconds_late(found) < 0, "it waited for the switch"


def hinder(lab: Changing, host: str) -> Hindered:
    """Forbid the host to put a file back, until it was told of by marker and run."""
    run_id, settings = (
        "20260301-0300-hindered",
        (KEPT[0], *SEEN_BY_NOBODY["keys that are looked for elsewhere"]),
    )
    action = EnforceSettings(host=host, settings=settings, switch_s=SHORT_SWITCH_S)
    remote = lab.connections.remote(host)  # a login that was before the change

    def meanwhile() -> tuple[Mapping[str, Any], Progress]:
        argv = ["sudo", "-n", "sh", "-c", AWAIT_FAILED, "await", f"{CHANGES}/{run_id}/marker.json"]
        done = remote.run(argv, timeout_s=SWITCH_S + LATE_S)
        progress = ansible.verify_enforce_settings(action, lab.context(run_id))
        remote.run(["sudo", "-n", "chattr", "-i", "/etc/login.defs"])
        return json.loads(done.stdout), progress

    looking: list[Future[tuple[Mapping[str, Any], Progress]]] = []

    def forbid(text: str) -> None:
        if CHANGED in text:
            remote.run(["sudo", "-n", "chattr", "+i", "/etc/login.defs"])
            looking.append(pool.submit(meanwhile))

    with ThreadPoolExecutor(1) as pool:
        found = lab.enforce(host, run_id, settings, SHORT_SWITCH_S, forbid)
        return Hindered(*looking[0].result(), found)


AWAIT_FAILED = """until grep -A1 '"failed": {' "$1" | grep -q login.defs; do sleep 0.2; done; cat "$1" """


def test_a_host_that_cannot_put_a_file_back_says_so_and_does_when_it_can(
    done: Mapping[str, Future[object]],
) -> None:
    found = done["hindered"].result()
    assert isinstance(found, Hindered)
    assert (found.marker["state"], list(found.marker["failed"])) == ("armed", ["/etc/login.defs"])
    assert found.meanwhile.state == "in_progress"
    assert "not put back: /etc/login.defs: PermissionError" in found.meanwhile.why
    assert "it is as it was before" in str(found.ending.failure)
    assert found.ending.marker["state"] == "reverted"
    assert found.ending.before ^ found.ending.after == set()


def kill(lab: Changing, host: str) -> Killed:
    """Kill a controller between the change and the login; others come after it."""
    run_id, before = "20260301-0200-killed", lab.look(host)
    state, folder = lab.city.state, str(ROOT)
    argv = [sys.executable, "-c", CONTROLLER, str(state), host, run_id]
    controller = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    said = next((line for line in controller.stdout if CHANGED in line), "")
    os.kill(controller.pid, signal.SIGKILL)
    controller.communicate()
    assert said, "it ended before anything was changed"
    action, ctx = EnforceSettings(host=host, settings=KEPT, switch_s=SWITCH_S), lab.context(run_id)
    meanwhile = ansible.verify_enforce_settings(action, ctx)
    with pytest.raises(AdapterError) as joined:
        ansible.enforce_settings(action, ctx)
    afterwards, after = ansible.verify_enforce_settings(action, ctx), lab.look(host)
    again = lab.enforce(host, run_id, KEPT, LONG_SWITCH_S)
    return Killed(before, meanwhile, joined.value, afterwards, after, again)


CONTROLLER = """
import sys
from tests.lab.test_enforcement import controller
controller(*sys.argv[1:])
"""


def controller(state: str, host: str, run_id: str) -> None:
    """What the killed controller does: it changes a host, and hangs before it logs in anew."""

    def hang(text: str) -> None:
        print(text, flush=True)
        if CHANGED in text:
            signal.pause()

    open_changing(Path(state), LAB_ID, NET).enforce(host, run_id, KEPT, SWITCH_S, hang)


def test_a_controller_that_is_killed_leaves_a_host_that_takes_its_change_back(
    done: Mapping[str, Future[object]],
) -> None:
    found = done["killed"].result()
    assert isinstance(found, Killed)
    assert (found.meanwhile.state, found.afterwards.state) == ("in_progress", "not_done")
    assert "no fresh login confirmed it in time" in str(found.joined)
    assert found.before ^ found.after == set()


def test_after_a_killed_controller_the_same_step_can_be_done_again(
    done: Mapping[str, Future[object]],
) -> None:
    found = done["killed"].result()
    assert isinstance(found, Killed)
    assert found.again.failure is None
    assert found.again.evidence.switch == "confirmed"
