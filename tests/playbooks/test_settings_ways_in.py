"""What may lock people out is found by what it touches, whatever risk its asker gave it."""

from typing import Any

import pytest
from ansible.module_utils.baseline import change, kinds, revert, sshd, ways_in
from ansible.module_utils.baseline.drafts import Drafts, Refused

from tests.playbooks.folder import Folder

CHANGE = "20261122-1"
FILE = {"kind": "file-content", "content": "new"}


def plan(host: Folder, **setting: Any) -> kinds.Wanted:
    return kinds.plan(host, [{"control": "c", "risk": "R0", "setting": setting}])


@pytest.mark.parametrize(
    "path",
    [
        "/etc/ssh/anything",
        "/etc//ssh/../ssh/anything",
        "/etc/linked/anything",
        "/srv/included/by-sshd.conf",
        "/home/ops/.ssh/authorized_keys",
        "/etc/sudoers",
        "/etc/sudoers.d/50-x",
        "/etc/pam.d/sshd",
        "/etc/security/access.conf",
        "/etc/nftables.conf",
        "/etc/iptables/rules.v4",
        "/etc/systemd/system/ssh.service.d/x.conf",
        "/etc/systemd/system/nftables.service",
    ],
)
def test_a_file_by_which_people_come_in_needs_a_switch(host: Folder, path: str) -> None:
    host.write("/etc/ssh/sshd_config", "Include /srv/included/*.conf\n")
    host.at("/etc/linked").symlink_to(host.at("/etc/ssh"))
    wanted = plan(host, **FILE, path=path)
    assert ways_in.touched(wanted) == [path]
    with pytest.raises(Refused):  # one of sshd's wants to know, before that, who is to be let in
        change.make(host, wanted, change.Asked(CHANGE, 0, None))
    assert not host.at(path).exists()


@pytest.mark.parametrize("risk", ["R0", "R1"])
def test_the_switch_is_armed_for_it_whatever_the_risk(host: Folder, risk: str) -> None:
    settings = [{"control": "c", "risk": risk, "setting": {**FILE, "path": "/etc/pam.d/sshd"}}]
    assert change.make(host, kinds.plan(host, settings), change.Asked(CHANGE, 60, None)) is True
    assert revert.state(host.at(change.CHANGES) / CHANGE)["state"] == "armed"


@pytest.mark.parametrize("unit", ["nftables.service", "ssh.socket", "ufw.service"])
def test_a_unit_by_which_people_come_in_needs_a_switch(host: Folder, unit: str) -> None:
    host.units[unit] = ["disabled", "inactive"]
    with pytest.raises(Refused, match=f"{unit} may lock people out, and switch_s is 0"):
        change.make(host, plan(host, kind="unit", unit=unit, state="enabled"), change.Asked(CHANGE, 0, None))


@pytest.mark.parametrize(
    "path", ["/etc/sshx", "/etc/login.defs", "/etc/issue.net", "/etc/systemd/journald.conf"]
)
def test_what_decides_about_no_login_needs_none(host: Folder, path: str) -> None:
    host.write("/etc/ssh/sshd_config", "Banner /etc/issue.net\n")
    assert change.make(host, plan(host, **FILE, path=path), change.Asked(CHANGE, 0, None)) is False


def test_what_is_so_already_needs_none(host: Folder) -> None:
    host.write("/etc/pam.d/sshd", "new")
    assert ways_in.touched(plan(host, **FILE, path="/etc/pam.d/sshd")) == []


def test_files_of_sshd_are_found_wherever_they_lie_and_each_once(host: Folder) -> None:
    host.write(sshd.MAIN, 'Include /srv/*.conf /etc/ssh/sshd_config\nInclude "half\n')
    host.write("/srv/a.conf", "Include /srv/b\n")
    drafts = Drafts(host)
    assert not sshd.reads_otherwise(drafts)
    drafts.write("/srv/b", b"Port 22\n")
    assert sorted(sshd.files(drafts)) == ["/etc/ssh/sshd_config", "/srv/a.conf", "/srv/b"]
    assert sshd.reads_otherwise(drafts)
