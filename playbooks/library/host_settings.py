"""Ansible module: all settings of a baseline for a host, applied in one call.

One task per setting costs some hundred times more: each starts a Python on the host. What the
settings mean, how they are made and how they are put back lies in module_utils/baseline.
"""

from __future__ import annotations

from ansible.module_utils.baseline import change, kinds, sshd
from ansible.module_utils.baseline.drafts import Refused
from ansible.module_utils.baseline.revert import Host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_settings
short_description: Apply the settings of a baseline to a host
description:
  - Applies a list of settings at once; what is so already is left alone, and a second call changes nothing.
  - What was before is kept on the host, in /var/lib/mainstay-changes/CHANGE, for two years. To put it back
    run revert.py undo there; files that somebody edited since are left unless --edited names them.
  - Before anything is changed, sshd is asked about its whole configuration as it would be, and whether it
    would still let I(login) in. Whatever is not valid afterwards is put back at once.
  - Where a setting of risk R2 differs, or whatever its risk what decides about logins (sshd, sudo, PAM,
    nftables and iptables), a timer and a unit at boot are there first that put everything back
    unless somebody runs revert.py confirm over a fresh login within I(switch_s).
  - A setting that cannot be applied is left out; its C(problem) says why. Packages are never installed or
    removed, because what their own scripts do cannot be put back.
author: Mainstay
options:
  settings:
    description: The settings, as automation/model/host_settings.py has them.
    type: list
    elements: dict
    required: true
    suboptions:
      control: {description: Who asks for it., type: str, default: ""}
      risk: {description: R0 to R4; R2 may lock people out and R4 is refused., type: str, default: R1,
        choices: [R0, R1, R2, R3, R4]}
      setting: {description: The setting; its kind says what else it has., type: dict, required: true}
      shown: {description: What it comes to; for people., type: str, default: ""}
  change: {description: Name of the change; what was before is kept under it., type: str, required: true}
  switch_s: {description: Seconds until it is put back unless confirmed., type: float, default: 0.0}
  login:
    description: Who is to be let in by sshd still; needed where a setting of sshd differs.
    type: dict
    suboptions:
      user: {description: Name of the automation user., type: str, default: ""}
      address: {description: From where it comes., type: str, default: ""}
"""

EXAMPLES = r"""
- name: Let nobody log in as root
  host_settings:
    change: 20261122-root
    switch_s: 120
    login: {user: ops, address: 192.0.2.10}
    settings:
      - control: lin.ssh.root-login
        risk: R2
        setting: {kind: sshd, keyword: PermitRootLogin, value: "no"}
"""

RETURN = r"""
change: {description: Name of the change., returned: always, type: str}
armed: {description: Whether it is put back unless somebody confirms it., returned: always, type: bool}
settings:
  description: Each setting in the order given, with control, what, before, after, changed and problem.
  returned: always
  type: list
  elements: dict
"""

ARGUMENTS = {
    "settings": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "control": {"type": "str", "default": ""},
            "risk": {"type": "str", "default": "R1", "choices": ["R0", "R1", "R2", "R3", "R4"]},
            "setting": {"type": "dict", "required": True},
            "shown": {"type": "str", "default": ""},
        },
    },
    "change": {"type": "str", "required": True},
    "switch_s": {"type": "float", "default": 0.0},
    "login": {
        "type": "dict",
        "options": {"user": {"type": "str", "default": ""}, "address": {"type": "str", "default": ""}},
    },
}


def main():
    """Apply what differs."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    host, asked = Host(), read_asked(module.params)
    wanted = kinds.plan(host, module.params["settings"])
    result = {
        "change": asked.change,
        "armed": False,
        "settings": [item.shown() for item in wanted.items],
        "diff": diffs(wanted),
    }
    for item in wanted.items:
        if item.problem:
            module.warn(f"{item.control} {item.what}: {item.problem}")
    if not wanted.changes:
        module.exit_json(changed=False, **result)
    try:
        if module.check_mode:
            change.check(wanted, asked)
        else:
            result["armed"] = change.make(host, wanted, asked)
    except Refused as error:
        module.fail_json(msg=f"{error}; nothing was changed", changed=False, **result)
    except change.Failed as error:
        module.fail_json(msg=str(error), changed=False, **result)
    module.exit_json(changed=True, **result)


def diffs(wanted):
    """Give what changes in Ansible's form: files line by line, all else as one line."""
    shown = [
        diff(draft.path, draft.before or b"", draft.content)
        for draft in wanted.drafts.changed()
        if draft.changes_content
    ]
    others = [
        item for item in wanted.items if item.changed and item.what.split()[0] in ("mode", "sysctl", "unit")
    ]
    return shown + [
        diff(item.what, f"{item.before}\n".encode(), f"{item.after}\n".encode()) for item in others
    ]


def diff(name, before, after):
    return {
        "before_header": name,
        "after_header": name,
        "before": before.decode(errors="replace"),
        "after": after.decode(errors="replace"),
    }


def read_asked(params):
    login = params["login"] or {}
    known = (
        sshd.Login(login["user"], login["address"]) if login.get("user") and login.get("address") else None
    )
    return change.Asked(params["change"], params["switch_s"], known)


if __name__ == "__main__":
    main()
