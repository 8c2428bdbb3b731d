"""Ansible module: roles, databases and replication slots of a PostgreSQL cluster.

One call reads and changes all of them, because each module call costs a server a
quarter of a CPU second. Runs as the cluster's owner and speaks through its psql.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: postgresql_objects
short_description: Make roles, databases and physical slots of a PostgreSQL cluster
description:
  - Makes what is missing and sets passwords and owners that differ. Removes nothing.
  - A password reaches the server only as a SCRAM verifier, on standard input.
author: Mainstay
options:
  port:
    description: Port of the cluster; its socket is used.
    type: int
    default: 5432
  roles:
    description: Login roles.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the role., type: str, required: true}
      password: {description: Its password., type: str, required: true}
      replication: {description: Whether it may replicate., type: bool, default: false}
  databases:
    description: Databases and the roles that own them.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the database., type: str, required: true}
      owner: {description: Role that owns it., type: str, required: true}
  slots:
    description: Physical replication slots.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Make the accounts of the payments database
  postgresql_objects:
    roles: [{name: payments_owner, password: "{{ owner_password }}"}]
    databases: [{name: payments, owner: payments_owner}]
    slots: [standby_eoc]
"""

RETURN = r"""
made:
  description: What was made or set, in words.
  returned: always
  type: list
  elements: str
"""

ITERATIONS = 4096
READ = """
select json_build_object(
  'roles', coalesce((select json_object_agg(rolname, json_build_array(rolpassword, rolreplication))
    from pg_authid where rolcanlogin), '{}'),
  'databases', coalesce((select json_object_agg(datname, pg_get_userbyid(datdba)) from pg_database), '{}'),
  'slots', coalesce((select json_agg(slot_name) from pg_replication_slots), '[]'))
"""


def plan(wanted, found):
    """Give what is missing or differs, as pairs of words and SQL; pure but for new salts."""
    changes = []
    for role in wanted["roles"]:
        changes += plan_role(role, found["roles"].get(role["name"]))
    for database in wanted["databases"]:
        changes += plan_database(database, found["databases"])
    for slot in wanted["slots"]:
        if slot not in found["slots"]:
            changes.append(
                (f"slot {slot}", f"select pg_create_physical_replication_slot({literal(slot)}, true)")
            )
    return changes


def plan_role(role, found):
    name, replication = identifier(role["name"]), "replication" if role["replication"] else "noreplication"
    if found is None:
        verifier = literal(make_verifier(role["password"], os.urandom(16)))
        yield f"role {role['name']}", f"create role {name} login {replication} password {verifier}"
        return
    if not verifies(found[0], role["password"]):
        verifier = literal(make_verifier(role["password"], os.urandom(16)))
        yield f"password of {role['name']}", f"alter role {name} password {verifier}"
    if found[1] != role["replication"]:
        yield f"replication of {role['name']}", f"alter role {name} {replication}"


def plan_database(database, found):
    name, owner = identifier(database["name"]), identifier(database["owner"])
    if database["name"] not in found:
        yield f"database {database['name']}", f"create database {name} owner {owner}"
    elif found[database["name"]] != database["owner"]:
        yield f"owner of {database['name']}", f"alter database {name} owner to {owner}"


def make_verifier(password, salt, iterations=ITERATIONS):
    """Give the SCRAM-SHA-256 verifier that PostgreSQL stores (RFC 5802, section 3)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    keys = ":".join(base64.b64encode(key).decode() for key in (hashlib.sha256(client).digest(), server))
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${keys}"


def verifies(stored, password):
    """Say whether a stored verifier is this password's."""
    try:
        method, parameters, _ = (stored or "").split("$")
        iterations, salt = parameters.split(":")
        if method != "SCRAM-SHA-256":
            return False
        wanted = make_verifier(password, base64.b64decode(salt), int(iterations))
    except ValueError:
        return False
    return hmac.compare_digest(stored, wanted)


def identifier(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def psql(module, sql):
    port = str(module.params["port"])
    command = ["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-p", port]
    # What is made here must not wait for a standby that is made after it.
    code, out, err = module.run_command(
        command, data=sql, environ_update={"PGOPTIONS": "-c synchronous_commit=local"}
    )
    if code:
        module.fail_json(msg=f"psql: {err.strip()}")
    return out


def main():
    role = {
        "name": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "replication": {"type": "bool", "default": False},
    }
    database = {"name": {"type": "str", "required": True}, "owner": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "port": {"type": "int", "default": 5432},
            "roles": {"type": "list", "elements": "dict", "default": [], "options": role},
            "databases": {"type": "list", "elements": "dict", "default": [], "options": database},
            "slots": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    changes = plan(module.params, json.loads(psql(module, READ)))
    if changes and not module.check_mode:
        psql(module, "".join(f"{sql};\n" for _, sql in changes))
    module.exit_json(changed=bool(changes), made=[words for words, _ in changes])


if __name__ == "__main__":
    main()
