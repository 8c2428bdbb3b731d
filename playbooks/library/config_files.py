"""Ansible module: the configuration files of one program, installed in one call.

Where ansible.builtin.template costs two module calls a file, and each call a quarter
of a CPU second of the server, this is one call for all of them. Contents are rendered
on the control node with the template lookup, so nothing waits in a temporary folder.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: config_files
short_description: Install several configuration files at once
description:
  - Each file is written beside its place, validated there, and renamed; it is whole or unchanged.
  - A folder that is missing is made, with the rights a new folder has.
  - A file that fails its validation is not installed, nor is any after it in the list.
author: Mainstay
options:
  files:
    description: The files, installed in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Where it goes., type: path, required: true}
      content: {description: What stands in it., type: str}
      secret_content: {description: The same for a file with a secret in it; never shown., type: str}
      owner: {description: Who owns it., type: str, default: root}
      group: {description: Its group., type: str, default: root}
      mode: {description: Its mode in octal digits., type: str, default: "0644"}
      validate: {description: Command that must end well; %s is the new file., type: str}
      seed: {description: Leave a file that exists as it is., type: bool, default: false}
"""

EXAMPLES = r"""
- name: Install the configuration
  config_files:
    files:
      - path: /etc/bind/named.conf
        content: "{{ lookup('ansible.builtin.template', 'named.conf.j2') }}"
        validate: named-checkconf %s
"""

RETURN = r"""
installed:
  description: The files that were written or whose owner or mode was set.
  returned: always
  type: list
  elements: str
"""

FILE = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0644"},
    "validate": {"type": "str"},
    "seed": {"type": "bool", "default": False},
}


def install(module, wanted):
    """Make one file as wanted; give its diff when anything changed, else None."""
    before = read(module, wanted["path"])
    if before is not None and wanted["seed"]:
        return None
    secret = wanted["secret_content"] is not None
    after = wanted["secret_content"] if secret else wanted["content"]
    changed = before != after
    if changed and not module.check_mode:
        replace(module, wanted, after)
    if Path(wanted["path"]).exists():
        changed = module.set_fs_attributes_if_different(attributes(module, wanted, wanted["path"]), changed)
    if not changed:
        return None
    shown = (
        {"before": before or "", "after": after} if not secret else {"before": "", "after": "(not shown)\n"}
    )
    return {"before_header": wanted["path"], "after_header": wanted["path"], **shown}


def read(module, path):
    try:
        return Path(path).read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        module.fail_json(msg=f"cannot read {path}: {error.strerror}")


def replace(module, wanted, content):
    """Write beside the place, with its rights from the start, validate, rename."""
    folder, name = os.path.split(wanted["path"])
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=".", suffix=f".{name}", dir=folder)
    except OSError as error:
        module.fail_json(msg=f"cannot write into {folder}: {error.strerror}")
    module.add_cleanup_file(draft)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    module.set_fs_attributes_if_different(attributes(module, wanted, draft), False)
    validate(module, wanted, draft)
    Path(draft).rename(wanted["path"])


def attributes(module, wanted, path):
    return module.load_file_common_arguments({**wanted, "path": path}, path=path)


def validate(module, wanted, draft):
    if wanted["validate"] is None:
        return
    command = [
        draft if word == "%s" else word.replace("%s", draft) for word in shlex.split(wanted["validate"])
    ]
    code, out, err = module.run_command(command)
    if code:
        said = (err.strip() or out.strip()).replace(draft, wanted["path"])
        module.fail_json(msg=f"{wanted['path']} is not valid, left as it was: {said}")


def main():
    """Install what differs."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": FILE,
                "mutually_exclusive": [("content", "secret_content")],
                "required_one_of": [("content", "secret_content")],
            }
        },
        supports_check_mode=True,
    )
    diffs = [diff for diff in (install(module, wanted) for wanted in module.params["files"]) if diff]
    installed = [diff["after_header"] for diff in diffs]
    module.exit_json(changed=bool(diffs), installed=installed, diff=diffs)


if __name__ == "__main__":
    main()
