"""Audits of real hosts: what is judged is what happens, and what was planted is found.

In the city of all tests of backups, as it was made, before anything is done to it; all is put back.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.checkout import Checkout, until

HOST = "client-1"
ROOT_LOGIN = "lin.ssh.root-login"
DROP_IN = "/etc/ssh/sshd_config.d/00-tried.conf"


@pytest.fixture(scope="module")
def city(fresh_checkout: Checkout) -> Checkout:
    return fresh_checkout


def audit(city: Checkout, *words: str) -> Any:
    done = city.inv("baseline.audit", "--json", *words)
    assert done.returncode in (0, 3, 6), done.stderr
    return json.loads(done.stdout)


def states(audited: Any, host: str = HOST) -> dict[str, dict[str, Any]]:
    (one,) = [one for one in audited["assessments"] if one["subject"] == host]
    return {verdict["control"]: verdict for verdict in one["verdicts"]}


def test_every_host_is_judged_and_what_a_container_cannot_show_is_not_known(city: Checkout) -> None:
    audited = audit(city)
    assert audited["not_collected"] == {}
    assert {one["subject"] for one in audited["assessments"]} == set(city.inventory.standing)
    for host in city.inventory.standing:
        found = states(audited, host)
        assert {one["state"] for one in found.values()} <= {"pass", "fail", "unknown", "not_applicable"}
        unknown = {name: one["reason"] for name, one in found.items() if one["state"] == "unknown"}
        strange = {name: why for name, why in unknown.items() if not why.startswith("shared-kernel")}
        assert not any("collector failed" in why for why in strange.values()), strange
        assert found["lin.ssh.valid-config"]["state"] == "pass", found["lin.ssh.valid-config"]
        assert found["lin.accounts.single-root"]["state"] == "pass"
        assert found["lin.sudo.without-password"]["state"] == "pass"
        assert found["lin.kernel.ip-forward"]["state"] in ("unknown", "not_applicable")


def test_kept_facts_are_judged_again_without_a_host(city: Checkout) -> None:
    run = city.last_run("baseline-audit")
    words = ["--run", run, "--json"]
    again = json.loads(city.inv("baseline.reassess", *words, "--profile", "cjis").stdout)
    as_it_was = json.loads(city.inv("baseline.reassess", *words).stdout)
    assert {one["profile"] for one in again["scores"]} == {"cjis"}
    assert "lin.ssh.allow-groups" in states(again)
    assert "lin.ssh.allow-groups" not in states(as_it_was)


def test_hosts_that_nobody_touched_have_not_drifted(city: Checkout) -> None:
    before = city.last_run("baseline-audit")
    assert audit(city)["not_collected"] == {}
    done = city.inv("baseline.drift", "--before", before, "--json")
    assert done.returncode == 0, done.stdout
    assert {one["subject"] for one in json.loads(done.stdout)["hosts"]} >= set(city.inventory.standing)


# --- what is enforced, and taken back ---------------------------------------------------------------

# Every file of /etc as it is: name, owner, group, mode, content. The host's own notes of the day apart.
PICTURE = """
cd /etc; find . -type f ! -name '*-' -printf '%p %u %g %m ' -exec sha256sum {} ';' | sort
"""


def test_a_profile_is_enforced_on_every_host_and_all_of_it_is_taken_back(city: Checkout) -> None:
    def pictures() -> dict[str, str]:
        return {host: city.sh(host, PICTURE) for host in city.inventory.standing}

    before = pictures()
    done = city.agree("baseline.enforce", "--profile", "cis-l1", "--json")
    assert done.returncode == 3, done.stderr  # what is left to people is told
    change = city.last_run("baseline-enforce")
    after = pictures()
    assert [host for host in before if after[host] == before[host]] == []
    failed = {
        (one["subject"], verdict["control"])
        for one in audit(city, "--profile", "cis-l1")["assessments"]
        for verdict in one["verdicts"]
        if verdict["state"] == "fail"
    }
    assert not {control for _, control in failed} & {
        ROOT_LOGIN,
        "lin.ssh.forwarding",
        "lin.logs.journal-kept",
    }
    again = city.agree("baseline.enforce", "--profile", "cis-l1")
    assert again.returncode == 3, again.stderr
    assert "nothing is to be changed" in again.stdout
    assert pictures() == after
    undone = city.agree("baseline.undo", "--change", change)
    assert undone.returncode == 0, undone.stderr
    assert pictures() == before


# --- what sshd is judged to do is what it does ------------------------------------------------------


@pytest.fixture(scope="module")
def key(city: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A key that root of the host trusts."""
    key = tmp_path_factory.mktemp("root") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    city.sh(HOST, "cp -a /etc/ssh /root/ssh-kept; mkdir -p -m 700 /root/.ssh")
    city.sh(HOST, f"echo '{public}' >/root/.ssh/authorized_keys")
    yield key
    city.sh(HOST, "rm -rf /etc/ssh /root/.ssh; mv /root/ssh-kept /etc/ssh; systemctl reload ssh")


ROWS = {
    "a drop-in overrides the main file": ("PermitRootLogin yes", "PermitRootLogin no", ""),
    "a drop-in forbids, the main file allows": ("PermitRootLogin no", "PermitRootLogin yes", ""),
    "upper case and an equals sign": ("PERMITROOTLOGIN=no", "", ""),
    "what is not said is the default": ("", "", ""),
    "a Match block allows again": ("PermitRootLogin no", "", "Match Address {net}\n  PermitRootLogin yes"),
    "a Match block of somebody else": ("PermitRootLogin no", "", "Match User nobody\n  PermitRootLogin yes"),
    "only a Match block forbids, for another": ("", "", "Match User nobody\n  PermitRootLogin no"),
    "an included file": ("Include /etc/ssh/tried/*.conf", "", ""),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_verdict_is_what_a_login_shows(row: tuple[str, str, str], city: Checkout, key: Path) -> None:
    drop_in, main, last = row
    address = city.inventory.server(HOST).address
    net = f"{address.rsplit('.', 2)[0]}.0.0/16"
    script = f"""
      mkdir -p /etc/ssh/tried; echo 'PermitRootLogin no' >/etc/ssh/tried/one.conf
      cp /root/ssh-kept/sshd_config /etc/ssh/sshd_config
      sed -i '/^PermitRootLogin/d' /etc/ssh/sshd_config
      printf '%s\\n' '{drop_in}' >{DROP_IN}
      printf '%s\\n' '{main}' '{last.format(net=net)}' >>/etc/ssh/sshd_config
      sshd -t && systemctl reload ssh
    """
    city.sh(HOST, script)
    judged = states(audit(city, "--limit", HOST, "--profile", "cis-l1"))[ROOT_LOGIN]
    assert judged["state"] == ("fail" if lets_root_in(address, key) else "pass"), judged


def lets_root_in(address: str, key: Path) -> bool:
    argv = ["ssh", "-F", "none", "-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    argv += ["-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={key}.known"]
    argv += ["-o", "ConnectTimeout=10", f"root@{address}", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "Permission denied" in done.stderr, done.stderr
    return done.returncode == 0


# --- what somebody planted -------------------------------------------------------------------------

PLANT = """
useradd -o -u 0 -g 0 -M -s /bin/bash toor
echo 'bob ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/bob; chmod 440 /etc/sudoers.d/bob
touch /etc/planted.conf; chmod 666 /etc/planted.conf
cp /bin/sh /usr/local/bin/.sh; chmod 4755 /usr/local/bin/.sh
cp /usr/bin/python3 /usr/local/bin/planted
systemd-run --unit=planted --quiet /usr/local/bin/planted -c \
  'import socket, time; one = socket.create_server(("", 31337)); time.sleep(600)'
mkdir -p -m 700 /root/.ssh; echo 'ssh-dss AAAAB3NzaC1kc3MAAAA planted' >>/root/.ssh/authorized_keys
"""
UNPLANT = """
userdel -f toor; rm -f /etc/sudoers.d/bob /etc/planted.conf /usr/local/bin/.sh /root/.ssh/authorized_keys
systemctl stop planted; rm /usr/local/bin/planted
"""
PLANTED = {
    "lin.accounts.single-root": "toor",
    "lin.sudo.without-password": "bob",
    "lin.files.world-writable": "/etc/planted.conf",
    "lin.files.suid": "/usr/local/bin/.sh",
    "lin.network.listeners": "planted",
    "lin.ssh.authorized-keys": "ssh-dss",
}


def test_what_was_planted_is_found(city: Checkout) -> None:
    city.sh("app-a", PLANT)
    try:
        until(lambda: city.sh("app-a", "ss -ltn | grep 31337") != "", "it listens")
        found = states(audit(city, "--limit", "app-a"), "app-a")
    finally:
        city.sh("app-a", UNPLANT)
    assert {name: found[name]["state"] for name in PLANTED} == dict.fromkeys(PLANTED, "fail")
    for name, what in PLANTED.items():
        assert what in found[name]["reason"], found[name]["reason"]
