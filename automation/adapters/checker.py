"""The checker on the hosts of a lab: prepare the databases, start it, take its records home.

The program itself is `automation/shipped/checker.py`. It is no part of any plan: it must go on writing
whatever becomes of the controller that runs one.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.records import Completed, Remote

PROGRAM = Path(__file__).resolve().parents[1] / "shipped/checker.py"
ROLE = DATABASE = "mainstay_checker"
SECRET = "checker_password"
RECORD = "checker.jsonl"
BEAT_MS = 20
# A write ends after lanes x beat: 320 ms hold a new connection over the WAN, six round trips of 20 ms.
LANES = 16
# Three checkers with all their lanes: never refused for this, and the service keeps the rest of the 100.
CONNECTIONS = 3 * LANES
STARTS_WITHIN_S = 10.0


class Watch(Model):
    """One watch over the database nodes of a lab; `nodes` maps each node to its address."""

    id: str
    nodes: Mapping[str, str]
    port: int = 5432


# The password reaches no log: neither a statement that fails nor one that succeeds is written.
_PREPARE = r"""
\set ON_ERROR_STOP on
SET log_statement = 'none'; SET log_min_error_statement = 'panic'; SET log_min_duration_statement = -1;
SELECT 'CREATE ROLE mainstay_checker'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mainstay_checker') \gexec
ALTER ROLE mainstay_checker LOGIN CONNECTION LIMIT {connections} PASSWORD '{password}';
ALTER ROLE mainstay_checker SET log_min_messages = 'fatal';
SELECT 'CREATE DATABASE mainstay_checker OWNER mainstay_checker'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'mainstay_checker') \gexec
\connect mainstay_checker
CREATE TABLE IF NOT EXISTS writes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  writer text NOT NULL, incarnation int NOT NULL, node text NOT NULL, n bigint NOT NULL);
ALTER TABLE writes OWNER TO mainstay_checker;
"""


def prepare(host: str, cluster: str, password: str, remote: Remote) -> None:
    """Make the checker's role, database and table on the primary; its standby follows."""
    if "'" in password or "\\" in password:
        raise AdapterError(f"the password in secrets/{SECRET} has a quote; nothing was changed")
    argv = [
        "sudo",
        "-n",
        "-u",
        "postgres",
        "psql",
        "--cluster",
        cluster,
        "-XqAt",
        "-d",
        "postgres",
        "-f",
        "-",
    ]
    done = remote.run(argv, stdin=_PREPARE.format(connections=CONNECTIONS, password=password))
    if done.exit_code:
        raise AdapterError(f"psql on {host}: the checker's role was not made: {done.stderr.strip()}")


def start(host: str, watch: Watch, user: str, password: str, remote: Remote) -> bool:
    """Start the checker on a host as a unit of its own, unless it runs; tell whether it was started."""
    unit, folder = _unit(watch), _folder(watch)
    if remote.run(["systemctl", "is-active", "--quiet", unit]).exit_code == 0:
        return False
    _must(remote, host, ["sudo", "-n", "install", "-d", "-o", user, "-m", "0700", folder], "make its folder")
    remote.put(f"{folder}/checker.py", PROGRAM.read_bytes(), mode=0o700)
    remote.put(f"{folder}/config.json", _config(host, watch, password).encode())
    before = _headers(remote, watch)
    settings = ("Type=exec", f"User={user}", "Restart=on-failure", "RestartSec=200ms", "Nice=-5")
    properties = [f"--property={setting}" for setting in settings]
    # Isolated from the user's own modules, but with the system's: psycopg2 is one of them.
    program = ["python3", "-I", f"{folder}/checker.py", f"{folder}/config.json"]
    words = ["sudo", "-n", "systemd-run", "--quiet", "--collect", f"--unit={unit}", *properties, *program]
    _must(remote, host, words, "start it")
    deadline = time.monotonic() + STARTS_WITHIN_S
    while _headers(remote, watch) == before:
        if time.monotonic() > deadline:
            said = remote.run(["sudo", "-n", "journalctl", "--no-pager", "-n", "5", "-u", unit]).stdout
            raise AdapterError(f"the checker on {host} was started but writes no record: {said.strip()}")
        time.sleep(0.05)
    return True


def collect(host: str, watch: Watch, remote: Remote) -> bytes:
    """Let the checker end in good order, forget its password, and give its record."""
    remote.run(["sudo", "-n", "systemctl", "stop", _unit(watch)])
    remote.run(["rm", "-f", f"{_folder(watch)}/config.json"])
    return remote.get(f"{_folder(watch)}/{RECORD}")


def _folder(watch: Watch) -> str:
    return f"/var/lib/mainstay-checker/{watch.id}"


def _unit(watch: Watch) -> str:
    return f"mainstay-checker-{watch.id}.service"


def _headers(remote: Remote, watch: Watch) -> str:
    """Count the starts in a record; an empty answer for none."""
    return remote.run(["grep", "-c", '"record":"header"', f"{_folder(watch)}/{RECORD}"]).stdout.strip()


def _config(host: str, watch: Watch, password: str) -> str:
    return json.dumps(
        {
            "watch": watch.id,
            "writer": host,
            "beat_ms": BEAT_MS,
            "lanes": LANES,
            "out": _folder(watch),
            "user": ROLE,
            "password": password,
            "database": DATABASE,
            "targets": [
                {"node": node, "address": address, "port": watch.port}
                for node, address in watch.nodes.items()
            ],
        }
    )


def _must(remote: Remote, host: str, argv: Sequence[str], attempt: str) -> Completed:
    done = remote.run(argv)
    if done.exit_code:
        raise AdapterError(f"the checker on {host}: could not {attempt}: {done.stderr.strip()}")
    return done
