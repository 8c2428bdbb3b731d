"""Settings of a host against real programs: what is foretold of sshd is what logins meet; a role by hand."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from automation.baseline import enforcement
from automation.baseline.controls import Profile
from automation.commands._controls import load_controls
from tests.lab.box import ROOT, Box, open_box

pytestmark = pytest.mark.lab
DROP_IN = "/etc/ssh/sshd_config.d/00-baseline.conf"
RULES = (
    "",
    "AllowUsers nobody-at-all",
    "AllowUsers eve op?",
    "AllowUsers OPS",
    "AllowUsers ops@127.0.0.*",
    "AllowUsers ops@127.0.0.0/8",
    "AllowUsers ops@!127.0.0.1,127.*",
    "AllowUsers ops@192.0.2.0/24",
    "DenyUsers *@127.0.0.1",
    "DenyUsers ops@192.0.2.1\nAllowUsers o*",
    "AllowGroups ops",
    "AllowGroups wheel",
    "DenyGroups o*\nAllowUsers ops",
    "PubkeyAuthentication no",
    "AuthenticationMethods publickey,password",
    "AuthenticationMethods publickey,password publickey",
    "AuthorizedKeysFile none",
    "ForceCommand /bin/false",
    "Match Address 127.0.0.0/8\n  PubkeyAuthentication no",
    "Match LocalAddress 127.0.0.1\n  DenyUsers ops",
    "Match User eve\n  DenyUsers ops",
)
# Reads rules as JSON; says of each why the automation user would be kept out, empty for none.
FORETELL = f"""
import json, sys
sys.path.insert(0, "/brought")
from ansible.module_utils.baseline import change, sshd
from ansible.module_utils.baseline.drafts import Drafts
from ansible.module_utils.baseline.revert import Host
host, login, told = Host(), sshd.Login("ops", "127.0.0.1"), []
for rule in json.load(sys.stdin):
    drafts = Drafts(host)
    drafts.write("{DROP_IN}", rule.encode() + b"\\n")
    with sshd.tree(host, drafts) as folder:
        effective = sshd.ask_for(host, folder, login)
    told.append(sshd.lets_in(effective, login, change.groups_of("ops")))
print(json.dumps(told))
"""
# Reads settings as JSON, applies them, says which problems there were and what a second time would change.
APPLY = """
import json, sys
sys.path.insert(0, "/brought")
from ansible.module_utils.baseline import change, kinds, sshd
from ansible.module_utils.baseline.revert import Host
host, asked = Host(), json.load(sys.stdin)
login = sshd.Login("ops", "127.0.0.1")
wanted = kinds.plan(host, asked["settings"])
change.make(host, wanted, change.Asked(asked["change"], 60.0, login))
again = [item.what for item in kinds.plan(host, asked["settings"]).items if item.changed]
problems = {one.what: one.problem for one in wanted.items if one.problem}
print(json.dumps({"problems": problems, "again": again}))
"""
LOOK = (
    "find /etc /boot -xdev -printf '%p %M %U:%G %l ' "
    "'(' -type f -printf '%T@ ' -exec md5sum {} ';' -o -print ')' | sort"
)
PLAY = """
- name: By hand
  hosts: box
  gather_facts: false
  roles:
    - role: baseline
      vars:
        baseline_change: by-hand-1
        baseline_settings:
          - {control: root, risk: R2, setting: {kind: sshd, keyword: PermitRootLogin, value: "no"}}
          - {control: pty, risk: R2, setting: {kind: file-content, path: /etc/sudoers.d/50-pty, mode: "0440",
             content: "Defaults use_pty\\n", validate_with: [visudo, -cf]}}
          - {control: bad, risk: R2, setting: {kind: file-content, path: /etc/sudoers.d/51-bad, mode: "0440",
             content: "Defualts of nothing\\n", validate_with: [visudo, -cf]}}
          - control: mask
            setting: {kind: key-value, path: /etc/login.defs, name: UMASK, value: "027"}
          - {control: boot, risk: R0, setting: {kind: file-mode, path: /etc/ssh/sshd_config, mode: "0600"}}
          - {control: addresses, risk: R1, setting: {kind: sysctl, name: kernel.randomize_va_space, value: 1}}
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with open_box(tmp_path_factory.mktemp("box")) as box:
        yield box


def test_who_is_kept_out_by_sshd_is_foretold(box: Box) -> None:
    told = json.loads(box.sh(f"python3 -c '{FORETELL}'", json.dumps(RULES)))
    met = []
    for rule in RULES:
        box.sh(f"cat >{DROP_IN}", rule + "\n")
        with box.sshd():
            met.append(box.ssh("sudo", "-n", "true").returncode == 0)
    box.sh(f"rm {DROP_IN}")
    assert [(rule, why == "") for rule, why in zip(RULES, told, strict=True)] == list(
        zip(RULES, met, strict=True)
    )
    assert 5 <= sum(met) < len(met)


def test_all_that_our_controls_set_is_sound_and_undone_byte_for_byte(box: Box) -> None:
    before = box.sh(LOOK)
    for profile in ("cis-l1", "cjis"):
        asked = {"change": f"all-{profile}", "settings": settings_of(profile)}
        told = json.loads(box.sh(f"python3 -c '{APPLY}'", json.dumps(asked)))
        left_out = {what for what in told["problems"] if not what.startswith(("sysctl", "package"))}
        assert (left_out, told["again"]) == ({"/etc/security/pwquality.conf minlen"}, [])
        box.sh(f"python3 -I /var/lib/mainstay-changes/all-{profile}/revert.py confirm")
    box.sh("/usr/sbin/sshd -t; visudo -c")
    with box.sshd():
        assert box.ssh("sudo", "-n", "true").returncode == 0
    assert box.sh(LOOK) != before
    for profile in ("cjis", "cis-l1"):
        said = json.loads(box.sh(f"python3 -I /var/lib/mainstay-changes/all-{profile}/revert.py undo"))
        assert (said["state"], said["left"], said["failed"]) == ("undone", {}, {})
    assert box.sh(LOOK) == before


def settings_of(profile: Profile) -> list[dict[str, Any]]:
    """Give all settings of the controls for hosts that a profile asks for."""
    controls = [
        one for one in load_controls().values() if one.platform == "linux" and profile in one.profiles
    ]
    return [
        {
            "control": one.id,
            "risk": one.remedy.risk,
            "setting": enforcement._filled(setting, one.values(profile)).model_dump(mode="json"),
        }
        for one in controls
        if one.remedy
        for setting in one.remedy.settings
    ]


def test_the_role_by_hand_confirms_over_a_fresh_login_and_is_undone_byte_for_byte(
    box: Box, tmp_path: Path
) -> None:
    before = box.sh(LOOK)
    with box.sshd():
        checked = play(box, tmp_path, "--check")
        assert box.sh(LOOK) == before
        first = play(box, tmp_path)
        second = play(box, tmp_path)
        assert box.ssh("sudo", "-n", "true").returncode == 0
    assert ("changed=1" in checked, "changed=1" in first, "changed=0" in second) == (True, True, True)
    assert box.sh(f"cat {DROP_IN} /etc/sudoers.d/50-pty; grep ^UMASK /etc/login.defs").splitlines()[1:] == [
        "PermitRootLogin no",
        "Defaults use_pty",
        "UMASK 027",
    ]
    program = "/var/lib/mainstay-changes/by-hand-1/revert.py"
    state = json.loads(box.sh(f"python3 -I {program} state"))
    assert state["state"] == "confirmed"
    problems = {one["control"]: one["problem"] for one in state["settings"] if one["problem"]}
    assert sorted(problems) == ["addresses", "bad"]
    assert "syntax error" in problems["bad"]
    box.sh(f"python3 -I {program} undo")
    assert box.sh(LOOK) == before


def play(box: Box, folder: Path, *words: str) -> str:
    """Run the role as a person would, without anything of Mainstay but its playbooks; give what it says."""
    (folder / "play.yml").write_text(PLAY)
    (folder / "hosts.yml").write_text(
        json.dumps({"all": {"hosts": {"box": {"ansible_host": "127.0.0.1", "ansible_port": box.port}}}})
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_REMOTE_USER": "ops",
        "ANSIBLE_PRIVATE_KEY_FILE": str(box.folder / "id"),
        "ANSIBLE_SSH_ARGS": f"-o ControlMaster=auto -o ControlPersist=60s "
        f"-o UserKnownHostsFile={box.known_hosts()}",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "c"),
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [str(program), "-i", str(folder / "hosts.yml"), *words, str(folder / "play.yml")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
